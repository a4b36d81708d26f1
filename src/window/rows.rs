//! One agent's row for one window, and which windows close.
//!
//! A pure function of the agent's facts. What may be counted is decided by `timeline::spans`
//! alone; this file only clips its spans to the window and to the time in the registry, and adds
//! them up. It does not know revisions: those belong to whoever keeps rows.

use std::collections::BTreeSet;

use crate::model::state::RoutingState;
use crate::model::time::{Millis, UnixMillis};
use crate::model::timeline;
use crate::model::window::{WindowMetrics, WindowQuality, WindowSpec};

use super::facts::AgentFacts;

/// What the configuration says about rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRules {
    /// More than this many starts within `volatile_within` make a row volatile.
    pub volatile_transitions: u32,
    /// Inclusive: starts exactly this far apart still count.
    pub volatile_within: Millis,
    /// Rows also for agents that were offline throughout.
    pub include_offline: bool,
}

/// The last event that a row rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastEvent {
    /// Platform time of its start.
    pub at: UnixMillis,
    /// When it was ingested, by our clock.
    pub ingested_at: UnixMillis,
}

/// A row before it has a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Time by state; adds up to `covered`.
    pub metrics: WindowMetrics,
    /// The part of the window in which the agent was in the registry.
    pub covered: Millis,
    /// Time whose bound was observed rather than read from the platform.
    pub estimated: Millis,
    /// A run of starts touches the window.
    pub volatile: bool,
    /// The latest start before the window's end.
    pub last_event: Option<LastEvent>,
}

impl Row {
    /// How good the figures are, under a revision.
    pub fn quality(&self, revision: u32) -> WindowQuality {
        WindowQuality {
            covered_seconds: self.covered,
            estimated_seconds: self.estimated,
            volatile: self.volatile,
            revision,
        }
    }
}

/// The row of the window that starts at `start`; `None`: none is written, because the agent was
/// not in the registry, or offline and not ready throughout (semantics.md §12.6).
///
/// Needs the facts from `volatile_within` before the window to as long after it, and the nearest
/// event on either side.
pub fn row(
    facts: &AgentFacts,
    spec: WindowSpec,
    start: UnixMillis,
    rules: &RowRules,
) -> Option<Row> {
    let end = start + spec.length;
    let coverage = facts.coverage(start, end);
    let covered = total(coverage.iter().map(|&(from, to)| to - from));
    if covered == Millis::ZERO {
        return None;
    }
    let segments = facts.segments();
    let tail = facts.tail();
    let mut by_state = [Millis::ZERO; RoutingState::COUNT];
    let mut estimated = Millis::ZERO;
    for &(from, to) in &coverage {
        for span in timeline::spans(&segments, tail, from, to) {
            let slot = &mut by_state[span.state.index()];
            *slot = *slot + span.length();
            if span.estimated {
                estimated = estimated + span.length();
            }
        }
    }
    let starts = coverage
        .iter()
        .map(|&(from, to)| segments.range(from..to).count())
        .sum::<usize>();
    let metrics = WindowMetrics::from_states(by_state, u32::try_from(starts).unwrap_or(u32::MAX));
    assert_eq!(metrics.total(), covered, "spans fill the coverage exactly");
    let idle = by_state[RoutingState::NotReady.index()] == covered && starts == 0;
    if idle && !rules.include_offline && offline_throughout(facts, &coverage) {
        return None;
    }
    let starts: Vec<UnixMillis> = segments.keys().copied().collect();
    Some(Row {
        metrics,
        covered,
        estimated,
        volatile: is_volatile(&starts, start, end, rules),
        last_event: facts
            .standing()
            .rev()
            .find(|(at, _)| *at < end)
            .map(|(at, fact)| LastEvent {
                at,
                ingested_at: fact.ingested_at,
            }),
    })
}

/// The starts of the windows that become closed when `closed_until` moves from `before` to
/// `until`: those that end after the one and not after the other, and in which the agent was in
/// the registry.
pub fn closing(
    facts: &AgentFacts,
    before: Option<UnixMillis>,
    until: UnixMillis,
    spec: WindowSpec,
) -> BTreeSet<UnixMillis> {
    let mut starts = BTreeSet::new();
    // A window that ends after `before` starts after `before − length`.
    let from = before.map_or(UnixMillis(0), |before| before - spec.length);
    for (begin, end) in facts.coverage(from, until) {
        starts.extend(
            closed_windows(spec, begin, end, until)
                .filter(|&start| before.is_none_or(|before| start + spec.length > before)),
        );
    }
    starts
}

/// Starts of the windows that overlap `[from, to)` and end at or before `closed_until`. Windows
/// that start before 1970 are none: their starts could not be written.
pub(super) fn closed_windows(
    spec: WindowSpec,
    from: UnixMillis,
    to: UnixMillis,
    closed_until: UnixMillis,
) -> impl Iterator<Item = UnixMillis> {
    // The first window end after `from` is that of the first window that overlaps it.
    let first = (spec.next_end(from) - spec.length).max(UnixMillis(0));
    std::iter::successors(Some(first), move |&start| Some(start + spec.slide))
        .take_while(move |&start| start < to && start + spec.length <= closed_until)
}

/// Whether presence is known and offline all over the coverage.
fn offline_throughout(facts: &AgentFacts, coverage: &[(UnixMillis, UnixMillis)]) -> bool {
    coverage.iter().all(|&(from, to)| {
        let known = facts.presence.range(..=from).next_back();
        known.is_some_and(|(_, presence)| presence.is_offline())
            && facts
                .presence
                .range(from..to)
                .all(|(_, presence)| presence.is_offline())
    })
}

/// Whether a run of more than the allowed starts, from its first start to its last, touches the
/// window.
fn is_volatile(
    starts: &[UnixMillis],
    start: UnixMillis,
    end: UnixMillis,
    rules: &RowRules,
) -> bool {
    let run = usize::try_from(rules.volatile_transitions)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    starts.windows(run).any(|run| {
        let (first, last) = (run[0], run[run.len() - 1]);
        last - first <= rules.volatile_within && first < end && last >= start
    })
}

fn total(parts: impl Iterator<Item = Millis>) -> Millis {
    parts.fold(Millis::ZERO, |sum, part| sum + part)
}
