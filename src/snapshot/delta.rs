//! Delta detection: of an accepted snapshot only what changed goes on (semantics.md §3).
//!
//! Compares and remembers; whether a change is news or a stale cache is the reconciler's to say.

use std::collections::BTreeMap;

use crate::model::fill::fill;
use crate::model::ids::UserId;
use crate::model::state::{Presence, RoutingState};
use crate::model::time::UnixMillis;
use crate::upstream::wire::StatusRecord;

#[derive(Debug, Clone)]
struct Accepted {
    presence: Presence,
    availability: RoutingState,
    last_modified: UnixMillis,
}

/// What was last accepted of each agent.
#[derive(Debug, Clone, Default)]
pub struct Delta {
    last: BTreeMap<UserId, Accepted>,
    seen: u64,
    emitted: u64,
}

impl Delta {
    /// Knows nobody: the first record of each agent goes on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the records of an accepted snapshot, one an agent, ordered by agent. A record goes
    /// on if presence or availability changed, or `lastModified` advanced past the latest accepted
    /// one.
    pub fn compare(&mut self, records: &[StatusRecord]) {
        let mut new = Vec::new();
        // Both are ordered by agent: one walk instead of a look-up for each.
        let mut known = self.last.iter_mut().peekable();
        for record in records {
            while known.next_if(|(id, _)| **id < record.user_id).is_some() {}
            match known.next_if(|(id, _)| **id == record.user_id) {
                Some((_, last)) => self.emitted += u64::from(last.take(record)),
                None => new.push(record),
            }
        }
        self.seen += records.len() as u64;
        self.emitted += new.len() as u64;
        let accepted = |record: &StatusRecord| {
            let last = Accepted {
                presence: record.presence.clone(),
                availability: record.availability,
                last_modified: record.last_modified,
            };
            (record.user_id.clone(), last)
        };
        fill(&mut self.last, new.into_iter().map(accepted).collect());
    }

    /// Forgets everybody, so that the next snapshot goes on whole; the counts stay.
    pub fn clear(&mut self) {
        self.last.clear();
    }

    /// Forgets one agent.
    pub fn forget(&mut self, user: &UserId) {
        self.last.remove(user);
    }

    /// Records compared since start.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Records that went on since start.
    pub fn emitted(&self) -> u64 {
        self.emitted
    }
}

impl Accepted {
    fn take(&mut self, record: &StatusRecord) -> bool {
        let changed = self.availability != record.availability || self.presence != record.presence;
        let advanced = record.last_modified > self.last_modified;
        if changed {
            self.availability = record.availability;
            self.presence = record.presence.clone();
        }
        if advanced {
            // An older record that differs does not set the clock back: the present one would
            // count as news when it returns.
            self.last_modified = record.last_modified;
        }
        changed || advanced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(user: &str, presence: &str, state: RoutingState, at: i64) -> StatusRecord {
        StatusRecord {
            user_id: UserId::new(user),
            presence: Presence::parse(presence),
            availability: state,
            last_modified: UnixMillis(at),
            platform: None,
        }
    }

    #[test]
    fn only_what_changed_goes_on() {
        use RoutingState::{Available, OnCall};
        let mut delta = Delta::new();
        let mut told = |presence, state, at| {
            let before = delta.emitted();
            delta.compare(&[record("agent-0001", presence, state, at)]);
            (delta.emitted() > before, delta.seen(), delta.emitted())
        };
        assert_eq!(told("On Queue", Available, 10), (true, 1, 1));
        assert_eq!(told("On Queue", Available, 10), (false, 2, 1));
        assert_eq!(told("ON_QUEUE", Available, 10), (false, 3, 1));
        assert_eq!(told("On Queue", OnCall, 10), (true, 4, 2));
        assert_eq!(told("Away", OnCall, 10), (true, 5, 3));
        assert_eq!(told("Away", OnCall, 11), (true, 6, 4));
        assert_eq!(told("Away", OnCall, 10), (false, 7, 4), "older and equal");
        assert_eq!(told("Away", OnCall, 11), (false, 8, 4), "back again");
        assert_eq!(
            told("Away", Available, 5),
            (true, 9, 5),
            "older and different"
        );
        assert_eq!(told("Away", Available, 11), (false, 10, 5), "no news");
    }

    #[test]
    fn what_is_forgotten_goes_on_again() {
        let mut delta = Delta::new();
        let one = record("agent-0001", "Away", RoutingState::NotReady, 1);
        let two = record("agent-0002", "Away", RoutingState::NotReady, 1);
        let both = [one, two];
        delta.compare(&both);
        assert_eq!((delta.seen(), delta.emitted()), (2, 2));
        delta.forget(&both[0].user_id);
        delta.compare(&both);
        assert_eq!((delta.seen(), delta.emitted()), (4, 3));
        delta.clear();
        delta.compare(&both);
        assert_eq!((delta.seen(), delta.emitted()), (6, 5));
    }

    #[test]
    fn a_quiet_organisation_is_reduced_by_far_more_than_nine_tenths() {
        let mut delta = Delta::new();
        for cycle in 0..100 {
            let records: Vec<StatusRecord> = (0..1_000)
                .map(|n| {
                    let at = if n % 100 == cycle % 100 { cycle + 1 } else { 0 };
                    let at = at.max(i64::from(cycle > n % 100) * (n % 100 + 1));
                    let user = format!("agent-{n:04}");
                    record(&user, "Available", RoutingState::Available, at)
                })
                .collect();
            delta.compare(&records);
        }
        assert_eq!(delta.seen(), 100_000);
        // The first cycle whole, then ten changes in each.
        assert_eq!(delta.emitted(), 1_000 + 99 * 10);
    }
}
