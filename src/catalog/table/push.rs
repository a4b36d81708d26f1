//! Notifications: channels, events, breaks. Only in dialect platform.

use super::labels::{CHANNEL_STATES, RECONNECT_REASONS, REJECTION_REASONS, TOPIC_CLASSES};
use super::{Kind, LabelValues, Metric, MetricSpec, Scale, Unit, label, row, times};

/// One closed label, and as many series as it has values.
macro_rules! by {
    ($name:literal in $values:expr, $row:expr) => {
        MetricSpec {
            labels: &[label($name, LabelValues::Closed($values))],
            series: times($values.len() as u32, Scale::Once),
            ..$row
        }
    };
}

pub(super) const ROWS: &[MetricSpec] = &[
    by!("state" in CHANNEL_STATES, row(
        Metric::NotificationChannels,
        "genesyscloud_notification_channels",
        "genesyscloud.notification.channels",
        Unit::Count("{channel}"),
        Kind::Gauge,
        "Channels of push notifications by state; only in dialect platform.",
    )),
    row(
        Metric::NotificationAgents,
        "genesyscloud_notification_agents",
        "genesyscloud.notification.agents",
        Unit::Count("{agent}"),
        Kind::Gauge,
        "Agents whose every change is pushed at this moment; polling serves the others.",
    ),
    by!("topic" in TOPIC_CLASSES, row(
        Metric::NotificationEvents,
        "genesyscloud_notification_events_total",
        "genesyscloud.notification.events",
        Unit::Count("{event}"),
        Kind::Counter,
        "Frames of push notifications by class of topic.",
    )),
    by!("reason" in RECONNECT_REASONS, row(
        Metric::NotificationReconnects,
        "genesyscloud_notification_reconnects_total",
        "genesyscloud.notification.reconnects",
        Unit::Count("{reconnect}"),
        Kind::Counter,
        "Sockets of push notifications that ended or could not be opened, by reason.",
    )),
    by!("reason" in REJECTION_REASONS, row(
        Metric::NotificationRejections,
        "genesyscloud_notification_rejections_total",
        "genesyscloud.notification.rejections",
        Unit::Count("{topic}"),
        Kind::Counter,
        "Topics that the platform refused to push, by reason, each time it did.",
    )),
    row(
        Metric::NotificationDisagreements,
        "genesyscloud_notification_disagreements_total",
        "genesyscloud.notification.disagreements",
        Unit::Count("{event}"),
        Kind::Counter,
        "Changes that a poll told and a live channel should have told five seconds before.",
    ),
];
