//! What survives a restart: agents, accounts, queues – as entries of a key-value table that the
//! journal writes in one transaction with the records that go with them (semantics.md §12.3).
//!
//! In a quiet organisation a commit writes the accounts and one instant, not every agent: an agent
//! that follows the bulk snapshot moves along with `cohort_until`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::accrual::{Account, StateAccounts};
use super::agent::Agent;
use super::divergence::Divergence;
use super::reconcile::{Changes, Reconciler};
use crate::config::PipelineConfig;
use crate::model::fill::fill;
use crate::model::ids::{QueueId, UserId};
use crate::model::state::RoutingState;
use crate::model::time::UnixMillis;
use crate::model::view::{RecordCounts, UnknownCause};
use crate::snapshot::Delta;

const AGENT: &str = "agent/";
const QUEUE: &str = "queue/";
const DIRECTORY: &str = "directory";
const META: &str = "meta";

/// An entry of the checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("checkpoint entry {key:?} cannot be read")]
pub struct CheckpointError {
    /// Which entry.
    pub key: String,
    #[source]
    source: serde_json::Error,
}

impl CheckpointError {
    /// For entries of other stages.
    pub fn new(key: &str, source: serde_json::Error) -> Self {
        Self {
            key: key.to_owned(),
            source,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    organisation: StateAccounts,
    causes: Vec<(UnknownCause, Account)>,
    counts: RecordCounts,
    hidden: u64,
    cohort_until: Option<UnixMillis>,
    divergence: Divergence,
}

#[derive(Debug, Serialize, Deserialize)]
struct QueueEntry {
    accounts: StateAccounts,
    transitions: Vec<(RoutingState, RoutingState, u64)>,
}

impl Reconciler {
    /// Entries that went out of date with `changes`.
    pub fn checkpoint(&self, changes: &Changes, delta: &Delta) -> Vec<(String, Option<String>)> {
        let mut entries = Vec::with_capacity(changes.gone.len() + changes.agents.len());
        let mut scratch = Vec::new();
        for user in &changes.gone {
            entries.push((format!("{AGENT}{user}"), None));
        }
        for user in &changes.agents {
            if let Some(agent) = self.agents.get(user) {
                // By way of one that has grown already: all may have changed at once, and a text
                // that grows by itself ends up half empty.
                scratch.clear();
                serde_json::to_writer(&mut scratch, agent).expect("plain data serialises");
                let text = String::from_utf8(scratch.clone()).expect("JSON is UTF-8");
                entries.push((format!("{AGENT}{user}"), Some(text)));
            }
        }
        for queue in &changes.queues_gone {
            entries.push((format!("{QUEUE}{queue}"), None));
        }
        for (queue, accounts) in &self.ledger.queues {
            let entry = QueueEntry {
                accounts: *accounts,
                transitions: self
                    .transitions
                    .get(queue)
                    .into_iter()
                    .flatten()
                    .map(|(&(from, to), &count)| (from, to, count))
                    .collect(),
            };
            entries.push((format!("{QUEUE}{queue}"), Some(json(&entry))));
        }
        if changes.directory {
            let queues: Vec<(&QueueId, &Arc<str>)> = self
                .directory
                .queues()
                .iter()
                .map(|(id, queue)| (id, &queue.name))
                .collect();
            entries.push((DIRECTORY.to_owned(), Some(json(&queues))));
        }
        entries.push((META.to_owned(), Some(json(&self.meta(delta)))));
        entries
    }

    fn meta(&self, delta: &Delta) -> Meta {
        Meta {
            organisation: self.ledger.organisation,
            causes: self.ledger.causes.iter().map(|(&c, &a)| (c, a)).collect(),
            counts: self.record_counts(delta),
            hidden: self.hidden,
            cohort_until: self.cohort_until,
            divergence: self.divergence.clone(),
        }
    }

    /// Counts of records, those that the delta keeps included.
    pub fn record_counts(&self, delta: &Delta) -> RecordCounts {
        RecordCounts {
            seen: self.counts.seen + delta.seen(),
            emitted: self.counts.emitted + delta.emitted(),
            ..self.counts
        }
    }

    /// Takes up where a checkpoint left off; entries of other stages are passed over. An empty one
    /// is a first start. Each text is let go of once it has been read.
    ///
    /// # Errors
    /// [`CheckpointError`] if an entry cannot be read.
    pub fn restore(
        config: PipelineConfig,
        entries: Vec<(String, String)>,
    ) -> Result<Self, CheckpointError> {
        let mut restored = Self::new(config);
        let mut agents = Vec::new();
        let mut queues = BTreeSet::new();
        for (key, value) in entries {
            if let Some(user) = key.strip_prefix(AGENT) {
                let mut agent: Agent = read(&key, &value)?;
                agent.tighten(&mut queues);
                agents.push((UserId::new(user), agent));
            } else if let Some(queue) = key.strip_prefix(QUEUE) {
                restored.restore_queue(QueueId::new(queue), read(&key, &value)?);
            } else if key == DIRECTORY {
                restored.directory.replace_queues(read(&key, &value)?);
            } else if key == META {
                restored.restore_meta(read(&key, &value)?);
            }
        }
        fill(&mut restored.agents, agents);
        restored.restore_links();
        Ok(restored)
    }

    /// The id under which an agent is held already, or this one.
    pub fn held(&self, id: UserId) -> UserId {
        match self.agents.get_key_value(&id) {
            Some((held, _)) => held.clone(),
            None => id,
        }
    }

    fn restore_queue(&mut self, queue: QueueId, entry: QueueEntry) {
        let transitions = entry
            .transitions
            .into_iter()
            .map(|(from, to, count)| ((from, to), count))
            .collect();
        self.ledger.queues.insert(queue.clone(), entry.accounts);
        self.transitions.insert(queue, transitions);
    }

    fn restore_meta(&mut self, meta: Meta) {
        self.ledger.organisation = meta.organisation;
        self.ledger.causes = meta.causes.into_iter().collect();
        self.counts = meta.counts;
        self.hidden = meta.hidden;
        self.cohort_until = meta.cohort_until;
        self.divergence = meta.divergence;
        self.first_load = false;
    }

    /// What follows from the entries together.
    fn restore_links(&mut self) {
        let mut members: BTreeMap<QueueId, BTreeSet<UserId>> = BTreeMap::new();
        let mut resting = Vec::new();
        for (user, agent) in &mut self.agents {
            let waiting = agent.holes.iter().map(|hole| (user.clone(), *hole));
            self.holes.extend(waiting);
            if agent.follows_bulk {
                agent.confirmed_until = agent.confirmed_until.max(self.cohort_until);
            }
            // A commit accrues before it writes, and an agent's own entry may be older than that.
            if agent.follows_bulk && agent.volatile.is_none() && agent.accrued_until.is_some() {
                agent.accrued_until = agent.accrued_until.max(agent.confirmed_until);
            }
            for queue in agent.queues().iter() {
                members
                    .entry(queue.clone())
                    .or_default()
                    .insert(user.clone());
            }
            if let Some(confirmed) = agent.routing_confirmed_at {
                agent.resting = Some(confirmed);
                resting.push((confirmed, user.clone()));
            }
        }
        for (confirmed, user) in resting {
            self.joins.rest(confirmed, user);
        }
        for (queue, members) in members {
            if self.directory.queues().contains_key(&queue) {
                self.directory.replace_members(&queue, members);
            }
        }
        for (user, agent) in &mut self.agents {
            agent.share_queues(&self.directory.queues_of(user));
        }
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data without maps of non-string keys serialises")
}

fn read<T: DeserializeOwned>(key: &str, value: &str) -> Result<T, CheckpointError> {
    serde_json::from_str(value).map_err(|source| CheckpointError::new(key, source))
}
