//! Records that tell nothing new: nearly all of a snapshot. They confirm, and cost one comparison;
//! what a record means that does tell something is `reconcile`'s and `platform`'s to say.

use super::agent::{Agent, BulkFact};
use super::platform::is_within;
use super::reconcile::Reconciler;
use crate::model::ids::UserId;
use crate::model::platform_status::PlatformStatus;
use crate::model::time::UnixMillis;
use crate::upstream::wire::{PlatformFact, StatusRecord};

impl Reconciler {
    /// Walks over agents and records together, since both are ordered by agent: confirms whom a
    /// record tells nothing new of, and notes who is missing. Gives the other records, and who is
    /// volatile.
    pub(super) fn pass_over<'r>(
        &mut self,
        records: &'r [StatusRecord],
        at: UnixMillis,
        ingested_at: UnixMillis,
    ) -> (Vec<&'r StatusRecord>, Vec<UserId>) {
        let (mut news, mut volatile) = (Vec::new(), Vec::new());
        self.missing = 0;
        let mut records = records.iter().peekable();
        for (user, agent) in &mut self.agents {
            while records.next_if(|record| record.user_id < *user).is_some() {}
            if agent.volatile.is_some() {
                volatile.push(user.clone());
            }
            match records.next_if(|record| record.user_id == *user) {
                Some(record) if is_as_before(agent, record) => {
                    confirm(agent, record, at);
                    agent.ingested_at = agent.ingested_at.max(ingested_at);
                }
                Some(record) => news.push(record),
                None if agent.bulk_seen_at == Some(at) => {}
                None => {
                    self.missing += 1;
                    if agent.follows_bulk {
                        agent.follows_bulk = false;
                        self.changes.agents.insert(user.clone());
                    }
                }
            }
        }
        (news, volatile)
    }
}

fn confirm(agent: &mut Agent, record: &StatusRecord, at: UnixMillis) {
    agent.bulk_seen_at = Some(at);
    let instant = match (&record.platform, agent.current()) {
        (Some(_), Some(held)) => {
            let instant = Some(at.max(held.entered_at));
            agent.routing_confirmed_at = agent.routing_confirmed_at.max(instant);
            instant
        }
        _ => Some(at),
    };
    agent.confirmed_until = agent.confirmed_until.max(instant);
    agent.bulk = Some(fact_of(record));
}

pub(super) fn fact_of(record: &StatusRecord) -> BulkFact {
    BulkFact {
        availability: record.availability,
        last_modified: record.last_modified,
    }
}

/// Whether the record says what the last one said, of an agent that follows the snapshot and that
/// nothing waits on.
fn is_as_before(agent: &Agent, record: &StatusRecord) -> bool {
    agent.follows_bulk
        && agent.covered_from.is_some()
        && agent.presence.as_ref() == Some(&record.presence)
        && match &record.platform {
            None => is_as_joined(agent, record),
            Some(fact) => is_as_scanned(agent, record, fact),
        }
}

/// Dialect `status`: it is the record with which the agent was joined last.
fn is_as_joined(agent: &Agent, record: &StatusRecord) -> bool {
    let fact = Some(fact_of(record));
    agent.platform_status.is_none()
        && agent.bulk == fact
        && agent.joined_with == fact
        && agent.joined()
        && !agent.pending
        && agent.asking.is_none()
        && agent.resting.is_some()
}

/// Dialect `platform`: it tells the current segment as it is held.
fn is_as_scanned(agent: &Agent, record: &StatusRecord, fact: &PlatformFact) -> bool {
    let Some(held) = agent.current() else {
        return false;
    };
    agent.platform_status == Some(fact.status)
        && agent.presence_since == Some(fact.presence_since)
        && agent.stuck.unoccupied == fact.unoccupied
        && agent.volatile.is_none()
        && held.state == record.availability
        && match fact.since {
            // Parts of one interaction share its start.
            Some(since) if fact.status == PlatformStatus::Interacting => is_within(agent, since),
            Some(since) => {
                held.entered_at == since && !held.estimated && held.raw_state == fact.raw_status
            }
            None => true,
        }
}
