//! A process that polls: this test binary, started again with an order of what to do. It dies where
//! it is told to, and one that is started in the same place takes up where it was.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use genesys_cloud_exporter::clock::SystemClock;
use genesys_cloud_exporter::config::{self, Config, QueueKind};
use genesys_cloud_exporter::crash;
use genesys_cloud_exporter::journal::{
    DataDir, EmbeddedJournal, JournalHandle, JournalStatus, NatsLink, Relay, RelayObserver,
    Standing,
};
use genesys_cloud_exporter::model::time::{Millis, Now, UnixMillis};
use genesys_cloud_exporter::pipeline::Pipeline;
use genesys_cloud_exporter::store::{
    CommitReport, ConsumerObserver, Fetched, SqliteStore, StoreHandle, StoreSettings, consume,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::poller::{Poller, starts_at};
use super::tables::Tables;
use crate::support::process::Process;
use crate::support::wait::wait_for;

/// When the scenario begins: a working morning.
pub(super) const ORIGIN: UnixMillis = UnixMillis(1_715_673_600_000); // 2024-05-14T08:00:00Z

pub(super) const MINUTE: i64 = 60_000;

/// What is compared ends here …
pub(super) const COMPARED: i64 = 120;

/// … and the run goes on until all of it is closed.
pub(super) const RUN: i64 = 132;

/// A run that has not ended by then will not: alone it takes half a minute, beside seven other tests
/// many times that.
pub(super) const DEADLINE: Duration = Duration::from_secs(600);

/// Rows whether an agent is offline or not: of presence the platform tells no past, so one that
/// changed twice while the poller was dead is not known, and could leave out a row.
pub(super) const WINDOWS: &str = "window: { include_offline: true }";

/// The variable with the order.
const ORDER: &str = "PROOF_ORDER";

/// What a life is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    /// How far to poll, in minutes of the scenario.
    pub(super) minutes: i64,
    /// Where to stop until told to go on.
    pub(super) holds: Vec<i64>,
    /// Settings of the queue; nothing: the journal is the queue, and a file keeps the rows.
    pub(super) queue: String,
    /// The journal that it finds is damaged.
    pub(super) journal_lost: bool,
    /// Seconds from the death before to this start: a service manager needs some.
    pub(super) down: i64,
}

impl Order {
    /// The whole scenario, in one process.
    pub(super) fn whole() -> Self {
        Self {
            minutes: RUN,
            holds: Vec::new(),
            queue: String::new(),
            journal_lost: false,
            down: 7,
        }
    }

    fn config(&self) -> Config {
        let text = format!(
            "source: {{ dialect: status, client_id: demo, api_url: 'http://127.0.0.1:1', \
             login_url: 'http://127.0.0.1:1' }}\n{WINDOWS}\n{}\n",
            self.queue
        );
        let environment: BTreeMap<String, String> =
            [("GENESYSCLOUD_CLIENT_SECRET".to_owned(), "demo".to_owned())].into();
        let loaded = config::parse(&Arc::from("proof.yml"), &text, &environment, &[]);
        loaded.unwrap_or_else(|error| panic!("{error}")).config
    }

    /// Starts a process in `place`; `dies`: at which passing of which point, as in `p5:3`.
    pub(super) fn start(&self, place: &Path, dies: Option<&str>) -> Process {
        let order = serde_json::to_string(self).unwrap();
        let mut variables = vec![(ORDER, &*order)];
        variables.extend(dies.map(|at| (crash::CRASH_AT, at)));
        let program = std::env::current_exe().unwrap();
        let arguments = [
            "--exact",
            "--nocapture",
            "proof::life::a_life_keeps_all_that_it_polls",
        ];
        let program = program.to_str().unwrap();
        Process::start_program("poller", program, place, &arguments, &variables)
    }

    /// A life to its good end.
    pub(super) async fn live(&self, place: &Path) {
        let (code, output) = self.start(place, None).exit(DEADLINE).await;
        assert_eq!(code, Some(0), "{output}");
        assert!(output.contains("1 passed"), "nothing was run: {output}");
    }

    /// A life that ends at a point.
    pub(super) async fn die(&self, place: &Path, at: &str) {
        let ended = self.start(place, Some(at)).exit(DEADLINE).await;
        assert_died(ended, at);
    }
}

/// The process ended at this point, and by nothing else.
pub(super) fn assert_died((code, output): (Option<i32>, String), at: &str) {
    let (label, _) = at.split_once(':').unwrap();
    let said = output.contains(&format!("crash point {label} reached"));
    assert!(said && code.is_none(), "{at}: {code:?}\n{output}");
}

/// By itself, a short life. With an order, that order, in the working directory.
#[tokio::test(flavor = "multi_thread")]
async fn a_life_keeps_all_that_it_polls() {
    if let Some(order) = std::env::var_os(ORDER) {
        let order: Order = serde_json::from_str(order.to_str().unwrap()).unwrap();
        if let Some(at) = std::env::var_os(crash::CRASH_AT) {
            crash::arm(crash::Fuse::parse(at.to_str().unwrap()).unwrap());
        }
        return live(&order, Path::new(".")).await;
    }
    let place = tempfile::tempdir().unwrap();
    let order = Order {
        minutes: 30,
        ..Order::whole()
    };
    live(&order, place.path()).await;
    let (windows, events) = Tables::of_file(place.path()).counts();
    assert!(windows > 40 && events > 40, "{windows} and {events}");
}

async fn live(order: &Order, place: &Path) {
    let config = order.config();
    let started = starts_at(place, order.down);
    let dir = DataDir::open(&place.join("data")).unwrap();
    let embedded = matches!(config.queue.kind, QueueKind::Embedded);
    let mut threads = Vec::new();
    let (mut store, mut cursor) = (None, 0);
    if embedded {
        let settings = StoreSettings::of(&config.pipeline);
        let (opened, _) = SqliteStore::open(&dir, settings, started).unwrap();
        // Processes are killed here, machines are not.
        opened.forgo_durability().unwrap();
        cursor = opened.cursor().unwrap();
        let (handle, thread) = StoreHandle::spawn(opened).unwrap();
        store = Some(handle);
        threads.push(thread);
    }
    let (journal, opened) = EmbeddedJournal::open(&dir, cursor, started).unwrap();
    let lost = opened.database.quarantined.is_some();
    assert_eq!(lost, order.journal_lost);
    assert_eq!(opened.behind_store.is_some(), lost);
    journal.forgo_durability().unwrap();
    let (journal, thread) = JournalHandle::spawn(journal, SystemClock::new()).unwrap();
    threads.push(thread);
    let checkpoint = journal.load_checkpoint().await.unwrap();
    assert_eq!(checkpoint.dead, 0);
    let wake = Arc::new(Notify::new());
    let (stop, stopped) = watch::channel(false);
    let mover = match store {
        Some(store) => keep(&config, &journal, store, &wake, stopped),
        None => publish(&config, &journal, &checkpoint.entries, &wake, stopped).await,
    };
    let now = Now {
        wall: started,
        ..Now::default()
    };
    let pipeline = Pipeline::new(config.pipeline.clone(), checkpoint.entries, now).unwrap();
    let mut poller = Poller::new(pipeline, journal.clone(), Arc::clone(&wake), place, started);
    let end = ORIGIN + Millis(order.minutes * MINUTE);
    poller.run(end, &order.holds).await;
    drop(poller);
    wait_for("all is stored", DEADLINE, async || {
        assert!(!mover.is_finished(), "who moves events has ended");
        (journal.status().await.unwrap().depth == 0).then_some(())
    })
    .await;
    stop.send(true).unwrap();
    mover.await.unwrap();
    drop(journal);
    for thread in threads {
        thread.join().unwrap();
    }
}

/// From the journal into the file.
fn keep(
    config: &Config,
    journal: &JournalHandle,
    store: StoreHandle,
    wake: &Arc<Notify>,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let (journal, wake) = (journal.clone(), Arc::clone(wake));
    let (size, clock) = (config.queue.batch_size, SystemClock::new());
    tokio::spawn(async move {
        let consumed = consume(journal, store, size, clock, wake, stop, Ears);
        consumed.await.unwrap();
    })
}

/// From the journal to the broker.
async fn publish(
    config: &Config,
    journal: &JournalHandle,
    checkpoint: &[(String, String)],
    wake: &Arc<Notify>,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let QueueKind::Nats(nats) = &config.queue.kind else {
        unreachable!("who keeps no rows has a broker");
    };
    let link = NatsLink::connect(nats, &config.source.name).await.unwrap();
    let standing = Standing::of(journal, checkpoint).await.unwrap();
    let relay = Relay::new(journal.clone(), link, standing, SystemClock::new(), Ears);
    let wake = Arc::clone(wake);
    tokio::spawn(async move { relay.run(wake, stop).await.unwrap() })
}

/// What must not happen ends the process; a broker that is away is told of.
struct Ears;

impl ConsumerObserver for Ears {
    fn batch(&mut self, _: Millis, fetched: Fetched, committed: &CommitReport) {
        assert_eq!((fetched.dead, fetched.missing), (0, 0));
        assert_eq!((committed.dead, committed.quarantined), (0, 0));
    }

    fn store_error(&mut self, operation: &'static str, error: &(dyn Error + 'static)) {
        panic!("{operation}: {error:?}");
    }

    fn depth(&mut self, _: JournalStatus) {}
}

impl RelayObserver for Ears {
    fn lost(&mut self, dead: u64, refused: u64, missing: u64) {
        panic!("{dead} damaged, {refused} refused, {missing} missing");
    }

    fn failed(&mut self, error: &(dyn Error + 'static)) {
        eprintln!("not published: {error:?}");
    }

    fn depth(&mut self, _: JournalStatus) {}
}
