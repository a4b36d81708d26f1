//! What an HTTP answer means for its request: done, to be repeated, or refused.

use bytes::Bytes;

use super::{Flight, Pipeline, Task};
use crate::effect::{Effect, Level};
use crate::model::time::{Millis, Now};
use crate::model::view::SnapshotOutcome;
use crate::poller::{Outcome, RateReading, retry_delay};
use crate::upstream::headers::{RateHeaders, retry_after};
use crate::upstream::request::ApiRequest;
use crate::upstream::response::{Answer, Headers, TransportFailure};
use crate::upstream::wire_status;

/// Why a request has no usable answer, after all repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// A status code that is no success.
    Status(u16),
    /// No answer.
    Transport(TransportFailure),
    /// 401 with a fresh token, or no token at all.
    Unauthorised,
    /// 429.
    Throttled,
}

impl Failure {
    /// The outcome of a snapshot that failed so.
    pub(super) fn outcome(self) -> SnapshotOutcome {
        match self {
            Self::Status(_) => SnapshotOutcome::FailedStatus,
            Self::Unauthorised => SnapshotOutcome::FailedAuth,
            Self::Throttled => SnapshotOutcome::FailedThrottled,
            Self::Transport(TransportFailure::Timeout) => SnapshotOutcome::FailedTimeout,
            Self::Transport(TransportFailure::TooLarge) => SnapshotOutcome::FailedTooLarge,
            Self::Transport(_) => SnapshotOutcome::FailedTransport,
        }
    }
}

impl Pipeline {
    pub(super) fn take_answer(&mut self, mut answer: Answer, now: Now, effects: &mut Vec<Effect>) {
        let Some(flight) = self.flights.remove(&answer.id) else {
            return;
        };
        self.budget.finished();
        if let Ok(response) = &answer.result {
            self.read_headers(&response.headers, &answer, now);
        }
        let outcome = Outcome::of(answer.result.as_ref().map_err(|failure| *failure));
        if flight.task == Task::Login {
            self.on_login(outcome, &answer, now);
            return;
        }
        match outcome {
            Outcome::Ok => {
                self.auth.accepted(flight.generation);
                let body = answer.take_body();
                self.on_success(&flight, body, &answer, now, effects);
            }
            Outcome::Throttled => self.on_throttled(flight, &answer, now),
            Outcome::Unauthorised => self.on_unauthorised(flight, now),
            Outcome::Retryable(_) | Outcome::ServerError500 => {
                self.on_transient(flight, outcome, &answer, now);
            }
            Outcome::Permanent(status) => {
                if self.ask_smaller_pages(&flight, status, now) {
                    return;
                }
                self.explain(&flight, status, &answer);
                self.on_failure(&flight, Failure::Status(status), now);
            }
            Outcome::Refused(failure) => {
                self.on_failure(&flight, Failure::Transport(failure), now);
            }
        }
    }

    fn read_headers(&mut self, headers: &Headers, answer: &Answer, now: Now) {
        if let Some(date) = headers.date.filter(|_| !headers.aged) {
            self.skew.observe(answer.sent_at, answer.received_at, date);
            self.health.clock_skew_seconds = self.skew.seconds();
        }
        let rate = RateHeaders::read(headers, now.wall);
        self.budget.observe(
            &RateReading {
                count: rate.count.map(u64::from),
                allowed: rate.allowed.map(u64::from),
                reset: rate.reset,
            },
            now.mono,
        );
    }

    fn on_login(&mut self, outcome: Outcome, answer: &Answer, now: Now) {
        let lifetime = match (&answer.result, outcome) {
            (Ok(response), Outcome::Ok) => wire_status::login(&response.body).ok(),
            _ => None,
        };
        if let Some(token) = lifetime {
            self.auth.login_ok(token.lifetime, now.mono);
            if self.health.authenticated != Some(true) {
                self.notice(
                    Level::Info,
                    "logged_in",
                    "logged in to the platform".to_owned(),
                );
            }
        } else {
            if outcome == Outcome::Throttled {
                self.throttle(answer, now);
            }
            let refused = matches!(outcome, Outcome::Permanent(_) | Outcome::Unauthorised);
            self.auth.login_failed(refused, now.mono);
            let (level, message) = if refused {
                (
                    Level::Error,
                    format!(
                        "the platform refused the client credentials ({}); check source.client_id, \
                         the client secret and the region",
                        describe(answer)
                    ),
                )
            } else {
                (
                    Level::Warn,
                    format!("cannot log in ({}); trying again", describe(answer)),
                )
            };
            self.notice(level, "login_failed", message);
        }
        self.health.authenticated = self.auth.authenticated();
        self.touch(now);
    }

    fn throttle(&mut self, answer: &Answer, now: Now) {
        self.health.throttled += 1;
        if let Ok(response) = &answer.result {
            let told = retry_after(&response.headers, answer.received_at.wall);
            self.budget.throttled(told.wait, answer.id.0, now.mono);
            self.notice(
                Level::Warn,
                "throttled",
                format!(
                    "the platform throttles us; no request for {} s",
                    told.wait.as_secs_f64()
                ),
            );
        }
    }

    fn on_throttled(&mut self, flight: Flight, answer: &Answer, now: Now) {
        self.throttle(answer, now);
        if flight.task == Task::Snapshot {
            self.on_failure(&flight, Failure::Throttled, now);
        } else {
            let at = self.budget.blocked_until().unwrap_or(now.mono);
            self.repeats.push((at, flight));
        }
        self.touch(now);
    }

    fn on_unauthorised(&mut self, mut flight: Flight, now: Now) {
        let repeat = self.auth.unauthorised(flight.generation, now.mono);
        if repeat && !flight.reauthorised {
            flight.reauthorised = true;
            self.repeats.push((now.mono, flight));
        } else {
            if self.auth.authenticated() == Some(false) {
                self.notice(
                    Level::Error,
                    "unauthorised",
                    "the platform refuses a fresh token (401); check the OAuth client".to_owned(),
                );
            }
            self.on_failure(&flight, Failure::Unauthorised, now);
        }
        self.health.authenticated = self.auth.authenticated();
    }

    fn on_transient(&mut self, mut flight: Flight, outcome: Outcome, answer: &Answer, now: Now) {
        let delay = retry_delay(outcome, flight.attempt, answer.id.0);
        let told = match &answer.result {
            Ok(response) if response.status == 503 => {
                retry_after(&response.headers, answer.received_at.wall).told
            }
            _ => None,
        };
        // A retry that would end after the slot is superseded by the next poll.
        let slot = self.cycle.effective_interval();
        let delay = delay.map(|delay| delay.max(told.unwrap_or(Millis::ZERO)));
        match delay.filter(|delay| *delay + self.config.poll_timeout <= slot) {
            Some(delay) if self.retry_budget.try_retry() => {
                flight.attempt += 1;
                self.repeats.push((now.mono + delay, flight));
            }
            _ => {
                let failure = match &answer.result {
                    Ok(response) => Failure::Status(response.status),
                    Err(failure) => Failure::Transport(*failure),
                };
                self.on_failure(&flight, failure, now);
            }
        }
    }

    /// Says what an operator can do about a status that asking again does not change.
    fn explain(&mut self, flight: &Flight, status: u16, answer: &Answer) {
        let endpoint = flight.request.endpoint();
        let hint = match (status, missing_permissions(answer)) {
            (400, _) if flight.task == Task::Probe => return,
            // Gone is an answer here: somebody else acts on it.
            (404, _)
                if matches!(
                    flight.task,
                    Task::Probe | Task::Join(..) | Task::Sample(_) | Task::Subscribe(_)
                ) =>
            {
                return;
            }
            (403, Some(permissions)) => {
                format!("give the OAuth client's role the permission {permissions}")
            }
            (403, None) => "give the OAuth client's role the permission for it".to_owned(),
            (300..=399, _) => "redirects are not followed; check source.api_url".to_owned(),
            (407, _) => "a proxy wants credentials; connect directly".to_owned(),
            _ => "check source.api_url and the dialect".to_owned(),
        };
        self.notice(
            Level::Error,
            endpoint.template(),
            format!("{endpoint} answered {status}; {hint}"),
        );
    }

    fn on_success(
        &mut self,
        flight: &Flight,
        body: Bytes,
        answer: &Answer,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        match flight.task.clone() {
            Task::Snapshot => self.on_snapshot_page(body, answer, now, effects),
            Task::Registry => self.on_registry_page(&body, now, effects),
            Task::Queues => self.on_queues_page(&body, now, effects),
            Task::Members => self.on_members_page(&flight.request, &body, now, effects),
            Task::Join(user, _) => self.on_join(&user, &body, answer, now),
            Task::Sample(user) => self.on_sample(&user, &body, answer, now),
            Task::OpenInteractions(user) => self.on_open_interactions(&user, &body, now),
            Task::Direct(user) => self.on_direct(&user, &body, answer, now),
            Task::Probe => self.on_probe(&body, now),
            Task::Backfill => self.on_details(&body, answer.received_at.wall, now),
            Task::AfterCall(user) => self.on_after_call(&user, &body, answer, now),
            Task::OpenChannel(slot) => {
                self.on_channel(slot, flight.generation, &body, now);
            }
            Task::Subscribe(slot) => {
                if let ApiRequest::Subscribe { topics, .. } = &flight.request {
                    self.on_subscribed(slot, topics, &body, now);
                }
            }
            Task::Login => unreachable!("a login is taken before"),
        }
    }

    /// A request ended without a usable answer.
    pub(super) fn on_failure(&mut self, flight: &Flight, failure: Failure, now: Now) {
        match &flight.task {
            Task::Snapshot => self.snapshot_failed(failure.outcome(), now),
            Task::Registry => self.registry_failed(now),
            Task::Queues => self.queues_failed(now),
            Task::Members => self.members_failed(&flight.request, now),
            Task::Join(user, _) | Task::Direct(user) => self.join_failed(user, failure, now),
            Task::Sample(user) => {
                self.reconciler.divergence.failed(user);
                self.join_failed(user, failure, now);
                self.finish_divergence(now);
            }
            Task::Probe => self.probe_failed(failure, now),
            Task::Backfill => self.backfill_failed(failure, now),
            Task::AfterCall(_) => self.after_call_failed(failure, now),
            Task::OpenChannel(slot) | Task::Subscribe(slot) => {
                self.push_failed(*slot, failure, now);
            }
            Task::OpenInteractions(_) | Task::Login => {}
        }
    }
}

/// The answer in a few words, without anything of its body but a code.
fn describe(answer: &Answer) -> String {
    match &answer.result {
        Ok(response) => match wire_status::error_body(&response.body) {
            Some(error) if !error.code.is_empty() => {
                format!("status {}, {}", response.status, error.code)
            }
            _ => format!("status {}", response.status),
        },
        Err(failure) => failure.label().replace('_', " "),
    }
}

fn missing_permissions(answer: &Answer) -> Option<String> {
    let response = answer.result.as_ref().ok()?;
    let permissions = wire_status::error_body(&response.body)?.missing_permissions;
    (!permissions.is_empty()).then(|| permissions.join(", "))
}
