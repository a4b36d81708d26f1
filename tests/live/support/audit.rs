//! Window rows against the truth, to the millisecond. Shares no code with what it judges.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::exporter::WINDOW_MS;
use super::http::{millis, rfc3339};
use super::organisation::{Organisation, Truth};

/// A window row as the API gives it, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) user: String,
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// Available, not ready, on call, wrap-up.
    pub(crate) states: [i64; 4],
    pub(crate) unknown: i64,
    pub(crate) transitions: i64,
    pub(crate) covered: i64,
    pub(crate) estimated: i64,
    pub(crate) volatile: bool,
}

impl Row {
    pub(crate) fn parse(row: &Value) -> Self {
        let (metrics, quality) = (&row["metrics"], &row["quality"]);
        assert!(quality["revision"].as_i64() >= Some(1), "{row}");
        Self {
            user: row["userId"].as_str().unwrap().to_owned(),
            start: millis(&row["windowStart"]),
            end: millis(&row["windowEnd"]),
            states: [
                "availableSeconds",
                "notReadySeconds",
                "onCallSeconds",
                "wrapUpSeconds",
            ]
            .map(|key| whole_millis(&metrics[key])),
            unknown: whole_millis(&metrics["unknownSeconds"]),
            transitions: metrics["stateTransitions"].as_i64().unwrap(),
            covered: whole_millis(&quality["coveredSeconds"]),
            estimated: whole_millis(&quality["estimatedSeconds"]),
            volatile: quality["volatile"].as_bool().unwrap(),
        }
    }

    /// Every bound was read from the platform, and the agent was there throughout.
    pub(crate) fn is_exact(&self) -> bool {
        self.unknown == 0 && self.estimated == 0 && self.covered == WINDOW_MS
    }

    fn says(&self) -> String {
        let Self {
            states,
            unknown,
            transitions,
            ..
        } = self;
        format!(
            "{} at {}: {states:?}, {unknown} unknown, {transitions} starts, {} estimated, {} covered{}",
            self.user,
            rfc3339(self.start),
            self.estimated,
            self.covered,
            if self.volatile { ", volatile" } else { "" }
        )
    }
}

/// Seconds with at most three decimals as milliseconds; panics on more.
fn whole_millis(seconds: &Value) -> i64 {
    let millis = seconds
        .as_f64()
        .unwrap_or_else(|| panic!("no seconds: {seconds}"))
        * 1_000.0;
    let whole = millis.round();
    assert!((millis - whole).abs() < 1e-3 && whole >= 0.0, "{seconds}");
    whole as i64
}

/// Holds the rows of two runs against each other: those that are exact in both must be the same.
/// How many those are.
pub(crate) fn agreeing(rows: &[Row], others: &[Row]) -> usize {
    let key = |row: &Row| (row.user.clone(), row.start);
    let others: BTreeMap<_, _> = others.iter().map(|other| (key(other), other)).collect();
    let mut agreeing = 0;
    for row in rows.iter().filter(|row| row.is_exact()) {
        if let Some(other) = others.get(&key(row)).filter(|other| other.is_exact()) {
            // The flag may differ: it also depends on what was seen before the window.
            let other = Row {
                volatile: row.volatile,
                ..(*other).clone()
            };
            assert_eq!(row, &other);
            agreeing += 1;
        }
    }
    agreeing
}

/// Which rows must equal the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    /// Those without unknown and estimated time.
    Exact,
    /// Those without unknown time: the detection delay is below the shortest state, so what is
    /// estimated is right too.
    Known,
    /// The same, where the platform does not date after-call work within an interaction: the two
    /// together must be right, and each of them where there was none.
    Dated,
}

/// What an audit found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Rows.
    pub(crate) rows: usize,
    /// Rows held against the truth.
    pub(crate) compared: usize,
    /// Of these, rows in which the state changed.
    pub(crate) changing: usize,
    /// Rows flagged volatile.
    pub(crate) volatile: usize,
    /// Rows with unknown time.
    pub(crate) unknown: usize,
    /// Rows that are shorter than the window.
    pub(crate) short: usize,
    /// What is wrong.
    pub(crate) wrong: Vec<String>,
}

impl Findings {
    /// Panics with everything that is wrong; otherwise says what was seen.
    pub(crate) fn assert_clean(&self, run: &str) {
        eprintln!(
            "{run}: {} rows, {} compared ({} with changes), {} with unknown time, {} volatile, {} short",
            self.rows, self.compared, self.changing, self.unknown, self.volatile, self.short
        );
        let (count, first) = (self.wrong.len(), self.wrong.iter().take(12));
        let first: Vec<_> = first.map(String::as_str).collect();
        assert_eq!(count, 0, "{run}: {count} wrong:\n{}", first.join("\n"));
        assert!(self.rows > 0, "{run}: no rows at all");
    }

    /// Share of rows that were held against the truth.
    pub(crate) fn share(&self) -> f64 {
        self.compared as f64 / self.rows as f64
    }
}

/// Holds all rows of the windows `[from, to)` against the truth. Both are bounds of windows, and
/// all of them are closed.
pub(crate) async fn audit(
    organisation: &Organisation,
    rows: &[Row],
    (from, to): (i64, i64),
    judged: Judged,
) -> Findings {
    let mut findings = Findings::default();
    let mut by_window: BTreeMap<i64, Vec<&Row>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for row in rows.iter().filter(|row| row.start >= from && row.end <= to) {
        findings.rows += 1;
        if row.end - row.start != WINDOW_MS || row.start % WINDOW_MS != 0 {
            findings.wrong.push(format!("not a window: {}", row.says()));
        }
        if !seen.insert((&row.user, row.start)) {
            findings.wrong.push(format!("twice: {}", row.says()));
        }
        by_window.entry(row.start).or_default().push(row);
    }
    for start in (from..to).step_by(WINDOW_MS as usize) {
        let truth = organisation.truth(start, start + WINDOW_MS).await;
        let rows = by_window.remove(&start).unwrap_or_default();
        let present: BTreeSet<_> = rows.iter().map(|row| &row.user).collect();
        for (user, truth) in &truth {
            let [available, _, on_call, wrap_up] = truth.states;
            if available + on_call + wrap_up > 0 && !present.contains(user) {
                let at = rfc3339(start);
                findings
                    .wrong
                    .push(format!("missing: {user} at {at}: {truth:?}"));
            }
        }
        for row in rows {
            judge(&mut findings, row, truth.get(&row.user), judged);
        }
    }
    findings
}

fn judge(findings: &mut Findings, row: &Row, truth: Option<&Truth>, judged: Judged) {
    let total = row.states.iter().sum::<i64>() + row.unknown;
    if total != row.covered || row.covered > WINDOW_MS || row.estimated > row.covered {
        findings
            .wrong
            .push(format!("does not add up: {}", row.says()));
    }
    findings.volatile += usize::from(row.volatile);
    findings.unknown += usize::from(row.unknown > 0);
    findings.short += usize::from(row.covered < WINDOW_MS);
    let Some(truth) = truth else {
        findings.wrong.push(format!("nobody: {}", row.says()));
        return;
    };
    let whole = row.unknown == 0 && row.covered == WINDOW_MS;
    if !(row.is_exact() || judged != Judged::Exact && whole) {
        return;
    }
    findings.compared += 1;
    findings.changing += usize::from(row.transitions > 0);
    let dated = |[available, not_ready, on_call, wrap_up]: [i64; 4]| {
        (available, not_ready, on_call + wrap_up)
    };
    let undated = row.states[3] + truth.states[3] > 0;
    if judged == Judged::Dated && undated {
        if dated(row.states) != dated(truth.states) {
            findings
                .wrong
                .push(format!("{}\n  truth {truth:?}", row.says()));
        }
        return;
    }
    if row.states != truth.states || row.transitions != truth.starts {
        findings
            .wrong
            .push(format!("{}\n  truth {truth:?}", row.says()));
    }
}
