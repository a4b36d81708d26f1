//! Who is on which channel: as many agents as fit, those first that are wanted most, each with
//! both its topics on one channel; queues where room is left.
//!
//! Whoever has a place keeps it, because a change of a channel's list is a request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::ids::{QueueId, UserId};
use crate::upstream::channel::Topic;

/// What the platform allows (platform-api.md §3); smaller in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Channels of one OAuth client. One more evicts the one that was used least recently.
    pub channels: usize,
    /// Topics of one channel; with one more the platform refuses the whole list.
    pub topics: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            channels: 20,
            topics: 1_000,
        }
    }
}

/// Topics of one agent: what it does, and its open interactions. Without the second after-call
/// work would look like a call, so nobody gets only one.
const TOPICS_AN_AGENT: usize = 2;

/// The places.
#[derive(Debug, Clone)]
pub(super) struct Allotment {
    limits: Limits,
    agents: BTreeMap<UserId, usize>,
    queues: BTreeMap<QueueId, usize>,
    /// Topics on each channel.
    used: Vec<usize>,
}

impl Allotment {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            agents: BTreeMap::new(),
            queues: BTreeMap::new(),
            used: vec![0; limits.channels],
        }
    }

    /// Agents that find a place at most.
    pub(super) fn capacity(&self) -> usize {
        self.limits.channels * (self.limits.topics / TOPICS_AN_AGENT)
    }

    /// Gives places to the first of `agents` and, where room is left, of `queues`. Returns the
    /// channels whose list changed.
    pub(super) fn fit(&mut self, agents: &[UserId], queues: &[QueueId]) -> BTreeSet<usize> {
        let mut changed = BTreeSet::new();
        let chosen: BTreeSet<&UserId> = agents.iter().take(self.capacity()).collect();
        let left = self.limits.channels * self.limits.topics - chosen.len() * TOPICS_AN_AGENT;
        let kept: BTreeSet<&QueueId> = queues.iter().take(left).collect();
        self.agents.retain(|user, slot| {
            let stays = chosen.contains(user);
            if !stays {
                self.used[*slot] -= TOPICS_AN_AGENT;
                changed.insert(*slot);
            }
            stays
        });
        self.queues.retain(|queue, slot| {
            let stays = kept.contains(queue);
            if !stays {
                self.used[*slot] -= 1;
                changed.insert(*slot);
            }
            stays
        });
        for user in agents.iter().take(self.capacity()) {
            if !self.agents.contains_key(user)
                && let Some(slot) = self.room(TOPICS_AN_AGENT).or_else(|| self.make_room())
            {
                self.used[slot] += TOPICS_AN_AGENT;
                self.agents.insert(user.clone(), slot);
                changed.insert(slot);
            }
        }
        for queue in queues.iter().take(left) {
            if !self.queues.contains_key(queue)
                && let Some(slot) = self.room(1)
            {
                self.used[slot] += 1;
                self.queues.insert(queue.clone(), slot);
                changed.insert(slot);
            }
        }
        changed
    }

    fn room(&self, topics: usize) -> Option<usize> {
        (0..self.limits.channels).find(|slot| self.used[*slot] + topics <= self.limits.topics)
    }

    /// Agents come before queues: the queues of the first channel that has any give way.
    fn make_room(&mut self) -> Option<usize> {
        loop {
            let slot = *self.queues.values().min()?;
            let before = self.queues.len();
            self.queues.retain(|_, at| *at != slot);
            self.used[slot] -= before - self.queues.len();
            if self.used[slot] + TOPICS_AN_AGENT <= self.limits.topics {
                return Some(slot);
            }
        }
    }

    /// The topics of a channel, in order.
    pub(super) fn topics(&self, slot: usize) -> Arc<[Topic]> {
        let agents = self.agents.iter().filter(|(_, at)| **at == slot);
        let agents = agents.flat_map(|(user, _)| {
            [
                Topic::Activity(user.clone()),
                Topic::ConversationSummary(user.clone()),
            ]
        });
        let queues = self.queues.iter().filter(|(_, at)| **at == slot);
        let queues = queues.map(|(queue, _)| Topic::QueueUsers(queue.clone()));
        agents.chain(queues).collect()
    }

    /// The channel of an agent.
    pub(super) fn slot_of(&self, user: &UserId) -> Option<usize> {
        self.agents.get(user).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn users(range: std::ops::Range<usize>) -> Vec<UserId> {
        range.map(|k| UserId::new(&format!("u{k:05}"))).collect()
    }

    fn queues(count: usize) -> Vec<QueueId> {
        (0..count)
            .map(|k| QueueId::new(&format!("q{k:03}")))
            .collect()
    }

    fn small() -> Allotment {
        Allotment::new(Limits {
            channels: 3,
            topics: 5,
        })
    }

    #[test]
    fn ten_thousand_agents_fill_twenty_channels_and_no_more() {
        let mut allotment = Allotment::new(Limits::default());
        allotment.fit(&users(0..12_000), &queues(10));
        assert_eq!(allotment.agents.len(), 10_000);
        assert!(allotment.queues.is_empty());
        for slot in 0..20 {
            assert_eq!(allotment.topics(slot).len(), 1_000);
        }
        assert!(allotment.slot_of(&users(10_000..10_001)[0]).is_none());
    }

    #[test]
    fn few_agents_share_one_channel_and_queues_follow_them() {
        let mut allotment = Allotment::new(Limits::default());
        let changed = allotment.fit(&users(0..3), &queues(2));
        assert_eq!(changed, BTreeSet::from([0]));
        assert_eq!(allotment.topics(0).len(), 8);
        assert!(allotment.topics(1).is_empty());
    }

    #[test]
    fn whoever_has_a_place_keeps_it() {
        let mut allotment = small();
        allotment.fit(&users(0..6), &[]);
        let before = allotment.agents.clone();
        let mut turned = users(0..6);
        turned.reverse();
        assert!(allotment.fit(&turned, &[]).is_empty());
        assert_eq!(allotment.agents, before);
        // One leaves, another takes its place: one list changes.
        let mut next = users(1..6);
        next.extend(users(9..10));
        assert_eq!(allotment.fit(&next, &[]).len(), 1);
    }

    #[test]
    fn with_too_many_agents_the_wanted_ones_are_first() {
        let mut allotment = small();
        allotment.fit(&users(0..9), &[]);
        assert_eq!(allotment.agents.len(), 6);
        let mut turned = users(0..9);
        turned.reverse();
        allotment.fit(&turned, &[]);
        let placed: Vec<_> = allotment.agents.keys().cloned().collect();
        assert_eq!(placed, users(3..9));
    }

    #[test]
    fn queues_give_way_to_agents() {
        let mut allotment = small();
        allotment.fit(&[], &queues(15));
        assert_eq!(allotment.queues.len(), 15);
        allotment.fit(&users(0..6), &queues(15));
        assert_eq!(allotment.agents.len(), 6);
        assert_eq!(allotment.queues.len(), 3);
    }

    proptest! {
        #[test]
        fn no_channel_is_overfilled_and_the_books_balance(
            steps in prop::collection::vec((0..9_usize, 0..9_usize, 0..20_usize), 1..6),
        ) {
            let mut allotment = small();
            for (from, count, wanted) in steps {
                allotment.fit(&users(from..from + count), &queues(wanted));
                prop_assert_eq!(allotment.agents.len(), count.min(6));
                for slot in 0..3 {
                    let topics = allotment.topics(slot).len();
                    prop_assert_eq!(topics, allotment.used[slot]);
                    prop_assert!(topics <= 5);
                }
            }
        }
    }
}
