//! Window rows against the truth, to the millisecond.

use std::collections::{BTreeMap, BTreeSet};

use genesys_cloud_exporter::model::window::WindowRow;

use super::Complaints;
use super::truth::{Calm, Four, Truth, undated};

/// A row in plain milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) user: String,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) states: Four,
    pub(crate) unknown: i64,
    pub(crate) transitions: i64,
    pub(crate) covered: i64,
    pub(crate) estimated: i64,
    pub(crate) volatile: bool,
}

impl Row {
    pub(crate) fn of(row: &WindowRow) -> Self {
        let m = row.metrics;
        Self {
            user: row.user_id.to_string(),
            start: row.window_start.0,
            end: row.window_end.0,
            states: [
                m.available_seconds.0,
                m.not_ready_seconds.0,
                m.on_call_seconds.0,
                m.wrap_up_seconds.0,
            ],
            unknown: m.unknown_seconds.0,
            transitions: i64::from(m.state_transitions),
            covered: row.quality.covered_seconds.0,
            estimated: row.quality.estimated_seconds.0,
            volatile: row.quality.volatile,
        }
    }
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) rows: usize,
    /// Held against the truth to the millisecond.
    pub(crate) exact: usize,
    /// Of these, rows in which the state changed.
    pub(crate) changing: usize,
    /// Of these, rows with after-call work that is right by itself.
    pub(crate) after_call: usize,
    pub(crate) with_unknown: usize,
    pub(crate) volatile: usize,
    /// Shorter than the window.
    pub(crate) short: usize,
    /// Not judged by the truth, because the platform told untruths.
    pub(crate) excused: usize,
    pub(crate) estimated: i64,
}

/// Judges all rows. Windows in `calm` must all be there, and whole.
pub(crate) fn judge(
    rows: &[Row],
    truth: &Truth,
    window: i64,
    calm: &Calm,
    complaints: &mut Complaints,
) -> Tally {
    let mut tally = Tally::default();
    let mut seen = BTreeSet::new();
    for row in rows {
        tally.rows += 1;
        tally.volatile += usize::from(row.volatile);
        tally.with_unknown += usize::from(row.unknown > 0);
        tally.short += usize::from(row.covered < window);
        tally.estimated += row.estimated;
        if row.end - row.start != window || row.start % window != 0 {
            complaints.add("not a window", || format!("{row:?}"));
        }
        if !seen.insert((&row.user, row.start)) {
            complaints.add("twice", || format!("{row:?}"));
        }
        sums(row, complaints);
        if truth.is_misled(&row.user, row.start, row.end) {
            tally.excused += 1;
        } else {
            against_truth(row, truth, window, &mut tally, complaints);
        }
        let judged = row.start >= calm.from && row.end <= calm.to;
        let quick = || truth.is_hurried(&row.user, (row.start, row.end), calm);
        if judged && (row.covered < window || row.unknown > 0 && !quick()) {
            complaints.add("not whole in calm", || format!("{row:?}"));
        }
    }
    missing(&seen, truth, window, calm, complaints);
    tally
}

fn sums(row: &Row, complaints: &mut Complaints) {
    let total = row.states.iter().sum::<i64>() + row.unknown;
    let sane = row.states.iter().all(|part| *part >= 0)
        && row.unknown >= 0
        && (0..=row.covered - row.unknown).contains(&row.estimated)
        && (1..=row.end - row.start).contains(&row.covered);
    if total != row.covered || !sane {
        complaints.add("does not add up", || format!("{row:?}"));
    }
}

fn against_truth(
    row: &Row,
    truth: &Truth,
    window: i64,
    tally: &mut Tally,
    complaints: &mut Complaints,
) {
    let Some((lived, starts)) = truth.lived(&row.user, row.start, row.end) else {
        complaints.add("nobody", || format!("{row:?}"));
        return;
    };
    let together = truth.undated && row.states[3] + lived[3] > 0;
    let (states, lived) = if together {
        (undated(row.states), undated(lived))
    } else {
        (row.states, lived)
    };
    // More than was lived of one state is wrong time, and wrong time must be an estimate.
    let pairs = states.iter().zip(lived);
    let wrong: i64 = pairs.map(|(said, lived)| (said - lived).max(0)).sum();
    if wrong > row.estimated {
        complaints.add("known and wrong", || {
            format!("by {wrong} ms: {row:?}\n    lived {lived:?}, {starts} starts")
        });
    }
    // A start that was observed may fall into another window than the true one.
    let misplaced = truth.platform && row.estimated > 0;
    if row.transitions > starts && !together && !misplaced {
        complaints.add("invented transitions", || {
            format!("{row:?}: truly {starts}")
        });
    }
    if row.unknown == 0 && row.estimated == 0 && row.covered == window {
        tally.exact += 1;
        tally.changing += usize::from(starts > 0);
        tally.after_call += usize::from(row.states[3] > 0);
        if states != lived || row.transitions != starts && !together {
            complaints.add("exact and wrong", || {
                format!("{row:?}\n    lived {lived:?}, {starts} starts")
            });
        }
    }
}

/// Whoever did anything but nothing has a row.
fn missing(
    seen: &BTreeSet<(&String, i64)>,
    truth: &Truth,
    window: i64,
    calm: &Calm,
    complaints: &mut Complaints,
) {
    let (from, to) = (calm.from, calm.to);
    let first = from.div_euclid(window) * window + if from % window == 0 { 0 } else { window };
    let rows: BTreeMap<&String, BTreeSet<i64>> =
        seen.iter()
            .fold(BTreeMap::new(), |mut rows, (user, start)| {
                let of_user: &mut BTreeSet<i64> = rows.entry(user).or_default();
                of_user.insert(*start);
                rows
            });
    for start in (first..=to - window).step_by(window as usize) {
        for user in truth
            .agents
            .keys()
            .filter(|user| !truth.left.contains(*user))
        {
            let (lived, _) = truth.lived(user, start, start + window).expect("they live");
            // Seen with one entry only, somebody may have been busy unseen.
            let unseen = if calm.history == 1 { calm.delay } else { 0 };
            let idle = window - lived[1] <= unseen;
            let there = rows.get(user).is_some_and(|rows| rows.contains(&start));
            if !idle && !there {
                complaints.add("missing", || format!("{user} at {start}: {lived:?}"));
            }
        }
    }
}
