//! The independent auditor: judges a run by what went in and out of it, and by the truth.
//!
//! It shares no code with the core: its own reading of answers, its own arithmetic, its own idea
//! of what may be claimed. What it is given are the recorded requests, answers, views and rows,
//! and each agent's true segments.
//!
//! | file | judges |
//! |---|---|
//! | `requests` | the budget, Retry-After, the breaker |
//! | `views` | that no state was moved without evidence |
//! | `counters` | that counters never fall and conserve time |
//! | `rows` | figures against the truth, to the millisecond |

pub(crate) mod answers;
pub(crate) mod counters;
pub(crate) mod requests;
pub(crate) mod rows;
pub(crate) mod truth;
pub(crate) mod views;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::harness::observe::{Observation, Observed, Observer};
use counters::Counters;
use requests::Requests;
use rows::{Row, Tally};
use truth::{Calm, Truth};
use views::Views;

/// What the auditor is told of the configuration: limits that the run must keep.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) requests_per_minute: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) breaker_failures: usize,
    pub(crate) stale_after: i64,
    pub(crate) window: i64,
    /// The public platform is spoken to: its answers and frames are read by nobody here, and what
    /// is shown is held against the truth alone.
    pub(crate) platform: bool,
}

/// Complaints kept of one kind; the rest is counted.
const KEPT_MAX: usize = 5;

/// What is wrong, by kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Complaints(BTreeMap<&'static str, (usize, Vec<String>)>);

impl Complaints {
    pub(crate) fn add(&mut self, kind: &'static str, text: impl FnOnce() -> String) {
        let (count, kept) = self.0.entry(kind).or_default();
        *count += 1;
        if kept.len() < KEPT_MAX {
            kept.push(text());
        }
    }

    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }

    pub(crate) fn assert_none(&self, run: &str) {
        let mut text = String::new();
        for (kind, (count, kept)) in &self.0 {
            let kept = kept.join("\n  ");
            writeln!(text, "{kind}, {count} times:\n  {kept}").expect("a string takes any text");
        }
        assert!(text.is_empty(), "{run}\n{text}");
    }
}

/// Judges while it is told, so that a day needs no recording.
pub(crate) struct Auditor {
    pub(crate) requests: Requests,
    pub(crate) views: Views,
    pub(crate) counters: Counters,
    pub(crate) complaints: Complaints,
}

impl Auditor {
    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            requests: Requests::new(terms.clone()),
            views: Views::new(terms),
            counters: Counters::default(),
            complaints: Complaints::default(),
        }
    }

    /// What can be judged only once everything is known.
    pub(crate) fn finish(&mut self, rows: &[Row], truth: &mut Truth, calm: &Calm) -> Tally {
        self.views.finish(truth);
        let window = self.views.window();
        let tally = rows::judge(rows, truth, window, calm, &mut self.complaints);
        self.counters
            .against(truth, tally.estimated, &mut self.complaints);
        tally
    }
}

impl Observer for Auditor {
    fn observe(&mut self, observed: &Observed) {
        self.requests.observe(observed, &mut self.complaints);
        self.views.observe(observed, &mut self.complaints);
        if let Observation::Published(view) = &observed.what {
            self.counters
                .read(self.views.built(), view, &mut self.complaints);
        }
    }
}
