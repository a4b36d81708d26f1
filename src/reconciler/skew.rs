//! The platform's clock against ours, from `Date` headers that resolve one second.
//!
//! Every answer bounds the skew (our clock minus the platform's) by an interval a little wider
//! than a second; the true value lies in all of them, so their intersection narrows to about the
//! round-trip time within a minute of polling. The bounds, not a guess between them, decide how
//! far an answer confirms (semantics.md §12.9).

use crate::model::time::{Millis, UnixMillis};

/// `Date` names a second that has begun; the instant is up to this much later.
const DATE_RESOLUTION: Millis = Millis(999);

/// Crystal clocks drift by up to about 100 ppm against each other; the bounds widen by that much
/// between answers so that an old narrow interval cannot outlive its truth.
const DRIFT_PER_MILLION: i64 = 200;

/// Assumed before the first answer: our clock is right to a second.
const UNMEASURED: Bounds = Bounds {
    low: Millis(-1_000),
    high: Millis(1_000),
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    low: Millis,
    high: Millis,
}

/// Measured skew: our wall clock minus the platform's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skew {
    measured: Option<(Bounds, UnixMillis)>,
}

impl Skew {
    /// Takes in an answer that was sent and received at these instants of our clock and carried
    /// this `Date`.
    pub fn observe(&mut self, sent: UnixMillis, received: UnixMillis, date: UnixMillis) {
        if received < sent {
            // Our clock was stepped back in between: this answer says nothing.
            return;
        }
        let fresh = Bounds {
            low: sent - (date + DATE_RESOLUTION),
            high: received - date,
        };
        let bounds = match self.measured {
            None => fresh,
            Some((old, at)) => {
                let elapsed = (received - at).0.abs();
                let drift = Millis(elapsed * DRIFT_PER_MILLION / 1_000_000 + 1);
                let low = fresh.low.max(old.low - drift);
                let high = fresh.high.min(old.high + drift);
                if low <= high {
                    Bounds { low, high }
                } else {
                    // A clock was stepped: only the fresh answer still holds.
                    fresh
                }
            }
        };
        self.measured = Some((bounds, received));
    }

    fn bounds(&self) -> Bounds {
        self.measured.map_or(UNMEASURED, |(bounds, _)| bounds)
    }

    /// The platform's clock showed at least this when ours showed `local`.
    pub fn platform_at_least(&self, local: UnixMillis) -> UnixMillis {
        local - self.bounds().high
    }

    /// The platform's clock showed at most this when ours showed `local`.
    pub fn platform_at_most(&self, local: UnixMillis) -> UnixMillis {
        local - self.bounds().low
    }

    /// The middle of the bounds, in seconds; `None` before the first answer.
    pub fn seconds(&self) -> Option<f64> {
        self.measured
            .map(|(bounds, _)| (bounds.low + bounds.high).as_secs_f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of a platform whose clock is `behind` ours, with 40 ms each way.
    fn answer(skew: &mut Skew, sent: i64, behind: i64) {
        let platform = sent + 40 - behind;
        skew.observe(
            UnixMillis(sent),
            UnixMillis(sent + 80),
            UnixMillis(platform - platform.rem_euclid(1_000)),
        );
    }

    #[test]
    fn bounds_hold_the_truth_and_narrow() {
        for behind in [0, 300_000, -300_000, 417] {
            let mut skew = Skew::default();
            for k in 0..60 {
                answer(&mut skew, 1_700_000_000_000 + k * 15_137, behind);
                let b = skew.bounds();
                assert!(b.low.0 <= behind && behind <= b.high.0, "{b:?} {behind}");
            }
            let b = skew.bounds();
            assert!((b.high - b.low).0 < 250, "{b:?}");
            assert!((skew.seconds().unwrap() - behind as f64 / 1_000.0).abs() < 0.2);
        }
    }

    #[test]
    fn a_stepped_clock_starts_over() {
        let mut skew = Skew::default();
        answer(&mut skew, 1_000_000_000, 0);
        answer(&mut skew, 1_000_020_000, 3_600_000);
        assert!((skew.seconds().unwrap() - 3_600.0).abs() < 1.1);
        let before = skew;
        skew.observe(UnixMillis(10), UnixMillis(5), UnixMillis(0));
        assert_eq!(
            skew, before,
            "an answer that arrived before it was sent says nothing"
        );
    }

    #[test]
    fn unmeasured_is_a_second_either_way() {
        let skew = Skew::default();
        assert_eq!(skew.seconds(), None);
        assert_eq!(skew.platform_at_least(UnixMillis(5_000)), UnixMillis(4_000));
        assert_eq!(skew.platform_at_most(UnixMillis(5_000)), UnixMillis(6_000));
    }
}
