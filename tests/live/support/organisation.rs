//! The simulated organisation over real HTTP: `simulate` as a process, or the same platform
//! served from this one where a test needs an option that the command line does not have.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use genesys_cloud_exporter::clock::SystemClock;
use genesys_cloud_exporter::simulator::org::OrgSpec;
use genesys_cloud_exporter::simulator::platform::{SimulatedPlatform, SimulatorOptions};
use genesys_cloud_exporter::simulator::serve::serve;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::http::{Http, rfc3339};
use super::process::Process;

/// The client that may log in.
pub(crate) const CLIENT_ID: &str = "live-client";
/// Its secret, of a form that is found nowhere by accident.
pub(crate) const CLIENT_SECRET: &str = "s3cret-canary-5f1e0c9b7a";

/// An allowance that no test runs out of unless it means to.
const PLENTY: u32 = 100_000;

/// Time of one agent in one interval, in milliseconds: available, not ready, on call, wrap-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Truth {
    pub(crate) states: [i64; 4],
    pub(crate) starts: i64,
    pub(crate) queues: Vec<String>,
}

/// The organisation.
#[derive(Debug)]
pub(crate) struct Organisation {
    pub(crate) url: String,
    pub(crate) http: Http,
    /// `None`: served by a task of this process.
    _process: Option<(Process, TempDir)>,
}

impl Organisation {
    /// `simulate` with further arguments.
    pub(crate) async fn simulate(arguments: &[&str]) -> Self {
        let plenty = PLENTY.to_string();
        let directory = tempfile::tempdir().unwrap();
        let mut all = vec![
            "simulate",
            "--listen",
            "127.0.0.1:0",
            "--client-id",
            CLIENT_ID,
            "--client-secret",
            CLIENT_SECRET,
        ];
        all.extend(arguments);
        if !arguments.contains(&"--requests-per-minute") {
            all.extend(["--requests-per-minute", &plenty]);
        }
        let mut process = Process::start("simulate", directory.path(), &all, &[]);
        let address = process.listening(0).await;
        Self {
            url: format!("http://{address}"),
            http: Http::new(),
            _process: Some((process, directory)),
        }
    }

    /// The platform in this process, with options of its own; it ends with the test's runtime.
    pub(crate) async fn serve(spec: OrgSpec, adjust: impl FnOnce(&mut SimulatorOptions)) -> Self {
        let clock = SystemClock::new();
        let mut options = SimulatorOptions::new(spec, clock.now().wall);
        CLIENT_ID.clone_into(&mut options.client_id);
        CLIENT_SECRET.clone_into(&mut options.client_secret);
        options.requests_per_minute = PLENTY;
        adjust(&mut options);
        let platform = Arc::new(Mutex::new(SimulatedPlatform::new(options).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, platform, clock, std::future::pending()));
        Self {
            url: format!("http://{address}"),
            http: Http::new(),
            _process: None,
        }
    }

    /// Exact time in state of every agent within `[from, to)`, in milliseconds since the epoch.
    pub(crate) async fn truth(&self, from: i64, to: i64) -> BTreeMap<String, Truth> {
        let (from, to) = (rfc3339(from), rfc3339(to));
        let url = format!("{}/simulator/truth?from={from}&to={to}", self.url);
        let body = self.http.get(&url).await.json();
        let agents = body["agents"].as_array().unwrap();
        agents.iter().map(truth_of).collect()
    }

    /// Puts faults in force; their schedules count from now.
    pub(crate) async fn faults(&self, plan: &str) {
        let url = format!("{}/simulator/faults", self.url);
        let answer = self.http.send("PUT", &url, plan).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// Makes every token invalid; how many there were.
    pub(crate) async fn revoke_tokens(&self) -> u64 {
        let url = format!("{}/simulator/tokens", self.url);
        let answer = self.http.send("DELETE", &url, "").await;
        answer.json()["revoked"].as_u64().unwrap()
    }

    /// What has been asked so far.
    pub(crate) async fn statistics(&self) -> Value {
        let url = format!("{}/simulator/statistics", self.url);
        self.http.get(&url).await.json()
    }

    /// Logins so far.
    pub(crate) async fn logins(&self) -> u64 {
        self.statistics().await["byCall"]["token"]
            .as_u64()
            .unwrap_or(0)
    }

    /// The end of every live run: nobody went over the limit or disregarded a `Retry-After`.
    pub(crate) async fn assert_polite(&self) {
        let statistics = self.statistics().await;
        for violation in ["retryAfterDisregarded", "overLimit"] {
            assert_eq!(statistics[violation], 0, "{violation}: {statistics}");
        }
        assert!(statistics["requests"].as_u64() > Some(0), "{statistics}");
    }
}

fn truth_of(agent: &Value) -> (String, Truth) {
    let number = |key: &str| agent[key].as_i64().unwrap();
    let truth = Truth {
        states: [
            "availableMillis",
            "notReadyMillis",
            "onCallMillis",
            "wrapUpMillis",
        ]
        .map(number),
        starts: number("starts"),
        queues: texts(&agent["queueIds"]),
    };
    (agent["userId"].as_str().unwrap().to_owned(), truth)
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().unwrap().iter();
    items
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}
