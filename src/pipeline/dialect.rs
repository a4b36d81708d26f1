//! The seam between the two dialects: what a scan and a question about one agent ask, and what
//! the answers mean. Whatever differs between them stands here; the stages only see the values.
//!
//! With `source.dialect: auto` the platform is asked once for `/api/v2/users/statuses`, which the
//! public platform does not have: 404 means `platform`, and so does 400, since it may read the path
//! as a user whose id cannot be one. Until it has answered, a question is what
//! a snapshot would be: counted, retried and paused in the same way.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::answers::Failure;
use super::names::Names;
use super::{Flight, Pipeline, Task};
use crate::config::Dialect;
use crate::effect::{Effect, Level};
use crate::model::ids::UserId;
use crate::model::time::{Millis, Monotonic, Now};
use crate::model::view::SnapshotOutcome;
use crate::poller::Priority;
use crate::upstream::request::{ApiRequest, USERS_PAGE_SIZE, tells_no_snapshot};
use crate::upstream::wire::{RoutingStates, StatusPage};
use crate::upstream::wire_platform::{self, AgentAnswer, UsersReader};
use crate::upstream::wire_status::{self, StatusesReader, WireError};

/// Page sizes of the scan, tried from the largest down as the platform refuses
/// (platform-api.md §2: 500 works with expands; 25 is the platform's own default).
const PAGE_SIZES: [u32; 4] = [USERS_PAGE_SIZE, 200, 100, 25];

/// A dialect that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// The User Status API: a bulk snapshot, and the routing state of one user.
    Status,
    /// The public platform API: users with presence and routing status, so many a page.
    Platform {
        /// Users a page.
        page_size: u32,
    },
}

impl Spoken {
    /// The dialect that is configured; `None` if the platform is to be asked.
    pub(super) fn configured(dialect: Dialect) -> Option<Self> {
        match dialect {
            Dialect::Auto => None,
            Dialect::Status => Some(Self::Status),
            Dialect::Platform => Some(Self::Platform {
                page_size: PAGE_SIZES[0],
            }),
        }
    }

    /// Whether the scan itself tells who is registered (semantics.md §12.5).
    pub(super) fn scan_is_registry(self) -> bool {
        matches!(self, Self::Platform { .. })
    }

    /// Whether the scan itself confirms agents, so that nobody is asked again by age.
    pub(super) fn scan_confirms(self) -> bool {
        matches!(self, Self::Platform { .. })
    }

    /// Asks for a page of the scan.
    pub(super) fn scan(self, page: u32) -> ApiRequest {
        match self {
            Self::Status => ApiRequest::Statuses { page },
            Self::Platform { page_size } => ApiRequest::UsersScan {
                page,
                size: page_size,
            },
        }
    }

    /// Asks for the routing state of one agent.
    pub(super) fn agent(self, user: UserId) -> ApiRequest {
        match self {
            Self::Status => ApiRequest::RoutingState { user },
            Self::Platform { .. } => ApiRequest::UserStatus { user },
        }
    }

    /// A page size that is smaller than one that was refused.
    fn smaller_pages(self) -> Option<Self> {
        let Self::Platform { page_size } = self else {
            return None;
        };
        let smaller = PAGE_SIZES.into_iter().find(|size| *size < page_size)?;
        Some(Self::Platform { page_size: smaller })
    }
}

/// Reads scans, each beside the one before it.
#[derive(Debug, Default)]
pub(super) struct ScanReader {
    statuses: StatusesReader,
    users: UsersReader,
}

impl ScanReader {
    /// Reads page `number` of a scan, counted from 1. An id that is among `held` is taken from
    /// there.
    pub(super) fn read(
        &mut self,
        spoken: Spoken,
        number: u32,
        body: &Bytes,
        held: &BTreeSet<UserId>,
        names: &mut Names,
    ) -> Result<StatusPage, WireError> {
        match spoken {
            Spoken::Status => self.statuses.read(number, body, held),
            Spoken::Platform { .. } => {
                let note = &mut |user: &UserId, name: &str| names.note(user, name);
                self.users.read(number, body, held, note)
            }
        }
    }
}

impl Pipeline {
    /// Finds out what is spoken; true once it is known.
    pub(super) fn plan_dialect(&mut self, now: Now, effects: &mut Vec<Effect>) -> bool {
        if self.spoken.is_some() {
            return true;
        }
        let asked = self.flights.values().any(|f| f.task == Task::Probe)
            || self.repeats.iter().any(|(_, f)| f.task == Task::Probe);
        if asked || self.cycle.due() > now.mono {
            return false;
        }
        if let Some(retry_at) = self.breaker.retry_at().filter(|at| *at > now.mono) {
            self.cycle.paused_until(retry_at);
        } else if self.admit(Priority::Snapshot, 1, now.mono) {
            if self.breaker.may_poll(now.mono) {
                self.cycle.started(now.mono);
                let request = ApiRequest::Statuses { page: 1 };
                self.send(Task::Probe, request, Priority::Snapshot, effects);
            } else {
                self.budget.given_back(Priority::Snapshot, 1, now.mono);
                self.cycle.rejected(now.mono);
            }
        }
        false
    }

    /// The bulk snapshot was answered with success: if it is one, dialect `status` is spoken.
    pub(super) fn on_probe(&mut self, body: &[u8], now: Now) {
        match wire_status::statuses(body) {
            Ok(_) => self.speak(Spoken::Status, now),
            Err(error) => {
                let message = format!("the dialect cannot be told: {error}; asking again");
                self.notice(Level::Warn, "dialect", message);
                self.snapshot_failed(SnapshotOutcome::FailedParse, now);
            }
        }
    }

    /// The probe has no success. 404 and 400 tell something; whatever else it is, a snapshot would
    /// have failed by it too, and counts as one.
    pub(super) fn probe_failed(&mut self, failure: Failure, now: Now) {
        match failure {
            Failure::Status(status) if tells_no_snapshot(status) => {
                if let Some(platform) = Spoken::configured(Dialect::Platform) {
                    self.speak(platform, now);
                }
            }
            // It is there, and not for us: the snapshot says what permission is missing.
            Failure::Status(403) => self.speak(Spoken::Status, now),
            _ => self.snapshot_failed(failure.outcome(), now),
        }
    }

    fn speak(&mut self, spoken: Spoken, now: Now) {
        self.adopt(spoken, now.mono);
        // The first scan is asked for at once; it decides what the breaker wants to know.
        self.breaker.probe_undecided(now.mono);
        self.cycle.paused_until(now.mono);
        let name = match spoken {
            Spoken::Status => Dialect::Status,
            Spoken::Platform { .. } => Dialect::Platform,
        };
        self.notice(
            Level::Info,
            "dialect",
            format!("the platform speaks the dialect {}", name.word()),
        );
    }

    /// Sets up what follows from a dialect.
    pub(super) fn adopt(&mut self, spoken: Spoken, now: Monotonic) {
        self.spoken = Some(spoken);
        self.begin_push(spoken, now);
        if spoken.scan_is_registry() {
            self.registry.fed_by_scans();
        }
        if spoken.scan_confirms() {
            // The scan is no cache (semantics.md §1, confirmed_until).
            self.config.cache_age = Millis::ZERO;
            self.reconciler.set_cache_age(Millis::ZERO);
        }
    }

    /// Whether a scan may go out: it can be judged, or makes the registry itself.
    pub(super) fn may_scan(&self) -> bool {
        self.registry.is_known() || self.spoken.is_some_and(Spoken::scan_is_registry)
    }

    /// A scan refused for the size of its pages is asked again with smaller ones; false if that
    /// is not what happened.
    pub(super) fn ask_smaller_pages(&mut self, flight: &Flight, status: u16, now: Now) -> bool {
        let too_large = flight.task == Task::Snapshot && matches!(status, 400 | 413);
        let Some(Spoken::Platform { page_size: before }) = self.spoken.filter(|_| too_large) else {
            return false;
        };
        let Some(smaller) = self.spoken.and_then(Spoken::smaller_pages) else {
            return false;
        };
        let Spoken::Platform { page_size } = smaller else {
            return false;
        };
        self.spoken = Some(smaller);
        self.end_scan();
        self.breaker.probe_undecided(now.mono);
        self.fit_interval((self.snapshot_pages * before).div_ceil(page_size));
        self.cycle.paused_until(now.mono);
        self.notice(
            Level::Warn,
            "page_size",
            format!(
                "the platform answered {status} to a scan with {before} users a page; asking for \
                 {page_size}"
            ),
        );
        true
    }

    /// Reads an answer about one agent: its segments as far as they are told. `Ok(None)`: nothing
    /// was said of it.
    pub(super) fn read_agent(
        &mut self,
        user: &UserId,
        body: &[u8],
        sent_at: Now,
    ) -> Result<Option<RoutingStates>, WireError> {
        match self.spoken {
            Some(Spoken::Platform { .. }) => match wire_platform::user(body, user)? {
                AgentAnswer::Incomplete(_) => Ok(None),
                AgentAnswer::Told(record) => {
                    let at = self.skew.platform_at_least(sent_at);
                    self.reconciler.note_presence(&record);
                    let fact = record.platform.as_ref();
                    Ok(fact.and_then(|fact| self.reconciler.note_platform(&record, fact, at)))
                }
            },
            Some(Spoken::Status) | None => wire_status::routing_states(body, user).map(Some),
        }
    }
}

#[cfg(test)]
mod tests;
