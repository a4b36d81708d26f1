//! Events, windows and the store.

use super::super::values::{DataLoss, EventResult, ExportResult, StoreOperation, WindowResult};
use super::{Area, Kind, LabelValues, Metric, MetricSpec, Origin, Scale, Unit, label, row, times};

/// A batch is one transaction with a synced commit: about a millisecond on a good disk.
const BATCH_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

const fn delivery(spec: MetricSpec) -> MetricSpec {
    MetricSpec {
        area: Area::Delivery,
        origin: Origin::Telemetry,
        ..spec
    }
}

pub(super) const ROWS: &[MetricSpec] = &[
    MetricSpec {
        labels: &[label("result", LabelValues::Closed(EventResult::LABELS))],
        series: times(EventResult::ALL.len() as u32, Scale::Once),
        ..delivery(row(
            Metric::Events,
            "genesyscloud_events_total",
            "genesyscloud.events",
            Unit::Count("{event}"),
            Kind::Counter,
            "State-change events by what became of them.",
        ))
    },
    delivery(row(
        Metric::EventQueueDepth,
        "genesyscloud_event_queue_depth_events",
        "genesyscloud.event_queue.depth.events",
        Unit::Count("{event}"),
        Kind::Gauge,
        "Records in the event queue that are not stored yet.",
    )),
    delivery(row(
        Metric::EventQueueOldest,
        "genesyscloud_event_queue_oldest_timestamp_seconds",
        "genesyscloud.event_queue.oldest.timestamp",
        Unit::Seconds,
        Kind::Gauge,
        "Unix time in seconds at which the oldest record that is not stored yet entered the event queue; absent while the queue is empty.",
    )),
    delivery(row(
        Metric::BatchDuration,
        "genesyscloud_batch_duration_seconds",
        "genesyscloud.batch.duration",
        Unit::Seconds,
        Kind::Histogram(BATCH_SECONDS),
        "Time in seconds from taking a batch off the event queue to its commit.",
    )),
    MetricSpec {
        labels: &[label("result", LabelValues::Closed(WindowResult::LABELS))],
        series: times(WindowResult::ALL.len() as u32, Scale::Once),
        ..delivery(row(
            Metric::Windows,
            "genesyscloud_windows_total",
            "genesyscloud.windows",
            Unit::Count("{window}"),
            Kind::Counter,
            "Window rows by how they were written; a volatile row also counts as written or revised.",
        ))
    },
    MetricSpec {
        origin: Origin::View,
        ..delivery(row(
            Metric::WindowClosed,
            "genesyscloud_window_closed_timestamp_seconds",
            "genesyscloud.window.closed.timestamp",
            Unit::Seconds,
            Kind::Gauge,
            "Unix time in seconds of the end of the last window that is closed for every agent.",
        ))
    },
    MetricSpec {
        labels: &[label("kind", LabelValues::Closed(DataLoss::LABELS))],
        series: times(DataLoss::ALL.len() as u32, Scale::Once),
        ..delivery(row(
            Metric::DataLoss,
            "genesyscloud_data_loss_total",
            "genesyscloud.data_loss",
            Unit::Count("{loss}"),
            Kind::Counter,
            "Records lost or damaged, by how it was noticed; must stay 0.",
        ))
    },
    MetricSpec {
        labels: &[label(
            "operation",
            LabelValues::Closed(StoreOperation::LABELS),
        )],
        series: times(StoreOperation::ALL.len() as u32, Scale::Once),
        ..delivery(row(
            Metric::StoreErrors,
            "genesyscloud_store_errors_total",
            "genesyscloud.store.errors",
            Unit::Count("{error}"),
            Kind::Counter,
            "Failures of the store, by what it was doing.",
        ))
    },
    delivery(row(
        Metric::StoreSize,
        "genesyscloud_store_size_bytes",
        "genesyscloud.store.size",
        Unit::Bytes,
        Kind::Gauge,
        "Size in bytes of the store's files.",
    )),
    MetricSpec {
        labels: &[label("result", LabelValues::Closed(ExportResult::LABELS))],
        series: times(ExportResult::ALL.len() as u32, Scale::Once),
        ..delivery(row(
            Metric::OtlpExports,
            "genesyscloud_otlp_exports_total",
            "genesyscloud.otlp.exports",
            Unit::Count("{export}"),
            Kind::Counter,
            "Pushes by OTLP by what became of them; a push of several requests succeeded if all of them did.",
        ))
    },
    delivery(row(
        Metric::Leader,
        "genesyscloud_leader",
        "genesyscloud.leader",
        Unit::None,
        Kind::Gauge,
        "1 while this instance is the one that polls, 0 while it stands by or where it only stores; absent where no other could.",
    )),
];
