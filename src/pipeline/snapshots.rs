//! Whether a snapshot is believed, and what follows.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::dialect::Spoken;
use super::{Pipeline, RunningScan, Task};
use crate::effect::{Effect, Level, Measurement, Phase};
use crate::model::ids::UserId;
use crate::model::time::{Now, UnixMillis};
use crate::model::view::{BreakerState, SnapshotOutcome};
use crate::poller::Priority;
use crate::reconciler::evidence::FUTURE_TOLERANCE;
use crate::reconciler::joins::JoinClass;
use crate::snapshot::{Judgement, ScanProgress, ScanResult, judge};
use crate::upstream::response::Answer;

impl Pipeline {
    pub(super) fn on_snapshot_page(
        &mut self,
        body: Bytes,
        answer: &Answer,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let (Some(spoken), Some(mut running)) = (self.spoken, self.scan.take()) else {
            return;
        };
        if running.pages_sent == 1 {
            running.sent_at = answer.sent_at;
            running.described_at = Some(self.skew.platform_at_least(answer.sent_at));
        }
        let begun = (self.stopwatch)();
        let page = self.reader.read(
            spoken,
            running.pages_sent,
            &body,
            self.registry.ids(),
            &mut self.names,
        );
        // Of a large organisation it is the most that is in memory for one purpose.
        drop(body);
        let parsed = (self.stopwatch)();
        effects.push(phase(Phase::Parse, parsed - begun));
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                self.scan = Some(running);
                self.notice(
                    Level::Warn,
                    "snapshot_parse",
                    format!("the snapshot cannot be read: {error}"),
                );
                self.snapshot_failed(SnapshotOutcome::FailedParse, now);
                return;
            }
        };
        match running.scan.page(page) {
            // Another request was told to wait: so must this scan, and then it is too old.
            ScanProgress::NextPage(_) if self.budget.is_blocked(now.mono) => {
                self.scan = Some(running);
                self.snapshot_failed(SnapshotOutcome::FailedThrottled, now);
            }
            ScanProgress::NextPage(next) => self.scan_on(next, running, spoken, now, effects),
            ScanProgress::Inconsistent => {
                self.scan = Some(running);
                self.snapshot_failed(SnapshotOutcome::RejectedPaging, now);
            }
            ScanProgress::Complete(result) => {
                let fetch = (answer.received_at.mono - running.sent_at.mono).as_secs_f64();
                effects.push(phase(Phase::Fetch, fetch));
                let sent_at = self.skew.platform_at_least(running.sent_at);
                let described_at = running.described_at.map_or(sent_at, |at| at.min(sent_at));
                self.scan = Some(running);
                self.end_scan();
                self.fit_interval(result.pages);
                self.judge_snapshot(result, described_at, answer, now, effects);
            }
        }
    }

    /// Asks for the next page of a scan.
    fn scan_on(
        &mut self,
        next: u32,
        mut running: RunningScan,
        spoken: Spoken,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let more = running.pages_sent >= running.pages_admitted;
        if more && !self.budget.admit(Priority::Snapshot, 1, now.mono) {
            // It grew beyond what was admitted: next time it is admitted whole.
            let pages = running.scan.pages_expected().unwrap_or(next).max(next);
            self.scan = Some(running);
            self.snapshot_failed(SnapshotOutcome::FailedThrottled, now);
            self.fit_interval(pages);
            return;
        }
        if !more {
            self.budget
                .sent_late(Priority::Snapshot, running.admitted_at, now.mono);
        }
        running.pages_sent += 1;
        self.scan = Some(running);
        let request = spoken.scan(next);
        self.send(Task::Snapshot, request, Priority::Snapshot, effects);
    }

    /// Gives back what was admitted for pages that are not asked for.
    pub(super) fn end_scan(&mut self) {
        if let Some(running) = self.scan.take() {
            let spare = running.pages_admitted.saturating_sub(running.pages_sent);
            if spare > 0 {
                self.budget
                    .given_back(Priority::Snapshot, spare, running.admitted_at);
            }
        }
    }

    fn judge_snapshot(
        &mut self,
        result: ScanResult,
        described_at: UnixMillis,
        answer: &Answer,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let begun = (self.stopwatch)();
        let scanned = self.scanned(&result);
        let incomplete = result.incomplete;
        if let Some(seed) = scanned.as_ref().filter(|_| !self.registry.is_known()) {
            // The first registry: without one nothing could be judged.
            let change = self.registry.scanned(seed, false);
            self.on_registry_change(change, now);
        }
        let judgement = judge(
            result.records,
            self.registry.ids(),
            self.config.min_coverage_per_mille,
            self.skew.platform_at_most(answer.received_at),
            FUTURE_TOLERANCE,
        );
        self.reconciler
            .count_refused(judgement.refused + result.refused.len() as u64);
        self.health.snapshot_agents = Some(judgement.distinct());
        if let Some((observed, expected)) = judgement.coverage {
            self.health.coverage = Some(observed as f64 / expected as f64);
        }
        if !judgement.strangers.is_empty() && scanned.is_none() {
            self.registry.request_soon(now.mono);
        }
        if !judgement.accepted {
            let outcome = if judgement.coverage.is_some() {
                SnapshotOutcome::RejectedCoverage
            } else {
                SnapshotOutcome::RejectedNoRegistry
            };
            self.registry.request_soon(now.mono);
            self.notice(
                Level::Warn,
                "snapshot_rejected",
                format!(
                    "the snapshot covers {} of {} registered agents and is not believed",
                    judgement.coverage.map_or(0, |(observed, _)| observed),
                    self.registry.len()
                ),
            );
            self.snapshot_failed(outcome, now);
            return;
        }
        if let Some(ids) = scanned {
            // Rows that moved between pages show as one twice and another not at all.
            let change = self.registry.scanned(&ids, judgement.duplicates == 0);
            self.on_registry_change(change, now);
        }
        self.reconciler.on_incomplete(&incomplete);
        self.accept(&judgement, begun, described_at, answer, now, effects);
    }

    /// Everybody whom the scan names, where it is the registry too.
    fn scanned(&self, result: &ScanResult) -> Option<BTreeSet<UserId>> {
        self.spoken.filter(|spoken| spoken.scan_is_registry())?;
        let told = result.records.iter().map(|record| &record.user_id);
        Some(told.chain(&result.incomplete).cloned().collect())
    }

    fn accept(
        &mut self,
        judgement: &Judgement,
        begun: f64,
        described_at: UnixMillis,
        answer: &Answer,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if self.breaker.state() != BreakerState::Closed {
            self.notice(
                Level::Info,
                "breaker",
                "the breaker closes: a snapshot was accepted".to_owned(),
            );
        }
        self.breaker.on_accepted(now.mono);
        self.cycle.accepted(now.mono);
        self.count_snapshot(SnapshotOutcome::Accepted);
        self.health.up = true;
        self.health.accepted_at = Some(answer.received_at.wall);
        self.delta.compare(&judgement.records);
        let validated = (self.stopwatch)();
        effects.push(phase(Phase::Validate, validated - begun));
        // The answer is cached: it describes the platform at the sending or up to a cache age before.
        let at = described_at - self.config.cache_age;
        self.compare_with_push(judgement, at);
        self.reconciler
            .on_snapshot(&judgement.records, at, answer.received_at.wall);
        effects.push(phase(Phase::Reconcile, (self.stopwatch)() - validated));
        self.queue_suspects(now);
        self.collect_holes(now);
        self.joining_since = Some(now.mono);
        self.touch(now);
    }

    /// Counts a snapshot that was not believed; the breaker and the cycle follow.
    pub(super) fn snapshot_failed(&mut self, outcome: SnapshotOutcome, now: Now) {
        self.end_scan();
        self.count_snapshot(outcome);
        self.health.up = false;
        let blameless = matches!(
            outcome,
            SnapshotOutcome::FailedAuth
                | SnapshotOutcome::FailedThrottled
                | SnapshotOutcome::RejectedNoRegistry
        );
        if blameless {
            self.breaker
                .probe_undecided(now.mono + self.config.retry_backoff);
            self.cycle.rejected(now.mono);
        } else if self.breaker.on_failed(now.mono) {
            let until = self.breaker.retry_at().unwrap_or(now.mono);
            self.cycle.paused_until(until);
            let (result, reason) = outcome.labels();
            self.notice(
                Level::Error,
                "breaker",
                format!(
                    "the breaker opens for {} s: the last snapshot {result} ({reason})",
                    (until - now.mono).as_secs_f64()
                ),
            );
        } else {
            self.cycle.rejected(now.mono);
        }
        self.touch(now);
    }

    fn count_snapshot(&mut self, outcome: SnapshotOutcome) {
        *self.health.snapshots.entry(outcome).or_default() += 1;
    }

    /// Whether joins that the snapshot asked for are still out or waiting.
    pub(super) fn joins_open(&mut self, now: Now) -> bool {
        let at = self.platform_now(now);
        let out = self
            .flights
            .values()
            .any(|f| matches!(f.task, Task::Join(_, JoinClass::Changed)));
        out || self.reconciler.next_join(JoinClass::Changed, at).is_some()
    }
}

fn phase(phase: Phase, seconds: f64) -> Effect {
    Effect::Measure(Measurement::Phase {
        phase,
        seconds: seconds.max(0.0),
    })
}
