//! The platform's fixed window per token, its `Retry-After`, and who disregarded it
//! (platform-api.md §4, reliability.md §3.1).

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::exchange::Call;
use crate::model::time::{Millis, UnixMillis};

/// The platform counts in windows of a minute.
const WINDOW: Millis = Millis::from_secs(60);
/// Tokens whose windows are remembered. Idle ones are dropped first.
const TOKENS_MAX: usize = 1_000;

/// What the platform says about the rate of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Requests of the window, this one included.
    pub(super) count: u32,
    /// Requests that a window may have.
    pub(super) allowed: u32,
    /// Whole seconds until the window ends, rounded up.
    pub(super) reset: i64,
    /// Refused: come back after so many seconds.
    pub(super) retry_after: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct TokenWindow {
    began: UnixMillis,
    used: u32,
    /// The last 429: when it was answered, and until when it asked for silence.
    silence: Option<(UnixMillis, UnixMillis)>,
}

/// Counts requests by token.
pub(super) struct RateLimiter {
    allowed: u32,
    grace: Millis,
    tokens: BTreeMap<String, TokenWindow>,
}

impl RateLimiter {
    /// `grace`: requests that arrive so soon after a 429 were under way when it was answered,
    /// and disregard nothing.
    pub(super) fn new(allowed: u32, grace: Millis) -> Self {
        Self {
            allowed,
            grace,
            tokens: BTreeMap::new(),
        }
    }

    /// Counts a request. The second value says whether it disregarded a `Retry-After`.
    pub(super) fn admit(&mut self, token: &str, now: UnixMillis) -> (Verdict, bool) {
        self.tokens.retain(|_, window| {
            now - window.began < WINDOW || window.silence.is_some_and(|(_, until)| now < until)
        });
        if self.tokens.len() >= TOKENS_MAX {
            self.tokens.clear();
        }
        let window = self.tokens.entry(token.to_owned()).or_insert(TokenWindow {
            began: now,
            used: 0,
            silence: None,
        });
        if now - window.began >= WINDOW {
            window.began = now;
            window.used = 0;
        }
        window.used = window.used.saturating_add(1);
        let disregarded = window
            .silence
            .is_some_and(|(answered, until)| now > answered + self.grace && now < until);
        let left = window.began + WINDOW - now;
        let reset = (left.0 + 999) / 1_000;
        let refused = window.used > self.allowed;
        let verdict = Verdict {
            count: window.used,
            allowed: self.allowed,
            reset,
            retry_after: refused.then_some(reset.max(1)),
        };
        (verdict, disregarded)
    }

    /// Remembers that a 429 asked a token for silence.
    pub(super) fn silence(&mut self, token: &str, now: UnixMillis, seconds: i64) {
        if let Some(window) = self.tokens.get_mut(token) {
            let until = now + Millis::from_secs(seconds);
            // A repeated 429 moves the end but opens no new grace.
            let answered = match window.silence {
                Some((answered, running)) if now < running => answered,
                _ => now,
            };
            window.silence = Some((answered, until));
        }
    }
}

/// What has been asked so far.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    /// Requests of the platform, all calls; the simulator's own endpoints do not count.
    pub requests: u64,
    /// By call, those never made left out.
    pub by_call: BTreeMap<&'static str, u64>,
    /// By status of the answer.
    pub by_status: BTreeMap<u16, u64>,
    /// Most requests, logins included, within any 60 s.
    pub max_in_60s: usize,
    /// Requests made while a `Retry-After` was running.
    pub retry_after_disregarded: u64,
    /// Requests refused because the window was full.
    pub over_limit: u64,
    #[serde(skip)]
    recent: VecDeque<UnixMillis>,
}

impl Statistics {
    pub(super) fn count_request(&mut self, call: Option<Call>, now: UnixMillis) {
        self.requests += 1;
        *self
            .by_call
            .entry(call.map_or("other", Call::name))
            .or_default() += 1;
        self.recent.push_back(now);
        while self
            .recent
            .front()
            .is_some_and(|&first| now - first >= WINDOW)
        {
            self.recent.pop_front();
        }
        self.max_in_60s = self.max_in_60s.max(self.recent.len());
    }

    pub(super) fn count_answer(&mut self, status: u16) {
        *self.by_status.entry(status).or_default() += 1;
    }

    /// Requests of one call.
    pub fn of(&self, call: Call) -> u64 {
        self.by_call.get(call.name()).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UnixMillis = UnixMillis(1_000_000);

    #[test]
    fn a_window_counts_refuses_and_starts_again() {
        let mut limiter = RateLimiter::new(2, Millis::ZERO);
        assert_eq!(
            limiter.admit("a", AT).0,
            Verdict {
                count: 1,
                allowed: 2,
                reset: 60,
                retry_after: None
            }
        );
        assert_eq!(limiter.admit("a", AT + Millis(500)).0.reset, 60);
        let full = limiter.admit("a", AT + Millis(1_500)).0;
        assert_eq!(
            full,
            Verdict {
                count: 3,
                allowed: 2,
                reset: 59,
                retry_after: Some(59)
            }
        );
        assert_eq!(
            limiter.admit("b", AT + Millis(1_500)).0.count,
            1,
            "tokens are apart"
        );
        assert_eq!(limiter.admit("a", AT + WINDOW).0.count, 1);
    }

    #[test]
    fn only_a_request_within_the_silence_and_after_the_grace_disregards_it() {
        let mut limiter = RateLimiter::new(10, Millis(250));
        limiter.admit("a", AT);
        limiter.silence("a", AT, 5);
        assert!(!limiter.admit("a", AT + Millis(250)).1, "was under way");
        assert!(limiter.admit("a", AT + Millis(251)).1);
        assert!(limiter.admit("a", AT + Millis(4_999)).1);
        assert!(!limiter.admit("a", AT + Millis(5_000)).1, "waited as told");
    }

    #[test]
    fn the_maximum_is_over_any_sixty_seconds() {
        let mut statistics = Statistics::default();
        for second in [0, 30, 59, 60, 61, 200] {
            statistics.count_request(Some(Call::Users), AT + Millis::from_secs(second));
        }
        // 30, 59, 60 and 61 lie within 60 s; 0 and 60 do not.
        assert_eq!(statistics.max_in_60s, 4);
        assert_eq!(statistics.of(Call::Users), 6);
    }
}
