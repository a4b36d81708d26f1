//! Holes: time of an agent of which nothing is known, because nobody looked or nothing proved
//! what lay between two answers. What the platform wrote down meanwhile fills them
//! (semantics.md §2.4): windows are revised, and counters move the time from unknown to where it
//! was, once. Those that wait are kept with the agent, so that a restart goes on asking.
//!
//! Only a history without a gap of its own, from the segment before the hole to the one after it,
//! fills anything. Two statuses in a row that are one routing state are one segment: a start that
//! was taken for another is withdrawn. Inside one `INTERACTING` it does not tell calls from after-call work; what was
//! not seen of it counts as on call.

use crate::model::event::Chain;
use crate::model::ids::UserId;
use crate::model::platform_status::PlatformStatus;
use crate::model::state::{RoutingState, Source};
use crate::model::time::UnixMillis;
use crate::model::timeline::spans;
use crate::upstream::wire_platform::{PastStatus, UserPast};

use super::accrual;
pub use super::agent::Hole;
use super::agent::{Agent, Held};
use super::evidence::{Applied, Verdict};
use super::reconcile::Reconciler;

/// What became of an attempt to fill a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filling {
    /// It is filled, or was meanwhile.
    Filled,
    /// The platform has not written down its end yet: worth asking again.
    NotYet,
    /// The history has gaps, or contradicts what is held: it stays unknown.
    Refused,
}

/// The hole before the segment at `index`, if there is one.
fn hole_before(agent: &Agent, index: usize) -> Option<Hole> {
    let [before, after] = agent.history.get(index.checked_sub(1)?..=index)? else {
        return None;
    };
    if before.state == RoutingState::Unknown {
        // Told, in a word that this version does not know: no history knows more.
        return None;
    }
    let (from, until) = (before.entered_at, after.entered_at);
    let segments = agent.segments();
    spans(&segments, None, from, until)
        .iter()
        .any(|span| span.state == RoutingState::Unknown)
        .then_some(Hole { after: from, until })
}

/// Fills what is left of `hole` from `past`; what changed, or why nothing did.
fn fill(
    agent: &mut Agent,
    hole: Hole,
    past: &UserPast,
    ingested_at: UnixMillis,
) -> Result<(Applied, Option<Withdrawn>), Filling> {
    let index = agent
        .history
        .binary_search_by_key(&hole.until, |held| held.entered_at)
        .map_err(|_| Filling::Refused)?;
    // A segment that was told meanwhile may have made it smaller.
    let hole = hole_before(agent, index).ok_or(Filling::Filled)?;
    let (before, after) = (&agent.history[index - 1], &agent.history[index]);
    let between = between(before, after, &past.statuses)?;
    let mut applied = Applied {
        verdict: Verdict::Current,
        ..Applied::default()
    };
    let (mut last, mut last_state) = (hole.after, before.state);
    let mut filling = Vec::with_capacity(between.len());
    for status in between {
        let state = state_of(status.status);
        if state == last_state && state == RoutingState::NotReady {
            continue;
        }
        filling.push(Held {
            entered_at: status.from,
            state,
            raw_state: status.raw.clone(),
            wrapup_code: None,
            source: Source::History,
            revision: 1,
            chain: Chain::Follows { entered_at: last },
            ingested_at,
            estimated: false,
        });
        applied.added.push(status.from);
        (last, last_state) = (status.from, state);
    }
    applied.changed.clone_from(&applied.added);
    let one_stay = after.state == RoutingState::NotReady && last_state == RoutingState::NotReady;
    let withdrawn = one_stay.then(|| Withdrawn {
        gone: agent.history.remove(index),
        previous: last_state,
    });
    if withdrawn.is_some() {
        agent.turned_at = agent.turned_at.max(Some(hole.until));
    }
    // Who follows the last of them: the segment after the hole, or the one after that.
    if let Some(next) = agent.history.get_mut(index)
        && (withdrawn.is_none()
            || next.chain
                == (Chain::Follows {
                    entered_at: hole.until,
                }))
    {
        next.chain = Chain::Follows { entered_at: last };
        next.revision += 1;
        applied.changed.push(next.entered_at);
    }
    agent.history.splice(index..index, filling);
    Ok((applied, withdrawn))
}

/// A start that was no start of a segment of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Withdrawn {
    gone: Held,
    previous: RoutingState,
}

/// The statuses that lie wholly between two held segments, if the history goes from one to the
/// other without a gap.
fn between<'p>(
    before: &Held,
    after: &Held,
    past: &'p [PastStatus],
) -> Result<&'p [PastStatus], Filling> {
    let first = past
        .iter()
        .rposition(|status| status.from <= before.entered_at)
        .ok_or(Filling::Refused)?;
    let held = &past[first];
    let begins = held.from == before.entered_at || is_work(before.state);
    if !begins || !agrees(before, held) {
        // What ran when this was written down may be older than the hole.
        let behind = held.until.is_none();
        return Err(if behind {
            Filling::NotYet
        } else {
            Filling::Refused
        });
    }
    if held.from < after.entered_at && is_work(after.state) && agrees(after, held) {
        match held.until {
            // One interaction all along, of which a later part was seen first after the hole.
            Some(until) if until > after.entered_at => return Ok(&[]),
            // It ran when this was written down, which may have been before the hole ended.
            None => return Err(Filling::NotYet),
            Some(_) => {}
        }
    }
    let last = match past
        .iter()
        .position(|status| status.from >= after.entered_at)
    {
        Some(last) if past[last].from == after.entered_at && agrees(after, &past[last]) => last,
        Some(_) => return Err(Filling::Refused),
        None => return Err(Filling::NotYet),
    };
    let run = &past[first..=last];
    if run
        .windows(2)
        .any(|pair| pair[0].until != Some(pair[1].from))
    {
        return Err(Filling::Refused);
    }
    Ok(&past[first + 1..last])
}

/// Whether a held segment can be a part of the status.
fn agrees(held: &Held, status: &PastStatus) -> bool {
    match status.status {
        PlatformStatus::Interacting => is_work(held.state),
        other => held.state == state_of(other),
    }
}

const fn is_work(state: RoutingState) -> bool {
    matches!(state, RoutingState::OnCall | RoutingState::WrapUp)
}

/// The routing state of a status whose open work is not known (platform-api.md §10).
const fn state_of(status: PlatformStatus) -> RoutingState {
    match status {
        PlatformStatus::Idle => RoutingState::Available,
        PlatformStatus::OffQueue | PlatformStatus::NotResponding => RoutingState::NotReady,
        PlatformStatus::Interacting | PlatformStatus::Communicating => RoutingState::OnCall,
        PlatformStatus::Other => RoutingState::Unknown,
    }
}

impl Reconciler {
    /// Holes before the segments that an answer added are noted until somebody takes them.
    pub(super) fn note_holes(&mut self, user: &UserId, added: &[UnixMillis]) {
        let Some(agent) = self.agents.get_mut(user) else {
            return;
        };
        if agent.platform_status.is_none() {
            // Dialect status has no history to ask for.
            return;
        }
        let starts = agent.history.iter().enumerate();
        let found: Vec<Hole> = starts
            .filter(|(_, held)| added.binary_search(&held.entered_at).is_ok())
            .filter_map(|(index, _)| hole_before(agent, index))
            .collect();
        for hole in found {
            agent.holes.retain(|known| known.until != hole.until);
            agent.holes.push(hole);
            self.holes.push((user.clone(), hole));
        }
    }

    /// Nothing will fill a hole: it stays unknown.
    pub fn give_up(&mut self, user: &UserId, hole: Hole) {
        let Some(agent) = self.agents.get_mut(user) else {
            return;
        };
        let waiting = agent.holes.len();
        agent.holes.retain(|known| known.until != hole.until);
        if agent.holes.len() < waiting {
            self.changes.agents.insert(user.clone());
        }
    }

    /// Whether a hole still waits to be filled.
    pub fn waits(&self, user: &UserId, hole: Hole) -> bool {
        let agent = self.agents.get(user);
        agent.is_some_and(|agent| agent.holes.iter().any(|known| known.until == hole.until))
    }

    /// Holes noted since the last time.
    pub fn take_holes(&mut self) -> Vec<(UserId, Hole)> {
        std::mem::take(&mut self.holes)
    }

    /// Takes in the past of one agent, asked for because of `hole`.
    pub fn on_history(
        &mut self,
        user: &UserId,
        hole: Hole,
        past: &UserPast,
        ingested_at: UnixMillis,
    ) -> Filling {
        let tolerance = self.tolerance();
        let Some(agent) = self.agents.get_mut(user) else {
            return Filling::Refused;
        };
        let accrued = accrual::remember(agent, tolerance);
        let (applied, withdrawn) = match fill(agent, hole, past, ingested_at) {
            Ok(filled) => filled,
            Err(Filling::NotYet) => return Filling::NotYet,
            Err(settled) => {
                self.give_up(user, hole);
                return settled;
            }
        };
        agent.holes.retain(|known| known.until != hole.until);
        if let Some(accrued) = accrued {
            accrual::restate(&mut self.ledger, agent, &accrued, tolerance);
        }
        self.changes.agents.insert(user.clone());
        if let Some(withdrawn) = withdrawn {
            self.withdraw(user, &withdrawn.gone, withdrawn.previous);
        }
        self.emit(user, &applied);
        Filling::Filled
    }
}

#[cfg(test)]
mod tests;
