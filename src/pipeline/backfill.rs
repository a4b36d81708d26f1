//! Backfill: asks the public platform what happened while nobody looked.
//!
//! Holes are noted by the reconciler. Each is asked for a moment after it was found, because the
//! platform's analytics are not of the second, and again after growing pauses while it is not
//! written down; a hundred users a query, with what the budget leaves to upkeep. That a hole waits
//! is the reconciler's to remember, over restarts too; when to ask for it is decided here.

use std::collections::{BTreeMap, BTreeSet};

use super::Pipeline;
use super::Task;
use super::answers::Failure;
use super::dialect::Spoken;
use crate::effect::{Effect, Level};
use crate::model::ids::UserId;
use crate::model::time::{Millis, Monotonic, Now, UnixMillis};
use crate::poller::Priority;
use crate::reconciler::holes::{Filling, Hole};
use crate::upstream::request::{ApiRequest, DETAILS_USERS_MAX, DetailsQuery};
use crate::upstream::wire_platform;

/// From finding a hole to asking for it: holes of one scan go into one query.
const SETTLE: Millis = Millis::from_secs(2);
/// Before a hole is asked for the second time; doubles with each further time.
const AGAIN: Millis = Millis::from_secs(15);
/// Times a hole is asked for: the last one more than a quarter of an hour after the first.
const ATTEMPTS_MAX: u32 = 7;
/// Holes that wait at most, a snapshot of the largest organisation's; what exceeds stays unknown.
const HOLES_MAX: usize = 200_000;
/// Holes in one query lie within this of the first: one long absence must not make a hundred
/// short answers long.
const SPREAD: Millis = Millis::from_secs(3_600);
/// Oldest hole asked for: a query by user may span 31 days (platform-api.md §2.8).
const AGE_MAX: Millis = Millis::from_secs(30 * 86_400);
/// After a failure nothing is asked for this long; after a refusal, which somebody has to
/// remedy, longer.
const PAUSE_FAILED: Millis = Millis::from_secs(30);
const PAUSE_REFUSED: Millis = Millis::from_secs(600);

/// Names a hole: whose, and where it ends.
type Key = (UserId, UnixMillis);

/// A hole that waits.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    hole: Hole,
    due: Monotonic,
    attempts: u32,
}

/// Holes that are to be filled.
#[derive(Debug, Clone, Default)]
pub(super) struct Backfill {
    wanted: BTreeMap<Key, Wanted>,
    /// In the query that is out.
    asked: BTreeSet<Key>,
    paused_until: Option<Monotonic>,
}

impl Backfill {
    /// When there is something to ask; `None` while a query is out or nothing waits.
    pub(super) fn due(&self) -> Option<Monotonic> {
        if !self.asked.is_empty() {
            return None;
        }
        let due = self.wanted.values().map(|wanted| wanted.due).min()?;
        Some(self.paused_until.map_or(due, |paused| due.max(paused)))
    }

    fn add(&mut self, user: UserId, hole: Hole, now: Monotonic) {
        if self.wanted.len() < HOLES_MAX {
            self.wanted.entry((user, hole.until)).or_insert(Wanted {
                hole,
                due: now + SETTLE,
                attempts: 0,
            });
        }
    }

    /// The next query, about holes that lie near one another.
    fn query(&mut self, now: Monotonic) -> Option<DetailsQuery> {
        let ready = |wanted: &Wanted| wanted.due <= now;
        let first = self.wanted.values().find(|wanted| ready(wanted))?.hole;
        let mut users = BTreeSet::new();
        let (mut from, mut to) = (first.after, first.until);
        for (key, wanted) in self.wanted.iter().filter(|(_, wanted)| ready(wanted)) {
            let hole = wanted.hole;
            let near = hole.after >= first.after - SPREAD && hole.until <= first.until + SPREAD;
            let fits = users.len() < DETAILS_USERS_MAX || users.contains(&key.0);
            if near && fits {
                users.insert(key.0.clone());
                self.asked.insert(key.clone());
                from = from.min(hole.after);
                to = to.max(hole.until);
            }
        }
        Some(DetailsQuery {
            from,
            // Bounds are half-open, and the status that ends a hole must be in the answer.
            to: to + Millis::from_secs(1),
            users: users.into_iter().collect(),
            page: 1,
        })
    }

    /// The hole has not been filled this time; it is given back if it was the last time.
    fn again(&mut self, key: &Key, now: Monotonic) -> Option<Hole> {
        let wanted = self.wanted.get_mut(key)?;
        wanted.due = now + Millis(AGAIN.0 << wanted.attempts);
        wanted.attempts += 1;
        let hole = wanted.hole;
        if wanted.attempts < ATTEMPTS_MAX {
            return None;
        }
        self.wanted.remove(key);
        Some(hole)
    }
}

impl Pipeline {
    /// Takes over what the reconciler found.
    pub(super) fn collect_holes(&mut self, now: Now) {
        for (user, hole) in self.reconciler.take_holes() {
            self.backfill.add(user, hole, now.mono);
        }
    }

    pub(super) fn plan_backfill(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !matches!(self.spoken, Some(Spoken::Platform { .. }))
            || self.backfill.due().is_none_or(|due| due > now.mono)
            || !self.admit(Priority::Upkeep, 1, now.mono)
        {
            return;
        }
        self.forget_holes(now);
        match self.backfill.query(now.mono) {
            Some(query) => {
                let request = ApiRequest::UserDetails(query);
                self.send(Task::Backfill, request, Priority::Upkeep, effects);
            }
            None => self.budget.given_back(Priority::Upkeep, 1, now.mono),
        }
    }

    /// Lets go of holes that are too old to ask for, or that something else has filled.
    fn forget_holes(&mut self, now: Now) {
        let oldest = self.platform_now(now) - AGE_MAX;
        let reconciler = &mut self.reconciler;
        self.backfill.wanted.retain(|(user, _), wanted| {
            if wanted.hole.after < oldest {
                reconciler.give_up(user, wanted.hole);
            }
            reconciler.waits(user, wanted.hole)
        });
    }

    fn ask_again(&mut self, key: &Key, now: Now) {
        if let Some(hole) = self.backfill.again(key, now.mono) {
            self.reconciler.give_up(&key.0, hole);
        }
    }

    pub(super) fn on_details(&mut self, body: &[u8], ingested_at: UnixMillis, now: Now) {
        let page = match wire_platform::user_details(body) {
            Ok(page) => page,
            Err(error) => {
                let message = format!("the history of users cannot be read: {error}");
                self.notice(Level::Warn, "history", message);
                self.backfill_failed(Failure::Status(200), now);
                return;
            }
        };
        self.reconciler.count_refused(page.refused.len() as u64);
        let asked = std::mem::take(&mut self.backfill.asked);
        let mut filled = 0_u64;
        for key in &asked {
            let past = page.users.iter().find(|past| past.user == key.0);
            let wanted = self.backfill.wanted.get(key).copied();
            let (Some(past), Some(wanted)) = (past, wanted) else {
                self.ask_again(key, now);
                continue;
            };
            match self
                .reconciler
                .on_history(&key.0, wanted.hole, past, ingested_at)
            {
                Filling::Filled => {
                    filled += 1;
                    self.backfill.wanted.remove(key);
                }
                Filling::Refused => drop(self.backfill.wanted.remove(key)),
                Filling::NotYet => self.ask_again(key, now),
            }
        }
        if filled > 0 {
            let message = format!("history fills {filled} of {} holes", asked.len());
            self.notice(Level::Info, "history", message);
        }
        self.touch(now);
    }

    /// No usable answer. Holes keep their turn: it was not them.
    pub(super) fn backfill_failed(&mut self, failure: Failure, now: Now) {
        self.backfill.asked.clear();
        let pause = match failure {
            Failure::Status(400..=499) => PAUSE_REFUSED,
            _ => PAUSE_FAILED,
        };
        self.backfill.paused_until = Some(now.mono + pause);
    }
}
