//! Every query of every dashboard, asked of a real Prometheus that scraped a live exporter, and of
//! another that holds what the same exporter pushed by OTLP through a real collector.

use std::time::Duration;

use crate::support::exporter::Setup;
use crate::support::monitoring::{Prometheus, RULES, finite, promtool};
use crate::support::organisation::Organisation;
use crate::support::queries::{ELSEWHERE, Query, dashboards, in_repository, metrics, queries};
use crate::support::replay;
use crate::support::rotel::Rotel;
use crate::support::sink::{Received, Sink};
use crate::support::wait::wait_for;

/// A window of 10 s ends, waits and closes, agents are validated, a fault comes and goes.
const BOUND: Duration = Duration::from_secs(120);

/// The time range that a reader would have chosen.
const RANGE_SECONDS: u32 = 90;

/// What Grafana puts in place of variables: everything, and ranges that suit half-second scrapes.
fn interpolated(expr: &str) -> String {
    let expr = expr
        .replace("$__rate_interval", "10s")
        .replace("$__range", &format!("{RANGE_SECONDS}s"));
    ["job", "instance", "queue", "agent"]
        .into_iter()
        .fold(expr, |expr, name| {
            expr.replace(&format!("\"${name}\""), "\".+\"")
        })
        .replace("\"$org\"", "\".*\"")
}

/// Whether a live exporter of this dialect, without TLS, has nothing for it.
fn may_be_empty(query: &Query) -> bool {
    let names = metrics(&query.expr);
    let mut names = names.iter().map(String::as_str);
    names.any(|name| ELSEWHERE.contains(&name))
}

/// Whether it returns at least one number at an instant, or in the range before it; an answer
/// without one as text. A refusal is a panic.
async fn verdict(prometheus: &Prometheus, query: &Query, at: i64) -> Option<String> {
    let expr = interpolated(&query.expr);
    let range = (!query.instant).then_some(RANGE_SECONDS);
    let place = format!("{}: {}: {expr}", query.dashboard, query.panel);
    match prometheus.ask_at(&expr, range, at).await {
        Err(refusal) => panic!("{place}: {refusal}"),
        Ok(result) if finite(&result).is_empty() => Some(format!("no data: {place}")),
        Ok(_) => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_every_dashboard_returns_data() {
    let arguments = [
        "--agents",
        "80",
        "--queues",
        "5",
        "--tempo",
        "10",
        "--cache-refresh",
        "1s",
    ];
    let organisation = Organisation::simulate(&arguments).await;
    let mut setup = Setup::new(&organisation);
    let sink = Sink::start().await;
    let rotel = Rotel::start(sink.http).await;
    setup
        .set("metrics.per_agent", "id")
        .set("divergence.interval", "5s")
        .set("otlp.endpoint", &format!("\"http://{}\"", rotel.http))
        .set("otlp.interval", "1s");
    let exporter = setup.start().await;
    let target = exporter.url.trim_start_matches("http://");
    let prometheus = Prometheus::start(target, None).await;
    exporter.wait_joined().await;
    // So that panels about trouble have something to show, too.
    organisation.faults("http-500:routing-state=50").await;
    let failed = [("code", "500")];
    exporter
        .wait_page("a request fails", BOUND, |page| {
            page.sum("genesyscloud_api_requests_total", &failed) > 0.0
        })
        .await;
    organisation.faults("partial=50@0s+6s").await;

    let all: Vec<Query> = dashboards()
        .iter()
        .flat_map(|(_, dashboard)| queries(dashboard))
        .collect();
    let (others, mut left): (Vec<_>, Vec<_>) = all.iter().partition(|query| may_be_empty(query));
    assert!(left.len() > 80, "{}", left.len());
    let mut missing = Vec::new();
    let asking = async || {
        let mut still = Vec::new();
        missing.clear();
        for query in &left {
            if let Some(finding) = verdict(&prometheus, query, now()).await {
                still.push(*query);
                missing.push(finding);
            }
        }
        left = still;
        left.is_empty().then_some(())
    };
    let waited = tokio::time::timeout(BOUND, wait_for("all queries", BOUND * 2, asking)).await;
    assert!(waited.is_ok(), "{}", missing.join("\n"));
    // The rest must at least be well-formed: a refusal by Prometheus is a panic.
    for query in others {
        let finding = verdict(&prometheus, query, now()).await;
        eprintln!("{}", finding.as_deref().unwrap_or("data at last"));
    }
    exporter.stop().await;
    rotel.stop().await;
    assert_holds_on_pushes(&sink.take(), &all).await;
}

fn now() -> i64 {
    let clock = genesys_cloud_exporter::clock::SystemClock::new();
    clock.now().wall.0 / 1_000
}

/// Absent while nothing waits to be stored, which may be so at every push.
const WHILE_SOMETHING_WAITS: &str = "genesyscloud_event_queue_oldest_timestamp_seconds";

/// Told only where several instances could poll.
const AMONG_SEVERAL: &str = "genesyscloud_leader";

/// Names by custom on the page and by the semantic conventions in a push: the one difference.
fn by_custom(name: &str) -> bool {
    name.starts_with("process_")
}

/// The same queries on what an OTLP receiver would have stored: they return data there, too, and
/// what rules ask for is there.
async fn assert_holds_on_pushes(received: &[Received], all: &[Query]) {
    let stored = replay::stored(received);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join("pushed.om"), replay::written(&stored)).unwrap();
    promtool(
        path,
        &[
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            "pushed.om",
            "data",
        ],
    );
    let prometheus = Prometheus::over(path).await;
    let (mut missing, mut custom) = (Vec::new(), 0);
    for query in all.iter().filter(|query| !may_be_empty(query)) {
        if metrics(&query.expr).iter().any(|name| by_custom(name)) {
            custom += 1;
            continue;
        }
        missing.extend(verdict(&prometheus, query, replay::last_second(&stored)).await);
    }
    assert!(
        missing.is_empty(),
        "on what was pushed:\n{}",
        missing.join("\n")
    );
    assert!(custom < 10, "{custom} queries of process metrics");

    for file in RULES {
        let rules = std::fs::read_to_string(in_repository("alerts").join(file)).unwrap();
        for name in metrics(&rules) {
            let pushed = stored.keys().any(|(series, _)| series.starts_with(&name));
            let excused = ELSEWHERE.contains(&&*name)
                || by_custom(&name)
                || [WHILE_SOMETHING_WAITS, AMONG_SEVERAL].contains(&&*name);
            assert!(pushed || excused, "{file}: {name} is not pushed");
        }
    }
}
