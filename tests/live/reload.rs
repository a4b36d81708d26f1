//! The configuration read again while the exporter runs: whole or not at all, and nothing that
//! was known or counted is lost.

use std::time::Duration;

use crate::support::exporter::{Exporter, Setup};
use crate::support::organisation::Organisation;
use crate::support::wait::wait_for;

const BOUND: Duration = Duration::from_secs(40);

/// Counters that a reload must not reset.
const COUNTERS: [&str; 4] = [
    "genesyscloud_snapshots_total",
    "genesyscloud_state_time_seconds_total",
    "genesyscloud_events_total",
    "genesyscloud_api_requests_total",
];

const SUCCESSFUL: &str = "genesyscloud_config_last_reload_successful";

async fn organisation() -> Organisation {
    let arguments = ["--agents", "30", "--queues", "4", "--cache-refresh", "1s"];
    Organisation::simulate(&arguments).await
}

async fn reload(exporter: &Exporter) -> (u16, String) {
    let url = format!("{}/-/reload", exporter.url);
    let answer = exporter.http.send("POST", &url, "").await;
    (answer.status, answer.text)
}

/// Names of the queues that have series.
async fn queues(exporter: &Exporter) -> Vec<String> {
    let page = exporter.page().await;
    let names = page.all("genesyscloud_queue_info");
    names.map(|(labels, _)| labels["queue"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_what_may_change_and_loses_nothing() {
    let organisation = organisation().await;
    let mut setup = Setup::new(&organisation);
    setup.set("web.enable_lifecycle", "true");
    setup.set("metrics.per_agent", "id");
    let exporter = setup.start().await;
    let before = exporter.wait_joined().await;
    let all = queues(&exporter).await;
    assert_eq!(all.len(), 4);

    let excluded = all[0].clone();
    std::fs::write(setup.directory.path().join("key"), "k".repeat(40)).unwrap();
    setup
        .set("queues.exclude", &format!("[\"{excluded}\"]"))
        .set("poll.interval", "2s")
        .set("metrics.per_agent", "pseudonym")
        .set("metrics.pseudonym_key_file", "key")
        .set("log.format", "json");
    setup.write();
    let (status, text) = reload(&exporter).await;
    assert_eq!(status, 200, "{text}");
    for path in [
        "poll.interval",
        "queues.exclude",
        "metrics.per_agent",
        "log.format",
    ] {
        assert!(text.contains(path), "{text}");
    }
    let after = exporter
        .wait_page("the queue's series are gone", BOUND, |page| {
            page.all("genesyscloud_queue_info").count() == 3
        })
        .await;
    assert_eq!(after.value("genesyscloud_poll_interval_seconds", &[]), 2.0);
    assert_eq!(
        after.value("genesyscloud_routing_join_coverage_ratio", &[]),
        1.0
    );
    assert_eq!(after.value(SUCCESSFUL, &[]), 1.0);
    let agents = |page: &crate::support::exporter::Page| page.sum("genesyscloud_agents", &[]);
    assert_eq!(agents(&after), agents(&before), "no agent is lost");
    for counter in COUNTERS {
        assert!(
            after.sum(counter, &[]) >= before.sum(counter, &[]),
            "{counter}"
        );
    }
    let name = |page: &crate::support::exporter::Page| {
        let mut series = page.all("genesyscloud_agent_state");
        series.next().unwrap().0["agent"].clone()
    };
    assert_eq!(name(&before).len(), 36, "an id");
    let pseudonym = exporter
        .wait_page("agents have pseudonyms", BOUND, |page| {
            name(page).len() == 16
        })
        .await;
    let logins = organisation.logins().await;
    assert_eq!(logins, 1, "the token is kept");
    assert!(name(&pseudonym).bytes().all(|b| b.is_ascii_hexdigit()));
    exporter.assert_no_loss().await;
    organisation.assert_polite().await;
    let log = exporter.stop().await;
    assert!(log.contains("{\"ts\":"), "{log}");
    assert!(
        log.contains("the configuration was reloaded; changed: "),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_and_one_that_needs_a_restart_are_refused_by_name() {
    let organisation = organisation().await;
    let mut setup = Setup::new(&organisation);
    setup.set("web.enable_lifecycle", "true");
    let exporter = setup.start().await;
    exporter.wait_ready().await;
    assert_eq!(exporter.page().await.value(SUCCESSFUL, &[]), 1.0);

    setup
        .set("poll.timeout", "soon")
        .set("breaker.failures", "0");
    setup.write();
    let (status, text) = reload(&exporter).await;
    assert_eq!(status, 500);
    assert!(
        text.contains("config.yml:") && text.contains("2 mistakes"),
        "{text}"
    );
    let page = exporter.page().await;
    assert_eq!(page.value(SUCCESSFUL, &[]), 0.0);
    let since = page.value(
        "genesyscloud_config_last_reload_success_timestamp_seconds",
        &[],
    );

    setup
        .set("poll.timeout", "900ms")
        .set("breaker.failures", "3")
        .set("stuck.after", "1m")
        .set("window.length", "20s")
        .set("store.path", "elsewhere");
    setup.write();
    let (status, text) = reload(&exporter).await;
    assert_eq!(status, 500);
    for words in ["window.length", "store.path", "restart"] {
        assert!(text.contains(words), "{text}");
    }
    assert!(
        !text.contains("stuck.after"),
        "what may change is not blamed: {text}"
    );

    // SIGHUP takes the same way.
    setup.set("window.length", "10s").set("store.path", "data");
    setup.write();
    exporter.process.signal("HUP");
    let page = exporter
        .wait_page("the good configuration is taken", BOUND, |page| {
            page.value(SUCCESSFUL, &[]) == 1.0
        })
        .await;
    let now = page.value(
        "genesyscloud_config_last_reload_success_timestamp_seconds",
        &[],
    );
    assert!(now > since);
    let accepted = page.accepted();
    exporter
        .wait_page("it polls on", BOUND, |page| {
            page.accepted() > accepted + 1.0
        })
        .await;
    let log = exporter.stop().await;
    assert!(log.contains("changed: stuck.after"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_flag_a_reload_over_http_is_forbidden_and_sighup_works() {
    let organisation = organisation().await;
    let mut setup = Setup::new(&organisation);
    let exporter = setup.start().await;
    exporter.wait_ready().await;
    let (status, text) = reload(&exporter).await;
    assert_eq!(status, 403);
    assert!(text.contains("--web.enable-lifecycle"), "{text}");
    setup.set("budget.requests_per_minute", "200");
    setup.write();
    exporter.process.signal("HUP");
    wait_for("the signal is followed", BOUND, async || {
        let output = exporter.process.output();
        output
            .contains("changed: budget.requests_per_minute")
            .then_some(())
    })
    .await;
    let page = exporter
        .wait_page("the budget is smaller", BOUND, |page| {
            page.value("genesyscloud_api_budget_remaining_requests", &[]) <= 200.0
        })
        .await;
    assert_eq!(page.value(SUCCESSFUL, &[]), 1.0);
    exporter.stop().await;
}
