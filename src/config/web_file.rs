//! The web configuration file that the Prometheus exporters share: TLS, users, headers.
//!
//! Text and the files it names in, checked values out, or every mistake with its line. Key
//! material is read here and judged where it is used. The file is looked at again while the
//! exporter runs, so reading it depends on nothing but its path and the addresses listened on.

mod tree; //   the YAML tree against known keys
mod tls; //    tls_server_config

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use serde_saphyr::Spanned;

use super::duration;
use super::finding::{ConfigError, Finding, Place, Refusal, quoted};
use super::secret::read_file;
use super::yaml::{Node, parse_yaml};
use crate::model::time::Millis;

pub use tls::{ClientAuth, Curve, Suite, TlsFile, TlsVersion};
use tree::Tree;

/// Largest web configuration file; a hundred users with their hashes have some ten kilobytes.
const FILE_BYTES_MAX: usize = 256 * 1024;

/// Most users: each unknown name costs one bcrypt, each known one a look into a map.
const USERS_MAX: usize = 1_000;

/// A hash of higher cost takes seconds, and one core, for every new credential.
const COST_MAX: u32 = 14;

/// A hash of lower cost is guessed quickly.
const COST_MIN: u32 = 10;

/// Most requests that may come at once after a pause.
const BURST_MAX: u32 = 1_000_000;

/// Headers that may be added, and the values that are allowed if only some are.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// How the server protects itself.
#[derive(Debug, Clone, Default)]
pub struct WebFile {
    /// TLS; `None`: clear text.
    pub tls: Option<TlsFile>,
    /// Users by name; empty: everybody may read.
    pub users: BTreeMap<String, PasswordHash>,
    /// Headers added to every answer, unless it has them already.
    pub headers: Vec<(&'static str, String)>,
    /// How often requests may come.
    pub rate_limit: Option<RateLimit>,
}

/// A bcrypt hash that is known to be one.
#[derive(Debug, Clone)]
pub struct PasswordHash {
    text: SecretString,
    cost: u32,
}

impl PasswordHash {
    /// Reads a hash in bcrypt's own form, `$2y$10$…`.
    ///
    /// # Errors
    /// What is wrong with it; the hash is not repeated.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let hint = "write the output of htpasswd -nBC 10 NAME, without the name and the colon";
        let known = ["$2a$", "$2b$", "$2x$", "$2y$"];
        let parts = bcrypt::HashParts::from_str(text).ok();
        let Some(parts) = parts.filter(|_| known.iter().any(|head| text.starts_with(head))) else {
            return Err(Refusal::new("this is not a bcrypt hash", hint));
        };
        let cost = parts.get_cost();
        if cost > COST_MAX {
            let what = format!("the cost {cost} would keep a core busy for seconds");
            let hint = format!("hash with a cost from {COST_MIN} to {COST_MAX}");
            return Err(Refusal::new(what, hint));
        }
        Ok(Self {
            text: SecretString::from(text),
            cost,
        })
    }

    /// The hash, for comparing.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// Its cost: the work doubles with each.
    pub fn cost(&self) -> u32 {
        self.cost
    }
}

/// `rate_limit`: a bucket of `burst` tokens that gains one every `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Time between two requests in the long run.
    pub interval: Millis,
    /// Requests that may come at once after a pause.
    pub burst: u32,
}

/// Reads the web configuration at `path`, and the files that it names. `listen`: the addresses
/// that it is to protect. Warnings go to `warnings`, and all files that were looked at to
/// `files`, also if there are mistakes.
///
/// # Errors
/// All mistakes at once.
pub fn read(
    path: &Path,
    listen: &[SocketAddr],
    warnings: &mut Vec<Finding>,
    files: &mut Vec<PathBuf>,
) -> Result<WebFile, ConfigError> {
    files.push(path.to_owned());
    let name: Arc<str> = path.display().to_string().into();
    let whole = |refusal| {
        let place = Place::File(Arc::clone(&name));
        ConfigError::new(vec![Finding::new(place, "", refusal)])
    };
    let hint = "name a web configuration file, as Prometheus exporters read it";
    let (text, loose) = read_file(path, FILE_BYTES_MAX, hint).map_err(whole)?;
    let mut mistakes = Vec::new();
    let mut tree = Tree {
        file: Arc::clone(&name),
        directory: path.parent().unwrap_or(Path::new("")).to_owned(),
        mistakes: &mut mistakes,
        warnings,
        files,
        secret_inside: false,
    };
    let file = tree.document(text.expose_secret());
    if loose && (tree.secret_inside || !file.users.is_empty()) {
        let what = "holds secrets and can be read by others than its owner";
        let refusal = Refusal::new(what, "chmod 0400 it");
        tree.warnings
            .push(Finding::new(Place::File(Arc::clone(&name)), "", refusal));
    }
    if let Some(refusal) = naked_passwords(&file, listen) {
        mistakes.push(Finding::new(Place::File(name), "basic_auth_users", refusal));
    }
    if mistakes.is_empty() {
        Ok(file)
    } else {
        Err(ConfigError::new(mistakes))
    }
}

/// Passwords in clear text are for this machine alone.
fn naked_passwords(file: &WebFile, listen: &[SocketAddr]) -> Option<Refusal> {
    let outside = listen
        .iter()
        .find(|address| !address.ip().to_canonical().is_loopback())?;
    (file.tls.is_none() && !file.users.is_empty()).then(|| {
        Refusal::new(
            format!("passwords would cross the network in clear text, to {outside}"),
            "add tls_server_config, or listen on loopback only",
        )
    })
}

impl Tree<'_> {
    fn document(&mut self, text: &str) -> WebFile {
        match parse_yaml::<Option<Spanned<Node>>>(text) {
            Ok(None) => WebFile::default(),
            Ok(Some(root)) => self.sections(&root),
            Err(error) => {
                let place = error.location.map_or_else(
                    || Place::File(Arc::clone(&self.file)),
                    |location| self.place(location),
                );
                let what = format!("this is not the YAML that was expected: {}", error.text);
                let hint = "mend this first; what follows it has not been read";
                let refusal = Refusal::new(what, hint);
                self.mistakes.push(Finding::new(place, "", refusal));
                WebFile::default()
            }
        }
    }

    fn sections(&mut self, root: &Spanned<Node>) -> WebFile {
        let keys = [
            "tls_server_config",
            "http_server_config",
            "basic_auth_users",
            "rate_limit",
        ];
        let sections = self.entries("", root, &keys);
        let mut file = WebFile::default();
        if let Some(node) = sections.get("tls_server_config") {
            file.tls = self.tls(node);
        }
        if let Some(node) = sections.get("http_server_config") {
            file.headers = self.http(node);
        }
        if let Some(node) = sections.get("basic_auth_users") {
            file.users = self.users(node);
        }
        if let Some(node) = sections.get("rate_limit") {
            file.rate_limit = self.rate_limit(node);
        }
        file
    }

    fn http(&mut self, node: &Spanned<Node>) -> Vec<(&'static str, String)> {
        let section = "http_server_config";
        let keys = self.entries(section, node, &["http2", "headers"]);
        if let Some(node) = keys.get("http2") {
            let path = "http_server_config.http2";
            if self.switch(path, node) == Some(true) {
                let what = "HTTP/2 is not offered; clients speak HTTP/1.1";
                let refusal = Refusal::new(what, "remove it, or write false");
                self.warn(node, path, refusal);
            }
        }
        let Some(node) = keys.get("headers") else {
            return Vec::new();
        };
        let path = "http_server_config.headers";
        let given = self.entries(path, node, &HEADERS.map(|(name, _)| name));
        let mut headers = Vec::new();
        for (name, values) in HEADERS {
            let Some(node) = given.get(name) else {
                continue;
            };
            let key = format!("{path}.{name}");
            let Some(value) = self.text(&key, node) else {
                continue;
            };
            // Unset if blank, as everywhere.
            if value.is_empty() {
                continue;
            }
            let visible = value.chars().all(|c| c == ' ' || c.is_ascii_graphic());
            if !visible {
                let refusal = Refusal::new("holds what no header may", "use one line of ASCII");
                self.refuse(node, &key, refusal);
            } else if !values.is_empty() && !values.contains(&&*value.to_ascii_lowercase()) {
                let hint = format!("allowed: {}", values.join(", "));
                self.refuse(node, &key, Refusal::value(&value, "is not allowed", &hint));
            } else {
                headers.push((name, value));
            }
        }
        headers
    }

    fn users(&mut self, node: &Spanned<Node>) -> BTreeMap<String, PasswordHash> {
        let path = "basic_auth_users";
        let mut users = BTreeMap::new();
        let Some(entries) = self.mapping(path, node) else {
            return users;
        };
        if entries.len() > USERS_MAX {
            let what = format!("names {} users", entries.len());
            let hint = format!("name at most {USERS_MAX}; for more, use a proxy");
            self.refuse(node, path, Refusal::new(what, hint));
            return users;
        }
        for (name, value) in entries {
            let plain = |c: char| !c.is_control() && c != ':';
            if name.value.is_empty() || !name.value.chars().all(plain) {
                let refusal = Refusal::new("a user's name cannot be sent", "use no colon in it");
                self.refuse_at(name.referenced, path, refusal);
                continue;
            }
            let Some(text) = self.text(path, value) else {
                continue;
            };
            let key = format!("{path}.{}", name.value);
            match PasswordHash::parse(&text) {
                Ok(hash) => {
                    if hash.cost < COST_MIN {
                        let what = format!("the cost {} is guessed quickly", hash.cost);
                        let hint = format!("hash with a cost of at least {COST_MIN}");
                        self.warn(value, &key, Refusal::new(what, hint));
                    }
                    if users.insert(name.value.clone(), hash).is_some() {
                        let refusal = Refusal::new("is given twice", "keep one of them");
                        self.refuse_at(name.referenced, &key, refusal);
                    }
                }
                Err(refusal) => self.refuse(value, &key, refusal),
            }
        }
        users
    }

    fn rate_limit(&mut self, node: &Spanned<Node>) -> Option<RateLimit> {
        let keys = self.entries("rate_limit", node, &["interval", "burst"]);
        let interval = keys.get("interval").and_then(|node| {
            let text = self.text("rate_limit.interval", node)?;
            if text == "0" {
                return None;
            }
            self.valid("rate_limit.interval", node, duration::parse(&text))
        });
        let burst = keys.get("burst").and_then(|node| {
            let text = self.text("rate_limit.burst", node)?;
            let burst = match text.parse::<u32>() {
                Ok(burst @ 1..=BURST_MAX) => Ok(burst),
                _ => Err(Refusal::new(
                    format!("{} is not a number of requests", quoted(&text)),
                    "write how many may come at once, at least 1",
                )),
            };
            self.valid("rate_limit.burst", node, burst)
        });
        let interval = interval.filter(|interval| *interval > Millis::ZERO)?;
        Some(RateLimit {
            interval,
            burst: burst.unwrap_or(1),
        })
    }
}

#[cfg(test)]
mod tests;
