//! Volatile agents: more than so many transitions within so long are held back until they settle
//! (semantics.md §6, §12.10).

use super::agent::{Agent, VolatileHold};
use super::evidence::{Applied, Verdict};
use crate::model::time::Millis;

/// When an agent is volatile, and when it has settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolatilityRule {
    /// More than this many transitions…
    pub transitions: u32,
    /// …within this span of platform time.
    pub within: Millis,
    /// Consecutive cycles with a routing confirmation and no transition that settle it.
    pub settle_cycles: u32,
}

/// What an answer meant for an agent's volatility.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing new.
    None,
    /// It is held back from now on.
    Flagged,
    /// It has settled: its held time is to be accrued.
    Settled,
}

impl VolatilityRule {
    /// Judges an answer that was applied in `cycle`.
    pub fn judge(&self, agent: &mut Agent, applied: &Applied, cycle: u64) -> Change {
        if !applied.added.is_empty() {
            if let Some(hold) = &mut agent.volatile {
                hold.settled_cycles = 0;
                hold.counted_cycle = cycle;
                return Change::None;
            }
            if self.is_volatile(agent) {
                agent.volatile = Some(Box::new(VolatileHold {
                    settled_cycles: 0,
                    counted_cycle: cycle,
                }));
                return Change::Flagged;
            }
            return Change::None;
        }
        let Some(hold) = &mut agent.volatile else {
            return Change::None;
        };
        if applied.verdict != Verdict::Current || hold.counted_cycle >= cycle {
            return Change::None;
        }
        hold.counted_cycle = cycle;
        hold.settled_cycles += 1;
        if hold.settled_cycles < self.settle_cycles {
            return Change::None;
        }
        agent.volatile = None;
        Change::Settled
    }

    /// The latest starts lie close together, and the last of them is recent.
    fn is_volatile(&self, agent: &Agent) -> bool {
        let starts = self.transitions as usize + 1;
        let Some(first) = agent.history.len().checked_sub(starts) else {
            return false;
        };
        let Some((last, confirmed)) = agent
            .current()
            .map(|held| held.entered_at)
            .zip(agent.confirmed_until)
        else {
            return false;
        };
        last - agent.history[first].entered_at <= self.within && confirmed - last <= self.within
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::agent::Membership;
    use super::super::evidence::{Evidence, apply};
    use super::*;
    use crate::model::state::{RoutingState, Source};
    use crate::model::time::UnixMillis;
    use crate::upstream::wire::{RoutingEntry, RoutingStates};

    const RULE: VolatilityRule = VolatilityRule {
        transitions: 3,
        within: Millis::from_secs(60),
        settle_cycles: 2,
    };

    fn judge(agent: &mut Agent, told: i64, starts: &[i64], cycle: u64) -> Change {
        let answer = RoutingStates {
            entries: starts
                .iter()
                .enumerate()
                .map(|(k, &s)| RoutingEntry {
                    state: RoutingState::ALL[k % 4],
                    raw_state: None,
                    wrapup_code: None,
                    entered_at: UnixMillis(s * 1_000),
                    estimated: false,
                })
                .collect(),
            refused: Vec::new(),
        };
        let evidence = Evidence {
            source: Source::Routing,
            confirms: UnixMillis(told * 1_000),
            latest: UnixMillis(told * 1_000),
            ingested_at: UnixMillis(told * 1_000),
            tolerance: Millis::from_secs(37),
        };
        let applied = apply(agent, &answer, &evidence);
        RULE.judge(agent, &applied, cycle)
    }

    fn fresh() -> Agent {
        Agent::new(Membership {
            from: UnixMillis(0),
            queues: Arc::from([]),
        })
    }

    #[test]
    fn four_starts_within_sixty_seconds_are_volatile_and_three_are_not() {
        assert_eq!(judge(&mut fresh(), 61, &[0, 30, 60], 1), Change::None);
        assert_eq!(
            judge(&mut fresh(), 61, &[0, 20, 40, 60], 1),
            Change::Flagged
        );
        assert_eq!(judge(&mut fresh(), 62, &[0, 20, 40, 61], 1), Change::None);
    }

    #[test]
    fn an_old_burst_read_from_history_flags_nobody() {
        assert_eq!(judge(&mut fresh(), 900, &[0, 20, 40, 60], 1), Change::None);
    }

    #[test]
    fn two_confirmed_cycles_without_a_transition_settle_and_a_transition_starts_over() {
        let mut agent = fresh();
        judge(&mut agent, 61, &[0, 20, 40, 60], 1);
        assert_eq!(judge(&mut agent, 62, &[60], 1), Change::None, "same cycle");
        assert_eq!(judge(&mut agent, 75, &[60], 2), Change::None);
        assert_eq!(judge(&mut agent, 90, &[60, 80], 3), Change::None, "moved");
        assert_eq!(judge(&mut agent, 105, &[60, 80], 4), Change::None);
        assert_eq!(
            judge(&mut agent, 106, &[60, 80], 4),
            Change::None,
            "same cycle"
        );
        assert_eq!(judge(&mut agent, 120, &[60, 80], 5), Change::Settled);
        assert!(agent.volatile.is_none());
    }
}
