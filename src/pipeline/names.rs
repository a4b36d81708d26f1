//! Agents' names, where their series are to have them (`metrics.per_agent: name`), and nothing
//! otherwise: then they are dropped as they are read. Kept in memory alone; no checkpoint, journal or store
//! has them, and the view shows them to label values only.

use std::sync::Arc;

use crate::model::ids::UserId;
use crate::model::label::clean_label;
use crate::model::view::AgentNames;

/// What is known of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    wanted: bool,
    known: Arc<AgentNames>,
    /// Everybody's name was told once: until then a label could be an id now and a name later.
    complete: bool,
}

impl Names {
    pub(super) fn new(wanted: bool) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    /// Takes a name as an answer tells it; no more of it is kept than a label can show.
    pub(super) fn note(&mut self, user: &UserId, name: &str) {
        if !self.wanted {
            return;
        }
        let name = clean_label(name);
        if self.known.get(user).is_none_or(|known| **known != *name) {
            Arc::make_mut(&mut self.known).insert(user.clone(), Arc::from(name));
        }
    }

    /// A listing has come to its end; these have left.
    pub(super) fn listed(&mut self, left: &[UserId]) {
        self.complete = self.wanted;
        if left.iter().any(|user| self.known.contains_key(user)) {
            let known = Arc::make_mut(&mut self.known);
            for user in left {
                known.remove(user);
            }
        }
    }

    /// What the view shows; `None` while names are not wanted or not known yet.
    pub(super) fn shown(&self) -> Option<Arc<AgentNames>> {
        self.complete.then(|| Arc::clone(&self.known))
    }
}
