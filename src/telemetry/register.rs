//! Makes handles of the prometheus crate from rows of the catalog and registers them.
//!
//! The only place that turns a catalog row into a collector; that it succeeds for every row is
//! tested, so a failure at run time is a bug of ours.

use prometheus::core::{Collector, Desc, Describer};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};

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

pub(super) fn histogram(registry: &Registry, metric: Metric) -> Histogram {
    let histogram = Histogram::with_opts(histogram_opts(metric)).expect(VALID);
    add(registry, histogram.clone());
    histogram
}

/// One histogram for each value of the metric's only label, in order, all empty.
pub(super) fn histogram_each(registry: &Registry, metric: Metric) -> Vec<Histogram> {
    let vec = HistogramVec::new(histogram_opts(metric), &label_names(metric)).expect(VALID);
    add(registry, vec.clone());
    closed_values(metric)
        .iter()
        .map(|value| vec.with_label_values(&[value]))
        .collect()
}

pub(super) fn add(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect(VALID);
}

fn histogram_opts(metric: Metric) -> HistogramOpts {
    let spec = metric.spec();
    let Kind::Histogram(bounds) = spec.kind else {
        panic!("{VALID}: {} is not a histogram", spec.prometheus_name);
    };
    HistogramOpts::new(spec.prometheus_name, spec.help).buckets(bounds.to_vec())
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
