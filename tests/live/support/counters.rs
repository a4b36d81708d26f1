//! Time counters against the truth: truth = increase − debt + time held for volatile agents,
//! within one poll interval an agent.

use std::collections::BTreeMap;

use super::exporter::Page;
use super::organisation::{Organisation, Truth};

const STATES: [&str; 4] = ["available", "not_ready", "on_call", "wrap_up"];

/// The counters at one instant, in milliseconds.
#[derive(Debug)]
pub(crate) struct Reading {
    /// When the snapshot arrived that the page is made from.
    pub(crate) at: i64,
    page: Page,
}

impl Reading {
    /// Reads a page.
    pub(crate) fn new(page: Page) -> Self {
        let at = page.value("genesyscloud_snapshot_accepted_timestamp_seconds", &[]);
        Self {
            at: (at * 1_000.0) as i64,
            page,
        }
    }

    fn state(&self, state: &str) -> f64 {
        let labels = [("state", state)];
        1_000.0
            * self
                .page
                .value("genesyscloud_state_time_seconds_total", &labels)
    }

    fn queue_state(&self, queue: &str, state: &str) -> f64 {
        let labels = [("queue", queue), ("state", state)];
        1_000.0
            * self
                .page
                .value("genesyscloud_queue_state_time_seconds_total", &labels)
    }

    fn interval(&self) -> f64 {
        1_000.0 * self.page.value("genesyscloud_poll_interval_seconds", &[])
    }

    fn debt(&self) -> f64 {
        1_000.0 * self.page.value("genesyscloud_state_time_debt_seconds", &[])
    }

    fn held(&self) -> f64 {
        1_000.0
            * self
                .page
                .value("genesyscloud_volatile_held_time_seconds", &[])
    }

    /// Panics if a counter of time fell, or is gone, since `earlier`.
    pub(crate) fn assert_not_below(&self, earlier: &Self) {
        for name in [
            "genesyscloud_state_time_seconds_total",
            "genesyscloud_queue_state_time_seconds_total",
            "genesyscloud_unknown_time_seconds_total",
        ] {
            for (labels, before) in earlier.page.all(name) {
                let now = self.page.0.get(&(name.to_owned(), labels.clone()));
                assert!(
                    now >= Some(&before),
                    "{name}{labels:?}: {before}, then {now:?}"
                );
            }
        }
    }

    /// Holds what was counted since `earlier` against the truth.
    pub(crate) async fn assert_true_since(&self, earlier: &Self, organisation: &Organisation) {
        self.assert_not_below(earlier);
        let truth = organisation.truth(earlier.at, self.at).await;
        let elapsed = (self.at - earlier.at) as f64;
        let agents = truth.len() as f64;
        let slack = agents * self.interval();

        let counted: f64 = STATES
            .into_iter()
            .chain(["unknown"])
            .map(|state| self.state(state) - earlier.state(state))
            .sum();
        let conserved = counted - (self.debt() - earlier.debt()) + (self.held() - earlier.held());
        let error = conserved - agents * elapsed;
        eprintln!(
            "counters over {elapsed} ms of {agents} agents: off by {:.0} ms an agent, \
             {:.1} s unknown, debt {:.1} s, held {:.1} s",
            error / agents,
            (self.state("unknown") - earlier.state("unknown")) / 1_000.0,
            self.debt() / 1_000.0,
            self.held() / 1_000.0
        );
        assert!(
            error.abs() <= slack,
            "time is not conserved: off by {error} ms, allowed {slack} ms"
        );

        let unclear = self.debt() + earlier.debt() + self.held() + earlier.held();
        let unknown = self.state("unknown") - earlier.state("unknown");
        for (index, state) in STATES.into_iter().enumerate() {
            let increase = self.state(state) - earlier.state(state);
            let lived: i64 = truth.values().map(|agent| agent.states[index]).sum();
            assert_near(state, increase, lived, slack + unclear, unknown);
        }
        self.assert_queues(earlier, &truth);
    }

    /// The same by queue; a member counts in each of its queues.
    fn assert_queues(&self, earlier: &Self, truth: &BTreeMap<String, Truth>) {
        let mut queues = 0;
        for (labels, _) in self.page.all("genesyscloud_queue_info") {
            let (queue, id) = (&labels["queue"], &labels["queue_id"]);
            let members = truth.values().filter(|agent| agent.queues.contains(id));
            let members: Vec<_> = members.collect();
            // Debt is shown for the organisation only; no queue has more of it than an agent
            // can have, which is what a stale snapshot wrongly confirmed: another interval.
            let slack = 2.0 * members.len() as f64 * self.interval();
            let held = self.held() + earlier.held();
            let unknown =
                self.queue_state(queue, "unknown") - earlier.queue_state(queue, "unknown");
            for (index, state) in STATES.into_iter().enumerate() {
                let increase = self.queue_state(queue, state) - earlier.queue_state(queue, state);
                let lived: i64 = members.iter().map(|agent| agent.states[index]).sum();
                let what = format!("queue {queue}, {state}");
                assert_near(&what, increase, lived, slack + held, unknown);
            }
            queues += 1;
        }
        assert!(queues > 1, "queues are shown");
    }
}

/// What a counter missed must be within `slack`, or be counted as unknown; it never has more.
fn assert_near(what: &str, increase: f64, lived: i64, slack: f64, unknown: f64) {
    let missed = lived as f64 - increase;
    assert!(
        -slack <= missed && missed <= slack + unknown,
        "{what}: counted {increase} ms of {lived} ms; slack {slack} ms, unknown {unknown} ms"
    );
}
