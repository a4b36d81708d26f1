//! Rows and counters against the truth, over a graceful restart.

use std::time::Duration;

use genesys_cloud_exporter::model::time::Millis;
use genesys_cloud_exporter::simulator::faults::FaultPlan;
use genesys_cloud_exporter::simulator::org::OrgSpec;

use crate::support::audit::{Findings, Judged, audit};
use crate::support::counters::Reading;
use crate::support::exporter::{Exporter, Setup, WINDOW_MS};
use crate::support::organisation::Organisation;

/// Between two readings of the counters, in milliseconds.
const STRETCH_MS: i64 = 25_000;

/// From the first joins to the first reading, in milliseconds: some cycles.
const SETTLE_MS: i64 = 5_000;

/// A stretch and what a busy machine adds.
const STRETCH_BOUND: Duration = Duration::from_secs(60);

/// From the end of a stretch until its windows are closed: `max_wait`, and what is added.
const CLOSE_BOUND: Duration = Duration::from_secs(60);

async fn reading_from(exporter: &Exporter, at: i64) -> Reading {
    let what = "the next reading of the counters";
    let page = exporter.wait_page(what, STRETCH_BOUND, |page| {
        let accepted = page.get("genesyscloud_snapshot_accepted_timestamp_seconds", &[]);
        accepted.is_some_and(|accepted| accepted * 1_000.0 >= at as f64)
    });
    Reading::new(page.await)
}

/// Runs an exporter with a restart in between, checks its counters, and audits its rows.
pub(crate) async fn run(organisation: &Organisation, setup: &Setup, judged: Judged) -> Findings {
    let exporter = setup.start().await;
    let joined = Reading::new(exporter.wait_joined().await);
    // Not at once: an agent that was just asked is confirmed up to now, later ones by snapshots.
    let first = reading_from(&exporter, joined.at + SETTLE_MS).await;
    let second = reading_from(&exporter, first.at + STRETCH_MS).await;
    second.assert_true_since(&first, organisation).await;
    exporter.assert_no_loss().await;
    exporter.stop().await;

    let exporter = setup.start().await;
    exporter.wait_ready().await;
    let third = reading_from(&exporter, second.at + STRETCH_MS).await;
    third.assert_true_since(&second, organisation).await;
    third.assert_true_since(&first, organisation).await;

    // The first whole window after the first reading, and the last one before the third.
    let from = (first.at / WINDOW_MS + 1) * WINDOW_MS;
    let to = third.at / WINDOW_MS * WINDOW_MS;
    exporter.wait_closed(to, CLOSE_BOUND).await;
    let rows = exporter.rows(from, to).await;
    let findings = audit(organisation, &rows, (from, to), judged).await;
    exporter.assert_no_loss().await;
    exporter.stop().await;
    organisation.assert_polite().await;
    findings
}

/// The platform gives the current state only, and no state is shorter than it takes to see it:
/// whatever is estimated is right, and nothing is hidden.
#[tokio::test(flavor = "multi_thread")]
async fn with_one_entry_and_states_longer_than_the_delay_every_known_row_is_true() {
    let spec = OrgSpec {
        tempo: 10.0,
        min_state: Millis::from_secs(7),
        volatile_share: 0.0,
        ..OrgSpec::new(160, 8, 71)
    };
    let organisation = Organisation::serve(spec, |options| {
        options.faults = FaultPlan::parse("no-history").unwrap();
        options.cache_refresh = Millis::from_secs(1);
    })
    .await;
    let mut setup = Setup::new(&organisation);
    setup.set("volatile.within", "5s");
    let findings = run(&organisation, &setup, Judged::Known).await;
    findings.assert_clean("one entry");
    // The restart costs a hole; all else is known.
    assert!(
        findings.share() > 0.5 && findings.changing > 100,
        "{findings:?}"
    );
}

/// The platform gives three states; agents change faster than we ask, some in bursts.
#[tokio::test(flavor = "multi_thread")]
async fn with_three_entries_and_rapid_transitions_every_exact_row_is_true() {
    let arguments = [
        "--agents",
        "120",
        "--queues",
        "8",
        "--seed",
        "72",
        "--tempo",
        "20",
        "--history",
        "3",
        "--cache-refresh",
        "1s",
    ];
    let organisation = Organisation::simulate(&arguments).await;
    let mut setup = Setup::new(&organisation);
    setup.set("volatile.within", "6s");
    let findings = run(&organisation, &setup, Judged::Exact).await;
    findings.assert_clean("three entries");
    assert!(
        findings.share() > 0.5 && findings.changing > 100,
        "{findings:?}"
    );
    assert!(
        findings.volatile > 0,
        "some agents are volatile: {findings:?}"
    );
}
