//! Users: the listing, one user, their presence and routing status.
//!
//! The listing with routing statuses is the snapshot of the public platform, so what can go
//! wrong with a snapshot goes wrong here: faults that concern its content leave the answers
//! about one user alone.

use serde_json::{Value, json};

use super::bodies;
use super::calls::not_found;
use super::chance;
use super::exchange::{SimRequest, SimResponse};
use super::faults::{Active, FaultKind};
use super::listings::{PageRequest, page};
use super::platform::{Asked, SimulatedPlatform};
use super::presence;
use super::snapshot::{DIVERGED, MALFORMED, UNKNOWN, concerns, kept};
use super::standing::{Reading, Standing};
use super::user_bodies;
use crate::model::time::UnixMillis;

/// Largest page, and most ids (platform-api.md §2).
const USERS_PAGE_MAX: usize = 500;
const IDS_MAX: usize = 100;
const BULK_IDS_MAX: usize = 50;
/// Salt of `shifting-pages`: by how much, at most.
const SHIFT: u64 = 32;
const SHIFT_MAX: usize = 7;
/// Salt of `expand-missing`.
const MISSING: u64 = 33;

/// Expands that the simulator has.
#[derive(Debug, Clone, Copy)]
struct Expands {
    presence: bool,
    routing_status: bool,
    conversation_summary: bool,
    out_of_office: bool,
}

impl SimulatedPlatform {
    pub(super) fn users(&mut self, asked: &Asked<'_>) -> SimResponse {
        let wanted = match PageRequest::read(asked.request, USERS_PAGE_MAX) {
            Ok(wanted) => wanted,
            Err(message) => return asked.error(400, "bad.request", &message),
        };
        let state = asked
            .request
            .query("state")
            .unwrap_or_else(|| "active".to_owned());
        let Some(mut positions) = self.positions_in_state(asked, &state) else {
            return asked.error(
                400,
                "invalid.value",
                &format!("state {state:?} is not one of active, inactive, deleted, any"),
            );
        };
        let ids = asked.request.query_list("id");
        if ids.len() > IDS_MAX {
            return too_many(asked, "max.user.ids", ids.len(), IDS_MAX);
        }
        if !ids.is_empty() {
            positions.retain(|&position| {
                ids.iter()
                    .any(|id| id == self.roster.entries()[position].agent.id.as_str())
            });
        }
        let expands = self.expands(asked.request);
        let percent = |kind| Some(self.fault(kind, None, asked.now)?.percent());
        let cuts = [
            percent(FaultKind::RegistryShrink),
            // Cut short under load is the snapshot; without expands this is the registry.
            percent(FaultKind::Partial).filter(|_| expands.routing_status),
        ];
        for percent in cuts.into_iter().flatten() {
            positions.truncate(kept(positions.len(), percent));
        }
        if !positions.is_empty() && percent(FaultKind::ShiftingPages).is_some() {
            let draw = chance::mix(&[self.roster.spec().seed, SHIFT, asked.number]);
            let by = draw as usize % SHIFT_MAX.min(positions.len());
            positions.rotate_left(by);
        }
        let entities: Vec<Value> = wanted
            .slice(&positions)
            .iter()
            .map(|&position| self.listed_user(asked, position, expands))
            .collect();
        let listing = listing_path(asked.request, &state);
        SimResponse::json(200, &page(&listing, &entities, wanted, positions.len()))
    }

    /// Positions of the users in an HR state; `None` if there is no such state.
    fn positions_in_state(&self, asked: &Asked<'_>, state: &str) -> Option<Vec<usize>> {
        let registered = self.roster.registered_at(asked.platform_now);
        let everyone = 0..self.roster.entries().len();
        match state {
            "active" => Some(registered),
            "any" => Some(everyone.collect()),
            "inactive" => Some(Vec::new()),
            "deleted" => Some(
                everyone
                    .filter(|position| registered.binary_search(position).is_err())
                    .collect(),
            ),
            _ => None,
        }
    }

    /// The expands that are asked for and that the dialect has.
    fn expands(&self, request: &SimRequest) -> Expands {
        let list = request.query_list("expand");
        let has = |what: &str| list.iter().any(|item| item.trim() == what);
        let platform = self.dialect.has_platform();
        Expands {
            presence: platform && has("presence"),
            routing_status: platform && has("routingStatus"),
            conversation_summary: has("conversationSummary"),
            out_of_office: platform && has("outOfOffice"),
        }
    }

    /// A user of the listing, as current and as whole as the faults let it be.
    fn listed_user(&mut self, asked: &Asked<'_>, position: usize, expands: Expands) -> Value {
        let seed = self.roster.spec().seed;
        let fault = |kind| self.fault(kind, None, asked.now);
        let still = fault(FaultKind::StaleCache).or_else(|| {
            fault(FaultKind::Divergence)
                .filter(|active| concerns(seed, DIVERGED, position, active.percent()))
        });
        let at = still.map_or(asked.platform_now, |active| {
            self.active_since(active, asked.now).min(asked.platform_now)
        });
        let malformed = expands.routing_status
            && concerns(
                seed,
                MALFORMED ^ asked.number,
                position,
                fault(FaultKind::Malformed).map_or(0, Active::percent),
            );
        let mut standing = self.standing(position, at);
        if let Some(segment) = self.stuck_in_cache.segment(position) {
            standing.status = super::standing::RoutingStatus::Interacting;
            standing.status_since = segment.entered_at;
        }
        let body = self.user_body(asked, position, &standing, expands);
        if malformed {
            spoiled(body, position)
        } else {
            body
        }
    }

    pub(super) fn user(&mut self, asked: &Asked<'_>, id: &str) -> SimResponse {
        let Some(position) = self.registered(asked, id) else {
            return not_found(asked);
        };
        let standing = self.standing(position, asked.platform_now);
        let expands = self.expands(asked.request);
        SimResponse::json(200, &self.user_body(asked, position, &standing, expands))
    }

    /// What the platform says of an agent, the stuck ones included.
    pub(super) fn standing(&mut self, position: usize, at: UnixMillis) -> Standing {
        let stuck = self.stuck.segment(position);
        let seed = self.roster.spec().seed;
        let entry = self.roster.entry_mut(position);
        let standing = Reading::at(seed, entry.agent.index, &mut entry.timeline, at).standing();
        match stuck {
            // Who is stuck is on call with nobody.
            Some(segment) => standing.stuck(segment),
            None => standing,
        }
    }

    /// Whether a fault puts an agent in a state that nobody knows.
    pub(super) fn is_unknown(&self, position: usize, now: UnixMillis) -> bool {
        let percent = self
            .fault(FaultKind::UnknownState, None, now)
            .map_or(0, Active::percent);
        concerns(self.roster.spec().seed, UNKNOWN, position, percent)
    }

    /// A user with expands. Expands are best effort: a fault leaves some out.
    fn user_body(
        &self,
        asked: &Asked<'_>,
        position: usize,
        standing: &Standing,
        expands: Expands,
    ) -> Value {
        let unknown = self.is_unknown(position, asked.now);
        let entry = &self.roster.entries()[position];
        let agent = &entry.agent;
        let mut body = bodies::user(agent, entry.is_registered(asked.platform_now));
        let missing = self
            .fault(FaultKind::ExpandMissing, None, asked.now)
            .map_or(0, Active::percent);
        let seed = self.roster.spec().seed;
        let mut put = |asked_for: bool, field: &str, value: &dyn Fn() -> Value| {
            let salt = [
                seed,
                MISSING,
                asked.number,
                position as u64,
                field.len() as u64,
            ];
            if asked_for && !chance::strikes(missing, &salt) {
                body[field] = value();
            }
        };
        put(expands.presence, "presence", &|| {
            user_bodies::presence(agent, standing)
        });
        put(expands.routing_status, "routingStatus", &|| {
            user_bodies::routing_status(agent, standing, unknown)
        });
        put(expands.conversation_summary, "conversationSummary", &|| {
            user_bodies::conversation_summary(agent, standing.conversation)
        });
        put(expands.out_of_office, "outOfOffice", &|| {
            user_bodies::out_of_office(agent)
        });
        body
    }

    /// A routing status. The platform knows no unknown user: it calls everybody off queue.
    pub(super) fn routing_status(&mut self, asked: &Asked<'_>, id: &str) -> SimResponse {
        let Some(position) = self.registered(asked, id) else {
            return SimResponse::json(200, &json!({"userId": id, "status": "OFF_QUEUE"}));
        };
        let standing = self.standing(position, asked.platform_now);
        let unknown = self.is_unknown(position, asked.now);
        let agent = &self.roster.entries()[position].agent;
        SimResponse::json(200, &user_bodies::routing_status(agent, &standing, unknown))
    }

    pub(super) fn presence(&mut self, asked: &Asked<'_>, id: &str) -> SimResponse {
        let Some(position) = self.registered(asked, id) else {
            return not_found(asked);
        };
        let standing = self.standing(position, asked.platform_now);
        let agent = &self.roster.entries()[position].agent;
        SimResponse::json(200, &user_bodies::presence(agent, &standing))
    }

    /// Presences of many users: a bare array, those that do not exist left out.
    pub(super) fn presence_bulk(&mut self, asked: &Asked<'_>) -> SimResponse {
        let ids = asked.request.query_list("id");
        if ids.len() > BULK_IDS_MAX {
            return too_many(asked, "max.user.ids", ids.len(), BULK_IDS_MAX);
        }
        let mut rows = Vec::new();
        for id in ids {
            if let Some(position) = self.registered(asked, &id) {
                let standing = self.standing(position, asked.platform_now);
                let agent = &self.roster.entries()[position].agent;
                rows.push(user_bodies::bulk_presence(agent, &standing));
            }
        }
        SimResponse::json(200, &rows)
    }

    /// The queues of a user; by default those joined.
    pub(super) fn user_queues(&mut self, asked: &Asked<'_>, id: &str) -> SimResponse {
        let Some(position) = self.registered(asked, id) else {
            return not_found(asked);
        };
        let wanted = match PageRequest::read(asked.request, USERS_PAGE_MAX) {
            Ok(wanted) => wanted,
            Err(message) => return asked.error(400, "bad.request", &message),
        };
        let joined = asked
            .request
            .query("joined")
            .is_none_or(|text| text != "false");
        let members = self.member_counts(asked);
        let memberships = &self.roster.entries()[position].agent.memberships;
        let rows: Vec<Value> = memberships
            .iter()
            .filter(|membership| membership.joined == joined)
            .map(|membership| {
                let queue = membership.queue;
                let mut row = bodies::queue(&self.roster, queue, members[queue]);
                row["joined"] = json!(membership.joined);
                row
            })
            .collect();
        let path = format!("/api/v2/users/{id}/queues?joined={joined}");
        SimResponse::json(200, &page(&path, wanted.slice(&rows), wanted, rows.len()))
    }

    /// `presence/definitions`: one page, whatever is asked for.
    pub(super) fn definitions() -> SimResponse {
        SimResponse::json(200, &presence::definitions())
    }

    /// `systempresences`.
    pub(super) fn system_presences() -> SimResponse {
        SimResponse::json(200, &presence::system_presences())
    }
}

/// Path of the listing with those parameters that are not of paging.
fn listing_path(request: &SimRequest, state: &str) -> String {
    let mut path = format!("/api/v2/users?state={state}");
    for name in ["expand", "id"] {
        let list = request.query_list(name);
        if !list.is_empty() {
            path = format!("{path}&{name}={}", list.join(","));
        }
    }
    path
}

fn too_many(asked: &Asked<'_>, code: &str, given: usize, most: usize) -> SimResponse {
    asked.error(
        400,
        code,
        &format!("{given} ids are too many: at most {most}"),
    )
}

/// One of the ways in which a user cannot be read.
fn spoiled(mut user: Value, turn: usize) -> Value {
    match turn % 6 {
        0 => user["id"] = json!(""),
        1 => user["routingStatus"]["startTime"] = json!("yesterday"),
        2 => user["presence"] = json!(7),
        3 => user["routingStatus"] = json!("IDLE"),
        4 => user["routingStatus"]["status"] = Value::Null,
        _ => user = json!("not a user"),
    }
    user
}
