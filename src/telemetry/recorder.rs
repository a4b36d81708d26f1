//! What the exporter counts about itself, by methods named by meaning.
//!
//! Series of closed label sets exist from the start with 0, so that an alert on an increase sees
//! the first one. A call is a few atomic operations; only the counter of API requests, which has
//! too many label pairs to create them all, looks its series up under a read lock.

use opentelemetry::metrics::Meter;
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, Opts};

use super::build::BuildInfo;
use super::histogram::{Pushed, Twin};
use super::optional::OptionalGauge;
use super::process::ProcessCollector;
use super::register::{counter_each, counters, histogram, histogram_each, optional_gauge};
use super::shelf::{Changes, Counted, CountedVec, Share, Shelf, Shelves};
use crate::catalog::{
    DataLoss, EventResult, ExportResult, Metric, StoreOperation, WindowResult, code_label,
};
use crate::effect::{Measurement, Phase};
use crate::model::state::Source;
use crate::model::time::{Millis, UnixMillis};
use crate::upstream::request::Endpoint;
use crate::upstream::response::TransportFailure;

/// The exporter's own numbers. One for a process, or for each organisation of several; shared by
/// reference.
#[derive(Debug)]
pub struct Telemetry {
    shelves: Shelves,
    build: BuildInfo,
    api_requests: CountedVec,
    api_request_duration: Vec<Twin>,
    cycle_duration: Vec<Twin>,
    ingestion_delay: Vec<Twin>,
    state_duration: Vec<Twin>,
    batch_duration: Twin,
    events: Vec<Counted>,
    windows: Vec<Counted>,
    store_errors: Vec<Counted>,
    data_loss: Vec<Counted>,
    otlp_exports: Vec<Counted>,
    event_queue_depth: OptionalGauge,
    event_queue_oldest: OptionalGauge,
    store_size: OptionalGauge,
    leader: OptionalGauge,
    config_successful: OptionalGauge,
    config_success_at: OptionalGauge,
    web_certificate_expiry: OptionalGauge,
}

impl Telemetry {
    /// Registers everything under the catalog's names.
    pub fn new(build: BuildInfo) -> Self {
        Self::recording(build, None)
    }

    /// The same; what histograms take is also recorded in instruments of `meter`, because a
    /// push of OTLP cannot be made of histograms that others keep.
    pub fn recording(build: BuildInfo, meter: Option<&Meter>) -> Self {
        let push = Pushed { meter, org: None };
        Self::registered(build, push, Share::Whole, Some(ProcessCollector::new()))
    }

    /// Of one organisation among several: what is about the process is counted, and shown by
    /// [`Self::of_process`] alone.
    pub fn of_organisation(build: BuildInfo, meter: Option<&Meter>, org: &str) -> Self {
        let org = Some(org);
        Self::registered(build, Pushed { meter, org }, Share::Organisation, None)
    }

    /// Of a process that serves several organisations: nothing that is about one.
    pub fn of_process(build: BuildInfo) -> Self {
        Self::registered(
            build,
            Pushed::NOWHERE,
            Share::Process,
            Some(ProcessCollector::new()),
        )
    }

    /// Without what the operating system tells of this process: for an exporter that lives in
    /// virtual time.
    pub fn without_process(build: BuildInfo) -> Self {
        Self::registered(build, Pushed::NOWHERE, Share::Whole, None)
    }

    /// In the order of the catalog, which is that of the page.
    fn registered(
        build: BuildInfo,
        push: Pushed<'_>,
        share: Share,
        process: Option<ProcessCollector>,
    ) -> Self {
        let mut all = Shelves::new(share);
        let shelves = &mut all;
        let state_duration = histogram_each(shelves, push, Metric::StateDuration);
        let cycle_duration = histogram_each(shelves, push, Metric::CycleDuration);
        let api_requests = counters(shelves, Metric::ApiRequests);
        let api_request_duration = histogram_each(shelves, push, Metric::ApiRequestDuration);
        let ingestion_delay = histogram_each(shelves, push, Metric::IngestionDelay);
        let events = counter_each(shelves, Metric::Events);
        let event_queue_depth = optional_gauge(shelves, Metric::EventQueueDepth);
        let event_queue_oldest = optional_gauge(shelves, Metric::EventQueueOldest);
        let batch_duration = histogram(shelves, push, Metric::BatchDuration);
        let windows = counter_each(shelves, Metric::Windows);
        let data_loss = counter_each(shelves, Metric::DataLoss);
        let store_errors = counter_each(shelves, Metric::StoreErrors);
        let store_size = optional_gauge(shelves, Metric::StoreSize);
        let leader = optional_gauge(shelves, Metric::Leader);
        let otlp_exports = counter_each(shelves, Metric::OtlpExports);
        let config_successful = optional_gauge(shelves, Metric::ConfigLastReloadSuccessful);
        let config_success_at = optional_gauge(shelves, Metric::ConfigLastReloadSuccess);
        let web_certificate_expiry = optional_gauge(shelves, Metric::WebCertificateExpiry);
        shelves.add(Metric::BuildInfo, build_info(build), Changes::default());
        if let Some(process) = process {
            shelves.add_fresh(process);
        }
        for endpoint in Endpoint::ALL {
            api_requests.of(&[endpoint.template(), code_label(Ok(200))]);
        }
        Self {
            shelves: all,
            build,
            api_requests,
            api_request_duration,
            cycle_duration,
            ingestion_delay,
            state_duration,
            batch_duration,
            events,
            windows,
            store_errors,
            data_loss,
            otlp_exports,
            event_queue_depth,
            event_queue_oldest,
            store_size,
            leader,
            config_successful,
            config_success_at,
            web_certificate_expiry,
        }
    }

    /// A measurement of the pipeline.
    pub fn measure(&self, measurement: Measurement) {
        match measurement {
            Measurement::IngestionDelay { source, delay } => {
                // A platform clock ahead of ours makes a delay negative; a histogram's sum must
                // not fall, and skew has a metric of its own.
                self.ingestion_delay[position(&Source::ALL, source)]
                    .observe(delay.max(Millis::ZERO).as_secs_f64());
            }
            Measurement::SegmentFinished { state, length } => {
                self.state_duration[state.index()].observe(length.max(Millis::ZERO).as_secs_f64());
            }
            Measurement::Phase { phase, seconds } => {
                self.cycle_duration[position(&Phase::ALL, phase)].observe(clamp(seconds));
            }
        }
    }

    /// A request to the platform ended: with this status code, or without an answer.
    pub fn request(
        &self,
        endpoint: Endpoint,
        outcome: Result<u16, TransportFailure>,
        took: Millis,
    ) {
        self.api_requests
            .of(&[endpoint.template(), code_label(outcome)])
            .inc_by(1);
        self.api_request_duration[position(&Endpoint::ALL, endpoint)]
            .observe(took.max(Millis::ZERO).as_secs_f64());
    }

    /// The consumer committed a batch after this many seconds.
    pub fn batch(&self, seconds: f64) {
        self.batch_duration.observe(clamp(seconds));
    }

    /// This became of so many events.
    pub fn events(&self, result: EventResult, count: u64) {
        self.events[result.index()].inc_by(count);
    }

    /// So many window rows were written like this.
    pub fn windows(&self, result: WindowResult, count: u64) {
        self.windows[result.index()].inc_by(count);
    }

    /// The store failed.
    pub fn store_error(&self, operation: StoreOperation) {
        self.store_errors[operation.index()].inc_by(1);
    }

    /// So many records were lost or found damaged.
    pub fn data_loss(&self, kind: DataLoss, count: u64) {
        self.data_loss[kind.index()].inc_by(count);
    }

    /// This became of a push by OTLP.
    pub fn export(&self, result: ExportResult) {
        self.otlp_exports[result.index()].inc_by(1);
    }

    /// The event queue's backlog: records not stored yet, and when the oldest entered.
    pub fn event_queue(&self, depth: u64, oldest: Option<UnixMillis>) {
        self.event_queue_depth.set(Some(depth as f64));
        self.event_queue_oldest
            .set(oldest.map(UnixMillis::as_secs_f64));
    }

    /// Size of the store's files.
    pub fn store_size(&self, bytes: u64) {
        self.store_size.set(Some(bytes as f64));
    }

    /// This instance polls, or stands by.
    pub fn leader(&self, leads: bool) {
        self.leader.set(Some(f64::from(u8::from(leads))));
    }

    /// A configuration was accepted at start or reload.
    pub fn config_accepted(&self, at: UnixMillis) {
        self.config_successful.set(Some(1.0));
        self.config_success_at.set(Some(at.as_secs_f64()));
    }

    /// A configuration was refused; the one before stays in force.
    pub fn config_refused(&self) {
        self.config_successful.set(Some(0.0));
    }

    /// The certificate that is served with ends then; `None`: there is none.
    pub fn web_certificate(&self, ends: Option<UnixMillis>) {
        self.web_certificate_expiry
            .set(ends.map(UnixMillis::as_secs_f64));
    }

    /// Which build is running.
    pub fn build(&self) -> BuildInfo {
        self.build
    }

    /// Records in the event queue that are not stored yet; `None` before the first report.
    pub fn queue_depth(&self) -> Option<u64> {
        self.event_queue_depth.get().map(|depth| depth as u64)
    }

    /// When the oldest of them entered the queue.
    pub fn queue_oldest(&self) -> Option<UnixMillis> {
        self.event_queue_oldest
            .get()
            .map(|seconds| UnixMillis((seconds * 1_000.0).round() as i64))
    }

    /// Size of the store's files in bytes; `None` before the first report.
    pub fn store_bytes(&self) -> Option<u64> {
        self.store_size.get().map(|bytes| bytes as u64)
    }

    /// Events of which so many became this since start.
    pub fn events_seen(&self, result: EventResult) -> u64 {
        self.events[result.index()].get()
    }

    /// Window rows of which so many were written like this since start.
    pub fn windows_seen(&self, result: WindowResult) -> u64 {
        self.windows[result.index()].get()
    }

    /// Failures of the store since start, whatever it was doing.
    pub fn store_errors(&self) -> u64 {
        self.store_errors.iter().map(Counted::get).sum()
    }

    /// Records lost or damaged since start.
    pub fn losses(&self) -> u64 {
        self.data_loss.iter().map(Counted::get).sum()
    }

    /// Every family, ordered by name, series ordered by label values. Reads a few small files
    /// below /proc: call it off the reactor.
    pub fn gather(&self) -> Vec<MetricFamily> {
        let mut families: Vec<_> = self.shelves().iter().flat_map(Shelf::gather).collect();
        families.sort_by(|a, b| a.name().cmp(b.name()));
        families
    }

    /// The same by families that change together, in the order of the catalog.
    pub fn shelves(&self) -> &[Shelf] {
        self.shelves.as_slice()
    }
}

/// Seconds as a histogram may take them: a sum must neither fall nor become NaN.
fn clamp(seconds: f64) -> f64 {
    if seconds.is_finite() {
        seconds.max(0.0)
    } else {
        0.0
    }
}

fn position<T: PartialEq + Copy>(all: &[T], value: T) -> usize {
    all.iter()
        .position(|other| *other == value)
        .expect("the list holds every value")
}

fn build_info(build: BuildInfo) -> Gauge {
    let spec = Metric::BuildInfo.spec();
    let values = [build.version, build.revision, build.rust_version];
    let mut opts = Opts::new(spec.prometheus_name, spec.help);
    for (label, value) in spec.labels.iter().zip(values) {
        opts = opts.const_label(label.name, value);
    }
    let gauge = Gauge::with_opts(opts).expect("a row of the catalog is a valid metric");
    gauge.set(1.0);
    gauge
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{CATALOG, Kind, Origin};
    use crate::model::state::RoutingState;

    fn telemetry() -> Telemetry {
        Telemetry::new(BuildInfo {
            version: "1.2.3",
            revision: "abc",
            rust_version: "1.95.0",
        })
    }

    fn samples(telemetry: &Telemetry, metric: Metric) -> Vec<(Vec<String>, f64)> {
        let families = telemetry.gather();
        let Some(family) = families
            .iter()
            .find(|family| family.name() == metric.spec().prometheus_name)
        else {
            return Vec::new();
        };
        family
            .get_metric()
            .iter()
            .map(|sample| {
                let labels = sample.get_label().iter();
                let value = match metric.spec().kind {
                    Kind::Counter => sample.get_counter().get_value(),
                    Kind::Gauge => sample.get_gauge().get_value(),
                    Kind::Histogram(_) => sample.get_histogram().get_sample_sum(),
                };
                (
                    labels.map(|label| label.value().to_owned()).collect(),
                    value,
                )
            })
            .collect()
    }

    #[test]
    fn every_family_is_of_the_catalog_and_not_of_the_view() {
        let telemetry = telemetry();
        telemetry.event_queue(3, Some(UnixMillis(1_500)));
        telemetry.store_size(10);
        telemetry.leader(true);
        telemetry.config_accepted(UnixMillis(1_000));
        telemetry.web_certificate(Some(UnixMillis(9_000)));
        let families = telemetry.gather();
        for family in &families {
            let metric = Metric::by_name(family.name()).expect("in the catalog");
            assert_ne!(metric.spec().origin, Origin::View, "{}", family.name());
        }
        for spec in CATALOG.iter().filter(|s| s.origin == Origin::Telemetry) {
            assert!(
                families.iter().any(|f| f.name() == spec.prometheus_name),
                "{} is registered",
                spec.prometheus_name
            );
        }
    }

    #[test]
    fn closed_labels_stand_at_zero_from_the_start() {
        let telemetry = telemetry();
        for metric in [
            Metric::Events,
            Metric::Windows,
            Metric::DataLoss,
            Metric::StoreErrors,
            Metric::OtlpExports,
            Metric::CycleDuration,
            Metric::StateDuration,
            Metric::IngestionDelay,
            Metric::ApiRequestDuration,
        ] {
            let samples = samples(&telemetry, metric);
            assert_eq!(
                samples.len(),
                metric.spec().series.most as usize,
                "{metric:?}"
            );
            assert!(samples.iter().all(|(_, value)| *value == 0.0), "{metric:?}");
        }
    }

    #[test]
    fn what_is_recorded_is_found_under_its_labels() {
        let telemetry = telemetry();
        telemetry.events(EventResult::Published, 7);
        telemetry.request(Endpoint::Statuses, Ok(429), Millis(250));
        telemetry.request(
            Endpoint::Statuses,
            Err(TransportFailure::Timeout),
            Millis(-5),
        );
        telemetry.measure(Measurement::SegmentFinished {
            state: RoutingState::OnCall,
            length: Millis(90_500),
        });
        telemetry.measure(Measurement::Phase {
            phase: Phase::Join,
            seconds: f64::NAN,
        });
        let text = |labels: &[&str]| labels.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>();
        let has = |metric, labels: &[&str], value: f64| {
            assert!(
                samples(&telemetry, metric).contains(&(text(labels), value)),
                "{metric:?} {labels:?}"
            );
        };
        has(Metric::Events, &["published"], 7.0);
        let statuses = Endpoint::Statuses.template();
        has(Metric::ApiRequests, &["429", statuses], 1.0);
        has(Metric::ApiRequests, &["timeout", statuses], 1.0);
        has(Metric::ApiRequestDuration, &[statuses], 0.25);
        has(Metric::StateDuration, &["on_call"], 90.5);
        has(Metric::CycleDuration, &["join"], 0.0);
        has(Metric::BuildInfo, &["abc", "1.95.0", "1.2.3"], 1.0);
    }

    #[test]
    fn a_gauge_without_a_value_is_absent() {
        let telemetry = telemetry();
        assert!(samples(&telemetry, Metric::EventQueueOldest).is_empty());
        telemetry.event_queue(2, Some(UnixMillis(1_715_675_400_250)));
        assert_eq!(
            samples(&telemetry, Metric::EventQueueOldest),
            [(Vec::new(), 1_715_675_400.25)]
        );
        assert_eq!(
            telemetry.queue_oldest(),
            Some(UnixMillis(1_715_675_400_250))
        );
        telemetry.event_queue(0, None);
        assert!(samples(&telemetry, Metric::EventQueueOldest).is_empty());
        assert_eq!(
            samples(&telemetry, Metric::EventQueueDepth),
            [(vec![], 0.0)]
        );
        assert_eq!(telemetry.queue_depth(), Some(0));
    }

    #[test]
    fn a_refused_configuration_keeps_the_time_of_the_accepted_one() {
        let telemetry = telemetry();
        telemetry.config_accepted(UnixMillis(5_000));
        telemetry.config_refused();
        assert_eq!(
            samples(&telemetry, Metric::ConfigLastReloadSuccessful),
            [(vec![], 0.0)]
        );
        assert_eq!(
            samples(&telemetry, Metric::ConfigLastReloadSuccess),
            [(vec![], 5.0)]
        );
    }
}
