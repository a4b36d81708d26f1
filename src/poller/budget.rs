//! One budget for every call of one OAuth client (semantics.md §10, reliability.md §3.2).
//!
//! Three layers decide over a request: nothing goes out while the platform has told us to wait;
//! the sliding log never exceeds the allowance, foreign use included; and what is left after the
//! snapshots of the next minute is shared by priority, background work evenly spread. The budget
//! never queues and never sends: callers ask again at [`Budget::next_opportunity`].

use crate::model::time::{Millis, Monotonic};

use super::jitter;
use super::ledger::{Class, Ledger, Used};
use super::pace::Pace;

/// What a request is for, in falling priority (semantics.md §10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Logging in.
    Token,
    /// The bulk snapshot, all its pages at once.
    Snapshot,
    /// Stuck checks and divergence validation.
    Check,
    /// Joins of agents that changed.
    Changed,
    /// Joins of agents that were never joined.
    NeverJoined,
    /// Joins of the agents whose last confirmation is oldest, round robin.
    Oldest,
    /// Membership and registry.
    Upkeep,
    /// What only sharpens a figure that is known already: since when after-call work goes on.
    Detail,
}

impl Priority {
    /// How many percent of what snapshots leave this priority may fill, together with all else
    /// that is no snapshot. `Upkeep` stands above the two endless round robins, or they would
    /// leave it nothing; what changed stands above both, or news would wait behind routine. First
    /// joins come to an end, so they may have more than this while nothing above them needs it
    /// ([`Budget::limit`]). `Detail` stands below all, and so can keep nobody waiting.
    const fn percent(self) -> u64 {
        match self {
            Self::Token | Self::Snapshot => 100,
            Self::Check => 90,
            Self::Changed => 85,
            Self::Upkeep => 65,
            Self::NeverJoined | Self::Oldest => 50,
            Self::Detail => 40,
        }
    }

    const fn class(self) -> Class {
        match self {
            Self::Snapshot => Class::Snapshot,
            Self::Upkeep => Class::Upkeep,
            Self::Changed => Class::Changed,
            _ => Class::Other,
        }
    }
}

/// The platform counts by the minute.
const MINUTE: Millis = Millis::from_secs(60);
/// Two requests sent 60 s apart may arrive closer together; the log looks back this much further.
const TRANSIT_MARGIN: Millis = Millis::from_secs(1);
/// What the sliding log covers.
const WINDOW: Millis = Millis(MINUTE.0 + TRANSIT_MARGIN.0);
/// Most of the allowance that is kept for snapshots of the next minute, in percent: a fifth stays
/// for joins, or a large organisation would have snapshots and no states (reliability.md §3.2).
const RESERVE_MAX_PERCENT: u64 = 80;
/// A share, in percent, that upkeep may take even while joins fill theirs: without a registry
/// refresh now and then strangers would never be known. It fits between what checks may fill and
/// the whole, so it takes nothing from anyone.
const UPKEEP_FLOOR_PERCENT: u64 = 5;
/// What first joins leave to agents that change, in percent: three quarters of a second's worth of
/// the default allowance at once, and every request that becomes free after that. Where changes
/// come in larger numbers, half of a minute's is left: what two polls of the default interval find.
const CHANGED_RESERVE_PERCENT: u64 = 5;
/// How far the window's end may seem to move within one fixed window: the header is rounded to
/// seconds, and an answer takes its time.
const RESET_TOLERANCE: Millis = Millis::from_secs(3);
/// A reset further away than this is not seconds (some send an epoch): it is ignored.
const RESET_MAX: Millis = Millis::from_secs(120);
/// `Retry-After` is rounded to seconds; waiting one more keeps us behind it.
const RETRY_AFTER_ROUNDING: Millis = Millis::from_secs(1);
/// Nobody is believed who asks for more than this; the answer then tells us anew.
const WAIT_MAX: Millis = Millis::from_secs(15 * 60);
/// Jitter above the wait never needs more: clients of one organisation are few.
const JITTER_MAX: Millis = Millis::from_secs(5);
/// While only an answer can make room, ask again this much later at the latest.
const RECHECK: Millis = Millis::from_secs(1);
/// A restart knows to this when requests were sent: finer would only be longer to write.
const CARRIED_STEP: Millis = Millis::from_secs(5);
/// The poll interval until the budget is told another: the default of `poll.interval`.
const SNAPSHOT_INTERVAL_DEFAULT: Millis = Millis::from_secs(15);

const _: () = assert!(Priority::Check.percent() + UPKEEP_FLOOR_PERCENT <= 100);
const _: () = assert!(Priority::Detail.percent() < Priority::Oldest.percent());
const _: () = assert!(Priority::Oldest.percent() < Priority::Upkeep.percent());
const _: () = assert!(Priority::Upkeep.percent() < Priority::Changed.percent());
const _: () = assert!(Priority::Changed.percent() < Priority::Check.percent());
const _: () = assert!(RESET_MAX.0 > MINUTE.0 + RESET_TOLERANCE.0);
const _: () = assert!(RESERVE_MAX_PERCENT < 100 && TRANSIT_MARGIN.0 > 0);

/// What the rate headers of one answer say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateReading {
    /// Requests in the platform's running window.
    pub count: Option<u64>,
    /// Requests that it allows in one.
    pub allowed: Option<u64>,
    /// Until the window ends.
    pub reset: Option<Millis>,
}

/// What the next run of the same OAuth client must know of this one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Carried {
    /// How long the platform still wants silence.
    pub silence: Millis,
    /// Requests of the running minute and how long ago they were sent, oldest first.
    pub sent: Vec<(Millis, u32)>,
}

/// The ledger of one OAuth client.
#[derive(Debug, Clone)]
pub struct Budget {
    configured: u32,
    /// What the platform last said that it allows.
    told: Option<u32>,
    max_in_flight: u32,
    ledger: Ledger,
    /// Out now.
    in_flight: u32,
    /// Admitted as part of a scan, to go out one after the other.
    queued: u32,
    joins: Pace,
    upkeep: Pace,
    details: Pace,
    blocked_until: Option<Monotonic>,
    /// End of the platform's running window.
    window_end: Option<Monotonic>,
    snapshot_cost: u32,
    snapshot_interval: Millis,
}

impl Budget {
    /// A budget of `requests_per_minute`, `max_in_flight` at a time; 0 is taken as 1.
    pub fn new(requests_per_minute: u32, max_in_flight: u32) -> Self {
        Self {
            configured: requests_per_minute.max(1),
            told: None,
            max_in_flight: max_in_flight.max(1),
            ledger: Ledger::new(WINDOW),
            in_flight: 0,
            queued: 0,
            joins: Pace::default(),
            upkeep: Pace::default(),
            details: Pace::default(),
            blocked_until: None,
            window_end: None,
            snapshot_cost: 1,
            snapshot_interval: SNAPSHOT_INTERVAL_DEFAULT,
        }
    }

    /// Another budget from now on; what was sent in the running minute still counts.
    pub fn reconfigure(&mut self, requests_per_minute: u32, max_in_flight: u32) {
        self.configured = requests_per_minute.max(1);
        self.max_in_flight = max_in_flight.max(1);
    }

    /// Admits `cost` requests, whole or not at all, and notes them as sent now. Several go out
    /// one after the other and take one place in flight between them.
    pub fn admit(&mut self, priority: Priority, cost: u32, now: Monotonic) -> bool {
        let fits = !self.is_blocked(now)
            && self.pace(priority).is_none_or(|p| p.earliest(now) <= now)
            && self.has_place(priority)
            && self.allows(self.ledger.used(now), priority, cost);
        if !fits || cost == 0 {
            return fits;
        }
        let limit = self.limit(self.ledger.used(now), priority);
        match priority {
            Priority::NeverJoined | Priority::Oldest => self.joins.take(cost, limit, WINDOW, now),
            Priority::Upkeep => self.upkeep.take(cost, limit, WINDOW, now),
            Priority::Detail => self.details.take(cost, limit, WINDOW, now),
            _ => {}
        }
        self.ledger.record(priority.class(), cost, now);
        self.in_flight += 1;
        self.queued = self.queued.saturating_add(cost - 1);
        true
    }

    /// The earliest instant from `now` on at which [`Self::admit`] can succeed by the passing of
    /// time alone. If only an answer can make room, or the cost exceeds what this priority may
    /// ever take, a bounded re-check.
    pub fn next_opportunity(&self, priority: Priority, cost: u32, now: Monotonic) -> Monotonic {
        let mut from = self.blocked_until.map_or(now, |until| now.max(until));
        if let Some(pace) = self.pace(priority) {
            from = pace.earliest(from);
        }
        let enough = |used| self.allows(used, priority, cost);
        let at = self.ledger.first(from, enough).unwrap_or(from + WINDOW);
        if at <= now && !self.has_place(priority) {
            now + RECHECK
        } else {
            at
        }
    }

    /// Whether `cost` requests could be admitted at once if nothing else were sent. If not, no
    /// waiting helps: the allowance must rise or the scan needs fewer pages.
    pub fn can_ever_admit(&self, priority: Priority, cost: u32) -> bool {
        self.allows(Used::default(), priority, cost)
    }

    /// One request is no longer in flight: answered, failed, or timed out.
    pub fn finished(&mut self) {
        // The next page of a scan takes the place. If the answer was another request's, this
        // counts one too many in flight until the scan is through: the safe side.
        if self.queued > 0 {
            self.queued -= 1;
        } else {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }

    /// A request admitted at `admitted_at` as part of a scan goes out only now: the log moves it,
    /// so that the sliding minute stays exact however long the scan takes.
    pub fn sent_late(&mut self, priority: Priority, admitted_at: Monotonic, now: Monotonic) {
        self.ledger.withdraw(priority.class(), 1, admitted_at);
        self.ledger.record(priority.class(), 1, now);
    }

    /// `count` requests admitted at `admitted_at` will not be sent: their scan was given up.
    pub fn given_back(&mut self, priority: Priority, count: u32, admitted_at: Monotonic) {
        self.ledger.withdraw(priority.class(), count, admitted_at);
        let queued = self.queued.min(count);
        self.queued -= queued;
        self.in_flight = self.in_flight.saturating_sub(count - queued);
    }

    /// Takes in the rate headers of an answer that arrived now. A count above what we know of
    /// the platform's window is foreign use, and counts as sent now.
    pub fn observe(&mut self, rate: &RateReading, now: Monotonic) {
        if let Some(allowed) = rate.allowed.filter(|allowed| *allowed > 0) {
            self.told = Some(u32::try_from(allowed).unwrap_or(u32::MAX));
        }
        if let Some(reset) = rate
            .reset
            .filter(|r| (Millis::ZERO..=RESET_MAX).contains(r))
        {
            let end = now + reset;
            // Of several readings in one window the earliest end is nearest to the truth, as
            // rounding and transit only add to it.
            self.window_end = match self.window_end {
                Some(known) if (end - known).0.abs() <= RESET_TOLERANCE.0 => Some(known.min(end)),
                _ => Some(end),
            };
        }
        if let Some(count) = rate.count {
            let start = match self.window_end {
                Some(end) if now <= end => Monotonic(end.0.saturating_sub(MINUTE.0)),
                _ => Monotonic(now.0.saturating_sub(WINDOW.0)),
            };
            // More than the allowance needs no counting: nothing is left then.
            let count = count.min(u64::from(self.allowance()));
            let foreign = count.saturating_sub(self.ledger.since(start));
            let foreign = u32::try_from(foreign).expect("not above the allowance");
            self.ledger.record(Class::Foreign, foreign, now);
        }
    }

    /// The platform said 429 and to wait: no request of any priority before that, a second for
    /// the header's rounding, and equal jitter (full jitter may give none, and burn every retry
    /// in one window).
    pub fn throttled(&mut self, wait: Millis, jitter_seed: u64, now: Monotonic) {
        let wait = wait.clamp(Millis::ZERO, WAIT_MAX);
        let spread = (wait.0 / 4).min(JITTER_MAX.0);
        let half = spread / 2;
        let jitter = Millis(spread - half + jitter::up_to(jitter_seed, half));
        let until = now + wait + RETRY_AFTER_ROUNDING + jitter;
        self.blocked_until = Some(self.blocked_until.map_or(until, |known| known.max(until)));
    }

    /// Requests that may still be sent in the running minute; 0 while the platform makes us wait.
    pub fn remaining(&self, now: Monotonic) -> u32 {
        if self.is_blocked(now) {
            return 0;
        }
        // A budget made smaller may be overdrawn for the rest of the minute.
        let left = u64::from(self.allowance()).saturating_sub(self.ledger.used(now).total());
        u32::try_from(left).expect("not above the allowance")
    }

    /// Until when the last 429 forbids everything; may lie in the past.
    pub fn blocked_until(&self) -> Option<Monotonic> {
        self.blocked_until
    }

    /// What a restart must not forget.
    pub fn carried(&self, now: Monotonic) -> Carried {
        let silence = self
            .blocked_until
            .map_or(Millis::ZERO, |until| (until - now).max(Millis::ZERO));
        Carried {
            silence,
            sent: self.ledger.ages(CARRIED_STEP, now),
        }
    }

    /// Takes over what the run before left.
    pub fn carry_on(&mut self, carried: &Carried, now: Monotonic) {
        for &(age, count) in &carried.sent {
            let at = Monotonic(now.0.saturating_sub(age.0.clamp(0, WINDOW.0)));
            self.ledger.record(Class::Foreign, count, at);
        }
        if carried.silence > Millis::ZERO {
            self.blocked_until = Some(now + carried.silence.min(WAIT_MAX));
        }
    }

    /// Whether the last 429 forbids everything now.
    pub fn is_blocked(&self, now: Monotonic) -> bool {
        self.blocked_until.is_some_and(|until| now < until)
    }

    /// How many requests a forced refresh or a divergence validation may take: half of what is
    /// left after the next snapshot (semantics.md §12.4).
    pub fn left_for_checks(&self, now: Monotonic) -> u32 {
        self.remaining(now).saturating_sub(self.snapshot_cost) / 2
    }

    /// Pages of the next snapshot, as the last one had them; 0 is taken as 1.
    pub fn set_snapshot_cost(&mut self, pages: u32) {
        self.snapshot_cost = pages.max(1);
    }

    /// The effective poll interval: how many snapshots the next minute will see.
    pub fn set_snapshot_interval(&mut self, interval: Millis) {
        self.snapshot_interval = Millis(interval.0.max(1));
    }

    /// Requests a minute in force: the smaller of the configured and the platform's number.
    pub fn allowance(&self) -> u32 {
        self.told
            .map_or(self.configured, |told| told.min(self.configured))
    }

    /// Requests admitted and not finished.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.saturating_add(self.queued)
    }

    fn allows(&self, used: Used, priority: Priority, cost: u32) -> bool {
        let cost = u64::from(cost);
        if used.total() + cost > u64::from(self.allowance()) {
            return false;
        }
        if priority <= Priority::Snapshot {
            return true;
        }
        let rest = used.total() - used.snapshot;
        if rest + cost <= u64::from(self.limit(used, priority)) {
            return true;
        }
        let free = self.free(used);
        let floor = (free * UPKEEP_FLOOR_PERCENT / 100).max(1);
        priority == Priority::Upkeep && rest + cost <= free && used.upkeep + cost <= floor
    }

    /// Up to where a priority may fill the part of the allowance that is not for snapshots. First
    /// joins may fill what changed agents do not need: they always find a reserve, and whatever
    /// becomes free is theirs first.
    fn limit(&self, used: Used, priority: Priority) -> u32 {
        let free = self.free(used);
        let share = |priority: Priority| free * priority.percent() / 100;
        let mut limit = share(priority);
        if priority == Priority::NeverJoined {
            let reserve = (free * CHANGED_RESERVE_PERCENT / 100).max(used.changed / 2);
            limit = limit.max(share(Priority::Changed).saturating_sub(reserve));
        }
        // At least one where anything is free: a tiny budget is slow, not stuck.
        let limit = limit.max(free.min(1));
        u32::try_from(limit).expect("a part of the allowance")
    }

    /// What is not kept for the snapshots of the next minute. As long as everything else stays
    /// within it, no snapshot ever waits for a request of lower priority.
    fn free(&self, used: Used) -> u64 {
        let allowance = u64::from(self.allowance());
        let interval = self.snapshot_interval.0.max(1);
        let due = u64::try_from((WINDOW.0 + interval - 1) / interval).unwrap_or(1);
        let cost = u64::from(self.snapshot_cost);
        let reserve = (due * cost)
            .min(allowance * RESERVE_MAX_PERCENT / 100)
            .max(cost);
        allowance.saturating_sub(reserve.max(used.snapshot))
    }

    fn has_place(&self, priority: Priority) -> bool {
        // One place is kept for the snapshot and the token, unless there is only one.
        let places = if priority <= Priority::Snapshot {
            self.max_in_flight
        } else {
            (self.max_in_flight - 1).max(1)
        };
        self.in_flight < places
    }

    fn pace(&self, priority: Priority) -> Option<Pace> {
        match priority {
            Priority::NeverJoined | Priority::Oldest => Some(self.joins),
            Priority::Upkeep => Some(self.upkeep),
            Priority::Detail => Some(self.details),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
