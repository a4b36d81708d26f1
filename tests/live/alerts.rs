//! Faults of a simulated organisation, seen by a real Prometheus with the shipped rules and by a
//! real Alertmanager with the shipped routing. Durations are hurried sixty times (see
//! `support::monitoring`); nothing else is changed.

use std::time::Duration;

use crate::support::exporter::{Exporter, Setup};
use crate::support::monitoring::{Alertmanager, Prometheus};
use crate::support::organisation::Organisation;
use crate::support::wait::wait_for;

/// From a fault to its alert, and from its end to the alert's: some ranges of 10 s and more.
const BOUND: Duration = Duration::from_secs(90);

/// So often are the rules evaluated before we believe that an alert does not fire.
const CALM: Duration = Duration::from_secs(15);

struct Scene {
    organisation: Organisation,
    setup: Setup,
    exporter: Exporter,
    prometheus: Prometheus,
    alertmanager: Alertmanager,
}

impl Scene {
    async fn start(arguments: &[&str], settings: &[(&'static str, &str)]) -> Self {
        let organisation = Organisation::simulate(arguments).await;
        let mut setup = Setup::new(&organisation);
        for (path, value) in settings {
            setup.set(path, value);
        }
        let exporter = setup.start().await;
        let alertmanager = Alertmanager::start().await;
        let target = exporter.url.trim_start_matches("http://");
        let prometheus = Prometheus::start(target, Some(&alertmanager)).await;
        prometheus.wait_scraped(BOUND).await;
        exporter.wait_joined().await;
        let scene = Self {
            organisation,
            setup,
            exporter,
            prometheus,
            alertmanager,
        };
        // A series of the rules: from now on they speak of a running exporter.
        wait_for("the rules are evaluated", BOUND, async || {
            let expr = "instance:genesyscloud_snapshot_coverage_ratio:avg10m == 1";
            let recorded = scene
                .prometheus
                .ask(expr, Some(CALM.as_secs() as u32))
                .await;
            let samples = recorded.unwrap()[0]["values"]
                .as_array()
                .map_or(0, Vec::len);
            (samples as u64 >= CALM.as_secs() - 2).then_some(())
        })
        .await;
        scene.alertmanager.wait_quiet(BOUND).await;
        scene
    }

    async fn firing(&self, name: &str) -> bool {
        self.prometheus
            .alert(name)
            .await
            .iter()
            .any(|state| state == "firing")
    }

    async fn end(self) {
        self.exporter.stop().await;
        self.organisation.assert_polite().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_snapshots_fire_and_three_of_them_the_breaker_which_silences_the_rest() {
    let arguments = [
        "--agents",
        "60",
        "--queues",
        "5",
        "--tempo",
        "4",
        "--cache-refresh",
        "1s",
    ];
    // Long enough a pause for the figures to be stale while the breaker is open.
    let settings = [("breaker.cooldown", "8s"), ("breaker.max_cooldown", "8s")];
    let scene = Scene::start(&arguments, &settings).await;

    // At most two snapshots in a row are cut: no pause.
    scene.organisation.faults("partial=60@0s+1s/4s").await;
    let rejected = scene
        .alertmanager
        .wait("GenesysCloudSnapshotsRejected", BOUND, |_| true)
        .await;
    assert!(!rejected.inhibited, "{rejected:?}");
    assert_eq!(rejected.receiver, "telemetry-tickets");
    let page = scene.exporter.page().await;
    assert_eq!(page.value("genesyscloud_breaker_trips_total", &[]), 0.0);
    assert!(!scene.firing("GenesysCloudBreakerOpen").await);
    scene.organisation.faults("none").await;
    scene.alertmanager.wait_quiet(BOUND).await;

    // Three in a row and more: polling pauses.
    scene.organisation.faults("partial=60").await;
    let open = scene
        .alertmanager
        .wait("GenesysCloudBreakerOpen", BOUND, |_| true)
        .await;
    assert!(!open.inhibited, "{open:?}");
    assert_eq!(open.receiver, "telemetry-pager");
    let description = open.annotations["description"].as_str().unwrap();
    assert!(
        description.contains("127.0.0.1:"),
        "names the exporter: {description}"
    );
    for consequence in [
        "GenesysCloudSnapshotsRejected",
        "GenesysCloudSnapshotCoverageLow",
        "GenesysCloudSnapshotStale",
    ] {
        let held = scene
            .alertmanager
            .wait(consequence, BOUND, |alert| alert.inhibited)
            .await;
        assert!(
            held.annotations["runbook_url"]
                .as_str()
                .unwrap()
                .ends_with(&format!("{consequence}.md"))
        );
    }
    let alerts = scene.alertmanager.alerts().await;
    let floor: Vec<_> = alerts
        .iter()
        .filter(|alert| alert.team == "contact-centre")
        .collect();
    assert!(
        floor.iter().all(|alert| alert.inhibited),
        "frozen figures are no news: {floor:?}"
    );
    scene.organisation.faults("none").await;
    scene.alertmanager.wait_quiet(BOUND).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn divergence_fires_and_ends_when_the_snapshot_tells_the_truth_again() {
    let arguments = [
        "--agents",
        "200",
        "--queues",
        "5",
        "--tempo",
        "6",
        "--cache-refresh",
        "1s",
    ];
    // A budget with which the round robin is slower than the agents: else it heals before the check.
    let settings = [
        ("budget.requests_per_minute", "1200"),
        ("divergence.interval", "10s"),
        ("divergence.sample", "0.3"),
    ];
    let scene = Scene::start(&arguments, &settings).await;
    scene.organisation.faults("divergence=100").await;
    let diverged = scene
        .alertmanager
        .wait("GenesysCloudDivergenceHigh", BOUND, |_| true)
        .await;
    assert!(!diverged.inhibited, "{diverged:?}");
    let page = scene.exporter.page().await;
    assert!(page.value("genesyscloud_cache_invalidations_total", &[]) >= 1.0);
    scene.organisation.faults("none").await;
    scene.alertmanager.wait_quiet(BOUND).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_exporter_fires_silences_its_last_words_and_ends_with_its_return() {
    let arguments = ["--agents", "60", "--queues", "5", "--cache-refresh", "1s"];
    let mut scene = Scene::start(&arguments, &[]).await;
    let address = scene.exporter.url.trim_start_matches("http://").to_owned();
    // An alert that was firing when it died is held on for five minutes, here seconds.
    scene.organisation.faults("partial=60@0s+1s/4s").await;
    scene
        .alertmanager
        .wait("GenesysCloudSnapshotsRejected", BOUND, |_| true)
        .await;
    scene.exporter.process.kill();
    let down = scene
        .alertmanager
        .wait("GenesysCloudExporterDown", BOUND, |_| true)
        .await;
    assert!(!down.inhibited, "{down:?}");
    assert_eq!(down.receiver, "telemetry-pager");
    let alerts = scene.alertmanager.alerts().await;
    let others: Vec<_> = alerts
        .iter()
        .filter(|alert| alert.name != "GenesysCloudExporterDown")
        .collect();
    assert!(others.iter().all(|alert| alert.inhibited), "{others:?}");

    scene.organisation.faults("none").await;
    scene.setup.set("web.listen", &format!("[\"{address}\"]"));
    scene.exporter = scene.setup.start().await;
    scene.alertmanager.wait_quiet(BOUND).await;
    scene.end().await;
}
