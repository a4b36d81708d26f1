//! Every query of every dashboard, asked of a real Prometheus that scraped a live exporter.

use std::time::Duration;

use crate::support::exporter::Setup;
use crate::support::monitoring::{Prometheus, finite};
use crate::support::organisation::Organisation;
use crate::support::queries::{AWAITED, PLATFORM_ONLY, Query, dashboards, metrics, queries};
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
}

/// Whether a live exporter of this version and dialect has nothing for it.
fn may_be_empty(query: &Query) -> bool {
    let names = metrics(&query.expr);
    let mut names = names.iter().map(String::as_str);
    names.any(|name| AWAITED.contains(&name) || PLATFORM_ONLY.contains(&name))
}

/// Whether it returns at least one number; an answer without one, or a refusal, as text.
async fn verdict(prometheus: &Prometheus, query: &Query) -> Option<String> {
    let expr = interpolated(&query.expr);
    let range = (!query.instant).then_some(RANGE_SECONDS);
    let place = format!("{}: {}: {expr}", query.dashboard, query.panel);
    match prometheus.ask(&expr, range).await {
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
    setup
        .set("metrics.per_agent", "id")
        .set("divergence.interval", "5s");
    let exporter = setup.start().await;
    let target = exporter.url.trim_start_matches("http://");
    let prometheus = Prometheus::start(target, None).await;
    exporter.wait_joined().await;
    // So that panels about trouble have something to show, too.
    organisation
        .faults("http-500:routing-state=30@0s+3s,partial=50@4s+6s")
        .await;

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
            if let Some(finding) = verdict(&prometheus, query).await {
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
        let finding = verdict(&prometheus, query).await;
        eprintln!("{}", finding.as_deref().unwrap_or("data at last"));
    }
    exporter.stop().await;
}
