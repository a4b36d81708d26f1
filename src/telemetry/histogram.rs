//! A histogram that both libraries keep, filled at one site.
//!
//! The page is made of the prometheus crate's, the push of the SDK's: the SDK cannot be handed
//! a histogram that others keep. Both get the catalog's bounds, so they tell the same.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use super::register::bounds;
use super::shelf::Changes;
use crate::catalog::{Metric, ORG_LABEL};

/// Where histograms are recorded to be pushed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pushed<'a> {
    /// None if nothing is pushed.
    pub(super) meter: Option<&'a Meter>,
    /// The organisation among several that they are about.
    pub(super) org: Option<&'a str>,
}

impl Pushed<'_> {
    pub(super) const NOWHERE: Self = Pushed {
        meter: None,
        org: None,
    };
}

/// A series of a histogram, twice.
#[derive(Debug)]
pub(super) struct Twin {
    page: prometheus::Histogram,
    changes: Changes,
    /// With the series' attributes; none if nothing is pushed.
    push: Option<(Histogram<f64>, Vec<KeyValue>)>,
}

impl Twin {
    /// `value` is that of the metric's only label. An instrument of a name is kept once by a
    /// meter, however often it is asked for.
    pub(super) fn new(
        page: prometheus::Histogram,
        changes: Changes,
        metric: Metric,
        push: Pushed<'_>,
        value: Option<&'static str>,
    ) -> Self {
        let spec = metric.spec();
        let attributes = spec.labels.iter().zip(value);
        let org = push.org.map(|org| KeyValue::new(ORG_LABEL, org.to_owned()));
        let push = push.meter.map(|meter| {
            let histogram = meter
                .f64_histogram(spec.otel_name)
                .with_unit(spec.unit.ucum())
                .with_description(spec.help)
                .with_boundaries(bounds(metric).to_vec())
                .build();
            let attributes = attributes
                .map(|(label, value)| KeyValue::new(label.name, value))
                .chain(org)
                .collect();
            (histogram, attributes)
        });
        Self {
            page,
            changes,
            push,
        }
    }

    pub(super) fn observe(&self, value: f64) {
        self.page.observe(value);
        self.changes.note();
        if let Some((histogram, attributes)) = &self.push {
            histogram.record(value, attributes);
        }
    }
}
