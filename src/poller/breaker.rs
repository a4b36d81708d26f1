//! The circuit breaker: after several snapshots in a row that failed or were not believed,
//! polling pauses, longer each time, and one probe decides (semantics.md §8, §12.12).
//!
//! It only counts what it is told: that 429 and 401 are no failures is the caller's rule
//! ([`super::retry::Outcome::counts_as_failure`]).

use crate::model::time::{Millis, Monotonic};
use crate::model::view::BreakerState;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Monotonic },
    HalfOpen { since: Monotonic },
}

/// The breaker of the bulk snapshot.
#[derive(Debug, Clone)]
pub struct Breaker {
    failures_max: u32,
    first_cooldown: Millis,
    max_cooldown: Millis,
    /// The running pause, or the one that the next opening will take.
    cooldown: Millis,
    state: State,
    trips: u64,
}

impl Breaker {
    /// Opens after `failures` in a row (at least one) for `cooldown`, which doubles up to
    /// `max_cooldown` each time that the probe fails.
    pub fn new(failures: u32, cooldown: Millis, max_cooldown: Millis) -> Self {
        Self {
            failures_max: failures.max(1),
            first_cooldown: cooldown,
            max_cooldown: max_cooldown.max(cooldown),
            cooldown,
            state: State::Closed { failures: 0 },
            trips: 0,
        }
    }

    /// Other limits from now on; a pause under way lasts as long as it was to last.
    pub fn reconfigure(&mut self, failures: u32, cooldown: Millis, max_cooldown: Millis) {
        let fresh = Self::new(failures, cooldown, max_cooldown);
        self.failures_max = fresh.failures_max;
        self.first_cooldown = fresh.first_cooldown;
        self.max_cooldown = fresh.max_cooldown;
        self.cooldown = match self.state {
            State::Closed { .. } => fresh.first_cooldown,
            _ => self
                .cooldown
                .clamp(fresh.first_cooldown, fresh.max_cooldown),
        };
    }

    /// A snapshot was accepted: closes, and the next pause is the shortest again.
    pub fn on_accepted(&mut self, _now: Monotonic) {
        self.state = State::Closed { failures: 0 };
        self.cooldown = self.first_cooldown;
    }

    /// A snapshot failed or was rejected. True if that opens the breaker, or opens it again.
    pub fn on_failed(&mut self, now: Monotonic) -> bool {
        match &mut self.state {
            State::Closed { failures } => {
                *failures += 1;
                if *failures < self.failures_max {
                    return false;
                }
            }
            State::HalfOpen { .. } => {
                self.cooldown = Millis(self.cooldown.0.saturating_mul(2)).min(self.max_cooldown);
            }
            // The answer to a question from before the pause says nothing new.
            State::Open { .. } => return false,
        }
        self.state = State::Open {
            until: now + self.cooldown,
        };
        self.trips += 1;
        true
    }

    /// Where the breaker stands.
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether a snapshot may be asked for. After the pause this admits one probe: the caller
    /// that gets `true` must send it. Should its answer never be told (it was throttled, or the
    /// token was refused), another one is admitted a pause later, so that nothing waits for ever.
    pub fn may_poll(&mut self, now: Monotonic) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until } if now < until => false,
            State::HalfOpen { since } if now < since + self.cooldown => false,
            State::Open { .. } | State::HalfOpen { .. } => {
                self.state = State::HalfOpen { since: now };
                true
            }
        }
    }

    /// The probe was not sent, or its answer decides nothing (429, 401): the next probe is
    /// admitted from `at` on, and the pause does not grow.
    pub fn probe_undecided(&mut self, at: Monotonic) {
        if matches!(self.state, State::HalfOpen { .. }) {
            self.state = State::Open { until: at };
        }
    }

    /// When [`Self::may_poll`] will admit a probe; `None` while closed.
    pub fn retry_at(&self) -> Option<Monotonic> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until } => Some(until),
            State::HalfOpen { since } => Some(since + self.cooldown),
        }
    }

    /// How often it opened, openings after a failed probe included.
    pub fn trips(&self) -> u64 {
        self.trips
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(3, Millis::from_secs(60), Millis::from_secs(600))
    }

    fn at(seconds: i64) -> Monotonic {
        Monotonic(seconds * 1_000)
    }

    #[test]
    fn three_in_a_row_open_it_and_a_success_between_does_not() {
        let mut breaker = breaker();
        assert!(!breaker.on_failed(at(0)));
        assert!(!breaker.on_failed(at(10)));
        breaker.on_accepted(at(20));
        assert!(!breaker.on_failed(at(30)));
        assert!(!breaker.on_failed(at(40)));
        assert!(breaker.may_poll(at(45)));
        assert!(breaker.on_failed(at(50)));
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.retry_at(), Some(at(110)));
        assert!(!breaker.may_poll(at(109)));
        assert_eq!(breaker.trips(), 1);
    }

    #[test]
    fn the_pause_admits_one_probe_and_doubles_to_ten_minutes() {
        let mut breaker = breaker();
        let mut now = at(0);
        for _ in 0..3 {
            breaker.on_failed(now);
        }
        for pause in [60, 120, 240, 480, 600, 600] {
            let due = breaker.retry_at().unwrap();
            assert_eq!(due - now, Millis::from_secs(pause));
            assert!(!breaker.may_poll(Monotonic(due.0 - 1)));
            assert!(breaker.may_poll(due));
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
            assert!(!breaker.may_poll(due), "one probe only");
            assert!(breaker.on_failed(due));
            now = due;
        }
        assert_eq!(breaker.trips(), 7);
        let due = breaker.retry_at().unwrap();
        assert!(breaker.may_poll(due));
        breaker.on_accepted(due);
        assert_eq!(breaker.state(), BreakerState::Closed);
        for _ in 0..3 {
            breaker.on_failed(due);
        }
        assert_eq!(breaker.retry_at(), Some(due + Millis::from_secs(60)));
    }

    #[test]
    fn other_limits_hold_for_the_next_failures_and_a_pause_lasts_as_it_was_to() {
        let mut breaker = Breaker::new(3, Millis(60_000), Millis(600_000));
        assert!(!breaker.on_failed(Monotonic(0)));
        breaker.reconfigure(2, Millis(10_000), Millis(20_000));
        assert!(breaker.on_failed(Monotonic(0)), "the second opens it now");
        assert_eq!(breaker.retry_at(), Some(Monotonic(10_000)));
        breaker.reconfigure(2, Millis(1_000), Millis(1_000));
        assert_eq!(breaker.retry_at(), Some(Monotonic(10_000)));
        assert_eq!(breaker.trips(), 1, "what was counted stays");
    }

    #[test]
    fn an_old_answer_does_not_prolong_the_pause() {
        let mut breaker = breaker();
        for _ in 0..3 {
            breaker.on_failed(at(0));
        }
        assert!(!breaker.on_failed(at(30)));
        assert_eq!(breaker.retry_at(), Some(at(60)));
    }

    #[test]
    fn a_probe_without_an_answer_is_not_the_last_one() {
        let mut breaker = breaker();
        for _ in 0..3 {
            breaker.on_failed(at(0));
        }
        assert!(breaker.may_poll(at(60)));
        assert!(!breaker.may_poll(at(119)));
        assert_eq!(breaker.retry_at(), Some(at(120)));
        assert!(breaker.may_poll(at(120)));
        breaker.probe_undecided(at(125));
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.may_poll(at(125)));
        assert_eq!(breaker.trips(), 1);
    }
}
