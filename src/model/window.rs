//! The window row: an agent's exact time in state within one window.

use serde::{Deserialize, Serialize};

use super::event::decimal_seconds;
use super::ids::UserId;
use super::time::{Millis, UnixMillis};

/// Length and step of the windows, aligned to the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSpec {
    /// How long a window is.
    pub length: Millis,
    /// How far apart windows start; divides `length`.
    pub slide: Millis,
}

impl WindowSpec {
    /// # Panics
    /// Unless `0 < slide ≤ length` and `slide` divides `length`; the configuration checks it first.
    pub fn new(length: Millis, slide: Millis) -> Self {
        assert!(
            slide.0 > 0 && slide <= length && length.0 % slide.0 == 0,
            "slide divides length"
        );
        Self { length, slide }
    }

    /// The latest window end that is not after `at`.
    pub fn last_end(self, at: UnixMillis) -> UnixMillis {
        // Ends are starts plus length, and length is a multiple of slide.
        at.floor(self.slide)
    }

    /// The earliest window end that is after `at`.
    pub fn next_end(self, at: UnixMillis) -> UnixMillis {
        at.floor(self.slide) + self.slide
    }
}

/// Time in state and how good the figures are. `metrics` adds up to `covered` to the millisecond.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowRow {
    /// The agent.
    pub user_id: UserId,
    /// Start of the window, within it.
    pub window_start: UnixMillis,
    /// End of the window, not within it.
    pub window_end: UnixMillis,
    /// Time by state.
    pub metrics: WindowMetrics,
    /// How good the figures are.
    pub quality: WindowQuality,
}

/// Time by state, and how often it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowMetrics {
    /// Time available.
    #[serde(with = "decimal_seconds")]
    pub available_seconds: Millis,
    /// Time not ready.
    #[serde(with = "decimal_seconds")]
    pub not_ready_seconds: Millis,
    /// Time on call.
    #[serde(with = "decimal_seconds")]
    pub on_call_seconds: Millis,
    /// Time in wrap-up.
    #[serde(with = "decimal_seconds")]
    pub wrap_up_seconds: Millis,
    /// Time of which nothing trustworthy is known.
    #[serde(with = "decimal_seconds")]
    pub unknown_seconds: Millis,
    /// Segment starts inside the window.
    pub state_transitions: u32,
}

impl WindowMetrics {
    /// The five figures, in the order of `RoutingState::ALL`.
    pub fn by_state(&self) -> [Millis; 5] {
        [
            self.available_seconds,
            self.not_ready_seconds,
            self.on_call_seconds,
            self.wrap_up_seconds,
            self.unknown_seconds,
        ]
    }

    /// From five figures in the order of `RoutingState::ALL`, and the count of starts.
    pub fn from_states(by_state: [Millis; 5], state_transitions: u32) -> Self {
        let [
            available_seconds,
            not_ready_seconds,
            on_call_seconds,
            wrap_up_seconds,
            unknown_seconds,
        ] = by_state;
        Self {
            available_seconds,
            not_ready_seconds,
            on_call_seconds,
            wrap_up_seconds,
            unknown_seconds,
            state_transitions,
        }
    }

    /// Sum of the five figures.
    pub fn total(&self) -> Millis {
        self.by_state()
            .into_iter()
            .fold(Millis::ZERO, |sum, part| sum + part)
    }
}

/// How good the figures of a row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowQuality {
    /// The part of the window in which the agent was in the registry; the length, but for
    /// joiners and leavers.
    #[serde(with = "decimal_seconds")]
    pub covered_seconds: Millis,
    /// Time whose bound was observed rather than read from the platform.
    #[serde(with = "decimal_seconds")]
    pub estimated_seconds: Millis,
    /// More than three starts within 60 s touch the window.
    pub volatile: bool,
    /// 1, and one more with each later change of this row.
    pub revision: u32,
}
