//! A real Prometheus that scrapes the exporter with the shipped rules, and a real Alertmanager.
//!
//! The rules are the shipped files with one substitution: a minute becomes a second and an hour a
//! minute, in range selectors, `offset`, `for` and `keep_firing_for`. Expressions, comparisons
//! and thresholds are untouched.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use regex::{Captures, Regex};
use serde_json::Value;
use tempfile::TempDir;

use super::http::Http;
use super::process::Process;
use super::queries::in_repository;
use super::wait::wait_for;

/// The shipped rules.
pub(crate) const RULES: [&str; 3] = [
    "recording.rules.yml",
    "exporter.rules.yml",
    "contact-centre.rules.yml",
];

/// The job that the rules expect.
pub(crate) const JOB: &str = "genesys-cloud";

/// Rules that are hurried sixty times are evaluated every second, on samples of every half.
const SETTINGS: &str =
    "global: { scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s }\n";

/// A start takes a moment; on a busy machine, longer.
const READY_BOUND: Duration = Duration::from_secs(60);

/// Waits until a server that listens answers, too.
async fn wait_ready(http: &Http, url: &str) {
    let ready = format!("{url}/-/ready");
    wait_for(&ready, READY_BOUND, async || {
        let answer = http.try_get(&ready, "*/*").await?;
        (answer.status == 200).then_some(())
    })
    .await;
}

/// A minute becomes a second, an hour a minute.
pub(crate) fn hurried(rules: &str) -> String {
    let durations = Regex::new(r"(\[|offset |for: )(\d+)([mh])\b").unwrap();
    let shorter = |found: &Captures<'_>| {
        let unit = if &found[3] == "h" { "m" } else { "s" };
        format!("{}{}{unit}", &found[1], &found[2])
    };
    durations.replace_all(rules, shorter).into_owned()
}

/// Prometheus, with what it knows of the exporter.
#[derive(Debug)]
pub(crate) struct Prometheus {
    pub(crate) url: String,
    http: Http,
    _process: Process,
    _directory: Option<TempDir>,
}

/// Runs promtool in `directory`; it must succeed.
pub(crate) fn promtool(directory: &Path, arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(directory)
        .output();
    let output = output.expect("this test needs promtool in PATH: apt-get install prometheus");
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(output.status.success(), "promtool {arguments:?}:\n{told}");
}

impl Prometheus {
    /// Scrapes the exporter at `target` (`127.0.0.1:port`), and tells `alertmanager` of alerts.
    pub(crate) async fn start(target: &str, alertmanager: Option<&Alertmanager>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = SETTINGS.to_owned();
        writeln!(config, "rule_files: [\"*.rules.yml\"]").unwrap();
        writeln!(
            config,
            "scrape_configs: [{{ job_name: {JOB}, static_configs: [{{ targets: [\"{target}\"] }}] }}]"
        )
        .unwrap();
        if let Some(alertmanager) = alertmanager {
            let address = alertmanager.url.trim_start_matches("http://");
            writeln!(config, "alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: [\"{address}\"] }}] }}] }}").unwrap();
        }
        for name in RULES {
            let shipped = std::fs::read_to_string(in_repository("alerts").join(name)).unwrap();
            std::fs::write(directory.path().join(name), hurried(&shipped)).unwrap();
        }
        std::fs::write(directory.path().join("prometheus.yml"), config).unwrap();
        Self::started(directory.path().to_owned(), Some(directory)).await
    }

    /// Prometheus over the blocks in `data` below `directory`. It scrapes nothing.
    pub(crate) async fn over(directory: &Path) -> Self {
        std::fs::write(directory.join("prometheus.yml"), SETTINGS).unwrap();
        Self::started(directory.to_owned(), None).await
    }

    async fn started(directory: PathBuf, own: Option<TempDir>) -> Self {
        let arguments = [
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.listen-address=127.0.0.1:0",
            // Told again every few seconds that an alert has ended; a minute by default.
            "--rules.alert.resend-delay=1s",
            "--rules.alert.for-grace-period=0s",
        ];
        let mut process = Process::tool("prometheus", "prometheus", &directory, &arguments);
        let (url, http) = (
            format!("http://{}", process.listening(0).await),
            Http::new(),
        );
        wait_ready(&http, &url).await;
        Self {
            url,
            http,
            _process: process,
            _directory: own,
        }
    }

    /// The value of an instant, or of the last `seconds` each second, as Prometheus answers; its
    /// own words if it refuses the expression.
    pub(crate) async fn ask(&self, expr: &str, seconds: Option<u32>) -> Result<Value, String> {
        let clock = genesys_cloud_exporter::clock::SystemClock::new();
        self.ask_at(expr, seconds, clock.now().wall.0 / 1_000).await
    }

    /// The same as of another instant; of a range at most some hundred values.
    pub(crate) async fn ask_at(
        &self,
        expr: &str,
        seconds: Option<u32>,
        now: i64,
    ) -> Result<Value, String> {
        let query: String = url::form_urlencoded::byte_serialize(expr.as_bytes()).collect();
        let url = match seconds {
            None => format!("{}/api/v1/query?query={query}&time={now}", self.url),
            Some(seconds) => {
                let (start, step) = (now - i64::from(seconds), seconds.div_ceil(240));
                format!(
                    "{}/api/v1/query_range?query={query}&start={start}&end={now}&step={step}",
                    self.url
                )
            }
        };
        let answer = self.http.get(&url).await;
        let body: Value = serde_json::from_str(&answer.text).map_err(|_| answer.text.clone())?;
        match body["status"].as_str() {
            Some("success") => Ok(body["data"]["result"].clone()),
            _ => Err(body["error"].to_string()),
        }
    }

    /// States (`pending`, `firing`) of an alert's instances.
    pub(crate) async fn alert(&self, name: &str) -> Vec<String> {
        let body = self
            .http
            .get(&format!("{}/api/v1/alerts", self.url))
            .await
            .json();
        let alerts = body["data"]["alerts"].as_array().unwrap().clone();
        let named = alerts
            .iter()
            .filter(|alert| alert["labels"]["alertname"] == name);
        named
            .map(|alert| alert["state"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Waits until it has scraped the exporter.
    pub(crate) async fn wait_scraped(&self, bound: Duration) {
        wait_for("Prometheus scrapes the exporter", bound, async || {
            let up = self
                .ask(&format!("up{{job=\"{JOB}\"}} == 1"), None)
                .await
                .unwrap();
            (!finite(&up).is_empty()).then_some(())
        })
        .await;
    }
}

/// The finite values of an answer.
pub(crate) fn finite(result: &Value) -> Vec<f64> {
    let number = |sample: &Value| {
        sample[1]
            .as_str()?
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite())
    };
    let series = result.as_array().unwrap().iter();
    series
        .flat_map(|series| {
            let range = series["values"].as_array().into_iter().flatten();
            range
                .chain(series.get("value"))
                .filter_map(number)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// An alert as Alertmanager holds it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) name: String,
    pub(crate) team: String,
    pub(crate) receiver: String,
    pub(crate) inhibited: bool,
    pub(crate) annotations: Value,
}

/// Alertmanager with the shipped example.
#[derive(Debug)]
pub(crate) struct Alertmanager {
    url: String,
    http: Http,
    _process: Process,
    _directory: TempDir,
}

impl Alertmanager {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let example = in_repository("alerts/alertmanager.example.yml");
        let config = format!("--config.file={}", example.display());
        let arguments = [
            &*config,
            "--storage.path=data",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
        ];
        let (program, package) = ("prometheus-alertmanager", "prometheus-alertmanager");
        let mut process = Process::tool(program, package, directory.path(), &arguments);
        let (url, http) = (
            format!("http://{}", process.listening(0).await),
            Http::new(),
        );
        wait_ready(&http, &url).await;
        Self {
            url,
            http,
            _process: process,
            _directory: directory,
        }
    }

    /// The alerts that it holds as active, silenced ones included.
    pub(crate) async fn alerts(&self) -> Vec<Held> {
        let body = self
            .http
            .get(&format!("{}/api/v2/alerts", self.url))
            .await
            .json();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let held = |alert: &Value| Held {
            name: text(&alert["labels"]["alertname"]),
            team: text(&alert["labels"]["team"]),
            receiver: text(&alert["receivers"][0]["name"]),
            inhibited: !alert["status"]["inhibitedBy"]
                .as_array()
                .unwrap()
                .is_empty(),
            annotations: alert["annotations"].clone(),
        };
        body.as_array().unwrap().iter().map(held).collect()
    }

    /// Waits until it holds an alert of this name that satisfies `condition`.
    pub(crate) async fn wait(
        &self,
        name: &str,
        bound: Duration,
        condition: impl Fn(&Held) -> bool,
    ) -> Held {
        wait_for(&format!("Alertmanager holds {name}"), bound, async || {
            let alerts = self.alerts().await;
            alerts
                .into_iter()
                .find(|alert| alert.name == name && condition(alert))
        })
        .await
    }

    /// Waits until the exporter's operators have nothing to do: no alert of their team is held.
    pub(crate) async fn wait_quiet(&self, bound: Duration) {
        wait_for(
            "every alert of team telemetry has ended",
            bound,
            async || {
                let alerts = self.alerts().await;
                alerts
                    .iter()
                    .all(|alert| alert.team != "telemetry")
                    .then_some(())
            },
        )
        .await;
    }
}

#[test]
fn only_durations_are_hurried() {
    let rules = "expr: rate(a_total[10m]) > 5 and queue:b:ratio_rate5m unless c offset 1h # 30m\nfor: 15m\nkeep_firing_for: 2m\n";
    let expected = "expr: rate(a_total[10s]) > 5 and queue:b:ratio_rate5m unless c offset 1m # 30m\nfor: 15s\nkeep_firing_for: 2s\n";
    assert_eq!(hurried(rules), expected);
}
