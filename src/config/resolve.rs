//! Settings as text into the [`Config`]: each value by itself, then what they owe each other.
//!
//! Every mistake is noted and the default put in its place, so that the rest is judged too; a
//! configuration with mistakes never leaves this file.

use std::collections::BTreeSet;
use std::path::PathBuf;

use regex::Regex;
use secrecy::SecretString;
use url::Url;

use crate::model::time::Millis;
use crate::model::window::WindowSpec;

use super::finding::{Finding, Place, Refusal, nearest, quoted};
use super::layers::Environment;
use super::raw::{Layer, RawValue};
use super::settings::{SETTINGS, Support, setting};
use super::{
    Config, Dialect, LogConfig, LogFormat, LogLevel, PipelineConfig, Role, RowsConfig,
    SourceConfig, duration, otlp, pseudonym, queue, region, secret, store, values, web,
};

/// Most items of a list: every queue name is matched against every pattern.
const ITEMS_MAX: usize = 100;

/// Fewest requests a minute that keep one snapshot each fifteen seconds.
const REQUESTS_PER_MINUTE_MIN: u32 = 4;

/// The configuration, and where the secret came from.
pub(super) struct Resolved {
    pub(super) config: Config,
    pub(super) secret_origin: String,
    pub(super) urls_given: bool,
}

/// Resolves all settings. `None` if and only if `mistakes` is not empty.
pub(super) fn resolve(
    layer: &Layer,
    environment: &Environment,
    mistakes: &mut Vec<Finding>,
    warnings: &mut Vec<Finding>,
) -> Option<Resolved> {
    let mut reader = Reader::new(layer, mistakes, warnings);
    let (queue, role) = queue::queue(&mut reader);
    let (source, secret_origin, urls_given) = source(&mut reader, environment, role);
    let pipeline = pipeline(&mut reader, &source.name);
    let store = store::store(&mut reader, &pipeline);
    let config = Config {
        source,
        store,
        pipeline,
        queue,
        role,
        per_agent: pseudonym::per_agent(&mut reader),
        otlp: otlp::otlp(&mut reader, environment),
        web: web::web(&mut reader),
        log: log(&mut reader),
    };
    mistakes.is_empty().then_some(Resolved {
        config,
        secret_origin,
        urls_given,
    })
}

fn source(
    reader: &mut Reader<'_>,
    environment: &Environment,
    role: Role,
) -> (SourceConfig, String, bool) {
    let (api_url, login_url, urls_given) = urls(reader);
    let file = match reader.given("source.client_secret_file") {
        "" => None,
        path => Some((path, reader.place("source.client_secret_file"))),
    };
    // Who asks the platform for nothing need not be able to.
    let asks = role.polls();
    let found = asks.then(|| secret::find(environment, file, reader.mistakes, reader.warnings));
    let found = found.flatten();
    let (client_secret, origin, client_secret_file) = match found {
        Some(found) => (found.secret, found.origin, found.file),
        None => (SecretString::from(""), String::new(), None),
    };
    let source = SourceConfig {
        name: reader.value("source.name", values::name),
        api_url,
        login_url,
        client_id: if asks {
            reader.required("source.client_id", values::client_id)
        } else {
            String::new()
        },
        client_secret,
        client_secret_file,
    };
    (source, origin, urls_given)
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

/// Resolves only what tells where rows are. `None` if and only if `mistakes` is not empty.
pub(super) fn resolve_rows(
    layer: &Layer,
    mistakes: &mut Vec<Finding>,
    warnings: &mut Vec<Finding>,
) -> Option<RowsConfig> {
    let mut reader = Reader::new(layer, mistakes, warnings);
    let org = reader.value("source.name", values::name);
    let rows = RowsConfig {
        pipeline: pipeline(&mut reader, &org),
        kind: store::kind(&mut reader),
        path: PathBuf::from(reader.value("store.path", values::path)),
    };
    mistakes.is_empty().then_some(rows)
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

/// Reads settings and collects what is wrong with them.
pub(super) struct Reader<'a> {
    layer: &'a Layer,
    pub(super) mistakes: &'a mut Vec<Finding>,
    pub(super) warnings: &'a mut Vec<Finding>,
    /// Settings with a mistake: rules between settings keep silent about them.
    bad: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    /// What this version does not support is refused already.
    fn new(
        layer: &'a Layer,
        mistakes: &'a mut Vec<Finding>,
        warnings: &'a mut Vec<Finding>,
    ) -> Self {
        let mut reader = Self {
            layer,
            mistakes,
            warnings,
            bad: BTreeSet::new(),
        };
        reader.refuse_unsupported();
        reader
    }

    pub(super) fn refuse(&mut self, place: Place, key: &'static str, refusal: Refusal) {
        self.bad.insert(key);
        self.mistakes.push(Finding::new(place, key, refusal));
    }

    /// A mistake in something that is no setting.
    pub(super) fn refuse_place(&mut self, place: Place, refusal: Refusal) {
        self.mistakes.push(Finding::new(place, "", refusal));
    }

    pub(super) fn warn(&mut self, key: &'static str, place: Place, refusal: Refusal) {
        self.warnings.push(Finding::new(place, key, refusal));
    }

    pub(super) fn refuse_key(&mut self, key: &'static str, refusal: Refusal) {
        self.refuse(self.place(key), key, refusal);
    }

    pub(super) fn any_bad(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.bad.contains(key))
    }

    pub(super) fn place(&self, path: &str) -> Place {
        self.layer
            .get(path)
            .map_or(Place::Default, |raw| raw.place.clone())
    }

    /// The text of a single value.
    pub(super) fn given(&self, path: &'static str) -> &'a str {
        match self.layer.get(path).map(|raw| &raw.value) {
            Some(RawValue::One(text)) => text,
            _ => default_text(path),
        }
    }

    pub(super) fn value<T>(
        &mut self,
        path: &'static str,
        parse: impl Fn(&str) -> Result<T, Refusal>,
    ) -> T {
        match parse(self.given(path)) {
            Ok(value) => value,
            Err(refusal) => {
                self.refuse_key(path, refusal);
                default_of(path, parse)
            }
        }
    }

    /// A setting that has no valid default.
    fn required(
        &mut self,
        path: &'static str,
        parse: impl Fn(&str) -> Result<String, Refusal>,
    ) -> String {
        parse(self.given(path)).unwrap_or_else(|refusal| {
            self.refuse_key(path, refusal);
            String::new()
        })
    }

    pub(super) fn duration(&mut self, path: &'static str) -> Millis {
        self.value(path, values::duration_above_zero)
    }

    pub(super) fn count(&mut self, path: &'static str, least: u32, most: u32) -> u32 {
        self.value(path, |text| values::count(text, least..=most))
    }

    fn url(&mut self, path: &'static str) -> Option<Url> {
        let text = self.given(path);
        if text.is_empty() {
            return None;
        }
        match values::base_url(text) {
            Ok(url) => {
                if url.scheme() == "http" && !values::is_loopback(&url) {
                    let what = "sends tokens and states of people in clear text";
                    self.warn(path, self.place(path), Refusal::new(what, "use https"));
                }
                Some(url)
            }
            Err(refusal) => {
                self.refuse_key(path, refusal);
                None
            }
        }
    }

    /// A word that `refuse_unsupported` has let pass.
    pub(super) fn word(&self, path: &'static str) -> &'a str {
        if self.any_bad(&[path]) {
            default_text(path)
        } else {
            self.given(path)
        }
    }

    pub(super) fn items(&mut self, path: &'static str) -> Vec<(String, Place)> {
        let items = match self.layer.get(path).map(|raw| &raw.value) {
            Some(RawValue::Many(items)) => items.clone(),
            _ => {
                let setting = setting(path).expect("settings are read by paths of the table");
                let items = setting.default.iter();
                items
                    .map(|item| ((*item).to_owned(), Place::Default))
                    .collect()
            }
        };
        if items.len() > ITEMS_MAX {
            let what = format!("has {} items", items.len());
            let refusal = Refusal::new(what, format!("give at most {ITEMS_MAX}"));
            self.refuse_key(path, refusal);
            return Vec::new();
        }
        items
    }

    fn patterns(&mut self, path: &'static str) -> Vec<Regex> {
        let mut patterns = Vec::new();
        for (text, place) in self.items(path) {
            match values::pattern(&text) {
                Ok(pattern) => patterns.push(pattern),
                Err(refusal) => self.refuse(place, path, refusal),
            }
        }
        patterns
    }

    /// A rule between two durations, told where `key` or else `other` was set.
    fn owe(
        &mut self,
        key: &'static str,
        other: &'static str,
        owes: &str,
        holds: impl Fn(Millis, Millis) -> bool,
    ) {
        if self.any_bad(&[key, other]) {
            return;
        }
        let read = |text: &str| values::duration_above_zero(text);
        let (Ok(left), Ok(right)) = (read(self.given(key)), read(self.given(other))) else {
            return;
        };
        if holds(left, right) {
            return;
        }
        let set = if self.layer.contains_key(key) {
            key
        } else {
            other
        };
        let what = format!(
            "({}) {owes} {other} ({})",
            duration::text(left),
            duration::text(right)
        );
        let place = self.place(set);
        self.refuse(place, key, Refusal::new(what, "change one of the two"));
    }

    /// Words that are not words of the setting, and values that only a later version acts on.
    fn refuse_unsupported(&mut self) {
        let layer = self.layer;
        for setting in SETTINGS {
            let Some(raw) = layer.get(setting.path) else {
                continue;
            };
            let refusal = match (setting.support, &raw.value) {
                (Support::Planned, RawValue::One(text)) if text.is_empty() => None,
                (Support::Planned, _) => Some(Refusal::new(
                    "is not supported by this version",
                    "remove it",
                )),
                (Support::Words { supported, planned }, RawValue::One(word)) => {
                    word_refusal(word, supported, planned)
                }
                _ => None,
            };
            if let Some(refusal) = refusal {
                self.refuse(raw.place.clone(), setting.path, refusal);
            }
        }
    }
}

fn word_refusal(word: &str, supported: &[&str], planned: &[&str]) -> Option<Refusal> {
    if supported.contains(&word) {
        return None;
    }
    let choice = supported.join(", ");
    if planned.contains(&word) {
        let what = "is not supported by this version";
        return Some(Refusal::value(word, what, &format!("supported: {choice}")));
    }
    let known = supported.iter().chain(planned).copied();
    let meant = nearest(word, known)
        .map(|near| format!("did you mean {}? ", quoted(near)))
        .unwrap_or_default();
    let hint = format!("{meant}supported: {choice}");
    Some(Refusal::value(word, "is not one of the values", &hint))
}

fn default_of<T>(path: &'static str, parse: impl Fn(&str) -> Result<T, Refusal>) -> T {
    parse(default_text(path)).unwrap_or_else(|_| panic!("the default of {path} is valid"))
}

fn default_text(path: &str) -> &'static str {
    let setting = setting(path).expect("settings are read by paths of the table");
    setting.default.first().copied().unwrap_or_default()
}
