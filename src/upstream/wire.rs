//! What answers mean once they are read: domain values, whatever the dialect.
//!
//! The dialect's parser makes them; the stages after it never see JSON.

use std::sync::Arc;

use crate::model::ids::{QueueId, UserId};
use crate::model::platform_status::PlatformStatus;
use crate::model::state::{Presence, RoutingState};
use crate::model::time::UnixMillis;

/// One agent in a status snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRecord {
    /// The agent; never empty.
    pub user_id: UserId,
    /// Committed UI presence.
    pub presence: Presence,
    /// Routing availability as cached by the bulk service; only until the agent is joined.
    pub availability: RoutingState,
    /// Last change of presence or availability, by the platform's clock.
    pub last_modified: UnixMillis,
    /// What a scan of the public platform tells beside: there `availability` is no cache, it has
    /// a start. `None` in dialect `status`, where nobody shall pay for its room.
    pub platform: Option<Box<PlatformFact>>,
}

impl StatusRecord {
    /// Since when the agent has its presence.
    pub fn presence_since(&self) -> UnixMillis {
        self.platform
            .as_ref()
            .map_or(self.last_modified, |fact| fact.presence_since)
    }
}

/// The public platform's routing status of an agent (platform-api.md §10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformFact {
    /// The status.
    pub status: PlatformStatus,
    /// The platform's own word, if this version does not know it.
    pub raw_status: Option<Arc<str>>,
    /// `routingStatus.startTime`; one interaction and its after-call work share it. `None`: the
    /// platform gave none.
    pub since: Option<UnixMillis>,
    /// `presence.modifiedDate`.
    pub presence_since: UnixMillis,
    /// Interacting, and yet without any interaction or after-call work.
    pub unoccupied: bool,
}

/// Why a record was refused alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalReason {
    /// No user id, or an empty one.
    EmptyId,
    /// A field has the wrong type or is missing.
    Shape,
    /// A timestamp cannot be read.
    Time,
    /// A timestamp lies in the future beyond the tolerance.
    Future,
}

impl RefusalReason {
    /// For log lines.
    pub const fn label(self) -> &'static str {
        match self {
            Self::EmptyId => "empty_id",
            Self::Shape => "shape",
            Self::Time => "time",
            Self::Future => "future",
        }
    }
}

/// Paging fields of a listing; all optional on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Paging {
    /// `total`: rows of the whole listing.
    pub total: Option<u64>,
    /// `pageCount`.
    pub page_count: Option<u32>,
    /// `nextUri` was present and not null. The URI itself is never followed: the next page's
    /// address is built from our own base URL.
    pub has_next: bool,
    /// Rows on this page, refused ones included.
    pub rows: usize,
}

/// A page of the bulk snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusPage {
    /// Records in order of appearance; duplicates are still in.
    pub records: Vec<StatusRecord>,
    /// Records refused alone.
    pub refused: Vec<RefusalReason>,
    /// Agents that are listed without what was asked for about them: expands are best effort.
    pub incomplete: Vec<UserId>,
    /// `None` for a bare array, which is always the whole listing.
    pub paging: Option<Paging>,
}

/// One entry of `routingStates`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingEntry {
    /// The state.
    pub state: RoutingState,
    /// The platform's own word, if this version does not know it.
    pub raw_state: Option<Arc<str>>,
    /// `wrapState`.
    pub wrapup_code: Option<Arc<str>>,
    /// `stateEnteredTimestamp`.
    pub entered_at: UnixMillis,
    /// The start was observed by us rather than read from the platform (semantics.md §12.11).
    pub estimated: bool,
}

/// A user's routing state: the answer of `/routing/users/{userId}/state`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoutingStates {
    /// By `entered_at`, ascending, one each; the last is the current state. Empty: unknown.
    pub entries: Vec<RoutingEntry>,
    /// Entries refused alone. If there are any, neighbours are not proven to be consecutive.
    pub refused: Vec<RefusalReason>,
}

/// A page of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsersPage {
    /// Active users.
    pub users: Vec<UserId>,
    /// Paging.
    pub paging: Paging,
}

/// A page of queues.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueuesPage {
    /// Id and name.
    pub queues: Vec<(QueueId, Arc<str>)>,
    /// Paging.
    pub paging: Paging,
}

/// A page of a queue's members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MembersPage {
    /// Joined members.
    pub members: Vec<UserId>,
    /// Paging; a members listing has no total.
    pub paging: Paging,
}
