//! Ten crashes at random instants: nothing twice, nothing lost, nothing wrong.

use std::time::Duration;

use genesys_cloud_exporter::clock::SystemClock;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::support::audit::{Judged, agreeing, audit};
use crate::support::exporter::{Setup, WINDOW_MS};
use crate::support::organisation::Organisation;

const CRASHES: usize = 10;

/// A life from start to crash, in milliseconds: from before the first answer to several cycles.
const LIFE_MS: std::ops::Range<u64> = 50..5_000;

/// From the last crash until all windows are closed.
const CLOSE_BOUND: Duration = Duration::from_secs(60);

/// The seed of a run; another one by the variable, to repeat a failure.
fn seed() -> u64 {
    let given = std::env::var_os("LIVE_CRASH_SEED");
    given.map_or_else(
        || SystemClock::new().now().wall.0 as u64,
        |text| text.to_str().unwrap().parse().unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_crashes_cost_no_row_and_falsify_none() {
    let seed = seed();
    eprintln!("LIVE_CRASH_SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let arguments = [
        "--agents",
        "100",
        "--queues",
        "6",
        "--seed",
        "73",
        "--tempo",
        "12",
        "--history",
        "3",
        "--cache-refresh",
        "1s",
    ];
    let organisation = Organisation::simulate(&arguments).await;
    let (disturbed, undisturbed) = (Setup::new(&organisation), Setup::new(&organisation));
    let twin = undisturbed.start().await;
    let victim = disturbed.start().await;
    twin.wait_joined().await;
    victim.wait_joined().await;
    let began = SystemClock::new().now().wall.0;
    victim.process.kill();

    for crash in 1..CRASHES {
        let life = Duration::from_millis(random.random_range(LIFE_MS));
        eprintln!("crash {crash} after {life:?}");
        let process = disturbed.spawn();
        // The instant is the point, whatever it interrupts: there is no condition to wait for.
        tokio::time::sleep(life).await;
        let output = process.kill();
        assert!(!output.contains("panicked"), "{output}");
    }

    let victim = disturbed.start().await;
    let settled = victim.wait_joined().await;
    let accepted = settled.value("genesyscloud_snapshot_accepted_timestamp_seconds", &[]);
    let from = (began / WINDOW_MS + 1) * WINDOW_MS;
    // And one window that no crash has touched.
    let to = ((accepted * 1_000.0) as i64 / WINDOW_MS + 2) * WINDOW_MS;
    victim.wait_closed(to, CLOSE_BOUND).await;
    twin.wait_closed(to, CLOSE_BOUND).await;
    let rows = victim.rows(from, to).await;
    let findings = audit(&organisation, &rows, (from, to), Judged::Exact).await;
    findings.assert_clean("ten crashes");
    assert!(
        findings.share() > 0.2 && findings.changing > 20,
        "{findings:?}"
    );

    let others = twin.rows(from, to).await;
    let undisturbed = audit(&organisation, &others, (from, to), Judged::Exact).await;
    undisturbed.assert_clean("no crash");
    let agreeing = agreeing(&rows, &others);
    assert!(agreeing > 50, "only {agreeing} rows in common");

    for exporter in [victim, twin] {
        exporter.assert_no_loss().await;
        exporter.stop().await;
    }
    organisation.assert_polite().await;
}
