//! Agents and queues.

use super::labels::{PLATFORM_STATUSES, PRESENCES, STATES};
use super::{
    Area, Kind, LabelSpec, LabelValues, Metric, MetricSpec, Origin, Scale, Unit, label, row, times,
};

const AGENT: Unit = Unit::Count("{agent}");
const QUEUE: LabelSpec = label("queue", LabelValues::Queues);
const STATE: LabelSpec = label("state", LabelValues::Closed(STATES));

/// Lengths of segments: a missed alert takes seconds, a shift hours.
const SEGMENT_SECONDS: &[f64] = &[
    1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0,
    14_400.0, 28_800.0,
];

const fn agents(spec: MetricSpec) -> MetricSpec {
    MetricSpec {
        area: Area::Agents,
        ..spec
    }
}

const fn of_queue(spec: MetricSpec) -> MetricSpec {
    MetricSpec {
        labels: &[QUEUE],
        series: times(1, Scale::PerQueue),
        ..agents(spec)
    }
}

const fn of_queue_and_state(spec: MetricSpec) -> MetricSpec {
    MetricSpec {
        labels: &[QUEUE, STATE],
        series: times(STATES.len() as u32, Scale::PerQueue),
        ..agents(spec)
    }
}

const fn of_state(spec: MetricSpec) -> MetricSpec {
    MetricSpec {
        labels: &[STATE],
        series: times(STATES.len() as u32, Scale::Once),
        ..agents(spec)
    }
}

pub(super) const ROWS: &[MetricSpec] = &[
    of_queue_and_state(row(
        Metric::QueueAgents,
        "genesyscloud_queue_agents",
        "genesyscloud.queue.agents",
        AGENT,
        Kind::Gauge,
        "Members of the queue by routing state, volatile agents left out; an agent counts in each of its queues.",
    )),
    of_state(row(
        Metric::Agents,
        "genesyscloud_agents",
        "genesyscloud.agents",
        AGENT,
        Kind::Gauge,
        "Agents by routing state, volatile agents left out; every agent counts once.",
    )),
    MetricSpec {
        labels: &[label("presence", LabelValues::Closed(PRESENCES))],
        series: times(PRESENCES.len() as u32, Scale::Once),
        ..agents(row(
            Metric::PresenceAgents,
            "genesyscloud_presence_agents",
            "genesyscloud.presence.agents",
            AGENT,
            Kind::Gauge,
            "Agents by UI presence, every agent once; desktop health, never capacity.",
        ))
    },
    MetricSpec {
        labels: &[label("status", LabelValues::Closed(PLATFORM_STATUSES))],
        series: times(PLATFORM_STATUSES.len() as u32, Scale::Once),
        ..agents(row(
            Metric::PlatformStatusAgents,
            "genesyscloud_platform_status_agents",
            "genesyscloud.platform.status.agents",
            AGENT,
            Kind::Gauge,
            "Agents by the public platform's own routing status, every agent once; only in dialect platform.",
        ))
    },
    of_queue(row(
        Metric::QueuePhantomAvailableAgents,
        "genesyscloud_queue_phantom_available_agents",
        "genesyscloud.queue.phantom_available_agents",
        AGENT,
        Kind::Gauge,
        "Members of the queue whose UI promises availability while routing says not ready; an agent counts in each of its queues.",
    )),
    of_queue(row(
        Metric::QueueVolatileAgents,
        "genesyscloud_queue_volatile_agents",
        "genesyscloud.queue.volatile_agents",
        AGENT,
        Kind::Gauge,
        "Members of the queue held back because their state changes too fast; an agent counts in each of its queues.",
    )),
    agents(row(
        Metric::VolatileAgents,
        "genesyscloud_volatile_agents",
        "genesyscloud.volatile_agents",
        AGENT,
        Kind::Gauge,
        "Agents held back because their state changes too fast; every agent counts once.",
    )),
    agents(row(
        Metric::StuckAgents,
        "genesyscloud_stuck_agents",
        "genesyscloud.stuck_agents",
        AGENT,
        Kind::Gauge,
        "Agents that routing says are on call while they have no open interaction; every agent counts once.",
    )),
    of_queue_and_state(row(
        Metric::QueueStateTime,
        "genesyscloud_queue_state_time_seconds_total",
        "genesyscloud.queue.state.time",
        Unit::Seconds,
        Kind::Counter,
        "Agent-seconds spent in the routing state, split at the platform's timestamps; an agent counts in each of its queues, so a sum over queues counts it several times.",
    )),
    of_state(row(
        Metric::StateTime,
        "genesyscloud_state_time_seconds_total",
        "genesyscloud.state.time",
        Unit::Seconds,
        Kind::Counter,
        "Agent-seconds spent in the routing state, split at the platform's timestamps; every agent counts once.",
    )),
    MetricSpec {
        labels: &[
            QUEUE,
            label("from", LabelValues::Closed(STATES)),
            label("to", LabelValues::Closed(STATES)),
        ],
        series: times((STATES.len() * STATES.len()) as u32, Scale::PerQueue),
        ..agents(row(
            Metric::QueueStateTransitions,
            "genesyscloud_queue_state_transitions_total",
            "genesyscloud.queue.state.transitions",
            Unit::Count("{transition}"),
            Kind::Counter,
            "State changes of members of the queue; an agent counts in each of its queues.",
        ))
    },
    MetricSpec {
        origin: Origin::Telemetry,
        ..of_state(row(
            Metric::StateDuration,
            "genesyscloud_state_duration_seconds",
            "genesyscloud.state.duration",
            Unit::Seconds,
            Kind::Histogram(SEGMENT_SECONDS),
            "Length in seconds of finished stays in the routing state, by the platform's timestamps; every agent counts once.",
        ))
    },
    of_queue_and_state(row(
        Metric::QueueOldestStateEntered,
        "genesyscloud_queue_oldest_state_entered_timestamp_seconds",
        "genesyscloud.queue.oldest_state_entered.timestamp",
        Unit::Seconds,
        Kind::Gauge,
        "Unix time in seconds at which the member of the queue that is longest in the state entered it; absent while nobody is; an agent counts in each of its queues.",
    )),
    MetricSpec {
        labels: &[QUEUE, label("queue_id", LabelValues::QueueIds)],
        ..of_queue(row(
            Metric::QueueInfo,
            "genesyscloud_queue_info",
            "genesyscloud.queue.info",
            Unit::None,
            Kind::Gauge,
            "Always 1; joins the name of a queue to the platform's id.",
        ))
    },
    MetricSpec {
        labels: &[label("agent", LabelValues::Agents), STATE],
        series: times(STATES.len() as u32, Scale::PerAgent),
        ..agents(row(
            Metric::AgentState,
            "genesyscloud_agent_state",
            "genesyscloud.agent.state",
            Unit::None,
            Kind::Gauge,
            "1 for the routing state that the agent is in, 0 for the others; only with metrics.per_agent.",
        ))
    },
    MetricSpec {
        labels: &[label("agent", LabelValues::Agents)],
        series: times(1, Scale::PerAgent),
        ..agents(row(
            Metric::AgentStateEntered,
            "genesyscloud_agent_state_entered_timestamp_seconds",
            "genesyscloud.agent.state_entered.timestamp",
            Unit::Seconds,
            Kind::Gauge,
            "Unix time in seconds at which the agent entered its routing state; only with metrics.per_agent.",
        ))
    },
];
