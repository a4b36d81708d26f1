//! What a run over NATS is made of: a poller in virtual time, aggregators as they are shipped, a
//! broker and a database.

use std::path::Path;
use std::time::Duration;

use async_nats::jetstream;
use genesys_cloud_exporter::crash;
use tempfile::TempDir;

use super::life::{DEADLINE, Order, WINDOWS};
use super::tables::Tables;
use crate::support::broker::Broker;
use crate::support::cluster::Cluster;
use crate::support::exporter::Page;
use crate::support::exposition::samples;
use crate::support::http::Http;
use crate::support::process::Process;
use crate::support::wait::wait_for;

/// What runs of one name share among themselves and with no other: stream, subjects, database.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'p> {
    pub(super) name: &'static str,
    pub(super) broker: &'p Broker,
    pub(super) cluster: &'p Cluster,
}

impl<'p> Line<'p> {
    /// With a database of its own.
    pub(super) fn new(name: &'static str, broker: &'p Broker, cluster: &'p Cluster) -> Self {
        cluster.ask("postgres", &format!("CREATE DATABASE {name}"));
        Self {
            name,
            broker,
            cluster,
        }
    }

    /// Where events travel.
    fn queue(&self) -> String {
        format!(
            "queue: {{ kind: nats, url: {}, stream: {}, subject: {} }}",
            self.broker.url(),
            self.name,
            self.name
        )
    }

    /// A poller that lives through the scenario, but for stops.
    pub(super) fn order(&self, holds: &[i64]) -> Order {
        Order {
            holds: holds.to_vec(),
            queue: self.queue(),
            ..Order::whole()
        }
    }

    /// Starts one in a place of its own.
    pub(super) fn poller(&self, holds: &[i64]) -> Polling {
        let place = tempfile::tempdir().unwrap();
        let process = self.order(holds).start(place.path(), None);
        Polling { process, place }
    }

    /// Starts an aggregator; `more`: further settings of the store.
    pub(super) fn aggregator(&self, dies: Option<&str>, more: &str) -> Aggregator {
        let place = tempfile::tempdir().unwrap();
        let url = place.path().join("database");
        std::fs::write(&url, self.cluster.url(self.name)).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&url, std::fs::Permissions::from_mode(0o400)).unwrap();
        }
        // What is two years old is to be kept.
        let text = format!(
            "role: aggregator\nsource: {{ api_url: 'http://127.0.0.1:1', \
             login_url: 'http://127.0.0.1:1' }}\n{WINDOWS}\n{}\n\
             store: {{ kind: postgres, url_file: database, retention: 3650d{more} }}\n\
             web: {{ listen: ['127.0.0.1:0'] }}\n",
            self.queue()
        );
        std::fs::write(place.path().join("config.yml"), text).unwrap();
        let variables: Vec<_> = dies.map(|at| (crash::CRASH_AT, at)).into_iter().collect();
        let arguments = ["run", "--config.file", "config.yml"];
        let process = Process::start("aggregator", place.path(), &arguments, &variables);
        Aggregator {
            process,
            _place: place,
        }
    }

    /// What the database says; before there are tables, nothing.
    pub(super) fn ask(&self, sql: &str) -> String {
        self.cluster.ask(self.name, sql)
    }

    /// Rows of events so far.
    pub(super) fn stored(&self) -> u64 {
        let there = self.ask("SELECT to_regclass('agent_event') IS NOT NULL");
        if there != "t" {
            return 0;
        }
        self.ask("SELECT count(*) FROM agent_event")
            .parse()
            .unwrap()
    }

    /// Waits until so many more are stored.
    pub(super) async fn wait_stored(&self, more: u64) {
        let before = self.stored();
        let what = format!("{}: {more} more events are stored", self.name);
        wait_for(&what, DEADLINE, async || {
            (self.stored() >= before + more).then_some(())
        })
        .await;
    }

    /// Messages that the broker has been given.
    pub(super) async fn published(&self) -> u64 {
        let Ok(client) = async_nats::connect(self.broker.url().trim_matches('"')).await else {
            return 0;
        };
        match jetstream::new(client).get_stream(self.name).await {
            Ok(stream) => stream.cached_info().state.last_sequence,
            Err(_) => 0,
        }
    }

    /// Waits until it has been given all that the poller had found before it stopped.
    pub(super) async fn wait_published(&self, records: u64) {
        let what = format!("{}: {records} records are published", self.name);
        wait_for(&what, DEADLINE, async || {
            (self.published().await >= records).then_some(())
        })
        .await;
    }

    /// What is kept in the end; every record arrived, and none is waited for.
    pub(super) fn tables(&self) -> Tables {
        let waiting = "SELECT count(*) FROM delivery AS d JOIN producer AS p \
                       USING (org, producer) WHERE d.seq > p.floor";
        assert_eq!(self.ask(waiting), "0", "{}: a number is missing", self.name);
        Tables::of_database(self.cluster, self.name)
    }
}

/// A poller that runs.
#[derive(Debug)]
pub(super) struct Polling {
    process: Process,
    place: TempDir,
}

impl Polling {
    /// In a place where another died.
    pub(super) fn again(order: &Order, place: TempDir) -> Self {
        let process = order.start(place.path(), None);
        Self { process, place }
    }

    /// Waits until it has stopped at a minute; how many records it has found by then.
    pub(super) async fn reached(&self, minute: i64) -> u64 {
        let file = self.path().join(format!("at-{minute}"));
        wait_for("the poller is there", DEADLINE, async || {
            std::fs::read_to_string(&file).ok()?.parse().ok()
        })
        .await
    }

    /// Lets it go on.
    pub(super) fn go_on(&self, minute: i64) {
        std::fs::write(self.path().join(format!("go-{minute}")), "").unwrap();
    }

    /// Waits until it could not publish.
    pub(super) async fn wait_refused(&self) {
        wait_for("the poller is refused", DEADLINE, async || {
            self.process
                .output()
                .contains("not published")
                .then_some(())
        })
        .await;
    }

    /// Waits for its good end: all that it found is stored.
    pub(super) async fn done(self) {
        let (code, output) = self.process.exit(DEADLINE).await;
        assert_eq!(code, Some(0), "{output}");
        assert!(output.contains("1 passed"), "nothing was run: {output}");
    }

    fn path(&self) -> &Path {
        self.place.path()
    }
}

/// An aggregator that runs.
#[derive(Debug)]
pub(super) struct Aggregator {
    pub(super) process: Process,
    _place: TempDir,
}

impl Aggregator {
    /// What it counts.
    pub(super) async fn page(&mut self) -> Page {
        let address = self.process.listening(0).await;
        let answer = Http::new().get(&format!("http://{address}/metrics")).await;
        Page(samples(&answer.text))
    }

    /// A good end in which nothing was lost.
    pub(super) async fn done(mut self) {
        const BOUND: Duration = Duration::from_secs(10);
        let page = self.page().await;
        let lost = page.sum("genesyscloud_data_loss_total", &[]);
        assert_eq!(lost, 0.0, "{page:?}");
        self.process.signal("TERM");
        let (code, output) = self.process.exit(BOUND).await;
        assert_eq!(code, Some(0), "{output}");
    }
}
