//! Which answer is worth asking for again, and when (reliability.md §3.3).
//!
//! The one retry layer; the client has none. 429 is the budget's business and 401 the token's:
//! neither has a delay here. Whether a retry still fits the slot is the caller's to see.

use crate::model::time::Millis;
use crate::upstream::response::{Response, TransportFailure};

use super::jitter;

/// Why an answer is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transient {
    /// This status code: 408, 502, 503 or 504.
    Status(u16),
    /// No answer.
    Transport(TransportFailure),
}

/// What became of a request, as far as retries go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// 200.
    Ok,
    /// 429: [`super::budget::Budget::throttled`].
    Throttled,
    /// 401, or there was no token to send: [`super::auth::Auth::unauthorised`].
    Unauthorised,
    /// Passing trouble.
    Retryable(Transient),
    /// 500: perhaps passing, perhaps a fault of the platform.
    ServerError500,
    /// Asking again gives the same: any other status code, redirects and unexpected successes
    /// included.
    Permanent(u16),
    /// No answer, and asking again gives the same: TLS, or a body over the limit.
    Refused(TransportFailure),
}

impl Outcome {
    /// Sorts an answer.
    pub fn of(result: Result<&Response, TransportFailure>) -> Self {
        match result.map(|response| response.status) {
            Ok(200) => Self::Ok,
            Ok(401) | Err(TransportFailure::NoToken) => Self::Unauthorised,
            Ok(429) => Self::Throttled,
            Ok(500) => Self::ServerError500,
            Ok(status @ (408 | 502 | 503 | 504)) => Self::Retryable(Transient::Status(status)),
            Ok(status) => Self::Permanent(status),
            Err(failure @ (TransportFailure::Tls | TransportFailure::TooLarge)) => {
                Self::Refused(failure)
            }
            Err(
                failure @ (TransportFailure::Connect
                | TransportFailure::Timeout
                | TransportFailure::Broken),
            ) => Self::Retryable(Transient::Transport(failure)),
        }
    }

    /// Whether a snapshot that ended so counts for the breaker: everything but a success, 429
    /// and 401 (semantics.md §12.12).
    pub fn counts_as_failure(self) -> bool {
        !matches!(self, Self::Ok | Self::Throttled | Self::Unauthorised)
    }
}

/// Longest delay before each retry; as many as there are retries. Full jitter below it, so that
/// requests that failed together do not come back together.
const DELAYS_MAX: [Millis; 2] = [Millis(200), Millis(2_000)];
/// A 500 is asked again only so often.
const RETRIES_500: u32 = 1;

const _: () = assert!(RETRIES_500 as usize <= DELAYS_MAX.len());

/// How long to wait before asking again after `attempt` retries already made; `None`: not again.
/// The same seed gives the same delay.
pub fn retry_delay(outcome: Outcome, attempt: u32, seed: u64) -> Option<Millis> {
    let retries = match outcome {
        Outcome::Retryable(_) => DELAYS_MAX.len(),
        Outcome::ServerError500 => RETRIES_500 as usize,
        _ => 0,
    };
    let longest = DELAYS_MAX[..retries].get(attempt as usize)?;
    let seed = seed.wrapping_add(u64::from(attempt));
    Some(Millis(jitter::up_to(seed, longest.0)))
}

/// Requests that pay for one retry: 10 % of requests may be retries.
const REQUESTS_A_RETRY: u32 = 10;
/// Retries that may be saved up: a bad second may cost a few, a bad hour may not double the load.
const SAVED_MAX: u32 = 10;
/// Retries granted before anything was earned, so that the very first request may fail once.
const SAVED_AT_START: u32 = 2;

const _: () = assert!(SAVED_AT_START <= SAVED_MAX);

/// The retries that all requests share. When everything fails, retries would only add load.
#[derive(Debug, Clone)]
pub struct RetryBudget {
    /// In parts: one request earns one, a retry costs [`REQUESTS_A_RETRY`].
    saved: u32,
}

impl RetryBudget {
    /// With a few granted.
    pub fn new() -> Self {
        Self {
            saved: SAVED_AT_START * REQUESTS_A_RETRY,
        }
    }

    /// A request that is no retry was sent.
    pub fn on_request(&mut self) {
        self.saved = (self.saved + 1).min(SAVED_MAX * REQUESTS_A_RETRY);
    }

    /// Takes one retry if there is one.
    pub fn try_retry(&mut self) -> bool {
        match self.saved.checked_sub(REQUESTS_A_RETRY) {
            Some(left) => {
                self.saved = left;
                true
            }
            None => false,
        }
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::upstream::response::Headers;

    fn of(status: u16) -> Outcome {
        Outcome::of(Ok(&Response {
            status,
            headers: Headers::default(),
            body: Bytes::new(),
        }))
    }

    /// Longest delays over many seeds, one an attempt.
    fn delays(outcome: Outcome) -> Vec<i64> {
        (0..10)
            .map_while(|attempt| {
                (0..2_000)
                    .map(|seed| retry_delay(outcome, attempt, seed).map(|delay| delay.0))
                    .max()
                    .flatten()
            })
            .collect()
    }

    #[test]
    fn the_table_of_retries() {
        for status in [408, 502, 503, 504] {
            assert_eq!(of(status), Outcome::Retryable(Transient::Status(status)));
            let longest = delays(of(status));
            assert_eq!(longest.len(), 2, "{status}");
            assert!((150..=200).contains(&longest[0]), "{longest:?}");
            assert!((1_900..=2_000).contains(&longest[1]), "{longest:?}");
        }
        assert_eq!(delays(of(500)).len(), 1);
        for status in [
            200, 201, 202, 204, 206, 301, 302, 307, 308, 400, 401, 403, 404, 405, 406, 409, 410,
            413, 414, 415, 422, 429, 501, 505, 599, 600, 0,
        ] {
            assert!(delays(of(status)).is_empty(), "{status}");
        }
    }

    #[test]
    fn the_table_of_failures() {
        for failure in TransportFailure::ALL {
            let retries = delays(Outcome::of(Err(failure))).len();
            let expected = match failure {
                TransportFailure::Connect
                | TransportFailure::Timeout
                | TransportFailure::Broken => 2,
                TransportFailure::Tls | TransportFailure::TooLarge | TransportFailure::NoToken => 0,
            };
            assert_eq!(retries, expected, "{failure:?}");
        }
    }

    #[test]
    fn only_a_success_429_and_401_do_not_count_for_the_breaker() {
        for status in [200, 401, 429] {
            assert!(!of(status).counts_as_failure(), "{status}");
        }
        for status in [204, 302, 400, 403, 404, 500, 501, 503] {
            assert!(of(status).counts_as_failure(), "{status}");
        }
        assert!(Outcome::of(Err(TransportFailure::Timeout)).counts_as_failure());
        assert!(!Outcome::of(Err(TransportFailure::NoToken)).counts_as_failure());
    }

    #[test]
    fn retries_are_a_tenth_of_requests() {
        let mut budget = RetryBudget::new();
        let mut retries = 0;
        for _ in 0..1_000 {
            budget.on_request();
            if budget.try_retry() {
                retries += 1;
            }
        }
        assert_eq!(retries, 100 + SAVED_AT_START);
        for _ in 0..10_000 {
            budget.on_request();
        }
        let burst = (0..100).filter(|_| budget.try_retry()).count();
        assert_eq!(burst, SAVED_MAX as usize);
    }

    #[test]
    fn the_same_seed_gives_the_same_delay() {
        let outcome = of(503);
        assert_eq!(retry_delay(outcome, 1, 42), retry_delay(outcome, 1, 42));
        assert_ne!(retry_delay(outcome, 1, 42), retry_delay(outcome, 1, 43));
    }
}
