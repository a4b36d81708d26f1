//! The public platform's own routing status, before it is mapped to a routing state
//! (platform-api.md §2.2, §10): a label of its own, because the mapping loses what it says.

use serde::{Deserialize, Serialize};

/// A routing status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlatformStatus {
    /// `OFF_QUEUE`.
    OffQueue,
    /// `IDLE`: on queue, waiting.
    Idle,
    /// `INTERACTING`: in an interaction or in after-call work.
    Interacting,
    /// `NOT_RESPONDING`: missed an alert, gets no new work.
    NotResponding,
    /// `COMMUNICATING`: on a call outside all queues.
    Communicating,
    /// One that this version does not know.
    Other,
}

impl PlatformStatus {
    /// Every status, in label order.
    pub const ALL: [Self; 6] = [
        Self::OffQueue,
        Self::Idle,
        Self::Interacting,
        Self::NotResponding,
        Self::Communicating,
        Self::Other,
    ];

    /// The label value: the platform's spelling in lower case.
    pub const fn label(self) -> &'static str {
        match self {
            Self::OffQueue => "off_queue",
            Self::Idle => "idle",
            Self::Interacting => "interacting",
            Self::NotResponding => "not_responding",
            Self::Communicating => "communicating",
            Self::Other => "other",
        }
    }

    /// Reads the platform's spelling, whatever its letter case.
    pub fn parse(text: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|status| *status != Self::Other && text.eq_ignore_ascii_case(status.label()))
            .unwrap_or(Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_other() {
        assert_eq!(PlatformStatus::parse("OFF_QUEUE"), PlatformStatus::OffQueue);
        assert_eq!(PlatformStatus::parse("Idle"), PlatformStatus::Idle);
        for unknown in ["other", "LEVITATING", "", "outdated_sdk_version"] {
            assert_eq!(PlatformStatus::parse(unknown), PlatformStatus::Other);
        }
    }
}
