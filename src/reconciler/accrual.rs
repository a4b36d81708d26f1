//! Time in state as counters that never fall and conserve time (semantics.md §5, §12.3).
//!
//! Each agent's time is accrued once, up to its last confirmation, by the same timeline that makes
//! window rows. When later evidence shows that accrued time was in another state, the difference
//! becomes debt on the old account, and its next accruals repay it before the counter moves:
//! posted − debt is always the truth as known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::agent::Agent;
use crate::model::event::Chain;
use crate::model::ids::QueueId;
use crate::model::state::RoutingState;
use crate::model::time::{Millis, UnixMillis};
use crate::model::timeline::{Segments, Span, spans};
use crate::model::view::{PerState, UnknownCause};

/// A counter of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Account {
    /// What the counter shows; never falls.
    pub posted: Millis,
    /// How far it is ahead of the truth.
    pub debt: Millis,
}

impl Account {
    /// Adds time, or takes wrongly added time back as debt.
    pub fn add(&mut self, time: Millis) {
        if time.0 < 0 {
            self.debt = self.debt - time;
        } else {
            let repaid = time.min(self.debt);
            self.debt = self.debt - repaid;
            self.posted = self.posted + (time - repaid);
        }
    }
}

/// An account a state.
pub type StateAccounts = PerState<Account>;

/// What all counters show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Every agent once.
    pub organisation: StateAccounts,
    /// By queue; an agent counts in each of its queues.
    pub queues: BTreeMap<QueueId, StateAccounts>,
    /// Unknown time by cause, every agent once.
    pub causes: BTreeMap<UnknownCause, Account>,
}

impl Ledger {
    /// Debt of the organisation's own accounts: each agent once.
    pub fn debt(&self) -> Millis {
        sum(self.organisation.iter().map(|account| account.debt))
    }

    fn add(&mut self, queues: &[QueueId], span: Span, cause: UnknownCause, sign: i64) {
        let time = Millis(span.length().0 * sign);
        let state = span.state.index();
        self.organisation[state].add(time);
        if span.state == RoutingState::Unknown {
            self.causes.entry(cause).or_default().add(time);
        }
        for queue in queues {
            if let Some(accounts) = self.queues.get_mut(queue) {
                accounts[state].add(time);
            }
        }
    }
}

fn sum(parts: impl Iterator<Item = Millis>) -> Millis {
    parts.fold(Millis::ZERO, |total, part| total + part)
}

/// Accrues what has been confirmed since the last time, unless the agent is held as volatile.
pub fn accrue(ledger: &mut Ledger, agent: &mut Agent, tolerance: Millis) {
    let Some((from, to)) = outstanding(agent) else {
        return;
    };
    if agent.volatile.is_some() {
        return;
    }
    let newest = agent.current().map(|held| (held.entered_at, held.state));
    match newest {
        // Nearly always: the current segment reaches back over all that is outstanding.
        Some((entered_at, state)) if entered_at <= from => {
            let span = Span {
                from,
                to,
                state,
                estimated: false,
            };
            post(ledger, agent, span, UnknownCause::Unrecognised, 1);
        }
        Some(_) => {
            let segments = agent.segments();
            for span in spans(&segments, agent.tail(tolerance), from, to) {
                let cause = cause(&segments, span.from);
                post(ledger, agent, span, cause, 1);
            }
        }
        // Never joined: nobody knows, and the hole is not ended.
        None => return,
    }
    agent.accrued_until = Some(to);
}

/// Time that is confirmed but not accrued: held back, for a volatile agent.
pub fn outstanding(agent: &Agent) -> Option<(UnixMillis, UnixMillis)> {
    let to = agent.confirmed_until?;
    let from = agent.accrued_until.or(agent.counted_from)?;
    (from < to).then_some((from, to))
}

/// The part of an agent's past that is accrued already, as it is known now. Taken before a
/// correction and handed to [`restate`] after it.
#[derive(Debug)]
pub struct Accrued {
    until: UnixMillis,
    from: UnixMillis,
    before: Vec<(Span, UnknownCause)>,
}

/// Remembers what was accrued of `agent`; `None` if nothing was.
pub fn remember(agent: &Agent, tolerance: Millis) -> Option<Accrued> {
    let until = agent.accrued_until?;
    let held_from = agent.history.first()?.entered_at;
    let from = if agent.pruned {
        agent.counted_from?.max(held_from)
    } else {
        agent.counted_from?
    };
    let before = if from < until {
        known(agent, tolerance, from, until)
    } else {
        Vec::new()
    };
    Some(Accrued {
        until,
        from,
        before,
    })
}

/// Moves accrued time to where later evidence says it was. A shortfall becomes debt.
pub fn restate(ledger: &mut Ledger, agent: &Agent, accrued: &Accrued, tolerance: Millis) {
    if accrued.from >= accrued.until {
        return;
    }
    let after = known(agent, tolerance, accrued.from, accrued.until);
    if after == accrued.before {
        return;
    }
    for &(span, cause) in &accrued.before {
        post(ledger, agent, span, cause, -1);
    }
    for (span, cause) in after {
        post(ledger, agent, span, cause, 1);
    }
}

fn known(
    agent: &Agent,
    tolerance: Millis,
    from: UnixMillis,
    to: UnixMillis,
) -> Vec<(Span, UnknownCause)> {
    let segments = agent.segments();
    spans(&segments, agent.tail(tolerance), from, to)
        .into_iter()
        .map(|mut span| {
            // Counters do not tell estimated time apart, so it must not count as a difference.
            span.estimated = false;
            (span, cause(&segments, span.from))
        })
        .collect()
}

/// Adds a span to the queues that the agent had at that time.
fn post(ledger: &mut Ledger, agent: &Agent, span: Span, cause: UnknownCause, sign: i64) {
    let versions = &agent.memberships;
    for (index, version) in versions.iter().enumerate() {
        // The first version held also speaks for the time before it.
        let from = if index == 0 {
            span.from
        } else {
            span.from.max(version.from)
        };
        let to = versions
            .get(index + 1)
            .map_or(span.to, |next| span.to.min(next.from));
        if from < to {
            ledger.add(&version.queues, Span { from, to, ..span }, cause, sign);
        }
    }
}

/// Why the time from `at` on is unknown, if it is.
fn cause(segments: &Segments, at: UnixMillis) -> UnknownCause {
    let Some((_, held)) = segments.range(..=at).next_back() else {
        return UnknownCause::NeverJoined;
    };
    if held.state == RoutingState::Unknown {
        return UnknownCause::Unrecognised;
    }
    let next = segments
        .range((std::ops::Bound::Excluded(at), std::ops::Bound::Unbounded))
        .next();
    match next {
        Some((_, after)) => match after.chain {
            Chain::Alone { .. } if after.state != held.state => UnknownCause::Hole,
            _ => UnknownCause::Hidden,
        },
        None => UnknownCause::Hole,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::agent::Membership;
    use super::super::evidence::{Evidence, apply};
    use super::RoutingState::{Available, OnCall, Unknown};
    use super::*;
    use crate::model::state::Source;
    use crate::upstream::wire::{RoutingEntry, RoutingStates};

    const TOLERANCE: Millis = Millis::from_secs(37);

    fn at(seconds: i64) -> UnixMillis {
        UnixMillis(seconds * 1_000)
    }

    fn agent(queues: &[&str]) -> (Ledger, Agent) {
        let queues: Vec<QueueId> = queues.iter().map(|q| QueueId::new(q)).collect();
        let mut ledger = Ledger::default();
        for queue in &queues {
            ledger
                .queues
                .insert(queue.clone(), StateAccounts::default());
        }
        let mut agent = Agent::new(Membership {
            from: at(0),
            queues: Arc::from(queues),
        });
        agent.counted_from = Some(at(0));
        (ledger, agent)
    }

    /// An answer told at `told` with these entries, accrued at once as the reconciler does it.
    fn tell(ledger: &mut Ledger, agent: &mut Agent, told: i64, entries: &[(i64, RoutingState)]) {
        let answer = RoutingStates {
            entries: entries
                .iter()
                .map(|&(s, state)| RoutingEntry {
                    state,
                    raw_state: None,
                    wrapup_code: None,
                    entered_at: at(s),
                    estimated: false,
                })
                .collect(),
            refused: Vec::new(),
        };
        let evidence = Evidence {
            source: Source::Routing,
            confirms: at(told),
            latest: at(told),
            ingested_at: at(told),
            tolerance: TOLERANCE,
        };
        let accrued = remember(agent, TOLERANCE);
        apply(agent, &answer, &evidence);
        if let Some(accrued) = accrued {
            restate(ledger, agent, &accrued, TOLERANCE);
        }
        accrue(ledger, agent, TOLERANCE);
    }

    fn posted(ledger: &Ledger, state: RoutingState) -> i64 {
        ledger.organisation[state.index()].posted.0 / 1_000
    }

    #[test]
    fn time_is_accrued_once_up_to_the_confirmation_and_split_at_platform_times() {
        let (mut ledger, mut agent) = agent(&["q1", "q2"]);
        tell(&mut ledger, &mut agent, 100, &[(40, Available)]);
        assert_eq!(posted(&ledger, Unknown), 40);
        assert_eq!(posted(&ledger, Available), 60);
        tell(
            &mut ledger,
            &mut agent,
            150,
            &[(40, Available), (120, OnCall)],
        );
        assert_eq!(posted(&ledger, Available), 80);
        assert_eq!(posted(&ledger, OnCall), 30);
        for queue in ledger.queues.values() {
            assert_eq!(queue[OnCall.index()].posted, Millis::from_secs(30));
        }
        assert_eq!(
            ledger.causes[&UnknownCause::NeverJoined].posted,
            Millis::from_secs(40)
        );
    }

    #[test]
    fn over_accrued_time_becomes_debt_that_is_repaid_before_the_counter_moves() {
        let (mut ledger, mut agent) = agent(&["q"]);
        tell(&mut ledger, &mut agent, 10, &[(0, Available)]);
        // A stale snapshot confirms Available until 60 although the call began at 30.
        agent.confirmed_until = Some(at(60));
        accrue(&mut ledger, &mut agent, TOLERANCE);
        assert_eq!(posted(&ledger, Available), 60);
        tell(&mut ledger, &mut agent, 70, &[(0, Available), (30, OnCall)]);
        assert_eq!(posted(&ledger, Available), 60, "a counter never falls");
        assert_eq!(posted(&ledger, OnCall), 40);
        assert_eq!(ledger.debt(), Millis::from_secs(30));
        tell(
            &mut ledger,
            &mut agent,
            120,
            &[(30, OnCall), (80, Available)],
        );
        assert_eq!(posted(&ledger, Available), 70, "30 s of 40 repay the debt");
        assert_eq!(ledger.debt(), Millis::ZERO);
    }

    #[test]
    fn a_hole_accrues_when_the_answer_that_ends_it_has_come() {
        let (mut ledger, mut agent) = agent(&["q"]);
        tell(&mut ledger, &mut agent, 10, &[(0, Available)]);
        tell(&mut ledger, &mut agent, 500, &[(400, OnCall)]);
        assert_eq!(posted(&ledger, Available), 10);
        assert_eq!(posted(&ledger, Unknown), 390);
        assert_eq!(posted(&ledger, OnCall), 100);
        assert_eq!(
            ledger.causes[&UnknownCause::Hole].posted,
            Millis::from_secs(390)
        );
    }

    #[test]
    fn time_before_a_move_goes_to_the_old_queues() {
        let (mut ledger, mut agent) = agent(&["old"]);
        ledger
            .queues
            .insert(QueueId::new("new"), StateAccounts::default());
        tell(&mut ledger, &mut agent, 10, &[(0, Available)]);
        agent.move_to(Arc::from([QueueId::new("new")]), at(50));
        tell(&mut ledger, &mut agent, 80, &[(0, Available)]);
        let of = |queue: &str| ledger.queues[queue][Available.index()].posted;
        assert_eq!(
            (of("old"), of("new")),
            (Millis::from_secs(50), Millis::from_secs(30))
        );
        assert_eq!(posted(&ledger, Available), 80);
    }

    #[test]
    fn a_volatile_agents_time_is_held_and_then_accrued_whole() {
        let (mut ledger, mut agent) = agent(&["q"]);
        tell(&mut ledger, &mut agent, 10, &[(0, Available)]);
        agent.volatile = Some(Box::new(super::super::agent::VolatileHold {
            settled_cycles: 0,
            counted_cycle: 0,
        }));
        tell(&mut ledger, &mut agent, 60, &[(0, Available), (20, OnCall)]);
        assert_eq!(posted(&ledger, Available), 10);
        assert_eq!(outstanding(&agent), Some((at(10), at(60))));
        agent.volatile = None;
        accrue(&mut ledger, &mut agent, TOLERANCE);
        assert_eq!(
            (posted(&ledger, Available), posted(&ledger, OnCall)),
            (20, 40)
        );
    }
}
