//! `doctor`: makes every call of the exporter once and says what is wrong and what to do.
//!
//! One request at a time, so that it disturbs nobody. Nothing is stored and nothing served; what
//! it prints names no person and no secret.

use std::time::Duration;

use super::service;
use super::{Exit, RunArgs, complain, print};
use crate::clock::SystemClock;
use crate::config::{Config, Dialect, Environment};
use crate::model::error::chain;
use crate::model::ids::{QueueId, UserId};
use crate::model::time::{Millis, Now};
use crate::upstream::Client;
use crate::upstream::headers::RateHeaders;
use crate::upstream::request::{
    ApiRequest, MEMBERS_PAGE_SIZE, RequestId, USERS_PAGE_SIZE, tells_no_snapshot,
};
use crate::upstream::response::Response;
use crate::upstream::wire::Paging;
use crate::upstream::{wire_platform, wire_status};

mod platform;
mod report;

use report::{Load, Report, Verdict, refusal};

/// A clock that is off by more than this deserves a look; the exporter corrects for it.
const SKEW_WARN: Millis = Millis::from_secs(5);

/// Runs all checks; [`Exit::Failed`] if one fails.
pub fn run(args: &RunArgs, environment: &Environment) -> Exit {
    let loaded = match args.load(environment) {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(&error);
            return Exit::Usage;
        }
    };
    for warning in &loaded.warnings {
        complain(&format_args!("warning: {warning}"));
    }
    let mut doctors = Vec::new();
    for config in loaded.config.organisations() {
        match Client::new(&config.source, env!("CARGO_PKG_VERSION")) {
            Ok(client) => doctors.push(Doctor::new(client, config)),
            Err(error) => {
                complain(&format_args!("error: {}", chain(&error)));
                return Exit::Failed;
            }
        }
    }
    service::run(async {
        let several = doctors.len() > 1;
        let mut exit = Exit::Fine;
        for doctor in doctors {
            if several {
                print(&format!("\n{}\n", doctor.config.source.name));
            }
            let report = doctor.examine().await;
            print(&report.table());
            if report.failed() {
                exit = Exit::Failed;
            }
        }
        Ok(exit)
    })
}

struct Doctor {
    client: Client,
    clock: SystemClock,
    timeout: Duration,
    config: Config,
    report: Report,
    asked: u64,
    /// The rate limit, as an answer told it last.
    rate: RateHeaders,
}

/// A successful answer, and when it was sent and received.
struct Success {
    response: Response,
    sent_at: Now,
    received_at: Now,
}

/// What the checks found that later ones need.
#[derive(Default)]
struct Found {
    agent: Option<UserId>,
    agents: u64,
    queues: Option<(QueueId, u64)>,
    members: u64,
}

impl Doctor {
    fn new(client: Client, config: Config) -> Self {
        Self {
            client,
            clock: SystemClock::new(),
            timeout: config.pipeline.poll_timeout.to_duration(),
            config,
            report: Report::default(),
            asked: 0,
            rate: RateHeaders::default(),
        }
    }

    async fn examine(mut self) -> Report {
        let Some(login) = self.login().await else {
            for check in ["dialect", "agents", "one agent", "queues", "members"] {
                self.report.add(check, Verdict::Skipped, "", "");
            }
            return self.report;
        };
        self.clocks(&login);
        let Some(dialect) = self.dialect().await else {
            return self.report;
        };
        let mut found = Found::default();
        self.agents(dialect, &mut found).await;
        self.one_agent(dialect, &found).await;
        self.queues(&mut found).await;
        self.members(&mut found).await;
        if dialect == Dialect::Platform {
            self.history(&found).await;
            self.after_call(&found).await;
            self.notifications().await;
        }
        self.rate_limit();
        self.budget(dialect, &found);
        self.report
    }

    /// Sends a request that the exporter cannot do without.
    async fn ask(&mut self, check: &'static str, request: &ApiRequest) -> Option<Success> {
        self.ask_for(check, Verdict::Fail, request).await
    }

    /// Sends a request; a refusal becomes a row of `check` with this verdict.
    async fn ask_for(
        &mut self,
        check: &'static str,
        refusal_is: Verdict,
        request: &ApiRequest,
    ) -> Option<Success> {
        self.asked += 1;
        let id = RequestId(self.asked);
        let answer = self
            .client
            .send(id, request, self.timeout, &self.clock)
            .await;
        if let Ok(response) = &answer.result {
            let rate = RateHeaders::read(&response.headers, answer.received_at.wall);
            if rate.allowed.is_some() {
                self.rate = rate;
            }
        }
        if let Some(refused) = refusal(request, &answer.result) {
            self.report
                .add(check, refusal_is, refused.found, refused.remedy);
            return None;
        }
        let response = answer.result.ok()?;
        Some(Success {
            response,
            sent_at: answer.sent_at,
            received_at: answer.received_at,
        })
    }

    fn unreadable(&mut self, check: &'static str, error: &wire_status::WireError) {
        let remedy = "check that source.api_url is the platform and no portal";
        self.report
            .add(check, Verdict::Fail, error.to_string(), remedy);
    }

    async fn login(&mut self) -> Option<Success> {
        let host = self.config.source.login_url.host_str().unwrap_or_default();
        let region = host.strip_prefix("login.").unwrap_or(host).to_owned();
        let success = self.ask("login", &ApiRequest::Login).await?;
        match wire_status::login(&success.response.body) {
            Ok(token) => {
                let minutes = token.lifetime.0 / 60_000;
                let found = format!("a token for {minutes} min from {region}");
                self.report.add("login", Verdict::Ok, found, "");
                Some(success)
            }
            Err(error) => {
                self.unreadable("login", &error);
                None
            }
        }
    }

    fn clocks(&mut self, login: &Success) {
        let Some(date) = login.response.headers.date else {
            let found = "the answer carries no Date";
            let remedy = "something between here and the platform drops it";
            self.report.add("clock", Verdict::Warn, found, remedy);
            return;
        };
        // The date names a second that has begun.
        let ahead = login.sent_at.wall - (date + Millis(1_000));
        let behind = date - login.received_at.wall;
        let off = ahead.max(behind).max(Millis::ZERO);
        let seconds = off.0 / 1_000;
        if off > SKEW_WARN {
            let found = format!("this machine's clock is off by {seconds} s or more");
            let remedy = "set it by NTP; the exporter corrects for it";
            self.report.add("clock", Verdict::Warn, found, remedy);
        } else {
            let found = "agrees with the platform's";
            self.report.add("clock", Verdict::Ok, found, "");
        }
    }

    /// What is spoken: as configured, or what the platform says.
    async fn dialect(&mut self) -> Option<Dialect> {
        const CHECK: &str = "dialect";
        let configured = self.config.pipeline.dialect;
        if configured == Dialect::Platform {
            self.report
                .add(CHECK, Verdict::Ok, "platform, as configured", "");
            return Some(Dialect::Platform);
        }
        self.asked += 1;
        let request = ApiRequest::Statuses { page: 1 };
        let id = RequestId(self.asked);
        let answer = self
            .client
            .send(id, &request, self.timeout, &self.clock)
            .await;
        let status = answer.result.as_ref().map_or(0, |response| response.status);
        if tells_no_snapshot(status) && configured == Dialect::Auto {
            let found = format!("platform: /api/v2/users/statuses answered {status}");
            self.report.add(CHECK, Verdict::Ok, found, "");
            return Some(Dialect::Platform);
        }
        if tells_no_snapshot(status) {
            let found = format!("/api/v2/users/statuses answered {status}");
            let remedy = "set source.dialect to auto or platform";
            self.report.add(CHECK, Verdict::Fail, found, remedy);
            return None;
        }
        if let Some(refused) = refusal(&request, &answer.result) {
            self.report
                .add(CHECK, Verdict::Fail, refused.found, refused.remedy);
            return (status == 403).then_some(Dialect::Status);
        }
        match answer
            .result
            .map(|response| wire_status::statuses(&response.body))
        {
            Ok(Ok(page)) => {
                let found = format!("status: a snapshot of {} agents", page.records.len());
                self.report.add(CHECK, Verdict::Ok, found, "");
                Some(Dialect::Status)
            }
            Ok(Err(error)) => {
                self.unreadable(CHECK, &error);
                None
            }
            Err(_) => None,
        }
    }

    async fn agents(&mut self, dialect: Dialect, found: &mut Found) {
        const CHECK: &str = "agents";
        let request = match dialect {
            Dialect::Platform => ApiRequest::UsersScan {
                page: 1,
                size: USERS_PAGE_SIZE,
            },
            _ => ApiRequest::Users { page: 1 },
        };
        let Some(success) = self.ask(CHECK, &request).await else {
            return;
        };
        let body = &success.response.body;
        let read = match dialect {
            Dialect::Platform => wire_platform::users(body).map(|page| {
                let first = page.records.first().map(|record| record.user_id.clone());
                let listed = page.records.len() + page.incomplete.len();
                (
                    first,
                    listed,
                    page.incomplete.len(),
                    page.paging.unwrap_or_default(),
                )
            }),
            _ => wire_status::users(body).map(|page| {
                (
                    page.users.first().cloned(),
                    page.users.len(),
                    0,
                    page.paging,
                )
            }),
        };
        let (first, listed, incomplete, paging) = match read {
            Ok(read) => read,
            Err(error) => return self.unreadable(CHECK, &error),
        };
        found.agent = first;
        found.agents = total(&paging, listed);
        let agents = found.agents;
        if agents == 0 {
            let remedy = "check that the OAuth client's role may see users in all divisions";
            self.report
                .add(CHECK, Verdict::Fail, "no active user", remedy);
        } else if incomplete * 10 > listed {
            let told = format!("{agents} active users; {incomplete} of {listed} without a state");
            let remedy = "the platform leaves expands out; scans may be rejected for coverage";
            self.report.add(CHECK, Verdict::Warn, told, remedy);
        } else {
            let told = format!("{agents} active users");
            self.report.add(CHECK, Verdict::Ok, told, "");
        }
    }

    /// The state of one agent by itself, and what it has open.
    async fn one_agent(&mut self, dialect: Dialect, found: &Found) {
        const STATE: &str = "one agent";
        const OPEN: &str = "open interactions";
        let Some(user) = found.agent.clone() else {
            self.report.add(STATE, Verdict::Skipped, "", "");
            self.report.add(OPEN, Verdict::Skipped, "", "");
            return;
        };
        let request = match dialect {
            Dialect::Platform => ApiRequest::UserStatus { user: user.clone() },
            _ => ApiRequest::RoutingState { user: user.clone() },
        };
        if let Some(success) = self.ask(STATE, &request).await {
            let body = &success.response.body;
            let read = match dialect {
                Dialect::Platform => wire_platform::user(body, &user).map(drop),
                _ => wire_status::routing_states(body, &user).map(drop),
            };
            match read {
                Ok(()) => self
                    .report
                    .add(STATE, Verdict::Ok, "its routing state can be read", ""),
                Err(error) => self.unreadable(STATE, &error),
            }
        }
        let request = ApiRequest::ConversationSummary { user };
        if let Some(success) = self.ask(OPEN, &request).await {
            match wire_status::open_interactions(&success.response.body) {
                Ok(Some(_)) => self.report.add(OPEN, Verdict::Ok, "can be read", ""),
                Ok(None) => {
                    let remedy = "calls that are stuck cannot be told from long ones";
                    self.report
                        .add(OPEN, Verdict::Warn, "left out by the platform", remedy);
                }
                Err(error) => self.unreadable(OPEN, &error),
            }
        }
    }

    async fn queues(&mut self, found: &mut Found) {
        const CHECK: &str = "queues";
        let Some(success) = self.ask(CHECK, &ApiRequest::Queues { page: 1 }).await else {
            return;
        };
        match wire_status::queues(&success.response.body) {
            Ok(page) => {
                let count = total(&page.paging, page.queues.len());
                let first = page.queues.into_iter().next();
                found.queues = first.map(|(queue, _)| (queue, count));
                if count == 0 {
                    let remedy = "give the OAuth client's role the divisions of the queues";
                    self.report
                        .add(CHECK, Verdict::Warn, "no queue is visible", remedy);
                } else {
                    let told = format!("{count} queues");
                    self.report.add(CHECK, Verdict::Ok, told, "");
                }
            }
            Err(error) => self.unreadable(CHECK, &error),
        }
    }

    async fn members(&mut self, found: &mut Found) {
        const CHECK: &str = "members";
        let Some((queue, _)) = found.queues.clone() else {
            self.report.add(CHECK, Verdict::Skipped, "", "");
            return;
        };
        let request = ApiRequest::QueueMembers { queue, page: 1 };
        let Some(success) = self.ask(CHECK, &request).await else {
            return;
        };
        match wire_status::members(&success.response.body) {
            Ok(page) => {
                found.members = page.members.len() as u64;
                let more = if page.paging.has_next { " or more" } else { "" };
                let told = format!("{}{more} in the first queue", found.members);
                self.report.add(CHECK, Verdict::Ok, told, "");
            }
            Err(error) => self.unreadable(CHECK, &error),
        }
    }

    fn rate_limit(&mut self) {
        let budget = self.config.pipeline.requests_per_minute;
        match self.rate.allowed {
            Some(allowed) if allowed < budget => {
                let told = format!("the platform allows {allowed} requests a minute");
                let remedy = format!("set budget.requests_per_minute to {allowed} or less");
                self.report.add("rate limit", Verdict::Warn, told, remedy);
            }
            Some(allowed) => {
                let told = format!("the platform allows {allowed} requests a minute");
                self.report.add("rate limit", Verdict::Ok, told, "");
            }
            None => {
                let told = "the platform does not say what it allows";
                let remedy = "budget.requests_per_minute is all that is kept to";
                self.report.add("rate limit", Verdict::Warn, told, remedy);
            }
        }
    }

    fn budget(&mut self, dialect: Dialect, found: &Found) {
        let budget = self.config.pipeline.requests_per_minute;
        let user_pages = found.agents.div_ceil(u64::from(USERS_PAGE_SIZE)).max(1);
        let queues = found.queues.as_ref().map_or(0, |(_, count)| *count);
        let member_pages = queues * found.members.div_ceil(u64::from(MEMBERS_PAGE_SIZE)).max(1);
        let (scan_pages, registry_pages) = match dialect {
            Dialect::Platform => (user_pages, 0),
            _ => (1, user_pages),
        };
        let load = Load {
            scan_pages,
            upkeep_pages: registry_pages + 1 + member_pages,
        };
        let pipeline = &self.config.pipeline;
        let needed = load.a_minute(pipeline.poll_interval, pipeline.queues_refresh);
        let told = format!(
            "about {needed} requests a minute of {budget}, questions about single agents not counted"
        );
        if needed > u64::from(budget) {
            let remedy = "the poll interval will be stretched; raise the budget or poll.interval";
            self.report.add("budget", Verdict::Warn, told, remedy);
        } else {
            self.report.add("budget", Verdict::Ok, told, "");
        }
    }
}

/// Rows of a listing: as it says, or as many as were on its only page.
fn total(paging: &Paging, rows: usize) -> u64 {
    paging.total.unwrap_or(rows as u64)
}
