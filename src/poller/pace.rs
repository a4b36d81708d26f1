//! Pacing of background requests: the generic cell rate algorithm (GCRA), which spreads requests
//! evenly with one number of state and no timer.
//!
//! Part of the budget. It never refuses for good; it says from when on a request conforms.

use crate::model::time::{Millis, Monotonic};

/// How far ahead of an even spread a class may run: a cycle's few background requests may go out
/// together, a minute's may not.
const BURST: Millis = Millis::from_secs(2);

/// One class of requests. Internally in microseconds, since 100,000 a minute are 0.6 ms apart.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// When the next request would be due if all were spread evenly.
    due_us: i64,
}

impl Pace {
    /// The first instant, not before `now`, at which a request conforms.
    pub(super) fn earliest(self, now: Monotonic) -> Monotonic {
        let conforming_us = self.due_us.saturating_sub(BURST.0 * 1_000);
        // Rounded up: a millisecond too late conforms, one too early does not.
        let millis = conforming_us.div_euclid(1_000) + i64::from(conforming_us % 1_000 != 0);
        now.max(Monotonic(millis))
    }

    /// Takes `cost` requests at `now`, of which `limit` fit evenly into `window`.
    pub(super) fn take(&mut self, cost: u32, limit: u32, window: Millis, now: Monotonic) {
        let spacing_us = window.0 * 1_000 / i64::from(limit.max(1));
        self.due_us = self.due_us.max(now.0.saturating_mul(1_000))
            + spacing_us.saturating_mul(i64::from(cost));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_spread_over_the_window() {
        let window = Millis::from_secs(60);
        let mut pace = Pace::default();
        let mut sent = Vec::new();
        let mut now = Monotonic(1_000_000);
        while sent.len() < 120 {
            now = pace.earliest(now);
            pace.take(1, 60, window, now);
            sent.push(now);
        }
        // 60 a minute: a burst of two seconds' worth and the one that starts it, then one a second.
        assert_eq!(sent.iter().filter(|at| **at == sent[0]).count(), 3);
        assert_eq!(sent[119] - sent[0], Millis::from_secs(117));
    }

    #[test]
    fn idleness_is_not_saved_up() {
        let mut pace = Pace::default();
        let later = Monotonic(3_600_000);
        for _ in 0..3 {
            assert_eq!(pace.earliest(later), later);
            pace.take(1, 60, Millis::from_secs(60), later);
        }
        assert_eq!(pace.earliest(later), later + Millis::from_secs(1));
    }
}
