//! Applying one answer about one agent: which segments it adds, corrects or proves.
//!
//! Pure and small on purpose: this is where semantics.md §2 and §12.2 live. It returns what
//! changed; emitting events and accruing time is for the stages that called it.

use crate::model::event::Chain;
use crate::model::state::{RoutingState, Source};
use crate::model::time::{Millis, UnixMillis};
use crate::upstream::wire::{RoutingEntry, RoutingStates};

use super::agent::{Agent, Held};

/// A start this much later than the platform's clock can have shown is refused: it covers the
/// granularity of the skew measurement, not a wrong clock.
pub const FUTURE_TOLERANCE: Millis = Millis::from_secs(5);

/// When and by whom an answer was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Who says it.
    pub source: Source,
    /// The answer describes the platform at this instant or later (lower bound of sending).
    pub confirms: UnixMillis,
    /// The platform's clock showed at most this when the answer arrived.
    pub latest: UnixMillis,
    /// When it arrived, by our clock.
    pub ingested_at: UnixMillis,
    /// The gap tolerance in force.
    pub tolerance: Millis,
}

/// What an answer did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// What kind of answer it was.
    pub verdict: Verdict,
    /// Starts of segments that were added or corrected, ascending.
    pub changed: Vec<UnixMillis>,
    /// Starts that were added, ascending; a subset of `changed`.
    pub added: Vec<UnixMillis>,
    /// Statements that a higher authority contradicts.
    pub conflicts: u32,
    /// The agent left its state and came back unseen.
    pub hidden: bool,
}

/// What kind of answer it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// It says what state the agent is in.
    Current,
    /// No entry at all: unknown, which changes nothing.
    #[default]
    Empty,
    /// Older than what is known: changes nothing.
    Stale,
    /// An entry could not be true or read: the agent keeps its previous state.
    Invalid,
}

/// Applies `answer` to `agent`. Time is not accrued here.
pub fn apply(agent: &mut Agent, answer: &RoutingStates, evidence: &Evidence) -> Applied {
    let mut applied = Applied::default();
    let future = |entry: &RoutingEntry| entry.entered_at > evidence.latest + FUTURE_TOLERANCE;
    if !answer.refused.is_empty() || answer.entries.iter().any(future) {
        applied.verdict = Verdict::Invalid;
        return applied;
    }
    let Some(newest) = answer.entries.last() else {
        return applied;
    };
    if agent
        .current()
        .is_some_and(|current| newest.entered_at < current.entered_at)
    {
        applied.verdict = Verdict::Stale;
        return applied;
    }
    applied.verdict = Verdict::Current;
    let first_kept = if agent.pruned {
        agent.history.first().map(|held| held.entered_at)
    } else {
        None
    };
    let before = agent.current().map(|held| (held.entered_at, held.state));
    let told = answer.entries.iter().filter(|e| !e.estimated).count();
    for (position, entry) in answer.entries.iter().enumerate() {
        if first_kept.is_some_and(|first| entry.entered_at < first) {
            continue;
        }
        // A start that we observed is no statement about what lay before it.
        let predecessor = position
            .checked_sub(1)
            .filter(|_| !entry.estimated)
            .map(|previous| answer.entries[previous].entered_at);
        merge(agent, entry, predecessor, told, evidence, &mut applied);
    }
    applied.hidden = before.is_some_and(|(start, state)| came_back_unseen(agent, start, state));
    confirm(agent, newest.entered_at, evidence);
    applied
}

/// Whether what follows the formerly current segment shows an excursion that nobody saw.
fn came_back_unseen(agent: &Agent, start: UnixMillis, state: RoutingState) -> bool {
    let after = agent.history.iter().find(|held| held.entered_at > start);
    after.is_some_and(|next| match next.chain {
        Chain::Follows { .. } => false,
        Chain::Gap { .. } => true,
        Chain::Alone { .. } => next.state == state,
    })
}

fn confirm(agent: &mut Agent, entered_at: UnixMillis, evidence: &Evidence) {
    let instant = evidence.confirms.max(entered_at);
    agent.confirmed_until = agent.confirmed_until.max(Some(instant));
    agent.routing_confirmed_at = agent.routing_confirmed_at.max(Some(instant));
    agent.ingested_at = agent.ingested_at.max(evidence.ingested_at);
}

/// Brings one entry into the history.
fn merge(
    agent: &mut Agent,
    entry: &RoutingEntry,
    predecessor: Option<UnixMillis>,
    told: usize,
    evidence: &Evidence,
    applied: &mut Applied,
) {
    let chain = predecessor.map(|entered_at| Chain::Follows { entered_at });
    match agent
        .history
        .binary_search_by_key(&entry.entered_at, |held| held.entered_at)
    {
        Ok(index) => {
            let held = &mut agent.history[index];
            if correct(held, entry, chain, evidence, applied) {
                held.revision += 1;
                held.ingested_at = evidence.ingested_at;
                applied.changed.push(entry.entered_at);
            }
        }
        Err(index) => {
            let chain =
                chain.unwrap_or_else(|| chain_of_oldest(agent, index, entry, told, evidence));
            // Most agents have one or two; room for four each is much among many.
            agent.history.reserve_exact(1);
            agent.history.insert(
                index,
                Held {
                    entered_at: entry.entered_at,
                    state: entry.state,
                    raw_state: entry.raw_state.clone(),
                    wrapup_code: entry.wrapup_code.clone(),
                    source: evidence.source,
                    revision: 1,
                    chain,
                    ingested_at: evidence.ingested_at,
                    estimated: entry.estimated,
                },
            );
            applied.changed.push(entry.entered_at);
            applied.added.push(entry.entered_at);
        }
    }
}

/// Corrects a held segment where the entry says otherwise; true if anything changed.
fn correct(
    held: &mut Held,
    entry: &RoutingEntry,
    chain: Option<Chain>,
    evidence: &Evidence,
    applied: &mut Applied,
) -> bool {
    let mut changed = false;
    if held.state != entry.state || held.raw_state != entry.raw_state {
        // A state that this version did not know is no statement to contradict.
        let known = held.state != RoutingState::Unknown;
        if evidence.source < held.source && known {
            applied.conflicts += 1;
        } else {
            held.state = entry.state;
            held.raw_state.clone_from(&entry.raw_state);
            changed = true;
        }
    }
    if entry.wrapup_code.is_some() && held.wrapup_code != entry.wrapup_code {
        held.wrapup_code.clone_from(&entry.wrapup_code);
        changed = true;
    }
    if let Some(chain) = chain
        && held.chain != chain
    {
        held.chain = chain;
        changed = true;
    }
    if held.estimated && !entry.estimated {
        // Its start is told now.
        held.estimated = false;
        changed = true;
    }
    if changed {
        held.source = held.source.max(evidence.source);
    }
    changed
}

/// How a new segment that heads its answer, or whose start we observed, is joined to what is held
/// before position `index`. `told`: how many starts the answer told.
fn chain_of_oldest(
    agent: &Agent,
    index: usize,
    entry: &RoutingEntry,
    told: usize,
    evidence: &Evidence,
) -> Chain {
    let Some(previous) = index.checked_sub(1).map(|at| &agent.history[at]) else {
        return Chain::Gap { known_until: None };
    };
    if index < agent.history.len() {
        // Between two held segments: the later one says how far the earlier was believed.
        let known_until = match agent.history[index].chain {
            Chain::Alone { known_until, .. } => Some(known_until),
            Chain::Gap { known_until } => known_until,
            Chain::Follows { .. } => Some(previous.entered_at),
        };
        return Chain::Gap {
            known_until: known_until.map(|known| known.min(entry.entered_at)),
        };
    }
    let confirmed = agent.confirmed_until.unwrap_or(previous.entered_at);
    let known_until = if confirmed > entry.entered_at {
        // A cached answer confirmed beyond the truth: only what the agent's own answers said holds.
        agent
            .routing_confirmed_at
            .unwrap_or(previous.entered_at)
            .min(entry.entered_at)
    } else {
        // One answer may add both a start that it told and one that we observed after it.
        confirmed.max(previous.entered_at)
    };
    if told <= 1 || entry.estimated {
        Chain::Alone {
            known_until,
            tolerance: evidence.tolerance,
        }
    } else {
        Chain::Gap {
            known_until: Some(known_until),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::agent::Membership;
    use super::RoutingState::{Available, NotReady, OnCall, WrapUp};
    use super::*;

    fn at(seconds: i64) -> UnixMillis {
        UnixMillis(seconds * 1_000)
    }

    fn answer(entries: &[(i64, RoutingState)]) -> RoutingStates {
        RoutingStates {
            entries: entries
                .iter()
                .map(|&(seconds, state)| RoutingEntry {
                    state,
                    raw_state: None,
                    wrapup_code: None,
                    entered_at: at(seconds),
                    estimated: false,
                })
                .collect(),
            refused: Vec::new(),
        }
    }

    fn told(seconds: i64, source: Source) -> Evidence {
        Evidence {
            source,
            confirms: at(seconds),
            latest: at(seconds),
            ingested_at: at(seconds),
            tolerance: Millis::from_secs(37),
        }
    }

    fn agent_after(answers: &[(i64, &[(i64, RoutingState)])]) -> (Agent, Applied) {
        let mut agent = Agent::new(Membership {
            from: at(0),
            queues: Arc::from([]),
        });
        let mut last = Applied::default();
        for (told_at, entries) in answers {
            last = apply(
                &mut agent,
                &answer(entries),
                &told(*told_at, Source::Routing),
            );
        }
        (agent, last)
    }

    fn chains(agent: &Agent) -> Vec<Chain> {
        agent.history.iter().map(|held| held.chain).collect()
    }

    #[test]
    fn the_same_start_and_state_only_confirms() {
        let (agent, applied) = agent_after(&[(10, &[(5, Available)]), (900, &[(5, Available)])]);
        assert_eq!(applied.verdict, Verdict::Current);
        assert!(applied.changed.is_empty());
        assert_eq!(agent.confirmed_until, Some(at(900)));
    }

    #[test]
    fn several_entries_with_the_known_one_prove_what_lies_between() {
        let (agent, applied) = agent_after(&[
            (10, &[(5, Available)]),
            (500, &[(5, Available), (300, OnCall), (400, WrapUp)]),
        ]);
        assert_eq!(applied.added, [at(300), at(400)]);
        assert!(!applied.hidden);
        assert_eq!(
            chains(&agent)[1..],
            [
                Chain::Follows { entered_at: at(5) },
                Chain::Follows {
                    entered_at: at(300)
                }
            ]
        );
    }

    #[test]
    fn several_entries_without_the_known_one_leave_a_gap() {
        let (agent, applied) =
            agent_after(&[(10, &[(5, Available)]), (20, &[(15, OnCall), (18, WrapUp)])]);
        assert!(applied.hidden);
        assert_eq!(
            chains(&agent)[1],
            Chain::Gap {
                known_until: Some(at(10))
            }
        );
    }

    #[test]
    fn one_entry_stands_alone_from_the_last_confirmation() {
        let (agent, applied) = agent_after(&[(10, &[(5, Available)]), (20, &[(15, OnCall)])]);
        assert!(!applied.hidden);
        assert_eq!(
            chains(&agent)[1],
            Chain::Alone {
                known_until: at(10),
                tolerance: Millis::from_secs(37)
            }
        );
        let (_, back) = agent_after(&[(10, &[(5, Available)]), (20, &[(15, Available)])]);
        assert!(back.hidden, "it left and came back unseen");
    }

    #[test]
    fn a_cached_confirmation_beyond_the_truth_is_not_believed() {
        let (mut agent, _) = agent_after(&[(10, &[(5, Available)])]);
        agent.confirmed_until = Some(at(60)); // a stale snapshot said so
        apply(
            &mut agent,
            &answer(&[(30, OnCall)]),
            &told(70, Source::Routing),
        );
        assert_eq!(
            chains(&agent)[1],
            Chain::Alone {
                known_until: at(10),
                tolerance: Millis::from_secs(37)
            }
        );
    }

    #[test]
    fn a_stale_answer_changes_nothing() {
        let (agent, applied) = agent_after(&[(50, &[(40, OnCall)]), (60, &[(5, Available)])]);
        assert_eq!(applied.verdict, Verdict::Stale);
        assert_eq!(agent.current().unwrap().state, OnCall);
        assert_eq!(agent.confirmed_until, Some(at(50)));
    }

    #[test]
    fn an_older_entry_fills_a_hole_and_the_later_start_is_revised() {
        let (agent, applied) = agent_after(&[
            (10, &[(5, Available)]),
            (100, &[(90, NotReady)]),
            (110, &[(5, Available), (50, OnCall), (90, NotReady)]),
        ]);
        assert_eq!(applied.added, [at(50)]);
        assert_eq!(applied.changed, [at(50), at(90)]);
        assert_eq!(agent.history[2].revision, 2);
        assert_eq!(chains(&agent)[2], Chain::Follows { entered_at: at(50) });
    }

    #[test]
    fn on_a_tie_the_higher_authority_wins_and_the_lower_is_a_conflict() {
        let (mut agent, _) = agent_after(&[(10, &[(5, OnCall)])]);
        let low = apply(
            &mut agent,
            &answer(&[(5, Available)]),
            &told(20, Source::History),
        );
        assert_eq!((low.conflicts, low.changed.len()), (1, 0));
        let high = apply(
            &mut agent,
            &answer(&[(5, Available)]),
            &told(30, Source::Override),
        );
        assert_eq!((high.conflicts, high.changed), (0, vec![at(5)]));
        let held = agent.current().unwrap();
        assert_eq!(
            (held.state, held.revision, held.source),
            (Available, 2, Source::Override)
        );
    }

    #[test]
    fn a_state_that_is_known_replaces_an_unrecognised_one_whoever_told_that() {
        let (mut agent, _) = agent_after(&[]);
        let unrecognised = [(5, RoutingState::Unknown)];
        apply(
            &mut agent,
            &answer(&unrecognised),
            &told(10, Source::Override),
        );
        let known = apply(
            &mut agent,
            &answer(&[(5, NotReady)]),
            &told(20, Source::Routing),
        );
        assert_eq!((known.conflicts, known.changed), (0, vec![at(5)]));
        assert_eq!(agent.current().unwrap().state, NotReady);
    }

    #[test]
    fn what_cannot_be_true_is_refused_alone() {
        let (agent, applied) = agent_after(&[(10, &[(5, OnCall)]), (20, &[(26, Available)])]);
        assert_eq!(applied.verdict, Verdict::Invalid);
        assert_eq!(agent.current().unwrap().state, OnCall);
        let (_, slightly) = agent_after(&[(20, &[(25, Available)])]);
        assert_eq!(slightly.verdict, Verdict::Current);
    }

    #[test]
    fn no_entries_say_nothing() {
        let (agent, applied) = agent_after(&[(10, &[(5, OnCall)]), (20, &[])]);
        assert_eq!(applied.verdict, Verdict::Empty);
        assert_eq!(agent.confirmed_until, Some(at(10)));
    }
}
