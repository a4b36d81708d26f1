//! Neither the client secret nor a token is in anything that leaves the process.

use std::time::Duration;

use serde_json::Value;

use crate::support::exporter::{Setup, lossy};
use crate::support::organisation::{CLIENT_ID, CLIENT_SECRET, Organisation};
use crate::support::wait::wait_for;

const BOUND: Duration = Duration::from_secs(40);

/// A fresh token that is refused is not renewed for 30 s (faults are timed from outside, so whether
/// that happens is a matter of chance); then come five cycles, and what a busy machine adds.
const RECOVERY_BOUND: Duration = Duration::from_secs(90);

/// What every token of the simulation begins with.
const TOKEN_HEAD: &str = "sim-";

const PATHS: [&str; 9] = [
    "/",
    "/metrics",
    "/-/healthy",
    "/-/ready",
    "/api/v1/status",
    "/api/v1/agents",
    "/api/v1/queues",
    "/api/v1/windows?limit=10000",
    "/api/v1/nothing",
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_leaves_the_process_holds_a_secret_with_logfmt() {
    run("logfmt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_leaves_the_process_holds_a_secret_with_json() {
    let log = run("json").await;
    for line in log.lines() {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        assert!(
            parsed.is_ok_and(|line| line.is_object()),
            "not JSON: {line}"
        );
    }
}

/// A run with trouble of each kind that touches tokens, and a search of all it left. Its log.
async fn run(format: &str) -> String {
    let arguments = ["--agents", "60", "--queues", "5", "--cache-refresh", "1s"];
    let organisation = Organisation::simulate(&arguments).await;
    // The search below is only worth something if tokens look like this.
    let form = format!(
        "grant_type=client_credentials&client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}"
    );
    let url = format!("{}/oauth/token", organisation.url);
    let login = organisation.http.send("POST", &url, &form).await.json();
    let token = login["access_token"].as_str().unwrap();
    assert!(token.starts_with(TOKEN_HEAD) && token.len() > 30, "a token");

    let mut setup = Setup::new(&organisation);
    setup.set("log.level", "debug").set("log.format", format);
    let exporter = setup.start().await;
    let before = exporter.wait_joined().await;
    let logins = organisation.logins().await;
    organisation.revoke_tokens().await;
    wait_for("the exporter logs in again", BOUND, async || {
        (organisation.logins().await > logins).then_some(())
    })
    .await;
    organisation
        .faults("http-500@0s+2s,html@2s+2s,unauthorised@4s+2s")
        .await;
    exporter
        .wait_page(
            "the exporter sees the faults and recovers",
            RECOVERY_BOUND,
            |page| {
                let failed = page.sum("genesyscloud_snapshots_total", &[("result", "failed")]);
                failed > 0.0 && page.accepted() > before.accepted() + 5.0
            },
        )
        .await;
    let mut seen: Vec<(String, String)> = Vec::new();
    for path in PATHS {
        seen.push((path.to_owned(), exporter.get(path).await.text));
    }
    let files = |setup: &Setup| -> Vec<(String, String)> {
        let named = |path: std::path::PathBuf| (path.display().to_string(), lossy(&path));
        setup.files().into_iter().map(named).collect()
    };
    // While it runs, with the write-ahead log, and after its end.
    seen.extend(files(&setup));
    seen.push((format!("the log ({format})"), exporter.stop().await));
    seen.extend(files(&setup));
    assert!(seen.iter().any(|(name, _)| name.ends_with("store.db")));
    for (name, text) in &seen {
        assert!(
            !text.contains(CLIENT_SECRET),
            "{name} holds the client secret"
        );
        assert!(!text.contains(TOKEN_HEAD), "{name} holds an access token");
    }
    let log = seen
        .into_iter()
        .find(|(name, _)| name.starts_with("the log"));
    organisation.assert_polite().await;
    log.unwrap().1
}
