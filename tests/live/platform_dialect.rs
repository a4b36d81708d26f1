//! The public platform API: rows and counters against the truth without notifications, the choice
//! of the dialect, and a large organisation within its budget.

use std::time::Duration;

use genesys_cloud_exporter::model::time::Millis;
use genesys_cloud_exporter::simulator::dialect::Dialect;
use genesys_cloud_exporter::simulator::org::OrgSpec;

use crate::support::audit::Judged;
use crate::support::exporter::{Page, Setup, ten_thousand};
use crate::support::organisation::{CLIENT_SECRET, Organisation};
use crate::support::process::{Process, START_BOUND};
use crate::truth::run;

const BOUND: Duration = Duration::from_secs(40);

/// Three scans at 15 s, and what a busy machine adds.
const SCANS_BOUND: Duration = Duration::from_secs(150);

const SMALL: [&str; 4] = ["--agents", "60", "--queues", "5"];

/// No state is shorter than it takes to see it, so whatever the platform dates is right to the
/// millisecond, over a restart too; after-call work, which it does not date, is never more or less
/// than the interaction that it belongs to.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_platform_dates_is_true_to_the_millisecond() {
    let spec = OrgSpec {
        tempo: 10.0,
        min_state: Millis::from_secs(7),
        volatile_share: 0.0,
        ..OrgSpec::new(160, 8, 73)
    };
    let organisation =
        Organisation::serve(spec, |options| options.dialect = Dialect::Platform).await;
    let mut setup = Setup::new(&organisation);
    setup.set("volatile.within", "5s");
    let findings = run(&organisation, &setup, Judged::Dated).await;
    findings.assert_clean("platform");
    // The restart costs a hole; all else is known.
    assert!(
        findings.share() > 0.5 && findings.changing > 100,
        "{findings:?}"
    );
    let statistics = organisation.statistics().await;
    // A scan a second, and the directory twice: nobody is asked for by itself without a reason,
    // which the start of after-call work is.
    let asked = statistics["byCall"]["agent-status"].as_u64();
    let others = statistics["requests"].as_u64().unwrap() - asked.unwrap_or(0);
    assert!(asked > Some(10) && others < 200, "{statistics}");
}

/// Agents on the page by the platform's own status; `None` in dialect `status`.
fn by_status(page: &Page) -> Option<f64> {
    let all = page.all("genesyscloud_platform_status_agents");
    let counts: Vec<f64> = all.map(|(_, count)| count).collect();
    (!counts.is_empty()).then(|| counts.iter().sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_without_the_bulk_snapshot_is_spoken_to_in_its_own_dialect() {
    for (spoken, platform) in [("platform", true), ("status", false), ("both", false)] {
        let arguments = [&SMALL[..], &["--dialect", spoken]].concat();
        let organisation = Organisation::simulate(&arguments).await;
        let exporter = Setup::new(&organisation).start().await;
        let page = exporter.wait_joined().await;
        assert_eq!(by_status(&page), platform.then_some(60.0), "{spoken}");
        assert!(page.accepted() > 0.0);
        let output = exporter.stop().await;
        let said = if platform {
            "dialect platform"
        } else {
            "dialect status"
        };
        assert!(output.contains(said), "{output}");
        organisation.assert_polite().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_expand_is_neither_offline_nor_available() {
    let arguments = [&SMALL[..], &["--dialect", "platform"]].concat();
    let organisation = Organisation::simulate(&arguments).await;
    let exporter = Setup::new(&organisation).start().await;
    let before = exporter.wait_joined().await;
    let offline = [("presence", "offline")];
    organisation.faults("expand-missing=100").await;
    let during = exporter
        .wait_page("scans are rejected", BOUND, |page| {
            let rejected = [("result", "rejected"), ("reason", "coverage")];
            page.sum("genesyscloud_snapshots_total", &rejected) > 0.0
        })
        .await;
    let name = "genesyscloud_presence_agents";
    assert_eq!(during.sum(name, &[]), before.sum(name, &[]));
    assert!(during.value(name, &offline) <= before.value(name, &offline) + 5.0);
    assert_eq!(
        during.value("genesyscloud_registry_agents", &[]),
        60.0,
        "nobody left"
    );
    organisation.faults("none").await;
    let accepted = during.accepted();
    exporter
        .wait_page("scans are believed again", BOUND, |page| {
            page.accepted() > accepted + 1.0
        })
        .await;
    exporter.assert_no_loss().await;
    exporter.stop().await;
    organisation.assert_polite().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_agents_are_scanned_within_the_usual_budget() {
    let (organisation, mut setup) = ten_thousand().await;
    setup.set("poll.interval", "15s").set("poll.timeout", "10s");
    let exporter = setup.start().await;
    let page = exporter
        .wait_page("five scans are accepted", SCANS_BOUND, |page| {
            page.accepted() >= 5.0
        })
        .await;
    assert_eq!(page.value("genesyscloud_registry_agents", &[]), 10_000.0);
    assert_eq!(by_status(&page), Some(10_000.0));
    assert_eq!(page.value("genesyscloud_api_throttled_total", &[]), 0.0);
    let of_scan = [("endpoint", "/api/v2/users"), ("code", "200")];
    let pages = page.sum("genesyscloud_api_requests_total", &of_scan);
    assert!(pages >= 20.0 * page.accepted(), "{pages} pages");
    // With thousands of first events still to be stored: they wait in the journal.
    exporter.stop().await;
    organisation.assert_polite().await;
}

/// Runs `doctor`; its exit code and what it printed.
async fn doctor(setup: &Setup, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    setup.write();
    let arguments = ["doctor", "--config.file", "config.yml"];
    let process = Process::start("doctor", setup.directory.path(), &arguments, variables);
    let (code, output) = process.exit(START_BOUND).await;
    assert!(!output.contains(CLIENT_SECRET), "{output}");
    (code, output)
}

/// The verdict and the rest of a check's row.
fn row<'a>(output: &'a str, check: &str) -> (&'a str, &'a str) {
    let line = output
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(check)?.strip_prefix("  "))
        .unwrap_or_else(|| panic!("no row {check:?} in\n{output}"));
    line.trim_start()
        .split_once(' ')
        .unwrap_or((line.trim(), ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_asks_everything_once_and_finds_nothing_wrong() {
    for spoken in ["platform", "status"] {
        let arguments = [&SMALL[..], &["--dialect", spoken]].concat();
        let organisation = Organisation::simulate(&arguments).await;
        let (code, output) = doctor(&Setup::new(&organisation), &[]).await;
        assert_eq!(code, Some(0), "{output}");
        for check in [
            "login",
            "clock",
            "dialect",
            "agents",
            "one agent",
            "open interactions",
            "queues",
            "members",
            "rate limit",
            "budget",
        ] {
            assert_eq!(row(&output, check).0, "ok", "{check}:\n{output}");
        }
        if spoken == "platform" {
            for check in ["history", "after-call work", "notifications"] {
                assert_eq!(row(&output, check).0, "ok", "{check}:\n{output}");
            }
        }
        assert!(
            row(&output, "dialect").1.trim_start().starts_with(spoken),
            "{output}"
        );
        assert!(
            row(&output, "agents").1.contains("60 active users"),
            "{output}"
        );
        assert!(row(&output, "queues").1.contains("5 queues"), "{output}");
        let statistics = organisation.statistics().await;
        assert!(statistics["requests"].as_u64() <= Some(10), "{statistics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_a_wrong_secret_and_a_missing_permission() {
    let arguments = [&SMALL[..], &["--dialect", "platform"]].concat();
    let organisation = Organisation::simulate(&arguments).await;
    let mut setup = Setup::new(&organisation);
    organisation.faults("forbidden:queues").await;
    let (code, output) = doctor(&setup, &[]).await;
    assert_eq!(code, Some(1), "{output}");
    let (verdict, rest) = row(&output, "queues");
    assert_eq!(verdict, "FAIL", "{output}");
    assert!(
        rest.contains("403") && rest.contains("the permission routing:queue:view"),
        "{output}"
    );
    assert_eq!(row(&output, "members").0, "-", "{output}");
    assert_eq!(row(&output, "agents").0, "ok", "{output}");

    // What the exporter can do without is a warning.
    organisation.faults("forbidden:details").await;
    let (code, output) = doctor(&setup, &[]).await;
    assert_eq!(code, Some(0), "{output}");
    let (verdict, rest) = row(&output, "history");
    assert_eq!(verdict, "WARN", "{output}");
    assert!(rest.contains("analytics:userDetail:view"), "{output}");
    organisation.faults("forbidden:agent-status").await;
    let (code, output) = doctor(&setup, &[]).await;
    assert_eq!(code, Some(0), "{output}");
    let (verdict, rest) = row(&output, "after-call work");
    assert_eq!(verdict, "WARN", "{output}");
    assert!(rest.contains("analytics:agentState:view"), "{output}");

    organisation.faults("none").await;
    setup.unset("source.client_secret_file");
    let wrong = [("GENESYSCLOUD_CLIENT_SECRET", "another-secret")];
    let (code, output) = doctor(&setup, &wrong).await;
    assert!(!output.contains(wrong[0].1), "{output}");
    assert_eq!(code, Some(1), "{output}");
    let (verdict, rest) = row(&output, "login");
    assert_eq!(verdict, "FAIL", "{output}");
    assert!(
        rest.contains("invalid_client")
            && rest.contains("check source.client_id, the client secret"),
        "{output}"
    );
    assert_eq!(row(&output, "agents").0, "-", "{output}");
}
