//! The sliding log of what was sent: exact where a token bucket would only be right on average,
//! and small, because what was sent in the same millisecond shares an entry.
//!
//! Part of the budget. It counts and never judges.

use std::collections::VecDeque;

use crate::model::time::{Millis, Monotonic};

/// Who used the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A page of a bulk snapshot.
    Snapshot,
    /// Upkeep of membership and registry.
    Upkeep,
    /// Joins of agents that changed.
    Changed,
    /// Any other request of ours.
    Other,
    /// Somebody else with the same OAuth client, as told by the rate headers.
    Foreign,
}

/// Requests in the sliding window, by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Used {
    pub(super) snapshot: u64,
    pub(super) upkeep: u64,
    pub(super) changed: u64,
    pub(super) other: u64,
    pub(super) foreign: u64,
}

impl Used {
    pub(super) fn total(self) -> u64 {
        self.snapshot + self.upkeep + self.changed + self.other + self.foreign
    }

    fn slot(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Snapshot => &mut self.snapshot,
            Class::Upkeep => &mut self.upkeep,
            Class::Changed => &mut self.changed,
            Class::Other => &mut self.other,
            Class::Foreign => &mut self.foreign,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    at: Monotonic,
    class: Class,
    count: u32,
}

/// What was sent within the last `window`.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    window: Millis,
    /// By `at`, ascending.
    entries: VecDeque<Entry>,
    /// Sum over `entries`.
    used: Used,
}

impl Ledger {
    pub(super) fn new(window: Millis) -> Self {
        Self {
            window,
            entries: VecDeque::new(),
            used: Used::default(),
        }
    }

    /// Notes `count` requests at `now` and forgets what has left the window.
    pub(super) fn record(&mut self, class: Class, count: u32, now: Monotonic) {
        self.forget(now);
        if count == 0 {
            return;
        }
        // The log stays in order even if a caller's `now` went back a little.
        let at = self.entries.back().map_or(now, |last| last.at.max(now));
        *self.used.slot(class) += u64::from(count);
        match self.entries.back_mut() {
            Some(last) if last.at == at && last.class == class => {
                last.count = last.count.saturating_add(count);
            }
            _ => self.entries.push_back(Entry { at, class, count }),
        }
    }

    /// What counts at `now`.
    pub(super) fn used(&self, now: Monotonic) -> Used {
        let mut used = self.used;
        for entry in self.entries.iter().take_while(|e| self.expires(e) <= now) {
            *used.slot(entry.class) -= u64::from(entry.count);
        }
        used
    }

    /// The first instant from `from` on at which `enough` holds as entries leave the window.
    pub(super) fn first(
        &self,
        from: Monotonic,
        enough: impl Fn(Used) -> bool,
    ) -> Option<Monotonic> {
        let mut used = self.used;
        let mut at = from;
        let mut entries = self.entries.iter().peekable();
        loop {
            while let Some(entry) = entries.next_if(|e| self.expires(e) <= at) {
                *used.slot(entry.class) -= u64::from(entry.count);
            }
            if enough(used) {
                return Some(at);
            }
            at = self.expires(entries.peek()?);
        }
    }

    /// How long ago requests were noted that still count, oldest first: in steps of `step`,
    /// rounded to the younger side.
    pub(super) fn ages(&self, step: Millis, now: Monotonic) -> Vec<(Millis, u32)> {
        let mut ages: Vec<(Millis, u32)> = Vec::new();
        for entry in self.entries.iter().filter(|e| self.expires(e) > now) {
            let age = Millis((now - entry.at).0 / step.0 * step.0);
            match ages.last_mut() {
                Some((last, count)) if *last == age => *count = count.saturating_add(entry.count),
                _ => ages.push((age, entry.count)),
            }
        }
        ages
    }

    /// Requests of every class noted at `start` or later.
    pub(super) fn since(&self, start: Monotonic) -> u64 {
        self.entries
            .iter()
            .rev()
            .take_while(|entry| entry.at >= start)
            .map(|entry| u64::from(entry.count))
            .sum()
    }

    /// Takes back up to `count` requests of a class noted at `at` that were never sent; says how
    /// many were found.
    pub(super) fn withdraw(&mut self, class: Class, count: u32, at: Monotonic) -> u32 {
        let mut left = count;
        for entry in &mut self.entries {
            if entry.at == at && entry.class == class {
                let taken = entry.count.min(left);
                entry.count -= taken;
                left -= taken;
                *self.used.slot(class) -= u64::from(taken);
            }
        }
        self.entries.retain(|entry| entry.count > 0);
        count - left
    }

    fn forget(&mut self, now: Monotonic) {
        while let Some(entry) = self.entries.front().copied() {
            if self.expires(&entry) > now {
                break;
            }
            *self.used.slot(entry.class) -= u64::from(entry.count);
            self.entries.pop_front();
        }
    }

    fn expires(&self, entry: &Entry) -> Monotonic {
        entry.at + self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Millis = Millis(100);

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(WINDOW);
        ledger.record(Class::Other, 2, Monotonic(0));
        ledger.record(Class::Snapshot, 5, Monotonic(10));
        ledger.record(Class::Foreign, 3, Monotonic(10));
        ledger.record(Class::Upkeep, 1, Monotonic(40));
        ledger
    }

    #[test]
    fn a_request_counts_until_the_window_has_passed() {
        let ledger = ledger();
        for (now, total) in [(40, 11), (99, 11), (100, 9), (109, 9), (110, 1), (140, 0)] {
            assert_eq!(ledger.used(Monotonic(now)).total(), total, "at {now}");
        }
        assert_eq!(ledger.since(Monotonic(10)), 9);
        assert_eq!(ledger.since(Monotonic(11)), 1);
    }

    #[test]
    fn the_first_instant_with_room_is_an_expiry_or_now() {
        let ledger = ledger();
        let first = |from, most| ledger.first(Monotonic(from), |used| used.total() <= most);
        assert_eq!(first(50, 11), Some(Monotonic(50)));
        assert_eq!(first(50, 9), Some(Monotonic(100)));
        assert_eq!(first(50, 8), Some(Monotonic(110)));
        assert_eq!(first(120, 8), Some(Monotonic(120)));
        assert_eq!(first(50, 0), Some(Monotonic(140)));
        assert_eq!(ledger.first(Monotonic(50), |_| false), None);
    }

    #[test]
    fn what_was_never_sent_is_taken_back_and_no_more() {
        let mut ledger = ledger();
        assert_eq!(ledger.withdraw(Class::Snapshot, 4, Monotonic(10)), 4);
        assert_eq!(ledger.withdraw(Class::Snapshot, 4, Monotonic(10)), 1);
        assert_eq!(ledger.withdraw(Class::Other, 4, Monotonic(10)), 0);
        assert_eq!(ledger.used(Monotonic(50)).total(), 6);
    }

    #[test]
    fn memory_is_bounded_by_the_window() {
        let mut ledger = Ledger::new(WINDOW);
        for now in 0..10_000 {
            ledger.record(Class::Other, 1, Monotonic(now));
            ledger.record(Class::Other, 1, Monotonic(now));
        }
        assert_eq!(ledger.entries.len(), 100);
        assert_eq!(ledger.used(Monotonic(9_999)).total(), 200);
    }
}
