//! Collectors that refuse, hang or are gone; counters over restarts and failures.

use std::collections::BTreeMap;
use std::sync::Arc;

use genesys_cloud_exporter::catalog::ExportResult;
use genesys_cloud_exporter::expose::otlp::LAST_PUSH_MAX;
use genesys_cloud_exporter::model::state::RoutingState;

use super::sink::{Behaviour, Point, Received, Sink, Value, all_points, points};
use super::{PROTOCOLS, Pushing};
use crate::view;

/// Pushes, whatever became of them.
fn all(pushing: &Pushing) -> f64 {
    let exports = ExportResult::ALL.iter();
    exports.map(|result| pushing.exports(*result)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn successes_partial_successes_and_failures_are_counted_as_what_they_are() {
    for protocol in PROTOCOLS {
        let sink = Sink::start().await;
        let pushing = Pushing::start(&sink, protocol, view::small(), "interval: 400ms", &[]);
        for (behaviour, result) in [
            (Behaviour::Take, ExportResult::Success),
            (Behaviour::Partly(3), ExportResult::Partial),
            (Behaviour::Refuse(400), ExportResult::Failed),
            (Behaviour::Refuse(500), ExportResult::Failed),
            (Behaviour::Partly(0), ExportResult::Success),
        ] {
            sink.behave(behaviour);
            // One may have been under way when the sink changed its mind; the second was not.
            let before = pushing.exports(result);
            pushing.exported(result, before + 2.0).await;
            let others = all(&pushing) - pushing.exports(result);
            pushing.exported(result, before + 4.0).await;
            assert_eq!(
                all(&pushing) - pushing.exports(result),
                others,
                "{behaviour:?}"
            );
        }
        pushing.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_or_is_gone_delays_nothing() {
    for protocol in PROTOCOLS {
        let sink = Sink::start().await;
        sink.behave(Behaviour::Hang);
        let pushing = Pushing::start(&sink, protocol, view::small(), "interval: 2s", &[]);
        sink.wait("a push is under way", |received| {
            (!received.is_empty()).then_some(())
        })
        .await;
        // Pages are made while it hangs.
        assert!(!pushing.page().is_empty());
        assert!(pushing.end().await < LAST_PUSH_MAX * 2, "{protocol}");

        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", gone.local_addr().unwrap());
        drop(gone);
        let pushing = Pushing::to(&endpoint, protocol, view::small(), "interval: 50ms", &[]);
        pushing.exported(ExportResult::Failed, 2.0).await;
        // It is known to fail, so the end does not even try.
        assert!(pushing.end().await < LAST_PUSH_MAX, "{protocol}");
    }
}

fn transitions(received: &[Received]) -> Vec<(f64, Point)> {
    let name = "genesyscloud.queue.state.transitions".to_owned();
    let labels = [
        ("queue", "Sales_US"),
        ("from", "available"),
        ("to", "on_call"),
    ];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let series = (name, BTreeMap::from(labels));
    all_points(received)
        .into_iter()
        .filter(|(found, _)| *found == series)
        .map(|(_, point)| match point.value {
            Value::Counter(value) => (value, point),
            _ => panic!("a counter"),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn under_delta_only_what_is_new_is_pushed_and_a_failed_push_loses_nothing() {
    let sink = Sink::start().await;
    let settings = "interval: 500ms, temporality: delta";
    let mut view = view::small();
    let pushing = Pushing::start(&sink, "http/protobuf", view.clone(), settings, &[]);
    let mut publish = |more: u64| {
        let key = (RoutingState::Available, RoutingState::OnCall);
        *view.queues[0].transitions.get_mut(&key).unwrap() += more;
        pushing.sources.pages.publish(Arc::new(view.clone()));
    };
    let sum = |received: &[Received]| transitions(received).iter().map(|(v, _)| v).sum::<f64>();
    // What counters stood at when the process began is not new.
    let first = sink
        .wait("a push arrives", |received| {
            transitions(received).first().cloned()
        })
        .await;
    assert_eq!((first.0, first.1.temporality), (0.0, 1));
    publish(5);
    pushing.sources.telemetry.batch(0.25);
    sink.wait("five more arrive", |received| {
        (sum(received) == 5.0).then_some(())
    })
    .await;

    sink.behave(Behaviour::Refuse(500));
    publish(3);
    pushing.sources.telemetry.batch(0.5);
    let failed = pushing.exports(ExportResult::Failed);
    pushing.exported(ExportResult::Failed, failed + 3.0).await;
    publish(2);
    sink.take();
    sink.behave(Behaviour::Take);
    let received = sink
        .wait("all of it arrives", |received| {
            (sum(received) >= 5.0).then(|| received.to_vec())
        })
        .await;
    pushing.end().await;
    let rest = sink.take();
    assert_eq!(sum(&rest), 5.0, "neither less nor twice");
    let of_batches = |received: &[Received]| -> u64 {
        let points = all_points(received);
        let batches = points
            .iter()
            .filter(|((n, _), _)| n == "genesyscloud.batch.duration");
        batches
            .map(|(_, point)| match &point.value {
                Value::Histogram(histogram) => histogram.count,
                _ => panic!("a histogram"),
            })
            .sum()
    };
    assert_eq!(
        of_batches(&rest),
        1,
        "the histogram of the failed push, once"
    );
    assert!(received.len() <= rest.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_gone_is_pushed_no_more() {
    let sink = Sink::start().await;
    let pushing = Pushing::start(
        &sink,
        "http/protobuf",
        view::small(),
        "interval: 500ms",
        &[],
    );
    let has = |received: &[Received], queue: &str| {
        let points = points(received);
        points
            .keys()
            .any(|(_, labels)| labels.get("queue").is_some_and(|name| name == queue))
    };
    sink.wait("both arrive", |received| {
        has(received, "Sales_US").then_some(())
    })
    .await;
    let mut view = view::small();
    view.queues.remove(0);
    pushing.sources.pages.publish(Arc::new(view));
    // Whole pushes that began after the change.
    let done = pushing.exports(ExportResult::Success);
    pushing.exported(ExportResult::Success, done + 2.0).await;
    sink.take();
    let received = sink
        .wait("one more", |received| {
            (received.len() >= 3).then(|| received.to_vec())
        })
        .await;
    pushing.end().await;
    assert!(!has(&received, "Sales_US"));
    assert!(
        received
            .iter()
            .any(|one| has(std::slice::from_ref(one), "Support \"Tier\\2\"\u{FFFD}é"))
    );
}
