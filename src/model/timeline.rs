//! One agent's past as spans of state: the one place that decides what may be counted
//! (semantics.md §4, §12.2). Counters and window rows both read it, so they cannot disagree.
//!
//! A pure function of the agent's segments; it does not know windows, queues or clocks.

use std::collections::BTreeMap;

use super::event::Chain;
use super::state::RoutingState;
use super::time::{Millis, UnixMillis};

/// What is known of one segment; its start is the key it is kept under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The state.
    pub state: RoutingState,
    /// How its start is joined to the segment before.
    pub chain: Chain,
    /// Its start was observed rather than read from the platform.
    pub estimated: bool,
}

/// What is known of the end of the last segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// Latest instant for which the last segment is confirmed.
    pub confirmed_until: UnixMillis,
    /// How long it is believed beyond that, as an estimate.
    pub tolerance: Millis,
}

/// A piece of time in one state. Half-open: `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First instant.
    pub from: UnixMillis,
    /// First instant after it.
    pub to: UnixMillis,
    /// The state; `Unknown` where nothing may be counted.
    pub state: RoutingState,
    /// A bound of this time was observed by us rather than read from the platform.
    pub estimated: bool,
}

impl Span {
    /// How long it is.
    pub fn length(&self) -> Millis {
        self.to - self.from
    }
}

/// Segments by start.
pub type Segments = BTreeMap<UnixMillis, Segment>;

/// Splits `[from, to)` into spans without hole or overlap, in order; empty if `from ≥ to`.
///
/// `tail` speaks of the last segment of `segments`; without it nothing after the last start is
/// known but the start itself.
pub fn spans(
    segments: &Segments,
    tail: Option<Tail>,
    from: UnixMillis,
    to: UnixMillis,
) -> Vec<Span> {
    let mut out = Painter {
        at: from,
        end: to,
        spans: Vec::new(),
    };
    // Begin with the segment that reaches into the range, if one does.
    let first = segments
        .range(..=from)
        .next_back()
        .map_or(from, |(&start, _)| start);
    let mut inside = segments.range(first..).peekable();
    if let Some(&(&start, _)) = inside.peek() {
        out.paint(start, RoutingState::Unknown, false);
    }
    while let Some((&start, segment)) = inside.next() {
        if start >= to {
            break;
        }
        match inside.peek() {
            Some(&(&next, after)) => {
                let (believed, estimated_from) = believed_until(start, segment, next, after);
                out.paint(estimated_from, segment.state, segment.estimated);
                out.paint(believed, segment.state, true);
                out.paint(next, RoutingState::Unknown, false);
            }
            None => {
                let confirmed = tail.map_or(start, |tail| tail.confirmed_until.max(start));
                let tolerance = tail.map_or(Millis::ZERO, |tail| tail.tolerance);
                out.paint(confirmed, segment.state, segment.estimated);
                out.paint(confirmed + tolerance, segment.state, true);
            }
        }
    }
    out.paint(to, RoutingState::Unknown, false);
    out.spans
}

/// Until when a segment is believed that another follows, and from when that is an estimate.
fn believed_until(
    start: UnixMillis,
    segment: &Segment,
    next: UnixMillis,
    after: &Segment,
) -> (UnixMillis, UnixMillis) {
    match after.chain {
        Chain::Follows { entered_at } if entered_at == start => {
            // An estimated start is an estimated end of what came before.
            (next, next)
        }
        // The neighbour named is not the one we hold: nothing is proven beyond our start.
        Chain::Follows { .. } => (start, start),
        Chain::Gap { known_until } => {
            let known = known_until.unwrap_or(start).clamp(start, next);
            (known, known)
        }
        Chain::Alone {
            known_until,
            tolerance,
        } => {
            let known = known_until.clamp(start, next);
            if segment.state != after.state && next - known <= tolerance {
                (next, known)
            } else {
                (known, known)
            }
        }
    }
}

/// Writes spans from left to right within a range, merging equal neighbours.
struct Painter {
    at: UnixMillis,
    end: UnixMillis,
    spans: Vec<Span>,
}

impl Painter {
    /// Extends the picture up to `to` with `state`; does nothing for what is already painted.
    fn paint(&mut self, to: UnixMillis, state: RoutingState, estimated: bool) {
        let to = to.min(self.end);
        if to <= self.at {
            return;
        }
        // Of time that nobody knows nothing is claimed, so nothing of it is an estimate.
        let estimated = estimated && state != RoutingState::Unknown;
        match self.spans.last_mut() {
            Some(last) if last.state == state && last.estimated == estimated => last.to = to,
            _ => self.spans.push(Span {
                from: self.at,
                to,
                state,
                estimated,
            }),
        }
        self.at = to;
    }
}

#[cfg(test)]
mod tests {
    use super::RoutingState::{Available, NotReady, OnCall, Unknown, WrapUp};
    use super::*;

    fn at(seconds: i64) -> UnixMillis {
        UnixMillis(seconds * 1_000)
    }

    fn segment(state: RoutingState, chain: Chain) -> Segment {
        Segment {
            state,
            chain,
            estimated: false,
        }
    }

    const FIRST: Chain = Chain::Gap { known_until: None };

    fn alone(known: i64) -> Chain {
        Chain::Alone {
            known_until: at(known),
            tolerance: Millis::from_secs(37),
        }
    }

    fn tail(seconds: i64) -> Tail {
        Tail {
            confirmed_until: at(seconds),
            tolerance: Millis::from_secs(37),
        }
    }

    fn paint(
        segments: &Segments,
        tail: Option<Tail>,
        from: i64,
        to: i64,
    ) -> Vec<(i64, i64, RoutingState, bool)> {
        spans(segments, tail, at(from), at(to))
            .into_iter()
            .map(|s| (s.from.0 / 1_000, s.to.0 / 1_000, s.state, s.estimated))
            .collect()
    }

    #[test]
    fn one_segment_is_believed_however_long_the_hole_before_its_confirmation() {
        let segments = Segments::from([(at(100), segment(Available, FIRST))]);
        assert_eq!(
            paint(&segments, Some(tail(9_000)), 0, 9_000),
            [(0, 100, Unknown, false), (100, 9_000, Available, false)]
        );
    }

    #[test]
    fn a_lone_successor_within_tolerance_makes_the_hole_an_estimate() {
        let segments = Segments::from([
            (at(0), segment(Available, FIRST)),
            (at(120), segment(OnCall, alone(100))),
        ]);
        assert_eq!(
            paint(&segments, Some(tail(150)), 0, 150),
            [
                (0, 100, Available, false),
                (100, 120, Available, true),
                (120, 150, OnCall, false)
            ]
        );
    }

    #[test]
    fn beyond_tolerance_or_back_in_the_same_state_the_hole_is_unknown() {
        for (state, next) in [(OnCall, 138), (Available, 120)] {
            let segments = Segments::from([
                (at(0), segment(Available, FIRST)),
                (at(next), segment(state, alone(100))),
            ]);
            assert_eq!(
                paint(&segments, Some(tail(150)), 0, 150)[..2],
                [(0, 100, Available, false), (100, next, Unknown, false)]
            );
        }
    }

    #[test]
    fn named_neighbours_prove_what_lies_between() {
        let segments = Segments::from([
            (at(0), segment(Available, FIRST)),
            (
                at(500),
                segment(OnCall, Chain::Follows { entered_at: at(0) }),
            ),
            (
                at(900),
                segment(
                    WrapUp,
                    Chain::Follows {
                        entered_at: at(500),
                    },
                ),
            ),
        ]);
        assert_eq!(
            paint(&segments, Some(tail(1_000)), 0, 1_000),
            [
                (0, 500, Available, false),
                (500, 900, OnCall, false),
                (900, 1_000, WrapUp, false)
            ]
        );
    }

    #[test]
    fn a_gap_is_unknown_from_the_last_confirmation() {
        let gap = Chain::Gap {
            known_until: Some(at(100)),
        };
        let segments = Segments::from([
            (at(0), segment(Available, FIRST)),
            (at(120), segment(NotReady, gap)),
        ]);
        assert_eq!(
            paint(&segments, Some(tail(150)), 50, 150),
            [
                (50, 100, Available, false),
                (100, 120, Unknown, false),
                (120, 150, NotReady, false)
            ]
        );
    }

    #[test]
    fn without_later_evidence_belief_ends_after_the_tolerance() {
        let segments = Segments::from([(at(0), segment(OnCall, FIRST))]);
        assert_eq!(
            paint(&segments, Some(tail(10)), 0, 100),
            [
                (0, 10, OnCall, false),
                (10, 47, OnCall, true),
                (47, 100, Unknown, false)
            ]
        );
        assert_eq!(paint(&segments, None, 0, 100), [(0, 100, Unknown, false)]);
    }

    #[test]
    fn an_unrecognised_state_is_unknown_and_never_an_estimate() {
        let segments = Segments::from([
            (at(0), segment(Unknown, FIRST)),
            (at(120), segment(OnCall, alone(100))),
        ]);
        assert_eq!(
            paint(&segments, Some(tail(150)), 0, 160),
            [
                (0, 120, Unknown, false),
                (120, 150, OnCall, false),
                (150, 160, OnCall, true)
            ]
        );
    }

    #[test]
    fn no_segments_or_an_empty_range() {
        assert_eq!(
            paint(&Segments::new(), None, 0, 5),
            [(0, 5, Unknown, false)]
        );
        assert!(spans(&Segments::new(), None, at(5), at(5)).is_empty());
    }
}
