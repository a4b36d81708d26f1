//! The rows of the catalog, one file an area, joined in the order of [`Metric`].
//!
//! That the order agrees is checked while compiling.

mod agents;
mod delivery;
mod labels;
mod pipeline;
mod process;
mod push;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::spec::{
    Area, Kind, LabelSpec, LabelValues, MetricSpec, Origin, Scale, SeriesBound, Stability, Unit,
};

/// A metric of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(
    missing_docs,
    reason = "each is documented by the help of its row; a second text could only disagree"
)]
pub enum Metric {
    // Agents and queues.
    QueueAgents,
    Agents,
    PresenceAgents,
    PlatformStatusAgents,
    QueuePhantomAvailableAgents,
    QueueVolatileAgents,
    VolatileAgents,
    StuckAgents,
    QueueStateTime,
    StateTime,
    QueueStateTransitions,
    StateDuration,
    QueueOldestStateEntered,
    QueueInfo,
    AgentState,
    AgentStateEntered,
    // Pipeline health.
    Up,
    Snapshots,
    SnapshotCoverage,
    SnapshotAgents,
    RegistryAgents,
    SnapshotAccepted,
    CycleDuration,
    BreakerState,
    BreakerTrips,
    Divergence,
    DivergenceComparedAgents,
    DivergenceChecks,
    DivergenceRaces,
    CacheInvalidations,
    ApiRequests,
    ApiRequestDuration,
    ApiBudgetRemaining,
    ApiThrottled,
    RoutingJoinCoverage,
    RoutingConfirmationOldest,
    Records,
    IngestionDelay,
    ClockSkew,
    UnknownTime,
    StateTimeDebt,
    VolatileHeldTime,
    HiddenTransitions,
    PollInterval,
    AgentsStale,
    AgentsMissing,
    QueuesLeftOut,
    // Push.
    NotificationChannels,
    NotificationAgents,
    NotificationEvents,
    NotificationReconnects,
    NotificationRejections,
    NotificationDisagreements,
    // Events, windows and store.
    Events,
    EventQueueDepth,
    EventQueueOldest,
    BatchDuration,
    Windows,
    WindowClosed,
    DataLoss,
    StoreErrors,
    StoreSize,
    OtlpExports,
    Leader,
    // The exporter.
    ConfigLastReloadSuccessful,
    ConfigLastReloadSuccess,
    WebCertificateExpiry,
    BuildInfo,
    ProcessCpu,
    ProcessOpenFds,
    ProcessMaxFds,
    ProcessVirtualMemory,
    ProcessVirtualMemoryMax,
    ProcessResidentMemory,
    ProcessStartTime,
    ProcessThreads,
}

impl Metric {
    /// The row.
    pub fn spec(self) -> &'static MetricSpec {
        &CATALOG[self as usize]
    }

    /// The metric of this exposed name.
    pub fn by_name(prometheus_name: &str) -> Option<Self> {
        BY_NAME.get(prometheus_name).copied()
    }
}

/// Each scrape looks up a name for each of the exporter's own families.
static BY_NAME: LazyLock<BTreeMap<&'static str, Metric>> = LazyLock::new(|| {
    let rows = CATALOG.iter();
    rows.map(|row| (row.prometheus_name, row.id)).collect()
});

const COUNT: usize = Metric::ProcessThreads as usize + 1;

/// Every metric, in the order of [`Metric`].
pub static CATALOG: [MetricSpec; COUNT] = joined();

const fn joined() -> [MetricSpec; COUNT] {
    let areas = [
        agents::ROWS,
        pipeline::ROWS,
        push::ROWS,
        delivery::ROWS,
        process::ROWS,
    ];
    let mut rows = [agents::ROWS[0]; COUNT];
    let mut area = 0;
    let mut next = 0;
    while area < areas.len() {
        let mut row = 0;
        while row < areas[area].len() {
            rows[next] = areas[area][row];
            assert!(
                rows[next].id as usize == next,
                "rows stand in the order of Metric"
            );
            next += 1;
            row += 1;
        }
        area += 1;
    }
    assert!(next == COUNT, "every metric has a row");
    rows
}

/// A row that says what most rows of its file say; the file overrides the rest.
const fn row(
    id: Metric,
    prometheus_name: &'static str,
    otel_name: &'static str,
    unit: Unit,
    kind: Kind,
    help: &'static str,
) -> MetricSpec {
    MetricSpec {
        id,
        area: Area::Pipeline,
        prometheus_name,
        otel_name,
        unit,
        kind,
        labels: &[],
        help,
        stability: Stability::Stable,
        since: "0.1.0",
        series: ONE,
        origin: Origin::View,
    }
}

const ONE: SeriesBound = times(1, Scale::Once);

const fn times(most: u32, scale: Scale) -> SeriesBound {
    SeriesBound { most, scale }
}

const fn label(name: &'static str, values: LabelValues) -> LabelSpec {
    LabelSpec { name, values }
}
