//! One request's instruments in the SDK: fed with a slice, read as a request.
//!
//! Each request has a provider and a reader of its own, because the SDK's exporter neither
//! splits nor sees how large a request becomes. Gauges, and counters that are cumulative, are
//! observed from the slice. Under delta temporality counters are added to instead: the SDK takes
//! the first value that it observes for an increase, and ours go on counting over restarts.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::{AsyncInstrument, Counter, Meter, MeterProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    Instrument, InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Stream, Temporality,
};

use super::map::{Labels, Point, ShardId, Slice, attributes, rows};
use crate::catalog::{Kind, Metric, MetricSpec};

/// What series counted when this process began; under delta temporality only.
pub(super) type Counted = BTreeMap<(Metric, Labels), f64>;

/// What every request has in common.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) resource: Resource,
    pub(super) temporality: Temporality,
    pub(super) cardinality_limit: usize,
}

/// The instruments of a request.
#[derive(Debug)]
pub(super) struct Shard {
    meter: Meter,
    reader: Reader,
    observed: Arc<ArcSwap<Slice>>,
    /// Empty unless temporality is delta.
    added: BTreeMap<Metric, Counter<f64>>,
    counted: Counted,
    /// The organisation among several.
    org: Option<Arc<str>>,
    /// Kept because the reader only borrows what it owns.
    _provider: SdkMeterProvider,
}

impl Shard {
    pub(super) fn new(id: ShardId, common: &Common, org: Option<&Arc<str>>) -> Self {
        let reader = ManualReader::builder().with_temporality(common.temporality);
        let reader = Reader(Arc::new(reader.build()));
        let limit = common.cardinality_limit;
        let provider = SdkMeterProvider::builder()
            .with_resource(common.resource.clone())
            .with_reader(reader.clone())
            // Without it the SDK folds whatever is beyond 2000 series into one.
            .with_view(move |instrument: &Instrument| {
                Stream::builder()
                    .with_name(instrument.name().to_owned())
                    .with_cardinality_limit(limit)
                    .build()
                    .ok()
            })
            .build();
        let scope = InstrumentationScope::builder("genesys-cloud-exporter")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let meter = provider.meter_with_scope(scope);
        let observed = Arc::new(ArcSwap::from_pointee(Slice::new()));
        let mut added = BTreeMap::new();
        for spec in rows(id.scale()) {
            match spec.kind {
                Kind::Counter if common.temporality == Temporality::Delta => {
                    added.insert(spec.id, counter(&meter, spec));
                }
                Kind::Counter => observe_counter(&meter, spec, &observed, org),
                Kind::Gauge => observe_gauge(&meter, spec, &observed, org),
                // Recorded where they are measured.
                Kind::Histogram(_) => {}
            }
        }
        Self {
            meter,
            reader,
            observed,
            added,
            counted: Counted::new(),
            org: org.cloned(),
            _provider: provider,
        }
    }

    /// Makes the instruments that are recorded elsewhere.
    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The request with exactly these points, and what histograms recorded. A series that is in
    /// `before` has counted that much before this process began.
    pub(super) fn collect(
        &mut self,
        slice: Slice,
        before: &mut Counted,
    ) -> Result<ResourceMetrics, opentelemetry_sdk::error::OTelSdkError> {
        self.add(&slice, before);
        self.observed.store(Arc::new(slice));
        let mut request = ResourceMetrics::default();
        let collected = self.reader.collect(&mut request);
        // Points are as many as series; they need not be kept until the next push.
        self.observed.store(Arc::default());
        collected.map(|()| request)
    }

    fn add(&mut self, slice: &Slice, before: &mut Counted) {
        let mut counted = Counted::new();
        for (metric, counter) in &self.added {
            for Point { labels, value } in slice.get(metric).into_iter().flatten() {
                let key = (*metric, labels.clone());
                let last = self.counted.remove(&key).or_else(|| before.remove(&key));
                // What fell has begun anew.
                let last = last.filter(|last| last <= value).unwrap_or(0.0);
                let attributes = attributes(*metric, labels, self.org.as_ref());
                counter.add(value - last, &attributes);
                counted.insert(key, *value);
            }
        }
        // A series that is gone begins anew when it comes back, as it does in the view.
        self.counted = counted;
    }
}

fn counter(meter: &Meter, spec: &MetricSpec) -> Counter<f64> {
    meter
        .f64_counter(spec.otel_name)
        .with_unit(spec.unit.ucum())
        .with_description(spec.help)
        .build()
}

fn observe_counter(
    meter: &Meter,
    spec: &MetricSpec,
    observed: &Arc<ArcSwap<Slice>>,
    org: Option<&Arc<str>>,
) {
    let (metric, observed, org) = (spec.id, Arc::clone(observed), org.cloned());
    let _ = meter
        .f64_observable_counter(spec.otel_name)
        .with_unit(spec.unit.ucum())
        .with_description(spec.help)
        .with_callback(move |instrument| observe(instrument, metric, &observed, org.as_ref()))
        .build();
}

fn observe_gauge(
    meter: &Meter,
    spec: &MetricSpec,
    observed: &Arc<ArcSwap<Slice>>,
    org: Option<&Arc<str>>,
) {
    let (metric, observed, org) = (spec.id, Arc::clone(observed), org.cloned());
    let _ = meter
        .f64_observable_gauge(spec.otel_name)
        .with_unit(spec.unit.ucum())
        .with_description(spec.help)
        .with_callback(move |instrument| observe(instrument, metric, &observed, org.as_ref()))
        .build();
}

/// Runs inside the SDK's locks, where a panic would end all pushes for good: it only reads.
fn observe(
    instrument: &dyn AsyncInstrument<f64>,
    metric: Metric,
    observed: &ArcSwap<Slice>,
    org: Option<&Arc<str>>,
) {
    for point in observed.load().get(&metric).into_iter().flatten() {
        instrument.observe(point.value, &attributes(metric, &point.labels, org));
    }
}

/// A reader that its provider owns and that we can ask.
#[derive(Debug, Clone)]
struct Reader(Arc<ManualReader>);

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, request: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(request)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}
