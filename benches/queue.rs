//! Events a second from publish to committed row: over the embedded queue into SQLite, and over NATS
//! JetStream into PostgreSQL; beside what the engines on these paths do by themselves in the same
//! run: SQLite and PostgreSQL upserting the very same rows of events into a table of the same make
//! in transactions of 50, JetStream taking the messages. The paths write more than that: each event
//! to the journal first, and what windows are made of.
//!
//! Over NATS all that takes part shares the machine's cores, and one event takes more of them than
//! an upsert; so the CPU time that each takes of it is told too.
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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::Cluster;
use common::event;
use genesys_cloud_exporter::clock::SystemClock;
use genesys_cloud_exporter::config::{NatsConfig, PostgresConfig, PostgresHost, PostgresTls};
use genesys_cloud_exporter::effect::Append;
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

/// Of each round others, or the broker would take them for repetitions of those before.
fn events(count: usize, round: usize) -> Vec<JournalRecord> {
    let now = SystemClock::new().now().wall + Millis(round as i64);
    let nth = |n: usize| {
        let at = now - Millis::from_secs(3_600) + Millis((n / AGENTS) as i64 * 1_000);
        let user = UserId::new(&format!("00000000-0000-4000-8000-{:012x}", n % AGENTS));
        JournalRecord::from(event(user, at, RoutingState::ALL[n % 4]))
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

/// Nothing may fail: a figure of a run that repeated something is none. Counts what is stored.
#[derive(Clone, Default)]
struct Strict(Arc<AtomicUsize>);

impl Strict {
    /// Waits until so many records are stored.
    async fn stored(&self, count: usize) {
        while self.0.load(Ordering::Acquire) < count {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl ConsumerObserver for Strict {
    fn batch(&mut self, _: Millis, fetched: Fetched, committed: &CommitReport) {
        assert_eq!(committed.duplicate, 0);
        self.0.fetch_add(fetched.records, Ordering::Release);
    }
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

/// As a cycle does in which everybody has changed: what there is to append is appended at once.
async fn publish(journal: &JournalHandle, records: &[JournalRecord], wake: &Notify) {
    for batch in records.chunks(AGENTS) {
        let append = Append {
            records: batch.to_vec(),
            ..Append::default()
        };
        journal.append(Arc::new(append)).await.unwrap();
        wake.notify_one();
    }
}

async fn embedded(records: &[JournalRecord], place: &Path) -> Duration {
    let (dir, journal) = journal(place);
    let (store, _) = SqliteStore::open(&dir, settings("default"), UnixMillis(0)).unwrap();
    let (store, _) = StoreHandle::spawn(store).unwrap();
    let (wake, strict) = (Arc::new(Notify::new()), Strict::default());
    let (stop, stopped) = watch::channel(false);
    let consumer = tokio::spawn(consume(
        journal.clone(),
        store,
        BATCH,
        SystemClock::new(),
        Arc::clone(&wake),
        stopped,
        strict.clone(),
    ));
    let began = Instant::now();
    publish(&journal, records, &wake).await;
    strict.stored(records.len()).await;
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
    let (wake, strict) = (Arc::new(Notify::new()), Strict::default());
    let (stop, stopped) = watch::channel(false);
    let relay = Relay::new(
        journal.clone(),
        link.clone(),
        standing,
        clock,
        strict.clone(),
    );
    let relay = tokio::spawn(relay.run(Arc::clone(&wake), stopped.clone()));
    let stores = strict.clone();
    let observers = move || stores.clone();
    let aggregator = aggregate(link, store.clone(), BATCH, clock, stopped, observers);
    let aggregator = tokio::spawn(aggregator);
    let began = Instant::now();
    publish(&journal, records, &wake).await;
    strict.stored(records.len()).await;
    let took = began.elapsed();
    stop.send(true).unwrap();
    relay.await.unwrap().unwrap();
    aggregator.await.unwrap().unwrap();
    took
}

/// The rows that a run has left, put into a table of the same make.
fn bare_sqlite(filled: &Path) -> Duration {
    let place = tempfile::tempdir().unwrap();
    let mut connection = rusqlite::Connection::open(place.path().join("bare.db")).unwrap();
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        .unwrap();
    let (tables, rows) = {
        let store = rusqlite::Connection::open(filled.join("store.db")).unwrap();
        let texts = |sql: &str| -> Vec<String> {
            let mut query = store.prepare(sql).unwrap();
            let found = query.query_map([], |row| row.get(0)).unwrap();
            found.collect::<Result<_, _>>().unwrap()
        };
        let tables =
            texts("SELECT sql FROM sqlite_master WHERE tbl_name = 'agent_event' AND sql NOT NULL");
        let mut query = store
            .prepare("SELECT * FROM agent_event ORDER BY state_entered_at, user_id")
            .unwrap();
        let columns = query.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..columns).map(|at| row.get(at)).collect();
        let rows: Vec<Vec<rusqlite::types::Value>> = query
            .query_map([], row)
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        (tables, rows)
    };
    for sql in tables {
        connection.execute_batch(&sql).unwrap();
    }
    let places = vec!["?"; rows[0].len()].join(", ");
    let upsert = format!("INSERT OR REPLACE INTO agent_event VALUES ({places})");
    let began = Instant::now();
    for batch in rows.chunks(BATCH) {
        let transaction = connection.transaction().unwrap();
        for row in batch {
            let mut insert = transaction.prepare_cached(&upsert).unwrap();
            insert.execute(rusqlite::params_from_iter(row)).unwrap();
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

/// The rows that a run has left, taken from one table of the server into another of the same make:
/// nothing is sent but the order to.
async fn bare_postgres(cluster: &Cluster, org: &str) -> Duration {
    let settings = format!(
        "host={} user=postgres dbname=postgres",
        cluster.path().display()
    );
    let (client, connection) = tokio_postgres::connect(&settings, tokio_postgres::NoTls)
        .await
        .unwrap();
    let driver = tokio::spawn(connection);
    client
        .batch_execute(&format!(
            "DROP TABLE IF EXISTS bare; CREATE TABLE bare (LIKE agent_event INCLUDING ALL); \
             CREATE TEMPORARY TABLE sent AS SELECT row_number() OVER \
                 (ORDER BY state_entered_at, user_id) AS number, e.* \
                 FROM agent_event AS e WHERE org = '{org}'; \
             CREATE UNIQUE INDEX ON sent (number); ANALYZE sent"
        ))
        .await
        .unwrap();
    let columns: String = client
        .query_one(
            "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute \
             WHERE attrelid = 'agent_event'::regclass AND attnum > 0 AND NOT attisdropped",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    let replaced = columns
        .split(", ")
        .map(|name| format!("{name} = EXCLUDED.{name}"))
        .collect::<Vec<_>>()
        .join(", ");
    let upsert = client
        .prepare(&format!(
            "INSERT INTO bare ({columns}) SELECT {columns} FROM sent WHERE number > $1 AND number <= $2 \
             ON CONFLICT (org, user_id, state_entered_at) DO UPDATE SET {replaced}"
        ))
        .await
        .unwrap();
    let count: i64 = client
        .query_one("SELECT count(*) FROM sent", &[])
        .await
        .unwrap()
        .get(0);
    let began = Instant::now();
    for from in (0..count).step_by(BATCH) {
        let to = from + BATCH as i64;
        client.execute(&upsert, &[&from, &to]).await.unwrap();
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

/// CPU time of processes and of their children that have ended, as the kernel counts it: in
/// hundredths of a second.
fn cpu(processes: &[u32]) -> Duration {
    let ticks = |process: &u32| {
        let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // Behind the name, which may hold anything.
        let rest = text.rsplit(") ").next().unwrap_or_default();
        let fields = rest.split(' ').skip(11).take(4);
        fields
            .filter_map(|field| field.parse::<u64>().ok())
            .sum::<u64>()
    };
    Duration::from_millis(processes.iter().map(ticks).sum::<u64>() * 10)
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
    let count = asked.unwrap_or(EVENTS);
    let payload = |record: &JournalRecord| Bytes::from(serde_json::to_vec(record).unwrap());
    let place = tempfile::tempdir().unwrap();
    let (broker, url) = Broker::start(place.path());
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
    let taken = || {
        [
            cpu(&[std::process::id()]),
            cpu(&[broker.0.id()]),
            cpu(&cluster.processes()),
        ]
    };
    let mut spent = [Duration::ZERO; 3];
    for round in 0..ROUNDS {
        let records = events(count, round);
        let payloads: Vec<Bytes> = records.iter().map(payload).collect();
        let place = tempfile::tempdir().unwrap();
        times[3].push(embedded(&records, place.path()).await);
        times[0].push(bare_sqlite(&place.path().join("data")));
        let org = format!("round-{round}");
        let before = taken();
        times[4].push(shared(&records, &nats, &postgres, &org).await);
        for (share, (now, before)) in spent.iter_mut().zip(taken().into_iter().zip(before)) {
            *share += now.saturating_sub(before);
        }
        times[1].push(bare_jetstream(&payloads, &url, round).await);
        times[2].push(bare_postgres(&cluster, &org).await);
    }
    report(count, times, spent);
}

/// Prints medians, ratios, and what was spent of the CPU on the way over NATS.
fn report(count: usize, times: [Vec<Duration>; 5], spent: [Duration; 3]) {
    let [sqlite, jetstream, server, embedded, shared] = times.map(median);
    let rate = |took: Duration| count as f64 / took.as_secs_f64();
    for (what, took) in [
        ("bare SQLite, batches of 50", sqlite),
        ("bare JetStream, published and acknowledged", jetstream),
        ("bare PostgreSQL, upserts of 50", server),
        ("embedded queue into SQLite", embedded),
        ("NATS into PostgreSQL", shared),
    ] {
        println!("{what}: {:.0} events/s", rate(took));
    }
    for (who, share) in ["exporter", "nats-server", "PostgreSQL"].iter().zip(spent) {
        let an_event = share.as_secs_f64() * 1e6 / (count * ROUNDS) as f64;
        println!("NATS into PostgreSQL, {who}: {an_event:.0} us of CPU an event");
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
