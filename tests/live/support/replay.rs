//! What an OTLP receiver of Prometheus would have stored of pushes, as a file of the past that
//! promtool makes blocks of. The receiver came with Prometheus 2.47, and Debian has 2.42; so the
//! standard translation is done here: names, units, `_total`, buckets, and the labels `job` and
//! `instance` from the resource.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use genesys_cloud_exporter::catalog::{CATALOG, Origin};

use super::sink::{Received, Series, points, resource};
use super::translation::{translated, translated_all};

/// Values by millisecond, by name and labels.
pub(crate) type Stored = BTreeMap<Series, BTreeMap<u64, f64>>;

/// Every point of every push.
pub(crate) fn stored(received: &[Received]) -> Stored {
    let resource = resource(received);
    let name = &resource["service.name"];
    let job = match resource.get("service.namespace") {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.clone(),
    };
    let instance = resource["service.instance.id"].clone();
    let mut all = Stored::new();
    for one in received {
        let points = points(std::slice::from_ref(one));
        let Some(at) = points.values().map(|point| point.time / 1_000_000).max() else {
            continue;
        };
        for ((name, mut labels), value) in translated_all(&points) {
            labels.insert("job".to_owned(), job.clone());
            labels.insert("instance".to_owned(), instance.clone());
            let series = (standard(&name), labels);
            all.entry(series).or_default().insert(at, value);
        }
    }
    all
}

/// Process metrics have other names on the page by custom; a receiver knows no custom.
fn standard(name: &str) -> String {
    let process = CATALOG
        .iter()
        .find(|spec| spec.origin == Origin::Process && spec.prometheus_name == name);
    process.map_or_else(
        || name.to_owned(),
        |spec| {
            let counter = spec.kind == genesys_cloud_exporter::catalog::Kind::Counter;
            translated(spec.otel_name, spec.unit.ucum(), counter)
        },
    )
}

/// The instant of the last point, in seconds.
pub(crate) fn last_second(stored: &Stored) -> i64 {
    let last = stored
        .values()
        .filter_map(|values| values.keys().next_back());
    // Rounded up: the last push may be the only one that tells of something.
    last.max().expect("something was pushed").div_ceil(1_000) as i64
}

/// As OpenMetrics with timestamps.
pub(crate) fn written(stored: &Stored) -> String {
    let mut text = String::new();
    for ((name, labels), values) in stored {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"");
                format!("{name}=\"{value}\"")
            })
            .collect();
        let labels = labels.join(",");
        for (at, value) in values {
            let (seconds, millis) = (at / 1_000, at % 1_000);
            writeln!(text, "{name}{{{labels}}} {value} {seconds}.{millis:03}").unwrap();
        }
    }
    text + "# EOF\n"
}
