//! Past one machine: a poller, aggregators, NATS and PostgreSQL, and what becomes of rows when any
//! of them is killed.

use std::time::Duration;

use genesys_cloud_exporter::clock::SystemClock;

use crate::postgres::keep_in;
use crate::support::audit::{Judged, agreeing, audit};
use crate::support::broker::Broker;
use crate::support::cluster::Cluster;
use crate::support::exporter::{Exporter, Setup, WINDOW_MS};
use crate::support::organisation::Organisation;
use crate::support::wait::wait_for;

/// From the last disturbance until all is stored: a batch of an aggregator that was killed is given
/// to another after half a minute, and a hole is asked for after ten seconds.
const CLOSE_BOUND: Duration = Duration::from_secs(150);

/// Until an aggregator has done something, on a busy machine.
const WORK_BOUND: Duration = Duration::from_secs(90);

/// An organisation that is lively, and as exact as it can be.
pub(crate) async fn organisation(seed: &str) -> Organisation {
    let arguments = [
        "--agents",
        "100",
        "--queues",
        "6",
        "--seed",
        seed,
        "--tempo",
        "12",
        "--history",
        "3",
        "--cache-refresh",
        "1s",
    ];
    Organisation::simulate(&arguments).await
}

/// One part of the whole.
pub(crate) fn part(organisation: &Organisation, broker: &Broker, role: &'static str) -> Setup {
    let mut setup = Setup::new(organisation);
    setup
        .set("queue.kind", "nats")
        .set("queue.url", &broker.url())
        .set("role", role);
    setup
}

/// An aggregator; it needs to know nothing of the platform's credentials.
pub(crate) fn aggregator(organisation: &Organisation, broker: &Broker, cluster: &Cluster) -> Setup {
    let mut setup = part(organisation, broker, "aggregator");
    keep_in(&mut setup, &cluster.url("postgres"));
    setup
        .unset("source.client_id")
        .unset("source.client_secret_file")
        .unset("store.path");
    setup
}

async fn batches(exporter: &Exporter) -> f64 {
    let page = exporter.page().await;
    page.value("genesyscloud_batch_duration_seconds_count", &[])
}

/// Waits until it has taken another batch.
async fn wait_working(exporter: &Exporter) {
    let before = batches(exporter).await;
    wait_for("an aggregator takes a batch", WORK_BOUND, async || {
        (batches(exporter).await > before).then_some(())
    })
    .await;
}

/// Every row that is known exactly is true, and there are some.
pub(crate) async fn assert_true(
    organisation: &Organisation,
    reader: &Exporter,
    (from, to): (i64, i64),
    run: &str,
) {
    let rows = reader.rows(from, to).await;
    let findings = audit(organisation, &rows, (from, to), Judged::Exact).await;
    findings.assert_clean(run);
    assert!(findings.share() > 0.2, "{findings:?}");
}

/// A boundary of windows that lies ahead.
pub(crate) fn boundary(windows: i64) -> i64 {
    (SystemClock::new().now().wall.0 / WINDOW_MS + windows) * WINDOW_MS
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_true_though_aggregators_broker_and_database_are_killed() {
    let organisation = organisation("75").await;
    let mut broker = Broker::start().await;
    let mut cluster = Cluster::start();
    let alone = Setup::new(&organisation);
    let poller = part(&organisation, &broker, "poller");
    let setups: [Setup; 3] = std::array::from_fn(|_| aggregator(&organisation, &broker, &cluster));
    let twin = alone.start().await;
    let poller = poller.start().await;
    let mut aggregators = Vec::new();
    for setup in &setups {
        aggregators.push(setup.start().await);
    }
    twin.wait_joined().await;
    poller.wait_joined().await;
    for aggregator in &aggregators {
        aggregator.wait_ready().await;
    }
    let from = boundary(1);

    // Each is killed in the midst of its work, and comes back.
    for (at, setup) in setups.iter().enumerate() {
        wait_working(&aggregators[at]).await;
        let killed = aggregators.remove(at);
        killed.process.kill();
        aggregators.insert(at, setup.start().await);
    }
    broker.kill();
    poller
        .wait_page("the loss of the broker is noticed", WORK_BOUND, |page| {
            page.sum(
                "genesyscloud_store_errors_total",
                &[("operation", "publish")],
            ) > 0.0
        })
        .await;
    broker.resume().await;
    wait_working(&aggregators[0]).await;
    cluster.kill();
    cluster.resume();
    wait_working(&aggregators[1]).await;

    let to = boundary(2);
    poller.wait_closed(to, CLOSE_BOUND).await;
    twin.wait_closed(to, CLOSE_BOUND).await;
    let rows = aggregators[2].rows(from, to).await;
    let findings = audit(&organisation, &rows, (from, to), Judged::Exact).await;
    findings.assert_clean("three aggregators");
    assert!(
        findings.share() > 0.2 && findings.changing > 5,
        "{findings:?}"
    );
    let agreeing = agreeing(&rows, &twin.rows(from, to).await);
    assert!(agreeing > 20, "only {agreeing} rows in common");
    let answer = poller
        .get("/api/v1/windows?from=2024-01-01&to=2030-01-01")
        .await;
    assert_ne!(
        answer.status, 200,
        "a poller keeps no rows: {}",
        answer.text
    );
    for exporter in aggregators.into_iter().chain([poller, twin]) {
        exporter.assert_no_loss().await;
        exporter.stop().await;
    }
    organisation.assert_polite().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wiped_broker_forgot_comes_again_from_the_outbox() {
    let organisation = organisation("76").await;
    let mut broker = Broker::start().await;
    let cluster = Cluster::start();
    let poller = part(&organisation, &broker, "poller");
    let setup = aggregator(&organisation, &broker, &cluster);
    let poller = poller.start().await;
    let aggregator = setup.start().await;
    poller.wait_joined().await;
    aggregator.wait_ready().await;
    let from = boundary(1);
    wait_working(&aggregator).await;

    // Published, acknowledged by the broker, stored by nobody: and then the broker's disk is gone.
    aggregator.process.kill();
    let waiting = poller.page().await;
    let waiting = waiting.value("genesyscloud_event_queue_depth_events", &[]);
    poller
        .wait_page("more is published", WORK_BOUND, |page| {
            page.value("genesyscloud_event_queue_depth_events", &[]) > waiting + 20.0
        })
        .await;
    broker.kill();
    broker.wipe();
    broker.resume().await;
    let aggregator = setup.start().await;

    let to = boundary(2);
    poller.wait_closed(to, CLOSE_BOUND).await;
    assert_true(&organisation, &aggregator, (from, to), "a wiped broker").await;
    let output = poller.process.output();
    assert!(output.contains("were sent again"), "{output}");
    for exporter in [aggregator, poller] {
        exporter.assert_no_loss().await;
        exporter.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poller_that_is_killed_leaves_nothing_unsent_and_one_instance_may_do_it_all() {
    let organisation = organisation("77").await;
    let mut broker = Broker::start().await;
    // Everything in one process, rows in its own file; it polls though the broker is away.
    let setup = part(&organisation, &broker, "all");
    let whole = setup.start().await;
    whole.wait_joined().await;
    let from = boundary(1);
    let mut whole = Some(whole);
    for _ in 0..3 {
        let running = whole.take().unwrap();
        wait_working(&running).await;
        running.process.kill();
        let again = setup.start().await;
        again.wait_joined().await;
        whole = Some(again);
    }
    let whole = whole.unwrap();
    broker.kill();
    let waiting = whole.page().await;
    let waiting = waiting.value("genesyscloud_event_queue_depth_events", &[]);
    whole
        .wait_page("the outbox keeps what comes", WORK_BOUND, |page| {
            page.value("genesyscloud_event_queue_depth_events", &[]) > waiting + 20.0
                && page.value("genesyscloud_up", &[]) == 1.0
        })
        .await;
    broker.resume().await;
    let to = boundary(2);
    whole.wait_closed(to, CLOSE_BOUND).await;
    assert_true(&organisation, &whole, (from, to), "one instance over NATS").await;
    whole.assert_no_loss().await;
    whole.stop().await;
    organisation.assert_polite().await;
}
