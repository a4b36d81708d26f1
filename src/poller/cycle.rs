//! When the next bulk poll is due.
//!
//! Polls stand on a grid: multiples of the interval plus a phase that is a hash of the
//! organisation's name, so that exporters of many organisations do not all ask at once.
//! A missed slot is skipped, never made up for. The cycle does not know why a poll may not go
//! out: budget and breaker tell it.

use crate::model::time::{Millis, Monotonic};

use super::jitter;

/// The interval is never stretched beyond this: half of `stale_after`, so that agents do not go
/// stale merely because the budget is small.
const STRETCHED_MAX: Millis = Millis::from_secs(5 * 60);
/// Deferred this often in a row, the interval doubles: once may be an accident.
const DEFERRALS_TO_STRETCH: u32 = 2;
/// After this many polls in a row that fitted, the interval halves again. Well above
/// [`DEFERRALS_TO_STRETCH`], so that a budget that is just too small does not make it swing.
const FITS_TO_SHRINK: u32 = 8;
/// A poll that ran late is not followed by the next slot if that is nearer than this part of the
/// interval.
const SPACING_PART: i64 = 4;
/// Part of the allowance that polls may plan with, in percent: the rest is for joins and for the
/// unforeseen (reliability.md §3.1 counts with 20 % reserve).
const PLANNED_PERCENT: u64 = 80;
/// No poll is due while one is out. After any reading of the clock, yet so that the span to it
/// can be computed.
const NEVER: Monotonic = Monotonic(i64::MAX / 4);

const _: () = assert!(FITS_TO_SHRINK > 2 * DEFERRALS_TO_STRETCH);
const _: () = assert!(SPACING_PART > 1 && PLANNED_PERCENT < 100);

/// The schedule of bulk polls.
#[derive(Debug, Clone)]
pub struct Cycle {
    interval: Millis,
    retry_backoff: Millis,
    phase: Millis,
    /// The effective interval is the configured one times two to this power.
    doublings: u32,
    /// Never fewer doublings than this ([`Self::at_least`]).
    doublings_min: u32,
    due: Monotonic,
    started_at: Option<Monotonic>,
    /// The slot that a retry stands for.
    replaced: Option<Monotonic>,
    deferrals: u32,
    fits: u32,
}

impl Cycle {
    /// The first poll is due at once; the later ones stand on the grid of `org`.
    pub fn new(org: &str, interval: Millis, retry_backoff: Millis, now: Monotonic) -> Self {
        let interval = Millis(interval.0.max(1));
        let hash = jitter::fnv1a(org.as_bytes()) % interval.0.unsigned_abs();
        Self {
            interval,
            retry_backoff: Millis(retry_backoff.0.max(1)),
            phase: Millis(hash as i64),
            doublings: 0,
            doublings_min: 0,
            due: now,
            started_at: None,
            replaced: None,
            deferrals: 0,
            fits: 0,
        }
    }

    /// Another interval and back-off from now on. A poll that waits takes the next slot of the
    /// new grid, if that comes sooner; stretching begins anew.
    pub fn reconfigure(
        &mut self,
        org: &str,
        interval: Millis,
        retry_backoff: Millis,
        now: Monotonic,
    ) {
        let fresh = Self::new(org, interval, retry_backoff, now);
        self.retry_backoff = fresh.retry_backoff;
        if self.interval == fresh.interval {
            return;
        }
        self.interval = fresh.interval;
        self.phase = fresh.phase;
        self.doublings = 0;
        self.doublings_min = 0;
        self.deferrals = 0;
        self.fits = 0;
        self.replaced = None;
        self.hasten(self.slot_after(now));
    }

    /// When the next poll is due; far in the future while one is out.
    pub fn due(&self) -> Monotonic {
        self.due
    }

    /// A poll goes out. Nothing is due until its end is told.
    pub fn started(&mut self, now: Monotonic) {
        self.started_at = Some(now);
        self.due = NEVER;
        self.deferrals = 0;
        self.fits += 1;
        if self.fits >= FITS_TO_SHRINK && self.doublings > self.doublings_min {
            self.doublings -= 1;
            self.fits = 0;
        }
    }

    /// The snapshot was accepted: the next slot on the grid.
    pub fn accepted(&mut self, now: Monotonic) {
        let spaced = self.started_at.map_or(now, |started| {
            started + Millis(self.effective_interval().0 / SPACING_PART)
        });
        let replaced = self.replaced.take().unwrap_or(now);
        self.due = self.slot_after(now.max(spaced).max(replaced));
    }

    /// The poll failed or was rejected: again after `retry_backoff`, in place of the next slot.
    pub fn rejected(&mut self, now: Monotonic) {
        self.replaced = Some(self.slot_after(now));
        self.due = now + self.retry_backoff;
    }

    /// The breaker is open: the next poll is its probe.
    pub fn paused_until(&mut self, at: Monotonic) {
        self.replaced = None;
        self.due = at;
    }

    /// A poll is wanted at `at`, before the next slot if that is later. Changes nothing while one
    /// is out.
    pub fn hasten(&mut self, at: Monotonic) {
        if self.due != NEVER {
            self.due = self.due.min(at);
        }
    }

    /// The budget did not admit the poll: it waits for the next slot, and the second time in a
    /// row the interval doubles.
    pub fn deferred(&mut self, now: Monotonic) {
        self.fits = 0;
        self.deferrals += 1;
        if self.deferrals >= DEFERRALS_TO_STRETCH {
            self.deferrals = 0;
            if self.stretched(self.doublings + 1) <= STRETCHED_MAX {
                self.doublings += 1;
            }
        }
        self.due = self.slot_after(now);
    }

    /// Stretches at once so that the interval is no shorter than `needed` (within the same
    /// limit), and keeps it so; for [`interval_needed`].
    pub fn at_least(&mut self, needed: Millis) {
        self.doublings_min = 0;
        while self.stretched(self.doublings_min) < needed
            && self.stretched(self.doublings_min + 1) <= STRETCHED_MAX
        {
            self.doublings_min += 1;
        }
        self.doublings = self.doublings.max(self.doublings_min);
    }

    /// The interval in force: 1, 2, 4 … times the configured one.
    pub fn effective_interval(&self) -> Millis {
        self.stretched(self.doublings)
    }

    fn stretched(&self, doublings: u32) -> Millis {
        let factor = 1_i64.checked_shl(doublings).unwrap_or(i64::MAX);
        Millis(self.interval.0.saturating_mul(factor))
    }

    /// The first slot after `now`. A stretched grid is a part of the plain one.
    fn slot_after(&self, now: Monotonic) -> Monotonic {
        let step = self.effective_interval().0;
        Monotonic(now.0 + step - (now.0 - self.phase.0).rem_euclid(step))
    }
}

/// The shortest interval at which a scan of `pages` fits an allowance a minute, a fifth of it
/// kept back: 200 pages at 300 a minute need 50 s.
pub fn interval_needed(pages: u32, allowance: u32) -> Millis {
    let planned = (u64::from(allowance) * PLANNED_PERCENT / 100).max(1);
    Millis((u64::from(pages) * 60_000).div_ceil(planned) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Millis = Millis::from_secs(15);

    fn cycle() -> Cycle {
        Cycle::new("default", INTERVAL, Millis::from_secs(10), Monotonic(0))
    }

    /// A cycle that has just accepted a poll, and the slot that is due next.
    fn on_grid() -> (Cycle, Monotonic) {
        let mut cycle = cycle();
        cycle.started(Monotonic(0));
        cycle.accepted(Monotonic(300));
        let slot = cycle.due();
        (cycle, slot)
    }

    fn after(slot: Monotonic, seconds: i64) -> Monotonic {
        slot + Millis::from_secs(seconds)
    }

    #[test]
    fn the_first_poll_is_due_at_once_and_the_rest_stand_on_the_grid() {
        let start = Monotonic(123_456);
        let mut cycle = Cycle::new("default", INTERVAL, Millis::from_secs(10), start);
        assert_eq!(cycle.due(), start);
        cycle.started(start);
        assert_eq!(cycle.due(), NEVER);
        cycle.accepted(start + Millis(300));
        let first = cycle.due();
        let phase = (jitter::fnv1a(b"default") % 15_000) as i64;
        assert_eq!(first.0.rem_euclid(15_000), phase);
        for slot in 0..5 {
            let due = after(first, 15 * slot);
            assert_eq!(cycle.due(), due);
            cycle.started(due + Millis(20));
            cycle.accepted(due + Millis(9_000));
        }
    }

    #[test]
    fn organisations_have_phases_of_their_own() {
        let phases: std::collections::BTreeSet<i64> = (0..50)
            .map(|n| {
                Cycle::new(&format!("org-{n}"), INTERVAL, INTERVAL, Monotonic(0))
                    .phase
                    .0
            })
            .collect();
        assert!(phases.len() > 45);
        assert!(phases.iter().all(|phase| (0..15_000).contains(phase)));
    }

    #[test]
    fn another_interval_holds_from_the_next_slot_on_and_a_poll_that_is_out_ends_first() {
        let mut cycle = Cycle::new("org", Millis(60_000), Millis(10_000), Monotonic(0));
        cycle.started(Monotonic(0));
        cycle.reconfigure("org", Millis(5_000), Millis(1_000), Monotonic(100));
        assert_eq!(cycle.due(), NEVER, "one is out");
        cycle.accepted(Monotonic(200));
        assert!(
            cycle.due() <= Monotonic(200 + 2 * 5_000),
            "{:?}",
            cycle.due()
        );
        cycle.reconfigure("org", Millis(120_000), Millis(1_000), Monotonic(300));
        let waits = cycle.due();
        cycle.reconfigure("org", Millis(1_000), Millis(1_000), Monotonic(400));
        assert!(cycle.due() <= waits && cycle.due() <= Monotonic(1_400));
        assert_eq!(cycle.effective_interval(), Millis(1_000));
    }

    #[test]
    fn missed_slots_are_skipped() {
        let (mut cycle, slot) = on_grid();
        cycle.started(slot);
        cycle.accepted(after(slot, 47));
        assert_eq!(cycle.due(), after(slot, 60));
        // The process was suspended: one poll, then the grid.
        let resumed = after(slot, 7_201);
        cycle.started(resumed);
        cycle.accepted(resumed + Millis(500));
        assert_eq!(cycle.due(), after(slot, 7_215));
    }

    #[test]
    fn a_late_poll_is_not_followed_at_once() {
        let (mut cycle, slot) = on_grid();
        cycle.started(after(slot, 14));
        cycle.accepted(after(slot, 14) + Millis(300));
        assert_eq!(cycle.due(), after(slot, 30));
    }

    #[test]
    fn a_retry_replaces_the_next_slot() {
        let (mut cycle, slot) = on_grid();
        cycle.started(slot);
        cycle.rejected(slot + Millis(300));
        assert_eq!(cycle.due(), slot + Millis(10_300));
        cycle.started(cycle.due());
        cycle.accepted(slot + Millis(10_600));
        assert_eq!(cycle.due(), after(slot, 30));
    }

    #[test]
    fn a_pause_ends_with_the_probe_and_the_grid_goes_on() {
        let (mut cycle, slot) = on_grid();
        cycle.started(slot);
        cycle.rejected(slot + Millis(300));
        cycle.paused_until(after(slot, 61));
        assert_eq!(cycle.due(), after(slot, 61));
        cycle.started(after(slot, 61));
        cycle.accepted(after(slot, 62));
        assert_eq!(cycle.due(), after(slot, 75));
    }

    #[test]
    fn two_deferrals_double_the_interval_up_to_four_minutes() {
        let (mut cycle, _) = on_grid();
        let mut seen = Vec::new();
        for _ in 0..12 {
            let now = cycle.due();
            cycle.deferred(now);
            assert!(cycle.due() > now);
            seen.push(cycle.effective_interval().0 / 1_000);
        }
        assert_eq!(
            seen,
            [15, 30, 30, 60, 60, 120, 120, 240, 240, 240, 240, 240]
        );
        let mut polls = 0;
        while cycle.effective_interval() > INTERVAL {
            let now = cycle.due();
            cycle.started(now);
            cycle.accepted(now + Millis(300));
            polls += 1;
        }
        assert_eq!(polls, 4 * FITS_TO_SHRINK);
    }

    #[test]
    fn one_deferral_alone_changes_nothing() {
        let (mut cycle, slot) = on_grid();
        for _ in 0..10 {
            cycle.deferred(cycle.due());
            let now = cycle.due();
            cycle.started(now);
            cycle.accepted(now + Millis(300));
        }
        assert_eq!(cycle.effective_interval(), INTERVAL);
        assert_eq!((cycle.due() - slot).0 % 15_000, 0);
    }

    #[test]
    fn an_interval_beyond_the_limit_is_left_alone() {
        let mut cycle = Cycle::new("default", Millis::from_secs(400), INTERVAL, Monotonic(0));
        for _ in 0..4 {
            cycle.deferred(cycle.due());
        }
        assert_eq!(cycle.effective_interval(), Millis::from_secs(400));
    }

    #[test]
    fn the_arithmetic_at_the_start() {
        assert_eq!(interval_needed(200, 300), Millis::from_secs(50));
        assert_eq!(interval_needed(1, 300), Millis(250));
        assert_eq!(interval_needed(1, 10), Millis(7_500));
        assert_eq!(interval_needed(1, 0), Millis::from_secs(60));
        let mut cycle = cycle();
        cycle.at_least(interval_needed(200, 300));
        assert_eq!(cycle.effective_interval(), Millis::from_secs(60));
        for _ in 0..40 {
            let now = cycle.due();
            cycle.started(now);
            cycle.accepted(now + Millis(300));
        }
        assert_eq!(cycle.effective_interval(), Millis::from_secs(60), "kept");
        cycle.at_least(Millis(i64::MAX));
        assert_eq!(cycle.effective_interval(), Millis::from_secs(240));
    }

    proptest! {
        #[test]
        fn polls_never_burst_and_never_stop(
            interval in 1_000..120_000_i64,
            backoff in 1_000..60_000_i64,
            outcomes in proptest::collection::vec((0..4_u8, 0..200_000_i64), 1..60),
        ) {
            let spacing = (interval / SPACING_PART).min(backoff);
            let mut cycle = Cycle::new("default", Millis(interval), Millis(backoff), Monotonic(5));
            let mut last: Option<Monotonic> = None;
            for (outcome, took) in outcomes {
                let now = cycle.due();
                prop_assert!(now < NEVER);
                if outcome == 3 {
                    cycle.deferred(now);
                    prop_assert!(cycle.due() > now);
                    continue;
                }
                if let Some(last) = last {
                    prop_assert!((now - last).0 >= spacing);
                }
                last = Some(now);
                cycle.started(now);
                let end = now + Millis(took);
                match outcome {
                    0 => cycle.accepted(end),
                    1 => cycle.rejected(end),
                    _ => { cycle.rejected(end); cycle.paused_until(end + Millis(60_000)); }
                }
                prop_assert!(cycle.due() > end);
            }
        }
    }
}
