//! The registry of active users: who is expected in a snapshot (semantics.md §8).
//!
//! Accepted only complete: pages that do not add up, an empty answer, or one that lost more than
//! half at once leave the last good registry in force. Nobody leaves it for being absent from a
//! status snapshot.

use std::collections::BTreeSet;

use crate::model::ids::UserId;
use crate::model::time::{Millis, Monotonic};
use crate::upstream::wire::UsersPage;

use super::paging::{Listing, Step};

/// A refresh asked for by an event starts at most this often: a stranger in every snapshot must
/// not cost a listing in every cycle (semantics.md §12.12).
const REQUESTED_EVERY: Millis = Millis::from_secs(60);
/// While no registry is known nothing can be judged, so a failed listing is repeated sooner.
const FIRST_RETRY: Millis = Millis::from_secs(10);
/// Two suspiciously small answers agree if they share this part of the larger, in percent:
/// people come and go in the minutes between.
const AGREEMENT_PERCENT: usize = 90;

/// Before any reading of the clock, yet so that the span to one can be computed.
const AT_ONCE: Monotonic = Monotonic(i64::MIN / 4);

/// Longer than any run, yet so that instants this far away can be computed with.
const NEVER: Millis = Millis(i64::MAX / 8);

const _: () = assert!(FIRST_RETRY.0 < REQUESTED_EVERY.0);
const _: () = assert!(AGREEMENT_PERCENT > 50 && AGREEMENT_PERCENT <= 100);

/// What comes after a page of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Ask for this page.
    NextPage(u32),
    /// This was the last one.
    Complete(RegistryChange),
    /// The pages contradict each other: the last good registry stays.
    Inconsistent,
}

/// What a complete listing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryChange {
    /// It is the registry now.
    Replaced {
        /// New users, ordered.
        joined: Vec<UserId>,
        /// Users that are no longer active, ordered.
        left: Vec<UserId>,
    },
    /// It lost more than half: kept until a second answer agrees. The last good one stays.
    Suspected {
        /// Users in it.
        users: usize,
    },
    /// It named nobody: refused, the last good one stays.
    Empty,
}

#[derive(Debug, Clone, Default)]
struct Collecting {
    listing: Listing,
    ids: BTreeSet<UserId>,
    /// Rows that the parser refused: they count against the total.
    refused: u64,
}

/// The registry, and when to refresh it.
#[derive(Debug, Clone)]
pub struct Registry {
    refresh: Millis,
    ids: BTreeSet<UserId>,
    collecting: Option<Collecting>,
    suspected: Option<BTreeSet<UserId>>,
    /// Not named by the last complete scan.
    absent: BTreeSet<UserId>,
    begun_at: Option<Monotonic>,
    /// `None`: at once.
    next: Option<Monotonic>,
    /// A refresh was asked for while one was under way.
    again: bool,
}

impl Registry {
    /// Knows nobody; refreshed at once, then every `refresh`.
    pub fn new(refresh: Millis) -> Self {
        Self {
            refresh: Millis(refresh.0.max(1)),
            ids: BTreeSet::new(),
            collecting: None,
            suspected: None,
            absent: BTreeSet::new(),
            begun_at: None,
            next: None,
            again: false,
        }
    }

    /// Refreshes so often from now on; sooner, if that is less than was waited for.
    pub fn set_refresh(&mut self, refresh: Millis) {
        self.refresh = Millis(refresh.0.max(1));
        if let (Some(next), Some(begun)) = (self.next, self.begun_at) {
            self.next = Some(next.min(begun + self.refresh));
        }
    }

    /// Takes the registry of an earlier run; the first refresh is still due at once.
    pub fn restore(&mut self, ids: BTreeSet<UserId>) {
        self.ids = ids;
    }

    /// The scans tell who is registered (semantics.md §12.5): a listing of its own is made only
    /// when one is asked for.
    pub fn fed_by_scans(&mut self) {
        self.refresh = NEVER;
        self.next = Some(Monotonic(NEVER.0));
    }

    /// Takes the ids that a scan named. Who is new is in at once; who is not named by two
    /// complete scans in a row is out. `complete`: nobody can have slipped between its pages.
    pub fn scanned(&mut self, ids: &BTreeSet<UserId>, complete: bool) -> RegistryChange {
        if ids.is_empty() {
            return RegistryChange::Empty;
        }
        let joined: Vec<UserId> = ids.difference(&self.ids).cloned().collect();
        self.absent.retain(|user| !ids.contains(user));
        let mut left = Vec::new();
        if complete {
            let absent: BTreeSet<UserId> = self.ids.difference(ids).cloned().collect();
            left = absent.intersection(&self.absent).cloned().collect();
            self.absent = absent;
        }
        for user in &left {
            self.absent.remove(user);
            self.ids.remove(user);
        }
        self.ids.extend(joined.iter().cloned());
        RegistryChange::Replaced { joined, left }
    }

    /// A refresh begins; ask for page 1.
    pub fn begin(&mut self, now: Monotonic) {
        self.collecting = Some(Collecting::default());
        self.begun_at = Some(now);
        self.again = false;
    }

    /// Takes the next page in order. After anything but `NextPage` the refresh is over.
    pub fn page(&mut self, page: UsersPage) -> Progress {
        let Some(collecting) = &mut self.collecting else {
            return Progress::Inconsistent;
        };
        let refused = page.paging.rows.saturating_sub(page.users.len());
        collecting.refused += refused as u64;
        let held = &self.ids;
        let users = page.users.into_iter().map(|user| user.as_in(held));
        collecting.ids.extend(users);
        match collecting.listing.page(&page.paging) {
            Step::Next(number) => Progress::NextPage(number),
            Step::Inconsistent => {
                self.abandon();
                Progress::Inconsistent
            }
            Step::End => {
                let counted = collecting.ids.len() as u64 + collecting.refused;
                // Rows that moved between pages show as one twice and another not at all.
                if collecting.listing.total().is_some_and(|t| t != counted) {
                    self.abandon();
                    return Progress::Inconsistent;
                }
                let ids = std::mem::take(&mut collecting.ids);
                Progress::Complete(self.complete(ids))
            }
        }
    }

    /// The refresh failed; the last good registry stays.
    pub fn abandon(&mut self) {
        if self.collecting.take().is_some() {
            let wait = if self.is_known() {
                REQUESTED_EVERY
            } else {
                FIRST_RETRY
            };
            let wait = wait.min(self.refresh);
            self.next = self.begun_at.map(|begun| begun + wait);
        }
    }

    /// The registry in force.
    pub fn ids(&self) -> &BTreeSet<UserId> {
        &self.ids
    }

    /// How many users it has.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether a registry was ever accepted or restored.
    pub fn is_known(&self) -> bool {
        !self.ids.is_empty()
    }

    /// Whether a refresh must begin.
    pub fn due(&self, now: Monotonic) -> bool {
        self.next_due().is_some_and(|at| now >= at)
    }

    /// When the next refresh must begin; `None` while one is under way.
    pub fn next_due(&self) -> Option<Monotonic> {
        if self.collecting.is_some() {
            return None;
        }
        Some(self.next.unwrap_or(AT_ONCE))
    }

    /// Something does not fit the registry (strangers, a coverage rejection): refresh soon, at
    /// most once a minute. One that is under way may have begun before the change, so another
    /// follows it.
    pub fn request_soon(&mut self, now: Monotonic) {
        if self.collecting.is_some() {
            self.again = true;
            return;
        }
        let earliest = self.begun_at.map_or(now, |begun| begun + REQUESTED_EVERY);
        self.next = self.next.map(|at| at.min(earliest.max(now)));
    }

    fn complete(&mut self, ids: BTreeSet<UserId>) -> RegistryChange {
        self.abandon();
        if ids.is_empty() {
            return RegistryChange::Empty;
        }
        let soon = self.again.then_some(REQUESTED_EVERY);
        let wait = soon.map_or(self.refresh, |soon| soon.min(self.refresh));
        self.next = self.begun_at.map(|begun| begun + wait);
        let shrunk = ids.intersection(&self.ids).count() * 2 < self.ids.len();
        let confirmed = self.suspected.take().is_some_and(|s| agree(&s, &ids));
        if shrunk && !confirmed {
            let users = ids.len();
            self.suspected = Some(ids);
            return RegistryChange::Suspected { users };
        }
        let joined = ids.difference(&self.ids).cloned().collect();
        let left = self.ids.difference(&ids).cloned().collect();
        self.ids = ids;
        RegistryChange::Replaced { joined, left }
    }
}

fn agree(one: &BTreeSet<UserId>, other: &BTreeSet<UserId>) -> bool {
    let larger = one.len().max(other.len());
    one.intersection(other).count() * 100 >= larger * AGREEMENT_PERCENT
}

#[cfg(test)]
mod tests;
