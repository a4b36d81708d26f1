//! What a push notification says of an agent, to someone who knows its history.
//!
//! A frame names one start, and no frame says what came before it. But while a channel tells every
//! change of an agent, and something confirmed the agent since that began, nothing lies between
//! what is held and what is told: then the two are consecutive, as entries of one answer are
//! (semantics.md §4, §12.2). Frames are ordered by the platform's own times, never by arrival.

use crate::model::event::{Chain, JournalRecord, PresenceChange};
use crate::model::ids::UserId;
use crate::model::platform_status::PlatformStatus;
use crate::model::state::{RAW_TEXT_MAX, RoutingState};
use crate::model::time::{Millis, UnixMillis};
use crate::upstream::channel::{OpenInteractions, PushedPresence, PushedStatus};
use crate::upstream::wire::{PlatformFact, RoutingEntry, RoutingStates, StatusRecord};

use super::agent::Agent;
use super::evidence::{Evidence, FUTURE_TOLERANCE};
use super::platform::{
    as_held, is_in_stay_before, is_out_of_work, is_within, is_within_stay, states_told,
};
use super::reconcile::Reconciler;

/// A change is held against push only if it had so long to arrive before the scan was asked for:
/// far above what a working channel takes, below any poll interval.
const PUSH_PATIENCE: Millis = Millis::from_secs(5);

impl Reconciler {
    /// Takes in a pushed presence, unless a later one is held. True if it changed anything.
    pub fn on_pushed_presence(&mut self, user: &UserId, told: &PushedPresence) -> bool {
        let Some(agent) = self.agents.get_mut(user) else {
            return false;
        };
        let known = agent.presence.is_some();
        if !known || agent.presence_since >= Some(told.since) {
            // Before the first scan nobody counts this agent.
            return false;
        }
        agent.presence_since = Some(told.since);
        if agent.presence.as_ref() == Some(&told.presence) {
            return false;
        }
        agent.presence = Some(told.presence.clone());
        self.changes.agents.insert(user.clone());
        self.changes
            .records
            .push(JournalRecord::Presence(PresenceChange {
                user_id: user.clone(),
                at: told.since,
                presence: told.presence.clone(),
            }));
        true
    }

    /// Takes in a pushed routing status. `unbroken`: since when every change of the agent is
    /// told. True if it changed anything.
    pub fn on_pushed_status(
        &mut self,
        user: &UserId,
        told: &PushedStatus,
        evidence: &Evidence,
        unbroken: Option<UnixMillis>,
    ) -> bool {
        let Some(agent) = self.agents.get_mut(user).filter(|agent| agent.joined()) else {
            return false;
        };
        let status = PlatformStatus::parse(&told.status);
        let ahead = told.since > evidence.latest + FUTURE_TOLERANCE;
        if !ahead && turns(agent, status, told.since, unbroken) {
            agent.turned_at = Some(told.since);
        }
        let answer = told_by_status(agent, status, told, unbroken);
        if agent.current().is_none_or(|c| c.entered_at <= told.since) {
            agent.platform_status = Some(status);
            agent.stuck.unoccupied = false;
        }
        self.changes.agents.insert(user.clone());
        self.took(user, answer, evidence)
    }

    /// Takes in pushed open interactions: inside one `INTERACTING` they tell after-call work from
    /// a call, with no start of their own. True if they changed anything.
    pub fn on_pushed_interactions(
        &mut self,
        user: &UserId,
        open: OpenInteractions,
        evidence: &Evidence,
    ) -> bool {
        let Some(agent) = self.agents.get_mut(user) else {
            return false;
        };
        let state = match (open.active, open.after_call) {
            // The status that ends the interaction comes by itself.
            (0, 0) => return false,
            (0, _) => RoutingState::WrapUp,
            _ => RoutingState::OnCall,
        };
        let interacting = agent.platform_status == Some(PlatformStatus::Interacting);
        let Some(current) = agent.current().filter(|_| interacting) else {
            return false;
        };
        let busy = matches!(current.state, RoutingState::OnCall | RoutingState::WrapUp);
        if !busy || current.state == state {
            return false;
        }
        let answer = states_told(
            agent,
            state,
            &fact(PlatformStatus::Interacting, None),
            evidence.confirms,
        );
        self.took(user, Some(answer), evidence)
    }

    fn took(&mut self, user: &UserId, answer: Option<RoutingStates>, evidence: &Evidence) -> bool {
        let Some(answer) = answer else {
            return false;
        };
        let before = self.changes.records.len();
        self.take_in(user, &answer, evidence);
        self.changes.records.len() > before
    }

    /// Whether a scan tells a change that push should have told by then and did not. `sent_at`:
    /// the platform's clock at the sending of the scan, at least.
    pub fn push_missed(
        &self,
        record: &StatusRecord,
        since: UnixMillis,
        sent_at: UnixMillis,
    ) -> bool {
        let Some(started) = record.platform.as_ref().and_then(|fact| fact.since) else {
            return false;
        };
        let agent = self.agents.get(&record.user_id);
        let known = agent.and_then(|agent| agent.turned_at.max(Some(agent.current()?.entered_at)));
        known.is_some_and(|known| known < started)
            && started > since
            && started + PUSH_PATIENCE < sent_at
    }
}

fn fact(status: PlatformStatus, since: Option<UnixMillis>) -> PlatformFact {
    PlatformFact {
        status,
        raw_status: None,
        since,
        presence_since: UnixMillis(0),
        unoccupied: false,
    }
}

/// Whether who missed an alert goes off queue, or the other way round: the stay out of work goes
/// on, where every change is told.
fn turns(
    agent: &Agent,
    status: PlatformStatus,
    since: UnixMillis,
    unbroken: Option<UnixMillis>,
) -> bool {
    let before = agent.platform_status;
    let another = before.is_some_and(|before| is_out_of_work(before) && before != status);
    let proven = unbroken.is_some_and(|told| Some(told) <= agent.confirmed_until);
    proven && another && is_out_of_work(status) && is_in_stay_before(agent, since)
}

/// What a status says as segments; `None` if nothing can be made of it.
fn told_by_status(
    agent: &Agent,
    status: PlatformStatus,
    told: &PushedStatus,
    unbroken: Option<UnixMillis>,
) -> Option<RoutingStates> {
    let current = agent.current()?;
    let state = match status {
        PlatformStatus::Idle => RoutingState::Available,
        PlatformStatus::OffQueue | PlatformStatus::NotResponding => RoutingState::NotReady,
        PlatformStatus::Interacting | PlatformStatus::Communicating => RoutingState::OnCall,
        PlatformStatus::Other => RoutingState::Unknown,
    };
    if status == PlatformStatus::Interacting && is_within(agent, told.since) {
        // The same interaction again, because something else changed.
        return Some(alone(as_held(current)));
    }
    if is_within_stay(agent, status, told.since) {
        return Some(alone(as_held(current)));
    }
    let raw = (status == PlatformStatus::Other).then(|| {
        let end = told.status.floor_char_boundary(RAW_TEXT_MAX);
        told.status[..end].into()
    });
    let entry = RoutingEntry {
        state,
        raw_state: raw,
        wrapup_code: None,
        entered_at: told.since,
        estimated: false,
    };
    let index = agent
        .history
        .partition_point(|held| held.entered_at < told.since);
    let (before, after) = agent.history.split_at(index);
    let Some(next) = after.first() else {
        let confirmed = agent.confirmed_until;
        let proven = unbroken.is_some_and(|since| Some(since) <= confirmed);
        // A state that follows itself: what lay between was lost, whatever the channel says.
        let proven = proven && current.state != state;
        let held = proven.then(|| as_held(current));
        return Some(answer(held.into_iter().chain([entry])));
    };
    if next.entered_at == told.since {
        // Known; only if it is the current one does it say what the agent is in.
        return (after.len() == 1).then(|| alone(entry));
    }
    // It came late, and belongs between what is held.
    let previous = before.last()?;
    let follows =
        matches!(next.chain, Chain::Follows { entered_at } if entered_at == previous.entered_at);
    let covered = unbroken.is_some_and(|since| since <= told.since);
    let fits = covered && previous.state != state && next.state != state && !next.estimated;
    fits.then(|| {
        let head = follows.then(|| as_held(previous));
        answer(
            head.into_iter()
                .chain([entry])
                .chain(after.iter().map(as_held)),
        )
    })
}

fn alone(entry: RoutingEntry) -> RoutingStates {
    answer([entry])
}

fn answer(entries: impl IntoIterator<Item = RoutingEntry>) -> RoutingStates {
    RoutingStates {
        entries: entries.into_iter().collect(),
        refused: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
