//! `simulate history`: promtool takes the file, a real Prometheus opens the blocks, and every query
//! of every dashboard returns data; the rules are computed over it, as a user would do it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::monitoring::{Prometheus, finite, promtool};
use crate::support::process::Process;
use crate::support::queries::{ELSEWHERE, Query, dashboards, in_repository, metrics, queries};

/// Two hours take a few seconds; on a busy machine, longer.
const BOUND: Duration = Duration::from_secs(120);

/// A working afternoon. Blocks may be as old as they like: retention counts from the newest.
const END: &str = "2026-05-14T14:00:00Z";
const END_SECONDS: i64 = 1_778_767_200;
const RANGE_SECONDS: u32 = 7_200;

async fn history(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let all = [&["simulate", "history"], arguments].concat();
    Process::start("history", directory, &all, &[])
        .exit(BOUND)
        .await
}

fn interpolated(expr: &str) -> String {
    let expr = expr
        .replace("$__rate_interval", "2m")
        .replace("$__range", &format!("{RANGE_SECONDS}s"));
    let all = |expr: String, name: &str| expr.replace(&format!("\"${name}\""), "\".+\"");
    ["job", "instance", "queue", "agent"]
        .into_iter()
        .fold(expr, all)
        .replace("\"$org\"", "\".*\"")
}

/// Dialect `status` has no push and no platform statuses, and a simulated past no TLS.
fn from_elsewhere(query: &Query) -> bool {
    let names = metrics(&query.expr);
    let mut names = names.iter().map(String::as_str);
    names.any(|name| ELSEWHERE.contains(&name))
}

/// Names that the shipped file records.
fn recorded() -> BTreeSet<String> {
    let text = std::fs::read_to_string(in_repository("alerts/recording.rules.yml")).unwrap();
    let names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: "));
    names.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_shows_a_day_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let arguments = [
        "--hours",
        "2",
        "--agents",
        "80",
        "--queues",
        "4",
        "--per-agent",
        "--end",
        END,
        "--output",
        "day.om",
    ];
    let (code, said) = history(path, &arguments).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("create-blocks-from openmetrics day.om"),
        "{said}"
    );
    promtool(
        path,
        &[
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            "day.om",
            "data",
        ],
    );

    let prometheus = Prometheus::over(path).await;
    let all: Vec<Query> = dashboards()
        .iter()
        .flat_map(|(_, dashboard)| queries(dashboard))
        .collect();
    let mut findings = Vec::new();
    for query in &all {
        let range = (!query.instant).then_some(RANGE_SECONDS);
        let expr = interpolated(&query.expr);
        let place = format!("{}: {}: {expr}", query.dashboard, query.panel);
        let asked = prometheus.ask_at(&expr, range, END_SECONDS).await;
        let result = asked.unwrap_or_else(|refusal| panic!("{place}: {refusal}"));
        if finite(&result).is_empty() != from_elsewhere(query) {
            findings.push(place);
        }
    }
    assert!(
        findings.is_empty(),
        "no data, or data that is not to be had here:\n{}",
        findings.join("\n")
    );

    // Rules that read what rules record need the first round's blocks: two rounds, as in the README.
    let prometheus = with_rules(path, prometheus).await;
    let prometheus = with_rules(path, prometheus).await;
    for name in recorded() {
        let result = prometheus
            .ask_at(&name, Some(RANGE_SECONDS), END_SECONDS)
            .await
            .unwrap();
        assert!(!finite(&result).is_empty(), "{name} was not computed");
    }
}

/// Computes the recording rules over the two hours and opens the blocks anew.
async fn with_rules(path: &Path, prometheus: Prometheus) -> Prometheus {
    let rules = in_repository("alerts/recording.rules.yml");
    let (start, end) = (
        (END_SECONDS - i64::from(RANGE_SECONDS)).to_string(),
        END_SECONDS.to_string(),
    );
    let url = format!("--url={}", prometheus.url);
    let arguments = [
        "tsdb",
        "create-blocks-from",
        "rules",
        &url,
        "--start",
        &start,
        "--end",
        &end,
        "--eval-interval=60s",
        "--output-dir=data",
        rules.to_str().unwrap(),
    ];
    promtool(path, &arguments);
    drop(prometheus);
    Prometheus::over(path).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_parser_reads_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let arguments = [
        "--hours",
        "1",
        "--step",
        "5m",
        "--agents",
        "12",
        "--queues",
        "2",
        "--per-agent",
        "--end",
        END,
        "--output",
        "hour.om",
    ];
    let (code, said) = history(path, &arguments).await;
    assert_eq!(code, Some(0), "{said}");
    let script = in_repository("tests/live/parse_history.py");
    let output = Command::new("python3")
        .arg(script)
        .arg("hour.om")
        .current_dir(path)
        .output();
    let output =
        output.expect("this test needs python3 with the package prometheus_client, in PATH");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let numbers: Vec<f64> = told
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    assert!(numbers[0] > 60.0, "{told}");
    assert_eq!(numbers[1..], [12.0, END_SECONDS as f64]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_refused_at_once_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (code, said) = history(path, &["--output", "missing/day.om"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("cannot write missing/day.om") && said.contains("--output"),
        "{said}"
    );
    let (code, said) = history(path, &["--output", "."]).await;
    assert_eq!(code, Some(1), "{said}");
    for wrong in [
        vec!["--output", "day.om", "--faults", "nonsense"],
        vec!["--output", "day.om", "--hours", "0"],
        vec!["--output", "day.om", "--step", "6m"],
        vec!["--output", "day.om", "--end", "yesterday"],
        vec!["--hours", "1"],
    ] {
        let (code, said) = history(path, &wrong).await;
        assert_eq!(code, Some(2), "{wrong:?}: {said}");
    }
    // A stop in the middle leaves nothing, either.
    let arguments = [
        "simulate", "history", "--hours", "168", "--agents", "400", "--output", "day.om",
    ];
    let process = Process::start("history", path, &arguments, &[]);
    let scratch = std::env::temp_dir();
    let scratches = || {
        let entries = std::fs::read_dir(&scratch).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let ours = format!("genesys-cloud-exporter-history-{}", process.id());
        names.filter(|name| *name == ours).count()
    };
    crate::support::wait::wait_for("it has begun", BOUND, async || {
        (scratches() == 1).then_some(())
    })
    .await;
    process.signal("TERM");
    let ours = format!("genesys-cloud-exporter-history-{}", process.id());
    let (code, said) = process.exit(BOUND).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("stopped before the end"), "{said}");
    assert!(!scratch.join(ours).exists());
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
}
