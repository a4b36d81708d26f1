//! The platform's clock against ours, from `Date` headers that resolve one second.
//!
//! Every answer bounds what our monotonic clock is ahead of the platform's by an interval a
//! little wider than a second; the true value lies in all of them, so their intersection narrows
//! to about the round-trip time within a minute of polling. The bounds, not a guess between
//! them, decide how far an answer confirms (semantics.md §12.9). Measured against the monotonic
//! clock because somebody may step the wall clock at any moment: until an answer showed it, every
//! window of the hour would close early, or every agent go stale (semantics.md §11).

use crate::model::time::{Millis, Monotonic, Now, UnixMillis};

/// `Date` names a second that has begun; the instant is up to this much later.
const DATE_RESOLUTION: Millis = Millis(999);

/// Crystal clocks drift by up to about 100 ppm against each other; the bounds widen by that much
/// between answers so that an old narrow interval cannot outlive its truth.
const DRIFT_PER_MILLION: i64 = 200;

/// Assumed of our wall clock before the first answer: it is right to this.
const UNMEASURED: Millis = Millis(1_000);

/// Of the monotonic clock minus the platform's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    low: Millis,
    high: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Measured {
    ahead: Bounds,
    at: Monotonic,
    /// Our wall clock minus our monotonic one at that moment.
    wall: Millis,
}

/// What is known of the platform's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skew {
    measured: Option<Measured>,
}

impl Skew {
    /// Takes in an answer that was sent and received at these instants and carried this `Date`.
    pub fn observe(&mut self, sent: Now, received: Now, date: UnixMillis) {
        let fresh = Bounds {
            low: Millis(sent.mono.0 - (date + DATE_RESOLUTION).0),
            high: Millis(received.mono.0 - date.0),
        };
        let ahead = match self.measured {
            None => fresh,
            Some(Measured { ahead: old, at, .. }) => {
                let elapsed = (received.mono - at).0.abs();
                let drift = Millis(elapsed * DRIFT_PER_MILLION / 1_000_000 + 1);
                let low = fresh.low.max(old.low - drift);
                let high = fresh.high.min(old.high + drift);
                if low <= high {
                    Bounds { low, high }
                } else {
                    // The platform's clock was stepped, or this machine slept: only the fresh
                    // answer still holds.
                    fresh
                }
            }
        };
        self.measured = Some(Measured {
            ahead,
            at: received.mono,
            wall: Millis(received.wall.0 - received.mono.0),
        });
    }

    /// Whether an answer has told the platform's clock yet; before that it is our wall clock's
    /// guess.
    pub fn is_measured(&self) -> bool {
        self.measured.is_some()
    }

    /// The platform's clock showed at least this when ours showed `now`.
    pub fn platform_at_least(&self, now: Now) -> UnixMillis {
        match self.measured {
            Some(measured) => UnixMillis(now.mono.0 - measured.ahead.high.0),
            None => now.wall - UNMEASURED,
        }
    }

    /// The platform's clock showed at most this when ours showed `now`.
    pub fn platform_at_most(&self, now: Now) -> UnixMillis {
        match self.measured {
            Some(measured) => UnixMillis(now.mono.0 - measured.ahead.low.0),
            None => now.wall + UNMEASURED,
        }
    }

    /// Our wall clock minus the platform's, in seconds: the middle of the bounds; `None` before
    /// the first answer.
    pub fn seconds(&self) -> Option<f64> {
        self.measured.map(|measured| {
            let twice = measured.ahead.low + measured.ahead.high + Millis(2 * measured.wall.0);
            twice.as_secs_f64() / 2.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The monotonic clock started when the wall clock showed this.
    const BOOT: i64 = 1_700_000_000_000;

    fn now(mono: i64) -> Now {
        Now {
            mono: Monotonic(mono),
            wall: UnixMillis(BOOT + mono),
        }
    }

    /// The same instant on a machine whose wall clock was stepped by so much.
    fn stepped(now: Now, by: i64) -> Now {
        Now {
            wall: now.wall + Millis(by),
            ..now
        }
    }

    /// An answer of a platform whose clock is `behind` ours, with 40 ms each way.
    fn answer(skew: &mut Skew, sent: i64, behind: i64) {
        let platform = BOOT + sent + 40 - behind;
        skew.observe(
            now(sent),
            now(sent + 80),
            UnixMillis(platform - platform.rem_euclid(1_000)),
        );
    }

    #[test]
    fn bounds_hold_the_truth_and_narrow() {
        for behind in [0, 300_000, -300_000, 417] {
            let mut skew = Skew::default();
            let mut last = now(0);
            for k in 0..60 {
                answer(&mut skew, k * 15_137, behind);
                last = now(k * 15_137);
                let truth = last.wall - Millis(behind);
                assert!(skew.platform_at_least(last) <= truth, "{skew:?} {behind}");
                assert!(skew.platform_at_most(last) >= truth, "{skew:?} {behind}");
            }
            let width = skew.platform_at_most(last) - skew.platform_at_least(last);
            assert!(width < Millis(250), "{skew:?}");
            assert!((skew.seconds().unwrap() - behind as f64 / 1_000.0).abs() < 0.2);
        }
    }

    #[test]
    fn a_step_of_our_wall_clock_moves_nothing_but_what_is_shown() {
        let mut skew = Skew::default();
        answer(&mut skew, 1_000, 0);
        for by in [3_600_000, -3_600_000] {
            let later = stepped(now(9_000), by);
            assert_eq!(
                skew.platform_at_least(later),
                skew.platform_at_least(now(9_000))
            );
            let mut told = skew;
            let date = UnixMillis(BOOT + 9_000);
            // It may be stepped between sending and receiving, too.
            told.observe(now(9_000), later, date);
            assert!((told.seconds().unwrap() - by as f64 / 1_000.0).abs() < 1.1);
            assert!(told.platform_at_least(later) <= date);
            assert!(told.platform_at_most(later) >= date);
        }
    }

    #[test]
    fn a_step_of_the_platforms_clock_starts_over() {
        let mut skew = Skew::default();
        answer(&mut skew, 0, 0);
        answer(&mut skew, 20_000, 3_600_000);
        assert!((skew.seconds().unwrap() - 3_600.0).abs() < 1.1);
    }

    #[test]
    fn unmeasured_is_our_wall_clock_and_a_second_either_way() {
        let skew = Skew::default();
        assert!(!skew.is_measured());
        assert_eq!(skew.seconds(), None);
        let at = now(5_000);
        assert_eq!(skew.platform_at_least(at), UnixMillis(BOOT + 4_000));
        assert_eq!(skew.platform_at_most(at), UnixMillis(BOOT + 6_000));
    }
}
