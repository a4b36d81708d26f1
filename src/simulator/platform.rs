//! The simulated platform: takes a request and `now`, gives the answer.
//!
//! Owns organisation, tokens, rate windows, the fault plan and statistics. `now` is our clock;
//! the platform's own is `now` plus the skew that a fault may add, and everything that the
//! platform says is by its own. Needs no sockets: a virtual clock and `serve` see the same bytes.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::bodies;
use super::chance;
use super::control;
use super::dialect::Dialect;
use super::exchange::{Call, Delivery, SimRequest, SimResponse};
use super::faults::{Active, FaultKind, FaultPlan};
use super::notifications::{NotificationOptions, NotificationStatistics, Switchboard};
use super::oauth::{Denial, Refusal, TokenOffice};
use super::org::{OrgError, OrgSpec};
use super::pinned::Pinned;
use super::rate::{RateLimiter, Statistics, Verdict};
use super::roster::Roster;
use super::snapshot::refresh_before;
use super::truth::{self, TimeInState, TrueSegment};
use crate::model::state::RoutingState;
use crate::model::time::{Millis, UnixMillis};

/// What platform to simulate.
#[derive(Clone)]
pub struct SimulatorOptions {
    /// The organisation.
    pub org: OrgSpec,
    /// When the simulation begins; faults are scheduled from here.
    pub origin: UnixMillis,
    /// The one client that may log in.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// How long a token is valid.
    pub token_lifetime: Millis,
    /// Requests a token may make in a minute.
    pub requests_per_minute: u32,
    /// How often the snapshot's cache is refreshed; zero: it is always fresh.
    pub cache_refresh: Millis,
    /// Entries of `routingStates`, 1 to 10.
    pub history: usize,
    /// Records a page of the snapshot; `None`: a bare array.
    pub statuses_page: Option<u32>,
    /// A request that arrives so soon after a 429 was under way then and disregards nothing.
    pub retry_grace: Millis,
    /// What goes wrong.
    pub faults: FaultPlan,
    /// Which wire formats it speaks; paths of others are not found.
    pub dialect: Dialect,
    /// Limits and lifetimes of notifications.
    pub notifications: NotificationOptions,
}

impl SimulatorOptions {
    /// A platform in good order: client `demo` with secret `demo`, tokens for a day, 300
    /// requests a minute, a snapshot refreshed every 15 s.
    pub fn new(org: OrgSpec, origin: UnixMillis) -> Self {
        Self {
            org,
            origin,
            client_id: "demo".to_owned(),
            client_secret: "demo".to_owned(),
            token_lifetime: Millis::from_secs(86_400),
            requests_per_minute: 300,
            cache_refresh: Millis::from_secs(15),
            history: 3,
            statuses_page: None,
            retry_grace: Millis(250),
            faults: FaultPlan::default(),
            dialect: Dialect::Both,
            notifications: NotificationOptions::default(),
        }
    }
}

/// Largest page of the snapshot.
const STATUSES_PAGE_MAX: u32 = 10_000;
/// The platform gives at most so many entries of `routingStates`.
const HISTORY_MAX: usize = 10;
const MEBIBYTE: usize = 1_048_576;

/// The platform.
pub struct SimulatedPlatform {
    pub(super) roster: Roster,
    pub(super) faults: FaultPlan,
    pub(super) faults_since: UnixMillis,
    pub(super) statistics: Statistics,
    pub(super) tokens: TokenOffice,
    pub(super) cache_refresh: Millis,
    pub(super) history: usize,
    pub(super) statuses_page: Option<usize>,
    pub(super) dialect: Dialect,
    pub(super) switchboard: Switchboard,
    pub(super) stuck: Pinned,
    pub(super) stuck_in_cache: Pinned,
    limiter: RateLimiter,
    counter: u64,
}

/// One request being answered.
pub(super) struct Asked<'a> {
    pub(super) request: &'a SimRequest,
    /// Our clock.
    pub(super) now: UnixMillis,
    /// The platform's clock.
    pub(super) platform_now: UnixMillis,
    pub(super) correlation: String,
    /// Number of the request, for chance.
    pub(super) number: u64,
}

impl Asked<'_> {
    /// An error in the platform's form.
    pub(super) fn error(&self, status: u16, code: &str, message: &str) -> SimResponse {
        SimResponse::json(
            status,
            &bodies::error(status, code, message, &self.correlation),
        )
    }
}

impl SimulatedPlatform {
    /// Makes up the organisation.
    ///
    /// # Errors
    /// [`OrgError`] if its figures are out of range. History and page size are brought into range.
    pub fn new(options: SimulatorOptions) -> Result<Self, OrgError> {
        options.org.check()?;
        let seed = options.org.seed;
        Ok(Self {
            roster: Roster::new(options.org, options.origin),
            faults: options.faults,
            faults_since: options.origin,
            statistics: Statistics::default(),
            tokens: TokenOffice::new(
                options.client_id,
                options.client_secret,
                options.token_lifetime,
                seed,
            ),
            cache_refresh: options.cache_refresh,
            history: options.history.clamp(1, HISTORY_MAX),
            statuses_page: options
                .statuses_page
                .map(|size| size.clamp(1, STATUSES_PAGE_MAX) as usize),
            dialect: options.dialect,
            switchboard: Switchboard::new(options.notifications),
            stuck: Pinned::default(),
            stuck_in_cache: Pinned::default(),
            limiter: RateLimiter::new(options.requests_per_minute, options.retry_grace),
            counter: 0,
        })
    }

    /// Agents and queues.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// What has been asked so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// What has happened to notifications so far.
    pub fn notification_statistics(&self) -> NotificationStatistics {
        self.switchboard.statistics()
    }

    /// Replaces the faults; schedules count from `now`.
    pub fn set_faults(&mut self, faults: FaultPlan, now: UnixMillis) {
        // What was due until now happens by the old plan.
        self.pump(now);
        self.faults = faults;
        self.faults_since = now;
        self.switchboard.forget_faults();
    }

    /// The platform's clock at our instant.
    pub fn platform_now(&self, now: UnixMillis) -> UnixMillis {
        let skew = self.fault(FaultKind::ClockSkew, None, now);
        now + skew.map_or(Millis::ZERO, |skew| Millis(skew.value))
    }

    /// Exact time in state of an agent within `[from, to)`, by the platform's clock; `None` for
    /// an unknown id, and for a past that has been forgotten.
    pub fn truth(&mut self, user: &str, from: UnixMillis, to: UnixMillis) -> Option<TimeInState> {
        let timeline = &mut self
            .roster
            .find(user)
            .map(|position| self.roster.entry_mut(position))?
            .timeline;
        (timeline.known_from() <= from).then(|| truth::time_in_state(timeline, from, to))
    }

    /// The segments of an agent that touch `[from, to)`; `None` as in [`Self::truth`].
    pub fn segments(
        &mut self,
        user: &str,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Option<Vec<TrueSegment>> {
        let timeline = &mut self
            .roster
            .find(user)
            .map(|position| self.roster.entry_mut(position))?
            .timeline;
        (timeline.known_from() <= from).then(|| truth::segments(timeline, from, to))
    }

    /// What an agent truly does at an instant, and since when.
    pub fn state_at(&mut self, user: &str, at: UnixMillis) -> Option<(RoutingState, UnixMillis)> {
        let position = self.roster.find(user)?;
        let start = self.roster.entry_mut(position).timeline.routing_at(at);
        Some((start.state, start.entered_at))
    }

    /// What an agent's desktop shows at an instant, and since when.
    pub fn presence_at(
        &mut self,
        user: &str,
        at: UnixMillis,
    ) -> Option<(&'static str, UnixMillis)> {
        let position = self.roster.find(user)?;
        let start = self.roster.entry_mut(position).timeline.presence_at(at);
        Some((start.presence, start.at))
    }

    /// Answers.
    pub fn handle(&mut self, request: &SimRequest, now: UnixMillis) -> SimResponse {
        let platform_now = self.platform_now(now);
        let mut response = if request.path().starts_with("/simulator/") {
            control::answer(self, request, now)
        } else {
            self.counter += 1;
            let asked = Asked {
                request,
                now,
                platform_now,
                correlation: chance::uuid(&[self.roster.spec().seed, 4, self.counter]),
                number: self.counter,
            };
            let mut response = self.answer(&asked);
            response
                .headers
                .push(("ININ-Correlation-Id", asked.correlation));
            self.statistics.count_answer(response.status);
            response
        };
        response.headers.push(("Date", http_date(platform_now)));
        response
    }

    /// A fault's state; `None`: not active.
    pub(super) fn fault(
        &self,
        kind: FaultKind,
        call: Option<Call>,
        now: UnixMillis,
    ) -> Option<Active> {
        self.faults.active(kind, call, now - self.faults_since)
    }

    /// When an active fault became active, by the platform's clock.
    pub(super) fn active_since(&self, active: Active, now: UnixMillis) -> UnixMillis {
        let elapsed = now - self.faults_since;
        self.platform_now(now) - (elapsed - active.since)
    }

    /// The refresh of the snapshot's cache that an instant sees.
    pub(super) fn refresh_before(&self, at: UnixMillis) -> UnixMillis {
        refresh_before(self.roster.spec().seed, self.cache_refresh, at)
    }

    /// Gateway, login or API, and how the answer travels.
    fn answer(&mut self, asked: &Asked<'_>) -> SimResponse {
        let found = Call::of_path(asked.request.path());
        self.statistics
            .count_request(found.map(|(call, _)| call), asked.now);
        let Some((call, id)) = found.filter(|(call, _)| call.is_spoken(self.dialect)) else {
            return asked.error(404, "not.found", "HTTP 404 Not Found");
        };
        if !call.takes(&asked.request.method) {
            return asked.error(405, "method.not.allowed", "HTTP 405 Method Not Allowed");
        }
        let mut response = if call == Call::Token {
            self.gateway(asked, call)
                .unwrap_or_else(|| self.login(asked))
        } else {
            self.authorised(asked, call, id)
        };
        self.damage(&mut response, call, asked.now);
        response
    }

    fn login(&mut self, asked: &Asked<'_>) -> SimResponse {
        let outcome = if self
            .fault(FaultKind::LoginRefused, None, asked.now)
            .is_some()
        {
            Err(Refusal::invalid_client(
                asked.request.authorization.is_some(),
            ))
        } else {
            self.tokens.login(asked.request, asked.now)
        };
        match outcome {
            Ok(body) => SimResponse::json(200, &body),
            Err(refusal) => SimResponse::json(refusal.status, &refusal.body),
        }
    }

    /// Token, rate, faults of the gateway, then the call itself.
    fn authorised(&mut self, asked: &Asked<'_>, call: Call, id: &str) -> SimResponse {
        let token = match self
            .tokens
            .check(asked.request.authorization.as_deref(), asked.now)
        {
            Ok(token) => token,
            Err(Denial::Missing) => {
                return asked.error(
                    401,
                    "authentication.required",
                    "No authentication bearer token specified in authorization header.",
                );
            }
            Err(Denial::Bad) => {
                return asked.error(401, "bad.credentials", "Invalid login credentials.");
            }
        };
        let (verdict, disregarded) = self.limiter.admit(token, asked.now);
        self.statistics.retry_after_disregarded += u64::from(disregarded);
        self.statistics.over_limit += u64::from(verdict.retry_after.is_some());
        let throttled = self
            .fault(FaultKind::Throttle, Some(call), asked.now)
            .map(|active| (active.value + 999) / 1_000);
        let mut response = if let Some(seconds) = verdict.retry_after.or(throttled) {
            self.limiter.silence(token, asked.now, seconds);
            let message = format!(
                "Rate limit exceeded the maximum. Retry the request in [{seconds}] seconds"
            );
            let mut response = asked.error(429, "too.many.requests", &message);
            response.headers.push(("Retry-After", seconds.to_string()));
            response
        } else if let Some(response) = self.gateway(asked, call) {
            return response;
        } else {
            self.call(asked, call, id)
        };
        push_rate_headers(&mut response, verdict);
        response
    }

    /// What something in front of the platform answers in its place.
    fn gateway(&self, asked: &Asked<'_>, call: Call) -> Option<SimResponse> {
        const ERRORS: [(FaultKind, u16, &str); 4] = [
            (FaultKind::Http500, 500, "internal.server.error"),
            (FaultKind::Http502, 502, "bad.gateway"),
            (FaultKind::Http503, 503, "service.unavailable"),
            (FaultKind::Http504, 504, "request.timeout"),
        ];
        let seed = self.roster.spec().seed;
        for (kind, status, code) in ERRORS {
            if let Some(active) = self.fault(kind, Some(call), asked.now)
                && chance::strikes(active.percent(), &[seed, u64::from(status), asked.number])
            {
                return Some(asked.error(status, code, "The service did not answer as it should."));
            }
        }
        let active = |kind| self.fault(kind, Some(call), asked.now).is_some();
        if active(FaultKind::Html) {
            return Some(SimResponse::raw(
                200,
                "text/html; charset=utf-8",
                Bytes::from_static(bodies::GATEWAY_PAGE.as_bytes()),
            ));
        }
        if active(FaultKind::EmptyBody) {
            return Some(SimResponse::raw(200, "application/json", Bytes::new()));
        }
        if active(FaultKind::Unauthorised) {
            return Some(asked.error(401, "bad.credentials", "Invalid login credentials."));
        }
        if active(FaultKind::Forbidden) {
            let message = format!(
                "Unable to perform the requested action. You are missing the following permission(s): {}",
                call.permission()
            );
            return Some(asked.error(403, "missing.permissions", &message));
        }
        if active(FaultKind::Empty) {
            let empty = self.empty(asked, call);
            return Some(SimResponse::json(200, &empty));
        }
        None
    }

    /// The emptiest answer of a call that is still well-formed.
    fn empty(&self, asked: &Asked<'_>, call: Call) -> Value {
        let id = Call::of_path(asked.request.path()).map_or("", |(_, id)| id);
        match call {
            Call::Statuses if self.statuses_page.is_none() => json!([]),
            Call::RoutingState => json!({"userId": id, "routingStates": []}),
            Call::User => json!({"id": id}),
            Call::PresenceBulk | Call::SystemPresences => json!([]),
            Call::Token | Call::RoutingStatus | Call::Presence | Call::AgentStatus => json!({}),
            Call::Details => json!({"totalHits": 0}),
            Call::Channels if asked.request.method == "POST" => json!({}),
            _ => {
                json!({"entities": [], "pageSize": 25, "pageNumber": 1, "total": 0, "pageCount": 0})
            }
        }
    }

    /// Spoils the body, or its way.
    fn damage(&self, response: &mut SimResponse, call: Call, now: UnixMillis) {
        let active = |kind| self.fault(kind, Some(call), now);
        if let Some(huge) = active(FaultKind::HugeBody) {
            let mut body = response.body.to_vec();
            // JSON ignores trailing blanks, so the body stays valid; and it compresses a thousandfold.
            body.resize(body.len().max(huge.value as usize * MEBIBYTE), b' ');
            response.body = Bytes::from(body);
        }
        response.delivery = if active(FaultKind::CutBody).is_some() {
            Delivery::CutBody
        } else if active(FaultKind::SlowBody).is_some() {
            Delivery::SlowBody
        } else if let Some(slow) = active(FaultKind::Slow) {
            Delivery::Delayed(Millis(slow.value))
        } else {
            Delivery::Normal
        };
    }
}

fn push_rate_headers(response: &mut SimResponse, verdict: Verdict) {
    response.headers.extend([
        ("inin-ratelimit-count", verdict.count.to_string()),
        ("inin-ratelimit-allowed", verdict.allowed.to_string()),
        ("inin-ratelimit-reset", verdict.reset.to_string()),
    ]);
}

/// The form of the `Date` header (RFC 9110 §5.6.7): whole seconds.
fn http_date(at: UnixMillis) -> String {
    DateTime::<Utc>::from_timestamp_millis(at.0)
        .unwrap_or_default()
        .format("%a, %d %b %Y %H:%M:%S GMT")
        .to_string()
}
