//! The exporter's own families, each in a registry of its own beside a count of its changes: who
//! has written a family need not gather it again before it has changed.
//!
//! The prometheus crate cannot tell what has changed since it was last asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, Registry};

use crate::catalog::Metric;

/// How often a family has changed. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes(Arc<AtomicU64>);

impl Changes {
    /// A value of the family is another now. Called after the change, so that whoever sees a count
    /// sees at least the changes that it counts.
    pub(super) fn note(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Families that change together; nearly always one.
#[derive(Debug)]
pub struct Shelf {
    registry: Registry,
    changes: Option<Changes>,
}

impl Shelf {
    /// How often they have changed; `None`: nobody counts, they are others each time. Ask before
    /// gathering, then a change between the two is seen the next time.
    pub fn changes(&self) -> Option<u64> {
        self.changes.as_ref().map(Changes::count)
    }

    /// The families, ordered by name, series ordered by label values. Those that count no changes
    /// read a few small files below /proc: call it off the reactor.
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

/// All families, in the order in which they were added: that of the page.
#[derive(Debug)]
pub(super) struct Shelves {
    of: Share,
    shelves: Vec<Shelf>,
}

/// Which families are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// All.
    Whole,
    /// Those about an organisation.
    Organisation,
    /// Those about the process.
    Process,
}

impl Share {
    fn holds(self, metric: Metric) -> bool {
        match self {
            Self::Whole => true,
            Self::Organisation => !metric.spec().is_of_process(),
            Self::Process => metric.spec().is_of_process(),
        }
    }
}

impl Shelves {
    pub(super) fn new(of: Share) -> Self {
        Self {
            of,
            shelves: Vec::new(),
        }
    }

    /// Puts up a family that notes its changes, if it is one that is shown here.
    pub(super) fn add(
        &mut self,
        metric: Metric,
        collector: impl Collector + 'static,
        changes: Changes,
    ) {
        if self.of.holds(metric) {
            self.put_up(collector, Some(changes));
        }
    }

    /// Puts up families that are others each time.
    pub(super) fn add_fresh(&mut self, collector: impl Collector + 'static) {
        self.put_up(collector, None);
    }

    fn put_up(&mut self, collector: impl Collector + 'static, changes: Option<Changes>) {
        let registry = Registry::new();
        registry
            .register(Box::new(collector))
            .expect(super::register::VALID);
        self.shelves.push(Shelf { registry, changes });
    }

    pub(super) fn as_slice(&self) -> &[Shelf] {
        &self.shelves
    }
}

/// A counter that notes its changes.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) counter: IntCounter,
    pub(super) changes: Changes,
}

impl Counted {
    pub(super) fn inc_by(&self, count: u64) {
        if count > 0 {
            self.counter.inc_by(count);
            self.changes.note();
        }
    }

    pub(super) fn get(&self) -> u64 {
        self.counter.get()
    }
}

/// A family of counters that note their changes.
#[derive(Debug)]
pub(super) struct CountedVec {
    pub(super) counters: IntCounterVec,
    pub(super) changes: Changes,
}

impl CountedVec {
    /// The counter of these label values, made if there is none.
    pub(super) fn of(&self, values: &[&str]) -> Counted {
        let known = self.counters.with_label_values(values);
        Counted {
            counter: known,
            changes: self.changes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{DataLoss, EventResult, ExportResult, StoreOperation, WindowResult};
    use crate::effect::{Measurement, Phase};
    use crate::model::state::{RoutingState, Source};
    use crate::model::time::{Millis, UnixMillis};
    use crate::telemetry::{BuildInfo, Telemetry};

    fn telemetry() -> Telemetry {
        Telemetry::new(BuildInfo::current())
    }

    #[test]
    fn shelves_stand_in_the_order_of_the_catalog() {
        let telemetry = telemetry();
        telemetry.event_queue(3, Some(UnixMillis(1_500)));
        telemetry.store_size(10);
        telemetry.config_accepted(UnixMillis(1_000));
        let shelves = telemetry.shelves().iter().flat_map(|shelf| {
            let mut metrics: Vec<_> = shelf
                .gather()
                .iter()
                .map(|family| Metric::by_name(family.name()).unwrap())
                .collect();
            metrics.sort();
            metrics
        });
        let metrics: Vec<Metric> = shelves.collect();
        assert!(metrics.is_sorted(), "{metrics:?}");
        assert_eq!(metrics.len(), telemetry.gather().len());
    }

    /// What a shelf would gather, as text, and how often it says that it has changed.
    fn standing(telemetry: &Telemetry) -> Vec<(Option<u64>, String)> {
        let shelves = telemetry.shelves().iter();
        shelves
            .map(|shelf| (shelf.changes(), format!("{:?}", shelf.gather())))
            .collect()
    }

    #[test]
    fn a_family_that_changes_says_so_and_no_other() {
        let telemetry = telemetry();
        let changes: [(Metric, &dyn Fn()); 12] = [
            (Metric::StateDuration, &|| {
                telemetry.measure(Measurement::SegmentFinished {
                    state: RoutingState::OnCall,
                    length: Millis(90_500),
                });
            }),
            (Metric::CycleDuration, &|| {
                telemetry.measure(Measurement::Phase {
                    phase: Phase::Join,
                    seconds: 0.5,
                });
            }),
            (Metric::IngestionDelay, &|| {
                telemetry.measure(Measurement::IngestionDelay {
                    source: Source::ALL[0],
                    delay: Millis(5),
                });
            }),
            (Metric::Events, &|| telemetry.events(EventResult::Stored, 2)),
            (Metric::EventQueueDepth, &|| telemetry.event_queue(1, None)),
            (Metric::BatchDuration, &|| telemetry.batch(0.25)),
            (Metric::Windows, &|| {
                telemetry.windows(WindowResult::Written, 1);
            }),
            (Metric::DataLoss, &|| {
                telemetry.data_loss(DataLoss::Checksum, 1);
            }),
            (Metric::StoreErrors, &|| {
                telemetry.store_error(StoreOperation::Read);
            }),
            (Metric::StoreSize, &|| telemetry.store_size(7)),
            (Metric::Leader, &|| telemetry.leader(true)),
            (Metric::OtlpExports, &|| {
                telemetry.export(ExportResult::Partial);
            }),
        ];
        for (metric, change) in changes {
            let before = standing(&telemetry);
            change();
            let after = standing(&telemetry);
            let mut others = Vec::new();
            for (then, now) in before.iter().zip(&after) {
                let counted = now.0.is_some();
                assert_eq!(then.0 != now.0, counted && then.1 != now.1, "{metric:?}");
                if counted && then.0 != now.0 {
                    others.push(&now.1);
                }
            }
            let [family] = others[..] else {
                panic!("{metric:?}: {others:?}");
            };
            assert!(family.contains(metric.spec().prometheus_name), "{family}");
        }
    }

    #[test]
    fn what_changes_nothing_is_no_change() {
        let telemetry = telemetry();
        telemetry.store_size(7);
        let before: Vec<_> = telemetry.shelves().iter().map(Shelf::changes).collect();
        telemetry.store_size(7);
        telemetry.events(EventResult::Stored, 0);
        let after: Vec<_> = telemetry.shelves().iter().map(Shelf::changes).collect();
        assert_eq!(before, after);
    }
}
