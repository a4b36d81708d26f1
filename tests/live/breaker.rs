//! Snapshots that cannot be believed: gauges stand still, the breaker opens and closes again.

use std::time::Duration;

use crate::support::exporter::{Page, Setup};
use crate::support::organisation::Organisation;

/// Three refused snapshots a second apart, a pause of some seconds, and a busy machine.
const BOUND: Duration = Duration::from_secs(40);

const SMALL: [&str; 6] = ["--agents", "60", "--queues", "5", "--cache-refresh", "1s"];

fn breaker_is(page: &Page, state: &str) -> bool {
    page.value("genesyscloud_breaker_state", &[("state", state)]) > 0.0
}

fn refused(page: &Page, result: &str, reason: &str) -> f64 {
    let labels = [("result", result), ("reason", reason)];
    page.value("genesyscloud_snapshots_total", &labels)
}

/// Samples that a reader takes for the state of the contact centre.
fn gauges(page: &Page) -> Vec<(String, f64)> {
    [
        "genesyscloud_agents",
        "genesyscloud_queue_agents",
        "genesyscloud_presence_agents",
    ]
    .into_iter()
    .flat_map(|name| {
        page.all(name)
            .map(move |(labels, value)| (format!("{name}{labels:?}"), value))
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_snapshot_is_rejected_and_the_breaker_opens_and_closes() {
    let organisation = Organisation::simulate(&SMALL).await;
    let exporter = Setup::new(&organisation).start().await;
    let before = exporter.wait_joined().await;
    assert!(breaker_is(&before, "closed"));
    assert_eq!(
        before.sum("genesyscloud_agents", &[("state", "unknown")]),
        0.0
    );

    organisation.faults("partial=50").await;
    let opened = exporter
        .wait_page("the breaker opens", BOUND, |page| breaker_is(page, "open"))
        .await;
    assert_eq!(refused(&opened, "rejected", "coverage"), 3.0, "after three");
    assert_eq!(opened.value("genesyscloud_breaker_trips_total", &[]), 1.0);
    assert_eq!(opened.value("genesyscloud_up", &[]), 0.0);
    let coverage = opened.value("genesyscloud_snapshot_coverage_ratio", &[]);
    assert!((coverage - 0.5).abs() < 0.01, "{coverage}");
    let again = exporter.page().await;
    assert!(breaker_is(&again, "open"));
    assert_eq!(gauges(&again), gauges(&opened), "gauges keep their values");
    // Nobody was forced offline or into the unknown.
    assert_eq!(
        again.value("genesyscloud_agents", &[("state", "unknown")]),
        0.0
    );
    let all = |page: &Page| {
        page.sum("genesyscloud_agents", &[]) + page.value("genesyscloud_volatile_agents", &[])
    };
    assert_eq!((all(&before), all(&again)), (60.0, 60.0));
    assert_eq!(
        exporter.get("/-/ready").await.status,
        200,
        "ready since start"
    );

    organisation.faults("none").await;
    let closed = exporter
        .wait_page("the breaker closes", BOUND, |page| {
            breaker_is(page, "closed")
        })
        .await;
    assert_eq!(closed.value("genesyscloud_up", &[]), 1.0);
    assert!(closed.accepted() > opened.accepted());
    exporter.assert_no_loss().await;
    let log = exporter.stop().await;
    assert!(log.contains("coverage"), "the log says why:\n{log}");
    organisation.assert_polite().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_answers_html_opens_the_breaker_and_ends_nothing() {
    let mut arguments = SMALL.to_vec();
    arguments.extend(["--faults", "html:statuses"]);
    let organisation = Organisation::simulate(&arguments).await;
    let exporter = Setup::new(&organisation).start().await;
    let opened = exporter
        .wait_page("the breaker opens", BOUND, |page| breaker_is(page, "open"))
        .await;
    assert_eq!(refused(&opened, "failed", "parse"), 3.0, "after three");
    assert_eq!(opened.accepted(), 0.0);
    let ready = exporter.get("/-/ready").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains("failed (parse)"), "{}", ready.text);
    assert_eq!(exporter.get("/-/healthy").await.status, 200);

    organisation.faults("none").await;
    exporter
        .wait_page("the exporter recovers", BOUND, |page| {
            breaker_is(page, "closed") && page.accepted() > 0.0
        })
        .await;
    let log = exporter.stop().await;
    assert!(log.contains("HTML"), "the log says what came:\n{log}");
    organisation.assert_polite().await;
}
