//! Every metric and every value of the push against the page.

use std::collections::{BTreeMap, BTreeSet};

use genesys_cloud_exporter::catalog::{
    CATALOG, DataLoss, EventResult, ExportResult, Kind, Metric, MetricSpec, Origin, StoreOperation,
    WindowResult,
};
use genesys_cloud_exporter::effect::{Measurement, Phase};
use genesys_cloud_exporter::model::state::{RoutingState, Source};
use genesys_cloud_exporter::model::time::{Millis, UnixMillis};
use genesys_cloud_exporter::telemetry::Telemetry;
use genesys_cloud_exporter::upstream::request::Endpoint;

use super::sink::{Received, Series, Sink, Value, points, points_of, resource};
use super::translation::{translated, translated_all};
use super::{PROTOCOLS, Pushing};
use crate::view;

/// The most that a gRPC server takes by default.
const GRPC_BYTES_MAX: usize = 4 << 20;

/// Gives every metric of the exporter's own a value; those of histograms are exact in binary, so
/// that sums do not depend on the order of adding.
fn record(telemetry: &Telemetry) {
    telemetry.request(Endpoint::Statuses, Ok(200), Millis(125));
    telemetry.request(Endpoint::Statuses, Ok(429), Millis(10_000));
    telemetry.events(EventResult::Published, 31);
    telemetry.events(EventResult::Stored, 1);
    telemetry.windows(WindowResult::Written, 7);
    telemetry.data_loss(DataLoss::Checksum, 1);
    telemetry.store_error(StoreOperation::Commit);
    telemetry.event_queue(2, Some(UnixMillis(view::NOW.0 + 250)));
    telemetry.store_size(81_920);
    telemetry.leader(true);
    telemetry.config_accepted(UnixMillis(view::NOW.0 + 1));
    telemetry.web_certificate(Some(UnixMillis(view::NOW.0 + 86_400_000)));
    telemetry.batch(0.25);
    // On a bound: it belongs to the bucket below.
    telemetry.batch(0.5);
    telemetry.batch(1_000.0);
    for (state, length) in [
        (RoutingState::OnCall, 90_500),
        (RoutingState::WrapUp, 60_000),
    ] {
        let length = Millis(length);
        telemetry.measure(Measurement::SegmentFinished { state, length });
    }
    for phase in Phase::ALL {
        telemetry.measure(Measurement::Phase {
            phase,
            seconds: 0.125,
        });
    }
    telemetry.measure(Measurement::IngestionDelay {
        source: Source::Routing,
        delay: Millis(2_500),
    });
}

/// Waits for a whole push of what is known by now.
async fn whole_push(pushing: &Pushing, sink: &Sink) -> Vec<Received> {
    let done = pushing.exports(ExportResult::Success);
    // One may have been under way.
    pushing.exported(ExportResult::Success, done + 1.0).await;
    sink.take();
    pushing.exported(ExportResult::Success, done + 2.0).await;
    sink.take()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_tells_the_same_on_both_sides() {
    for protocol in PROTOCOLS {
        let sink = Sink::start().await;
        let pushing = Pushing::start(&sink, protocol, view::small(), "interval: 500ms", &[]);
        record(&pushing.sources.telemetry);
        let received = whole_push(&pushing, &sink).await;
        let page = pushing.page();
        pushing.end().await;
        let pushed = translated_all(&points(&received));

        let of_process = |name: &str| name.starts_with("process_");
        let own_count = |name: &str| name == "genesyscloud_otlp_exports_total";
        let mut compared = BTreeSet::new();
        for (series, value) in &page {
            let (name, _) = series;
            let Some(found) = pushed.get(series) else {
                // An empty histogram is there on the page and not yet in the push.
                assert!(
                    is_empty_histogram(series, &page),
                    "{series:?} was not pushed"
                );
                continue;
            };
            if !of_process(name) && !own_count(name) {
                assert_eq!(found, value, "{protocol} {series:?}");
            }
            compared.insert(family(name));
        }
        for series in pushed.keys() {
            assert!(page.contains_key(series), "{series:?} is not on the page");
        }
        let missing: Vec<&str> = CATALOG
            .iter()
            .map(|spec| spec.prometheus_name)
            .filter(|name| !compared.contains(name))
            .collect();
        // Unlimited here or not, as the system says.
        let may_be_absent = ["process_virtual_memory_max_bytes", "process_max_fds"];
        assert!(
            missing.iter().all(|name| may_be_absent.contains(name)),
            "the catalog is not complete: {missing:?}"
        );
    }
}

/// The metric that a name on the page belongs to.
fn family(name: &str) -> &'static str {
    let parts = ["", "_bucket", "_sum", "_count"];
    let mut stems = parts.iter().filter_map(|part| name.strip_suffix(part));
    let metric = stems.find_map(Metric::by_name);
    metric.expect("in the catalog").spec().prometheus_name
}

fn is_empty_histogram((name, labels): &Series, page: &BTreeMap<Series, f64>) -> bool {
    let family = family(name);
    let mut labels = labels.clone();
    labels.remove("le");
    page.get(&(format!("{family}_count"), labels)) == Some(&0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn units_kinds_and_help_are_those_of_the_catalog() {
    let sink = Sink::start().await;
    let pushing = Pushing::start(&sink, "grpc", view::small(), "interval: 500ms", &[]);
    record(&pushing.sources.telemetry);
    let received = whole_push(&pushing, &sink).await;
    pushing.end().await;
    for ((name, labels), point) in points(&received) {
        let spec: &MetricSpec = CATALOG
            .iter()
            .find(|spec| spec.otel_name == name)
            .unwrap_or_else(|| panic!("{name} is not in the catalog"));
        assert_eq!((&*point.unit, &*point.help), (spec.unit.ucum(), spec.help));
        let known: BTreeSet<&str> = spec.labels.iter().map(|label| label.name).collect();
        assert!(
            labels.keys().all(|label| known.contains(&**label)),
            "{name} {labels:?}"
        );
        match (&point.value, spec.kind) {
            (Value::Gauge(_), Kind::Gauge) => assert_eq!(point.temporality, 0),
            (Value::Counter(_), Kind::Counter) => assert_eq!(point.temporality, 2),
            (Value::Histogram(histogram), Kind::Histogram(bounds)) => {
                assert_eq!(point.temporality, 2);
                assert_eq!(histogram.explicit_bounds, bounds, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
        let process = spec.origin == Origin::Process;
        assert_eq!(process, name.starts_with("process."), "{name}");
        assert!(point.time >= point.start && point.time > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_queues_arrive_whole() {
    for protocol in PROTOCOLS {
        let sink = Sink::start().await;
        let settings = "interval: 5s, cardinality_limit: 1000";
        let pushing = Pushing::start(&sink, protocol, view::large(5_000), settings, &[]);
        let page = pushing.page();
        pushing.exported(ExportResult::Success, 1.0).await;
        let received = sink.take();
        pushing.end().await;
        let pushed = translated_all(&points(&received));
        for ((name, labels), value) in &page {
            if labels.contains_key("queue") {
                assert_eq!(pushed.get(&(name.clone(), labels.clone())), Some(value));
            }
        }
        let queues: BTreeSet<&String> = pushed.keys().filter_map(|(_, l)| l.get("queue")).collect();
        assert_eq!(queues.len(), 5_000);
        let sizes: Vec<usize> = received.iter().map(|received| received.bytes).collect();
        assert!(
            sizes.len() > 1 && sizes.iter().all(|size| *size < GRPC_BYTES_MAX),
            "{sizes:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_request_with_the_longest_names_stays_below_the_limit_of_servers() {
    let sink = Sink::start().await;
    let mut view = view::large(600);
    for (n, queue) in view.queues.iter_mut().enumerate() {
        queue.name = format!("{n:0>128}").into();
        queue.oldest_entered_at = [Some(view::NOW); RoutingState::COUNT];
        for from in RoutingState::ALL {
            for to in RoutingState::ALL {
                queue.transitions.insert((from, to), u64::MAX);
            }
        }
    }
    // A request must be through before the next push, on a busy machine too.
    let settings = "interval: 5s, cardinality_limit: 1000000";
    let pushing = Pushing::start(&sink, "grpc", view, settings, &[]);
    let largest = sink
        .wait("every queue arrives", |received| {
            // The sink answers nobody while this looks, so it looks at little.
            let queues = points_of(received, |name| name == "genesyscloud.queue.info");
            let queues: BTreeSet<Series> = queues.into_iter().map(|(series, _)| series).collect();
            let sizes = received.iter().map(|received| received.bytes);
            (queues.len() == 600).then(|| sizes.max().unwrap())
        })
        .await;
    pushing.end().await;
    assert!(
        (GRPC_BYTES_MAX / 2..GRPC_BYTES_MAX).contains(&largest),
        "{largest}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_headers_and_compression_are_as_asked() {
    let variables = [
        ("OTEL_SERVICE_NAME", "agents"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test,service.name=no",
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20t0ken"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ];
    for (protocol, path) in [
        ("http/protobuf", "/v1/metrics"),
        (
            "grpc",
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        ),
    ] {
        let sink = Sink::start().await;
        let pushing = Pushing::start(
            &sink,
            protocol,
            view::small(),
            "interval: 500ms",
            &variables,
        );
        let received = sink
            .wait("a push arrives", |received| {
                (!received.is_empty()).then(|| received.to_vec())
            })
            .await;
        pushing.end().await;
        let resource = resource(&received);
        assert_eq!(resource["service.name"], "agents");
        assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
        assert!(resource["service.instance.id"].ends_with(":10095"));
        assert_eq!(resource["deployment.environment.name"], "test");
        let first = &received[0];
        assert_eq!(first.path, path);
        assert_eq!(first.headers["authorization"], "Bearer t0ken");
        let encoding = if protocol == "grpc" {
            "grpc-encoding"
        } else {
            "content-encoding"
        };
        assert_eq!(first.headers[encoding], "gzip");
    }
}

#[test]
fn the_translation_is_the_published_one() {
    for (otel, unit, counter, expected) in [
        ("app.calls", "{call}", true, "app_calls_total"),
        ("app.talk", "s", true, "app_talk_seconds_total"),
        ("app.disk.usage", "1", false, "app_disk_usage_ratio"),
        ("app.received", "By", true, "app_received_bytes_total"),
        ("app.build.info", "", false, "app_build_info"),
    ] {
        assert_eq!(translated(otel, unit, counter), expected);
    }
}
