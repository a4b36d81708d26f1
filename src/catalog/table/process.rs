//! The exporter as a process. The `process_*` names are fixed by custom on one side and by the
//! semantic conventions on the other; they are the one allowed difference between the two paths.

use super::{Area, Kind, LabelValues, Metric, MetricSpec, Origin, Unit, label, row};

const fn exporter(spec: MetricSpec) -> MetricSpec {
    MetricSpec {
        area: Area::Process,
        origin: Origin::Telemetry,
        ..spec
    }
}

const fn process(spec: MetricSpec) -> MetricSpec {
    MetricSpec {
        origin: Origin::Process,
        ..exporter(spec)
    }
}

pub(super) const ROWS: &[MetricSpec] = &[
    exporter(row(
        Metric::ConfigLastReloadSuccessful,
        "genesyscloud_config_last_reload_successful",
        "genesyscloud.config.last_reload.successful",
        Unit::None,
        Kind::Gauge,
        "1 if the configuration was accepted when it was last read, 0 if the one before stays in force.",
    )),
    exporter(row(
        Metric::ConfigLastReloadSuccess,
        "genesyscloud_config_last_reload_success_timestamp_seconds",
        "genesyscloud.config.last_reload.success.timestamp",
        Unit::Seconds,
        Kind::Gauge,
        "Unix time in seconds at which a configuration was last accepted.",
    )),
    exporter(row(
        Metric::WebCertificateExpiry,
        "genesyscloud_web_certificate_expiry_timestamp_seconds",
        "genesyscloud.web.certificate.expiry.timestamp",
        Unit::Seconds,
        Kind::Gauge,
        "Unix time in seconds at which the certificate that the exporter serves with ends, of a chain the one that ends first; absent without TLS.",
    )),
    MetricSpec {
        labels: &[
            label("version", LabelValues::Constant),
            label("revision", LabelValues::Constant),
            label("rustversion", LabelValues::Constant),
        ],
        ..exporter(row(
            Metric::BuildInfo,
            "genesyscloud_exporter_build_info",
            "genesyscloud.exporter.build.info",
            Unit::None,
            Kind::Gauge,
            "Always 1; says by its labels which build is running.",
        ))
    },
    process(row(
        Metric::ProcessCpu,
        "process_cpu_seconds_total",
        "process.cpu.time",
        Unit::Seconds,
        Kind::Counter,
        "User and system CPU time in seconds that the exporter has used.",
    )),
    process(row(
        Metric::ProcessOpenFds,
        "process_open_fds",
        "process.unix.file_descriptor.count",
        Unit::Count("{file_descriptor}"),
        Kind::Gauge,
        "File descriptors that the exporter has open.",
    )),
    process(row(
        Metric::ProcessMaxFds,
        "process_max_fds",
        "process.unix.file_descriptor.limit",
        Unit::Count("{file_descriptor}"),
        Kind::Gauge,
        "File descriptors that the exporter may have open; absent if unlimited.",
    )),
    process(row(
        Metric::ProcessVirtualMemory,
        "process_virtual_memory_bytes",
        "process.memory.virtual",
        Unit::Bytes,
        Kind::Gauge,
        "Virtual memory of the exporter in bytes.",
    )),
    process(row(
        Metric::ProcessVirtualMemoryMax,
        "process_virtual_memory_max_bytes",
        "process.memory.virtual.limit",
        Unit::Bytes,
        Kind::Gauge,
        "Virtual memory in bytes that the exporter may use; absent if unlimited.",
    )),
    process(row(
        Metric::ProcessResidentMemory,
        "process_resident_memory_bytes",
        "process.memory.usage",
        Unit::Bytes,
        Kind::Gauge,
        "Resident memory of the exporter in bytes.",
    )),
    process(row(
        Metric::ProcessStartTime,
        "process_start_time_seconds",
        "process.start_time",
        Unit::Seconds,
        Kind::Gauge,
        "Unix time in seconds at which the exporter was started.",
    )),
    process(row(
        Metric::ProcessThreads,
        "process_threads",
        "process.thread.count",
        Unit::Count("{thread}"),
        Kind::Gauge,
        "Threads of the exporter.",
    )),
];
