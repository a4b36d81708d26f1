//! What the journal carries: events, confirmation marks, and the facts beside them that the
//! window function takes (presence, roster). A grow-only set: every record has an identity, a
//! higher revision replaces a lower one, and applying a record twice changes nothing
//! (semantics.md §4).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::UserId;
use super::state::{Presence, RoutingState, Source};
use super::time::{Millis, UnixMillis};

/// How a segment's start is joined to the segment before it (semantics.md §4, §12.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "kind"
)]
pub enum Chain {
    /// Nothing of the agent was known before, or the answer named several segments and the
    /// known one was not among them: what lies between `known_until` and this start is unknown.
    Gap {
        /// Latest instant for which the previous state is believed; `None`: never.
        known_until: Option<UnixMillis>,
    },
    /// Seen alone: the previous state is believed until this start if it is another state and
    /// the hole is no longer than `tolerance`; the hole then counts as estimated.
    Alone {
        /// Latest instant for which the previous state is confirmed.
        known_until: UnixMillis,
        /// The gap tolerance in force when this was seen.
        tolerance: Millis,
    },
    /// One answer named both as neighbours: nothing lay between.
    Follows {
        /// Start of the segment before this one.
        entered_at: UnixMillis,
    },
}

/// The start of a segment: an agent entered a routing state.
///
/// Serialised, it is the message of the queue: the normalised record (status-api.md) plus
/// `previous` and `revision`, plus what the window function needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The agent.
    pub user_id: UserId,
    /// Platform time of the start; with `user_id` the identity.
    pub state_entered_timestamp: UnixMillis,
    /// The state entered.
    #[serde(with = "wire_state")]
    pub routing_availability: RoutingState,
    /// The platform's own word where this version does not know the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_state: Option<Arc<str>>,
    /// The wrap-up code, if the platform gave one.
    pub wrapup_code: Option<Arc<str>>,
    /// UI presence when the event was made; a separate fact.
    pub ui_presence: Presence,
    /// Names of the agent's queues when the event was made, sorted.
    pub queue_assignments: Arc<[Arc<str>]>,
    /// The instant that the record describes: confirmed_until when the event was made.
    pub timestamp: UnixMillis,
    /// `timestamp − state_entered_timestamp`, never negative.
    #[serde(with = "decimal_seconds")]
    pub state_duration_seconds: Millis,
    /// When the answer that told it had arrived, by our clock; pipeline health only.
    pub ingested_at: UnixMillis,
    /// Who said it.
    pub source: Source,
    /// Whether the agent was flagged volatile when the event was made.
    pub volatile: bool,
    /// The state before, if one was known.
    #[serde(with = "wire_state_option")]
    pub previous: Option<RoutingState>,
    /// 1, and one more with each correction.
    pub revision: u32,
    /// How this start is joined to the segment before.
    pub chain: Chain,
    /// The start was observed rather than read from the platform (semantics.md §12.11).
    #[serde(default)]
    pub estimated: bool,
    /// A tombstone: a later answer showed that this event never was.
    #[serde(default)]
    pub withdrawn: bool,
}

impl Event {
    /// The idempotency key, `{userId}:{stateEnteredTimestamp}`.
    pub fn key(&self) -> String {
        format!("{}:{}", self.user_id, self.state_entered_timestamp)
    }
}

/// A statement that an agent was in one segment until an instant, and how far its windows are
/// final. Only the latest per segment matters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// The agent.
    pub user_id: UserId,
    /// Start of the segment that is confirmed; `None`: the agent's state was never known.
    pub entered_at: Option<UnixMillis>,
    /// Latest platform instant for which the state is confirmed; `None`: never.
    pub confirmed_until: Option<UnixMillis>,
    /// The gap tolerance in force.
    pub tolerance: Millis,
    /// Every window of this agent that ends at or before this instant is closed.
    pub closed_until: Option<UnixMillis>,
}

/// A span in which an agent was in the registry; identity (agent, `from`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RosterSpan {
    /// The agent.
    pub user_id: UserId,
    /// From this instant its time is accounted for.
    pub from: UnixMillis,
    /// Left the registry: its time ends here. `None`: still there.
    pub until: Option<UnixMillis>,
}

/// A change of UI presence; identity (agent, `at`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PresenceChange {
    /// The agent.
    pub user_id: UserId,
    /// Platform time of the change.
    pub at: UnixMillis,
    /// The presence from then on.
    pub presence: Presence,
}

/// One record of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "body")]
pub enum JournalRecord {
    /// A state change; in a box, for it is six times as large as the others, and at a first start
    /// there is one of those for everybody.
    Event(Box<Event>),
    /// Confirmations, several agents a record.
    Marks(Vec<Mark>),
    /// A span in the registry.
    Roster(RosterSpan),
    /// A change of presence.
    Presence(PresenceChange),
}

impl From<Event> for JournalRecord {
    fn from(event: Event) -> Self {
        Self::Event(Box::new(event))
    }
}

/// Most marks in one record, so that a message stays well under 128 KiB.
pub const MARKS_PER_RECORD_MAX: usize = 500;

/// Routing states in the User Status API's spelling.
mod wire_state {
    use super::RoutingState;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        state: &RoutingState,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(state.wire())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<RoutingState, D::Error> {
        Ok(RoutingState::from_wire(
            &std::borrow::Cow::<'de, str>::deserialize(deserializer)?,
        ))
    }
}

/// The same, optional.
mod wire_state_option {
    use super::RoutingState;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        state: &Option<RoutingState>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        state.map(RoutingState::wire).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<RoutingState>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(|text| RoutingState::from_wire(&text)))
    }
}

/// Seconds as a JSON number: integral values without a point, else milliseconds as decimals.
pub mod decimal_seconds {
    use super::Millis;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes `1420` or `1420.25`.
    pub fn serialize<S: Serializer>(span: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
        if span.0 % 1_000 == 0 {
            serializer.serialize_i64(span.0 / 1_000)
        } else {
            serializer.serialize_f64(span.as_secs_f64())
        }
    }

    /// Reads either form, to the nearest millisecond.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Ok(Millis((seconds * 1_000.0).round() as i64))
    }
}
