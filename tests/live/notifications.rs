//! Push notifications of the public platform: rows against the truth, freshness, sockets that
//! fall, and a large organisation within its budget.

use std::collections::BTreeMap;
use std::time::Duration;

use genesys_cloud_exporter::clock::SystemClock;
use genesys_cloud_exporter::model::time::Millis;
use genesys_cloud_exporter::simulator::dialect::Dialect;
use genesys_cloud_exporter::simulator::org::OrgSpec;

use crate::support::audit::{Findings, Judged, audit};
use crate::support::exporter::{Exporter, Page, Setup, WINDOW_MS, ten_thousand};
use crate::support::http::millis;
use crate::support::organisation::Organisation;
use crate::support::wait::look_for;

const BOUND: Duration = Duration::from_secs(60);

/// For how long changes are timed.
const MEASURED: Duration = Duration::from_secs(45);

/// From the end of a stretch until its windows are closed: `max_wait`, and what is added.
const CLOSE_BOUND: Duration = Duration::from_secs(90);

const CHANNELS: &str = "genesyscloud_notification_channels";
const RECONNECTS: &str = "genesyscloud_notification_reconnects_total";

fn live(page: &Page) -> f64 {
    page.sum(CHANNELS, &[("state", "live")])
}

async fn organisation(seed: u64) -> Organisation {
    let spec = OrgSpec {
        tempo: 10.0,
        min_state: Millis::from_secs(2),
        volatile_share: 0.0,
        ..OrgSpec::new(160, 8, seed)
    };
    Organisation::serve(spec, |options| options.dialect = Dialect::Platform).await
}

/// Slower polls than of old: push is what makes rows exact.
fn setup(organisation: &Organisation) -> Setup {
    let mut setup = Setup::new(organisation);
    setup.set("poll.interval", "2s");
    setup.set("volatile.within", "5s");
    setup
}

async fn wait_pushed(exporter: &Exporter, agents: f64) -> Page {
    exporter
        .wait_page("every agent is pushed", BOUND, |page| {
            page.get("genesyscloud_notification_agents", &[]) == Some(agents)
        })
        .await
}

fn now() -> i64 {
    SystemClock::new().now().wall.0
}

/// Waits until some hundred changes were pushed in peace.
async fn calm(exporter: &Exporter) {
    let pushed = |page: &Page| {
        page.value(
            "genesyscloud_notification_events_total",
            &[("topic", "activity")],
        )
    };
    let before = pushed(&exporter.page().await);
    exporter
        .wait_page("changes are pushed", BOUND, |page| {
            pushed(page) >= before + 150.0
        })
        .await;
}

/// Audits the whole windows of `[from, to)`, in milliseconds.
async fn audited(exporter: &Exporter, organisation: &Organisation, from: i64, to: i64) -> Findings {
    let (from, to) = (
        (from / WINDOW_MS + 1) * WINDOW_MS,
        to / WINDOW_MS * WINDOW_MS,
    );
    exporter.wait_closed(to, CLOSE_BOUND).await;
    let rows = exporter.rows(from, to).await;
    audit(organisation, &rows, (from, to), Judged::Exact).await
}

/// Times every change that the platform dates from its own instant until a reader sees it.
async fn delays(exporter: &Exporter) -> Vec<i64> {
    let mut held: BTreeMap<String, (i64, String)> = BTreeMap::new();
    let mut delays = Vec::new();
    look_for(MEASURED, async || {
        let body = exporter.get("/api/v1/agents").await.json();
        let seen_at = now();
        for agent in body["agents"].as_array().unwrap() {
            let user = agent["userId"].as_str().unwrap().to_owned();
            let state = agent["routingAvailability"].as_str().unwrap().to_owned();
            let entered = millis(&agent["stateEnteredTimestamp"]);
            let Some((before, was)) = held.insert(user, (entered, state.clone())) else {
                continue;
            };
            // After-call work, and a call right behind it, have no instant of their own.
            let dated = state != "WrapUp" && !(state == "OnCall" && was == "WrapUp");
            if entered > before && dated {
                delays.push(seen_at - entered);
            }
        }
    })
    .await;
    delays.sort_unstable();
    delays
}

#[tokio::test(flavor = "multi_thread")]
async fn with_push_changes_are_seen_within_a_second_and_rows_are_exact() {
    let organisation = organisation(81).await;
    let exporter = setup(&organisation).start().await;
    wait_pushed(&exporter, 160.0).await;
    let from = now() + 3_000;
    let delays = delays(&exporter).await;
    let to = now();
    let at = |percent: usize| delays[(delays.len() - 1) * percent / 100];
    eprintln!(
        "{} changes: median {} ms, 99th percentile {} ms, longest {} ms",
        delays.len(),
        at(50),
        at(99),
        at(100)
    );
    assert!(delays.len() > 100, "{}", delays.len());
    assert!(at(50) < 250, "median {} ms", at(50));
    assert!(at(99) < 1_000, "99th percentile {} ms", at(99));

    let findings = audited(&exporter, &organisation, from, to).await;
    findings.assert_clean("push");
    // By polls alone no row with a change is exact: each has a bound that was observed. After-call
    // work has none of its own either way, so only rows without it are.
    assert!(findings.changing > 10, "{findings:?}");
    let page = exporter.page().await;
    let pushed = page.value(
        "genesyscloud_notification_events_total",
        &[("topic", "activity")],
    );
    assert!(pushed > 100.0, "{pushed}");
    assert_eq!(
        page.value("genesyscloud_notification_disagreements_total", &[]),
        0.0
    );
    exporter.assert_no_loss().await;
    let output = exporter.stop().await;
    assert!(
        !output.contains("streaming-0-"),
        "a channel's id is a secret"
    );
    organisation.assert_polite().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_broken_sockets_and_what_they_lost_cost_no_truth() {
    let organisation = organisation(82).await;
    let exporter = setup(&organisation).start().await;
    wait_pushed(&exporter, 160.0).await;
    let from = now();
    calm(&exporter).await;
    for round in 1..=10 {
        organisation.faults("socket-drop@0s+700ms").await;
        let fell = f64::from(round);
        exporter
            .wait_page("the socket falls and is opened again", BOUND, |page| {
                let ends = page.sum(RECONNECTS, &[("reason", "broken")])
                    + page.sum(RECONNECTS, &[("reason", "closed")]);
                ends >= fell && live(page) == 1.0
            })
            .await;
    }
    calm(&exporter).await;
    let to = now();
    let findings = audited(&exporter, &organisation, from, to).await;
    findings.assert_clean("ten broken sockets");
    assert!(
        findings.compared > 50 && findings.changing > 0,
        "{findings:?}"
    );
    let statistics = organisation.statistics().await;
    let lost = statistics["notifications"]["lost"].as_u64();
    assert!(lost > Some(0), "nothing was lost: {statistics}");
    exporter.assert_no_loss().await;
    exporter.stop().await;
    organisation.assert_polite().await;
}

/// The ends of sockets for a reason.
fn ended(page: &Page, reason: &str) -> f64 {
    page.sum(RECONNECTS, &[("reason", reason)])
}

/// What the platform does to channels, over real sockets; silence and the end of a channel's life
/// take longer, and are run in virtual time.
#[tokio::test(flavor = "multi_thread")]
async fn what_befalls_channels_is_acted_on_over_real_sockets() {
    let organisation = organisation(84).await;
    organisation.faults("rejected-topics=30").await;
    let exporter = setup(&organisation).start().await;
    let page = exporter
        .wait_page("topics are rejected", BOUND, |page| {
            page.sum("genesyscloud_notification_rejections_total", &[]) > 0.0 && live(page) == 1.0
        })
        .await;
    let agents = page.value("genesyscloud_notification_agents", &[]);
    assert!((1.0..160.0).contains(&agents), "{agents} of 160 are pushed");

    organisation.faults("socket-closing=8s@0s+1s").await;
    exporter
        .wait_page("the socket is left before it closes", BOUND, |page| {
            ended(page, "maintenance") == 1.0 && live(page) == 1.0
        })
        .await;
    organisation.faults("evicted-channels@0s+1s").await;
    exporter
        .wait_page("an evicted channel is replaced", BOUND, |page| {
            ended(page, "closed") >= 1.0 && live(page) == 1.0
        })
        .await;
    // The new channel asked for all topics, and none is rejected any more.
    wait_pushed(&exporter, 160.0).await;
    assert!(organisation.revoke_tokens().await >= 1);
    exporter
        .wait_page("a revoked token costs one channel", BOUND, |page| {
            ended(page, "revoked") >= 1.0 && live(page) == 1.0
        })
        .await;
    wait_pushed(&exporter, 160.0).await;

    let plan = "duplicate-events=30,reordered-events=30";
    organisation.faults(plan).await;
    let from = now();
    calm(&exporter).await;
    organisation.faults("none").await;
    let findings = audited(&exporter, &organisation, from, now() + WINDOW_MS).await;
    findings.assert_clean("events twice and out of order");
    assert!(findings.compared > 50, "{findings:?}");
    exporter.assert_no_loss().await;
    exporter.stop().await;
    organisation.assert_polite().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_agents_have_twenty_channels_within_the_usual_budget() {
    let (organisation, mut setup) = ten_thousand().await;
    setup.set("poll.interval", "30s").set("poll.timeout", "20s");
    let exporter = setup.start().await;
    let bound = Duration::from_secs(240);
    let page = exporter
        .wait_page("twenty channels are live", bound, |page| {
            page.get("genesyscloud_notification_agents", &[]) == Some(10_000.0)
        })
        .await;
    assert_eq!(live(&page), 20.0);
    assert_eq!(page.value("genesyscloud_api_throttled_total", &[]), 0.0);
    let statistics = organisation.statistics().await;
    let channels = &statistics["notifications"];
    assert_eq!(channels["channels"], 20, "{statistics}");
    assert_eq!(channels["evicted"], 0, "{statistics}");
    let accepted = page.accepted();
    exporter
        .wait_page("polls go on", bound, |page| {
            page.accepted() > accepted + 1.0
        })
        .await;
    exporter.stop().await;
    organisation.assert_polite().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn push_that_is_off_opens_no_channel() {
    let organisation = organisation(83).await;
    let mut setup = setup(&organisation);
    setup.set("source.notifications", "off");
    let exporter = setup.start().await;
    let joined = exporter.wait_joined().await.accepted();
    let page = exporter
        .wait_page("polls go on", BOUND, |page| page.accepted() > joined + 2.0)
        .await;
    assert_eq!(page.all(CHANNELS).count(), 0);
    exporter.stop().await;
    let statistics = organisation.statistics().await;
    assert_eq!(statistics["notifications"]["channels"], 0, "{statistics}");
}
