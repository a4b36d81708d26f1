//! Exact time in state, read off a timeline: the figure that every other figure is held against.
//!
//! Deliberately plain, and without a line in common with the windows and counters that it
//! judges. Pure.

use serde::Serialize;

use super::behaviour::Timeline;
use crate::model::state::RoutingState;
use crate::model::time::{Millis, UnixMillis};

/// Time in each state within an interval. The four figures add up to its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeInState {
    /// Milliseconds available.
    pub available_millis: i64,
    /// Milliseconds not ready.
    pub not_ready_millis: i64,
    /// Milliseconds on call.
    pub on_call_millis: i64,
    /// Milliseconds in wrap-up.
    pub wrap_up_millis: i64,
    /// Segments that began within the interval, its first instant included.
    pub starts: u64,
}

impl TimeInState {
    /// The time in one state; none in `Unknown`.
    pub fn of(&self, state: RoutingState) -> Millis {
        Millis(match state {
            RoutingState::Available => self.available_millis,
            RoutingState::NotReady => self.not_ready_millis,
            RoutingState::OnCall => self.on_call_millis,
            RoutingState::WrapUp => self.wrap_up_millis,
            RoutingState::Unknown => 0,
        })
    }

    /// The time in all states.
    pub fn total(&self) -> Millis {
        Millis(
            self.available_millis
                + self.not_ready_millis
                + self.on_call_millis
                + self.wrap_up_millis,
        )
    }

    fn add(&mut self, state: RoutingState, span: Millis) {
        match state {
            RoutingState::Available => self.available_millis += span.0,
            RoutingState::NotReady => self.not_ready_millis += span.0,
            RoutingState::OnCall => self.on_call_millis += span.0,
            RoutingState::WrapUp => self.wrap_up_millis += span.0,
            RoutingState::Unknown => unreachable!("BUG: a timeline has no unknown state"),
        }
    }
}

/// A segment that touches an interval, with its own bounds, not the interval's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrueSegment {
    /// The state, in the wire spelling.
    #[serde(serialize_with = "wire")]
    pub state: RoutingState,
    /// The wrap-up code.
    pub wrapup_code: Option<&'static str>,
    /// Its start.
    pub entered_at: UnixMillis,
    /// Its end, if that is not after the end of the interval.
    pub until: Option<UnixMillis>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn wire<S: serde::Serializer>(state: &RoutingState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.wire())
}

/// Time in each state within `[from, to)`; all zero if `from ≥ to`.
///
/// The interval must not begin before [`Timeline::known_from`]; what was before counts as the
/// first state that is remembered.
pub fn time_in_state(timeline: &mut Timeline, from: UnixMillis, to: UnixMillis) -> TimeInState {
    let mut time = TimeInState::default();
    if from >= to {
        return time;
    }
    timeline.extend_to(to);
    // Walks backwards from the end: the interval asked for is mostly recent.
    let mut end = to;
    for start in timeline.routing().iter().rev() {
        if start.entered_at >= end {
            continue;
        }
        time.starts += u64::from(start.entered_at >= from);
        time.add(start.state, end - start.entered_at.max(from));
        end = start.entered_at;
        if end <= from {
            return time;
        }
    }
    time.add(timeline.routing()[0].state, end - from);
    time
}

/// The segments that touch `[from, to)`, in order.
pub fn segments(timeline: &mut Timeline, from: UnixMillis, to: UnixMillis) -> Vec<TrueSegment> {
    if from >= to {
        return Vec::new();
    }
    timeline.extend_to(to);
    let routing = timeline.routing();
    let mut found = Vec::new();
    for (position, start) in routing.iter().enumerate() {
        let next = routing.get(position + 1).map(|next| next.entered_at);
        if start.entered_at < to && next.is_none_or(|next| next > from) {
            found.push(TrueSegment {
                state: start.state,
                wrapup_code: start.wrapup_code,
                entered_at: start.entered_at,
                until: next.filter(|&next| next <= to),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::behaviour::{TEST_ORIGIN, hours};
    use super::super::org::{Agent, OrgSpec};
    use super::*;
    use proptest::prelude::*;

    fn timeline(seed: u64, tempo: f64) -> Timeline {
        let spec = OrgSpec {
            tempo,
            ..OrgSpec::new(1, 3, seed)
        };
        Timeline::new(&spec, TEST_ORIGIN, &Agent::generate(&spec, 0))
    }

    #[test]
    fn an_empty_interval_holds_nothing() {
        let mut timeline = timeline(1, 1.0);
        assert_eq!(
            time_in_state(&mut timeline, TEST_ORIGIN, TEST_ORIGIN),
            TimeInState::default()
        );
        assert!(segments(&mut timeline, TEST_ORIGIN, TEST_ORIGIN).is_empty());
    }

    #[test]
    fn a_start_belongs_to_the_interval_that_it_opens() {
        let mut timeline = timeline(4, 30.0);
        timeline.extend_to(TEST_ORIGIN + hours(1));
        let at = timeline.routing().last().unwrap().entered_at;
        assert_eq!(time_in_state(&mut timeline, at - Millis(10), at).starts, 0);
        assert_eq!(time_in_state(&mut timeline, at, at + Millis(10)).starts, 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn truth_adds_up_and_equals_the_segments(
            seed in any::<u64>(),
            tempo in prop_oneof![Just(1.0), Just(30.0)],
            offset in -3_600_000_i64..20_000_000,
            length in 1_i64..20_000_000,
        ) {
            let mut timeline = timeline(seed, tempo);
            let from = TEST_ORIGIN + Millis(offset);
            let to = from + Millis(length);
            let truth = time_in_state(&mut timeline, from, to);
            prop_assert_eq!(truth.total(), Millis(length));

            let mut by_segment = TimeInState::default();
            let found = segments(&mut timeline, from, to);
            for segment in &found {
                by_segment.add(
                    segment.state,
                    segment.until.unwrap_or(to) - segment.entered_at.max(from),
                );
                by_segment.starts += u64::from(segment.entered_at >= from);
                prop_assert_eq!(timeline.routing_at(segment.entered_at).state, segment.state);
            }
            prop_assert_eq!(truth, by_segment);
            prop_assert!(found.windows(2).all(|pair| pair[0].until == Some(pair[1].entered_at)));
        }

        #[test]
        fn adjacent_intervals_add_up(seed in any::<u64>(), cut in 1_i64..3_600_000) {
            let mut timeline = timeline(seed, 30.0);
            let (from, to) = (TEST_ORIGIN, TEST_ORIGIN + hours(1));
            let middle = from + Millis(cut);
            let whole = time_in_state(&mut timeline, from, to);
            let head = time_in_state(&mut timeline, from, middle);
            let tail = time_in_state(&mut timeline, middle, to);
            for state in RoutingState::ALL {
                prop_assert_eq!(whole.of(state), head.of(state) + tail.of(state));
            }
            prop_assert_eq!(whole.starts, head.starts + tail.starts);
        }
    }
}
