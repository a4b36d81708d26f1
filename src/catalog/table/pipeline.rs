//! Polling, judging, reconciling.

use super::super::values::CODES;
use super::labels::{
    BREAKER_STATES, DIVERGENCE_RESULTS, ENDPOINTS, PHASES, RECORD_RESULTS, SNAPSHOT_REASONS,
    SNAPSHOT_RESULTS, SOURCES, UNKNOWN_CAUSES,
};
use super::{
    Kind, LabelSpec, LabelValues, Metric, MetricSpec, Origin, Scale, Unit, label, row, times,
};

const AGENT: Unit = Unit::Count("{agent}");
const ENDPOINT: LabelSpec = label("endpoint", LabelValues::Closed(ENDPOINTS));

/// Phases take from below a millisecond (validate) to a whole poll interval (join).
const PHASE_SECONDS: &[f64] = &[
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0,
];
/// Up to the request timeout of 10 s.
const REQUEST_SECONDS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// A poll interval of 15 s and the platform's cache of 15 s lie in the middle.
const DELAY_SECONDS: &[f64] = &[
    0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0,
];

/// Closed labels, and as many series as they have values.
macro_rules! by {
    ($name:literal in $values:expr, $row:expr) => {
        MetricSpec {
            labels: &[label($name, LabelValues::Closed($values))],
            series: times($values.len() as u32, Scale::Once),
            ..$row
        }
    };
}

const fn own(spec: MetricSpec) -> MetricSpec {
    MetricSpec {
        origin: Origin::Telemetry,
        ..spec
    }
}

pub(super) const ROWS: &[MetricSpec] = &[
    row(
        Metric::Up,
        "genesyscloud_up",
        "genesyscloud.up",
        Unit::None,
        Kind::Gauge,
        "1 if the snapshot of the last cycle was accepted, else 0.",
    ),
    MetricSpec {
        labels: &[
            label("result", LabelValues::Closed(SNAPSHOT_RESULTS)),
            label("reason", LabelValues::Closed(SNAPSHOT_REASONS)),
        ],
        // A reason belongs to one result.
        series: times(SNAPSHOT_REASONS.len() as u32, Scale::Once),
        ..row(
            Metric::Snapshots,
            "genesyscloud_snapshots_total",
            "genesyscloud.snapshots",
            Unit::Count("{snapshot}"),
            Kind::Counter,
            "Snapshots asked for, by what became of them and why; the reason is empty for accepted ones.",
        )
    },
    row(
        Metric::SnapshotCoverage,
        "genesyscloud_snapshot_coverage_ratio",
        "genesyscloud.snapshot.coverage",
        Unit::Ratio,
        Kind::Gauge,
        "Share of registered agents that the last answer named, from 0 to 1, also of a rejected one.",
    ),
    row(
        Metric::SnapshotAgents,
        "genesyscloud_snapshot_agents",
        "genesyscloud.snapshot.agents",
        AGENT,
        Kind::Gauge,
        "Distinct agents in the last answer, also in a rejected one.",
    ),
    row(
        Metric::RegistryAgents,
        "genesyscloud_registry_agents",
        "genesyscloud.registry.agents",
        AGENT,
        Kind::Gauge,
        "Active agents in the registry.",
    ),
    row(
        Metric::SnapshotAccepted,
        "genesyscloud_snapshot_accepted_timestamp_seconds",
        "genesyscloud.snapshot.accepted.timestamp",
        Unit::Seconds,
        Kind::Gauge,
        "Unix time in seconds at which the last accepted snapshot arrived; agent figures are as old as this.",
    ),
    by!("phase" in PHASES, own(row(
        Metric::CycleDuration,
        "genesyscloud_cycle_duration_seconds",
        "genesyscloud.cycle.duration",
        Unit::Seconds,
        Kind::Histogram(PHASE_SECONDS),
        "Time in seconds that a phase of a poll cycle took.",
    ))),
    by!("state" in BREAKER_STATES, row(
        Metric::BreakerState,
        "genesyscloud_breaker_state",
        "genesyscloud.breaker.state",
        Unit::None,
        Kind::Gauge,
        "1 for the state that the circuit breaker is in, 0 for the others; polling pauses while it is open.",
    )),
    row(
        Metric::BreakerTrips,
        "genesyscloud_breaker_trips_total",
        "genesyscloud.breaker.trips",
        Unit::Count("{trip}"),
        Kind::Counter,
        "Times the circuit breaker opened.",
    ),
    row(
        Metric::Divergence,
        "genesyscloud_divergence_ratio",
        "genesyscloud.divergence",
        Unit::Ratio,
        Kind::Gauge,
        "Share of agents, from 0 to 1, whose live routing state differed from ours in the last validation.",
    ),
    row(
        Metric::DivergenceComparedAgents,
        "genesyscloud_divergence_compared_agents",
        "genesyscloud.divergence.compared_agents",
        AGENT,
        Kind::Gauge,
        "Agents that the last validation compared, races left out.",
    ),
    by!("result" in DIVERGENCE_RESULTS, row(
        Metric::DivergenceChecks,
        "genesyscloud_divergence_checks_total",
        "genesyscloud.divergence.checks",
        Unit::Count("{check}"),
        Kind::Counter,
        "Validations against live routing states, by outcome.",
    )),
    row(
        Metric::DivergenceRaces,
        "genesyscloud_divergence_races_total",
        "genesyscloud.divergence.races",
        Unit::Count("{race}"),
        Kind::Counter,
        "Differences that a change between the two answers explains.",
    ),
    row(
        Metric::CacheInvalidations,
        "genesyscloud_cache_invalidations_total",
        "genesyscloud.cache.invalidations",
        Unit::Count("{invalidation}"),
        Kind::Counter,
        "Times the delta cache was dropped because too many agents diverged.",
    ),
    MetricSpec {
        labels: &[ENDPOINT, label("code", LabelValues::Closed(CODES))],
        series: times((ENDPOINTS.len() * CODES.len()) as u32, Scale::Once),
        ..own(row(
            Metric::ApiRequests,
            "genesyscloud_api_requests_total",
            "genesyscloud.api.requests",
            Unit::Count("{request}"),
            Kind::Counter,
            "Requests to the platform, by endpoint template and by status code or why there was no answer.",
        ))
    },
    by!("endpoint" in ENDPOINTS, own(row(
        Metric::ApiRequestDuration,
        "genesyscloud_api_request_duration_seconds",
        "genesyscloud.api.request.duration",
        Unit::Seconds,
        Kind::Histogram(REQUEST_SECONDS),
        "Time in seconds from sending a request to the last byte of its answer, failures included.",
    ))),
    row(
        Metric::ApiBudgetRemaining,
        "genesyscloud_api_budget_remaining_requests",
        "genesyscloud.api.budget.remaining.requests",
        Unit::Count("{request}"),
        Kind::Gauge,
        "Requests left in the budget of the running minute.",
    ),
    row(
        Metric::ApiThrottled,
        "genesyscloud_api_throttled_total",
        "genesyscloud.api.throttled",
        Unit::Count("{response}"),
        Kind::Counter,
        "Answers of the platform that said 429, too many requests.",
    ),
    row(
        Metric::RoutingJoinCoverage,
        "genesyscloud_routing_join_coverage_ratio",
        "genesyscloud.routing.join.coverage",
        Unit::Ratio,
        Kind::Gauge,
        "Share of agents, from 0 to 1, whose routing state was confirmed by itself within stale_after.",
    ),
    row(
        Metric::RoutingConfirmationOldest,
        "genesyscloud_routing_confirmation_oldest_timestamp_seconds",
        "genesyscloud.routing.confirmation.oldest.timestamp",
        Unit::Seconds,
        Kind::Gauge,
        "Unix time in seconds of the routing confirmation of the agent that was confirmed longest ago.",
    ),
    by!("result" in RECORD_RESULTS, row(
        Metric::Records,
        "genesyscloud_records_total",
        "genesyscloud.records",
        Unit::Count("{record}"),
        Kind::Counter,
        "Records of the platform's answers by what became of them; emitted ones are among the seen.",
    )),
    by!("source" in SOURCES, own(row(
        Metric::IngestionDelay,
        "genesyscloud_ingestion_delay_seconds",
        "genesyscloud.ingestion.delay",
        Unit::Seconds,
        Kind::Histogram(DELAY_SECONDS),
        "Seconds from the platform's time of a new event to the arrival of the answer that told it.",
    ))),
    row(
        Metric::ClockSkew,
        "genesyscloud_clock_skew_seconds",
        "genesyscloud.clock.skew",
        Unit::Seconds,
        Kind::Gauge,
        "Our clock minus the platform's in seconds, by the Date header of its answers.",
    ),
    by!("cause" in UNKNOWN_CAUSES, row(
        Metric::UnknownTime,
        "genesyscloud_unknown_time_seconds_total",
        "genesyscloud.unknown.time",
        Unit::Seconds,
        Kind::Counter,
        "Agent-seconds of which nothing trustworthy is known, by cause; every agent counts once.",
    )),
    row(
        Metric::StateTimeDebt,
        "genesyscloud_state_time_debt_seconds",
        "genesyscloud.state.time.debt",
        Unit::Seconds,
        Kind::Gauge,
        "Agent-seconds that the time counters are ahead of the truth until later time repays them.",
    ),
    row(
        Metric::VolatileHeldTime,
        "genesyscloud_volatile_held_time_seconds",
        "genesyscloud.volatile.held_time",
        Unit::Seconds,
        Kind::Gauge,
        "Agent-seconds held back for volatile agents until they settle.",
    ),
    row(
        Metric::HiddenTransitions,
        "genesyscloud_hidden_transitions_total",
        "genesyscloud.hidden_transitions",
        Unit::Count("{transition}"),
        Kind::Counter,
        "Times an agent left its state and came back between two answers.",
    ),
    row(
        Metric::PollInterval,
        "genesyscloud_poll_interval_seconds",
        "genesyscloud.poll.interval",
        Unit::Seconds,
        Kind::Gauge,
        "Effective poll interval in seconds, after stretching to the request budget.",
    ),
    row(
        Metric::AgentsStale,
        "genesyscloud_agents_stale",
        "genesyscloud.agents_stale",
        AGENT,
        Kind::Gauge,
        "Agents whose state shows as unknown because nothing confirmed it for stale_after.",
    ),
    row(
        Metric::AgentsMissing,
        "genesyscloud_agents_missing",
        "genesyscloud.agents_missing",
        AGENT,
        Kind::Gauge,
        "Registered agents that the last accepted snapshot did not name.",
    ),
    row(
        Metric::QueuesLeftOut,
        "genesyscloud_queues_left_out",
        "genesyscloud.queues_left_out",
        Unit::Count("{queue}"),
        Kind::Gauge,
        "Queues without series of their own, because there are more than queues.max.",
    ),
];
