//! The hourly check against the live platform (semantics.md §9, §12.4): a sample of active agents
//! is asked directly and compared with what we hold.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::model::ids::UserId;
use crate::model::state::RoutingState;
use crate::model::time::{Millis, UnixMillis};
use crate::model::view::DivergenceView;
use crate::upstream::wire::RoutingEntry;

/// What is held of an agent when its live answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldState {
    /// The aggregate's state.
    pub state: RoutingState,
    /// Latest instant for which it is confirmed.
    pub confirmed_until: Option<UnixMillis>,
}

/// The running validation, and what earlier ones found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Divergence {
    /// Results so far.
    pub view: DivergenceView,
    #[serde(skip)]
    running: Option<Round>,
}

#[derive(Debug, Clone, Default)]
struct Round {
    to_ask: VecDeque<UserId>,
    asked: BTreeSet<UserId>,
    compared: u64,
    divergent: Vec<UserId>,
    failed: u64,
}

/// How a validation ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Agents whose held state was wrong.
    pub divergent: Vec<UserId>,
    /// Divergent ÷ compared.
    pub ratio: f64,
    /// More than is allowed.
    pub exceeded: bool,
}

impl Divergence {
    /// Whether a validation is under way.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Begins a validation of a share of `active`, at least one agent, chosen by a hash of
    /// `seed` so that a run can be repeated. False if nobody is active.
    pub fn begin(&mut self, active: &[&UserId], share: f64, seed: u64) -> bool {
        if active.is_empty() {
            return false;
        }
        let size = ((active.len() as f64 * share).ceil() as usize).clamp(1, active.len());
        let mut drawn: Vec<(u64, &UserId)> = active
            .iter()
            .map(|&user| (hash(seed, user.as_str()), user))
            .collect();
        drawn.sort_unstable();
        self.running = Some(Round {
            to_ask: drawn
                .into_iter()
                .take(size)
                .map(|(_, user)| user.clone())
                .collect(),
            ..Round::default()
        });
        true
    }

    /// The next agent to ask.
    pub fn next(&self) -> Option<&UserId> {
        self.running.as_ref()?.to_ask.front()
    }

    /// The agent that [`Self::next`] named is being asked.
    pub fn asked(&mut self) {
        if let Some(round) = &mut self.running
            && let Some(user) = round.to_ask.pop_front()
        {
            round.asked.insert(user);
        }
    }

    /// No answer about this agent can be had.
    pub fn failed(&mut self, user: &UserId) {
        if let Some(round) = &mut self.running
            && round.asked.remove(user)
        {
            round.failed += 1;
        }
    }

    /// Compares a live answer with what is held. `race_from`: a live state entered after this and
    /// after our last confirmation is news rather than divergence.
    pub fn compare(
        &mut self,
        user: &UserId,
        live: Option<&RoutingEntry>,
        held: Option<HeldState>,
        race_from: UnixMillis,
    ) {
        let Some(round) = &mut self.running else {
            return;
        };
        if !round.asked.remove(user) {
            return;
        }
        let (Some(live), Some(held)) = (live, held) else {
            round.failed += 1;
            return;
        };
        if live.state == held.state {
            round.compared += 1;
        } else if held
            .confirmed_until
            .is_none_or(|known| live.entered_at > known)
            && live.entered_at >= race_from
        {
            self.view.races += 1;
        } else {
            round.compared += 1;
            round.divergent.push(user.clone());
        }
    }

    /// Ends the validation once every answer has come; `None` while some are missing.
    pub fn finish(&mut self, max: f64) -> Option<Finding> {
        let round = self.running.as_ref()?;
        if !round.to_ask.is_empty() || !round.asked.is_empty() {
            return None;
        }
        let round = self.running.take()?;
        let ratio = if round.compared == 0 {
            0.0
        } else {
            round.divergent.len() as f64 / round.compared as f64
        };
        let exceeded = ratio > max;
        self.view.compared = round.compared;
        if round.compared > 0 {
            self.view.ratio = Some(ratio);
        }
        if exceeded {
            self.view.diverged += 1;
        } else if round.failed > 0 || round.compared == 0 {
            self.view.incomplete += 1;
        } else {
            self.view.ok += 1;
        }
        Some(Finding {
            divergent: round.divergent,
            ratio,
            exceeded,
        })
    }

    /// Gives up what was not asked yet: the budget has no room, or polling is paused.
    pub fn abandon_rest(&mut self) {
        if let Some(round) = &mut self.running {
            round.failed += round.to_ask.len() as u64;
            round.to_ask.clear();
        }
    }
}

/// A live state entered this recently may be news: interval, cache and answer all lag.
pub fn race_span(interval: Millis, cache_age: Millis, timeout: Millis) -> Millis {
    interval + cache_age + timeout
}

/// FNV-1a over the seed and the text: stable across runs and platforms.
fn hash(seed: u64, text: &str) -> u64 {
    seed.to_le_bytes()
        .iter()
        .chain(text.as_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use super::RoutingState::{Available, OnCall};
    use super::*;

    fn users(count: usize) -> Vec<UserId> {
        (0..count).map(|k| UserId::new(&format!("u{k}"))).collect()
    }

    fn live(state: RoutingState, seconds: i64) -> RoutingEntry {
        RoutingEntry {
            state,
            raw_state: None,
            wrapup_code: None,
            entered_at: UnixMillis(seconds * 1_000),
            estimated: false,
        }
    }

    const HELD: Option<HeldState> = Some(HeldState {
        state: Available,
        confirmed_until: Some(UnixMillis(100_000)),
    });
    const RACE_FROM: UnixMillis = UnixMillis(90_000);

    fn run(count: usize, answers: &[RoutingEntry]) -> (Divergence, Finding) {
        let users = users(count);
        let mut check = Divergence::default();
        assert!(check.begin(&users.iter().collect::<Vec<_>>(), 1.0, 7));
        let mut answers = answers.iter().cycle();
        while let Some(user) = check.next().cloned() {
            assert_eq!(check.finish(0.05), None);
            check.asked();
            check.compare(&user, answers.next(), HELD, RACE_FROM);
        }
        let finding = check.finish(0.05).unwrap();
        (check, finding)
    }

    #[test]
    fn the_sample_is_a_share_rounded_up_and_repeatable() {
        let users = users(11);
        let active: Vec<_> = users.iter().collect();
        let draw = |seed| {
            let mut check = Divergence::default();
            check.begin(&active, 0.20, seed);
            let mut drawn = Vec::new();
            while let Some(user) = check.next().cloned() {
                check.asked();
                drawn.push(user);
            }
            drawn
        };
        assert_eq!(draw(1).len(), 3);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(!Divergence::default().begin(&[], 0.2, 1));
    }

    #[test]
    fn one_wrong_in_twenty_is_allowed_and_one_more_is_not() {
        let mut answers = vec![live(Available, 10); 19];
        answers.push(live(OnCall, 50));
        let (check, finding) = run(20, &answers);
        assert!(!finding.exceeded && finding.divergent.len() == 1);
        assert_eq!((check.view.ok, check.view.compared), (1, 20));
        answers.push(live(OnCall, 50));
        let (check, finding) = run(21, &answers);
        assert!(finding.exceeded);
        assert_eq!(check.view.diverged, 1);
    }

    #[test]
    fn a_change_after_our_last_confirmation_is_a_race_only_if_recent() {
        let (check, finding) = run(2, &[live(OnCall, 101), live(Available, 5)]);
        assert_eq!((check.view.races, check.view.compared), (1, 1));
        assert!(finding.divergent.is_empty());
        let users = users(1);
        let mut check = Divergence::default();
        check.begin(&[&users[0]], 1.0, 1);
        check.asked();
        let long_unconfirmed = Some(HeldState {
            state: Available,
            confirmed_until: Some(UnixMillis(1_000)),
        });
        check.compare(
            &users[0],
            Some(&live(OnCall, 20)),
            long_unconfirmed,
            RACE_FROM,
        );
        assert!(check.finish(0.05).unwrap().exceeded);
    }

    #[test]
    fn what_could_not_be_asked_makes_it_incomplete() {
        let users = users(2);
        let mut check = Divergence::default();
        check.begin(&users.iter().collect::<Vec<_>>(), 1.0, 1);
        let first = check.next().cloned().unwrap();
        check.asked();
        check.failed(&first);
        check.abandon_rest();
        assert!(!check.finish(0.05).unwrap().exceeded);
        assert_eq!((check.view.incomplete, check.view.ratio), (1, None));
    }
}
