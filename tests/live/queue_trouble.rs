//! The broker in trouble: full, or without its consumer; and an outbox that was the queue before.

use std::time::Duration;

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::{self, stream};
use genesys_cloud_exporter::clock::SystemClock;
use genesys_cloud_exporter::model::time::Millis;

use crate::postgres::keep_in;
use crate::queue::{aggregator, assert_true, boundary, organisation, part};
use crate::support::broker::Broker;
use crate::support::cluster::Cluster;
use crate::support::exporter::{Page, Setup};
use crate::support::wait::wait_for;

/// Until something waits, or is refused.
const TROUBLE_BOUND: Duration = Duration::from_secs(60);

/// From the end of the trouble until all is stored.
const CLOSE_BOUND: Duration = Duration::from_secs(120);

/// Fewer messages than the organisation's roster and first states have.
const FEW: i64 = 120;

fn waiting(page: &Page) -> f64 {
    page.value("genesyscloud_event_queue_depth_events", &[])
}

/// The stream as an operator made it.
fn stream(max_messages: i64) -> stream::Config {
    stream::Config {
        name: "GENESYSCLOUD".to_owned(),
        subjects: vec!["genesyscloud.*.*".to_owned()],
        max_messages,
        discard: stream::DiscardPolicy::New,
        ..stream::Config::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_loses_nothing_and_a_consumer_that_is_gone_is_made_again() {
    let organisation = organisation("79").await;
    let broker = Broker::start().await;
    let url = broker.url();
    let client = async_nats::connect(url.trim_matches('"')).await.unwrap();
    let operator = jetstream::new(client);
    operator.create_stream(stream(FEW)).await.unwrap();
    let exporter = part(&organisation, &broker, "all").start().await;
    exporter.wait_joined().await;
    let from = boundary(1);
    exporter
        .wait_page("the stream is full", TROUBLE_BOUND, |page| {
            let refused = page.sum(
                "genesyscloud_store_errors_total",
                &[("operation", "publish")],
            );
            refused > 0.0 && waiting(page) > 50.0
        })
        .await;

    operator.update_stream(stream(-1)).await.unwrap();
    operator
        .delete_consumer_from_stream("aggregator-default", "GENESYSCLOUD")
        .await
        .unwrap();
    let to = boundary(2);
    exporter.wait_closed(to, CLOSE_BOUND).await;
    assert_true(
        &organisation,
        &exporter,
        (from, to),
        "a stream that was full",
    )
    .await;
    exporter.assert_no_loss().await;
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_in_the_embedded_queue_goes_over_nats_once_that_is_the_queue() {
    let organisation = organisation("80").await;
    let broker = Broker::start().await;
    // Its server is away, so that everything waits.
    let mut cluster = Cluster::prepare(&["fsync=off"]);
    let mut setup = Setup::new(&organisation);
    keep_in(&mut setup, &cluster.url("postgres"));
    let embedded = setup.start().await;
    embedded.wait_joined().await;
    let from = boundary(1);
    embedded
        .wait_page("events wait", TROUBLE_BOUND, |page| waiting(page) > 200.0)
        .await;
    embedded.process.kill();
    cluster.resume();
    setup
        .set("queue.kind", "nats")
        .set("queue.url", &broker.url());
    let switched = setup.start().await;
    switched.wait_joined().await;
    let to = boundary(2);
    switched.wait_closed(to, CLOSE_BOUND).await;
    assert_true(
        &organisation,
        &switched,
        (from, to),
        "from embedded to NATS",
    )
    .await;
    switched.assert_no_loss().await;
    switched.stop().await;
}

/// What an operator has set who made the consumer himself: longer than a busy machine lets an
/// aggregator wait for its turn, which must not look as if it had forgotten a batch.
const PATIENCE: Duration = Duration::from_secs(8);

/// A batch is worked on for longer than that.
const HELD_FOR: Millis = Millis::from_secs(17);

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_takes_longer_than_the_broker_waits_is_given_to_nobody_else() {
    let organisation = organisation("81").await;
    let (broker, cluster) = (Broker::start().await, Cluster::start());
    let url = broker.url();
    let client = async_nats::connect(url.trim_matches('"')).await.unwrap();
    let operator = jetstream::new(client);
    let made = operator.create_stream(stream(-1)).await.unwrap();
    let impatient = pull::Config {
        durable_name: Some("aggregator-default".to_owned()),
        ack_wait: PATIENCE,
        filter_subject: "genesyscloud.*.default".to_owned(),
        ..pull::Config::default()
    };
    let mut consumer: PullConsumer = made.create_consumer(impatient).await.unwrap();
    let poller = part(&organisation, &broker, "poller").start().await;
    let one = aggregator(&organisation, &broker, &cluster).start().await;
    let two = aggregator(&organisation, &broker, &cluster).start().await;
    poller.wait_joined().await;
    one.wait_ready().await;
    two.wait_ready().await;
    let from = boundary(1);

    let holder = cluster.hold("postgres", "agent_event");
    let clock = SystemClock::new();
    let mut since = None;
    wait_for("batches are worked on", TROUBLE_BOUND, async || {
        let pending = consumer.info().await.unwrap().num_ack_pending;
        if pending == 0 {
            since = None;
            return None;
        }
        let now = clock.now().mono;
        (now - *since.get_or_insert(now) > HELD_FOR).then_some(())
    })
    .await;
    drop(holder);

    let to = boundary(2);
    poller.wait_closed(to, CLOSE_BOUND).await;
    let info = consumer.info().await.unwrap();
    let (given, first) = (
        info.delivered.consumer_sequence,
        info.delivered.stream_sequence,
    );
    assert_eq!(given, first, "messages were given twice: {info:?}");
    assert!(first > 0, "{info:?}");
    assert_true(&organisation, &one, (from, to), "a slow database").await;
    for exporter in [one, two, poller] {
        exporter.assert_no_loss().await;
        exporter.stop().await;
    }
}
