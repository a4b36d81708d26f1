//! The push against a real collector, and against collectors that are no use.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::support::exporter::{Exporter, Page, Setup};
use crate::support::organisation::Organisation;
use crate::support::rotel::Rotel;
use crate::support::sink::{
    Behaviour, Received, Series, Sink, Value, all_points, points, resource,
};
use crate::support::translation::translated_all;
use crate::support::wait::wait_for;

const BOUND: Duration = Duration::from_secs(60);

const SMALL: [&str; 6] = ["--agents", "60", "--queues", "5", "--cache-refresh", "1s"];

/// A header's value of a form that is found nowhere by accident.
const TOKEN: &str = "t0ken-canary-9d27ab41";

fn exports(page: &Page, result: &str) -> f64 {
    page.value("genesyscloud_otlp_exports_total", &[("result", result)])
}

/// Samples of a page; empty labels are none.
fn shown(page: &Page) -> BTreeMap<Series, f64> {
    let samples = page.0.iter().map(|((name, labels), value)| {
        let mut labels = labels.clone();
        labels.retain(|_, value| !value.is_empty());
        ((name.clone(), labels), *value)
    });
    samples.collect()
}

/// A whole push, and what the pages before and after it both show: that is what it must tell.
async fn calm_push(exporter: &Exporter, sink: &Sink) -> (Vec<Received>, BTreeMap<Series, f64>) {
    wait_for("a push while nothing moves", BOUND, async || {
        let before = exporter.page().await;
        sink.take();
        let pushed = exports(&before, "success");
        exporter
            .wait_page("two pushes", BOUND, |page| {
                // The first may have been under way.
                exports(page, "success") >= pushed + 2.0
            })
            .await;
        // What the collector has taken it passes on in its own time.
        sink.wait("both requests of a push", |received| {
            let names = [
                "genesyscloud.queue.info",
                "genesyscloud.exporter.build.info",
            ];
            let points = points(received);
            let has = |wanted: &&str| points.keys().any(|(name, _)| name == wanted);
            names.iter().all(has).then_some(())
        })
        .await;
        let (received, after) = (sink.take(), shown(&exporter.page().await));
        let mut both = shown(&before);
        let held = both.len();
        let of_view = |name: &str| name.starts_with("genesyscloud_queue_");
        let moved = |name: &str| name.contains("otlp_exports") || name.starts_with("process_");
        both.retain(|series, value| after.get(series) == Some(value) || moved(&series.0));
        let calm = held - both.len() < 40
            && after.keys().filter(|(name, _)| of_view(name)).count()
                == both.keys().filter(|(name, _)| of_view(name)).count();
        calm.then_some((received, both))
    })
    .await
}

/// Slow polls, so that there is calm between them, and quick pushes.
async fn start(setup: &mut Setup) -> Exporter {
    setup
        .set("poll.interval", "8s")
        .set("poll.timeout", "7s")
        .set("otlp.interval", "500ms");
    let exporter = setup.start().await;
    exporter.wait_joined().await;
    exporter
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_collector_receives_the_page_over_http() {
    let organisation = Organisation::simulate(&SMALL).await;
    let sink = Sink::start().await;
    let rotel = Rotel::start(sink.http).await;
    let mut setup = Setup::new(&organisation);
    setup.set("otlp.endpoint", &format!("\"http://{}\"", rotel.http));
    assert_same(&mut setup, &sink).await;
    rotel.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_collector_receives_the_page_over_grpc_by_the_standard_variables() {
    let organisation = Organisation::simulate(&SMALL).await;
    let sink = Sink::start().await;
    let rotel = Rotel::start(sink.http).await;
    let mut setup = Setup::new(&organisation);
    setup
        .set_variable(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &format!("http://{}", rotel.grpc),
        )
        .set_variable("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .set_variable("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        .set_variable(
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=live",
        );
    assert_same(&mut setup, &sink).await;
    rotel.stop().await;
}

/// What the sink gets from the collector is what the page shows.
async fn assert_same(setup: &mut Setup, sink: &Sink) {
    let exporter = start(setup).await;
    let (received, page) = calm_push(&exporter, sink).await;
    let pushed = translated_all(&points(&received));
    let mut compared = 0;
    for (series, value) in &page {
        let (name, labels) = series;
        let Some(found) = pushed.get(series) else {
            let mut labels = labels.clone();
            let bucket = labels.remove("le").is_some();
            let stem = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|part| name.strip_suffix(part));
            let count = stem.and_then(|stem| page.get(&(format!("{stem}_count"), labels)));
            assert!(count == Some(&0.0), "{series:?} was not pushed ({bucket})");
            continue;
        };
        if !name.starts_with("process_") && !name.contains("otlp_exports") {
            assert!(
                close(*found, *value),
                "{series:?}: {found} pushed, {value} shown"
            );
            compared += 1;
        }
    }
    assert!(compared > 300, "only {compared} samples");
    let resource = resource(&received);
    assert_eq!(resource["service.name"], "genesys-cloud-exporter");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert!(!resource["service.instance.id"].is_empty());
    exporter.assert_no_loss().await;
    exporter.stop().await;
}

/// Sums of histograms are added up in another order on either side.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * b.abs()
}

/// Polls and scrapes go on while pushes fail, and the end comes in time.
/// The log says one of these texts.
async fn assert_undisturbed(setup: &Setup, says_any: &[&str]) {
    let exporter = setup.start().await;
    let before = exporter
        .wait_page("pushes fail", BOUND, |page| exports(page, "failed") >= 2.0)
        .await;
    let after = exporter
        .wait_page("polls go on", BOUND, |page| {
            page.accepted() >= before.accepted() + 3.0
        })
        .await;
    assert_eq!(exports(&after, "success"), 0.0);
    assert_eq!(after.value("genesyscloud_up", &[]), 1.0);
    exporter.assert_no_loss().await;
    // Within the bound of every end, and with exit code 0.
    let log = exporter.stop().await;
    let told: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("cannot push"))
        .collect();
    assert_eq!(told.len(), 1, "once a minute:\n{log}");
    let says = |text: &&str| told[0].contains(text);
    assert!(says_any.iter().any(says), "{}", told[0]);
    assert!(!log.contains(TOKEN) && !log.contains("panicked"), "{log}");
}

fn pushing(organisation: &Organisation, endpoint: &str, protocol: &str) -> Setup {
    let mut setup = Setup::new(organisation);
    let headers = setup.directory.path().join("headers");
    std::fs::write(&headers, format!("authorization: Bearer {TOKEN}\n")).unwrap();
    setup
        // As on a machine with one processor: nothing may wait for the push.
        .set_variable("TOKIO_WORKER_THREADS", "1")
        .set("log.level", "debug")
        .set("otlp.endpoint", &format!("\"{endpoint}\""))
        .set("otlp.protocol", protocol)
        .set("otlp.interval", "1s")
        .set("otlp.headers_file", "headers");
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_delays_no_poll_no_scrape_and_not_the_end() {
    for protocol in ["http/protobuf", "grpc"] {
        let organisation = Organisation::simulate(&SMALL).await;
        let sink = Sink::start().await;
        sink.behave(Behaviour::Hang);
        let address = if protocol == "grpc" {
            sink.grpc
        } else {
            sink.http
        };
        let setup = pushing(&organisation, &format!("http://{address}"), protocol);
        // Our own deadline, or that of the gRPC library, whichever is noticed first.
        let says = ["no answer in time", "Timeout expired"];
        assert_undisturbed(&setup, &says).await;
        let received = sink.take();
        assert!(received.iter().all(|one| {
            one.headers["authorization"]
                .to_str()
                .is_ok_and(|value| value == format!("Bearer {TOKEN}"))
        }));
        assert!(received.len() >= 2);
        organisation.assert_polite().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_gone_or_refuses_disturbs_nothing() {
    let organisation = Organisation::simulate(&SMALL).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let sink = Sink::start().await;
    for (endpoint, protocol, behaviour, says) in [
        (&endpoint, "http/protobuf", Behaviour::Take, "refused"),
        (&endpoint, "grpc", Behaviour::Take, "refused"),
        (
            &format!("http://{}", sink.http),
            "http/protobuf",
            Behaviour::Refuse(401),
            "401",
        ),
        (
            &format!("http://{}", sink.http),
            "http/protobuf",
            Behaviour::Refuse(500),
            "500",
        ),
        (
            &format!("http://{}", sink.http),
            "http/protobuf",
            Behaviour::Refuse(503),
            "503",
        ),
        (
            &format!("http://{}", sink.grpc),
            "grpc",
            Behaviour::Refuse(400),
            "InvalidArgument",
        ),
    ] {
        sink.behave(behaviour);
        assert_undisturbed(&pushing(&organisation, endpoint, protocol), &[says]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_succeed_again_when_the_collector_is_back() {
    let organisation = Organisation::simulate(&SMALL).await;
    let sink = Sink::start().await;
    sink.behave(Behaviour::Refuse(500));
    let setup = pushing(
        &organisation,
        &format!("http://{}", sink.http),
        "http/protobuf",
    );
    let exporter = setup.start().await;
    exporter
        .wait_page("a push fails", BOUND, |page| exports(page, "failed") >= 1.0)
        .await;
    sink.behave(Behaviour::Take);
    exporter
        .wait_page("pushes succeed", BOUND, |page| {
            exports(page, "success") >= 2.0
        })
        .await;
    let log = exporter.stop().await;
    assert!(log.contains("pushing by OTLP works again"), "{log}");
}

/// Seconds of the organisation by state, added up over everything that came.
fn state_time(received: &[Received]) -> f64 {
    let points = all_points(received);
    let times = points
        .iter()
        .filter(|((name, _), _)| name == "genesyscloud.state.time");
    times
        .map(|(_, point)| {
            assert_eq!(point.temporality, 1, "delta");
            match point.value {
                Value::Counter(value) => value,
                _ => panic!("a counter"),
            }
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn under_delta_a_restart_neither_loses_time_nor_counts_it_twice() {
    let organisation = Organisation::simulate(&SMALL).await;
    let sink = Sink::start().await;
    let mut setup = Setup::new(&organisation);
    setup
        .set("otlp.endpoint", &format!("\"http://{}\"", sink.http))
        .set("otlp.temporality", "delta");
    let counted = |page: &Page| page.sum("genesyscloud_state_time_seconds_total", &[]);
    let mut at_least = 100.0;
    for run in 1..=2 {
        let exporter = start(&mut setup).await;
        let bound = BOUND * 2;
        let (shown, pushed) = wait_for("a push while nothing moves", bound, async || {
            let before = exporter.page().await;
            let done = exports(&before, "success");
            exporter
                .wait_page("two pushes", BOUND, |page| {
                    exports(page, "success") >= done + 2.0
                })
                .await;
            let pushed = sink.wait("", |received| Some(state_time(received))).await;
            let (before, after) = (counted(&before), counted(&exporter.page().await));
            (before == after && before > at_least).then_some((before, pushed))
        })
        .await;
        assert!(
            close(pushed, shown),
            "run {run}: {pushed} s pushed, {shown} s shown"
        );
        at_least = shown + 100.0;
        // What counts between this and the end is in the last push.
        exporter.stop().await;
    }
}
