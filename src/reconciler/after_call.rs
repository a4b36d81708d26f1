//! Since when after-call work goes on. The platform moves no start time when a call ends and its
//! after-call work begins, so that start is observed and marked as estimated, until the platform
//! tells it in the one place where it does: then the estimated event is withdrawn and the true one
//! takes its place (semantics.md §12.11).

use super::accrual;
use super::agent::{Agent, Held};
use super::reconcile::Reconciler;
use crate::model::event::Chain;
use crate::model::ids::UserId;
use crate::model::state::{RoutingState, Source};
use crate::model::time::UnixMillis;

use super::evidence::{Applied, FUTURE_TOLERANCE, Verdict};

/// Agents noted until somebody takes them; what exceeds keeps its estimate. A snapshot of the
/// largest organisation finds fewer, since calls last longer than polls are apart.
const NOTED_MAX: usize = 10_000;

/// A start that was observed, and what it is replaced by.
struct Replaced {
    gone: Held,
    previous: RoutingState,
    applied: Applied,
}

/// Puts `since` in the place of the observed start that it is the true one of: of after-call work
/// that was seen then or later, after a call that began before. What is observed is dated by the
/// least that the platform's clock can have shown, so it may be a little early. `unbroken`: since
/// when every change of the agent is told.
fn replace(agent: &mut Agent, since: UnixMillis, unbroken: Option<UnixMillis>) -> Option<Replaced> {
    let index = agent.history.windows(2).rposition(|pair| {
        let [before, held] = pair else {
            unreachable!("windows of two");
        };
        let observed = held.estimated && held.state == RoutingState::WrapUp;
        observed && before.entered_at < since && since <= held.entered_at + FUTURE_TOLERANCE
    })?;
    let next = agent.history.get(index + 2);
    if next.is_some_and(|next| next.entered_at <= since) {
        return None;
    }
    let before = &agent.history[index];
    let (called_at, previous) = (before.entered_at, before.state);
    let gone = agent.history[index + 1].clone();
    let moved = gone.entered_at != since;
    agent.confirmed_until = agent.confirmed_until.max(Some(since));
    let held = &mut agent.history[index + 1];
    held.entered_at = since;
    held.estimated = false;
    held.source = held.source.max(Source::Routing);
    held.revision = if moved { 1 } else { gone.revision + 1 };
    held.chain = joined(gone.chain, called_at, since, unbroken);
    let mut applied = Applied {
        verdict: Verdict::Current,
        changed: vec![since],
        ..Applied::default()
    };
    if let Some(next) = agent.history.get_mut(index + 2)
        && next.chain
            == (Chain::Follows {
                entered_at: gone.entered_at,
            })
        && moved
    {
        next.chain = Chain::Follows { entered_at: since };
        next.revision += 1;
        applied.changed.push(next.entered_at);
    }
    Some(Replaced {
        gone,
        previous,
        applied,
    })
}

/// How the true start is joined to the call. If every change is told since before the call was
/// confirmed last, no other lay between.
fn joined(
    chain: Chain,
    called_at: UnixMillis,
    since: UnixMillis,
    unbroken: Option<UnixMillis>,
) -> Chain {
    match chain {
        Chain::Alone { known_until, .. } if unbroken.is_some_and(|from| from <= known_until) => {
            Chain::Follows {
                entered_at: called_at,
            }
        }
        Chain::Alone {
            known_until,
            tolerance,
        } => Chain::Alone {
            known_until: known_until.min(since),
            tolerance,
        },
        Chain::Gap { known_until } => Chain::Gap {
            known_until: known_until.map(|known| known.min(since)),
        },
        Chain::Follows { .. } => chain,
    }
}

impl Reconciler {
    /// After-call work that has just begun, at an instant that was observed.
    pub(super) fn note_after_call(&mut self, user: &UserId, added: &[UnixMillis]) {
        let current = self.agents.get(user).and_then(Agent::current);
        let begun = current.is_some_and(|held| {
            held.estimated
                && held.state == RoutingState::WrapUp
                && added.binary_search(&held.entered_at).is_ok()
        });
        if begun && self.after_call.len() < NOTED_MAX {
            self.after_call.push(user.clone());
        }
    }

    /// Agents noted since the last time.
    pub fn take_after_call(&mut self) -> Vec<UserId> {
        std::mem::take(&mut self.after_call)
    }

    /// Whether an agent is in after-call work of which only an observed start is known.
    pub fn wants_start(&self, user: &UserId) -> bool {
        let current = self.agents.get(user).and_then(Agent::current);
        current.is_some_and(|held| held.estimated && held.state == RoutingState::WrapUp)
    }

    /// Takes in since when an agent is in after-call work. `unbroken`: since when every change of
    /// the agent is told. True if it says more than was known.
    pub fn on_after_call_since(
        &mut self,
        user: &UserId,
        since: UnixMillis,
        unbroken: Option<UnixMillis>,
    ) -> bool {
        let tolerance = self.tolerance();
        let Some(agent) = self.agents.get_mut(user) else {
            return false;
        };
        let accrued = accrual::remember(agent, tolerance);
        let Some(replaced) = replace(agent, since, unbroken) else {
            return false;
        };
        if let Some(accrued) = accrued {
            accrual::restate(&mut self.ledger, agent, &accrued, tolerance);
        }
        self.changes.agents.insert(user.clone());
        if replaced.gone.entered_at != since {
            // What waits to be filled before it ends where it truly begins.
            for hole in &mut agent.holes {
                if hole.until == replaced.gone.entered_at {
                    hole.until = since;
                    self.holes.push((user.clone(), *hole));
                }
            }
            self.withdraw(user, &replaced.gone, replaced.previous);
        }
        self.emit(user, &replaced.applied);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::agent::Membership;
    use super::RoutingState::{Available, OnCall, WrapUp};
    use super::*;
    use crate::model::time::Millis;
    use crate::model::timeline::spans;

    const TOLERANCE: Millis = Millis::from_secs(37);

    fn at(seconds: i64) -> UnixMillis {
        UnixMillis(seconds * 1_000)
    }

    fn held(seconds: i64, state: RoutingState, chain: Chain) -> Held {
        Held {
            estimated: state == WrapUp,
            ..Held::example(seconds, state, chain)
        }
    }

    fn alone(seconds: i64) -> Chain {
        Chain::Alone {
            known_until: at(seconds),
            tolerance: TOLERANCE,
        }
    }

    /// On call since 100, last seen so at 190; after-call work seen at 205, and ready at 230.
    fn agent() -> Agent {
        let mut agent = Agent::new(Membership {
            from: at(0),
            queues: Arc::from([]),
        });
        agent.history = vec![
            held(100, OnCall, Chain::Gap { known_until: None }),
            held(205, WrapUp, alone(190)),
            held(
                230,
                Available,
                Chain::Follows {
                    entered_at: at(205),
                },
            ),
        ];
        agent.confirmed_until = Some(at(240));
        agent
    }

    fn painted(agent: &Agent) -> Vec<(RoutingState, i64, bool)> {
        let spans = spans(&agent.segments(), agent.tail(TOLERANCE), at(100), at(240));
        let said = |span: &crate::model::timeline::Span| {
            (span.state, span.length().0 / 1_000, span.estimated)
        };
        spans.iter().map(said).collect()
    }

    #[test]
    fn the_true_start_replaces_the_observed_one() {
        let mut agent = agent();
        let replaced = replace(&mut agent, at(200), None).unwrap();
        assert_eq!(replaced.gone.entered_at, at(205));
        assert_eq!(replaced.previous, OnCall);
        assert_eq!(replaced.applied.changed, [at(200), at(230)]);
        assert!(replaced.applied.added.is_empty(), "no second transition");
        // A poll's time before the start is still an estimate, as for every change that is polled.
        assert_eq!(
            painted(&agent),
            [
                (OnCall, 90, false),
                (OnCall, 10, true),
                (WrapUp, 30, false),
                (Available, 10, false)
            ]
        );
        assert!(replace(&mut agent, at(200), None).is_none(), "once");
    }

    #[test]
    fn where_every_change_is_told_nothing_of_it_is_an_estimate() {
        let mut agent = agent();
        replace(&mut agent, at(200), Some(at(190))).unwrap();
        assert_eq!(
            painted(&agent),
            [
                (OnCall, 100, false),
                (WrapUp, 30, false),
                (Available, 10, false)
            ]
        );
        let mut agent = self::agent();
        replace(&mut agent, at(200), Some(at(191))).unwrap();
        assert_eq!(painted(&agent)[1], (OnCall, 10, true), "told too late");
    }

    #[test]
    fn a_start_that_was_observed_to_the_millisecond_is_no_estimate_any_more() {
        let mut agent = agent();
        let replaced = replace(&mut agent, at(205), None).unwrap();
        assert_eq!(replaced.applied.changed, [at(205)]);
        assert_eq!(agent.history[1].revision, 2);
        assert!(!agent.history[1].estimated);
    }

    #[test]
    fn what_was_dated_a_little_early_is_dated_right() {
        let mut agent = agent();
        let replaced = replace(&mut agent, at(206), Some(at(190))).unwrap();
        assert_eq!(replaced.gone.entered_at, at(205));
        assert_eq!(
            painted(&agent)[..2],
            [(OnCall, 106, false), (WrapUp, 24, false)]
        );
    }

    #[test]
    fn a_start_of_other_after_call_work_changes_nothing() {
        for seconds in [90, 100, 211, 300] {
            let mut agent = agent();
            assert!(
                replace(&mut agent, at(seconds), None).is_none(),
                "{seconds}"
            );
            assert_eq!(agent, self::agent());
        }
    }
}
