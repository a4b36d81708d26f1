//! Queues and who serves them: names as label values, members as sets, replaced whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::model::ids::{QueueId, UserId};
use crate::model::label::clean_label;

/// Characters of a queue id that tell two queues of one name apart.
const ID_HEAD_CHARS: usize = 8;

/// Which queues are kept.
#[derive(Debug, Clone, Default)]
pub struct QueueFilter {
    /// A queue is kept if one of these matches its name; none at all keeps every queue.
    pub include: Vec<Regex>,
    /// And none of these does.
    pub exclude: Vec<Regex>,
    /// At most so many are kept: those known before, then those with the lowest ids. Whoever can
    /// make queues must not be able to make series without end.
    pub max: Option<usize>,
}

impl QueueFilter {
    fn keeps(&self, name: &str) -> bool {
        let included = self.include.is_empty() || self.include.iter().any(|r| r.is_match(name));
        included && !self.exclude.iter().any(|r| r.is_match(name))
    }

    /// Cuts `listed` down to what may be kept; says how many had to go.
    fn limit(
        &self,
        listed: &mut BTreeMap<QueueId, Arc<str>>,
        known: &BTreeMap<QueueId, Queue>,
    ) -> usize {
        let excess = match self.max {
            Some(max) => listed.len().saturating_sub(max),
            None => 0,
        };
        let (old, new): (Vec<&QueueId>, Vec<&QueueId>) =
            listed.keys().rev().partition(|id| known.contains_key(*id));
        let gone: Vec<QueueId> = new.into_iter().chain(old).take(excess).cloned().collect();
        for id in &gone {
            listed.remove(id);
        }
        gone.len()
    }
}

/// Queues and members as last told.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    filter: QueueFilter,
    queues: BTreeMap<QueueId, Queue>,
    left_out: usize,
    members: BTreeMap<QueueId, BTreeSet<UserId>>,
    /// Shared with whoever asks, so that an agent's queues are in memory once.
    of_user: BTreeMap<UserId, Arc<[QueueId]>>,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// The platform's name.
    pub name: Arc<str>,
    /// The label value: unique in the organisation.
    pub label: Arc<str>,
}

impl Directory {
    /// An empty directory.
    pub fn new(filter: QueueFilter) -> Self {
        Self {
            filter,
            ..Self::default()
        }
    }

    /// Filters the next list of queues like this.
    pub fn set_filter(&mut self, filter: QueueFilter) {
        self.filter = filter;
    }

    /// Replaces the list of queues; members of queues that stay are kept. Returns the users whose
    /// queues changed because a queue vanished.
    pub fn replace_queues(&mut self, listed: Vec<(QueueId, Arc<str>)>) -> BTreeSet<UserId> {
        let mut kept: BTreeMap<QueueId, Arc<str>> = listed
            .into_iter()
            .filter(|(_, name)| self.filter.keeps(name))
            .collect();
        self.left_out = self.filter.limit(&mut kept, &self.queues);
        let mut moved = BTreeSet::new();
        let gone: Vec<QueueId> = self
            .members
            .keys()
            .filter(|queue| !kept.contains_key(*queue))
            .cloned()
            .collect();
        for queue in gone {
            moved.append(&mut self.replace_members(&queue, BTreeSet::new()));
            self.members.remove(&queue);
        }
        self.queues = labelled(kept);
        moved
    }

    /// Queues that were listed and are not kept because there are too many.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Replaces the members of one queue. Returns the users who joined or left it.
    pub fn replace_members(
        &mut self,
        queue: &QueueId,
        members: BTreeSet<UserId>,
    ) -> BTreeSet<UserId> {
        let before = self.members.remove(queue).unwrap_or_default();
        let moved: BTreeSet<UserId> = before.symmetric_difference(&members).cloned().collect();
        for user in &moved {
            let queues = toggled(self.of_user.get(user).map_or(&[], |held| held), queue);
            if queues.is_empty() {
                self.of_user.remove(user);
            } else {
                self.of_user.insert(user.clone(), queues);
            }
        }
        self.members.insert(queue.clone(), members);
        moved
    }

    /// The queues of a user, sorted.
    pub fn queues_of(&self, user: &UserId) -> Arc<[QueueId]> {
        self.of_user
            .get(user)
            .map_or_else(|| Arc::from([]), Arc::clone)
    }

    /// Every queue, by id.
    pub fn queues(&self) -> &BTreeMap<QueueId, Queue> {
        &self.queues
    }

    /// Members of a queue as last told; empty while unknown.
    pub fn members(&self, queue: &QueueId) -> impl Iterator<Item = &UserId> {
        self.members.get(queue).into_iter().flatten()
    }

    /// Label values of some queues, sorted.
    pub fn labels(&self, queues: &[QueueId]) -> Arc<[Arc<str>]> {
        let mut labels: Vec<Arc<str>> = queues
            .iter()
            .filter_map(|queue| self.queues.get(queue))
            .map(|queue| Arc::clone(&queue.label))
            .collect();
        labels.sort_unstable();
        Arc::from(labels)
    }
}

/// Sorted queues with `queue`, if it is not among them, or without it.
fn toggled(queues: &[QueueId], queue: &QueueId) -> Arc<[QueueId]> {
    let mut queues = queues.to_vec();
    match queues.binary_search(queue) {
        Ok(at) => {
            queues.remove(at);
        }
        Err(at) => queues.insert(at, queue.clone()),
    }
    queues.into()
}

fn name_of(name: &str) -> String {
    clean_label(name.trim()).into_owned()
}

/// Gives each queue its label: the cleaned name, with the id's head where two would be equal.
fn labelled(names: BTreeMap<QueueId, Arc<str>>) -> BTreeMap<QueueId, Queue> {
    let mut uses: BTreeMap<String, u32> = BTreeMap::new();
    for name in names.values() {
        *uses.entry(name_of(name)).or_default() += 1;
    }
    let mut taken = BTreeSet::new();
    names
        .into_iter()
        .map(|(id, name)| {
            let clean = name_of(&name);
            let shared = uses.get(&clean).is_some_and(|count| *count > 1);
            let head: String = id.as_str().chars().take(ID_HEAD_CHARS).collect();
            let mut label = if shared || clean.is_empty() {
                format!("{clean} ({})", clean_label(&head))
            } else {
                clean
            };
            if !taken.insert(label.clone()) {
                // Heads may be equal too; the whole id never is.
                label = format!("{label} ({})", clean_label(id.as_str()));
                taken.insert(label.clone());
            }
            let label = Arc::from(label);
            (id, Queue { name, label })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(ids: &[&str]) -> BTreeSet<UserId> {
        ids.iter().map(|id| UserId::new(id)).collect()
    }

    fn directory(queues: &[(&str, &str)]) -> Directory {
        let mut directory = Directory::default();
        directory.replace_queues(
            queues
                .iter()
                .map(|(id, name)| (QueueId::new(id), Arc::from(*name)))
                .collect(),
        );
        directory
    }

    fn labels(directory: &Directory) -> Vec<&str> {
        directory.queues().values().map(|q| &*q.label).collect()
    }

    #[test]
    fn queues_of_one_name_get_the_heads_of_their_ids() {
        let directory = directory(&[
            ("aaaaaaaa-1", "Sales"),
            ("bbbbbbbb-2", "Sales"),
            ("c", "IT"),
        ]);
        assert_eq!(
            labels(&directory),
            ["Sales (aaaaaaaa)", "Sales (bbbbbbbb)", "IT"]
        );
    }

    #[test]
    fn labels_are_unique_even_when_heads_are_equal_or_names_empty() {
        let directory = directory(&[
            ("aaaaaaaa-1", "S"),
            ("aaaaaaaa-2", "S"),
            ("x", ""),
            ("y", " "),
        ]);
        let labels: BTreeSet<&str> = labels(&directory).into_iter().collect();
        assert_eq!(labels.len(), 4);
    }

    #[test]
    fn members_move_and_vanish_with_their_queue() {
        let mut directory = directory(&[("q1", "One"), ("q2", "Two")]);
        let (q1, q2) = (QueueId::new("q1"), QueueId::new("q2"));
        assert_eq!(
            directory.replace_members(&q1, users(&["a", "b"])),
            users(&["a", "b"])
        );
        assert_eq!(
            directory.replace_members(&q1, users(&["b", "c"])),
            users(&["a", "c"])
        );
        directory.replace_members(&q2, users(&["b"]));
        assert_eq!(
            *directory.queues_of(&UserId::new("b")),
            [q1.clone(), q2.clone()]
        );
        assert!(directory.queues_of(&UserId::new("a")).is_empty());
        let moved = directory.replace_queues(vec![(q2.clone(), Arc::from("Two"))]);
        assert_eq!(moved, users(&["b", "c"]));
        assert_eq!(*directory.queues_of(&UserId::new("b")), [q2]);
    }

    #[test]
    fn the_filter_keeps_what_is_included_and_not_excluded() {
        let filter = QueueFilter {
            include: vec![Regex::new("^Sales.*$").unwrap()],
            exclude: vec![Regex::new("^.*Test$").unwrap()],
            max: None,
        };
        assert!(filter.keeps("Sales_US") && !filter.keeps("Sales Test") && !filter.keeps("IT"));
    }

    #[test]
    fn of_too_many_queues_those_are_kept_that_were_known_before() {
        let mut directory = Directory::new(QueueFilter {
            max: Some(3),
            ..QueueFilter::default()
        });
        let listed = |ids: &[&str]| -> Vec<(QueueId, Arc<str>)> {
            let queue = |id: &&str| (QueueId::new(id), Arc::from(*id));
            ids.iter().map(queue).collect()
        };
        directory.replace_queues(listed(&["d", "e"]));
        assert_eq!(
            (labels(&directory), directory.left_out()),
            (vec!["d", "e"], 0)
        );
        directory.replace_queues(listed(&["a", "b", "c", "d", "e"]));
        assert_eq!(
            (labels(&directory), directory.left_out()),
            (vec!["a", "d", "e"], 2)
        );
        directory.replace_members(&QueueId::new("e"), users(&["u"]));
        directory.set_filter(QueueFilter {
            max: Some(2),
            ..QueueFilter::default()
        });
        let moved = directory.replace_queues(listed(&["a", "b", "d", "e"]));
        assert_eq!(
            (labels(&directory), directory.left_out()),
            (vec!["a", "d"], 2)
        );
        assert_eq!(moved, users(&["u"]), "who served a queue that had to go");
    }
}
