//! The calls of the platform once a request is authorised: from the roster to a body.

use serde_json::{Value, json};

use super::bodies::{self, MemberCount};
use super::exchange::{Call, SimResponse};
use super::faults::{Active, FaultKind};
use super::listings::{PageRequest, page, page_without_total};
use super::platform::{Asked, SimulatedPlatform};
use super::snapshot::{MALFORMED, SnapshotView, UNKNOWN, concerns, records};
use super::user_bodies;
use crate::model::time::UnixMillis;

/// Largest pages (platform-api.md §2).
const QUEUES_PAGE_MAX: usize = 500;
const MEMBERS_PAGE_MAX: usize = 100;
/// Salts of the choice of agents who stay on call.
const STUCK: u64 = 30;
const STUCK_IN_CACHE: u64 = 31;

impl SimulatedPlatform {
    /// Answers an authorised call; `id` is the one in its path.
    pub(super) fn call(&mut self, asked: &Asked<'_>, call: Call, id: &str) -> SimResponse {
        self.pin(asked.now);
        match call {
            Call::Statuses => self.statuses(asked),
            Call::RoutingState => self.routing_state(asked, id),
            Call::Users => self.users(asked),
            Call::User => self.user(asked, id),
            Call::Queues => self.queues(asked),
            Call::Members => self.members(asked, id),
            Call::RoutingStatus => self.routing_status(asked, id),
            Call::Presence => self.presence(asked, id),
            Call::PresenceBulk => self.presence_bulk(asked),
            Call::UserQueues => self.user_queues(asked, id),
            Call::Definitions => Self::definitions(),
            Call::SystemPresences => Self::system_presences(),
            Call::Details => self.details(asked),
            Call::AgentStatus => self.agent_status(asked, id),
            Call::Conversations => conversations(),
            Call::Channels => self.channels(asked),
            Call::Channel => self.channel(asked, id),
            Call::Subscriptions => self.subscriptions(asked, id),
            Call::AvailableTopics => Self::available_topics(),
            Call::Token => unreachable!("BUG: the login is not an authorised call"),
        }
    }

    /// Chooses agents who stay on call, when a fault that wants some becomes active.
    pub(super) fn pin(&mut self, now: UnixMillis) {
        let wanted = |kind| {
            let active = self.fault(kind, None, now)?;
            Some((self.active_since(active, now), active.value))
        };
        let stuck = wanted(FaultKind::StuckOnCall);
        let in_cache = wanted(FaultKind::StuckInCache);
        self.stuck.refresh(stuck, &mut self.roster, STUCK);
        self.stuck_in_cache
            .refresh(in_cache, &mut self.roster, STUCK_IN_CACHE);
    }

    fn statuses(&mut self, asked: &Asked<'_>) -> SimResponse {
        let fault = |kind| self.fault(kind, None, asked.now);
        let percent = |kind| fault(kind).map_or(0, Active::percent);
        let refreshed = match fault(FaultKind::StaleCache) {
            Some(active) => self.refresh_before(self.active_since(active, asked.now)),
            None => self.refresh_before(asked.platform_now),
        };
        let view = SnapshotView {
            refreshed,
            diverged: fault(FaultKind::Divergence).map(|active| {
                (
                    active.percent(),
                    self.refresh_before(self.active_since(active, asked.now)),
                )
            }),
            pinned: [&self.stuck, &self.stuck_in_cache],
            unknown: percent(FaultKind::UnknownState),
            kept: fault(FaultKind::Partial).map(Active::percent),
            duplicates: fault(FaultKind::Duplicates).is_some(),
            out_of_order: fault(FaultKind::OutOfOrder).is_some(),
            malformed: percent(FaultKind::Malformed),
        };
        let rows = records(&mut self.roster, &view);
        let Some(size) = self.statuses_page else {
            return SimResponse::json(200, &rows);
        };
        match PageRequest::read(asked.request, usize::MAX) {
            Ok(PageRequest { number, .. }) => {
                let wanted = PageRequest { size, number };
                let entities = wanted.slice(&rows);
                SimResponse::json(
                    200,
                    &page("/api/v2/users/statuses", entities, wanted, rows.len()),
                )
            }
            Err(message) => asked.error(400, "invalid.value", &message),
        }
    }

    fn routing_state(&mut self, asked: &Asked<'_>, id: &str) -> SimResponse {
        let Some(position) = self.registered(asked, id) else {
            return not_found(asked);
        };
        let fault = |kind| self.fault(kind, None, asked.now);
        let seed = self.roster.spec().seed;
        let percent = |kind| fault(kind).map_or(0, Active::percent);
        let unknown = concerns(seed, UNKNOWN, position, percent(FaultKind::UnknownState));
        let malformed = concerns(
            seed,
            MALFORMED ^ asked.number,
            position,
            percent(FaultKind::Malformed),
        );
        let rising = fault(FaultKind::OutOfOrder).is_some();
        let limit = if fault(FaultKind::NoHistory).is_some() {
            1
        } else {
            self.history
        };
        let at = match self.stuck.segment(position) {
            Some(segment) => segment.entered_at,
            None => asked.platform_now,
        };
        let entry = self.roster.entry_mut(position);
        let mut states: Vec<Value> = entry
            .timeline
            .history_at(at, limit)
            .iter()
            .enumerate()
            .map(|(age, start)| bodies::routing_entry(start, unknown && age == 0))
            .collect();
        if malformed && let Some(oldest) = states.last_mut() {
            oldest["stateEnteredTimestamp"] = json!("yesterday");
        }
        if rising {
            states.reverse();
        }
        SimResponse::json(
            200,
            &json!({"userId": entry.agent.id, "routingStates": states}),
        )
    }

    fn queues(&mut self, asked: &Asked<'_>) -> SimResponse {
        let wanted = match PageRequest::read(asked.request, QUEUES_PAGE_MAX) {
            Ok(wanted) => wanted,
            Err(message) => return asked.error(400, "bad.request", &message),
        };
        let members = self.member_counts(asked);
        let positions: Vec<usize> = (0..members.len()).collect();
        let entities: Vec<Value> = wanted
            .slice(&positions)
            .iter()
            .map(|&position| bodies::queue(&self.roster, position, members[position]))
            .collect();
        SimResponse::json(
            200,
            &page("/api/v2/routing/queues", &entities, wanted, positions.len()),
        )
    }

    /// Members of every queue, by its position.
    pub(super) fn member_counts(&self, asked: &Asked<'_>) -> Vec<MemberCount> {
        let mut counts = vec![MemberCount::default(); self.roster.queues().len()];
        for position in self.roster.registered_at(asked.platform_now) {
            for membership in &self.roster.entries()[position].agent.memberships {
                counts[membership.queue].all += 1;
                counts[membership.queue].joined += usize::from(membership.joined);
            }
        }
        counts
    }

    fn members(&mut self, asked: &Asked<'_>, id: &str) -> SimResponse {
        let Some(queue) = self.roster.find_queue(id) else {
            return not_found(asked);
        };
        let wanted = match PageRequest::read(asked.request, MEMBERS_PAGE_MAX) {
            Ok(wanted) => wanted,
            Err(message) => return asked.error(400, "bad.request", &message),
        };
        let joined = asked
            .request
            .query("joined")
            .and_then(|text| text.parse::<bool>().ok());
        let mut rows = Vec::new();
        for position in self.roster.registered_at(asked.platform_now) {
            let agent = &self.roster.entries()[position].agent;
            let membership = agent
                .memberships
                .iter()
                .find(|membership| membership.queue == queue);
            if let Some(&membership) = membership
                && joined.is_none_or(|joined| joined == membership.joined)
            {
                rows.push((position, membership));
            }
        }
        let mut entities = Vec::new();
        for &(position, membership) in wanted.slice(&rows) {
            let mut row = bodies::member(&self.roster.entries()[position].agent, membership);
            if self.dialect.has_platform() {
                let standing = self.standing(position, asked.platform_now);
                let unknown = self.is_unknown(position, asked.now);
                let agent = &self.roster.entries()[position].agent;
                row["routingStatus"] = user_bodies::routing_status(agent, &standing, unknown);
            }
            entities.push(row);
        }
        let filter = joined.map_or(String::new(), |joined| format!("?joined={joined}"));
        let path = format!("/api/v2/routing/queues/{id}/members{filter}");
        SimResponse::json(
            200,
            &page_without_total(&path, &entities, wanted, rows.len()),
        )
    }

    pub(super) fn registered(&self, asked: &Asked<'_>, id: &str) -> Option<usize> {
        self.roster
            .find(id)
            .filter(|&position| self.roster.entries()[position].is_registered(asked.platform_now))
    }
}

/// Conversations are those of the user who is logged in, and a client is no user.
fn conversations() -> SimResponse {
    let wanted = PageRequest {
        size: 25,
        number: 1,
    };
    SimResponse::json(200, &page("/api/v2/conversations", &[(); 0], wanted, 0))
}

pub(super) fn not_found(asked: &Asked<'_>) -> SimResponse {
    asked.error(
        404,
        "not.found",
        "The requested resource could not be found.",
    )
}
