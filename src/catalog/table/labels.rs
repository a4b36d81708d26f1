//! Closed label values, taken from the types that make them so that the two cannot part.

use crate::effect::Phase;
use crate::model::platform_status::PlatformStatus;
use crate::model::push::{ChannelState, ReconnectReason};
use crate::model::state::{RoutingState, Source};
use crate::model::view::{BreakerState, SnapshotOutcome, UnknownCause};
use crate::upstream::channel::{RejectionReason, TopicClass};
use crate::upstream::request::Endpoint;

/// The labels of every value of an enumeration, as a constant.
macro_rules! labels_of {
    ($type:ty, $label:ident) => {
        &{
            let mut labels = [""; <$type>::ALL.len()];
            let mut index = 0;
            while index < labels.len() {
                labels[index] = <$type>::ALL[index].$label();
                index += 1;
            }
            labels
        }
    };
}

pub(super) const STATES: &[&str] = labels_of!(RoutingState, label);
pub(super) const PLATFORM_STATUSES: &[&str] = labels_of!(PlatformStatus, label);
pub(super) const PHASES: &[&str] = labels_of!(Phase, label);
pub(super) const SOURCES: &[&str] = labels_of!(Source, label);
pub(super) const BREAKER_STATES: &[&str] = labels_of!(BreakerState, label);
pub(super) const UNKNOWN_CAUSES: &[&str] = labels_of!(UnknownCause, label);
pub(super) const CHANNEL_STATES: &[&str] = labels_of!(ChannelState, label);
pub(super) const RECONNECT_REASONS: &[&str] = labels_of!(ReconnectReason, label);
pub(super) const REJECTION_REASONS: &[&str] = labels_of!(RejectionReason, label);
pub(super) const TOPIC_CLASSES: &[&str] = labels_of!(TopicClass, label);
pub(super) const ENDPOINTS: &[&str] = labels_of!(Endpoint, template);

/// Presences, in label order; a test holds them against `Presence::labels`.
pub(super) const PRESENCES: &[&str] = &[
    "available",
    "away",
    "break",
    "busy",
    "idle",
    "meal",
    "meeting",
    "offline",
    "on_queue",
    "training",
    "other",
];

/// What became of a snapshot; a test holds them against `SnapshotOutcome::labels`.
pub(super) const SNAPSHOT_RESULTS: &[&str] = &["accepted", "rejected", "failed"];

/// Why; empty for an accepted one.
pub(super) const SNAPSHOT_REASONS: &[&str] = &{
    let mut reasons = [""; SnapshotOutcome::ALL.len()];
    let mut index = 0;
    while index < reasons.len() {
        reasons[index] = SnapshotOutcome::ALL[index].labels().1;
        index += 1;
    }
    reasons
};

/// Outcomes of a divergence validation: fields of `DivergenceView`.
pub(super) const DIVERGENCE_RESULTS: &[&str] = &["ok", "diverged", "incomplete"];

/// What became of a record: fields of `RecordCounts`.
pub(super) const RECORD_RESULTS: &[&str] = &["seen", "emitted", "stale", "conflict", "invalid"];
