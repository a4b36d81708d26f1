//! `demo`: a stranger's first minutes. And the pages, judged by the tools that will read them.

use std::path::Path;
use std::time::Duration;

use crate::support::exporter::{Exporter, STOP_BOUND};
use crate::support::http::Http;
use crate::support::process::Process;
use crate::support::strict;
use crate::support::wait::wait_for;

/// From the start of the process to the first queue gauges.
const GAUGES_BOUND: Duration = Duration::from_secs(10);

/// A window of one minute begins, ends and closes within this.
const WINDOWS_BOUND: Duration = Duration::from_secs(150);

/// Starts the demo; it ends with 0 soon after Ctrl-C.
async fn start(directory: &Path) -> Exporter {
    let arguments = ["demo", "--web.listen-address", "127.0.0.1:0"];
    let mut process = Process::start("demo", directory, &arguments, &[]);
    let http = Http::new();
    let what = "the demo serves queue gauges";
    let url = wait_for(what, GAUGES_BOUND, async || {
        let url = format!("http://{}", process.listening(0).await);
        let page = http.try_get(&format!("{url}/metrics"), "*/*").await?;
        let gauges = page.text.contains("genesyscloud_queue_agents{");
        gauges.then_some(url)
    })
    .await;
    Exporter::of(process, url, http)
}

async fn interrupt(demo: Exporter) {
    demo.process.signal("INT");
    let (code, output) = demo.process.exit(STOP_BOUND).await;
    assert_eq!(code, Some(0), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_gauges_at_once_and_windows_as_they_close() {
    let directory = tempfile::tempdir().unwrap();
    let demo = start(directory.path()).await;
    let page = demo.page().await;
    assert!(page.all("genesyscloud_queue_agents").count() >= 12 * 5);
    let rows = wait_for("windows close", WINDOWS_BOUND, async || {
        let body = demo.get("/api/v1/windows").await.json();
        Some(body["windows"].as_array().unwrap().clone()).filter(|rows| !rows.is_empty())
    })
    .await;
    for row in &rows {
        let metrics = row["metrics"].as_object().unwrap();
        let seconds: f64 = metrics
            .iter()
            .filter(|(key, _)| key.ends_with("Seconds"))
            .map(|(_, value)| value.as_f64().unwrap())
            .sum();
        let covered = row["quality"]["coveredSeconds"].as_f64().unwrap();
        assert!((seconds - covered).abs() < 1e-6, "{row}");
        assert!(covered <= 60.0, "{row}");
    }
    demo.assert_no_loss().await;
    interrupt(demo).await;
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert!(left.is_empty(), "the demo leaves nothing behind: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_and_the_strict_parsers_take_the_pages() {
    let directory = tempfile::tempdir().unwrap();
    let demo = start(directory.path()).await;
    // Two pages of one view: a scrape between two cycles, which are seconds apart.
    let (text, openmetrics) = wait_for("two pages of one view", WINDOWS_BOUND, async || {
        let built = demo.status().await["viewBuiltAt"].clone();
        let text = demo.get("/metrics").await;
        let accept = "application/openmetrics-text;version=1.0.0";
        let url = format!("{}/metrics", demo.url);
        let openmetrics = demo.http.get_as(&url, accept).await;
        (demo.status().await["viewBuiltAt"] == built).then_some((text, openmetrics))
    })
    .await;
    interrupt(demo).await;
    strict::take(&text.text, &openmetrics.text);
}
