//! Configuration in two steps: `raw` mirrors the file, [`Config`] holds durations, URLs and
//! secrets. Parsing has no effects: no DNS, no ports; the environment comes in as a map.
//! Only the file itself and the secret's file are read.

pub mod duration; //   `15s`, `1h30m` <-> milliseconds
pub mod finding; //    a mistake, its place and its remedy
pub mod settings; //   the one table of settings
mod yaml; //           text -> a tree with positions
mod raw; //            the file's text -> settings with places
pub mod layers; //     environment and flags; what wins
mod region; //         where the platform answers
mod secret; //         where the client secret comes from
mod pseudonym; //      agents by another name
mod values; //         text -> numbers, URLs, patterns
mod reader; //         settings as text -> values, with all that is wrong
pub mod web_file; //   TLS and users of the server, from a file of their own
mod otel; //           the standard variables, OTEL_…
mod otlp; //           where metrics are pushed to
mod web; //            where and how results are served
mod postgres; //       where rows are kept past one machine
mod remote_write; //   where closed windows are sent to
mod store; //          what rows are kept in, and how long
mod queue; //          how events travel, and who does what
mod sources; //        several organisations
mod resolve; //        settings -> Config
mod effective; //      Config -> YAML for people
mod load; //           all of it in order

pub use effective::Effective;
pub use finding::{ConfigError, Finding};
pub use layers::{Environment, FlagValue};
pub use load::{Loaded, load, load_rows, parse};
pub use otlp::{CARDINALITY_LIMIT_MIN, OtlpConfig, OtlpProtocol, OtlpTemporality};
pub use postgres::{PostgresConfig, PostgresHost, PostgresTls};
pub use pseudonym::PseudonymKey;
pub use queue::{NatsConfig, NatsCredentials, QueueConfig, QueueKind, Role};
pub use remote_write::RemoteWriteConfig;
pub use secret::read_again as read_secret_again;

use std::net::SocketAddr;
use std::path::PathBuf;

use regex::Regex;
use secrecy::SecretString;
use url::Url;

use crate::model::time::Millis;
use crate::model::window::WindowSpec;

/// The default address: loopback only, because the API names agents by id.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:10095";

/// The effective configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the data come from.
    pub source: SourceConfig,
    /// What the pipeline does with them.
    pub pipeline: PipelineConfig,
    /// Where results are kept.
    pub store: StoreConfig,
    /// How events travel from the poller to the store.
    pub queue: QueueConfig,
    /// What this instance does.
    pub role: Role,
    /// Per-agent series.
    pub per_agent: PerAgent,
    /// Where metrics are pushed to; `None`: nowhere.
    pub otlp: Option<OtlpConfig>,
    /// How results are served.
    pub web: WebConfig,
    /// The log.
    pub log: LogConfig,
    /// Organisations beside this one, which share all but what is theirs.
    pub others: Vec<Organisation>,
}

/// What an organisation has of its own.
#[derive(Debug, Clone)]
pub struct Organisation {
    /// Where its data come from.
    pub source: SourceConfig,
    /// What the pipeline does with them.
    pub pipeline: PipelineConfig,
    /// Its data directory.
    pub path: PathBuf,
}

impl Config {
    /// The configuration as each organisation sees it: as if there were no other.
    pub fn organisations(&self) -> Vec<Self> {
        let alone = |own: Option<&Organisation>| {
            let mut config = self.clone();
            config.others.clear();
            if let Some(own) = own.cloned() {
                config.source = own.source;
                config.pipeline = own.pipeline;
                config.store.path = own.path;
            }
            config
        };
        let others = self.others.iter().map(|own| alone(Some(own)));
        std::iter::once(alone(None)).chain(others).collect()
    }
}

/// Where the data come from.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Names the organisation in keys of the store and in queue subjects.
    pub name: String,
    /// Base URL of the API, without a trailing slash in its path.
    pub api_url: Url,
    /// Base URL of the login service.
    pub login_url: Url,
    /// OAuth client id.
    pub client_id: String,
    /// OAuth client secret.
    pub client_secret: SecretString,
    /// The file that holds it, if it came from one: read again at each login.
    pub client_secret_file: Option<PathBuf>,
}

/// `source.dialect`: which of the platform's two interfaces is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The platform is asked.
    Auto,
    /// The User Status API.
    Status,
    /// The public platform API.
    Platform,
}

impl Dialect {
    /// Its word in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Status => "status",
            Self::Platform => "platform",
        }
    }
}

/// Everything that the pure pipeline is told.
#[derive(Debug, Clone)]
pub struct PipelineConfig {
    /// The organisation's name; the phase of the cycle is a hash of it.
    pub org: String,
    /// `source.dialect`.
    pub dialect: Dialect,
    /// `source.notifications`: push, where the dialect has it.
    pub notifications: bool,
    /// `poll.interval`.
    pub poll_interval: Millis,
    /// `poll.timeout`, a request all in all.
    pub poll_timeout: Millis,
    /// `snapshot.min_coverage` in thousandths, so that the comparison is exact: 900 is 0.90.
    pub min_coverage_per_mille: u32,
    /// `snapshot.retry_backoff`.
    pub retry_backoff: Millis,
    /// `snapshot.cache_age`.
    pub cache_age: Millis,
    /// `breaker.failures`.
    pub breaker_failures: u32,
    /// `breaker.cooldown`.
    pub breaker_cooldown: Millis,
    /// `breaker.max_cooldown`.
    pub breaker_max_cooldown: Millis,
    /// `budget.requests_per_minute`.
    pub requests_per_minute: u32,
    /// `budget.max_in_flight`.
    pub max_in_flight: u32,
    /// `volatile.transitions`: more than this many within `volatile_within` is volatile.
    pub volatile_transitions: u32,
    /// `volatile.within`.
    pub volatile_within: Millis,
    /// `volatile.settle_cycles`.
    pub settle_cycles: u32,
    /// `stuck.after`.
    pub stuck_after: Millis,
    /// `stuck.recheck`.
    pub stuck_recheck: Millis,
    /// `divergence.interval`.
    pub divergence_interval: Millis,
    /// `divergence.sample`, 0 to 1.
    pub divergence_sample: f64,
    /// `divergence.max`, 0 to 1.
    pub divergence_max: f64,
    /// `registry.refresh`.
    pub registry_refresh: Millis,
    /// `queues.refresh`.
    pub queues_refresh: Millis,
    /// `queues.include`: a queue is kept if one matches its name; anchored at both ends.
    pub queues_include: Vec<Regex>,
    /// `queues.exclude`: and none of these does.
    pub queues_exclude: Vec<Regex>,
    /// `queues.max`: and of those no more than this.
    pub queues_max: usize,
    /// `window.length` and `window.slide`.
    pub window: WindowSpec,
    /// `window.lateness`; `None`: auto (semantics.md §12.8).
    pub lateness: Option<Millis>,
    /// `window.gap_tolerance`; `None`: auto.
    pub gap_tolerance: Option<Millis>,
    /// `window.max_wait`.
    pub max_wait: Millis,
    /// `window.include_offline`.
    pub include_offline: bool,
    /// `stale_after`.
    pub stale_after: Millis,
    /// `metrics.per_agent: name`: answers are read for agents' names.
    pub names: bool,
}

/// Where results are kept.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `store.kind`, and what it needs.
    pub kind: StoreKind,
    /// The data directory.
    pub path: PathBuf,
    /// Whether that may be on a network file system, where SQLite's files can be damaged.
    pub allow_network_file_system: bool,
    /// How long events and rows are kept.
    pub retention: Millis,
    /// `store.remote_write`; `None`: windows are sent nowhere.
    pub remote_write: Option<RemoteWriteConfig>,
}

/// Where rows are, and how they were made.
#[derive(Debug, Clone)]
pub struct RowsConfig {
    /// The organisation and its windows.
    pub pipeline: PipelineConfig,
    /// `store.kind`, and what it needs.
    pub kind: StoreKind,
    /// The data directory.
    pub path: PathBuf,
}

/// `store.kind`.
#[derive(Debug, Clone)]
pub enum StoreKind {
    /// A file in the data directory.
    Sqlite,
    /// A server.
    Postgres(PostgresConfig),
}

/// `metrics.per_agent`.
#[derive(Debug, Clone)]
pub enum PerAgent {
    /// No series of single agents.
    Off,
    /// By a pseudonym that only who has the key can make.
    Pseudonym(PseudonymKey),
    /// By user id.
    Id,
    /// By name; two of one name with their ids.
    Name,
}

/// How results are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebConfig {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Path of the metrics page.
    pub telemetry_path: String,
    /// TLS, users and headers; read again whenever it changes.
    pub config_file: Option<PathBuf>,
    /// `POST /-/reload` is answered.
    pub enable_lifecycle: bool,
}

/// The log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// Least severe level written.
    pub level: LogLevel,
    /// Line format.
    pub format: LogFormat,
}

/// `--log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    /// For someone who looks for a cause.
    Debug,
    /// Facts worth a line.
    Info,
    /// Look at it in working hours.
    Warn,
    /// Act.
    Error,
}

/// `--log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// `ts=… level=… msg=…`.
    Logfmt,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests;
