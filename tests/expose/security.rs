//! Who may read: TLS, client certificates, passwords, headers, rates; certificates replaced
//! while it serves.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use genesys_cloud_exporter::expose::{Access, AccessError, Front, Limits, ReloadAsk};
use genesys_cloud_exporter::model::time::UnixMillis;
use genesys_cloud_exporter::store::WindowPage;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{Answer, BOUND, Server, parse, start_behind, to_end};
use crate::view;

/// Every path that there is, and one that there is not.
const PATHS: [&str; 11] = [
    "/",
    "/metrics",
    "/-/healthy",
    "/-/ready",
    "/-/reload",
    "/api/v1/status",
    "/api/v1/agents",
    "/api/v1/agents/agent-0001",
    "/api/v1/queues",
    "/api/v1/windows",
    "/api/v1/nothing",
];

/// When the tests' certificates are read.
const NOW: UnixMillis = UnixMillis(1_764_000_000_000);

/// `secret` at the lowest cost that is not warned of.
fn hash() -> String {
    bcrypt::hash("secret", 10).unwrap()
}

fn basic(text: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    format!("Authorization: Basic {encoded}\r\n")
}

/// A configuration that serves the installed pair.
const TLS: &str = "tls_server_config: { cert_file: cert.pem, key_file: key.pem }\n";

/// A certificate authority and a directory for what it signs.
struct Keys {
    directory: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Keys {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let keys = Self {
            directory: tempfile::tempdir().unwrap(),
            authority: CertifiedIssuer::self_signed(params, key).unwrap(),
        };
        keys.write("ca.pem", &keys.authority.pem());
        keys
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// As a mounted secret is replaced: written aside, then put in place whole.
    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let aside = self.path(&format!("{name}.new"));
        std::fs::write(&aside, text).unwrap();
        std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o400)).unwrap();
        std::fs::rename(&aside, self.path(name)).unwrap();
    }

    /// Certificate and key for these names, as PEM.
    fn issue(&self, names: Vec<SanType>) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names = names;
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn server_pair(&self) -> (String, String) {
        self.issue(vec![SanType::DnsName("localhost".try_into().unwrap())])
    }

    /// A pair for the server, written where the configurations of these tests look for it.
    fn install_pair(&self) -> (String, String) {
        let pair = self.server_pair();
        self.write("cert.pem", &pair.0);
        self.write("key.pem", &pair.1);
        pair
    }

    /// A client that trusts the authority, and shows who it is if it has a pair.
    fn client(&self, pair: Option<&(String, String)>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        let pem = self.authority.pem();
        roots
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match pair {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

fn open(path: &Path) -> Result<Access, AccessError> {
    let listen: SocketAddr = "0.0.0.0:10095".parse().unwrap();
    Access::open(Some(path), &[listen], NOW).map(|(access, _)| access)
}

async fn serve(access: Access, limits: Limits) -> (Server, Arc<Access>) {
    let (access, front) = front(access, None);
    let server = start_behind(front, limits, |_| Ok(WindowPage::default())).await;
    server.pages.publish(Arc::new(view::small()));
    (server, access)
}

fn front(access: Access, reload: Option<mpsc::Sender<ReloadAsk>>) -> (Arc<Access>, Front) {
    let access = Arc::new(access);
    let front = Front {
        telemetry_path: "/metrics".to_owned(),
        access: Arc::clone(&access),
        reload,
    };
    (access, front)
}

async fn connect(server: &Server, client: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    client.connect(name, server.connect().await).await
}

/// One request over TLS; `None` if there is no answer.
async fn ask(server: &Server, client: &TlsConnector, path: &str, headers: &str) -> Option<Answer> {
    let mut stream = connect(server, client).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    // With TLS 1.3 a refused certificate shows only now, or with the answer.
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut raw = Vec::new();
    let read = timeout(BOUND, stream.read_to_end(&mut raw))
        .await
        .expect("in time");
    drop(read);
    (!raw.is_empty()).then(|| parse(&raw))
}

#[tokio::test]
async fn every_path_is_behind_the_same_password() {
    let keys = Keys::new();
    let text = format!(
        "basic_auth_users: {{ alice: \"{}\" }}\nhttp_server_config:\n  headers:\n    \
         Strict-Transport-Security: max-age=60\n    Content-Security-Policy: default-src *\n",
        hash()
    );
    keys.write("web.yml", &text);
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let (access, warnings) = Access::open(Some(&keys.path("web.yml")), &[loopback], NOW).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let (server, _) = serve(access, Limits::default()).await;
    for path in PATHS {
        for wrong in [
            "",
            "Authorization: Bearer x\r\n",
            &*basic("alice:wrong"),
            &*basic("bob:secret"),
        ] {
            let refused = server.ask("GET", path, wrong).await;
            assert_eq!(refused.status, 401, "{path} {wrong}");
            assert_eq!(refused.json()["error"]["code"], "unauthorized");
            let challenge = refused.header("www-authenticate").unwrap();
            assert!(challenge.starts_with("Basic realm="), "{challenge}");
            assert_eq!(
                refused.header("strict-transport-security"),
                Some("max-age=60")
            );
            if path == "/metrics" {
                continue;
            }
            // One path pays for the comparisons of all.
            break;
        }
        let right = server.ask("GET", path, &basic("alice:secret")).await;
        assert_ne!(right.status, 401, "{path}");
        assert_eq!(
            right.header("strict-transport-security"),
            Some("max-age=60")
        );
        assert_eq!(right.header("x-content-type-options"), Some("nosniff"));
    }
    let page = server.ask("GET", "/", &basic("alice:secret")).await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        !policy.contains('*'),
        "a page's own policy is stricter: {policy}"
    );
    let post = server
        .ask("POST", "/metrics", "Content-Length: 0\r\n")
        .await;
    assert_eq!(post.status, 401);
}

#[tokio::test]
async fn a_flood_of_guesses_is_turned_away_and_who_is_known_still_reads() {
    let keys = Keys::new();
    keys.write(
        "web.yml",
        &format!("basic_auth_users: {{ alice: \"{}\" }}\n", hash()),
    );
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let (access, _) = Access::open(Some(&keys.path("web.yml")), &[loopback], NOW).unwrap();
    let (server, _) = serve(access, Limits::default()).await;
    let right = basic("alice:secret");
    assert_eq!(server.ask("GET", "/metrics", &right).await.status, 200);
    let guesses: Vec<String> = (0..60)
        .map(|n| basic(&format!("alice:guess-{n}")))
        .collect();
    let flood = guesses
        .iter()
        .map(|guess| server.ask("GET", "/metrics", guess));
    let flood = futures_util::future::join_all(flood);
    let scrapes = async {
        for _ in 0..20 {
            assert_eq!(server.ask("GET", "/metrics", &right).await.status, 200);
        }
    };
    let (answers, ()) = tokio::join!(flood, scrapes);
    let turned_away = answers.iter().filter(|answer| answer.status == 429).count();
    let refused = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(turned_away + refused, 60);
    assert!(turned_away >= 20 && refused >= 1, "{turned_away} {refused}");
    let away = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(away.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn requests_above_the_rate_limit_are_told_to_come_again() {
    let keys = Keys::new();
    keys.write("web.yml", "rate_limit: { interval: 1h, burst: 2 }\n");
    let (server, _) = serve(open(&keys.path("web.yml")).unwrap(), Limits::default()).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(server.get("/metrics").await.status);
    }
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test]
async fn a_new_certificate_holds_at_once_and_a_pair_that_does_not_fit_changes_nothing() {
    let keys = Keys::new();
    let first = keys.install_pair();
    keys.write("web.yml", TLS);
    let (server, access) = serve(open(&keys.path("web.yml")).unwrap(), Limits::default()).await;
    let client = keys.client(None);
    let shown = async || -> String {
        let stream = connect(&server, &client).await.unwrap();
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        format!("{:?}", chain[0])
    };
    let of = |pem: &str| {
        format!(
            "{:?}",
            CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
        )
    };
    assert_eq!(
        ask(&server, &client, "/metrics", "").await.unwrap().status,
        200
    );
    assert_eq!(shown().await, of(&first.0));
    assert!(access.refresh(NOW).is_none(), "nothing has changed");

    // The new certificate, and still the old key.
    let second = keys.server_pair();
    keys.write("cert.pem", &second.0);
    let error = access.refresh(NOW).expect("it has changed").unwrap_err();
    let text = genesys_cloud_exporter::model::error::chain(&error);
    assert!(text.contains("cannot be used together"), "{text}");
    assert_eq!(shown().await, of(&first.0));
    assert!(access.refresh(NOW).is_none(), "it is not tried every time");

    keys.write("key.pem", &second.1);
    assert!(access.refresh(NOW).expect("it has changed").is_ok());
    assert_eq!(shown().await, of(&second.0));

    // A file that is named, and comes only later.
    keys.write(
        "web.yml",
        "tls_server_config: { cert_file: late.pem, key_file: key.pem }\n",
    );
    assert!(access.refresh(NOW).expect("it has changed").is_err());
    keys.write("late.pem", &second.0);
    assert!(access.refresh(NOW).expect("it has come").is_ok());
    keys.write("web.yml", "tls_server_config: {\n");
    assert!(access.refresh(NOW).expect("it has changed").is_err());
    assert_eq!(
        ask(&server, &client, "/metrics", "").await.unwrap().status,
        200
    );
}

#[tokio::test]
async fn only_a_client_with_a_good_certificate_and_a_name_on_the_list_may_read() {
    let keys = Keys::new();
    keys.install_pair();
    keys.write(
        "web.yml",
        "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n  client_ca_file: ca.pem\n  \
         client_auth_type: RequireAndVerifyClientCert\n  \
         client_allowed_sans: [prometheus.example, 192.0.2.7, \"spiffe://example/prometheus\"]\n",
    );
    let (server, _) = serve(open(&keys.path("web.yml")).unwrap(), Limits::default()).await;
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let address = SanType::IpAddress("192.0.2.7".parse().unwrap());
    let uri = SanType::URI("spiffe://example/prometheus".try_into().unwrap());
    let mail = SanType::Rfc822Name("prometheus@example".try_into().unwrap());
    for (names, may) in [
        (vec![dns("other.example"), dns("prometheus.example")], true),
        (vec![address], true),
        (vec![uri], true),
        (vec![mail], false),
        (vec![dns("other.example")], false),
        (vec![], false),
    ] {
        let shown = format!("{names:?}");
        let client = keys.client(Some(&keys.issue(names)));
        let answer = ask(&server, &client, "/metrics", "").await;
        assert_eq!(
            answer.map(|answer| answer.status),
            may.then_some(200),
            "{shown}"
        );
    }
    let nobody = ask(&server, &keys.client(None), "/metrics", "").await;
    assert!(nobody.is_none(), "no certificate, no answer");
    let stranger = Keys::new().issue(vec![dns("prometheus.example")]);
    let stranger = ask(&server, &keys.client(Some(&stranger)), "/metrics", "").await;
    assert!(
        stranger.is_none(),
        "a certificate of somebody else's authority"
    );
}

#[tokio::test]
async fn old_versions_and_clear_text_get_no_answer_over_tls() {
    let keys = Keys::new();
    keys.install_pair();
    keys.write(
        "web.yml",
        "tls_server_config: { cert_file: cert.pem, key_file: key.pem, min_version: TLS13, \
         curve_preferences: [CurveP384] }\n",
    );
    let limits = Limits {
        handshake: Duration::from_millis(150),
        ..Limits::default()
    };
    let (server, _) = serve(open(&keys.path("web.yml")).unwrap(), limits).await;
    let clear = server.connect().await;
    let mut clear = clear;
    clear
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    assert!(!to_end(&mut clear).await.starts_with(b"HTTP/"));
    // Half a handshake, and none at all.
    for begin in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut slow = server.connect().await;
        slow.write_all(begin).await.unwrap();
        assert!(to_end(&mut slow).await.is_empty(), "closed in time");
    }
    let stream = connect(&server, &keys.client(None)).await.unwrap();
    let session = stream.get_ref().1;
    assert_eq!(
        session.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    let group = session.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), rustls::NamedGroup::secp384r1);
}

#[tokio::test]
async fn slow_heads_and_readers_that_stall_are_cut_off_under_tls_too() {
    let keys = Keys::new();
    keys.install_pair();
    keys.write("web.yml", TLS);
    let limits = Limits {
        head_wait: Duration::from_millis(150),
        write_stall: Duration::from_millis(300),
        scrapes: 1,
        ..Limits::default()
    };
    let (server, _) = serve(open(&keys.path("web.yml")).unwrap(), limits).await;
    server.pages.publish(Arc::new(view::large(8_000)));
    let client = keys.client(None);
    for begin in ["", "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow:"] {
        let mut stream = connect(&server, &client).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let read = timeout(BOUND, stream.read_to_end(&mut rest))
            .await
            .expect("closed in time");
        drop(read);
        assert!(rest.is_empty(), "{begin:?}");
    }
    let mut slow = connect(&server, &client).await.unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut begin = [0; 15];
    slow.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200 OK");
    timeout(BOUND, async {
        while ask(&server, &client, "/metrics", "").await.unwrap().status != 200 {}
    })
    .await
    .expect("the place is given back once the reader that stalls is cut");
}

#[tokio::test]
async fn a_reload_is_asked_for_by_post_and_only_where_it_is_allowed() {
    let server = start_behind(Front::open("/metrics").unwrap(), Limits::default(), |_| {
        Ok(WindowPage::default())
    })
    .await;
    let empty = "Content-Length: 0\r\n";
    let off = server.ask("POST", "/-/reload", empty).await;
    assert_eq!(
        (off.status, &off.json()["error"]["code"]),
        (403, &"forbidden".into())
    );
    assert!(
        off.text().contains("--web.enable-lifecycle"),
        "{}",
        off.text()
    );

    let (asks, mut asked) = mpsc::channel::<ReloadAsk>(1);
    let (access, _) = Access::open(None, &[], NOW).unwrap();
    let (_, front) = front(access, Some(asks));
    let server = start_behind(front, Limits::default(), |_| Ok(WindowPage::default())).await;
    tokio::spawn(async move {
        let outcomes = [Ok("reloaded".to_owned()), Err("c.yml:3: no".to_owned())];
        for outcome in outcomes {
            asked.recv().await.unwrap().send(outcome).unwrap();
        }
    });
    let get = server.get("/-/reload").await;
    assert_eq!((get.status, get.header("allow")), (405, Some("POST, PUT")));
    let foreign = format!("{empty}Sec-Fetch-Site: cross-site\r\n");
    assert_eq!(server.ask("POST", "/-/reload", &foreign).await.status, 403);
    let fine = server.ask("POST", "/-/reload", empty).await;
    assert_eq!((fine.status, fine.text().as_str()), (200, "reloaded\n"));
    let refused = server.ask("PUT", "/-/reload", empty).await;
    assert_eq!(refused.status, 500);
    assert_eq!(refused.json()["error"]["message"], "c.yml:3: no");
}
