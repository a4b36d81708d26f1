//! The same two hours over NATS and PostgreSQL: undisturbed, and with aggregators, broker and
//! database each in its trouble. Every case is held against the run in one process with one file.

use std::pin::Pin;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, stream};
use futures_util::future::join_all;
use genesys_cloud_exporter::clock::SystemClock;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::embedded::measure;
use super::life::{DEADLINE, assert_died};
use super::parts::{Aggregator, Line, Polling};
use super::tables::{Feed, Tables};
use crate::support::broker::Broker;
use crate::support::cluster::Cluster;
use crate::support::wait::wait_for;

/// Minutes at which the poller waits for trouble to begin, and to end.
const TROUBLE: [i64; 2] = [35, 75];

/// Aggregators that share the work.
const AGGREGATORS: usize = 3;

/// Minutes at which one of them is about to be killed.
const KILLS: [i64; 5] = [20, 40, 60, 80, 100];

type Case<'c> = Pin<Box<dyn Future<Output = (Tables, Feed, &'static str)> + 'c>>;

async fn undisturbed(broker: &Broker, cluster: &Cluster) -> (Tables, Feed, &'static str) {
    let line = Line::new("undisturbed", broker, cluster);
    let aggregator = line.aggregator(None, "");
    line.poller(&[]).done().await;
    aggregator.done().await;
    (line.tables(), Feed::Same, line.name)
}

/// The seed of a run; another one by the variable, to repeat a failure.
fn seed() -> u64 {
    let given = std::env::var_os("PROOF_SEED");
    given.map_or_else(
        || SystemClock::new().now().wall.0 as u64,
        |text| text.to_str().unwrap().parse().unwrap(),
    )
}

async fn aggregators_killed(broker: &Broker, cluster: &Cluster) -> (Tables, Feed, &'static str) {
    let seed = seed();
    eprintln!("PROOF_SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let line = Line::new("killed", broker, cluster);
    let mut aggregators: Vec<Aggregator> = Vec::new();
    for _ in 0..AGGREGATORS {
        aggregators.push(line.aggregator(None, ""));
    }
    let poller = line.poller(&KILLS);
    for minute in KILLS {
        poller.reached(minute).await;
        poller.go_on(minute);
        // In the midst of its work, wherever that is.
        line.wait_stored(random.random_range(1..=80)).await;
        let victim = random.random_range(0..AGGREGATORS);
        aggregators.swap_remove(victim).process.kill();
        aggregators.push(line.aggregator(None, ""));
    }
    poller.done().await;
    for aggregator in aggregators {
        aggregator.done().await;
    }
    (line.tables(), Feed::Same, line.name)
}

async fn broker_killed(cluster: &Cluster) -> (Tables, Feed, &'static str) {
    let mut broker = Broker::start().await;
    let [begins, ends] = TROUBLE;
    let (aggregator, poller) = {
        let line = Line::new("broker_killed", &broker, cluster);
        let (aggregator, poller) = (line.aggregator(None, ""), line.poller(&TROUBLE));
        poller.reached(begins).await;
        line.wait_stored(1).await;
        (aggregator, poller)
    };
    broker.kill();
    poller.go_on(begins);
    poller.reached(ends).await;
    poller.wait_refused().await;
    broker.resume().await;
    // Once more, while what had waited is on its way.
    again(&broker, cluster, "broker_killed")
        .wait_stored(20)
        .await;
    broker.kill();
    broker.resume().await;
    poller.go_on(ends);
    poller.done().await;
    aggregator.done().await;
    let line = again(&broker, cluster, "broker_killed");
    (line.tables(), Feed::Same, line.name)
}

/// The same line after its broker or database was away.
fn again<'p>(broker: &'p Broker, cluster: &'p Cluster, name: &'static str) -> Line<'p> {
    Line {
        name,
        broker,
        cluster,
    }
}

/// What was published, acknowledged by the broker and stored by nobody is gone with its disk.
async fn broker_wiped(cluster: &Cluster) -> (Tables, Feed, &'static str) {
    let mut broker = Broker::start().await;
    let [begins, ends] = TROUBLE;
    let line = Line::new("wiped", &broker, cluster);
    let (aggregator, poller) = (line.aggregator(None, ""), line.poller(&TROUBLE));
    poller.reached(begins).await;
    line.wait_stored(1).await;
    aggregator.process.kill();
    poller.go_on(begins);
    let records = poller.reached(ends).await;
    line.wait_published(records).await;
    let stored = line.stored();
    broker.kill();
    broker.wipe();
    broker.resume().await;
    let line = again(&broker, cluster, "wiped");
    let aggregator = line.aggregator(None, "");
    poller.go_on(ends);
    poller.done().await;
    let output = aggregator.process.output();
    assert!(output.contains("are sent again"), "{stored}: {output}");
    aggregator.done().await;
    (line.tables(), Feed::Same, line.name)
}

async fn database_killed(broker: &Broker) -> (Tables, Feed, &'static str) {
    let mut cluster = Cluster::start();
    let [begins, ends] = TROUBLE;
    let (aggregator, poller) = {
        let line = Line::new("database_killed", broker, &cluster);
        let (aggregator, poller) = (line.aggregator(None, ""), line.poller(&TROUBLE));
        poller.reached(begins).await;
        line.wait_stored(1).await;
        (aggregator, poller)
    };
    cluster.kill();
    poller.go_on(begins);
    poller.reached(ends).await;
    cluster.resume();
    again(broker, &cluster, "database_killed")
        .wait_stored(20)
        .await;
    // And as an operator ends it.
    cluster.stop();
    cluster.resume();
    poller.go_on(ends);
    poller.done().await;
    aggregator.done().await;
    let line = again(broker, &cluster, "database_killed");
    (line.tables(), Feed::Same, line.name)
}

/// The poller dies with what it has published still in its outbox, and is away until the broker
/// has forgotten that it had it all: so all comes twice, and the store alone can tell.
async fn away_longer_than_the_broker_remembers(
    broker: &Broker,
    cluster: &Cluster,
) -> (Tables, Feed, &'static str) {
    let line = Line::new("forgotten", broker, cluster);
    let url = broker.url();
    let client = async_nats::connect(url.trim_matches('"')).await.unwrap();
    let operator = jetstream::new(client);
    let stream = stream::Config {
        name: line.name.to_owned(),
        subjects: vec![format!("{}.*.*", line.name)],
        duplicate_window: Duration::from_secs(2),
        ..stream::Config::default()
    };
    operator.create_stream(stream).await.unwrap();
    let place = tempfile::tempdir().unwrap();
    let order = line.order(&[]);
    let ended = order.start(place.path(), Some("p4:9")).exit(DEADLINE).await;
    assert_died(ended, "p4:9");
    let published = line.published().await;
    assert!(published > 8, "{published}");
    wait_for("the broker has forgotten", DEADLINE, async || {
        // A message of nobody's organisation, beside those that are taken.
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", "probe");
        let subject = format!("{}.probe.nobody", line.name);
        let sent = operator.publish_with_headers(subject, headers, "".into());
        let word = sent.await.unwrap().await.unwrap();
        (!word.duplicate && line.published().await > published + 1).then_some(())
    })
    .await;
    let poller = Polling::again(&order, place);
    let mut aggregator = line.aggregator(None, "");
    poller.done().await;
    let page = aggregator.page().await;
    let doubles = page.sum("genesyscloud_events_total", &[("result", "duplicate")]);
    assert!(doubles > 0.0, "{page:?}");
    aggregator.done().await;
    (line.tables(), Feed::AskedAgain, line.name)
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_the_same_whoever_keeps_them_and_whatever_is_killed() {
    let (broker, cluster) = (Broker::start().await, Cluster::start());
    let cases: Vec<Case<'_>> = vec![
        Box::pin(undisturbed(&broker, &cluster)),
        Box::pin(aggregators_killed(&broker, &cluster)),
        Box::pin(broker_killed(&cluster)),
        Box::pin(broker_wiped(&cluster)),
        Box::pin(database_killed(&broker)),
        Box::pin(away_longer_than_the_broker_remembers(&broker, &cluster)),
    ];
    let (measure, cases) = tokio::join!(measure(), join_all(cases));
    for (tables, feed, case) in cases {
        tables.assert_same(&measure, feed, case);
    }
}
