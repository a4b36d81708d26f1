//! Backfill in dialect `platform`: what happened while the exporter was down is asked for
//! afterwards, rows are revised, and counters move the time from unknown to where it was.

use std::time::Duration;

use genesys_cloud_exporter::model::time::Millis;
use genesys_cloud_exporter::simulator::dialect::Dialect;
use genesys_cloud_exporter::simulator::org::OrgSpec;

use crate::support::audit::Row;
use crate::support::exporter::{Page, Setup, WINDOW_MS};
use crate::support::organisation::{Organisation, Truth};
use crate::support::wait::wait_for;

const AGENTS: u32 = 120;

/// Four windows, as twenty minutes are of five-minute windows; and longer than `max_wait`, so
/// that windows are closed as unknown before they are filled.
const OUTAGE_MS: i64 = 4 * WINDOW_MS;

/// An outage, or the time until windows are closed, and what a busy machine adds.
const BOUND: Duration = Duration::from_secs(120);

fn accepted_at(page: &Page) -> i64 {
    (page.value("genesyscloud_snapshot_accepted_timestamp_seconds", &[]) * 1_000.0) as i64
}

/// Agent-seconds counted, less what is owed.
fn counted(page: &Page) -> f64 {
    page.sum("genesyscloud_state_time_seconds_total", &[])
        - page.value("genesyscloud_state_time_debt_seconds", &[])
}

/// Inside one interaction the history does not tell calls from after-call work, so their sum is
/// held against the truth; all else to the millisecond.
fn told(states: [i64; 4]) -> [i64; 3] {
    let [available, not_ready, on_call, wrap_up] = states;
    [available, not_ready, on_call + wrap_up]
}

fn is_true(row: &Row, truth: &Truth) -> bool {
    row.unknown == 0 && told(row.states) == told(truth.states)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_leaves_no_unknown_time_behind() {
    let spec = OrgSpec {
        tempo: 10.0,
        min_state: Millis::from_secs(7),
        volatile_share: 0.0,
        ..OrgSpec::new(AGENTS, 6, 74)
    };
    let organisation =
        Organisation::serve(spec, |options| options.dialect = Dialect::Platform).await;
    let mut setup = Setup::new(&organisation);
    setup.set("source.dialect", "platform");
    setup.set("volatile.within", "5s");
    let exporter = setup.start().await;
    let joined = accepted_at(&exporter.wait_joined().await);
    let first = exporter
        .wait_page("some scans later", BOUND, |page| {
            accepted_at(page) > joined + 3_000
        })
        .await;
    exporter.process.kill();
    let down = accepted_at(&first);
    let up = down + OUTAGE_MS;
    wait_for("the outage lasts", BOUND, async || {
        (now_ms() >= up).then_some(())
    })
    .await;

    let exporter = setup.start().await;
    exporter.wait_ready().await;
    let from = (joined / WINDOW_MS + 1) * WINDOW_MS;
    let to = (up / WINDOW_MS + 1) * WINDOW_MS;
    exporter.wait_closed(to, BOUND).await;
    let rows = wait_for("history fills every hole", BOUND, async || {
        let rows = exporter.rows(from, to).await;
        rows.iter().all(|row| row.unknown == 0).then_some(rows)
    })
    .await;
    assert!(
        rows.iter().filter(|row| row.start >= down).count() > AGENTS as usize,
        "rows of the outage: {}",
        rows.len()
    );
    let mut starts = 0;
    for start in (from..to).step_by(WINDOW_MS as usize) {
        let truth = organisation.truth(start, start + WINDOW_MS).await;
        for row in rows.iter().filter(|row| row.start == start) {
            let truth = &truth[&row.user];
            assert!(is_true(row, truth), "{row:?}\n{truth:?}");
            starts += truth.starts;
        }
    }
    assert!(starts > 100, "agents were busy meanwhile: {starts}");

    let page = exporter.page().await;
    let grown = |of: fn(&Page) -> f64| of(&page) - of(&first);
    let owed = grown(|page| page.value("genesyscloud_state_time_debt_seconds", &[]));
    let unknown = grown(|page| page.sum("genesyscloud_unknown_time_seconds_total", &[]));
    assert!(unknown > 100.0, "it was unknown at first: {unknown} s");
    assert!(
        unknown <= owed + 0.001,
        "{unknown} s became unknown, {owed} s are owed"
    );
    let passed = (accepted_at(&page) - accepted_at(&first)) as f64 / 1_000.0;
    let each = grown(counted) / f64::from(AGENTS);
    // Two polls of a second each, at either end.
    assert!(
        (each - passed).abs() < 4.0,
        "{each} s counted in {passed} s"
    );
    exporter.assert_no_loss().await;
    exporter.stop().await;
    organisation.assert_polite().await;
}

fn now_ms() -> i64 {
    genesys_cloud_exporter::clock::SystemClock::new()
        .now()
        .wall
        .0
}
