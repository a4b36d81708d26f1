//! Which of an agent's closed windows a change of its facts can touch.
//!
//! Compares the picture before with the picture after, so that an event after twelve quiet hours
//! touches one window and not the 144 before it. May name too much, never too little; the row
//! function has the last word. It does not look at windows that close for the first time.

use std::collections::BTreeSet;

use crate::model::time::{Millis, UnixMillis};
use crate::model::timeline::{self, Span};
use crate::model::window::WindowSpec;

use super::facts::AgentFacts;
use super::rows::{RowRules, closed_windows};

/// A piece of time of which rows may have changed: `[from, to)`.
pub type DirtyRange = (UnixMillis, UnixMillis);

/// One millisecond: a half-open range that holds an instant ends this much after it.
const INSTANT: Millis = Millis(1);

/// Starts of the windows that end at or before `closed_until` and whose rows may differ between
/// `before` and `after`.
///
/// Both must hold the same facts but for the changed ones, and for each changed event its
/// neighbours on either side; for a changed confirmation all events after it or the nearest; for
/// a changed presence the next one.
pub fn dirty(
    before: &AgentFacts,
    after: &AgentFacts,
    spec: WindowSpec,
    rules: &RowRules,
    closed_until: UnixMillis,
) -> BTreeSet<UnixMillis> {
    let mut ranges = Vec::new();
    events(before, after, rules, closed_until, &mut ranges);
    picture(before, after, closed_until, &mut ranges);
    roster(before, after, closed_until, &mut ranges);
    presence(before, after, closed_until, &mut ranges);
    let mut starts = BTreeSet::new();
    for (from, to) in ranges {
        starts.extend(closed_windows(spec, from, to, closed_until));
    }
    starts
}

/// Starts that came or went: they count as transitions, can complete a volatile run, and are the
/// last event used until the next.
fn events(
    before: &AgentFacts,
    after: &AgentFacts,
    rules: &RowRules,
    end: UnixMillis,
    ranges: &mut Vec<DirtyRange>,
) {
    let old: BTreeSet<UnixMillis> = before.standing().map(|(at, _)| at).collect();
    let new: BTreeSet<UnixMillis> = after.standing().map(|(at, _)| at).collect();
    for &at in old.symmetric_difference(&new) {
        let next = [&old, &new]
            .into_iter()
            .filter_map(|starts| starts.range(at + INSTANT..).next().copied());
        let next = next.max().unwrap_or(end);
        let run_end = at + rules.volatile_within + INSTANT;
        ranges.push((at - rules.volatile_within, next.max(run_end)));
    }
}

/// Time whose state, or its being an estimate, is another.
fn picture(before: &AgentFacts, after: &AgentFacts, end: UnixMillis, ranges: &mut Vec<DirtyRange>) {
    let first = |facts: &AgentFacts| facts.events.keys().next().copied();
    let Some(from) = first(before).into_iter().chain(first(after)).min() else {
        return;
    };
    let old = timeline::spans(&before.segments(), before.tail(), from, end);
    let new = timeline::spans(&after.segments(), after.tail(), from, end);
    let (mut left, mut right) = (old.iter().peekable(), new.iter().peekable());
    let mut at = from;
    // Both fill [from, end) without a hole, so they run out together.
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let to = a.to.min(b.to);
        if !same(a, b) {
            ranges.push((at, to));
        }
        at = to;
        left.next_if(|span| span.to == to);
        right.next_if(|span| span.to == to);
    }
}

fn same(a: &Span, b: &Span) -> bool {
    (a.state, a.estimated) == (b.state, b.estimated)
}

/// Spans in the registry that came, or whose end moved.
fn roster(before: &AgentFacts, after: &AgentFacts, end: UnixMillis, ranges: &mut Vec<DirtyRange>) {
    for (&from, &until) in &after.roster {
        match before.roster.get(&from) {
            Some(&held) if held == until => {}
            Some(&held) => {
                let ends = [held.unwrap_or(end), until.unwrap_or(end)];
                ranges.push((ends[0].min(ends[1]), ends[0].max(ends[1])));
            }
            None => ranges.push((from, until.unwrap_or(end))),
        }
    }
}

/// Presences that came or changed hold until the next.
fn presence(
    before: &AgentFacts,
    after: &AgentFacts,
    end: UnixMillis,
    ranges: &mut Vec<DirtyRange>,
) {
    for (&at, presence) in &after.presence {
        if before.presence.get(&at) != Some(presence) {
            let next = after.presence.range(at + INSTANT..).next();
            ranges.push((at, next.map_or(end, |(&next, _)| next)));
        }
    }
}
