//! A gauge that may have no value: absent from the page rather than 0 or NaN.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, Metric as Sample, MetricFamily, MetricType};

use super::register::desc;
use super::shelf::Changes;
use crate::catalog::Metric;

/// Cheap to clone; clones share the value.
#[derive(Debug, Clone)]
pub(super) struct OptionalGauge {
    metric: Metric,
    desc: Arc<Desc>,
    /// The value's bits; NaN stands for none, because no gauge of ours can be NaN.
    bits: Arc<AtomicU64>,
    changes: Changes,
}

impl OptionalGauge {
    pub(super) fn new(metric: Metric, changes: Changes) -> Self {
        Self {
            changes,
            metric,
            desc: Arc::new(desc(metric)),
            bits: Arc::new(AtomicU64::new(f64::NAN.to_bits())),
        }
    }

    pub(super) fn set(&self, value: Option<f64>) {
        let bits = value.unwrap_or(f64::NAN).to_bits();
        if self.bits.swap(bits, Ordering::Relaxed) != bits {
            self.changes.note();
        }
    }

    pub(super) fn get(&self) -> Option<f64> {
        let value = f64::from_bits(self.bits.load(Ordering::Relaxed));
        (!value.is_nan()).then_some(value)
    }
}

impl Collector for OptionalGauge {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.get()
            .map(|value| gauge_family(self.metric, value))
            .into_iter()
            .collect()
    }
}

/// A gauge family of one sample without labels.
pub(super) fn gauge_family(metric: Metric, value: f64) -> MetricFamily {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut family = MetricFamily::default();
    family.set_name(metric.spec().prometheus_name.to_owned());
    family.set_help(metric.spec().help.to_owned());
    family.set_field_type(MetricType::GAUGE);
    family.set_metric(vec![Sample::from_gauge(gauge)]);
    family
}
