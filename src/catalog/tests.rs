//! The table checked as a table: names, units, labels, bounds, and the OpenTelemetry name
//! against an independent translation of it.

use std::collections::BTreeSet;

use super::table::CATALOG;
use super::*;
use crate::model::state::Presence;
use crate::model::view::SnapshotOutcome;

/// The standard OpenTelemetry-to-Prometheus translation (conventions.md §4.7), written from its
/// description and from nothing in the catalog.
fn translate(otel_name: &str, ucum: &str, kind: Kind) -> String {
    let mut tokens: Vec<String> = otel_name
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == ':'))
        .filter(|token| !token.is_empty())
        .map(str::to_owned)
        .collect();
    let word = match ucum {
        "s" => "seconds",
        "ms" => "milliseconds",
        "By" => "bytes",
        "%" => "percent",
        "" | "1" => "",
        annotation if annotation.starts_with('{') => "",
        unknown => unknown,
    };
    if !word.is_empty() && !tokens.iter().any(|token| token == word) {
        tokens.push(word.to_owned());
    }
    match kind {
        Kind::Counter => {
            tokens.retain(|token| token != "total");
            tokens.push("total".to_owned());
        }
        Kind::Gauge if ucum == "1" => {
            tokens.retain(|token| token != "ratio");
            tokens.push("ratio".to_owned());
        }
        Kind::Gauge | Kind::Histogram(_) => {}
    }
    let name = tokens.join("_");
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        format!("_{name}")
    } else {
        name
    }
}

#[test]
fn the_translation_knows_its_published_examples() {
    for (otel, unit, kind, expected) in [
        ("app.calls", "{call}", Kind::Counter, "app_calls_total"),
        ("app.talk", "s", Kind::Counter, "app_talk_seconds_total"),
        ("app.agents", "{agent}", Kind::Gauge, "app_agents"),
        ("app.disk.usage", "1", Kind::Gauge, "app_disk_usage_ratio"),
        ("app.build.info", "", Kind::Gauge, "app_build_info"),
        (
            "app.received",
            "By",
            Kind::Counter,
            "app_received_bytes_total",
        ),
        ("app.total.calls", "", Kind::Counter, "app_calls_total"),
    ] {
        assert_eq!(translate(otel, unit, kind), expected);
    }
}

#[test]
fn the_opentelemetry_name_translates_to_the_prometheus_name() {
    for spec in &CATALOG {
        if spec.origin == Origin::Process {
            assert!(spec.otel_name.starts_with("process."), "{spec:?}");
            continue;
        }
        assert_eq!(
            translate(spec.otel_name, spec.unit.ucum(), spec.kind),
            spec.prometheus_name
        );
    }
}

#[test]
fn names_are_unique_and_resolve() {
    let prometheus: BTreeSet<_> = CATALOG.iter().map(|spec| spec.prometheus_name).collect();
    let families: BTreeSet<_> = CATALOG.iter().map(MetricSpec::family_name).collect();
    let otel: BTreeSet<_> = CATALOG.iter().map(|spec| spec.otel_name).collect();
    assert_eq!(
        [prometheus.len(), families.len(), otel.len()],
        [CATALOG.len(); 3]
    );
    for spec in &CATALOG {
        assert_eq!(Metric::by_name(spec.prometheus_name), Some(spec.id));
        assert_eq!(spec.id.spec().prometheus_name, spec.prometheus_name);
    }
    assert_eq!(Metric::by_name("genesyscloud_nonsense"), None);
}

#[test]
fn names_keep_the_rules_of_naming() {
    for spec in &CATALOG {
        let name = spec.prometheus_name;
        assert!(
            name.starts_with("genesyscloud_") || spec.origin == Origin::Process,
            "{name}"
        );
        assert_eq!(
            name.starts_with("process_"),
            spec.origin == Origin::Process,
            "{name}"
        );
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
            "{name}"
        );
        assert_eq!(
            name.ends_with("_total"),
            spec.kind == Kind::Counter,
            "{name}"
        );
        for part in name.split('_') {
            // What `promtool check metrics` takes for a unit that is not a base unit.
            let suspicious = [
                "s",
                "ms",
                "us",
                "ns",
                "sec",
                "b",
                "kb",
                "mb",
                "gb",
                "tb",
                "pb",
                "m",
                "h",
                "d",
                "minutes",
                "hours",
                "days",
                "weeks",
                "percent",
                "gauge",
                "counter",
                "histogram",
            ];
            assert!(!suspicious.contains(&part), "{name}: part {part:?}");
        }
        for reserved in ["_bucket", "_count", "_sum"] {
            assert!(!name.ends_with(reserved), "{name}");
        }
    }
}

#[test]
fn units_show_in_names() {
    for spec in &CATALOG {
        if let Some(word) = spec.unit.word() {
            assert_eq!(spec.unit_suffix(), Some(word), "{}", spec.prometheus_name);
        } else {
            for word in ["_seconds", "_bytes", "_ratio"] {
                assert!(
                    !spec.family_name().ends_with(word),
                    "{}",
                    spec.prometheus_name
                );
            }
        }
        if let Unit::Count(annotation) = spec.unit {
            assert!(annotation.starts_with('{') && annotation.ends_with('}'));
        }
        let state_or_fact = spec.prometheus_name.ends_with("_info")
            || spec.prometheus_name.ends_with("_state")
            || spec.prometheus_name.ends_with("_successful");
        if state_or_fact {
            assert_eq!(spec.unit, Unit::None, "{}", spec.prometheus_name);
        }
    }
}

#[test]
fn help_is_one_sentence_and_says_how_often_an_agent_counts() {
    for spec in &CATALOG {
        let (name, help) = (spec.prometheus_name, spec.help);
        assert!(
            help.ends_with('.') && help.matches(". ").count() == 0,
            "{name}"
        );
        assert!(
            help.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit()),
            "{name}"
        );
        assert!(!help.contains(['\n', '\\', '"', '|']), "{name}");
        let counts_members =
            spec.labels.iter().any(|l| l.name == "queue") && !name.ends_with("_info");
        assert_eq!(
            help.contains("an agent counts in each of its queues"),
            counts_members,
            "{name}"
        );
        match spec.unit {
            Unit::Seconds => assert!(
                help.contains("seconds") || help.contains("Seconds"),
                "{name}"
            ),
            Unit::Bytes => assert!(help.contains("bytes"), "{name}"),
            Unit::Ratio => assert!(help.contains("from 0 to 1"), "{name}"),
            Unit::Count(_) | Unit::None => {}
        }
        assert_eq!(spec.since, "0.1.0");
    }
}

#[test]
fn labels_are_few_and_bounded_and_the_bound_is_their_product() {
    for spec in &CATALOG {
        let name = spec.prometheus_name;
        assert!(spec.labels.len() <= LABELS_MAX, "{name}");
        let names: BTreeSet<_> = spec.labels.iter().map(|label| label.name).collect();
        assert_eq!(names.len(), spec.labels.len(), "{name}");
        let (mut most, mut scale) = (1, Scale::Once);
        for label in spec.labels {
            assert!(!["le", "quantile", "type", "job", "instance"].contains(&label.name));
            match label.values {
                LabelValues::Closed(values) => {
                    let distinct: BTreeSet<_> = values.iter().collect();
                    assert_eq!(distinct.len(), values.len(), "{name}");
                    assert!(!values.is_empty() && !values.contains(&"all"), "{name}");
                    most *= values.len() as u32;
                }
                LabelValues::Queues => scale = Scale::PerQueue,
                LabelValues::Agents => scale = Scale::PerAgent,
                LabelValues::QueueIds | LabelValues::Constant => {}
            }
        }
        if spec.id == Metric::Snapshots {
            // A reason belongs to one result: outcomes, not their product.
            most = SnapshotOutcome::ALL.len() as u32;
        }
        assert_eq!(spec.series, SeriesBound { most, scale }, "{name}");
    }
}

#[test]
fn closed_values_agree_with_the_types_that_make_them() {
    let LabelValues::Closed(presences) = Metric::PresenceAgents.spec().labels[0].values else {
        panic!("presence is a closed label");
    };
    assert!(Presence::labels().eq(presences.iter().copied()));
    let LabelValues::Closed(results) = Metric::Snapshots.spec().labels[0].values else {
        panic!("result is a closed label");
    };
    for outcome in SnapshotOutcome::ALL {
        assert!(results.contains(&outcome.labels().0));
    }
}

#[test]
fn histogram_bounds_ascend() {
    for spec in &CATALOG {
        if let Kind::Histogram(bounds) = spec.kind {
            assert!(
                bounds.is_sorted_by(|a, b| a < b),
                "{}",
                spec.prometheus_name
            );
            assert!(bounds.iter().all(|bound| bound.is_finite() && *bound > 0.0));
            assert_eq!(spec.unit, Unit::Seconds);
        }
    }
}
