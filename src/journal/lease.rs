//! Which of several pollers polls: one holds a lease, the others wait until it runs out.
//!
//! No two machines' clocks are compared. Whoever waits counts from when it saw the lease change
//! last, by its own clock; whoever holds it counts from before it asked for it to be prolonged.
//! So the holder stops before anybody else begins.

use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

use crate::model::time::{Millis, Monotonic, Now, UnixMillis};

/// What is written where all can read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Who holds the lease; empty: it was given back.
    pub holder: String,
    /// What the holder has spent of the budget, as its checkpoint says it: whoever follows counts
    /// it too.
    pub spent: String,
}

/// What to do about a lease that somebody else may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// Look again later.
    Wait,
    /// Take it in place of the revision seen; `None`: there is none.
    Take(Option<u64>),
}

/// Watches a lease that somebody else may hold.
#[derive(Debug)]
pub(super) struct Watch {
    me: String,
    ttl: Millis,
    seen: Option<(Option<u64>, Monotonic)>,
}

impl Watch {
    /// Has seen nothing yet.
    pub(super) fn new(me: &str, ttl: Millis) -> Self {
        Self {
            me: me.to_owned(),
            ttl,
            seen: None,
        }
    }

    /// Takes what is written now. One that is not there may have been lost with its holder alive,
    /// so it is waited for like any other.
    pub(super) fn look(&mut self, written: Option<(u64, &Claim)>, now: Monotonic) -> Move {
        let revision = written.map(|(revision, _)| revision);
        let free = |claim: &Claim| claim.holder.is_empty() || claim.holder == self.me;
        if written.is_some_and(|(_, claim)| free(claim)) {
            return Move::Take(revision);
        }
        match self.seen {
            Some((seen, since)) if seen == revision => {
                if now - since >= self.ttl {
                    Move::Take(revision)
                } else {
                    Move::Wait
                }
            }
            _ => {
                self.seen = Some((revision, now));
                Move::Wait
            }
        }
    }

    /// Somebody else took it first.
    pub(super) fn missed(&mut self) {
        self.seen = None;
    }
}

/// Until when its holder may act on a lease.
#[derive(Debug)]
pub struct Permit {
    mono: AtomicI64,
    wall: AtomicI64,
}

impl Permit {
    /// Held by nobody.
    pub const fn none() -> Self {
        Self {
            mono: AtomicI64::new(i64::MIN),
            wall: AtomicI64::new(i64::MIN),
        }
    }

    /// Holds until `ttl` after `from`, when its renewal was asked for. By both clocks: one of them
    /// stands still while the machine sleeps.
    pub fn prolong(&self, from: Now, ttl: Millis) {
        self.mono.store((from.mono + ttl).0, Ordering::Relaxed);
        self.wall.store((from.wall + ttl).0, Ordering::Relaxed);
    }

    /// Is not held any more.
    pub fn revoke(&self) {
        self.mono.store(i64::MIN, Ordering::Relaxed);
    }

    /// Whether it holds.
    pub fn holds(&self, now: Now) -> bool {
        now.mono < self.until() && now.wall < UnixMillis(self.wall.load(Ordering::Relaxed))
    }

    /// The instant at which it ends.
    pub fn until(&self) -> Monotonic {
        Monotonic(self.mono.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Millis = Millis::from_secs(12);

    fn claim(holder: &str) -> Claim {
        Claim {
            holder: holder.to_owned(),
            spent: "{}".to_owned(),
        }
    }

    fn at(seconds: i64) -> Monotonic {
        Monotonic(seconds * 1_000)
    }

    #[test]
    fn a_lease_is_taken_only_once_it_has_not_moved_for_its_time() {
        let mut watch = Watch::new("me", TTL);
        let other = claim("other");
        assert_eq!(watch.look(Some((1, &other)), at(0)), Move::Wait);
        assert_eq!(watch.look(Some((1, &other)), at(11)), Move::Wait);
        // Prolonged at the last moment: the time runs anew.
        assert_eq!(watch.look(Some((2, &other)), at(11)), Move::Wait);
        assert_eq!(watch.look(Some((2, &other)), at(22)), Move::Wait);
        assert_eq!(watch.look(Some((2, &other)), at(23)), Move::Take(Some(2)));
        watch.missed();
        assert_eq!(watch.look(Some((3, &other)), at(24)), Move::Wait);
    }

    #[test]
    fn one_that_was_given_back_or_is_mine_is_taken_at_once() {
        let mut watch = Watch::new("me", TTL);
        assert_eq!(
            watch.look(Some((1, &claim(""))), at(0)),
            Move::Take(Some(1))
        );
        assert_eq!(
            watch.look(Some((4, &claim("me"))), at(0)),
            Move::Take(Some(4))
        );
    }

    #[test]
    fn one_that_is_lost_is_waited_for_like_any_other() {
        let mut watch = Watch::new("me", TTL);
        assert_eq!(watch.look(Some((7, &claim("other"))), at(0)), Move::Wait);
        assert_eq!(watch.look(None, at(11)), Move::Wait);
        assert_eq!(watch.look(None, at(22)), Move::Wait);
        assert_eq!(watch.look(None, at(23)), Move::Take(None));
    }

    #[test]
    fn a_permit_ends_by_either_clock() {
        let now = |mono: i64, wall: i64| Now {
            mono: at(mono),
            wall: UnixMillis(wall * 1_000),
        };
        let permit = Permit::none();
        assert!(!permit.holds(now(0, 0)));
        permit.prolong(now(100, 5_000), TTL);
        assert!(permit.holds(now(111, 5_011)));
        assert!(!permit.holds(now(112, 5_011)));
        assert!(!permit.holds(now(101, 5_012)), "the machine slept");
        permit.revoke();
        assert!(!permit.holds(now(101, 5_001)));
    }
}
