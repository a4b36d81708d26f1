//! Answers about single agents: joins, stuck checks, the divergence sample.

use super::Pipeline;
use super::answers::Failure;
use crate::effect::Level;
use crate::model::ids::UserId;
use crate::model::state::Source;
use crate::model::time::{Millis, Now};
use crate::reconciler::divergence::{HeldState, race_span};
use crate::reconciler::evidence::Evidence;
use crate::upstream::response::Answer;
use crate::upstream::wire::RoutingStates;
use crate::upstream::wire_status;

/// A validation that the budget could not finish in this long is ended as incomplete.
const DIVERGENCE_PATIENCE: Millis = Millis::from_secs(300);

/// Suspects that wait for a check at most; the rest is found again after the next snapshot.
const SUSPECTS_MAX: usize = 1_000;

impl Pipeline {
    fn evidence(&self, source: Source, answer: &Answer) -> Evidence {
        Evidence {
            source,
            confirms: self.skew.platform_at_least(answer.sent_at),
            latest: self.skew.platform_at_most(answer.received_at),
            ingested_at: answer.received_at.wall,
            tolerance: self.reconciler.tolerance(),
        }
    }

    fn routing_states(
        &mut self,
        user: &UserId,
        body: &[u8],
        answer: &Answer,
        now: Now,
    ) -> Option<RoutingStates> {
        match self.read_agent(user, body, answer.sent_at) {
            Ok(Some(states)) => Some(states),
            Ok(None) => {
                let at = self.platform_now(now);
                self.reconciler.join_failed(user, at);
                None
            }
            Err(error) => {
                self.notice(
                    Level::Warn,
                    "routing_state_parse",
                    format!("a routing state cannot be read: {error}"),
                );
                self.reconciler.count_refused(1);
                let at = self.platform_now(now);
                self.reconciler.join_failed(user, at);
                None
            }
        }
    }

    pub(super) fn on_join(&mut self, user: &UserId, body: &[u8], answer: &Answer, now: Now) {
        if let Some(states) = self.routing_states(user, body, answer, now) {
            let evidence = self.evidence(Source::Routing, answer);
            self.reconciler.on_routing(user, &states, &evidence);
        }
        self.touch(now);
    }

    pub(super) fn join_failed(&mut self, user: &UserId, failure: Failure, now: Now) {
        if failure == Failure::Status(404) {
            // Gone: the registry has the last word.
            self.registry.request_soon(now.mono);
        }
        let at = self.platform_now(now);
        self.reconciler.join_failed(user, at);
        self.touch(now);
    }

    /// Finds calls that have lasted too long, after each accepted snapshot.
    pub(super) fn queue_suspects(&mut self, now: Now) {
        let at = self.platform_now(now);
        for user in self.reconciler.suspects(at) {
            if self.suspects.len() >= SUSPECTS_MAX {
                return;
            }
            self.reconciler.stuck_asked(&user, at);
            self.suspects.push_back(user);
        }
    }

    pub(super) fn on_open_interactions(&mut self, user: &UserId, body: &[u8], now: Now) {
        match wire_status::open_interactions(body) {
            Ok(Some(0)) => self.direct.push_back(user.clone()),
            Ok(Some(_)) => self.reconciler.set_stuck(user, false),
            // Missing or unreadable is not zero: nothing is concluded.
            Ok(None) | Err(_) => {}
        }
        self.touch(now);
    }

    pub(super) fn on_direct(&mut self, user: &UserId, body: &[u8], answer: &Answer, now: Now) {
        if let Some(states) = self.routing_states(user, body, answer, now) {
            let evidence = self.evidence(Source::Override, answer);
            self.reconciler.on_routing(user, &states, &evidence);
            self.reconciler.set_stuck(user, true);
        }
        self.touch(now);
    }

    pub(super) fn begin_divergence(&mut self, now: Now) {
        if self.reconciler.divergence.is_running() {
            if now.mono > self.divergence_until {
                self.reconciler.divergence.abandon_rest();
                self.finish_divergence(now);
            }
            return;
        }
        if now.mono < self.divergence_due {
            return;
        }
        self.divergence_due = now.mono + self.config.divergence_interval;
        self.divergence_until = now.mono + DIVERGENCE_PATIENCE;
        self.divergence_rounds += 1;
        let active: Vec<UserId> = self
            .reconciler
            .agents()
            .iter()
            .filter(|(_, agent)| {
                agent.joined() && agent.presence.as_ref().is_none_or(|p| !p.is_offline())
            })
            .map(|(user, _)| user.clone())
            .collect();
        let active: Vec<&UserId> = active.iter().collect();
        // Seeded by the hour and the round: repeatable, and not the same agents each time.
        let seed = self.divergence_rounds ^ (self.platform_now(now).0 / 3_600_000) as u64;
        let share = self.config.divergence_sample;
        self.reconciler.divergence.begin(&active, share, seed);
    }

    pub(super) fn on_sample(&mut self, user: &UserId, body: &[u8], answer: &Answer, now: Now) {
        let Some(states) = self.routing_states(user, body, answer, now) else {
            self.reconciler.divergence.failed(user);
            self.finish_divergence(now);
            return;
        };
        let held = self.reconciler.agents().get(user).and_then(|agent| {
            Some(HeldState {
                state: agent.current()?.state,
                confirmed_until: agent.confirmed_until,
            })
        });
        let span = race_span(
            self.cycle.effective_interval(),
            self.config.cache_age,
            self.config.poll_timeout,
        );
        let race_from = self.skew.platform_at_least(answer.sent_at) - span;
        self.reconciler
            .divergence
            .compare(user, states.entries.last(), held, race_from);
        let evidence = self.evidence(Source::Routing, answer);
        self.reconciler.on_routing(user, &states, &evidence);
        self.finish_divergence(now);
        self.touch(now);
    }

    pub(super) fn finish_divergence(&mut self, now: Now) {
        let Some(finding) = self
            .reconciler
            .divergence
            .finish(self.config.divergence_max)
        else {
            return;
        };
        if finding.exceeded {
            self.delta.clear();
            self.reconciler.distrust(&finding.divergent);
            self.notice(
                Level::Warn,
                "divergence",
                format!(
                    "{:.1} % of the compared agents diverge from the live platform; \
                     asking everyone in their queues again",
                    finding.ratio * 100.0
                ),
            );
        }
        self.touch(now);
    }
}
