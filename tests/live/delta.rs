//! Delta detection in a calm organisation: nearly nothing goes downstream.

use std::time::Duration;

use crate::support::exporter::Setup;
use crate::support::organisation::Organisation;

/// Snapshots in the run: a minute's worth.
const SNAPSHOTS: f64 = 60.0;

/// They come a second apart; a busy machine gets time.
const BOUND: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_organisation_passes_on_less_than_a_tenth() {
    let arguments = ["--agents", "200", "--tempo", "0.1", "--cache-refresh", "1s"];
    let organisation = Organisation::simulate(&arguments).await;
    let exporter = Setup::new(&organisation).start().await;
    let page = exporter
        .wait_page("a minute of snapshots", BOUND, |page| {
            page.accepted() >= SNAPSHOTS
        })
        .await;
    let count = |result| page.value("genesyscloud_records_total", &[("result", result)]);
    let (seen, emitted) = (count("seen"), count("emitted"));
    eprintln!("{emitted} of {seen} records were passed on");
    assert!(seen >= SNAPSHOTS * 200.0, "{seen}");
    assert!(
        emitted > 0.0 && emitted < seen / 10.0,
        "{emitted} of {seen}"
    );
    exporter.stop().await;
    organisation.assert_polite().await;
}
