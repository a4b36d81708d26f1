//! Makes handles of the prometheus crate from rows of the catalog and registers them.
//!
//! The only place that turns a catalog row into a collector; that it succeeds for every row is
//! tested, so a failure at run time is a bug of ours.

use prometheus::core::{Desc, Describer};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts};

use super::histogram::{Pushed, Twin};
use super::optional::OptionalGauge;
use super::shelf::{Changes, Counted, CountedVec, Shelves};
use crate::catalog::{Kind, LabelValues, Metric};

pub(super) const VALID: &str = "a row of the catalog is a valid, unique metric";

pub(super) fn desc(metric: Metric) -> Desc {
    Opts::new(metric.spec().prometheus_name, metric.spec().help)
        .variable_labels(label_names(metric).into_iter().map(str::to_owned).collect())
        .describe()
        .expect(VALID)
}

pub(super) fn optional_gauge(shelves: &mut Shelves, metric: Metric) -> OptionalGauge {
    let changes = Changes::default();
    let gauge = OptionalGauge::new(metric, changes.clone());
    shelves.add(metric, gauge.clone(), changes);
    gauge
}

pub(super) fn counters(shelves: &mut Shelves, metric: Metric) -> CountedVec {
    assert!(metric.spec().kind == Kind::Counter, "{VALID}");
    let opts = Opts::new(metric.spec().prometheus_name, metric.spec().help);
    let counters = IntCounterVec::new(opts, &label_names(metric)).expect(VALID);
    let changes = Changes::default();
    shelves.add(metric, counters.clone(), changes.clone());
    CountedVec { counters, changes }
}

/// One counter for each value of the metric's only label, in order, all at 0.
pub(super) fn counter_each(shelves: &mut Shelves, metric: Metric) -> Vec<Counted> {
    let vec = counters(shelves, metric);
    closed_values(metric)
        .iter()
        .map(|value| vec.of(&[value]))
        .collect()
}

pub(super) fn histogram(shelves: &mut Shelves, push: Pushed<'_>, metric: Metric) -> Twin {
    let (vec, changes) = histograms(shelves, metric);
    let page = vec.with_label_values::<&str>(&[]);
    Twin::new(page, changes, metric, push, None)
}

/// One histogram for each value of the metric's only label, in order, all empty.
pub(super) fn histogram_each(shelves: &mut Shelves, push: Pushed<'_>, metric: Metric) -> Vec<Twin> {
    let (vec, changes) = histograms(shelves, metric);
    closed_values(metric)
        .iter()
        .map(|value| {
            let page = vec.with_label_values(&[value]);
            Twin::new(page, changes.clone(), metric, push, Some(value))
        })
        .collect()
}

fn histograms(shelves: &mut Shelves, metric: Metric) -> (HistogramVec, Changes) {
    let vec = HistogramVec::new(histogram_opts(metric), &label_names(metric)).expect(VALID);
    let changes = Changes::default();
    shelves.add(metric, vec.clone(), changes.clone());
    (vec, changes)
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
