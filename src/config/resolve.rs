//! Settings as text into the [`Config`]: each value by itself, then what they owe each other.
//!
//! Every mistake is noted and the default put in its place, so that the rest is judged too; a
//! configuration with mistakes never leaves this file.

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use url::Url;

use crate::model::time::Millis;
use crate::model::window::WindowSpec;

use super::finding::{Finding, Refusal};
use super::layers::Environment;
use super::raw::Layer;
use super::reader::{Reader, default_of};
use super::sources::{self, Part};
use super::{
    Config, Dialect, LogConfig, LogFormat, LogLevel, Organisation, PipelineConfig, Role,
    RowsConfig, SourceConfig, otlp, pseudonym, queue, region, secret, store, values, web,
};

/// Fewest requests a minute that keep one snapshot each fifteen seconds.
const REQUESTS_PER_MINUTE_MIN: u32 = 4;

/// The configuration, and where it came from.
pub(super) struct Resolved {
    pub(super) config: Config,
    /// Of each organisation.
    pub(super) origins: Vec<Origin>,
}

/// Where what cannot be read off an organisation's settings came from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// Of the secret, in words.
    pub(super) secret: String,
    /// The URLs were given themselves, rather than by region.
    pub(super) urls_given: bool,
}

/// Resolves all settings. `None` if and only if `mistakes` is not empty.
pub(super) fn resolve(
    layer: &Layer,
    environment: &Environment,
    mistakes: &mut Vec<Finding>,
    warnings: &mut Vec<Finding>,
) -> Option<Resolved> {
    let parts = sources::parts(layer, mistakes);
    let (first, others) = parts.split_first().expect("there is always one");
    let mut reader = Reader::new(first, mistakes, warnings);
    let (queue, role) = queue::queue(&mut reader);
    let (source, origin) = source(&mut reader, environment, role);
    let pipeline = pipeline(&mut reader, &source.name);
    let mut store = store::store(&mut reader, &pipeline);
    let root = store.path.clone();
    store.path = directory(first, &root, &source.name);
    let mut config = Config {
        source,
        store,
        pipeline,
        queue,
        role,
        per_agent: pseudonym::per_agent(&mut reader),
        otlp: otlp::otlp(&mut reader, environment),
        web: web::web(&mut reader),
        log: log(&mut reader),
        others: Vec::new(),
    };
    let mut origins = vec![origin];
    for part in others {
        let found = once_more(part, mistakes, warnings, |reader| {
            let (source, origin) = self::source(reader, environment, role);
            let pipeline = self::pipeline(reader, &source.name);
            let path = directory(part, &root, &source.name);
            let own = Organisation {
                source,
                pipeline,
                path,
            };
            (own, origin)
        });
        config.others.push(found.0);
        origins.push(found.1);
    }
    mistakes.is_empty().then_some(Resolved { config, origins })
}

/// Where an organisation keeps its files: one of a list has a directory of its own.
fn directory(part: &Part, root: &Path, name: &str) -> PathBuf {
    match part.listed {
        Some(_) => root.join(name),
        None => root.to_owned(),
    }
}

/// Reads settings of which some were read before; what was said of those is not said again.
fn once_more<R>(
    part: &Part,
    mistakes: &mut Vec<Finding>,
    warnings: &mut Vec<Finding>,
    read: impl FnOnce(&mut Reader<'_>) -> R,
) -> R {
    let (mut again, mut warned) = (Vec::new(), Vec::new());
    let found = read(&mut Reader::new(part, &mut again, &mut warned));
    for (said, all) in [(again, mistakes), (warned, warnings)] {
        for finding in said {
            if !all.contains(&finding) {
                all.push(finding);
            }
        }
    }
    found
}

fn source(
    reader: &mut Reader<'_>,
    environment: &Environment,
    role: Role,
) -> (SourceConfig, Origin) {
    let name = reader.value("source.name", values::name);
    let (api_url, login_url, urls_given) = urls(reader);
    let file = match reader.given("source.client_secret_file") {
        "" => None,
        path => Some((path, reader.place("source.client_secret_file"))),
    };
    // Who asks the platform for nothing need not be able to.
    let asks = role.polls();
    let listed = reader.listed.map(|place| (name.as_str(), place));
    let one_of_several = listed.is_some();
    let client_id = |text: &str| {
        values::client_id(text).map_err(|refusal| {
            if one_of_several && text.is_empty() {
                // No variable is about one of several.
                Refusal::new(refusal.what, "give it in the list")
            } else {
                refusal
            }
        })
    };
    let found = asks
        .then(|| secret::find(environment, file, listed, reader.mistakes, reader.warnings))
        .flatten();
    let (client_secret, origin, client_secret_file) = match found {
        Some(found) => (found.secret, found.origin, found.file),
        None => (SecretString::from(""), String::new(), None),
    };
    let source = SourceConfig {
        name,
        api_url,
        login_url,
        client_id: if asks {
            reader.required("source.client_id", client_id)
        } else {
            String::new()
        },
        client_secret,
        client_secret_file,
    };
    let origin = Origin {
        secret: origin,
        urls_given,
    };
    (source, origin)
}

/// The two base URLs, and whether they were given themselves rather than by region.
fn urls(reader: &mut Reader<'_>) -> (Url, Url, bool) {
    let of_region = |host: &str, domain: &str| {
        Url::parse(&format!("https://{host}.{domain}")).expect("hosts of the table make URLs")
    };
    let [api, login] = ["source.api_url", "source.login_url"];
    let missing = match (reader.given(api).is_empty(), reader.given(login).is_empty()) {
        (true, true) => {
            let domain = match reader.given("source.region") {
                "" => default_of("source.region", region::domain),
                _ => reader.value("source.region", region::domain),
            };
            return (of_region("api", domain), of_region("login", domain), false);
        }
        (false, false) => None,
        (true, false) => Some((api, login)),
        (false, true) => Some((login, api)),
    };
    if let Some((missing, present)) = missing {
        let place = reader.place(present);
        let what = format!("is missing while {present} is given");
        let hint = "give both, or neither and a region";
        reader.refuse(place, missing, Refusal::new(what, hint));
    }
    if reader.layer.contains_key("source.region") && !reader.given("source.region").is_empty() {
        let what = "has no effect because source.api_url and source.login_url are given";
        let refusal = Refusal::new(what, "remove one or the other");
        reader.warn("source.region", reader.place("source.region"), refusal);
    }
    let api_url = reader
        .url(api)
        .unwrap_or_else(|| of_region("api", "invalid"));
    let login_url = reader
        .url(login)
        .unwrap_or_else(|| of_region("login", "invalid"));
    (api_url, login_url, true)
}

fn pipeline(reader: &mut Reader<'_>, org: &str) -> PipelineConfig {
    let window = window(reader);
    let pipeline = PipelineConfig {
        org: org.to_owned(),
        dialect: match reader.word("source.dialect") {
            "status" => Dialect::Status,
            "platform" => Dialect::Platform,
            _ => Dialect::Auto,
        },
        notifications: reader.word("source.notifications") != "off",
        poll_interval: reader.duration("poll.interval"),
        poll_timeout: reader.duration("poll.timeout"),
        min_coverage_per_mille: reader.value("snapshot.min_coverage", values::per_mille),
        retry_backoff: reader.duration("snapshot.retry_backoff"),
        cache_age: reader.duration("snapshot.cache_age"),
        breaker_failures: reader.count("breaker.failures", 1, 1_000),
        breaker_cooldown: reader.duration("breaker.cooldown"),
        breaker_max_cooldown: reader.duration("breaker.max_cooldown"),
        requests_per_minute: reader.count(
            "budget.requests_per_minute",
            REQUESTS_PER_MINUTE_MIN,
            100_000,
        ),
        max_in_flight: reader.count("budget.max_in_flight", 1, 256),
        volatile_transitions: reader.count("volatile.transitions", 1, 1_000),
        volatile_within: reader.duration("volatile.within"),
        settle_cycles: reader.count("volatile.settle_cycles", 1, 1_000),
        stuck_after: reader.duration("stuck.after"),
        stuck_recheck: reader.duration("stuck.recheck"),
        divergence_interval: reader.duration("divergence.interval"),
        divergence_sample: reader.value("divergence.sample", values::ratio),
        divergence_max: reader.value("divergence.max", values::ratio),
        registry_refresh: reader.duration("registry.refresh"),
        queues_refresh: reader.duration("queues.refresh"),
        queues_include: reader.patterns("queues.include"),
        queues_exclude: reader.patterns("queues.exclude"),
        queues_max: reader.count("queues.max", 1, 1_000_000) as usize,
        window,
        lateness: reader.value("window.lateness", values::auto_or_duration),
        gap_tolerance: reader.value("window.gap_tolerance", values::auto_or_duration),
        max_wait: reader.duration("window.max_wait"),
        include_offline: reader.value("window.include_offline", values::switch),
        stale_after: reader.duration("stale_after"),
        names: reader.word("metrics.per_agent") == "name",
    };
    if pipeline.queues_include.is_empty() && !reader.any_bad(&["queues.include"]) {
        let refusal = Refusal::new("keeps no queue at all", "write [\".*\"] for all of them");
        reader.refuse_key("queues.include", refusal);
    }
    reader.owe(
        "poll.timeout",
        "poll.interval",
        "must be less than",
        |timeout, interval| timeout < interval,
    );
    reader.owe(
        "breaker.max_cooldown",
        "breaker.cooldown",
        "must not be less than",
        |max, first| max >= first,
    );
    pipeline
}

fn window(reader: &mut Reader<'_>) -> WindowSpec {
    let length = reader.duration("window.length");
    let slide = reader.duration("window.slide");
    let divides = |slide: Millis, length: Millis| slide <= length && length.0 % slide.0 == 0;
    reader.owe("window.slide", "window.length", "must divide", divides);
    if divides(slide, length) {
        WindowSpec::new(length, slide)
    } else {
        WindowSpec::new(length, length)
    }
}

/// Resolves only what tells where each organisation's rows are. `None` if and only if `mistakes` is not empty.
pub(super) fn resolve_rows(
    layer: &Layer,
    mistakes: &mut Vec<Finding>,
    warnings: &mut Vec<Finding>,
) -> Option<Vec<RowsConfig>> {
    let parts = sources::parts(layer, mistakes);
    let mut all = Vec::with_capacity(parts.len());
    for part in &parts {
        all.push(once_more(part, mistakes, warnings, |reader| {
            let org = reader.value("source.name", values::name);
            let root = PathBuf::from(reader.value("store.path", values::path));
            RowsConfig {
                pipeline: pipeline(reader, &org),
                kind: store::kind(reader),
                path: directory(part, &root, &org),
            }
        }));
    }
    mistakes.is_empty().then_some(all)
}

fn log(reader: &mut Reader<'_>) -> LogConfig {
    LogConfig {
        level: match reader.word("log.level") {
            "debug" => LogLevel::Debug,
            "warn" => LogLevel::Warn,
            "error" => LogLevel::Error,
            _ => LogLevel::Info,
        },
        format: match reader.word("log.format") {
            "json" => LogFormat::Json,
            _ => LogFormat::Logfmt,
        },
    }
}
