//! Which request an entity's series travel in. Pure.
//!
//! A queue or agent keeps its place for as long as it exists: the SDK remembers by instrument
//! what a series counted last, so a series that moved would count anew.

use std::collections::{BTreeMap, BTreeSet};

/// Places of the entities of one kind.
#[derive(Debug)]
pub(super) struct Places {
    /// Entities a request, at least 1.
    capacity: usize,
    of: BTreeMap<String, usize>,
    taken: Vec<usize>,
}

impl Places {
    /// # Panics
    /// If `capacity` is zero.
    pub(super) fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "an entity must fit into a request");
        Self {
            capacity,
            of: BTreeMap::new(),
            taken: Vec::new(),
        }
    }

    /// Forgets entities that are gone and gives each new one the first free place.
    pub(super) fn settle(&mut self, present: &BTreeSet<&str>) {
        let taken = &mut self.taken;
        self.of.retain(|name, request| {
            let stays = present.contains(name.as_str());
            taken[*request] -= usize::from(!stays);
            stays
        });
        let mut first_free = 0;
        for name in present {
            if self.of.contains_key(*name) {
                continue;
            }
            while self.taken.get(first_free) == Some(&self.capacity) {
                first_free += 1;
            }
            if first_free == self.taken.len() {
                self.taken.push(0);
            }
            self.taken[first_free] += 1;
            self.of.insert((*name).to_owned(), first_free);
        }
    }

    /// The request of an entity that is settled.
    pub(super) fn of(&self, name: &str) -> Option<usize> {
        self.of.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept_filled_and_never_over_capacity() {
        let mut places = Places::new(2);
        let all = BTreeSet::from(["a", "b", "c", "d", "e"]);
        places.settle(&all);
        let of = |places: &Places| all.iter().map(|name| places.of(name)).collect::<Vec<_>>();
        assert_eq!(of(&places), [Some(0), Some(0), Some(1), Some(1), Some(2)]);
        places.settle(&BTreeSet::from(["b", "c", "d", "e"]));
        assert_eq!(of(&places), [None, Some(0), Some(1), Some(1), Some(2)]);
        // The newcomer takes the place that became free; nobody moves.
        places.settle(&BTreeSet::from(["b", "c", "d", "e", "f", "g"]));
        assert_eq!(of(&places), [None, Some(0), Some(1), Some(1), Some(2)]);
        assert_eq!((places.of("f"), places.of("g")), (Some(0), Some(2)));
    }
}
