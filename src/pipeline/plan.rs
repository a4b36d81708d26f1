//! Which request goes out next: by falling priority, each under the budget.

use super::{Flight, Pipeline, RunningScan, Task};
use crate::effect::{Effect, Level};
use crate::model::ids::UserId;
use crate::model::time::{Millis, Monotonic, Now};
use crate::model::view::BreakerState;
use crate::poller::{Priority, interval_needed};
use crate::reconciler::joins::JoinClass;
use crate::snapshot::Scan;
use crate::upstream::request::{ApiRequest, RequestId};

/// Polling pauses when an append has been under way for so long: the disk is full or gone, and
/// what cannot be kept must not pile up in memory (faults.md F89).
const APPEND_PATIENCE: Millis = Millis::from_secs(300);

impl Pipeline {
    /// Sends what is due and admitted; remembers when the budget could admit the rest.
    pub(super) fn plan(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.wake_at = None;
        self.plan_sockets(now, effects);
        self.plan_login(now, effects);
        if !self.auth.usable(now.mono) || self.append_overdue(now.mono) {
            return;
        }
        self.plan_repeats(now, effects);
        if !self.plan_dialect(now, effects) {
            return;
        }
        self.plan_snapshot(now, effects);
        self.plan_registry(now, effects);
        if self.breaker.state() != BreakerState::Closed || self.health.accepted_at.is_none() {
            // The breaker pauses joins too, and before the first snapshot there is nobody to join.
            self.plan_directory(now, effects);
            return;
        }
        self.plan_push(now, effects);
        self.begin_divergence(now);
        self.plan_checks(now, effects);
        self.plan_joins(JoinClass::Changed, Priority::Changed, now, effects);
        self.plan_directory(now, effects);
        self.plan_joins(JoinClass::NeverJoined, Priority::NeverJoined, now, effects);
        if self.spoken.is_some_and(|spoken| !spoken.scan_confirms()) {
            self.plan_joins(JoinClass::Oldest, Priority::Oldest, now, effects);
        }
        self.plan_backfill(now, effects);
        self.plan_after_call(now, effects);
    }

    pub(super) fn append_overdue(&self, now: Monotonic) -> bool {
        self.appending
            .as_ref()
            .is_some_and(|(_, _, since)| now - *since > APPEND_PATIENCE)
    }

    fn plan_login(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let out = self.flights.values().any(|f| f.task == Task::Login);
        if !out && self.auth.need_login(now.mono) && self.admit(Priority::Token, 1, now.mono) {
            self.auth.login_started(now.mono);
            self.send(Task::Login, ApiRequest::Login, Priority::Token, effects);
        }
    }

    fn plan_repeats(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut waiting = std::mem::take(&mut self.repeats);
        waiting.sort_by_key(|(at, flight)| (flight.priority, *at));
        for (at, flight) in waiting {
            if at <= now.mono && self.admit(flight.priority, 1, now.mono) {
                self.send_flight(flight, effects);
            } else {
                self.repeats.push((at, flight));
            }
        }
    }

    fn plan_snapshot(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(spoken) = self.spoken else {
            return;
        };
        if self.scan.is_some() || !self.may_scan() || self.cycle.due() > now.mono {
            return;
        }
        if let Some(retry_at) = self.breaker.retry_at()
            && retry_at > now.mono
        {
            self.cycle.paused_until(retry_at);
            return;
        }
        let pages = self.snapshot_pages;
        if !self.budget.admit(Priority::Snapshot, pages, now.mono) {
            self.defer_snapshot(pages, now);
            return;
        }
        if !self.breaker.may_poll(now.mono) {
            self.budget.given_back(Priority::Snapshot, pages, now.mono);
            self.cycle
                .paused_until(self.breaker.retry_at().unwrap_or(now.mono + Millis(1_000)));
            return;
        }
        self.cycle.started(now.mono);
        if let Some(push) = &mut self.push {
            push.scan_began(now.mono);
        }
        self.scan = Some(RunningScan {
            scan: Scan::new(),
            admitted_at: now.mono,
            sent_at: now,
            described_at: None,
            pages_admitted: pages,
            pages_sent: 1,
        });
        self.send(Task::Snapshot, spoken.scan(1), Priority::Snapshot, effects);
    }

    /// The budget has no room for a whole snapshot: the next slot, or a longer interval.
    fn defer_snapshot(&mut self, pages: u32, now: Now) {
        let before = self.cycle.effective_interval();
        if let Some(blocked) = self.budget.blocked_until().filter(|at| *at > now.mono) {
            self.cycle.paused_until(blocked);
        } else {
            self.cycle.deferred(now.mono);
        }
        self.interval_changed(before);
        if !self.budget.can_ever_admit(Priority::Snapshot, pages) {
            self.notice(
                Level::Error,
                "snapshot_exceeds_budget",
                format!(
                    "a snapshot takes {pages} requests, more than the budget of {} a minute; \
                     raise budget.requests_per_minute and the platform's limit",
                    self.budget.allowance()
                ),
            );
        }
    }

    /// Stretches the interval so that a scan of so many pages fits the budget.
    pub(super) fn fit_interval(&mut self, pages: u32) {
        let before = self.cycle.effective_interval();
        self.snapshot_pages = pages.max(1);
        self.budget.set_snapshot_cost(self.snapshot_pages);
        self.cycle.at_least(interval_needed(
            self.snapshot_pages,
            self.budget.allowance(),
        ));
        self.interval_changed(before);
    }

    fn interval_changed(&mut self, before: Millis) {
        let interval = self.cycle.effective_interval();
        self.reconciler.set_interval(interval);
        self.budget.set_snapshot_interval(interval);
        if interval != before {
            self.notice(
                Level::Warn,
                "poll_interval",
                format!(
                    "the request budget sets the poll interval to {} s",
                    interval.as_secs_f64()
                ),
            );
        }
    }

    fn plan_checks(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut left = self.budget.left_for_checks(now.mono);
        while left > 0 {
            let Some((task, request)) = self.next_check(now) else {
                return;
            };
            if !self.admit(Priority::Check, 1, now.mono) {
                return;
            }
            self.check_sent(&task, now);
            self.send(task, request, Priority::Check, effects);
            left -= 1;
        }
        if self.next_check(now).is_some() {
            // Half of what is left is spent: look again when the minute has moved on.
            self.wake(now.mono + Millis(1_000));
        }
    }

    /// The most urgent check: an override that is owed, suspects, forced refreshes, the sample.
    fn next_check(&mut self, now: Now) -> Option<(Task, ApiRequest)> {
        let spoken = self.spoken?;
        let state = |user: &UserId| spoken.agent(user.clone());
        if let Some(user) = self.direct.front() {
            return Some((Task::Direct(user.clone()), state(user)));
        }
        if let Some(user) = self.suspects.front() {
            let request = ApiRequest::ConversationSummary { user: user.clone() };
            return Some((Task::OpenInteractions(user.clone()), request));
        }
        let at = self.platform_now(now);
        if let Some(user) = self.reconciler.next_join(JoinClass::Forced, at) {
            let request = state(&user);
            return Some((Task::Join(user, JoinClass::Forced), request));
        }
        let user = self.reconciler.divergence.next()?;
        Some((Task::Sample(user.clone()), state(user)))
    }

    fn check_sent(&mut self, task: &Task, now: Now) {
        match task {
            Task::Direct(user) => {
                self.direct.pop_front();
                self.reconciler.asked_directly(user);
            }
            Task::OpenInteractions(_) => drop(self.suspects.pop_front()),
            Task::Join(user, class) => self.reconciler.asked(user, *class),
            Task::Sample(user) => {
                self.reconciler.divergence.asked();
                self.reconciler.asked_directly(user);
            }
            Task::Login
            | Task::Probe
            | Task::Snapshot
            | Task::Registry
            | Task::Queues
            | Task::Members
            | Task::Backfill
            | Task::AfterCall(_)
            | Task::OpenChannel(_)
            | Task::Subscribe(_) => {
                unreachable!("not a check; asked at {}", now.mono.0)
            }
        }
    }

    fn plan_joins(
        &mut self,
        class: JoinClass,
        priority: Priority,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let at = self.platform_now(now);
        let Some(spoken) = self.spoken else {
            return;
        };
        while let Some(user) = self.reconciler.next_join(class, at) {
            if !self.admit(priority, 1, now.mono) {
                return;
            }
            self.reconciler.asked(&user, class);
            let request = spoken.agent(user.clone());
            self.send(Task::Join(user, class), request, priority, effects);
        }
    }

    /// Asks the budget; if it refuses, remembers when to ask again.
    pub(super) fn admit(&mut self, priority: Priority, cost: u32, now: Monotonic) -> bool {
        if self.budget.admit(priority, cost, now) {
            return true;
        }
        self.wake(self.budget.next_opportunity(priority, cost, now));
        false
    }

    fn wake(&mut self, at: Monotonic) {
        let at = self
            .planned_at
            .map_or(at, |planned| at.max(planned + Millis(1)));
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }

    /// Sends an admitted request.
    pub(super) fn send(
        &mut self,
        task: Task,
        request: ApiRequest,
        priority: Priority,
        effects: &mut Vec<Effect>,
    ) {
        self.retry_budget.on_request();
        self.send_flight(Flight::new(task, request, priority), effects);
    }

    fn send_flight(&mut self, mut flight: Flight, effects: &mut Vec<Effect>) {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        flight.generation = self.auth.generation();
        effects.push(Effect::Request {
            id,
            request: flight.request.clone(),
            timeout: self.config.poll_timeout,
        });
        self.flights.insert(id, flight);
    }
}
