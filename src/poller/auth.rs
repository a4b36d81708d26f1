//! The life of the access token: when to log in, and what a 401 means (semantics.md §10,
//! reliability.md M23).
//!
//! The token itself stays in the client; here it is a generation number and two instants. One
//! login at a time; a 401 asks for one only if the token that it refuses is still the current
//! one. A working token is never given up for a login that failed.

use crate::model::time::{Millis, Monotonic};

/// Shortest life believed (also of a missing, zero or negative `expires_in`).
const LIFE_MIN: Millis = Millis::from_secs(60);
/// Longest life believed: the platform's own limit (platform-api.md §1).
const LIFE_MAX: Millis = Millis::from_secs(48 * 3_600);
/// A token is replaced after this part of its life, in percent …
const REFRESH_PERCENT: i64 = 80;
/// … or this long before its end, whatever is earlier, …
const REFRESH_AHEAD: Millis = Millis::from_secs(60);
/// … but not before this part of its life: a token of one minute must not mean a login loop.
const REFRESH_PERCENT_MIN: i64 = 50;
/// Back-off after a login that failed for a passing reason: first and longest.
const TRANSIENT: (Millis, Millis) = (Millis::from_secs(1), Millis::from_secs(60));
/// Back-off after refused credentials: somebody has to act, hammering does not help.
const REFUSED: (Millis, Millis) = (Millis::from_secs(30), Millis::from_secs(600));
/// A 401 this soon after the login that an earlier 401 asked for is a refusal, not an expiry.
const FRESH: Millis = Millis::from_secs(60);

/// Before any reading of the clock, yet so that the span to one can be computed.
const AT_ONCE: Monotonic = Monotonic(i64::MIN / 4);

const _: () = assert!(REFRESH_PERCENT_MIN < REFRESH_PERCENT && REFRESH_PERCENT < 100);
const _: () = assert!(LIFE_MIN.0 * REFRESH_PERCENT_MIN / 100 >= REFUSED.0.0);

#[derive(Debug, Clone, Copy)]
struct Token {
    obtained_at: Monotonic,
    refresh_at: Monotonic,
    expires_at: Monotonic,
    /// It replaces one that the platform refused, and no answer has proved it good yet.
    suspect: bool,
}

/// Where we stand with the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthState {
    /// No token, and no refusal either: before the first login, or its answers do not come.
    LoggedOut,
    /// A token that the platform issued and has not refused. It may have expired since.
    LoggedIn,
    /// The platform refused our credentials, or a fresh token.
    Refused,
}

/// The token's life cycle.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    token: Option<Token>,
    generation: u64,
    login_in_flight: bool,
    /// A 401 took the last token.
    after_401: bool,
    refused: bool,
    /// No login before this instant.
    not_before: Option<Monotonic>,
    transient_failures: u32,
    refusals: u32,
}

impl Auth {
    /// Before the first login.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a login must be sent now. False while one is in flight.
    pub fn need_login(&self, now: Monotonic) -> bool {
        self.next_deadline().is_some_and(|at| now >= at)
    }

    /// The login goes out.
    pub fn login_started(&mut self, _now: Monotonic) {
        self.login_in_flight = true;
    }

    /// The platform issued a token that lives for `lifetime`.
    pub fn login_ok(&mut self, lifetime: Millis, now: Monotonic) {
        let life = lifetime.clamp(LIFE_MIN, LIFE_MAX);
        let early = Millis(life.0 * REFRESH_PERCENT / 100).min(life - REFRESH_AHEAD);
        let refresh_in = early.max(Millis(life.0 * REFRESH_PERCENT_MIN / 100));
        self.token = Some(Token {
            obtained_at: now,
            refresh_at: now + refresh_in,
            expires_at: now + life,
            suspect: self.after_401,
        });
        if !self.after_401 {
            self.refusals = 0;
        }
        self.generation += 1;
        self.login_in_flight = false;
        self.after_401 = false;
        self.refused = false;
        self.not_before = None;
        self.transient_failures = 0;
    }

    /// The login failed: `permanent` if the platform refused the credentials. A token that is
    /// still valid stays in use.
    pub fn login_failed(&mut self, permanent: bool, now: Monotonic) {
        self.login_in_flight = false;
        if permanent {
            self.refuse(now);
        } else {
            self.not_before = Some(now + back_off(TRANSIENT, self.transient_failures));
            self.transient_failures = self.transient_failures.saturating_add(1);
        }
    }

    /// Number of the current token; requests remember it.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A request sent with the token of `generation_used` was answered 401. True if it may be
    /// repeated, once, as soon as [`Self::usable`]; false if the platform refuses even a fresh
    /// token. Whether that takes a login, [`Self::need_login`] says.
    pub fn unauthorised(&mut self, generation_used: u64, now: Monotonic) -> bool {
        if generation_used != self.generation {
            return true;
        }
        let Some(token) = self.token.take() else {
            // Another request's 401 came first and has asked already.
            return !self.refused;
        };
        self.after_401 = true;
        if token.suspect && now - token.obtained_at < FRESH {
            self.refuse(now);
            return false;
        }
        // The token died while new logins are being refused: their back-off goes on.
        if !self.refused {
            self.refusals = 0;
        }
        !self.refused
    }

    /// The API answered a request sent with the token of `generation_used` with a success: that
    /// token is good, and a later 401 means that it ended.
    pub fn accepted(&mut self, generation_used: u64) {
        if generation_used == self.generation
            && let Some(token) = &mut self.token
        {
            token.suspect = false;
            self.refusals = 0;
        }
    }

    /// Whether requests can be sent.
    pub fn usable(&self, now: Monotonic) -> bool {
        self.token.is_some_and(|token| now < token.expires_at)
    }

    /// Where we stand.
    pub fn state(&self) -> AuthState {
        if self.refused {
            AuthState::Refused
        } else if self.token.is_some() {
            AuthState::LoggedIn
        } else {
            AuthState::LoggedOut
        }
    }

    /// Whether the platform accepts our credentials; `None` before it has said so.
    pub fn authenticated(&self) -> Option<bool> {
        if self.refused {
            Some(false)
        } else {
            (self.generation > 0).then_some(true)
        }
    }

    /// When [`Self::need_login`] becomes true; `None` while a login is in flight.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        if self.login_in_flight {
            return None;
        }
        let wanted = self.token.map_or(AT_ONCE, |t| t.refresh_at);
        Some(self.not_before.map_or(wanted, |at| at.max(wanted)))
    }

    /// When the current token ends.
    pub fn expires_at(&self) -> Option<Monotonic> {
        self.token.map(|token| token.expires_at)
    }

    fn refuse(&mut self, now: Monotonic) {
        self.refused = true;
        self.not_before = Some(now + back_off(REFUSED, self.refusals));
        self.refusals = self.refusals.saturating_add(1);
    }
}

/// `first`, doubled with each earlier failure, up to `longest`.
fn back_off((first, longest): (Millis, Millis), earlier: u32) -> Millis {
    let factor = 1_i64.checked_shl(earlier.min(32)).unwrap_or(i64::MAX);
    Millis(first.0.saturating_mul(factor)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Monotonic {
        Monotonic(seconds * 1_000)
    }

    fn logged_in(life: i64) -> Auth {
        let mut auth = Auth::new();
        assert!(auth.need_login(at(0)));
        auth.login_started(at(0));
        assert!(!auth.need_login(at(0)));
        auth.login_ok(Millis::from_secs(life), at(0));
        auth
    }

    #[test]
    fn a_token_is_replaced_before_it_ends() {
        // (life, refresh, end) in seconds; the last four are clamped.
        for (life, refresh, end) in [
            (86_400, 69_120, 86_400),
            (300, 240, 300),
            (200, 140, 200),
            (120, 60, 120),
            (60, 30, 60),
            (0, 30, 60),
            (-5, 30, 60),
            (1_000_000_000_000, 138_240, 172_800),
        ] {
            let auth = logged_in(life);
            assert_eq!(auth.next_deadline(), Some(at(refresh)), "life {life}");
            assert!(!auth.need_login(Monotonic(at(refresh).0 - 1)));
            assert!(auth.need_login(at(refresh)));
            assert!(auth.usable(Monotonic(at(end).0 - 1)));
            assert!(!auth.usable(at(end)));
        }
    }

    #[test]
    fn fifty_simultaneous_401s_make_one_login() {
        let mut auth = logged_in(86_400);
        let used = auth.generation();
        let mut logins = 0;
        for n in 0..50 {
            assert!(auth.unauthorised(used, at(100)));
            if auth.need_login(at(100)) {
                auth.login_started(at(100));
                logins += 1;
            }
            if n == 30 {
                auth.login_ok(Millis::from_secs(86_400), at(100));
            }
        }
        assert_eq!(logins, 1);
        assert!(auth.usable(at(101)));
        assert_eq!(auth.generation(), used + 1);
        assert_eq!(auth.state(), AuthState::LoggedIn);
    }

    #[test]
    fn a_second_401_after_a_fresh_login_is_a_refusal_and_not_a_loop() {
        let mut auth = logged_in(86_400);
        assert!(auth.unauthorised(1, at(10)));
        let mut now = at(10);
        for wait in [30, 60, 120, 240, 480, 600, 600] {
            auth.login_started(now);
            auth.login_ok(Millis::from_secs(86_400), now);
            assert_eq!(auth.authenticated(), Some(true));
            assert!(!auth.unauthorised(auth.generation(), now + Millis(200)));
            assert_eq!(auth.state(), AuthState::Refused);
            assert_eq!(auth.authenticated(), Some(false));
            assert!(!auth.usable(now + Millis(200)));
            assert!(!auth.unauthorised(auth.generation(), now + Millis(300)));
            let due = auth.next_deadline().unwrap();
            assert_eq!(due, now + Millis(wait * 1_000 + 200));
            now = due;
        }
    }

    #[test]
    fn a_proven_token_that_ends_early_is_replaced_at_once() {
        let mut auth = logged_in(86_400);
        for second in 1..20 {
            let generation = auth.generation();
            assert!(auth.unauthorised(generation, at(second)));
            assert!(auth.need_login(at(second)));
            auth.login_started(at(second));
            auth.login_ok(Millis::from_secs(86_400), at(second));
            auth.accepted(auth.generation());
        }
        // Unproven, but it lasted more than a minute.
        assert!(auth.unauthorised(auth.generation(), at(100)));
        auth.login_ok(Millis::from_secs(86_400), at(100));
        assert!(auth.unauthorised(auth.generation(), at(161)));
        assert_eq!(auth.authenticated(), Some(true));
    }

    #[test]
    fn a_401_for_an_older_token_is_only_repeated() {
        let mut auth = logged_in(300);
        auth.login_ok(Millis::from_secs(300), at(240));
        assert!(auth.unauthorised(1, at(241)));
        assert!(auth.usable(at(241)));
        assert!(!auth.need_login(at(241)));
    }

    #[test]
    fn failed_logins_back_off_and_leave_a_working_token_alone() {
        let mut auth = logged_in(300);
        let mut now = at(240);
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(auth.need_login(now));
            auth.login_started(now);
            auth.login_failed(false, now);
            assert_eq!(auth.next_deadline(), Some(now + Millis::from_secs(wait)));
            assert_eq!(auth.usable(now), now < at(300));
            now = now + Millis::from_secs(wait);
        }
        assert_eq!(
            auth.authenticated(),
            Some(true),
            "nobody has refused anything"
        );
        auth.login_started(now);
        auth.login_ok(Millis::from_secs(300), now);
        assert!(auth.usable(now));
    }

    #[test]
    fn a_token_that_dies_while_logins_are_refused_does_not_reset_the_back_off() {
        let mut auth = logged_in(300);
        auth.login_failed(true, at(240));
        assert!(auth.usable(at(241)), "the old token works on");
        assert_eq!(auth.state(), AuthState::Refused);
        assert!(!auth.unauthorised(1, at(250)));
        assert!(!auth.usable(at(250)));
        assert_eq!(auth.next_deadline(), Some(at(270)));
        auth.login_failed(true, at(270));
        assert_eq!(auth.next_deadline(), Some(at(330)));
    }

    #[test]
    fn refused_credentials_wait_from_half_a_minute_to_ten() {
        let mut auth = Auth::new();
        assert_eq!(auth.authenticated(), None);
        let mut now = at(0);
        for wait in [30, 60, 120, 240, 480, 600, 600] {
            assert!(auth.need_login(now));
            auth.login_started(now);
            auth.login_failed(true, now);
            assert_eq!(auth.authenticated(), Some(false));
            assert!(!auth.need_login(Monotonic(now.0 + wait * 1_000 - 1)));
            now = now + Millis::from_secs(wait);
        }
        auth.login_started(now);
        auth.login_ok(Millis::from_secs(300), now);
        assert_eq!(auth.state(), AuthState::LoggedIn);
        auth.login_failed(true, at(10_000));
        assert_eq!(auth.next_deadline(), Some(at(10_030)), "starts over");
    }
}
