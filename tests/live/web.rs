//! The real binary behind TLS and passwords, with certificates and secrets replaced while it
//! runs.

use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};

use crate::support::exporter::{STOP_BOUND, Setup};
use crate::support::organisation::{CLIENT_SECRET, Organisation};
use crate::support::process::{Process, START_BOUND};
use crate::support::wait::wait_for;

const BOUND: Duration = Duration::from_secs(30);

const PASSWORD: &str = "web-canary-41ab90";

async fn organisation(arguments: &[&str]) -> Organisation {
    let mut all = vec!["--agents", "20", "--queues", "3", "--cache-refresh", "1s"];
    all.extend(arguments);
    Organisation::simulate(&all).await
}

/// Put in place whole, as a mounted secret is.
fn write(setup: &Setup, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = setup.directory.path().join(name);
    let aside = path.with_extension("new");
    std::fs::write(&aside, text).unwrap();
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o400)).unwrap();
    std::fs::rename(aside, path).unwrap();
}

const ENDS: &str = "genesyscloud_web_certificate_expiry_timestamp_seconds";

/// 2090-01-01T00:00:00Z in Unix seconds.
const NEW_YEAR_2090: f64 = 3_786_912_000.0;

/// A certificate of its own for loopback that ends when a year begins, written with its key. As
/// PEM.
fn certify(setup: &Setup, ends: i32) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(ends, 1, 1);
    let certificate = params.self_signed(&key).unwrap().pem();
    // The key first: until both are there, the pair does not fit, and the old one stays.
    write(setup, "key.pem", &key.serialize_pem());
    write(setup, "cert.pem", &certificate);
    certificate
}

fn client(certificate: &str) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_replaced_on_disk_is_served_and_a_wrong_pair_is_told_and_not_served() {
    let organisation = organisation(&[]).await;
    let mut setup = Setup::new(&organisation);
    setup.set("web.config_file", "web.yml");
    // Every address: nothing but TLS lets passwords through there.
    setup.set("web.listen", "[\"0.0.0.0:0\"]");
    let hash = bcrypt::hash(PASSWORD, 10).unwrap();
    let text = format!(
        "tls_server_config: {{ cert_file: cert.pem, key_file: key.pem }}\n\
         basic_auth_users: {{ prometheus: \"{hash}\" }}\n"
    );
    write(&setup, "web.yml", &text);
    let first = certify(&setup, 2090);
    let mut exporter = setup.spawn();
    let port = exporter.listening(0).await.port();
    let get = async |client: &reqwest::Client, path: &str| {
        let url = format!("https://127.0.0.1:{port}{path}");
        let request = client.get(url).basic_auth("prometheus", Some(PASSWORD));
        let answer = request.send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    };
    let old = client(&first);
    assert_eq!(get(&old, "/-/healthy").await.unwrap().0, 200);
    let url = format!("https://127.0.0.1:{port}/metrics");
    let anonymous = old.get(url).send().await.unwrap();
    assert_eq!(anonymous.status().as_u16(), 401);

    let value = async |client: &reqwest::Client, name: &str| {
        let page = get(client, "/metrics").await?.1;
        let lines = page.lines().filter_map(|line| line.strip_prefix(name));
        let mut values = lines.filter_map(|line| line.trim_start().parse::<f64>().ok());
        values.next()
    };
    let successful = async |client: &reqwest::Client| {
        value(client, "genesyscloud_config_last_reload_successful").await
    };
    let ends = async |client: &reqwest::Client| value(client, ENDS).await;
    assert_eq!(ends(&old).await, Some(NEW_YEAR_2090));
    assert_eq!(successful(&old).await, Some(1.0));
    write(
        &setup,
        "key.pem",
        &KeyPair::generate().unwrap().serialize_pem(),
    );
    wait_for("the wrong pair is told", BOUND, async || {
        (successful(&client(&first)).await == Some(0.0)).then_some(())
    })
    .await;

    let second = certify(&setup, 2091);
    wait_for("the new certificate is served", BOUND, async || {
        // A new client, so that it is a new connection.
        (successful(&client(&second)).await == Some(1.0)).then_some(())
    })
    .await;
    assert!(get(&client(&first), "/metrics").await.is_none());
    let a_year_later = NEW_YEAR_2090 + 365.0 * 86_400.0;
    assert_eq!(ends(&client(&second)).await, Some(a_year_later));
    exporter.signal("TERM");
    let (code, log) = exporter.exit(STOP_BOUND).await;
    assert_eq!(code, Some(0), "{log}");
    assert!(
        log.contains("the web configuration was not read again"),
        "{log}"
    );
    assert!(!log.contains(PASSWORD) && !log.contains(&hash), "{log}");
    organisation.assert_polite().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_in_clear_text_and_keys_that_do_not_fit_are_a_bad_configuration() {
    let organisation = organisation(&[]).await;
    let mut setup = Setup::new(&organisation);
    setup.set("web.config_file", "web.yml");
    setup.set("web.listen", "[\"0.0.0.0:0\"]");
    let refuses = async |setup: &Setup, says: &[&str]| {
        let (code, output) = setup.spawn().exit(START_BOUND).await;
        assert_eq!(code, Some(2), "{output}");
        let check = ["check", "config", "config.yml"];
        let check = Process::start("check", setup.directory.path(), &check, &[]);
        let (code, checked) = check.exit(START_BOUND).await;
        assert_eq!(code, Some(2), "{checked}");
        for words in says {
            assert!(output.contains(words), "{words:?} is not in\n{output}");
            assert!(checked.contains(words), "{words:?} is not in\n{checked}");
        }
    };
    let hash = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";
    write(
        &setup,
        "web.yml",
        &format!("basic_auth_users: {{ a: {hash} }}\nbasic: 1\n"),
    );
    let says = [
        "web.yml: basic_auth_users: passwords would cross the network in clear text, to 0.0.0.0:0",
        "web.yml:2:1: basic: unknown key",
        "2 mistakes",
    ];
    refuses(&setup, &says).await;
    certify(&setup, 2090);
    write(
        &setup,
        "key.pem",
        &KeyPair::generate().unwrap().serialize_pem(),
    );
    let text = "tls_server_config: { cert_file: cert.pem, key_file: key.pem }\n";
    write(&setup, "web.yml", text);
    refuses(
        &setup,
        &[
            "web.yml",
            "the certificate and the key cannot be used together",
        ],
    )
    .await;
}

/// Replaces the client's secret on both sides.
async fn rotate(organisation: &Organisation, directory: &Path, secret: &str) {
    let path = directory.join("secret");
    let aside = directory.join("secret.new");
    std::fs::write(&aside, secret).unwrap();
    std::fs::rename(aside, path).unwrap();
    organisation.revoke_tokens().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_replaced_on_disk_is_used_at_the_next_login() {
    let organisation = organisation(&[]).await;
    let setup = Setup::new(&organisation);
    // It starts with a secret that the platform does not know…
    let directory = setup.directory.path();
    rotate(&organisation, directory, "not-yet-known-7f00").await;
    let exporter = setup.start().await;
    wait_for("the platform refuses the credentials", BOUND, async || {
        let ready = exporter.get("/-/ready").await;
        ready.text.contains("credentials").then_some(())
    })
    .await;
    // …and gets the right one, without a restart. The login is tried again within 30 s.
    rotate(&organisation, directory, CLIENT_SECRET).await;
    wait_for(
        "the new secret is used",
        Duration::from_secs(60),
        async || (exporter.get("/-/ready").await.status == 200).then_some(()),
    )
    .await;
    // A file that is gone does not take the secret away.
    std::fs::remove_file(directory.join("secret")).unwrap();
    let logins = organisation.logins().await;
    organisation.revoke_tokens().await;
    let accepted = exporter.page().await.accepted();
    exporter
        .wait_page("it logs in and polls on", BOUND, |page| {
            page.accepted() > accepted + 2.0
        })
        .await;
    assert!(organisation.logins().await > logins);
    let log = exporter.stop().await;
    assert!(
        log.contains("the client secret was replaced on disk"),
        "{log}"
    );
    assert!(log.contains("the secret read before is used"), "{log}");
    assert!(
        !log.contains("not-yet-known") && !log.contains(CLIENT_SECRET),
        "{log}"
    );
}
