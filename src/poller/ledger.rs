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
    pub(super) other: u64,
    pub(super) foreign: u64,
}

impl Used {
    pub(super) fn total(self) -> u64 {
        self.snapshot + self.upkeep + self.other + self.foreign
    }

    fn slot(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Snapshot => &mut self.snapshot,
            Class::Upkeep => &mut self.upkeep,
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
