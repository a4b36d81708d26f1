//! `queue` and `role`: how events travel from the poller to the store, and who does what.

use std::net::IpAddr;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::finding::{Place, Refusal, quoted};
use super::reader::Reader;
use super::secret::read_file;
use super::settings::setting;

/// Longest file of credentials: a user's JWT and seed have some 2 KiB.
const CREDENTIALS_BYTES_MAX: usize = 16 * 1024;

/// Most servers to try.
const SERVERS_MAX: usize = 16;

/// Keys that say something only where the queue is NATS.
const NATS_KEYS: [&str; 4] = [
    "queue.url",
    "queue.stream",
    "queue.subject",
    "queue.credentials_file",
];

/// The queue.
#[derive(Debug, Clone)]
pub struct QueueConfig {
    /// `queue.kind`, and what it needs.
    pub kind: QueueKind,
    /// `queue.batch_size`: records that are stored in one transaction.
    pub batch_size: usize,
}

/// `queue.kind`.
#[derive(Debug, Clone)]
pub enum QueueKind {
    /// A file in the data directory.
    Embedded,
    /// NATS JetStream.
    Nats(NatsConfig),
}

/// How to reach NATS.
#[derive(Debug, Clone)]
pub struct NatsConfig {
    /// Servers of one cluster, `nats://host:port` or `tls://host:port`.
    pub servers: Vec<String>,
    /// The stream.
    pub stream: String,
    /// What every subject begins with.
    pub subject: String,
    /// How we prove who we are; `None`: the server asks nobody.
    pub credentials: Option<NatsCredentials>,
}

/// What `queue.credentials_file` holds.
#[derive(Debug, Clone)]
pub enum NatsCredentials {
    /// A user's JWT and seed, as NATS's own tools write them.
    Jwt(SecretString),
    /// A user and a password.
    User(String, SecretString),
}

/// `role`: what this instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    All,
    /// Asks the platform and publishes.
    Poller,
    /// Takes what is published and keeps rows.
    Aggregator,
}

impl Role {
    /// Its word in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Poller => "poller",
            Self::Aggregator => "aggregator",
        }
    }

    /// Whether it asks the platform.
    pub const fn polls(self) -> bool {
        matches!(self, Self::All | Self::Poller)
    }

    /// Whether it keeps rows.
    pub const fn stores(self) -> bool {
        matches!(self, Self::All | Self::Aggregator)
    }
}

/// Judges both sections.
pub(super) fn queue(reader: &mut Reader<'_>) -> (QueueConfig, Role) {
    let batch_size = reader.count("queue.batch_size", 1, 1_000) as usize;
    let kind = match reader.word("queue.kind") {
        // Refused if it cannot be; another stands in until the mistakes are told.
        "nats" => nats(reader).map_or(QueueKind::Embedded, QueueKind::Nats),
        _ => {
            unused(reader);
            QueueKind::Embedded
        }
    };
    let role = match reader.word("role") {
        "poller" => Role::Poller,
        "aggregator" => Role::Aggregator,
        _ => Role::All,
    };
    if role != Role::All && reader.word("queue.kind") != "nats" {
        let what = "shares the work with other instances, which need a queue that all can reach";
        let hint = "set queue.kind to nats, or role to all";
        reader.refuse_key("role", Refusal::value(role.word(), what, hint));
    }
    (QueueConfig { kind, batch_size }, role)
}

fn unused(reader: &mut Reader<'_>) {
    for key in NATS_KEYS {
        // The effective configuration and the example name defaults too.
        let default = setting(key).and_then(|setting| setting.default.first());
        let place = reader.place(key);
        if place != Place::Default && Some(&reader.given(key)) != default {
            let what = "has no effect because queue.kind is embedded";
            let refusal = Refusal::new(what, "remove it, or set queue.kind to nats");
            reader.warn(key, place, refusal);
        }
    }
}

fn nats(reader: &mut Reader<'_>) -> Option<NatsConfig> {
    let servers = servers(reader);
    let config = NatsConfig {
        servers: servers.unwrap_or_default(),
        stream: reader.value("queue.stream", stream),
        subject: reader.value("queue.subject", subject),
        credentials: credentials(reader),
    };
    (!reader.any_bad(&NATS_KEYS)).then_some(config)
}

fn servers(reader: &mut Reader<'_>) -> Option<Vec<String>> {
    const KEY: &str = "queue.url";
    let text = reader.given(KEY);
    if text.is_empty() {
        let hint = "write for example nats://127.0.0.1:4222; of a cluster several, with commas";
        let refusal = Refusal::new("is missing while queue.kind is nats", hint);
        let place = reader.place("queue.kind");
        reader.refuse(place, KEY, refusal);
        return None;
    }
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    if parts.len() > SERVERS_MAX {
        let what = format!("names {} servers", parts.len());
        let refusal = Refusal::new(what, format!("name at most {SERVERS_MAX}"));
        reader.refuse_key(KEY, refusal);
        return None;
    }
    let mut servers = Vec::with_capacity(parts.len());
    for part in parts {
        match server(part) {
            Ok(url) => {
                if url.scheme() == "nats" && !is_loopback(&url) {
                    let what = "sends states of people in clear text";
                    reader.warn(KEY, reader.place(KEY), Refusal::new(what, "use tls://"));
                }
                servers.push(url.to_string());
            }
            Err(refusal) => {
                reader.refuse_key(KEY, refusal);
                return None;
            }
        }
    }
    Some(servers)
}

/// Whether the URL names this machine. Of schemes that are not the web's, hosts are only text.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn server(text: &str) -> Result<Url, Refusal> {
    let hint = "write for example nats://127.0.0.1:4222 or tls://nats.example.com:4222";
    // Not quoted: it may hold a password.
    let Ok(url) = Url::parse(text) else {
        return Err(Refusal::new("this is not a URL", hint));
    };
    if !url.username().is_empty() || url.password().is_some() {
        let hint = "remove them, and put user:password into queue.credentials_file";
        return Err(Refusal::new("the URL holds credentials", hint));
    }
    if !matches!(url.scheme(), "nats" | "tls") || url.host_str().is_none_or(str::is_empty) {
        return Err(Refusal::new("the URL is not nats or tls", hint));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        let what = "the URL has more than a host and a port";
        return Err(Refusal::new(what, hint));
    }
    Ok(url)
}

/// A stream's name: what the server takes, and no path or wildcard.
fn stream(text: &str) -> Result<String, Refusal> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if (1..=64).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    let hint = "use 1 to 64 letters, digits, _ and -";
    Err(Refusal::value(text, "cannot name a stream", hint))
}

/// What subjects begin with: tokens with points between them, no wildcard.
fn subject(text: &str) -> Result<String, Refusal> {
    let fits = |token: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        !token.is_empty() && token.chars().all(fits)
    };
    if text.len() <= 128 && text.split('.').all(fits) {
        return Ok(text.to_owned());
    }
    Err(Refusal::value(
        text,
        "cannot begin a subject",
        "use letters, digits, _ and -, with points between; .events.<organisation> follows it",
    ))
}

fn credentials(reader: &mut Reader<'_>) -> Option<NatsCredentials> {
    const KEY: &str = "queue.credentials_file";
    let path = reader.given(KEY);
    if path.is_empty() {
        return None;
    }
    let hint = "name a readable file of credentials (.creds), or one that holds user:password";
    let read = read_file(Path::new(path), CREDENTIALS_BYTES_MAX, hint);
    let read = read.and_then(|(text, loose)| Ok((parse(&text)?, loose)));
    match read {
        Ok((credentials, loose)) => {
            if loose {
                let what = format!("{} can be read by others than its owner", quoted(path));
                reader.warn(KEY, reader.place(KEY), Refusal::new(what, "chmod 0400 it"));
            }
            Some(credentials)
        }
        Err(refusal) => {
            reader.refuse_key(KEY, refusal);
            None
        }
    }
}

/// Nothing of the text is ever quoted.
fn parse(text: &SecretString) -> Result<NatsCredentials, Refusal> {
    let text = text.expose_secret();
    if text.contains("BEGIN NATS USER JWT") {
        return Ok(NatsCredentials::Jwt(SecretString::from(text)));
    }
    let line = text.trim_end_matches(['\n', '\r']);
    match line.split_once(':') {
        Some((user, password))
            if !user.is_empty() && !password.is_empty() && !line.chars().any(char::is_control) =>
        {
            Ok(NatsCredentials::User(
                user.to_owned(),
                SecretString::from(password),
            ))
        }
        _ => Err(Refusal::new(
            "holds neither NATS credentials nor user:password on one line",
            "write it with nsc generate creds, or put user:password into it",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_without_secrets() {
        for good in [
            "nats://127.0.0.1:4222",
            "tls://nats.example.com",
            "nats://[::1]:4222",
        ] {
            assert!(server(good).is_ok(), "{good}");
        }
        for (url, local) in [
            ("nats://127.0.0.1:4222", true),
            ("nats://[::1]:4222", true),
            ("nats://localhost", true),
            ("nats://nats:4222", false),
            ("nats://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&server(url).unwrap()), local, "{url}");
        }
        for (bad, why) in [
            ("127.0.0.1:4222", "not a URL"),
            ("http://127.0.0.1:4222", "not nats or tls"),
            ("nats://u:hunter2@h:4222", "holds credentials"),
            ("nats://h:4222/x", "more than a host"),
        ] {
            let refusal = server(bad).unwrap_err();
            assert!(refusal.what.contains(why), "{bad}: {refusal:?}");
            assert!(!format!("{refusal:?}").contains("hunter2"));
        }
    }

    #[test]
    fn names_cannot_reach_beyond_themselves() {
        assert!(stream("GENESYSCLOUD").is_ok() && subject("acme.genesyscloud").is_ok());
        for bad in ["", "a.b", "a b", "*", ">", "a/b"] {
            assert!(stream(bad).is_err(), "{bad}");
        }
        for bad in ["", ".a", "a.", "a..b", "*", "a.>", "a b"] {
            assert!(subject(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn credentials_are_told_apart_and_never_shown() {
        let read = |text: &str| parse(&SecretString::from(text));
        let jwt = "-----BEGIN NATS USER JWT-----\nhunter2\n------END NATS USER JWT------\n";
        assert!(matches!(read(jwt), Ok(NatsCredentials::Jwt(_))));
        match read("exporter:hun:ter2\n").unwrap() {
            NatsCredentials::User(user, password) => {
                assert_eq!(
                    (user.as_str(), password.expose_secret()),
                    ("exporter", "hun:ter2")
                );
            }
            NatsCredentials::Jwt(_) => panic!("a user and a password"),
        }
        for bad in ["", "hunter2", ":hunter2", "u:", "u:hunter2\nsecond"] {
            let refusal = read(bad).unwrap_err();
            assert!(!format!("{refusal:?}").contains("hunter2"), "{bad}");
        }
        assert!(!format!("{:?}", read("exporter:hunter2").unwrap()).contains("hunter2"));
    }
}
