//! Makes handles of the prometheus crate from rows of the catalog and registers them.
//!
//! The only place that turns a catalog row into a collector; that it succeeds for every row is
//! tested, so a failure at run time is a bug of ours.

use opentelemetry::metrics::Meter;
use prometheus::core::{Collector, Desc, Describer};
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use super::histogram::Twin;
use super::optional::OptionalGauge;
use crate::catalog::{Kind, LabelValues, Metric};

const VALID: &str = "a row of the catalog is a valid, unique metric";

pub(super) fn desc(metric: Metric) -> Desc {
    Opts::new(metric.spec().prometheus_name, metric.spec().help)
        .variable_labels(label_names(metric).into_iter().map(str::to_owned).collect())
        .describe()
        .expect(VALID)
}

pub(super) fn optional_gauge(registry: &Registry, metric: Metric) -> OptionalGauge {
    let gauge = OptionalGauge::new(metric);
    add(registry, gauge.clone());
    gauge
}

pub(super) fn counters(registry: &Registry, metric: Metric) -> IntCounterVec {
    assert!(metric.spec().kind == Kind::Counter, "{VALID}");
    let opts = Opts::new(metric.spec().prometheus_name, metric.spec().help);
    let vec = IntCounterVec::new(opts, &label_names(metric)).expect(VALID);
    add(registry, vec.clone());
    vec
}

/// One counter for each value of the metric's only label, in order, all at 0.
pub(super) fn counter_each(registry: &Registry, metric: Metric) -> Vec<IntCounter> {
    let vec = counters(registry, metric);
    closed_values(metric)
        .iter()
        .map(|value| vec.with_label_values(&[value]))
        .collect()
}

pub(super) fn histogram(registry: &Registry, meter: Option<&Meter>, metric: Metric) -> Twin {
    let vec = histograms(registry, metric);
    Twin::new(vec.with_label_values::<&str>(&[]), metric, meter, None)
}

/// One histogram for each value of the metric's only label, in order, all empty.
pub(super) fn histogram_each(
    registry: &Registry,
    meter: Option<&Meter>,
    metric: Metric,
) -> Vec<Twin> {
    let vec = histograms(registry, metric);
    closed_values(metric)
        .iter()
        .map(|value| Twin::new(vec.with_label_values(&[value]), metric, meter, Some(value)))
        .collect()
}

fn histograms(registry: &Registry, metric: Metric) -> HistogramVec {
    let vec = HistogramVec::new(histogram_opts(metric), &label_names(metric)).expect(VALID);
    add(registry, vec.clone());
    vec
}

pub(super) fn add(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect(VALID);
}

fn histogram_opts(metric: Metric) -> HistogramOpts {
    let spec = metric.spec();
    HistogramOpts::new(spec.prometheus_name, spec.help).buckets(bounds(metric).to_vec())
}

/// Upper bounds of a histogram of the catalog, `+Inf` left out.
pub(super) fn bounds(metric: Metric) -> &'static [f64] {
    match metric.spec().kind {
        Kind::Histogram(bounds) => bounds,
        _ => panic!("{VALID}: {metric:?} is not a histogram"),
    }
}

fn label_names(metric: Metric) -> Vec<&'static str> {
    metric
        .spec()
        .labels
        .iter()
        .map(|label| label.name)
        .collect()
}

fn closed_values(metric: Metric) -> &'static [&'static str] {
    match metric.spec().labels {
        [label] => match label.values {
            LabelValues::Closed(values) => values,
            _ => panic!("{VALID}: {metric:?} has an open label"),
        },
        _ => panic!("{VALID}: {metric:?} has not one label"),
    }
}
