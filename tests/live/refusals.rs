//! Bad input: a message that names the thing and the remedy, and the exit code of the contract.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::support::exporter::{STOP_BOUND, Setup};
use crate::support::organisation::{CLIENT_ID, CLIENT_SECRET, Organisation};
use crate::support::process::{Process, START_BOUND};
use crate::support::wait::wait_for;

const FAILED: Option<i32> = Some(1);
const USAGE: Option<i32> = Some(2);

/// An organisation that is asked nothing, or little.
async fn idle() -> Organisation {
    Organisation::simulate(&["--agents", "20", "--queues", "3", "--cache-refresh", "1s"]).await
}

/// The exporter ends by itself, with this code, saying all of these things and no secret.
async fn assert_refuses(process: Process, code: Option<i32>, says: &[&str]) {
    let (found, output) = process.exit(START_BOUND).await;
    assert_eq!(found, code, "{output}");
    for words in says {
        assert!(output.contains(words), "{words:?} is not in\n{output}");
    }
    assert!(!output.contains("panicked"), "{output}");
    assert!(!output.contains(CLIENT_SECRET), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_the_configuration_are_named_all_at_once() {
    let organisation = idle().await;
    let mut setup = Setup::new(&organisation);
    setup
        .set("poll.intervall", "1s")
        .set("poll.timeout", "soon");
    let line = |text: &str, key: &str| {
        let found = text
            .lines()
            .position(|line| line.trim_start().starts_with(key));
        format!("config.yml:{}:", found.unwrap() + 1)
    };
    let text = setup.write();
    let (unknown, wrong) = (line(&text, "intervall"), line(&text, "timeout"));
    let says = [
        &*unknown,
        "poll.intervall: unknown key; did you mean \"interval\"?",
        &*wrong,
        "poll.timeout: \"soon\"",
        "2 mistakes",
    ];
    assert_refuses(setup.spawn(), USAGE, &says).await;

    let directory = setup.directory.path();
    let check = |name| Process::start("check", directory, &["check", "config", name], &[]);
    assert_refuses(check("config.yml"), USAGE, &says).await;
    assert_refuses(
        check("absent.yml"),
        USAGE,
        &["absent.yml", "check its name"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_is_asked_for() {
    let organisation = idle().await;
    let mut setup = Setup::new(&organisation);
    setup.unset("source.client_secret_file");
    let says = [
        "source.client_secret",
        "is missing",
        "GENESYSCLOUD_CLIENT_SECRET",
    ];
    assert_refuses(setup.spawn(), USAGE, &says).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_config_prints_what_is_in_force_without_the_secret() {
    let organisation = idle().await;
    let setup = Setup::new(&organisation);
    setup.write();
    let arguments = ["check", "config", "config.yml"];
    let check = Process::start("check", setup.directory.path(), &arguments, &[]);
    let says = ["interval: 1s", "<redacted>", "the configuration is valid"];
    assert_refuses(check, Some(0), &says).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_and_help_have_their_exit_codes() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| Process::start("exporter", directory.path(), arguments, &[]);
    assert_refuses(
        run(&["--no-such-flag"]),
        USAGE,
        &["--no-such-flag", "Usage"],
    )
    .await;
    assert_refuses(run(&["demo", "--agents", "0"]), USAGE, &["--agents"]).await;
    assert_refuses(
        run(&["demo", "--faults", "no-such"]),
        USAGE,
        &["no-such", "none"],
    )
    .await;
    assert_refuses(run(&["--help"]), Some(0), &["Usage", "Exit status"]).await;
    assert_refuses(run(&["metrics"]), Some(0), &["genesyscloud_queue_agents"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_port_is_named() {
    let organisation = idle().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut setup = Setup::new(&organisation);
    setup.set("web.listen", &format!("[\"{address}\"]"));
    assert_refuses(setup.spawn(), FAILED, &[&address, "--web.listen-address"]).await;
    assert_eq!(
        organisation.logins().await,
        0,
        "it failed before it asked anything"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_below_a_file_is_refused() {
    let organisation = idle().await;
    let mut setup = Setup::new(&organisation);
    std::fs::write(setup.directory.path().join("file"), "").unwrap();
    setup.set("store.path", "file/data");
    assert_refuses(setup.spawn(), FAILED, &["file/data", "store.path"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_on_one_data_directory_is_refused() {
    let organisation = idle().await;
    let setup = Setup::new(&organisation);
    let first = setup.start().await;
    first.wait_ready().await;
    let says = ["another instance uses the data directory", "store.path"];
    assert_refuses(setup.spawn(), FAILED, &says).await;
    assert_eq!(first.get("/-/ready").await.status, 200, "the first goes on");
    first.stop().await;
    // And the lock goes with its holder.
    let again = setup.start().await;
    again.wait_ready().await;
    again.stop().await;
    organisation.assert_polite().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused_and_left_alone() {
    let organisation = idle().await;
    let setup = Setup::new(&organisation);
    let exporter = setup.start().await;
    exporter.wait_ready().await;
    exporter.stop().await;
    let path = setup.data().join("store.db");
    let version = || -> u32 {
        let store = rusqlite::Connection::open(&path).unwrap();
        store
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap()
    };
    let store = rusqlite::Connection::open(&path).unwrap();
    store.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    let says = ["store.db", "schema 99", "store.path"];
    assert_refuses(setup.spawn(), FAILED, &says).await;
    assert_eq!(version(), 99);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_named_and_do_not_end_the_process() {
    let organisation = idle().await;
    let setup = Setup::new(&organisation);
    let wrong = "wr0ng-canary-77c1";
    let secret = setup.directory.path().join("secret");
    std::fs::remove_file(&secret).unwrap();
    std::fs::write(&secret, wrong).unwrap();
    let mut exporter = setup.start().await;
    let bound = Duration::from_secs(20);
    let why = wait_for("readiness says why", bound, async || {
        let ready = exporter.get("/-/ready").await;
        assert_eq!(ready.status, 503);
        ready.text.contains("credentials").then_some(ready.text)
    })
    .await;
    assert!(why.contains("refuses the credentials"), "{why}");
    assert!(exporter.process.runs());
    assert_eq!(exporter.get("/-/healthy").await.status, 200);
    assert_eq!(exporter.status().await["authenticated"], false);
    assert!(organisation.logins().await <= 2, "no hammer");
    exporter.process.signal("TERM");
    let (code, log) = exporter.process.exit(STOP_BOUND).await;
    assert_eq!(code, Some(0), "{log}");
    assert!(
        log.contains(CLIENT_ID) || log.contains("client_secret"),
        "names the credential:\n{log}"
    );
    assert!(!log.contains(wrong), "{log}");
}
