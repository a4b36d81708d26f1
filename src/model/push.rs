//! What is counted of push (platform-api.md §3): every field is a metric of the catalog.

use std::collections::BTreeMap;

use serde::Serialize;

/// Where a channel is in its life: the values of the label `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelState {
    /// Wanted, not made yet or to be made again.
    Absent,
    /// Made; its topics are not accepted yet.
    Subscribing,
    /// Its topics are accepted; no socket is open.
    Connecting,
    /// Its socket is open.
    Live,
}

impl ChannelState {
    /// Every state, in label order.
    pub const ALL: [Self; 4] = [
        Self::Absent,
        Self::Subscribing,
        Self::Connecting,
        Self::Live,
    ];

    /// The label value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Subscribing => "subscribing",
            Self::Connecting => "connecting",
            Self::Live => "live",
        }
    }
}

/// Why a socket that was open had to be opened again, or could not be: the values of the label
/// `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReconnectReason {
    /// No heartbeat and no answer to a ping.
    Silent,
    /// The platform announced that it would close it.
    Maintenance,
    /// The platform closed it.
    Closed,
    /// It broke.
    Broken,
    /// The channel or the token behind it is no longer good.
    Revoked,
    /// It could not be opened.
    Failed,
}

impl ReconnectReason {
    /// Every reason, in label order.
    pub const ALL: [Self; 6] = [
        Self::Silent,
        Self::Maintenance,
        Self::Closed,
        Self::Broken,
        Self::Revoked,
        Self::Failed,
    ];

    /// The label value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Maintenance => "maintenance",
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::Revoked => "revoked",
            Self::Failed => "failed",
        }
    }
}

/// Push about itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct PushView {
    /// Channels by state; empty if push is off.
    pub channels: BTreeMap<ChannelState, u64>,
    /// Agents whose every change comes by push at this moment.
    pub agents: u64,
    /// Agents that found no place on any channel.
    pub agents_unplaced: u64,
    /// Frames by class of topic.
    pub events: BTreeMap<&'static str, u64>,
    /// Sockets opened again, by reason.
    pub reconnects: BTreeMap<ReconnectReason, u64>,
    /// Topics that the platform refused, by reason; each answer counts.
    pub rejections: BTreeMap<&'static str, u64>,
    /// Changes that a scan told and push, which should have, did not.
    pub disagreements: u64,
}
