//! What Prometheus makes of OTLP: the standard translation, written from its description
//! (OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility").

use std::collections::BTreeMap;

use genesys_cloud_exporter::catalog::{CATALOG, Origin};

use super::sink::{Point, Series, Value};

/// The name of a metric.
pub(crate) fn translated(name: &str, unit: &str, counter: bool) -> String {
    let mut tokens: Vec<&str> = name
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == ':'))
        .filter(|token| !token.is_empty())
        .collect();
    let word = match unit {
        "s" => "seconds",
        "By" => "bytes",
        _ => "",
    };
    if !word.is_empty() && !tokens.contains(&word) {
        tokens.push(word);
    }
    if counter {
        tokens.retain(|token| *token != "total");
        tokens.push("total");
    } else if unit == "1" {
        tokens.retain(|token| *token != "ratio");
        tokens.push("ratio");
    }
    tokens.join("_")
}

/// Samples as a page would show them. Process metrics have other names by custom; the catalog
/// says which.
pub(crate) fn translated_all(points: &BTreeMap<Series, Point>) -> BTreeMap<Series, f64> {
    let mut all = BTreeMap::new();
    let mut put = |name: String, labels: BTreeMap<String, String>, value: f64| {
        let before = all.insert((name, labels), value);
        assert!(before.is_none(), "two series became one");
    };
    for ((otel_name, labels), point) in points {
        let counter = matches!(point.value, Value::Counter(_));
        let process = CATALOG
            .iter()
            .find(|spec| spec.origin == Origin::Process && spec.otel_name == otel_name);
        let name = match process {
            Some(spec) => spec.prometheus_name.to_owned(),
            None => translated(otel_name, &point.unit, counter),
        };
        match &point.value {
            Value::Gauge(value) | Value::Counter(value) => put(name, labels.clone(), *value),
            Value::Histogram(histogram) => {
                let bounds = histogram.explicit_bounds.iter().map(|b| format!("{b:?}"));
                let mut cumulative = 0;
                let bounds = bounds.chain(["+Inf".to_owned()]);
                for (bound, count) in bounds.zip(&histogram.bucket_counts) {
                    cumulative += count;
                    let mut labels = labels.clone();
                    labels.insert("le".to_owned(), bound);
                    put(format!("{name}_bucket"), labels, cumulative as f64);
                }
                assert_eq!(cumulative, histogram.count);
                let sum = histogram.sum.expect("a sum");
                put(format!("{name}_sum"), labels.clone(), sum);
                put(
                    format!("{name}_count"),
                    labels.clone(),
                    histogram.count as f64,
                );
            }
        }
    }
    all
}
