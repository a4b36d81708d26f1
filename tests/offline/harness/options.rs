//! Everything that decides a run, printed before it begins.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use genesys_cloud_exporter::config::{self, Config, PipelineConfig};
use genesys_cloud_exporter::model::time::{Millis, UnixMillis};
use genesys_cloud_exporter::simulator::dialect::Dialect;
use genesys_cloud_exporter::simulator::faults::FaultPlan;
use genesys_cloud_exporter::simulator::notifications::NotificationOptions;
use genesys_cloud_exporter::simulator::org::OrgSpec;
use genesys_cloud_exporter::simulator::platform::SimulatorOptions;

/// When every run begins, unless it says otherwise: a working Tuesday, an hour before dawn.
pub(crate) const ORIGIN: UnixMillis = UnixMillis(1_715_659_200_000); // 2024-05-14T04:00:00Z

pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const HOUR: i64 = 3_600_000;
pub(crate) const DAY: i64 = 24 * HOUR;

/// What the platform speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// The User Status API.
    Status,
    /// The public platform API, with push or by polls alone.
    Platform { push: bool },
}

/// Which journal and store keep the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// The window function over facts in memory.
    Memory,
    /// The embedded journal and the SQLite store, in a directory of their own.
    Sqlite,
}

/// What goes wrong outside the platform's own plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upset {
    /// The exporter dies; another starts so much later.
    Crash { down: i64 },
    /// It is stopped in good order; another starts so much later.
    Stop { down: i64 },
    /// No connection can be made for so long.
    Outage { lasts: i64 },
    /// Connections are made and nothing comes back for so long.
    Silence { lasts: i64 },
    /// Appends fail for so long.
    Disk { lasts: i64 },
    /// The machine's wall clock is stepped.
    Step { by: i64 },
    /// The machine sleeps: its monotonic clock stands still.
    Sleep { lasts: i64 },
    /// Somebody is hired.
    Join { agents: u32 },
    /// Somebody leaves.
    Leave { agents: u32 },
    /// The platform revokes all tokens.
    Revoke,
    /// The exporter takes another configuration: its budget and its pauses are divided by this.
    Reload { divide: u32 },
}

/// A run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) org: OrgSpec,
    pub(crate) speech: Speech,
    pub(crate) notifications: NotificationOptions,
    pub(crate) origin: UnixMillis,
    /// Faults end after this long …
    pub(crate) faulty: i64,
    /// … and everything has so long to come right.
    pub(crate) calm: i64,
    /// The platform's faults.
    pub(crate) faults: String,
    /// All others, with their offsets from the origin, ascending.
    pub(crate) upsets: Vec<(i64, Upset)>,
    pub(crate) history: usize,
    pub(crate) statuses_page: Option<u32>,
    pub(crate) token_lifetime: i64,
    pub(crate) requests_per_minute: u32,
    /// One way, in milliseconds.
    pub(crate) latency: RangeInclusive<i64>,
    /// Until an append is durable.
    pub(crate) disk: RangeInclusive<i64>,
    pub(crate) keeping: Keeping,
    /// The starts of after-call work are asked for: they are held against the truth too.
    pub(crate) dated: bool,
    /// Further settings, as in a configuration file.
    pub(crate) settings: String,
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "SEED={}", self.seed)?;
        writeln!(f, "  {:?}, {:?}", self.speech, self.org)?;
        writeln!(
            f,
            "  from {}: {} min with faults, {} min without; history {}, page {:?}, token {} s, \
             {} requests/min, latency {:?} ms, disk {:?} ms, {:?}",
            self.origin,
            self.faulty / MINUTE,
            self.calm / MINUTE,
            self.history,
            self.statuses_page,
            self.token_lifetime / 1_000,
            self.requests_per_minute,
            self.latency,
            self.disk,
            self.keeping,
        )?;
        writeln!(f, "  platform: {}", self.faults)?;
        let upset = |(at, upset): &(i64, Upset)| format!("{upset:?}@{}s", at / 1_000);
        let upsets: Vec<String> = self.upsets.iter().map(upset).collect();
        write!(f, "  upsets: {}", upsets.join(", "))
    }
}

impl Options {
    /// An organisation in good order for so long.
    pub(crate) fn calm(org: OrgSpec, calm: i64) -> Self {
        Self {
            seed: org.seed,
            org,
            speech: Speech::Status,
            notifications: NotificationOptions::default(),
            origin: ORIGIN,
            faulty: 0,
            calm,
            faults: "none".to_owned(),
            upsets: Vec::new(),
            history: 3,
            statuses_page: None,
            token_lifetime: 24 * HOUR,
            requests_per_minute: 300,
            latency: 20..=120,
            disk: 1..=20,
            keeping: Keeping::Memory,
            dated: false,
            settings: String::new(),
        }
    }

    /// The same, of the public platform.
    pub(crate) fn platform(org: OrgSpec, push: bool, calm: i64) -> Self {
        Self {
            speech: Speech::Platform { push },
            settings: "volatile: { within: 5s }".to_owned(),
            ..Self::calm(org, calm)
        }
    }

    /// The configuration, read as the exporter reads its file.
    pub(crate) fn config(&self) -> Config {
        let (dialect, push) = match self.speech {
            Speech::Status => ("status", "off"),
            Speech::Platform { push: true } => ("platform", "auto"),
            Speech::Platform { push: false } => ("platform", "off"),
        };
        let text = format!(
            "source: {{ name: sim, dialect: {dialect}, notifications: {push}, client_id: demo, api_url: 'http://127.0.0.1:1', login_url: \
             'http://127.0.0.1:1' }}\nbudget: {{ requests_per_minute: {} }}\n{}\n",
            self.requests_per_minute, self.settings
        );
        let environment: BTreeMap<String, String> =
            [("GENESYSCLOUD_CLIENT_SECRET".to_owned(), "demo".to_owned())].into();
        let loaded = config::parse(&Arc::from("offline.yml"), &text, &environment, &[]);
        loaded.unwrap_or_else(|error| panic!("{error}")).config
    }

    /// The platform.
    pub(crate) fn simulator(&self) -> SimulatorOptions {
        SimulatorOptions {
            token_lifetime: Millis(self.token_lifetime),
            requests_per_minute: self.requests_per_minute,
            history: self.history,
            statuses_page: self.statuses_page,
            faults: FaultPlan::parse(&self.faults).unwrap(),
            dialect: match self.speech {
                Speech::Status => Dialect::Status,
                Speech::Platform { .. } => Dialect::Platform,
            },
            notifications: self.notifications,
            ..SimulatorOptions::new(self.org, self.origin)
        }
    }

    /// When faults end.
    pub(crate) fn calm_from(&self) -> i64 {
        self.origin.0 + self.faulty
    }

    /// When the run ends.
    pub(crate) fn end(&self) -> i64 {
        self.calm_from() + self.calm
    }
}

/// The same configuration with a smaller budget and shorter pauses; what the audit judges by
/// stays.
pub(crate) fn reconfigured(config: &PipelineConfig, divide: u32) -> PipelineConfig {
    let less = |span: Millis| Millis((span.0 / i64::from(divide)).max(1));
    PipelineConfig {
        requests_per_minute: (config.requests_per_minute / divide).max(4),
        max_in_flight: (config.max_in_flight / divide).max(1),
        breaker_cooldown: less(config.breaker_cooldown),
        registry_refresh: less(config.registry_refresh),
        queues_refresh: less(config.queues_refresh),
        divergence_interval: less(config.divergence_interval),
        stuck_recheck: less(config.stuck_recheck),
        ..config.clone()
    }
}
