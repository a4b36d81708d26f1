//! The exporter under test: its configuration, its life, its pages.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::audit::Row;
use super::exposition::{Series, samples};
use super::http::{Answer, Http, rfc3339};
use super::organisation::{CLIENT_ID, CLIENT_SECRET, Organisation};
use super::process::{Process, START_BOUND};
use super::wait::wait_for;

/// Length of their windows, in milliseconds.
pub(crate) const WINDOW_MS: i64 = 10_000;

/// A graceful end takes far less; the contract of the test is this.
pub(crate) const STOP_BOUND: Duration = Duration::from_secs(5);

/// The exporter's own budget: far more than what changes, and still a bound on the round robin
/// that asks for unchanged agents with all that is left.
const REQUESTS_PER_MINUTE: u32 = 6_000;

/// Rows a page: few, so that every test turns pages.
const ROWS_A_PAGE: usize = 250;

/// Settings and a directory for data, kept over restarts.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) directory: Arc<TempDir>,
    settings: BTreeMap<&'static str, String>,
    variables: BTreeMap<&'static str, String>,
}

impl Setup {
    /// Short intervals and windows, and a budget that is no matter.
    pub(crate) fn new(organisation: &Organisation) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let secret = directory.path().join("secret");
        std::fs::write(&secret, CLIENT_SECRET).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let owner_only = std::fs::Permissions::from_mode(0o400);
            std::fs::set_permissions(&secret, owner_only).unwrap();
        }
        let mut setup = Self {
            directory,
            settings: BTreeMap::new(),
            variables: BTreeMap::new(),
        };
        for (path, value) in [
            ("source.api_url", &*organisation.url),
            ("source.login_url", &organisation.url),
            ("source.client_id", CLIENT_ID),
            ("source.client_secret_file", "secret"),
            ("poll.interval", "1s"),
            ("poll.timeout", "900ms"),
            ("snapshot.cache_age", "1s"),
            ("snapshot.retry_backoff", "1s"),
            ("breaker.cooldown", "3s"),
            ("breaker.max_cooldown", "6s"),
            (
                "budget.requests_per_minute",
                &REQUESTS_PER_MINUTE.to_string(),
            ),
            ("budget.max_in_flight", "16"),
            ("window.length", "10s"),
            ("window.slide", "10s"),
            ("window.max_wait", "20s"),
            ("store.path", "data"),
            ("web.listen", "[\"127.0.0.1:0\"]"),
        ] {
            setup.set(path, value);
        }
        setup
    }

    /// Sets a value, as it is written in the file.
    pub(crate) fn set(&mut self, path: &'static str, value: &str) -> &mut Self {
        self.settings.insert(path, value.to_owned());
        self
    }

    /// Sets a variable of the exporter's environment.
    pub(crate) fn set_variable(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.variables.insert(name, value.to_owned());
        self
    }

    /// Leaves a setting out.
    pub(crate) fn unset(&mut self, path: &str) -> &mut Self {
        self.settings.remove(path);
        self
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Writes the configuration file and gives back its text.
    pub(crate) fn write(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for (path, value) in &self.settings {
            let (head, key) = path.split_once('.').unwrap_or(("", path));
            if head != section {
                // A key of the top stands by itself.
                if !head.is_empty() {
                    writeln!(text, "{head}:").unwrap();
                }
                section = head;
            }
            let indent = if head.is_empty() { "" } else { "  " };
            writeln!(text, "{indent}{key}: {value}").unwrap();
        }
        std::fs::write(self.directory.path().join("config.yml"), &text).unwrap();
        text
    }

    /// Starts the process, which may refuse.
    pub(crate) fn spawn(&self) -> Process {
        self.write();
        self.spawn_as_written()
    }

    /// The same, with a configuration file that the test wrote.
    pub(crate) fn spawn_as_written(&self) -> Process {
        let arguments = ["run", "--config.file", "config.yml"];
        let variables = self.variables.iter();
        let variables: Vec<(&str, &str)> =
            variables.map(|(name, value)| (*name, &**value)).collect();
        Process::start("exporter", self.directory.path(), &arguments, &variables)
    }

    /// Starts the exporter and waits until it listens.
    pub(crate) async fn start(&self) -> Exporter {
        let mut process = self.spawn();
        let address = process.listening(0).await;
        Exporter {
            process,
            url: format!("http://{address}"),
            http: Http::new(),
            _directory: Some(Arc::clone(&self.directory)),
        }
    }

    /// Every file below the directory but the secret's own.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut left = vec![self.directory.path().to_owned()];
        while let Some(directory) = left.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => left.push(path),
                    false if path.file_name() == Some("secret".as_ref()) => {}
                    false => found.push(path),
                }
            }
        }
        found
    }
}

/// A metrics page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Page(pub(crate) BTreeMap<Series, f64>);

impl Page {
    /// A sample; `None` if it is not there.
    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.0.get(&(name.to_owned(), labels.collect())).copied()
    }

    /// A sample that must be there.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.get(name, labels)
            .unwrap_or_else(|| panic!("no sample {name}{labels:?}"))
    }

    /// Samples of a name, with their labels.
    pub(crate) fn all<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = (&'a BTreeMap<String, String>, f64)> {
        let named = self.0.iter().filter(move |((found, _), _)| found == name);
        named.map(|((_, labels), value)| (labels, *value))
    }

    /// Sum of the samples of a name whose labels include these.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted = |found: &BTreeMap<String, String>| {
            labels
                .iter()
                .all(|(name, value)| found.get(*name).map(String::as_str) == Some(*value))
        };
        let matching = self.all(name).filter(|(found, _)| wanted(found));
        matching.map(|(_, value)| value).sum()
    }

    /// Accepted snapshots.
    pub(crate) fn accepted(&self) -> f64 {
        self.sum("genesyscloud_snapshots_total", &[("result", "accepted")])
    }
}

/// A running exporter.
#[derive(Debug)]
pub(crate) struct Exporter {
    pub(crate) process: Process,
    pub(crate) url: String,
    pub(crate) http: Http,
    /// Its databases' files must be there for as long as it runs.
    _directory: Option<Arc<TempDir>>,
}

impl Exporter {
    /// One that keeps no files of a setup's.
    pub(crate) fn of(process: Process, url: String, http: Http) -> Self {
        Self {
            process,
            url,
            http,
            _directory: None,
        }
    }

    /// GET of a path.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.http.get(&format!("{}{path}", self.url)).await
    }

    /// The metrics page.
    pub(crate) async fn page(&self) -> Page {
        let answer = self.get("/metrics").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        Page(samples(&answer.text))
    }

    /// Pipeline health.
    pub(crate) async fn status(&self) -> Value {
        self.get("/api/v1/status").await.json()
    }

    /// Waits until a page satisfies `condition`.
    pub(crate) async fn wait_page(
        &self,
        what: &str,
        bound: Duration,
        condition: impl Fn(&Page) -> bool,
    ) -> Page {
        wait_for(what, bound, async || {
            Some(self.page().await).filter(|page| condition(page))
        })
        .await
    }

    /// Waits until a snapshot was accepted.
    pub(crate) async fn wait_ready(&self) {
        wait_for("the exporter is ready", START_BOUND, async || {
            (self.get("/-/ready").await.status == 200).then_some(())
        })
        .await;
    }

    /// Waits until every agent's routing state was asked for, after which time counts.
    pub(crate) async fn wait_joined(&self) -> Page {
        self.wait_page("every agent is joined", START_BOUND, |page| {
            page.get("genesyscloud_routing_join_coverage_ratio", &[]) == Some(1.0)
        })
        .await
    }

    /// Waits until windows are closed for every agent up to `end`, and their rows are stored.
    pub(crate) async fn wait_closed(&self, end: i64, bound: Duration) {
        let what = format!("windows are closed until {}", rfc3339(end));
        let closed = self.wait_page(&what, bound, |page| {
            let closed = page.get("genesyscloud_window_closed_timestamp_seconds", &[]);
            closed.is_some_and(|closed| closed * 1_000.0 >= end as f64)
        });
        let accepted = closed.await.accepted();
        // What is shown as closed was appended to the queue; an empty queue some cycles later has
        // been through the store.
        self.wait_page("the event queue runs empty", bound, |page| {
            let waiting = page.value("genesyscloud_event_queue_depth_events", &[]);
            waiting == 0.0 && page.accepted() >= accepted + 2.0
        })
        .await;
    }

    /// Window rows that touch `[from, to)`, page by page.
    pub(crate) async fn rows(&self, from: i64, to: i64) -> Vec<Row> {
        let (from, to) = (rfc3339(from), rfc3339(to));
        let base = format!("/api/v1/windows?from={from}&to={to}&limit={ROWS_A_PAGE}");
        let mut rows = Vec::new();
        let mut path = base.clone();
        loop {
            let body = self.get(&path).await.json();
            rows.extend(body["windows"].as_array().unwrap().iter().map(Row::parse));
            let Some(cursor) = body["nextCursor"].as_str() else {
                return rows;
            };
            let cursor: String = url::form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
            path = format!("{base}&cursor={cursor}");
        }
    }

    /// Asks it to end (SIGTERM); it must do so in time, with exit code 0. What it wrote.
    pub(crate) async fn stop(self) -> String {
        self.process.signal("TERM");
        let (code, output) = self.process.exit(STOP_BOUND).await;
        assert_eq!(code, Some(0), "{output}");
        output
    }

    /// Ends a run: nothing was lost on the way.
    pub(crate) async fn assert_no_loss(&self) {
        let page = self.page().await;
        let losses: Vec<_> = page.all("genesyscloud_data_loss_total").collect();
        assert!(!losses.is_empty());
        assert!(losses.iter().all(|(_, count)| *count == 0.0), "{losses:?}");
    }
}

/// The text of a file, whatever its bytes.
pub(crate) fn lossy(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

/// 10,000 agents on the public platform, and an exporter with the usual budget.
pub(crate) async fn ten_thousand() -> (Organisation, Setup) {
    let arguments = [
        "--agents",
        "10000",
        "--queues",
        "12",
        "--dialect",
        "platform",
        "--requests-per-minute",
        "300",
    ];
    let organisation = Organisation::simulate(&arguments).await;
    let mut setup = Setup::new(&organisation);
    setup
        .set("snapshot.retry_backoff", "10s")
        .set("window.max_wait", "10m")
        .set("budget.requests_per_minute", "300");
    (organisation, setup)
}
