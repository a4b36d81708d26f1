//! Agents with their timelines and queues with their names; who joined later, who has left.

use std::collections::BTreeMap;

use super::behaviour::Timeline;
use super::org::{AGENTS_MAX, Agent, OrgSpec, Queue};
use crate::model::ids::{QueueId, UserId};
use crate::model::time::UnixMillis;

/// One agent with its timeline.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Who.
    pub agent: Agent,
    /// What it does.
    pub timeline: Timeline,
    /// In the registry from this platform instant; `None`: from the start.
    pub joined: Option<UnixMillis>,
    /// In the registry until this platform instant; `None`: still.
    pub left: Option<UnixMillis>,
}

impl Entry {
    /// Whether the agent is in the registry at an instant.
    pub fn is_registered(&self, at: UnixMillis) -> bool {
        self.joined.is_none_or(|joined| joined <= at) && self.left.is_none_or(|left| at < left)
    }
}

/// Everyone there is or was.
#[derive(Debug, Clone)]
pub struct Roster {
    spec: OrgSpec,
    origin: UnixMillis,
    entries: Vec<Entry>,
    by_id: BTreeMap<UserId, usize>,
    queues: Vec<Queue>,
}

impl Roster {
    /// The organisation of a spec. The spec has been checked.
    pub fn new(spec: OrgSpec, origin: UnixMillis) -> Self {
        let mut roster = Self {
            spec,
            origin,
            entries: Vec::new(),
            by_id: BTreeMap::new(),
            queues: (0..spec.queues)
                .map(|index| Queue::generate(&spec, index))
                .collect(),
        };
        for _ in 0..spec.agents {
            roster.push(None);
        }
        roster
    }

    /// What was asked for.
    pub fn spec(&self) -> &OrgSpec {
        &self.spec
    }

    /// When the simulation began.
    pub fn origin(&self) -> UnixMillis {
        self.origin
    }

    /// Everyone, leavers included, by position.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Queues by position.
    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// An agent by id, leavers included.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// A queue by id.
    pub fn find_queue(&self, id: &str) -> Option<usize> {
        self.queues.iter().position(|queue| queue.id.as_str() == id)
    }

    /// One agent, to read its timeline on.
    pub fn entry_mut(&mut self, position: usize) -> &mut Entry {
        &mut self.entries[position]
    }

    /// Positions of the agents in the registry at an instant.
    pub fn registered_at(&self, at: UnixMillis) -> Vec<usize> {
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.is_registered(at))
            .map(|(position, _)| position)
            .collect()
    }

    /// Names of an agent's joined queues, sorted.
    pub fn queue_names(&self, position: usize) -> Vec<&str> {
        let memberships = self.entries[position].agent.memberships.iter();
        let mut names: Vec<&str> = memberships
            .filter(|membership| membership.joined)
            .map(|membership| &*self.queues[membership.queue].name)
            .collect();
        names.sort_unstable();
        names
    }

    /// Ids of an agent's joined queues, by position.
    pub fn queue_ids(&self, position: usize) -> Vec<&QueueId> {
        let memberships = self.entries[position].agent.memberships.iter();
        memberships
            .filter(|membership| membership.joined)
            .map(|membership| &self.queues[membership.queue].id)
            .collect()
    }

    /// One more agent; `None` if there are as many as there may be.
    pub fn add(&mut self, at: UnixMillis) -> Option<UserId> {
        if self.entries.len() >= AGENTS_MAX as usize {
            return None;
        }
        Some(self.push(Some(at)))
    }

    /// Takes an agent out of the registry; false if it is not in it.
    pub fn remove(&mut self, id: &str, at: UnixMillis) -> bool {
        let entry = self.find(id).map(|position| &mut self.entries[position]);
        match entry {
            Some(entry) if entry.is_registered(at) => {
                entry.left = Some(at);
                true
            }
            _ => false,
        }
    }

    fn push(&mut self, joined: Option<UnixMillis>) -> UserId {
        let agent = Agent::generate(&self.spec, self.entries.len() as u32);
        let id = agent.id.clone();
        self.by_id.insert(id.clone(), self.entries.len());
        self.entries.push(Entry {
            timeline: Timeline::new(&self.spec, self.origin, &agent),
            agent,
            joined,
            left: None,
        });
        id
    }
}
