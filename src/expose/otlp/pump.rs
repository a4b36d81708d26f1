//! Pushes at intervals, on a thread and a runtime of its own.
//!
//! The SDK's periodic reader exports nothing with an asynchronous client and says nothing
//! (opentelemetry-rust #3125), so this collects and sends by itself. A push takes one view and
//! one gathering of the exporter's own counters, so it is never torn; it is given up when the
//! next one is due. Whatever becomes of it is counted, and nobody waits for it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use opentelemetry::metrics::Meter;
use opentelemetry_otlp::{ExporterBuildError, MetricExporter};
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::time::MissedTickBehavior;
use tracing::instrument::WithSubscriber;

use super::map::{Mapping, ShardId, Slice, number};
use super::partial::Listener;
use super::resource::{instance, resource};
use super::shard::{Common, Counted, Shard};
use super::transport::{Cause, exporter};
use crate::catalog::{ExportResult, Kind};
use crate::config::{OtlpConfig, OtlpTemporality, PerAgent};
use crate::expose::families::{Family, of_registry, of_view};
use crate::expose::names::SeriesNames;
use crate::expose::pages::Pages;
use crate::model::view::View;
use crate::telemetry::Telemetry;

/// The last push, at the end of the process, may take this long; it goes on while others drain.
/// It is not tried if the push before it failed.
pub const LAST_PUSH_MAX: Duration = Duration::from_secs(1);

/// Under delta temporality a request that did not arrive is sent again at the next pushes, at
/// most so often; then it is given up, so that one that a collector will never take does not
/// hold up what comes after it.
const TRIES_MAX: u32 = 20;

/// Why there can be no push.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// No runtime.
    #[error("cannot set up the runtime of the push")]
    Runtime(#[source] std::io::Error),
    /// Certificates.
    #[error(
        "cannot read the certificates of the push; look at OTEL_EXPORTER_OTLP_CERTIFICATE, \
         OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY"
    )]
    Certificate(#[source] reqwest::Error),
    /// The HTTP client.
    #[error("cannot set up the HTTP client of the push")]
    Client(#[source] reqwest::Error),
    /// The connection of gRPC.
    #[error("cannot set up the connection to otlp.endpoint")]
    Channel(#[source] tonic::transport::Error),
    /// The OTLP client.
    #[error("cannot set up the push to otlp.endpoint")]
    Exporter(#[source] ExporterBuildError),
}

/// What is pushed of one organisation, or of the process.
#[derive(Clone)]
pub struct Source {
    /// The published view; none of the process.
    pub pages: Option<Arc<Pages>>,
    /// The exporter's own counters, recording into [`Push::meter`].
    pub telemetry: Arc<Telemetry>,
}

/// The push, set up and not yet running.
pub struct Push {
    // Dropped first: its tasks hold connections of the exporter.
    runtime: OwnRuntime,
    sender: Sender,
    interval: Duration,
}

/// Dropping a runtime waits for its tasks, which may wait for a collector.
struct OwnRuntime(Option<Runtime>);

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A push that runs.
#[derive(Debug)]
pub struct Running(oneshot::Receiver<()>);

impl Running {
    /// Waits for the last push, at most [`LAST_PUSH_MAX`] and a little.
    pub async fn ended(self) {
        // The little: so that the push's own bound is the one that is met.
        let bound = LAST_PUSH_MAX + Duration::from_millis(100);
        let _ = tokio::time::timeout(bound, self.0).await;
    }
}

impl Push {
    /// Sets up client and instruments; opens no connection. `port`: where the exporter listens,
    /// which names the instance. `orgs`: for each [`Source`] to come the value of the attribute
    /// `org`, if it has one; the first counts what becomes of pushes.
    ///
    /// # Errors
    /// [`OtlpError`] with the setting to look at.
    pub fn new(config: &OtlpConfig, port: u16, orgs: &[Option<&str>]) -> Result<Self, OtlpError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(OtlpError::Runtime)?;
        let runtime = OwnRuntime(Some(runtime));
        let temporality = match config.temporality {
            OtlpTemporality::Cumulative => Temporality::Cumulative,
            OtlpTemporality::Delta => Temporality::Delta,
            OtlpTemporality::LowMemory => Temporality::LowMemory,
        };
        let cause = Cause::default();
        let exporter = {
            let _entered = runtime.0.as_ref().map(Runtime::enter);
            exporter(config, temporality, &cause)?
        };
        let common = Common {
            resource: resource(&config.resource, instance(port)),
            temporality,
            cardinality_limit: config.cardinality_limit,
        };
        let source = |org: Option<&str>| {
            let org = org.map(Arc::from);
            Part {
                mapping: Mapping::new(config.cardinality_limit),
                shards: BTreeMap::from([(
                    ShardId::Own,
                    Shard::new(ShardId::Own, &common, org.as_ref()),
                )]),
                unsent: BTreeMap::new(),
                before: Counted::new(),
                org,
            }
        };
        Ok(Self {
            runtime,
            interval: config.interval.to_duration(),
            sender: Sender {
                parts: orgs.iter().copied().map(source).collect(),
                common,
                exporter,
                cause,
                listener: Listener::default(),
                failing: false,
            },
        })
    }

    /// What counters stand at before this process counts: under delta temporality only what
    /// comes on top of it is pushed. `source`: whose they are, by position.
    ///
    /// # Panics
    /// If there is no such source.
    pub fn count_from(&mut self, source: usize, restored: &View) {
        if self.sender.common.temporality == Temporality::Delta {
            self.sender.parts[source].before = counted(restored);
        }
    }

    /// Where histograms of a source, by position, must be recorded to be pushed.
    ///
    /// # Panics
    /// If there is no such source.
    pub fn meter(&self, source: usize) -> Meter {
        self.sender.parts[source].shards[&ShardId::Own]
            .meter()
            .clone()
    }

    /// Starts the thread; there is a source for each of those that were named. It ends after the last push, which begins when `stop` turns true or
    /// its sender is gone.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        self,
        sources: Vec<Source>,
        stop: watch::Receiver<bool>,
    ) -> Result<Running, std::io::Error> {
        let Self {
            mut runtime,
            mut sender,
            interval,
        } = self;
        let (ended, running) = oneshot::channel();
        thread::Builder::new()
            .name("otlp".to_owned())
            .spawn(move || {
                if let Some(runtime) = &mut runtime.0 {
                    again_after_panics(
                        || runtime.block_on(sender.run(&sources, interval, stop.clone())),
                        || {
                            sources[0].telemetry.export(ExportResult::Failed);
                            tracing::error!(kind = "otlp", "a push panicked; this is a bug");
                        },
                    );
                }
                // Nobody waits any more only when the process ends.
                let _ = ended.send(());
            })?;
        Ok(Running(running))
    }
}

/// What the requests about one source are made with: a request is about one alone.
struct Part {
    org: Option<Arc<str>>,
    mapping: Mapping,
    shards: BTreeMap<ShardId, Shard>,
    /// Requests to be sent again, and how often they were tried.
    unsent: BTreeMap<ShardId, (ResourceMetrics, u32)>,
    before: Counted,
}

/// Everything that pushes are made with.
struct Sender {
    parts: Vec<Part>,
    common: Common,
    exporter: MetricExporter,
    cause: Cause,
    listener: Listener,
    failing: bool,
}

impl Sender {
    async fn run(
        &mut self,
        sources: &[Source],
        interval: Duration,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once, when there is nothing to tell yet.
        ticks.tick().await;
        let mut stopping = stop.clone();
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stopped| *stopped) => break,
                _ = ticks.tick() => {}
            }
            // One that is under way at the end is given the time of the last.
            let patience = if self.failing {
                Duration::ZERO
            } else {
                LAST_PUSH_MAX
            };
            let given_up = async {
                let _ = stopping.wait_for(|stopped| *stopped).await;
                tokio::time::sleep(patience).await;
            };
            tokio::select! {
                biased;
                () = self.push(sources, interval) => {}
                () = given_up => return,
            }
        }
        // A collector that does not answer must not delay the end.
        if !self.failing {
            self.push(sources, LAST_PUSH_MAX).await;
        }
    }

    /// One push, counted and, if it failed, told.
    async fn push(&mut self, sources: &[Source], bound: Duration) {
        // Until it has succeeded: after a panic there is no last push.
        let failed_before = std::mem::replace(&mut self.failing, true);
        let parts = self.parts.iter_mut().zip(sources);
        let slices: Vec<_> = parts.map(|(part, source)| part.slices(source)).collect();
        let sent = tokio::time::timeout(bound, self.send(slices)).await;
        let sent = sent.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let result = match &sent {
            Ok(result) => *result,
            Err(error) => {
                tracing::warn!(
                    kind = "otlp",
                    %error,
                    "cannot push by OTLP; what counts on goes with the next push"
                );
                ExportResult::Failed
            }
        };
        sources[0].telemetry.export(result);
        self.failing = result == ExportResult::Failed;
        if failed_before && !self.failing {
            tracing::info!("pushing by OTLP works again");
        }
    }

    /// Sends one request after the other, as far as the first that fails: what holds for one
    /// holds for the others, and they would only make it later. Those left are not collected, so
    /// nothing of them is lost.
    async fn send(
        &mut self,
        slices: Vec<BTreeMap<ShardId, Slice>>,
    ) -> Result<ExportResult, String> {
        let mut result = ExportResult::Success;
        for (part, mut slices) in slices.into_iter().enumerate() {
            for id in self.parts[part].unsent.keys() {
                slices.entry(*id).or_default();
            }
            for (id, slice) in slices {
                if let Some((request, tries)) = self.parts[part].unsent.remove(&id) {
                    result = result.max(self.request(part, id, request, tries).await?);
                }
                if slice.is_empty() {
                    continue;
                }
                let request = self.parts[part].collect(id, slice, &self.common);
                let request = request.map_err(|error| error.to_string())?;
                result = result.max(self.request(part, id, request, 0).await?);
            }
        }
        Ok(result)
    }

    async fn request(
        &mut self,
        part: usize,
        id: ShardId,
        request: ResourceMetrics,
        tries: u32,
    ) -> Result<ExportResult, String> {
        let unsent = &mut self.parts[part].unsent;
        // Held here while it is under way, so that a push that is given up leaves it behind.
        let again = self.common.temporality != Temporality::Cumulative && tries + 1 < TRIES_MAX;
        let last;
        let request = if again {
            &unsent.entry(id).or_insert((request, tries + 1)).0
        } else {
            last = request;
            &last
        };
        let sent = self
            .exporter
            .export(request)
            .with_subscriber(self.listener.dispatch())
            .await;
        match sent {
            Ok(()) => {
                unsent.remove(&id);
                Ok(self.judged())
            }
            Err(error) => Err(match self.cause.take() {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            }),
        }
    }

    /// A request that arrived: with all of its points or not.
    fn judged(&self) -> ExportResult {
        let Some(refused) = self.listener.heard() else {
            return ExportResult::Success;
        };
        tracing::warn!(
            kind = "otlp_partial",
            points = refused.points,
            why = refused.why,
            "the collector refused some points of a push"
        );
        ExportResult::Partial
    }
}

impl Part {
    /// The requests: one view, one gathering.
    fn slices(&mut self, source: &Source) -> BTreeMap<ShardId, Slice> {
        let gathered = source.telemetry.gather();
        let own = of_registry(&gathered);
        let Some(pages) = &source.pages else {
            return self.mapping.slices(&own);
        };
        let view = pages.view();
        let names = SeriesNames::of(&view, &pages.per_agent());
        let mut families = of_view(&view, &names);
        families.extend(own);
        self.mapping.slices(&families)
    }

    fn collect(
        &mut self,
        id: ShardId,
        slice: Slice,
        common: &Common,
    ) -> Result<ResourceMetrics, OTelSdkError> {
        let org = self.org.as_ref();
        let shard = self.shards.entry(id);
        let shard = shard.or_insert_with(|| Shard::new(id, common, org));
        shard.collect(slice, &mut self.before)
    }
}

/// Runs until it ends by itself: a push thread that died would be missed by nobody.
fn again_after_panics(mut run: impl FnMut(), mut panicked: impl FnMut()) {
    while catch_unwind(AssertUnwindSafe(&mut run)).is_err() {
        panicked();
    }
}

/// What the counters of a view stand at.
fn counted(restored: &View) -> Counted {
    let mut view = restored.clone();
    // Counters of queues are shown only once there is something to count.
    view.health.accepted_at.get_or_insert(restored.built_at);
    let names = SeriesNames::of(&view, &PerAgent::Off);
    let families = of_view(&view, &names);
    let counters = families
        .iter()
        .filter(|family: &&Family<'_>| family.metric.spec().kind == Kind::Counter);
    counters
        .flat_map(|family| family.samples.iter().map(move |sample| (family, sample)))
        .filter_map(|(family, sample)| {
            let labels = sample.labels.map(Arc::from);
            Some(((family.metric, labels), number(&sample.value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_and_the_next_push_is_tried() {
        let (mut runs, mut told) = (0, 0);
        again_after_panics(
            || {
                runs += 1;
                assert!(runs > 2, "a panic of the test's own");
            },
            || told += 1,
        );
        assert_eq!((runs, told), (3, 2));
    }
}
