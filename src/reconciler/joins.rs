//! Whose routing state to ask next: the queues behind the join plan.
//!
//! An agent stands in at most one of them, and leaves the pending ones only by being asked; a join
//! that the budget sheds is never lost (semantics.md §12.1).

use std::collections::{BTreeSet, VecDeque};

use crate::model::ids::UserId;
use crate::model::time::{Millis, UnixMillis};

/// An agent confirmed by itself more recently than this is not asked again for upkeep alone.
pub const UPKEEP_AGE_MIN: Millis = Millis::from_secs(60);

/// Why an agent is to be asked, in falling priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JoinClass {
    /// A failed divergence validation distrusts what is held of it.
    Forced,
    /// The snapshot says that it changed.
    Changed,
    /// It was never asked.
    NeverJoined,
    /// It was asked longest ago.
    Oldest,
}

/// The queues.
#[derive(Debug, Clone, Default)]
pub struct Joins {
    forced: VecDeque<UserId>,
    changed: VecDeque<UserId>,
    never: VecDeque<UserId>,
    by_age: BTreeSet<(UnixMillis, UserId)>,
}

impl Joins {
    /// Puts an agent at the end of a pending queue.
    pub fn push(&mut self, class: JoinClass, user: UserId) {
        match class {
            JoinClass::Forced => self.forced.push_back(user),
            JoinClass::Changed => self.changed.push_back(user),
            JoinClass::NeverJoined => self.never.push_back(user),
            JoinClass::Oldest => {}
        }
    }

    /// The head of a class; `owed` says whether a pending agent still is.
    pub fn head(
        &mut self,
        class: JoinClass,
        at: UnixMillis,
        owed: impl Fn(&UserId) -> bool,
    ) -> Option<UserId> {
        let queue = match class {
            JoinClass::Forced => &mut self.forced,
            JoinClass::Changed => &mut self.changed,
            JoinClass::NeverJoined => &mut self.never,
            JoinClass::Oldest => {
                let (confirmed, user) = self.by_age.first()?;
                return (at - *confirmed >= UPKEEP_AGE_MIN).then(|| user.clone());
            }
        };
        while let Some(user) = queue.front() {
            if owed(user) {
                return Some(user.clone());
            }
            queue.pop_front();
        }
        // At a start everybody stands here; nobody keeps the room for them.
        *queue = VecDeque::new();
        None
    }

    /// Takes the head of a class, which [`Self::head`] just named.
    pub fn take(&mut self, class: JoinClass) {
        match class {
            JoinClass::Forced => drop(self.forced.pop_front()),
            JoinClass::Changed => drop(self.changed.pop_front()),
            JoinClass::NeverJoined => drop(self.never.pop_front()),
            JoinClass::Oldest => {}
        }
    }

    /// When the head of the upkeep class may be asked, by the platform's clock.
    pub fn upkeep_due(&self) -> Option<UnixMillis> {
        self.by_age
            .first()
            .map(|(confirmed, _)| *confirmed + UPKEEP_AGE_MIN)
    }

    /// Lets an agent wait for upkeep.
    pub fn rest(&mut self, confirmed: UnixMillis, user: UserId) {
        self.by_age.insert((confirmed, user));
    }

    /// Takes an agent out of upkeep.
    pub fn wake(&mut self, confirmed: UnixMillis, user: &UserId) {
        self.by_age.remove(&(confirmed, user.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_first_in_first_out_and_skip_who_is_no_longer_owed() {
        let mut joins = Joins::default();
        for id in ["a", "b", "c"] {
            joins.push(JoinClass::Changed, UserId::new(id));
        }
        let owed = |user: &UserId| user.as_str() != "a";
        let at = UnixMillis(0);
        assert_eq!(
            joins.head(JoinClass::Changed, at, owed).unwrap().as_str(),
            "b"
        );
        assert_eq!(
            joins.head(JoinClass::Changed, at, owed).unwrap().as_str(),
            "b"
        );
        joins.take(JoinClass::Changed);
        assert_eq!(
            joins.head(JoinClass::Changed, at, owed).unwrap().as_str(),
            "c"
        );
        assert_eq!(joins.head(JoinClass::Forced, at, owed), None);
    }

    #[test]
    fn upkeep_takes_the_oldest_and_leaves_the_fresh_alone() {
        let mut joins = Joins::default();
        joins.rest(UnixMillis(5_000), UserId::new("young"));
        joins.rest(UnixMillis(1_000), UserId::new("old"));
        let head = |joins: &mut Joins, at| joins.head(JoinClass::Oldest, UnixMillis(at), |_| true);
        assert_eq!(head(&mut joins, 60_999), None);
        assert_eq!(joins.upkeep_due(), Some(UnixMillis(61_000)));
        assert_eq!(head(&mut joins, 61_000).unwrap().as_str(), "old");
        joins.wake(UnixMillis(1_000), &UserId::new("old"));
        assert_eq!(head(&mut joins, 65_000).unwrap().as_str(), "young");
    }
}
