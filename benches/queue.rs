//! Events a second from publish to committed row: over the embedded queue into SQLite, and over NATS
//! JetStream into PostgreSQL; beside what the engines on these paths do by themselves in the same
//! run: SQLite and PostgreSQL taking rows of that size in batches of 50, JetStream taking messages.
//!
//! `cargo bench --bench queue` (needs nats-server and PostgreSQL, of Debian's packages, and starts
//! its own); `EVENTS=5000` asks for another number. Medians of several rounds; the lines that begin
//! with `ratio` are the result.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench prints its result, and a panic is its report"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a bench reads the clock to measure"
)]

#[path = "../tests/live/support/cluster.rs"]
#[allow(dead_code, reason = "shared with the live tests")]
mod cluster;
#[path = "common/event.rs"]
mod common;

use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::Cluster;
use common::event;
use genesys_cloud_exporter::clock::SystemClock;
use genesys_cloud_exporter::config::{NatsConfig, PostgresConfig, PostgresHost, PostgresTls};
use genesys_cloud_exporter::journal::{
    DataDir, EmbeddedJournal, JournalHandle, JournalStatus, NatsLink, Relay, RelayObserver,
    Standing,
};
use genesys_cloud_exporter::model::event::JournalRecord;
use genesys_cloud_exporter::model::ids::UserId;
use genesys_cloud_exporter::model::state::RoutingState;
use genesys_cloud_exporter::model::time::{Millis, UnixMillis};
use genesys_cloud_exporter::model::window::WindowSpec;
use genesys_cloud_exporter::store::{
    AggregatorObserver, CommitReport, ConsumerObserver, Fetched, PostgresStore, SqliteStore,
    StoreHandle, StoreSettings, aggregate, consume,
};
use genesys_cloud_exporter::window::RowRules;
use tokio::sync::{Notify, watch};

const EVENTS: usize = 10_000;
const ROUNDS: usize = 3;
const AGENTS: usize = 500;
/// Records a batch, as configured by default.
const BATCH: usize = 50;
/// Messages on their way at once, as the relay has them.
const AT_ONCE: usize = 200;
/// Between two looks at whether all is stored.
const LOOK_EVERY: Duration = Duration::from_millis(2);

fn events(count: usize) -> Vec<JournalRecord> {
    let now = SystemClock::new().now().wall;
    let nth = |n: usize| {
        let at = now - Millis::from_secs(3_600) + Millis((n / AGENTS) as i64 * 1_000);
        let user = UserId::new(&format!("00000000-0000-4000-8000-{:012x}", n % AGENTS));
        JournalRecord::Event(event(user, at, RoutingState::ALL[n % 4]))
    };
    (0..count).map(nth).collect()
}

fn settings(org: &str) -> StoreSettings {
    let length = Millis::from_secs(300);
    StoreSettings {
        org: org.to_owned(),
        window: WindowSpec::new(length, length),
        rules: RowRules {
            volatile_transitions: 3,
            volatile_within: Millis::from_secs(60),
            include_offline: false,
        },
    }
}

/// Nothing may fail: a figure of a run that repeated something is none.
struct Strict;

impl ConsumerObserver for Strict {
    fn batch(&mut self, _: Millis, _: Fetched, _: &CommitReport) {}
    fn store_error(&mut self, operation: &'static str, error: &(dyn Error + 'static)) {
        panic!("{operation}: {error:?}");
    }
    fn depth(&mut self, _: JournalStatus) {}
}

impl AggregatorObserver for Strict {
    fn lost(&mut self, records: u64) {
        assert_eq!(records, 0);
    }
}

impl RelayObserver for Strict {
    fn lost(&mut self, _: u64, _: u64, _: u64) {
        panic!("records were lost");
    }
    fn failed(&mut self, error: &(dyn Error + 'static)) {
        panic!("{error:?}");
    }
    fn depth(&mut self, _: JournalStatus) {}
}

fn journal(path: &Path) -> (DataDir, JournalHandle) {
    let clock = SystemClock::new();
    let dir = DataDir::open(&path.join("data")).unwrap();
    let (journal, _) = EmbeddedJournal::open(&dir, 0, clock.now().wall).unwrap();
    let (journal, _) = JournalHandle::spawn(journal, clock).unwrap();
    (dir, journal)
}

async fn publish(journal: &JournalHandle, records: &[JournalRecord], wake: &Notify) {
    for batch in records.chunks(BATCH) {
        journal.append(batch.to_vec(), Vec::new()).await.unwrap();
        wake.notify_one();
    }
}

async fn embedded(records: &[JournalRecord]) -> Duration {
    let place = tempfile::tempdir().unwrap();
    let (dir, journal) = journal(place.path());
    let (store, _) = SqliteStore::open(&dir, settings("default"), UnixMillis(0)).unwrap();
    let (store, _) = StoreHandle::spawn(store).unwrap();
    let wake = Arc::new(Notify::new());
    let (stop, stopped) = watch::channel(false);
    let consumer = tokio::spawn(consume(
        journal.clone(),
        store,
        BATCH,
        SystemClock::new(),
        Arc::clone(&wake),
        stopped,
        Strict,
    ));
    let began = Instant::now();
    publish(&journal, records, &wake).await;
    while journal.status().await.unwrap().depth > 0 {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let took = began.elapsed();
    stop.send(true).unwrap();
    consumer.await.unwrap().unwrap();
    took
}

async fn shared(
    records: &[JournalRecord],
    nats: &NatsConfig,
    postgres: &PostgresConfig,
    org: &str,
) -> Duration {
    let place = tempfile::tempdir().unwrap();
    let clock = SystemClock::new();
    let (_dir, journal) = journal(place.path());
    let store = PostgresStore::new(postgres, &settings(org), clock).unwrap();
    store.open().await.unwrap();
    let store = StoreHandle::postgres(store);
    let link = NatsLink::connect(nats, org).await.unwrap();
    let standing = Standing::of(&journal, &[]).await.unwrap();
    let wake = Arc::new(Notify::new());
    let (stop, stopped) = watch::channel(false);
    let relay = Relay::new(journal.clone(), link.clone(), standing, clock, Strict);
    let relay = tokio::spawn(relay.run(Arc::clone(&wake), stopped.clone()));
    let aggregator = aggregate(link, store.clone(), BATCH, clock, stopped, Strict);
    let aggregator = tokio::spawn(aggregator);
    let began = Instant::now();
    publish(&journal, records, &wake).await;
    let all = records.len() as u64;
    while store
        .settle()
        .await
        .unwrap()
        .iter()
        .all(|told| told.floor < all)
    {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let took = began.elapsed();
    stop.send(true).unwrap();
    relay.await.unwrap().unwrap();
    aggregator.await.unwrap().unwrap();
    took
}

fn bare_sqlite(payloads: &[Bytes]) -> Duration {
    let place = tempfile::tempdir().unwrap();
    let mut connection = rusqlite::Connection::open(place.path().join("bare.db")).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             CREATE TABLE row (key INTEGER PRIMARY KEY, payload BLOB NOT NULL)",
        )
        .unwrap();
    let began = Instant::now();
    for (at, batch) in payloads.chunks(BATCH).enumerate() {
        let transaction = connection.transaction().unwrap();
        for (n, payload) in batch.iter().enumerate() {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO row VALUES (?1, ?2)")
                .unwrap()
                .execute(rusqlite::params![(at * BATCH + n) as i64, &payload[..]])
                .unwrap();
        }
        transaction.commit().unwrap();
    }
    began.elapsed()
}

async fn bare_jetstream(payloads: &[Bytes], url: &str, round: usize) -> Duration {
    let client = async_nats::connect(url).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let subject = format!("bare.{round}");
    let config = async_nats::jetstream::stream::Config {
        name: format!("BARE-{round}"),
        subjects: vec![subject.clone()],
        ..Default::default()
    };
    context.create_stream(config).await.unwrap();
    let began = Instant::now();
    for batch in payloads.chunks(AT_ONCE) {
        let mut words = Vec::with_capacity(batch.len());
        for payload in batch {
            let word = context.publish(subject.clone(), payload.clone()).await;
            words.push(word.unwrap());
        }
        for word in words {
            word.await.unwrap();
        }
    }
    began.elapsed()
}

async fn bare_postgres(payloads: &[Bytes], cluster: &Cluster, round: usize) -> Duration {
    let settings = format!(
        "host={} user=postgres dbname=postgres",
        cluster.path().display()
    );
    let (client, connection) = tokio_postgres::connect(&settings, tokio_postgres::NoTls)
        .await
        .unwrap();
    let driver = tokio::spawn(connection);
    let table = format!("bare_{round}");
    client
        .batch_execute(&format!(
            "CREATE TABLE {table} (key BIGINT PRIMARY KEY, payload BYTEA)"
        ))
        .await
        .unwrap();
    let upsert = client
        .prepare(&format!(
            "INSERT INTO {table} SELECT * FROM unnest($1::bigint[], $2::bytea[]) \
             ON CONFLICT (key) DO UPDATE SET payload = EXCLUDED.payload"
        ))
        .await
        .unwrap();
    let began = Instant::now();
    for (at, batch) in payloads.chunks(BATCH).enumerate() {
        let keys: Vec<i64> = (0..batch.len()).map(|n| (at * BATCH + n) as i64).collect();
        let rows: Vec<&[u8]> = batch.iter().map(|payload| &payload[..]).collect();
        client.execute(&upsert, &[&keys, &rows]).await.unwrap();
    }
    let took = began.elapsed();
    drop(client);
    driver.await.unwrap().unwrap();
    took
}

/// A NATS server of the bench's own.
struct Broker(Child);

impl Broker {
    fn start(directory: &Path) -> (Self, String) {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let server = Command::new("nats-server")
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
            .arg(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this bench needs nats-server: apt-get install nats-server");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::park_timeout(LOOK_EVERY);
        }
        (Self(server), format!("nats://127.0.0.1:{port}"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let asked = std::env::var("EVENTS")
        .ok()
        .map(|text| text.parse().unwrap());
    let records = events(asked.unwrap_or(EVENTS));
    let payload = |record: &JournalRecord| Bytes::from(serde_json::to_vec(record).unwrap());
    let payloads: Vec<Bytes> = records.iter().map(payload).collect();
    let place = tempfile::tempdir().unwrap();
    let (_broker, url) = Broker::start(place.path());
    let cluster = Cluster::start_durable();
    let nats = NatsConfig {
        servers: vec![url.clone()],
        stream: "GENESYSCLOUD".to_owned(),
        subject: "genesyscloud".to_owned(),
        credentials: None,
    };
    let postgres = PostgresConfig {
        hosts: vec![PostgresHost::Socket(cluster.path().to_owned(), 5432)],
        user: "postgres".to_owned(),
        password: None,
        database: "postgres".to_owned(),
        options: None,
        tls: PostgresTls::Disabled,
    };
    let mut times: [Vec<Duration>; 5] = Default::default();
    for round in 0..ROUNDS {
        times[0].push(bare_sqlite(&payloads));
        times[1].push(bare_jetstream(&payloads, &url, round).await);
        times[2].push(bare_postgres(&payloads, &cluster, round).await);
        times[3].push(embedded(&records).await);
        let org = format!("round-{round}");
        times[4].push(shared(&records, &nats, &postgres, &org).await);
    }
    let [sqlite, jetstream, server, embedded, shared] = times.map(median);
    let rate = |took: Duration| records.len() as f64 / took.as_secs_f64();
    for (what, took) in [
        ("bare SQLite, batches of 50", sqlite),
        ("bare JetStream, published and acknowledged", jetstream),
        ("bare PostgreSQL, upserts of 50", server),
        ("embedded queue into SQLite", embedded),
        ("NATS into PostgreSQL", shared),
    ] {
        println!("{what}: {:.0} events/s", rate(took));
    }
    println!(
        "ratio embedded / bare SQLite: {:.2}",
        rate(embedded) / rate(sqlite)
    );
    let slowest = rate(jetstream).min(rate(server));
    println!(
        "ratio NATS and PostgreSQL / the slower of the two bare: {:.2}",
        rate(shared) / slowest
    );
}
