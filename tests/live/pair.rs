//! Two pollers: one polls, the other takes over when it is gone, and together they spend no more
//! than one may.

use std::time::Duration;

use genesys_cloud_exporter::clock::SystemClock;

use crate::queue::{aggregator, part};
use crate::support::audit::{Judged, audit};
use crate::support::broker::Broker;
use crate::support::cluster::Cluster;
use crate::support::exporter::{Exporter, Setup, WINDOW_MS};
use crate::support::organisation::Organisation;
use crate::support::wait::wait_for;

/// Their budget together.
const REQUESTS_PER_MINUTE: u64 = 100;

/// The interval of both.
const INTERVAL: Duration = Duration::from_secs(5);

/// Until somebody leads for the first time.
const START_BOUND: Duration = Duration::from_secs(60);

const CLOSE_BOUND: Duration = Duration::from_secs(120);

/// Until everybody is joined by whoever takes over: what the one before spent must leave the minute
/// first.
const JOIN_BOUND: Duration = Duration::from_secs(120);

async fn wait_joined(exporter: &Exporter) {
    exporter
        .wait_page("every agent is joined", JOIN_BOUND, |page| {
            page.get("genesyscloud_routing_join_coverage_ratio", &[]) == Some(1.0)
        })
        .await;
}

async fn leads(exporter: &Exporter) -> bool {
    exporter.page().await.get("genesyscloud_leader", &[]) == Some(1.0)
}

/// Which of two leads.
async fn leader(pair: &[Exporter; 2]) -> usize {
    wait_for("one of two polls", START_BOUND, async || {
        let first = leads(&pair[0]).await;
        let second = leads(&pair[1]).await;
        assert!(!(first && second), "both poll");
        (first || second).then_some(usize::from(second))
    })
    .await
}

fn poller(organisation: &Organisation, broker: &Broker) -> Setup {
    let budget = REQUESTS_PER_MINUTE.to_string();
    let mut setup = part(organisation, broker, "poller");
    setup
        .set("poll.interval", "5s")
        .set("poll.timeout", "2s")
        .set("budget.requests_per_minute", &budget);
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standby_takes_over_within_two_intervals_and_the_budget_is_spent_once() {
    let arguments = [
        "--agents",
        "30",
        "--queues",
        "4",
        "--seed",
        "78",
        "--tempo",
        "6",
        "--cache-refresh",
        "1s",
    ];
    let organisation = Organisation::simulate(&arguments).await;
    let broker = Broker::start().await;
    let cluster = Cluster::start();
    let setups: [_; 2] = std::array::from_fn(|_| poller(&organisation, &broker));
    let store = aggregator(&organisation, &broker, &cluster).start().await;
    let pair = [setups[0].start().await, setups[1].start().await];
    let first = leader(&pair).await;
    pair[first].wait_ready().await;
    wait_joined(&pair[first]).await;
    let standby = &pair[1 - first];
    assert_eq!(standby.get("/-/healthy").await.status, 200);
    let ready = standby.get("/-/ready").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains("standing by"), "{}", ready.text);
    let asked =
        |page: &crate::support::exporter::Page| page.sum("genesyscloud_api_requests_total", &[]);
    assert_eq!(asked(&standby.page().await), 0.0);

    // The one that polls has spent most of a minute's budget: were it forgotten, both together
    // would spend more than one may.
    wait_for("the budget is spent", JOIN_BOUND, async || {
        let statistics = organisation.statistics().await;
        (statistics["maxIn60s"].as_u64() > Some(REQUESTS_PER_MINUTE * 3 / 5)).then_some(())
    })
    .await;
    let mut pair = pair.map(Some);
    let from = (SystemClock::new().now().wall.0 / WINDOW_MS + 1) * WINDOW_MS;
    let clock = SystemClock::new();
    let killed_at = clock.now().mono;
    pair[first].take().unwrap().process.kill();
    let standby = pair[1 - first].take().unwrap();
    standby.wait_ready().await;
    let took = (clock.now().mono - killed_at).to_duration();
    eprintln!("the standby had a snapshot {took:?} after the leader was killed");
    assert!(took <= 2 * INTERVAL, "{took:?}");
    assert!(leads(&standby).await);

    // The one that comes back stands by; the one that leads gives the lease back when it ends.
    let back = setups[first].start().await;
    wait_joined(&standby).await;
    let joined = SystemClock::new().now().wall.0;
    assert!(!leads(&back).await);
    standby.stop().await;
    back.wait_ready().await;
    wait_joined(&back).await;

    let to = (joined / WINDOW_MS + 1) * WINDOW_MS;
    back.wait_closed(to, CLOSE_BOUND).await;
    let rows = store.rows(from, to).await;
    let findings = audit(&organisation, &rows, (from, to), Judged::Exact).await;
    findings.assert_clean("two pollers");
    let statistics = organisation.statistics().await;
    let most = statistics["maxIn60s"].as_u64().unwrap();
    eprintln!("at most {most} requests in any minute");
    assert!(most <= REQUESTS_PER_MINUTE, "{statistics}");
    for exporter in [back, store] {
        exporter.assert_no_loss().await;
        exporter.stop().await;
    }
    organisation.assert_polite().await;
}
