//! A platform that takes tokens back and asks for silence.

use std::time::Duration;

use crate::support::exporter::Setup;
use crate::support::organisation::Organisation;
use crate::support::wait::wait_for;

const BOUND: Duration = Duration::from_secs(40);

/// After a 429 the exporter waits for the end of the platform's minute too, and some seconds more.
const MINUTE_BOUND: Duration = Duration::from_secs(90);

const SMALL: [&str; 6] = ["--agents", "60", "--queues", "5", "--cache-refresh", "1s"];

#[tokio::test(flavor = "multi_thread")]
async fn a_token_taken_back_costs_one_login_and_no_more() {
    let organisation = Organisation::simulate(&SMALL).await;
    let exporter = Setup::new(&organisation).start().await;
    let before = exporter.wait_joined().await;
    assert_eq!(organisation.logins().await, 1);
    assert_eq!(organisation.revoke_tokens().await, 1);
    wait_for("the exporter logs in again", BOUND, async || {
        (organisation.logins().await > 1).then_some(())
    })
    .await;
    let accepted = exporter.page().await.accepted();
    let after = exporter
        .wait_page("snapshots go on", BOUND, |page| {
            page.accepted() >= accepted + 5.0
        })
        .await;
    assert_eq!(organisation.logins().await, 2, "exactly one extra login");
    let failed = |page: &crate::support::exporter::Page| {
        page.sum("genesyscloud_snapshots_total", &[("result", "failed")])
    };
    assert!(
        failed(&after) - failed(&before) <= 1.0,
        "{}",
        failed(&after)
    );
    assert_eq!(after.value("genesyscloud_breaker_trips_total", &[]), 0.0);
    exporter.assert_no_loss().await;
    exporter.stop().await;
    organisation.assert_polite().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_is_obeyed() {
    let organisation = Organisation::simulate(&SMALL).await;
    let exporter = Setup::new(&organisation).start().await;
    exporter.wait_joined().await;
    organisation.faults("throttle=3s@0s+4s").await;
    let throttled = exporter
        .wait_page("the platform throttles", BOUND, |page| {
            page.value("genesyscloud_api_throttled_total", &[]) > 0.0
        })
        .await;
    let after = exporter
        .wait_page("snapshots go on", MINUTE_BOUND, |page| {
            page.accepted() >= throttled.accepted() + 3.0
        })
        .await;
    assert_eq!(
        after.value("genesyscloud_breaker_trips_total", &[]),
        0.0,
        "429 is no failure"
    );
    exporter.assert_no_loss().await;
    exporter.stop().await;
    let refused = organisation.statistics().await["byStatus"]["429"].as_u64();
    assert!(
        refused.is_some_and(|count| count > 0 && count < 50),
        "{refused:?}"
    );
    organisation.assert_polite().await;
}

/// A budget that is too small for the organisation: the platform's limit is never reached.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_budget_is_kept() {
    let mut arguments = SMALL.to_vec();
    arguments.extend(["--tempo", "20", "--requests-per-minute", "120"]);
    let organisation = Organisation::simulate(&arguments).await;
    let mut setup = Setup::new(&organisation);
    setup.set("budget.requests_per_minute", "120");
    let exporter = setup.start().await;
    exporter.wait_ready().await;
    let page = exporter
        .wait_page("the budget runs low", BOUND, |page| {
            page.value("genesyscloud_api_budget_remaining_requests", &[]) < 40.0
        })
        .await;
    assert_eq!(page.value("genesyscloud_api_throttled_total", &[]), 0.0);
    exporter
        .wait_page("snapshots go on all the same", BOUND, |later| {
            later.accepted() >= page.accepted() + 3.0
        })
        .await;
    exporter.stop().await;
    let statistics = organisation.statistics().await;
    assert!(statistics["maxIn60s"].as_u64() <= Some(120), "{statistics}");
    organisation.assert_polite().await;
}
