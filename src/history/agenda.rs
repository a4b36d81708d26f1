//! What is to happen when, in virtual time. Pure.
//!
//! The virtual-time loops of the tests use it too.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::model::time::UnixMillis;

/// Turns within one millisecond before a loop counts as spinning: far more than there can be
/// answers and appends at once.
const TURNS_MAX: u32 = 10_000;

/// Events by their instants; those of one instant in the order in which they were put down.
#[derive(Debug)]
pub struct Agenda<E> {
    queue: BinaryHeap<Reverse<(UnixMillis, u64)>>,
    events: BTreeMap<u64, E>,
    put: u64,
    turned: UnixMillis,
    turns: u32,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self {
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            put: 0,
            turned: UnixMillis::default(),
            turns: 0,
        }
    }
}

impl<E> Agenda<E> {
    /// Puts an event down.
    pub fn put(&mut self, at: UnixMillis, event: E) {
        self.put += 1;
        self.queue.push(Reverse((at, self.put)));
        self.events.insert(self.put, event);
    }

    /// When the next one is due.
    pub fn next_at(&self) -> Option<UnixMillis> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// The next one, if it is due by now. Every turn of a loop asks once.
    ///
    /// # Panics
    /// If a loop goes on asking and time does not.
    pub fn take(&mut self, now: UnixMillis) -> Option<E> {
        self.turns = if now == self.turned {
            self.turns + 1
        } else {
            0
        };
        self.turned = now;
        assert!(self.turns < TURNS_MAX, "the pipeline spins at {now}");
        self.next_at().filter(|at| *at <= now)?;
        let Reverse((_, number)) = self.queue.pop()?;
        self.events.remove(&number)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use super::*;

    #[test]
    fn events_come_by_instant_and_then_as_they_were_put_down() {
        let mut agenda = Agenda::default();
        for (at, event) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b')] {
            agenda.put(UnixMillis(at), event);
        }
        assert_eq!(agenda.next_at(), Some(UnixMillis(3)));
        assert_eq!(agenda.take(UnixMillis(2)), None);
        let mut taken = |now| agenda.take(UnixMillis(now));
        assert_eq!([taken(3), taken(3), taken(4)], [Some('a'), Some('b'), None]);
        assert_eq!([taken(9), taken(9), taken(9)], [Some('c'), Some('d'), None]);
    }

    #[test]
    fn time_that_stands_still_is_noticed() {
        let mut agenda = Agenda::<()>::default();
        let mut turn = |at| agenda.take(UnixMillis(at));
        for _ in 0..TURNS_MAX {
            turn(7);
        }
        // It went on in time, and counts anew.
        for _ in 0..TURNS_MAX {
            turn(8);
        }
        let spins = std::panic::catch_unwind(AssertUnwindSafe(|| turn(8))).unwrap_err();
        let said = spins.downcast_ref::<String>().unwrap();
        assert_eq!(said, "the pipeline spins at 1970-01-01T00:00:00.008Z");
    }
}
