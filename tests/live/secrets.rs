//! Canaries: neither a secret, a token nor an agent's name, e-mail or free text is in anything
//! that leaves the process.

use std::time::Duration;

use serde_json::Value;

use crate::support::exporter::{Exporter, Setup, lossy};
use crate::support::http::Http;
use crate::support::organisation::{CLIENT_ID, CLIENT_SECRET, Organisation};
use crate::support::wait::wait_for;

const BOUND: Duration = Duration::from_secs(40);

/// A fresh token that is refused is not renewed for 30 s (faults are timed from outside, so whether
/// that happens is a matter of chance); then come five cycles, and what a busy machine adds.
const RECOVERY_BOUND: Duration = Duration::from_secs(90);

/// What every token of the simulation begins with.
const TOKEN_HEAD: &str = "sim-";

/// What every agent's name begins with; its e-mail address and its note about itself hold the
/// name.
const NAME_HEAD: &str = "agent-00";

/// Where every agent's e-mail address is.
const MAIL_TAIL: &str = "@example.org";

/// What a reader says who it is.
const PASSWORD: &str = "password-canary-9d3f";

/// What makes pseudonyms.
const KEY: &str = "k3y-canary-0123456789abcdef0123456789";

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
    run("logfmt", "status").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_leaves_the_process_holds_a_secret_with_json() {
    let log = run("json", "platform").await;
    for line in log.lines() {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        assert!(
            parsed.is_ok_and(|line| line.is_object()),
            "not JSON: {line}"
        );
    }
}

/// A search is only worth something if the platform tells what is searched for.
async fn has_canaries(organisation: &Organisation) {
    let form = format!(
        "grant_type=client_credentials&client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}"
    );
    let url = format!("{}/oauth/token", organisation.url);
    let login = organisation.http.send("POST", &url, &form).await.json();
    let token = login["access_token"].as_str().unwrap();
    assert!(token.starts_with(TOKEN_HEAD) && token.len() > 30, "a token");

    let url = format!(
        "{}/api/v2/users?pageSize=100&state=active",
        organisation.url
    );
    let users = reqwest::Client::new().get(&url).bearer_auth(token).send();
    let users = users.await.unwrap().text().await.unwrap();
    assert!(
        users.contains(NAME_HEAD) && users.contains(MAIL_TAIL),
        "{users}"
    );
}

/// Passwords for readers, pseudonyms for agents.
fn protect(setup: &mut Setup) {
    let hash = bcrypt::hash(PASSWORD, 10).unwrap();
    let users = format!("basic_auth_users: {{ reader: \"{hash}\" }}\n");
    for (name, text) in [("key", KEY), ("web.yml", &users)] {
        std::fs::write(setup.directory.path().join(name), text).unwrap();
    }
    setup
        .set("web.config_file", "web.yml")
        .set("web.enable_lifecycle", "true")
        .set("metrics.per_agent", "pseudonym")
        .set("metrics.pseudonym_key_file", "key");
}

/// Failures of each kind that touches tokens, and the recovery.
async fn trouble(organisation: &Organisation, exporter: &Exporter, accepted: f64) {
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
                failed > 0.0 && page.accepted() > accepted + 5.0
            },
        )
        .await;
}

/// Once as it is, once with a mistake that holds a secret.
async fn reloads(setup: &Setup, exporter: &Exporter) -> Vec<(String, String)> {
    let url = format!("{}/-/reload", exporter.url);
    let mut seen = Vec::new();
    let mistake = format!("source: {{ client_secret: {KEY} }}\n");
    for (text, status) in [("", 200), (mistake.as_str(), 500)] {
        let path = setup.directory.path().join("config.yml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, config + text).unwrap();
        let answer = exporter.http.send("POST", &url, "").await;
        assert_eq!(answer.status, status, "{}", answer.text);
        seen.push((format!("a reload: {status}"), answer.text));
    }
    seen
}

fn assert_no_canary(seen: &[(String, String)]) {
    for (name, text) in seen {
        for (canary, what) in [
            (CLIENT_SECRET, "the client secret"),
            (TOKEN_HEAD, "an access token"),
            (PASSWORD, "a reader's password"),
            (KEY, "the key of pseudonyms"),
            (NAME_HEAD, "an agent's name"),
            (MAIL_TAIL, "an agent's e-mail address"),
        ] {
            // The files that hold what they are made for.
            let own = ["key", "config.yml"]
                .iter()
                .any(|file| name.ends_with(file));
            assert!(own || !text.contains(canary), "{name} holds {what}");
        }
    }
}

/// Every file of a run, and what it holds.
fn files(setup: &Setup) -> Vec<(String, String)> {
    let named = |path: std::path::PathBuf| (path.display().to_string(), lossy(&path));
    setup.files().into_iter().map(named).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_asked_for_are_label_values_and_nothing_else() {
    for dialect in ["status", "platform"] {
        let arguments = ["--agents", "60", "--queues", "5", "--dialect", dialect];
        let organisation = Organisation::simulate(&arguments).await;
        has_canaries(&organisation).await;
        let mut setup = Setup::new(&organisation);
        setup
            .set("log.level", "debug")
            .set("metrics.per_agent", "name");
        let exporter = setup.start().await;
        exporter.wait_joined().await;
        let page = exporter.wait_page("agents have series", BOUND, |page| {
            page.all("genesyscloud_agent_state").count() == 60 * 5
        });
        for (labels, _) in page.await.all("genesyscloud_agent_state") {
            assert!(labels["agent"].starts_with(NAME_HEAD), "{labels:?}");
        }
        let mut seen = files(&setup);
        for path in PATHS.iter().filter(|path| **path != "/metrics") {
            seen.push(((*path).to_owned(), exporter.get(path).await.text));
        }
        seen.push(("the log".to_owned(), exporter.stop().await));
        seen.extend(files(&setup));
        assert_no_canary(&seen);
    }
}

/// A run with trouble of each kind that touches tokens, and a search of all it left. Its log.
async fn run(format: &str, dialect: &str) -> String {
    let mut arguments = vec!["--agents", "60", "--queues", "5", "--cache-refresh", "1s"];
    arguments.extend(["--dialect", dialect]);
    let organisation = Organisation::simulate(&arguments).await;
    has_canaries(&organisation).await;
    let mut setup = Setup::new(&organisation);
    setup.set("log.level", "debug").set("log.format", format);
    protect(&mut setup);
    let mut exporter = setup.start().await;
    // Refused requests leave a line in the log, and must leave no more.
    let wrong = format!("{PASSWORD}-wrong");
    let stranger = Http::signed_in("reader", &wrong);
    let refused = stranger.get(&format!("{}/metrics", exporter.url)).await;
    assert_eq!(refused.status, 401);
    exporter.http = Http::signed_in("reader", PASSWORD);
    let before = exporter.wait_joined().await;
    trouble(&organisation, &exporter, before.accepted()).await;
    let mut seen = vec![("a refusal".to_owned(), refused.text)];
    seen.extend(reloads(&setup, &exporter).await);
    for path in PATHS {
        seen.push((path.to_owned(), exporter.get(path).await.text));
    }
    assert!(
        seen.iter()
            .any(|(path, text)| path == "/metrics" && text.contains("agent=\"")),
        "agents have series"
    );
    // While it runs, with the write-ahead log, and after its end.
    seen.extend(files(&setup));
    seen.push((format!("the log ({format})"), exporter.stop().await));
    seen.extend(files(&setup));
    assert!(seen.iter().any(|(name, _)| name.ends_with("store.db")));
    assert_no_canary(&seen);
    let log = seen
        .into_iter()
        .find(|(name, _)| name.starts_with("the log"));
    organisation.assert_polite().await;
    log.unwrap().1
}
