//! The table of every setting: its path in the file, its shape, its default, what it means.
//!
//! One table serves the file, the environment, the effective configuration and the check of
//! the shipped example, so none of them can forget a key. It holds no logic beyond look-ups.

/// Prefix of the environment's variables.
pub const ENVIRONMENT_PREFIX: &str = "GENESYSCLOUD_";

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A number, duration, switch or word: written without quotes.
    Plain,
    /// Free text: written in quotes. The empty text means: not given.
    Text,
    /// A list of texts.
    List,
    /// Must not stand in the file.
    Secret,
    /// A list of mappings, each with the keys of the section `source`.
    Sources,
}

/// Which values this version acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Every valid value.
    Full,
    /// These words; the others are valid, and refused as not supported.
    Words {
        /// Words acted on.
        supported: &'static [&'static str],
        /// Words known by name only.
        planned: &'static [&'static str],
    },
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its path: section and key, or a key alone.
    pub path: &'static str,
    /// How it is written.
    pub shape: Shape,
    /// Which values are acted on.
    pub support: Support,
    /// The default as text; of a list, its items.
    pub default: &'static [&'static str],
    /// It may change by a reload, while the exporter runs.
    pub live: bool,
}

impl Setting {
    /// The same setting, which may change while the exporter runs.
    const fn live(mut self) -> Self {
        self.live = true;
        self
    }

    /// The variable that sets it: the prefix and the path in upper case, `_` for `.`.
    pub fn variable(&self) -> String {
        format!(
            "{ENVIRONMENT_PREFIX}{}",
            self.path.to_ascii_uppercase().replace('.', "_")
        )
    }
}

const fn plain(path: &'static str, default: &'static [&'static str]) -> Setting {
    row(path, Shape::Plain, Support::Full, default)
}

const fn text(path: &'static str, default: &'static [&'static str]) -> Setting {
    row(path, Shape::Text, Support::Full, default)
}

const fn list(path: &'static str, default: &'static [&'static str]) -> Setting {
    row(path, Shape::List, Support::Full, default)
}

const fn words(
    path: &'static str,
    supported: &'static [&'static str],
    planned: &'static [&'static str],
    default: &'static [&'static str],
) -> Setting {
    let support = Support::Words { supported, planned };
    row(path, Shape::Plain, support, default)
}

const fn row(
    path: &'static str,
    shape: Shape,
    support: Support,
    default: &'static [&'static str],
) -> Setting {
    Setting {
        path,
        shape,
        support,
        default,
        live: false,
    }
}

/// Every setting, in the order in which the example and the effective configuration show them.
/// Keys of a section stand together.
///
/// What is not `live` is built into something that outlives a reload: keys of the store, rows
/// already written, sockets, instruments.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    text("source.name", &["default"]),
    words("source.dialect", &["auto", "status", "platform"], &[], &["auto"]),
    text("source.region", &["mypurecloud.com"]),
    text("source.api_url", &[""]),
    text("source.login_url", &[""]),
    text("source.client_id", &[""]),
    row("source.client_secret", Shape::Secret, Support::Full, &[""]),
    text("source.client_secret_file", &[""]),
    words("source.notifications", &["auto", "off"], &[], &["auto"]),
    row("sources", Shape::Sources, Support::Full, &[]),
    plain("poll.interval", &["15s"]).live(),
    plain("poll.timeout", &["10s"]).live(),
    plain("snapshot.min_coverage", &["0.90"]).live(),
    plain("snapshot.retry_backoff", &["10s"]).live(),
    plain("snapshot.cache_age", &["15s"]).live(),
    plain("breaker.failures", &["3"]).live(),
    plain("breaker.cooldown", &["60s"]).live(),
    plain("breaker.max_cooldown", &["10m"]).live(),
    plain("budget.requests_per_minute", &["300"]).live(),
    plain("budget.max_in_flight", &["8"]).live(),
    plain("volatile.transitions", &["3"]),
    plain("volatile.within", &["60s"]),
    plain("volatile.settle_cycles", &["2"]).live(),
    plain("stuck.after", &["15m"]).live(),
    plain("stuck.recheck", &["5m"]).live(),
    plain("divergence.interval", &["1h"]).live(),
    plain("divergence.sample", &["0.20"]).live(),
    plain("divergence.max", &["0.05"]).live(),
    plain("registry.refresh", &["10m"]).live(),
    plain("queues.refresh", &["10m"]).live(),
    list("queues.include", &[".*"]).live(),
    list("queues.exclude", &[]).live(),
    plain("queues.max", &["10000"]).live(),
    plain("window.length", &["5m"]),
    plain("window.slide", &["5m"]),
    plain("window.lateness", &["auto"]).live(),
    plain("window.gap_tolerance", &["auto"]).live(),
    plain("window.max_wait", &["10m"]).live(),
    plain("window.include_offline", &["false"]),
    plain("stale_after", &["10m"]).live(),
    words("queue.kind", &["embedded", "nats"], &[], &["embedded"]),
    plain("queue.batch_size", &["50"]),
    text("queue.url", &[""]),
    text("queue.stream", &["GENESYSCLOUD"]),
    text("queue.subject", &["genesyscloud"]),
    text("queue.credentials_file", &[""]),
    words("store.kind", &["sqlite", "postgres"], &[], &["sqlite"]),
    text("store.path", &["./data"]),
    plain("store.allow_network_file_system", &["false"]),
    plain("store.retention", &["7d"]).live(),
    text("store.url_file", &[""]),
    text("store.remote_write.url", &[""]),
    text("store.remote_write.headers_file", &[""]),
    plain("store.remote_write.timeout", &["30s"]),
    words("role", &["all", "poller", "aggregator"], &[], &["all"]),
    words("metrics.per_agent", &["off", "pseudonym", "id", "name"], &[], &["off"]).live(),
    text("metrics.pseudonym_key_file", &[""]).live(),
    text("otlp.endpoint", &[""]),
    words("otlp.protocol", &["http/protobuf", "grpc"], &[], &["http/protobuf"]),
    plain("otlp.interval", &["30s"]),
    text("otlp.headers_file", &[""]),
    words("otlp.temporality", &["cumulative", "delta", "lowmemory"], &[], &["cumulative"]),
    plain("otlp.cardinality_limit", &["10000"]),
    list("web.listen", &[super::DEFAULT_LISTEN]),
    text("web.telemetry_path", &["/metrics"]),
    text("web.config_file", &[""]).live(),
    plain("web.enable_lifecycle", &["false"]),
    words("log.level", &["debug", "info", "warn", "error"], &[], &["info"]).live(),
    words("log.format", &["logfmt", "json"], &[], &["logfmt"]).live(),
];

/// The setting at `path`.
pub fn setting(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}

/// Whether `path` is a section: something that holds keys.
pub fn is_section(path: &str) -> bool {
    SETTINGS.iter().any(|setting| {
        setting
            .path
            .strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

/// The keys that may stand in `section`; at the top of the file if that is empty.
pub fn keys_in(section: &str) -> Vec<&'static str> {
    let mut keys: Vec<&'static str> = Vec::new();
    for setting in SETTINGS {
        let inside = if section.is_empty() {
            Some(setting.path)
        } else {
            setting
                .path
                .strip_prefix(section)
                .and_then(|rest| rest.strip_prefix('.'))
        };
        let Some(inside) = inside else { continue };
        let key = inside.split('.').next().unwrap_or(inside);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn paths_and_variables_are_unique() {
        let paths: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.path).collect();
        let variables: BTreeSet<_> = SETTINGS.iter().map(Setting::variable).collect();
        assert_eq!(paths.len(), SETTINGS.len());
        assert_eq!(variables.len(), SETTINGS.len());
        assert!(variables.contains("GENESYSCLOUD_POLL_INTERVAL"));
        assert!(variables.contains("GENESYSCLOUD_SOURCE_CLIENT_ID"));
    }

    #[test]
    fn defaults_are_supported_and_single_but_for_lists() {
        for setting in SETTINGS {
            match setting.shape {
                Shape::List | Shape::Sources => {}
                _ => assert_eq!(setting.default.len(), 1, "{}", setting.path),
            }
            if let Support::Words { supported, planned } = setting.support {
                assert!(supported.contains(&setting.default[0]), "{}", setting.path);
                assert!(planned.iter().all(|word| !supported.contains(word)));
            }
        }
    }

    #[test]
    fn what_names_data_or_holds_sockets_does_not_change_while_running() {
        for path in [
            "source.region",
            "window.length",
            "store.path",
            "web.listen",
            "otlp.endpoint",
        ] {
            assert!(!setting(path).unwrap().live, "{path}");
        }
        for path in ["budget.requests_per_minute", "queues.include", "log.level"] {
            assert!(setting(path).unwrap().live, "{path}");
        }
    }

    #[test]
    fn sections_know_their_keys() {
        assert!(is_section("poll") && !is_section("stale_after") && !is_section("pol"));
        assert_eq!(keys_in("poll"), ["interval", "timeout"]);
        assert!(keys_in("").contains(&"stale_after") && keys_in("").contains(&"source"));
    }
}
