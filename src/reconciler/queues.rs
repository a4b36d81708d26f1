//! Changes of queues and members, and what follows for accounts and agents.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::membership::Directory;
use super::reconcile::Reconciler;
use crate::model::ids::{QueueId, UserId};
use crate::model::time::UnixMillis;

impl Reconciler {
    /// Replaces the list of queues, as of the platform instant `from`.
    pub fn on_queues(&mut self, listed: Vec<(QueueId, Arc<str>)>, from: UnixMillis) {
        let before: BTreeSet<QueueId> = self.directory.queues().keys().cloned().collect();
        let moved = self.directory.replace_queues(listed);
        for queue in self.directory.queues().keys() {
            self.ledger.queues.entry(queue.clone()).or_default();
            self.transitions.entry(queue.clone()).or_default();
        }
        for queue in before {
            if !self.directory.queues().contains_key(&queue) {
                self.ledger.queues.remove(&queue);
                self.transitions.remove(&queue);
                self.changes.queues_gone.insert(queue);
            }
        }
        self.changes.directory = true;
        for agent in self.agents.values_mut() {
            agent.labels = None;
        }
        self.move_agents(&moved, from);
    }

    /// Replaces the members of a queue, as of the platform instant `from`.
    pub fn on_members(&mut self, queue: &QueueId, members: BTreeSet<UserId>, from: UnixMillis) {
        if self.directory.queues().contains_key(queue) {
            let moved = self.directory.replace_members(queue, members);
            self.move_agents(&moved, from);
        }
    }

    fn move_agents(&mut self, moved: &BTreeSet<UserId>, from: UnixMillis) {
        for user in moved {
            if let Some(agent) = self.agents.get_mut(user) {
                agent.move_to(self.directory.queues_of(user), from);
                self.changes.agents.insert(user.clone());
            }
        }
    }

    /// Queues and members as last told.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }
}
