//! Files of the shared format: what is taken, and every mistake by its line.

use super::*;

const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

fn read_text(text: &str, listen: &str) -> (Result<WebFile, String>, Vec<String>) {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in [("web.yml", text), ("cert.pem", "cert"), ("key.pem", "key")] {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    }
    let mut warnings = Vec::new();
    let listen: Vec<SocketAddr> = vec![listen.parse().unwrap()];
    let path = directory.path().join("web.yml");
    let read = read(&path, &listen, &mut warnings, &mut Vec::new());
    let folder = format!("{}/", directory.path().display());
    let plain = |finding: &Finding| finding.to_string().replace(&folder, "");
    let read = read.map_err(|error| {
        let lines: Vec<String> = error.mistakes.iter().map(plain).collect();
        lines.join("\n")
    });
    (read, warnings.iter().map(plain).collect())
}

#[test]
fn a_file_as_other_exporters_have_it_is_taken_whole() {
    let text = format!(
        "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n  client_ca_file: cert.pem\n  \
         client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [prometheus.example]\n  \
         min_version: TLS13\n  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n  \
         curve_preferences: [CurveP384, X25519]\n  prefer_server_cipher_suites: false\n\
         http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n    \
         Strict-Transport-Security: max-age=31536000\n    X-XSS-Protection: \"\"\n\
         basic_auth_users:\n  alice: {HASH}\nrate_limit: {{ interval: 1s, burst: 20 }}\n"
    );
    let (file, warnings) = read_text(&text, "0.0.0.0:10095");
    let file = file.unwrap();
    assert_eq!(warnings, [""; 0]);
    let tls = file.tls.unwrap();
    assert_eq!(secrecy::ExposeSecret::expose_secret(&tls.key), "key");
    assert_eq!(tls.client_auth, ClientAuth::Required);
    assert_eq!((tls.min, tls.max), (TlsVersion::Tls13, TlsVersion::Tls13));
    let suites = tls.suites.unwrap();
    assert_eq!(suites, [Suite("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")]);
    assert_eq!(tls.curves, [Curve("CurveP384"), Curve("X25519")]);
    assert!(!tls.server_order);
    assert_eq!(file.headers.len(), 2, "a blank header is none");
    assert_eq!(file.users["alice"].cost(), 10);
    let rate = RateLimit {
        interval: Millis(1_000),
        burst: 20,
    };
    assert_eq!(file.rate_limit, Some(rate));
}

#[test]
fn nothing_is_a_file_that_protects_nothing() {
    for text in [
        "",
        "# nothing\n",
        "basic_auth_users:\n",
        "tls_server_config: {}\n",
    ] {
        let (file, warnings) = read_text(text, "0.0.0.0:1");
        let file = file.unwrap();
        assert!(file.tls.is_none() && file.users.is_empty(), "{text:?}");
        assert!(warnings.is_empty());
    }
}

/// Texts, and what is said of each.
const BAD: [(&str, &str); 21] = [
    (
        "tls_server_confg: {}\n",
        "web.yml:1:1: tls_server_confg: unknown key; did you mean \"tls_server_config\"?",
    ),
    ("- a\n", "must be a mapping"),
    ("a: [\n", "this is not the YAML that was expected"),
    (
        "tls_server_config: { cert_file: cert.pem }\n",
        "tls_server_config.key_file: key_file is missing",
    ),
    (
        "tls_server_config: { cert_file: gone.pem, key_file: key.pem }\n",
        "gone.pem\" cannot be read",
    ),
    (
        "tls_server_config: { cert_file: cert.pem, key_file: key.pem, cert: x }\n",
        "cert and cert_file are both given",
    ),
    (
        "tls_server_config: { cert_file: cert.pem, key_file: key.pem, min_version: TLS10 }\n",
        "\"TLS10\" is not spoken",
    ),
    (
        "tls_server_config: { cert_file: cert.pem, key_file: key.pem, min_version: TLS13, max_version: TLS12 }\n",
        "is older than min_version",
    ),
    (
        "tls_server_config: { cert_file: cert.pem, key_file: key.pem, cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA] }\n",
        "\"TLS_RSA_WITH_AES_128_CBC_SHA\" is not offered",
    ),
    (
        "tls_server_config: { cert_file: cert.pem, key_file: key.pem, curve_preferences: [CurveP521] }\n",
        "\"CurveP521\" is not offered",
    ),
    (
        "tls_server_config: { cert_file: cert.pem, key_file: key.pem, client_auth_type: RequireAnyClientCert }\n",
        "does not verify them; write RequireAndVerifyClientCert",
    ),
    (
        "tls_server_config: { cert_file: cert.pem, key_file: key.pem, client_auth_type: RequireAndVerifyClientCert }\n",
        "there is no CA; name it in client_ca_file",
    ),
    (
        "tls_server_config: { cert_file: cert.pem, key_file: key.pem, client_ca_file: cert.pem }\n",
        "a CA for clients, and no client_auth_type",
    ),
    (
        "tls_server_config: { cert_file: cert.pem, key_file: key.pem, client_ca_file: cert.pem, client_auth_type: VerifyClientCertIfGiven, client_allowed_sans: [a] }\n",
        "has no name to be on the list",
    ),
    (
        "http_server_config: { headers: { X-Frame-Options: maybe } }\n",
        "\"maybe\" is not allowed; allowed: deny, sameorigin",
    ),
    (
        "http_server_config: { headers: { Server: x } }\n",
        "http_server_config.headers.Server: unknown key",
    ),
    (
        "http_server_config: { http2: perhaps }\n",
        "is neither true nor false",
    ),
    (
        "basic_auth_users: { alice: hunter2-in-clear }\n",
        "basic_auth_users.alice: this is not a bcrypt hash",
    ),
    (
        "basic_auth_users: { alice: $2y$18$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG }\n",
        "the cost 18 would keep a core busy",
    ),
    (
        "rate_limit: { interval: soon, burst: 0 }\n",
        "rate_limit.interval: \"soon\" is not a duration",
    ),
    (
        "rate_limit: { interval: 1s, burst: 0 }\n",
        "\"0\" is not a number of requests",
    ),
];

#[test]
fn every_mistake_has_its_place_and_its_remedy_and_shows_no_secret() {
    for (text, says) in BAD {
        let (read, _) = read_text(text, "127.0.0.1:1");
        let error = read.expect_err(text);
        assert!(error.contains(says), "{text}: {error}");
        assert!(error.contains("web.yml") && error.contains("; "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let all: String = BAD[14..18]
        .iter()
        .map(|(text, _)| text.replace("http_server_config", "x"))
        .collect();
    let (read, _) = read_text(&all, "127.0.0.1:1");
    assert!(
        read.expect_err("mistakes").lines().count() >= 2,
        "all at once"
    );
}

#[test]
fn passwords_in_clear_text_are_for_loopback_alone() {
    let text = format!("basic_auth_users: {{ alice: {HASH} }}\n");
    for (listen, fine) in [
        ("127.0.0.1:10095", true),
        ("[::1]:10095", true),
        ("[::ffff:127.0.0.1]:10095", true),
        ("0.0.0.0:10095", false),
        ("[::]:10095", false),
        ("192.0.2.1:10095", false),
    ] {
        let (read, _) = read_text(&text, listen);
        assert_eq!(read.is_ok(), fine, "{listen}");
        if let Err(error) = read {
            assert!(
                error.contains(listen) && error.contains("clear text"),
                "{error}"
            );
            assert!(error.contains("add tls_server_config, or listen on loopback only"));
        }
    }
}

#[test]
fn what_is_weak_is_warned_of() {
    let text = format!(
        "http_server_config: {{ http2: true }}\nbasic_auth_users: {{ bob: {} }}\n",
        HASH.replace("$10$", "$08$")
    );
    let (read, warnings) = read_text(&text, "127.0.0.1:1");
    assert!(read.is_ok());
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("HTTP/2 is not offered"));
    assert!(warnings[1].contains("the cost 8 is guessed quickly"));
}
