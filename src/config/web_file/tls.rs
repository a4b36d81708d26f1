//! `tls_server_config`: the shared format's words, as far as rustls has what they name.
//!
//! What it has not (TLS before 1.2, suites without forward secrecy, P-521, certificates that
//! are asked for and not verified) is refused by name: a server must not be less strict, or
//! open to fewer clients, than its file says.

use secrecy::SecretString;
use serde_saphyr::Spanned;

use super::super::finding::Refusal;
use super::super::yaml::Node;
use super::tree::{Entries, Tree};

const SECTION: &str = "tls_server_config";

/// TLS, as the file asks for it.
#[derive(Debug, Clone)]
pub struct TlsFile {
    /// Certificate chain, PEM.
    pub certificate: SecretString,
    /// Its key, PEM.
    pub key: SecretString,
    /// CAs of client certificates, PEM.
    pub client_ca: Option<SecretString>,
    /// Whether clients must have a certificate.
    pub client_auth: ClientAuth,
    /// Names of which a client's certificate must have one; empty: any.
    pub allowed_sans: Vec<String>,
    /// Oldest version.
    pub min: TlsVersion,
    /// Newest version.
    pub max: TlsVersion,
    /// Suites of TLS 1.2; `None`: all. Those of 1.3 are always on.
    pub suites: Option<Vec<Suite>>,
    /// Key exchange groups in order of preference; empty: all.
    pub curves: Vec<Curve>,
    /// Whether the server's order of suites wins over the client's.
    pub server_order: bool,
}

/// `client_auth_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Clients are not asked.
    None,
    /// A certificate that is shown must be good.
    VerifyIfGiven,
    /// A good certificate must be shown.
    Required,
}

/// A version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// A suite of TLS 1.2, by its name in the shared format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suite(pub &'static str);

/// A key exchange group, by its name in the shared format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Curve(pub &'static str);

/// Suites of TLS 1.2 that rustls has.
const SUITES: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Suites of TLS 1.3: always on, so naming them changes nothing.
const SUITES_13: [&str; 3] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];

/// Key exchange groups that ring has.
const CURVES: [&str; 3] = ["X25519", "CurveP256", "CurveP384"];

const KEYS: [&str; 14] = [
    "cert",
    "key",
    "client_ca",
    "cert_file",
    "key_file",
    "client_auth_type",
    "client_ca_file",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
    "prefer_server_cipher_suites",
    "curve_preferences",
    // Windows' certificate store; known, so that its refusal can say why.
    "windows_certificate_filter",
];

impl Tree<'_> {
    /// `None` if there is no TLS, or if what is said of it is wrong.
    pub(super) fn tls(&mut self, node: &Spanned<Node>) -> Option<TlsFile> {
        let entries = self.entries(SECTION, node, &KEYS);
        if entries.is_empty() {
            return None;
        }
        if let Some(node) = entries.get("windows_certificate_filter") {
            let refusal =
                Refusal::new("there is no such store here", "give cert_file and key_file");
            self.refuse(node, &path("windows_certificate_filter"), refusal);
        }
        let certificate = self.pem(SECTION, &entries, "cert", "cert_file", false);
        let key = self.pem(SECTION, &entries, "key", "key_file", true);
        let client_ca = self.pem(SECTION, &entries, "client_ca", "client_ca_file", false);
        for (inline, file) in [("cert", "cert_file"), ("key", "key_file")] {
            if !entries.contains_key(inline) && !entries.contains_key(file) {
                let what = format!("{file} is missing");
                let hint = "TLS needs a certificate and its key; remove the section for clear text";
                self.refuse(node, &path(file), Refusal::new(what, hint));
            }
        }
        let (client_auth, allowed_sans) = self.clients(node, &entries, client_ca.is_some());
        let (min, max) = self.versions(&entries);
        let suites = self.suites(&entries);
        let curves = self.curves(&entries);
        let server_order = match entries.get("prefer_server_cipher_suites") {
            Some(node) => self.switch(&path("prefer_server_cipher_suites"), node)?,
            None => true,
        };
        Some(TlsFile {
            certificate: certificate?,
            key: key?,
            client_ca,
            client_auth,
            allowed_sans,
            min,
            max,
            suites,
            curves,
            server_order,
        })
    }

    fn clients(
        &mut self,
        section: &Spanned<Node>,
        entries: &Entries<'_>,
        ca: bool,
    ) -> (ClientAuth, Vec<String>) {
        let key = path("client_auth_type");
        let mut auth = ClientAuth::None;
        if let Some(node) = entries.get("client_auth_type") {
            let word = self.text(&key, node).unwrap_or_default();
            let known = match word.as_str() {
                "" | "NoClientCert" => Ok(ClientAuth::None),
                "VerifyClientCertIfGiven" => Ok(ClientAuth::VerifyIfGiven),
                "RequireAndVerifyClientCert" => Ok(ClientAuth::Required),
                "RequestClientCert" | "RequireAnyClientCert" => Err(Refusal::value(
                    &word,
                    "asks for certificates and does not verify them",
                    "write RequireAndVerifyClientCert",
                )),
                _ => Err(Refusal::value(
                    &word,
                    "is not a way to treat clients",
                    "write NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert",
                )),
            };
            auth = self.valid(&key, node, known).unwrap_or(auth);
        }
        let named = entries.contains_key("client_ca") || entries.contains_key("client_ca_file");
        if auth != ClientAuth::None && !ca && !named {
            let what = "clients' certificates are to be verified, and there is no CA";
            let refusal = Refusal::new(what, "name it in client_ca_file");
            self.refuse(section, &path("client_ca_file"), refusal);
        }
        if auth == ClientAuth::None && named && !entries.contains_key("client_auth_type") {
            let what = "there is a CA for clients, and no client_auth_type";
            let refusal = Refusal::new(what, "write RequireAndVerifyClientCert, or remove the CA");
            self.refuse(section, &key, refusal);
        }
        let mut sans = Vec::new();
        if let Some(node) = entries.get("client_allowed_sans") {
            let key = path("client_allowed_sans");
            let listed = self.list(&key, node);
            sans.extend(listed.into_iter().map(|(text, _)| text));
            if auth != ClientAuth::Required && !sans.is_empty() {
                let what = "a client without a certificate has no name to be on the list";
                let hint = "set client_auth_type: RequireAndVerifyClientCert";
                self.refuse(node, &key, Refusal::new(what, hint));
            }
        }
        (auth, sans)
    }

    fn versions(&mut self, entries: &Entries<'_>) -> (TlsVersion, TlsVersion) {
        let mut version = |key: &'static str, default| {
            let Some(node) = entries.get(key) else {
                return default;
            };
            let word = self.text(&path(key), node).unwrap_or_default();
            let known = match word.as_str() {
                "TLS12" => Ok(TlsVersion::Tls12),
                "TLS13" => Ok(TlsVersion::Tls13),
                "TLS10" | "TLS11" => Err(Refusal::value(
                    &word,
                    "is not spoken: it is broken",
                    "write TLS12 or TLS13",
                )),
                _ => Err(Refusal::value(
                    &word,
                    "is no version",
                    "write TLS12 or TLS13",
                )),
            };
            self.valid(&path(key), node, known).unwrap_or(default)
        };
        let min = version("min_version", TlsVersion::Tls12);
        let max = version("max_version", TlsVersion::Tls13);
        if let Some(node) = entries.get("max_version").filter(|_| min > max) {
            let refusal = Refusal::new("is older than min_version", "change one of the two");
            self.refuse(node, &path("max_version"), refusal);
        }
        (min, max)
    }

    fn suites(&mut self, entries: &Entries<'_>) -> Option<Vec<Suite>> {
        let node = entries.get("cipher_suites")?;
        let key = path("cipher_suites");
        let mut suites = Vec::new();
        for (word, node) in self.list(&key, node) {
            if let Some(suite) = SUITES.iter().find(|suite| **suite == word) {
                suites.push(Suite(suite));
            } else if !SUITES_13.contains(&&*word) {
                let hint = format!("choose from {}", SUITES.join(", "));
                let what = "is not offered: it is no suite with forward secrecy and AEAD";
                self.refuse(node, &key, Refusal::value(&word, what, &hint));
            }
        }
        Some(suites)
    }

    fn curves(&mut self, entries: &Entries<'_>) -> Vec<Curve> {
        let Some(node) = entries.get("curve_preferences") else {
            return Vec::new();
        };
        let key = path("curve_preferences");
        let mut curves = Vec::new();
        for (word, node) in self.list(&key, node) {
            if let Some(curve) = CURVES.iter().find(|curve| **curve == word) {
                curves.push(Curve(curve));
            } else {
                let hint = format!("choose from {}", CURVES.join(", "));
                self.refuse(node, &key, Refusal::value(&word, "is not offered", &hint));
            }
        }
        curves
    }
}

fn path(key: &str) -> String {
    format!("{SECTION}.{key}")
}
