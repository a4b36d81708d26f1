//! The normalised record: one agent as it is now, as we publish and serve it (status-api.md).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::decimal_seconds;
use super::ids::UserId;
use super::state::{Presence, Source};
use super::time::{Millis, UnixMillis};

/// Field names are fixed by the wire format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NormalisedRecord {
    /// The agent.
    pub user_id: UserId,
    /// The instant that the record describes: confirmed_until.
    pub timestamp: UnixMillis,
    /// Committed UI presence.
    pub ui_presence: Presence,
    /// Routing state, in the wire spelling.
    pub routing_availability: Arc<str>,
    /// The wrap-up code, if the platform gave one.
    pub wrapup_code: Option<Arc<str>>,
    /// Names of the agent's queues, sorted.
    pub queue_assignments: Arc<[Arc<str>]>,
    /// `timestamp − state_entered_timestamp`, never negative; `None` while the start is unknown.
    #[serde(with = "optional_seconds")]
    pub state_duration_seconds: Option<Millis>,
    /// When the agent entered the state, by the platform's clock.
    pub state_entered_timestamp: Option<UnixMillis>,
    /// When the last answer about the agent had arrived, by our clock.
    pub ingested_at: UnixMillis,
    /// Who said it.
    pub source: Source,
    /// Held back as volatile.
    pub volatile: bool,
}

/// [`decimal_seconds`], or null.
mod optional_seconds {
    use super::{Millis, decimal_seconds};
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::ref_option, reason = "the signature that serde calls")]
    pub(super) fn serialize<S: Serializer>(
        span: &Option<Millis>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => decimal_seconds::serialize(span, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Millis>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        Ok(seconds.map(|seconds| Millis((seconds * 1_000.0).round() as i64)))
    }
}
