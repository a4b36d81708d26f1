//! Asks the public platform since when after-call work goes on: an agent at a time, while the work
//! lasts, with what the budget leaves to details. Who is not asked in time keeps the estimate.

use std::collections::VecDeque;

use super::answers::Failure;
use super::{Pipeline, Task};
use crate::effect::{Effect, Level};
use crate::model::ids::UserId;
use crate::model::time::{Millis, Monotonic, Now};
use crate::poller::Priority;
use crate::upstream::request::ApiRequest;
use crate::upstream::response::Answer;
use crate::upstream::wire_platform;

use super::dialect::Spoken;

/// Agents that wait to be asked about at most. After-call work lasts half a minute or so, in
/// which the largest budgets ask about fewer.
const WAITING_MAX: usize = 2_000;
/// After a failure nobody is asked about this long; after a refusal, which somebody has to
/// remedy, longer.
const PAUSE_FAILED: Millis = Millis::from_secs(30);
const PAUSE_REFUSED: Millis = Millis::from_secs(3_600);

/// Agents in after-call work that began at an instant which was only observed.
#[derive(Debug, Clone, Default)]
pub(super) struct AfterCall {
    waiting: VecDeque<UserId>,
    paused_until: Option<Monotonic>,
}

impl Pipeline {
    pub(super) fn plan_after_call(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let noted = self.reconciler.take_after_call();
        let platform = matches!(self.spoken, Some(Spoken::Platform { .. }));
        let paused = self
            .after_call
            .paused_until
            .is_some_and(|until| now.mono < until);
        if !platform || paused {
            // Whoever is in after-call work now is done with it by then.
            self.after_call.waiting.clear();
            return;
        }
        self.after_call.waiting.extend(noted);
        let surplus = self.after_call.waiting.len().saturating_sub(WAITING_MAX);
        // Those who have waited longest are the nearest to their end.
        self.after_call.waiting.drain(..surplus);
        while let Some(user) = self.after_call.waiting.front().cloned() {
            if self.reconciler.wants_start(&user) {
                if !self.admit(Priority::Detail, 1, now.mono) {
                    return;
                }
                let request = ApiRequest::AgentStatus { user: user.clone() };
                self.send(Task::AfterCall(user), request, Priority::Detail, effects);
            }
            self.after_call.waiting.pop_front();
        }
    }

    pub(super) fn on_after_call(&mut self, user: &UserId, body: &[u8], answer: &Answer, now: Now) {
        let since = match wire_platform::after_call_since(body, user) {
            Ok(Some(since)) => since,
            // It was over when it was asked about.
            Ok(None) => return,
            Err(error) => {
                let message = format!("what an agent works on cannot be read: {error}");
                self.notice(Level::Warn, "after_call", message);
                self.reconciler.count_refused(1);
                self.after_call_failed(Failure::Status(200), now);
                return;
            }
        };
        if since > self.skew.platform_at_most(answer.received_at) {
            self.reconciler.count_refused(1);
            return;
        }
        let unbroken = self
            .push
            .as_ref()
            .and_then(|push| push.notifier.covered_since(user));
        if self.reconciler.on_after_call_since(user, since, unbroken) {
            self.touch(now);
        }
    }

    /// No usable answer: the estimate stays.
    pub(super) fn after_call_failed(&mut self, failure: Failure, now: Now) {
        let pause = match failure {
            Failure::Status(400..=499) => PAUSE_REFUSED,
            _ => PAUSE_FAILED,
        };
        self.after_call.paused_until = Some(now.mono + pause);
    }
}
