//! Rows in a real PostgreSQL: true through whatever becomes of the server, and told to nobody but
//! a server that proves who it is.

use std::path::Path;
use std::time::Duration;

use genesys_cloud_exporter::clock::SystemClock;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::support::audit::{Judged, agreeing, audit};
use crate::support::cluster::Cluster;
use crate::support::exporter::{Exporter, STOP_BOUND, Setup, WINDOW_MS};
use crate::support::organisation::Organisation;
use crate::support::wait::wait_for;

/// From the last disturbance until all windows are closed.
const CLOSE_BOUND: Duration = Duration::from_secs(60);

/// Until a failure of the store is noticed, or mended: the consumer waits at most 30 s.
const NOTICE_BOUND: Duration = Duration::from_secs(60);

/// A password of a form that is found nowhere by accident.
const PASSWORD: &str = "p4ss-canary-77aa0c";

/// Has the exporter keep rows at this URL.
pub(crate) fn keep_in(setup: &mut Setup, url: &str) {
    let path = setup.directory.path().join("database");
    std::fs::write(&path, url).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    }
    setup
        .set("store.kind", "postgres")
        .set("store.url_file", "database");
}

async fn wait_failing(exporter: &Exporter) {
    exporter
        .wait_page("what cannot be stored waits", NOTICE_BOUND, |page| {
            page.sum("genesyscloud_store_errors_total", &[]) > 0.0
        })
        .await;
}

/// Rows as they are in the database, without the API in between.
fn rows_in(cluster: &Cluster, from: i64, to: i64) -> usize {
    let sql = format!(
        "SELECT count(*) FROM agent_window WHERE window_end > to_timestamp({from} / 1000.0) \
         AND window_start < to_timestamp({to} / 1000.0)"
    );
    cluster.ask("postgres", &sql).parse().unwrap()
}

/// Has an exporter end while a commit waits for a table that somebody holds.
async fn stop_while_a_commit_waits(cluster: &Cluster, exporter: Exporter) {
    let holder = cluster.hold("postgres", "agent");
    let waiting =
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'agent'::regclass";
    wait_for("a commit waits", NOTICE_BOUND, async || {
        (cluster.ask("postgres", waiting) != "0").then_some(())
    })
    .await;
    exporter.stop().await;
    drop(holder);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_true_though_the_server_is_away_at_first_killed_and_stopped() {
    let arguments = [
        "--agents",
        "100",
        "--queues",
        "6",
        "--seed",
        "74",
        "--tempo",
        "12",
        "--history",
        "3",
        "--cache-refresh",
        "1s",
    ];
    let organisation = Organisation::simulate(&arguments).await;
    let (mut setup, alone) = (Setup::new(&organisation), Setup::new(&organisation));
    let mut cluster = Cluster::prepare(&["fsync=off"]);
    keep_in(&mut setup, &cluster.url("postgres"));
    let twin = alone.start().await;
    let exporter = setup.start().await;
    exporter.wait_joined().await;
    twin.wait_joined().await;
    wait_failing(&exporter).await;
    cluster.resume();
    exporter
        .wait_page("what waited is stored", NOTICE_BOUND, |page| {
            page.sum("genesyscloud_events_total", &[("result", "stored")]) > 0.0
        })
        .await;
    let from = (SystemClock::new().now().wall.0 / WINDOW_MS + 1) * WINDOW_MS;

    let before = exporter
        .page()
        .await
        .sum("genesyscloud_store_errors_total", &[]);
    cluster.kill();
    exporter
        .wait_page("the loss of the server is noticed", NOTICE_BOUND, |page| {
            page.sum("genesyscloud_store_errors_total", &[]) > before
        })
        .await;
    cluster.resume();
    cluster.stop();
    cluster.resume();
    // Killed itself, at any instant: what it had committed and not acknowledged comes again.
    exporter.process.kill();
    let exporter = setup.start().await;
    let settled = exporter.wait_joined().await;
    let accepted = settled.value("genesyscloud_snapshot_accepted_timestamp_seconds", &[]);
    let to = ((accepted * 1_000.0) as i64 / WINDOW_MS + 3) * WINDOW_MS;
    exporter.wait_closed(to, CLOSE_BOUND).await;
    twin.wait_closed(to, CLOSE_BOUND).await;
    let rows = exporter.rows(from, to).await;
    assert_eq!(rows.len(), rows_in(&cluster, from, to));
    let findings = audit(&organisation, &rows, (from, to), Judged::Exact).await;
    findings.assert_clean("PostgreSQL");
    assert!(
        findings.share() > 0.2 && findings.changing > 5,
        "{findings:?}"
    );

    let agreeing = agreeing(&rows, &twin.rows(from, to).await);
    assert!(agreeing > 20, "only {agreeing} rows in common");
    exporter.assert_no_loss().await;
    twin.assert_no_loss().await;
    twin.stop().await;
    stop_while_a_commit_waits(&cluster, exporter).await;
    organisation.assert_polite().await;
}

/// An authority, and a certificate for `localhost` that it signed, with its key.
fn certificates() -> [String; 3] {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = KeyPair::generate().unwrap();
    let authority = CertifiedIssuer::self_signed(params, own).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    [authority.pem(), certificate.pem(), key.serialize_pem()]
}

/// A port that nobody listens on; somebody might soon, so it is asked for right before its use.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A server that only lets in who comes over TLS with a password.
fn guarded(certificate: &str, key: &str) -> (Cluster, u16) {
    let mut cluster = Cluster::prepare(&["fsync=off", "ssl=on"]);
    cluster.put("server.crt", certificate);
    cluster.put("server.key", key);
    cluster.put(
        "pg_hba.conf",
        "local all all trust\nhostssl all all all scram-sha-256\n",
    );
    cluster.resume();
    cluster.ask(
        "postgres",
        &format!("CREATE ROLE exporter LOGIN PASSWORD '{PASSWORD}'"),
    );
    cluster.ask("postgres", "CREATE DATABASE genesys OWNER exporter");
    cluster.stop();
    let port = free_port();
    cluster.listen(port);
    cluster.resume();
    (cluster, port)
}

async fn refused(setup: &Setup) -> String {
    let (code, output) = setup.spawn().exit(STOP_BOUND * 6).await;
    assert_eq!(code, Some(1), "{output}");
    assert!(!output.contains(PASSWORD), "{output}");
    output
}

fn holds(path: &Path, text: &str) -> bool {
    let bytes = std::fs::read(path).unwrap();
    bytes
        .windows(text.len())
        .any(|found| found == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_must_prove_who_it_is_and_the_password_is_told_to_nobody_else() {
    let organisation = Organisation::simulate(&["--agents", "20", "--queues", "3"]).await;
    let [authority, certificate, key] = certificates();
    let (cluster, port) = guarded(&certificate, &key);
    let mut setup = Setup::new(&organisation);
    let directory = setup.directory.path().to_owned();
    let [stranger, ..] = certificates();
    std::fs::write(directory.join("authority.pem"), authority).unwrap();
    std::fs::write(directory.join("stranger.pem"), stranger).unwrap();
    let url = |user: &str, host: &str, root: &str| {
        format!("postgresql://{user}:{PASSWORD}@{host}:{port}/genesys?sslrootcert={root}")
    };
    for (user, host, root, why) in [
        ("exporter", "localhost", "stranger.pem", "certificate"),
        ("exporter", "127.0.0.1", "authority.pem", "certificate"),
        (
            "nobody",
            "localhost",
            "authority.pem",
            "password authentication failed",
        ),
    ] {
        keep_in(&mut setup, &url(user, host, root));
        let output = refused(&setup).await;
        assert!(
            output.contains(why) && output.contains("cannot open the store"),
            "{output}"
        );
        std::fs::remove_file(directory.join("database")).unwrap();
    }
    keep_in(&mut setup, &url("exporter", "localhost", "authority.pem"));
    setup.set("log.level", "debug");
    let exporter = setup.start().await;
    exporter.wait_joined().await;
    let page = exporter.wait_page("events are stored", NOTICE_BOUND, |page| {
        page.sum("genesyscloud_events_total", &[("result", "stored")]) > 0.0
    });
    page.await;
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE ssl AND usename = 'exporter'";
    assert_ne!(cluster.ask("genesys", encrypted), "0");
    for path in ["/metrics", "/api/v1/status", "/api/v1/windows"] {
        let answer = exporter.get(path).await;
        assert!(!answer.text.contains(PASSWORD), "{path}");
    }
    let output = exporter.stop().await;
    assert!(!output.contains(PASSWORD), "{output}");
    for path in setup.files() {
        let own = path.file_name() == Some("database".as_ref());
        assert!(own || !holds(&path, PASSWORD), "{}", path.display());
    }
}
