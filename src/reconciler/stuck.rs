//! Stuck on call: a long call is checked against open interactions; without any, the direct
//! routing answer decides, and if that still says on call the agent is counted, nothing is
//! invented (semantics.md §7).

use super::agent::Agent;
use super::reconcile::Reconciler;
use crate::model::ids::UserId;
use crate::model::state::RoutingState;
use crate::model::time::{Millis, UnixMillis};

/// When a call is suspect, and how often a suspect is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StuckRule {
    /// On call for longer than this.
    pub after: Millis,
    /// At most one check in this long.
    pub recheck: Millis,
}

impl StuckRule {
    /// Whether the agent is a suspect whose check is due at the platform instant `at`.
    pub fn is_due(&self, agent: &Agent, at: UnixMillis) -> bool {
        let suspect = agent.current().is_some_and(|held| {
            held.state == RoutingState::OnCall
                && (agent.stuck.unoccupied || at - held.entered_at > self.after)
        });
        suspect
            && agent
                .stuck
                .asked_at
                .is_none_or(|asked| at - asked >= self.recheck)
    }
}

impl Reconciler {
    /// The rule for stuck calls.
    pub fn stuck_rule(&self) -> StuckRule {
        StuckRule {
            after: self.config.stuck_after,
            recheck: self.config.stuck_recheck,
        }
    }

    /// Agents whose stuck check is due, by the platform's clock.
    pub fn suspects(&self, at: UnixMillis) -> Vec<UserId> {
        let rule = self.stuck_rule();
        self.agents
            .iter()
            .filter(|(_, agent)| rule.is_due(agent, at))
            .map(|(user, _)| user.clone())
            .collect()
    }

    /// A stuck check of this agent is under way.
    pub fn stuck_asked(&mut self, user: &UserId, at: UnixMillis) {
        if let Some(agent) = self.agents.get_mut(user) {
            agent.stuck.asked_at = Some(at);
        }
    }

    /// What a stuck check found.
    pub fn set_stuck(&mut self, user: &UserId, stuck: bool) {
        if let Some(agent) = self.agents.get_mut(user) {
            agent.stuck.stuck = stuck
                && agent
                    .current()
                    .is_some_and(|held| held.state == RoutingState::OnCall);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::agent::{Held, Membership};
    use super::*;
    use crate::model::event::Chain;
    use crate::model::state::Source;

    #[test]
    fn only_a_long_call_is_suspect_and_it_is_rechecked_at_intervals() {
        let rule = StuckRule {
            after: Millis::from_secs(900),
            recheck: Millis::from_secs(300),
        };
        let at = |s: i64| UnixMillis(s * 1_000);
        let mut agent = Agent::new(Membership {
            from: at(0),
            queues: Arc::from([]),
        });
        assert!(!rule.is_due(&agent, at(5_000)));
        agent.history.push(Held {
            entered_at: at(0),
            state: RoutingState::OnCall,
            raw_state: None,
            wrapup_code: None,
            source: Source::Routing,
            revision: 1,
            chain: Chain::Gap { known_until: None },
            ingested_at: at(0),
            estimated: false,
        });
        assert!(
            !rule.is_due(&agent, at(900)),
            "exactly stuck.after is not longer"
        );
        assert!(rule.is_due(&agent, at(901)));
        agent.stuck.unoccupied = true;
        assert!(
            rule.is_due(&agent, at(10)),
            "a call without an interaction is suspect at once"
        );
        agent.stuck.unoccupied = false;
        agent.stuck.asked_at = Some(at(901));
        assert!(!rule.is_due(&agent, at(1_200)));
        assert!(rule.is_due(&agent, at(1_201)));
        agent.history[0].state = RoutingState::Available;
        assert!(!rule.is_due(&agent, at(9_000)));
    }
}
