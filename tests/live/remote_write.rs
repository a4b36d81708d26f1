//! Closed windows as samples in a real Prometheus and a real VictoriaMetrics, and a receiver that
//! refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::exporter::{Exporter, Setup, WINDOW_MS};
use crate::support::http::{Http, millis};
use crate::support::organisation::Organisation;
use crate::support::process::Process;
use crate::support::wait::wait_for;

const BOUND: Duration = Duration::from_secs(60);

/// Windows that are compared.
const WINDOWS: i64 = 3;

/// A database that takes remote write, on a port of its own.
struct Receiver {
    http: Http,
    url: String,
    write: String,
    _process: Process,
    _directory: TempDir,
}

impl Receiver {
    async fn prometheus() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("prometheus.yml"), "global: {}\n").unwrap();
        let arguments = [
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.listen-address=127.0.0.1:0",
            "--web.enable-remote-write-receiver",
        ];
        let mut process = Process::tool("prometheus", "prometheus", directory.path(), &arguments);
        let address = process.listening(0).await.to_string();
        Self::ready(&address, process, directory, "/-/ready").await
    }

    async fn victoria_metrics() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // It does not say which port it got, so one is looked for.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let listen = format!("-httpListenAddr={address}");
        let arguments = [
            "-storageDataPath=data",
            "-search.latencyOffset=0s",
            &*listen,
        ];
        let name = "victoria-metrics";
        let process = Process::tool(name, name, directory.path(), &arguments);
        Self::ready(&address, process, directory, "/health").await
    }

    async fn ready(address: &str, process: Process, directory: TempDir, path: &str) -> Self {
        let (http, url) = (Http::new(), format!("http://{address}"));
        wait_for(&url, BOUND, async || {
            let answer = http.try_get(&format!("{url}{path}"), "*/*").await?;
            (answer.status == 200).then_some(())
        })
        .await;
        Self {
            http,
            write: format!("{url}/api/v1/write"),
            url,
            _process: process,
            _directory: directory,
        }
    }

    /// Samples of the last ten minutes: value by name, agent, state and time in milliseconds.
    async fn samples(&self) -> BTreeMap<(String, String, String, i64), f64> {
        let expr = "{__name__=~\"genesyscloud_window_.*\",org=\"default\",window=\"10s\"}[10m]";
        let query: String = url::form_urlencoded::byte_serialize(expr.as_bytes()).collect();
        let url = format!("{}/api/v1/query?query={query}", self.url);
        let body = self.http.get(&url).await.json();
        let mut samples = BTreeMap::new();
        for series in body["data"]["result"].as_array().unwrap() {
            let label = |name: &str| series["metric"][name].as_str().unwrap_or("").to_owned();
            for sample in series["values"].as_array().unwrap() {
                let at = (sample[0].as_f64().unwrap() * 1_000.0).round() as i64;
                let value = sample[1].as_str().unwrap().parse().unwrap();
                let key = (label("__name__"), label("agent"), label("state"), at);
                assert_eq!(samples.insert(key, value), None);
            }
        }
        samples
    }
}

/// What a row says, as samples.
fn expected(row: &Value) -> Vec<((String, String, String, i64), f64)> {
    let at = millis(&row["windowEnd"]);
    let agent = row["userId"].as_str().unwrap();
    let (metrics, quality) = (&row["metrics"], &row["quality"]);
    let one = |name: &str, state: &str, value: &Value| {
        let name = format!("genesyscloud_window_{name}");
        let value = value
            .as_f64()
            .or(value.as_bool().map(|b| f64::from(u8::from(b))));
        (
            (name, agent.to_owned(), state.to_owned(), at),
            value.unwrap(),
        )
    };
    vec![
        one("state_seconds", "available", &metrics["availableSeconds"]),
        one("state_seconds", "not_ready", &metrics["notReadySeconds"]),
        one("state_seconds", "on_call", &metrics["onCallSeconds"]),
        one("state_seconds", "wrap_up", &metrics["wrapUpSeconds"]),
        one("state_seconds", "unknown", &metrics["unknownSeconds"]),
        one("state_transitions", "", &metrics["stateTransitions"]),
        one("covered_seconds", "", &quality["coveredSeconds"]),
        one("estimated_seconds", "", &quality["estimatedSeconds"]),
        one("volatile", "", &quality["volatile"]),
    ]
}

async fn rows(exporter: &Exporter) -> Vec<Value> {
    let body = exporter.get("/api/v1/windows?limit=10000").await.json();
    body["windows"].as_array().unwrap().clone()
}

/// Runs an exporter that sends to a receiver, and holds what arrived against its rows.
async fn compare(organisation: &Organisation, receiver: Receiver) {
    let mut setup = Setup::new(organisation);
    setup.set(
        "store.remote_write",
        &format!("{{ url: \"{}\" }}", receiver.write),
    );
    let exporter = setup.start().await;
    let joined = exporter.wait_joined().await;
    let accepted = joined.value("genesyscloud_snapshot_accepted_timestamp_seconds", &[]);
    let from = ((accepted * 1_000.0) as i64 / WINDOW_MS + 2) * WINDOW_MS;
    let to = from + WINDOWS * WINDOW_MS;
    exporter.wait_closed(to, BOUND).await;
    let samples = wait_for("the last window is there", BOUND, async || {
        let samples = receiver.samples().await;
        samples.keys().any(|key| key.3 >= to).then_some(samples)
    })
    .await;
    let mut compared = 0;
    for row in rows(&exporter).await {
        let end = millis(&row["windowEnd"]);
        // What was revised since stands in the store alone.
        if end <= from || end > to || row["quality"]["revision"] != 1 {
            continue;
        }
        for (key, value) in expected(&row) {
            assert_eq!(
                samples.get(&key),
                Some(&value),
                "{key:?} at {}",
                receiver.url
            );
        }
        compared += 1;
    }
    assert!(compared > 60, "{compared} rows at {}", receiver.url);
    exporter.assert_no_loss().await;
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_read_back_are_the_rows() {
    let arguments = [
        "--agents",
        "60",
        "--queues",
        "4",
        "--tempo",
        "12",
        "--history",
        "3",
        "--cache-refresh",
        "1s",
    ];
    let organisation = Organisation::simulate(&arguments).await;
    let (one, other) = (
        Receiver::prometheus().await,
        Receiver::victoria_metrics().await,
    );
    tokio::join!(compare(&organisation, one), compare(&organisation, other));
}

/// What a receiver was sent, and the statuses that it answers with, in turn; then 204.
#[derive(Debug, Default)]
pub(crate) struct Script {
    statuses: Vec<u16>,
    pub(crate) bodies: Vec<(u16, Bytes)>,
}

/// Starts one; gives back where it listens.
pub(crate) async fn scripted(statuses: &[u16]) -> (String, Arc<Mutex<Script>>) {
    let script = Arc::new(Mutex::new(Script {
        statuses: statuses.to_vec(),
        bodies: Vec::new(),
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/write", listener.local_addr().unwrap());
    let shared = Arc::clone(&script);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let script = Arc::clone(&shared);
            let answer = move |request: Request<Incoming>| {
                let script = Arc::clone(&script);
                async move {
                    let kind = request.headers()["content-encoding"].clone();
                    assert_eq!(kind, "snappy");
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let mut script = script.lock().unwrap();
                    let status = script.statuses.first().copied().unwrap_or(204);
                    let left = script.statuses.len().min(1);
                    script.statuses.drain(..left);
                    script.bodies.push((status, body));
                    let answer = Response::builder()
                        .status(status)
                        .header("retry-after", "1");
                    let said = Full::new(Bytes::from_static(b"out of order sample\n"));
                    Ok::<_, Infallible>(answer.body(said).unwrap())
                }
            };
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service_fn(answer)),
            );
        }
    });
    (url, script)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_gets_the_same_bytes_again_and_what_it_refuses_is_kept() {
    let arguments = ["--agents", "20", "--queues", "3", "--cache-refresh", "1s"];
    let organisation = Organisation::simulate(&arguments).await;
    let (url, script) = scripted(&[503, 429, 401, 204, 400]).await;
    let mut setup = Setup::new(&organisation);
    setup.set("store.remote_write", &format!("{{ url: \"{url}\" }}"));
    let exporter = setup.start().await;
    exporter.wait_joined().await;
    let sent = async |least: usize| {
        wait_for("requests have come", BOUND, async || {
            let bodies = script.lock().unwrap().bodies.clone();
            (bodies.len() >= least).then_some(bodies)
        })
        .await
    };
    let bodies = sent(6).await;
    let statuses: Vec<u16> = bodies.iter().map(|(status, _)| *status).take(6).collect();
    assert_eq!(statuses, [503, 429, 401, 204, 400, 204]);
    assert!(
        bodies[..4].iter().all(|(_, body)| *body == bodies[0].1),
        "the same bytes"
    );
    assert!(
        bodies[3..6].windows(2).all(|pair| pair[0].1 != pair[1].1),
        "window by window"
    );
    let refused = bodies[4].1.clone();
    exporter
        .wait_page("the refusal is counted", BOUND, |page| {
            page.value("genesyscloud_data_loss_total", &[("kind", "dead_letter")]) == 1.0
                && page.value(
                    "genesyscloud_store_errors_total",
                    &[("operation", "remote_write")],
                ) == 3.0
        })
        .await;
    exporter.process.kill();
    let before = script.lock().unwrap().bodies.len();

    let exporter = setup.start().await;
    exporter.wait_ready().await;
    let bodies = sent(before + 2).await;
    let distinct: BTreeSet<&Bytes> = bodies.iter().map(|(_, body)| body).collect();
    // Three were sent again above; at the kill one more may have been under way.
    let again = bodies.len() - distinct.len();
    assert!((3..=4).contains(&again), "{again} of {}", bodies.len());
    exporter.stop().await;

    let store = rusqlite::Connection::open(setup.data().join("store.db")).unwrap();
    let letter: (i64, String, Vec<u8>) = store
        .query_row(
            "SELECT status, reason, body FROM remote_write_dead",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(
        letter,
        (400, "out of order sample".to_owned(), refused.to_vec())
    );
}
