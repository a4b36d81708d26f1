//! Users with what was expanded: `GET /api/v2/users?expand=…`, the scan of this dialect, and
//! `GET /api/v2/users/{userId}?expand=…`, one agent asked for by itself.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::de::MapAccess;

use super::work::Work;
use crate::model::ids::UserId;
use crate::model::platform_status::PlatformStatus;
use crate::model::state::{Presence, RAW_TEXT_MAX, RoutingState};
use crate::model::time::UnixMillis;
use crate::upstream::wire::{PlatformFact, RefusalReason, StatusPage, StatusRecord};
use crate::upstream::wire_status::WireError;
use crate::upstream::wire_status::again::LastPages;
use crate::upstream::wire_status::document::{Listing, Maybe, Object, Page, listing, object, skip};
use crate::upstream::wire_status::scalar::{Scalar, bounded_arc};
use crate::upstream::wire_status::statuses::Presences;

/// Users on one page: twenty times the largest page that is asked for, for servers that ignore
/// the page size. More is an error.
pub const USERS_MAX: usize = 10_000;

const LISTING: Listing = Listing {
    what: "users",
    expected: "an object with entities, the users",
    rows_max: USERS_MAX,
    bare: false,
};

/// Reads a page of the scan. Users that are not active are left out, should the server have
/// ignored the filter.
pub fn users(body: &[u8]) -> Result<StatusPage, WireError> {
    let mut presences = Presences::default();
    let nobody = BTreeSet::new();
    let accept = |row: UserRow<'_>| row.accept(&mut presences, &nobody);
    listing(body, LISTING, accept).map(page)
}

/// Reads one scan after another as [`users`] does; what has not changed is not parsed again.
#[derive(Debug, Default)]
pub struct UsersReader(LastPages<AgentAnswer>);

impl UsersReader {
    /// Reads page `number`, counted from 1. An id that is among `held` is taken from there. Tells
    /// the names of active users whose rows are new or have changed.
    pub fn read(
        &mut self,
        number: u32,
        body: &Bytes,
        held: &BTreeSet<UserId>,
        tell: &mut dyn FnMut(&UserId, &str),
    ) -> Result<StatusPage, WireError> {
        let mut presences = Presences::default();
        let accept = |row: UserRow<'_>| {
            let answer = row.accept(&mut presences, held)?;
            if let (Some(answer), Some(name)) = (&answer, row.name.text()) {
                tell(answer.user_id(), name);
            }
            Ok(answer)
        };
        let same = |a: &AgentAnswer, b: &AgentAnswer| a.user_id() == b.user_id();
        self.0.read(number, body, LISTING, same, accept).map(page)
    }
}

fn page((rows, paging): Page<AgentAnswer>) -> StatusPage {
    let mut page = StatusPage {
        refused: rows.refused,
        paging,
        ..StatusPage::default()
    };
    page.records.reserve(rows.kept.len());
    for answer in rows.kept {
        match answer {
            AgentAnswer::Told(record) => page.records.push(record),
            AgentAnswer::Incomplete(user) => page.incomplete.push(user),
        }
    }
    page
}

/// What an answer says of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentAnswer {
    /// Everything that was asked for.
    Told(StatusRecord),
    /// An expand is missing: nothing is known by it.
    Incomplete(UserId),
}

impl AgentAnswer {
    fn user_id(&self) -> &UserId {
        match self {
            Self::Told(record) => &record.user_id,
            Self::Incomplete(user) => user,
        }
    }
}

/// Reads the answer about `expected`; one about another user is refused, as is one whose fields
/// cannot be read.
pub fn user(body: &[u8], expected: &UserId) -> Result<AgentAnswer, WireError> {
    let row: UserRow<'_> = object(body, "a user")?;
    match &row.id {
        Scalar::Text(text) if text == expected.as_str() => {}
        _ => return Err(WireError::OtherUser),
    }
    match row.accept(&mut Presences::default(), &BTreeSet::new()) {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Ok(AgentAnswer::Incomplete(expected.clone())),
        Err(_) => Err(WireError::Missing {
            field: "routingStatus",
        }),
    }
}

/// A user as it stands; addresses and all else are skipped unbuilt.
#[derive(Default)]
struct UserRow<'a> {
    id: Scalar<'a>,
    name: Scalar<'a>,
    state: Scalar<'a>,
    presence: Field<PresenceRow<'a>>,
    routing: Field<RoutingRow<'a>>,
    work: Field<Work>,
}

/// An expanded field: best effort, so it may not be there.
#[derive(Default)]
enum Field<T> {
    #[default]
    Missing,
    Wrong,
    There(T),
}

impl<T> Field<T> {
    fn read<'de, A: MapAccess<'de>>(fields: &mut A) -> Result<Self, A::Error>
    where
        T: Object<'de>,
    {
        let Maybe(value) = fields.next_value::<Maybe<T>>()?;
        Ok(value.map_or(Self::Wrong, Self::There))
    }
}

impl<'de> Object<'de> for UserRow<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        match key {
            "id" => self.id = fields.next_value()?,
            "name" => self.name = fields.next_value()?,
            "state" => self.state = fields.next_value()?,
            "presence" => self.presence = Field::read(fields)?,
            "routingStatus" => self.routing = Field::read(fields)?,
            "conversationSummary" => self.work = Field::read(fields)?,
            _ => skip(fields)?,
        }
        Ok(())
    }
}

impl UserRow<'_> {
    fn accept(
        &self,
        presences: &mut Presences,
        held: &BTreeSet<UserId>,
    ) -> Result<Option<AgentAnswer>, RefusalReason> {
        let id = self.id.id()?;
        let active = self
            .state
            .text()
            .is_none_or(|state| state.eq_ignore_ascii_case("active"));
        if !active {
            return Ok(None);
        }
        let incomplete = || Ok(Some(AgentAnswer::Incomplete(UserId::of(id, held))));
        let (Field::There(presence), Field::There(routing)) = (&self.presence, &self.routing)
        else {
            return incomplete();
        };
        let (name, presence_since) = presence.read(presences)?;
        let text = routing.status.text().ok_or(RefusalReason::Shape)?;
        let status = PlatformStatus::parse(text);
        let since = match routing.start_time {
            Scalar::Null => None,
            _ => Some(routing.start_time.instant()?),
        };
        let Some((availability, unoccupied)) = routing_state(status, &self.work) else {
            return incomplete();
        };
        let presence_since = presence_since.or(since).unwrap_or_default();
        Ok(Some(AgentAnswer::Told(StatusRecord {
            user_id: UserId::of(id, held),
            presence: name,
            availability,
            last_modified: since.map_or(presence_since, |since| since.max(presence_since)),
            platform: Some(Box::new(PlatformFact {
                status,
                raw_status: (status == PlatformStatus::Other)
                    .then(|| bounded_arc(text, RAW_TEXT_MAX)),
                since,
                presence_since,
                unoccupied,
            })),
        })))
    }
}

/// The routing state that a status means, and whether it is an interaction without any
/// (platform-api.md §10). `None`: it depends on open work, and that was not told.
fn routing_state(status: PlatformStatus, work: &Field<Work>) -> Option<(RoutingState, bool)> {
    let state = match status {
        PlatformStatus::Idle => RoutingState::Available,
        PlatformStatus::OffQueue | PlatformStatus::NotResponding => RoutingState::NotReady,
        PlatformStatus::Communicating => RoutingState::OnCall,
        PlatformStatus::Other => RoutingState::Unknown,
        PlatformStatus::Interacting => {
            return match work {
                Field::There(work) if !work.unreadable => {
                    Some(match (work.active, work.after_call) {
                        (0, 0) => (RoutingState::OnCall, true),
                        (0, _) => (RoutingState::WrapUp, false),
                        _ => (RoutingState::OnCall, false),
                    })
                }
                _ => None,
            };
        }
    };
    Some((state, false))
}

#[derive(Default)]
struct RoutingRow<'a> {
    status: Scalar<'a>,
    start_time: Scalar<'a>,
}

impl<'de> Object<'de> for RoutingRow<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        match key {
            "status" => self.status = fields.next_value()?,
            "startTime" => self.start_time = fields.next_value()?,
            _ => skip(fields)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct PresenceRow<'a> {
    definition: Definition<'a>,
    modified_date: Scalar<'a>,
}

impl<'de> Object<'de> for PresenceRow<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        match key {
            "presenceDefinition" => {
                let Maybe(definition) = fields.next_value::<Maybe<Definition<'de>>>()?;
                self.definition = definition.unwrap_or_default();
            }
            "modifiedDate" => self.modified_date = fields.next_value()?,
            _ => skip(fields)?,
        }
        Ok(())
    }
}

impl PresenceRow<'_> {
    fn read(
        &self,
        presences: &mut Presences,
    ) -> Result<(Presence, Option<UnixMillis>), RefusalReason> {
        let text = self
            .definition
            .system_presence
            .text()
            .ok_or(RefusalReason::Shape)?;
        let since = match self.modified_date {
            Scalar::Null => None,
            _ => Some(self.modified_date.instant()?),
        };
        Ok((presences.parse(text), since))
    }
}

#[derive(Default)]
struct Definition<'a> {
    system_presence: Scalar<'a>,
}

impl<'de> Object<'de> for Definition<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        match key {
            "systemPresence" => self.system_presence = fields.next_value()?,
            _ => skip(fields)?,
        }
        Ok(())
    }
}
