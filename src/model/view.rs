//! The live view: everything a reader may see, at one instant, immutable.
//!
//! The pipeline builds it whole after each durable append and the driver swaps it in; scrapes,
//! the JSON API and the OTLP push only read it (architecture.md: replace whole, never edit).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{QueueId, UserId};
use super::platform_status::PlatformStatus;
use super::push::PushView;
use super::state::{Presence, RoutingState, Source};
use super::time::{Millis, UnixMillis};

/// One value for each routing state, in the order of `RoutingState::ALL`.
pub type PerState<T> = [T; RoutingState::COUNT];

/// Names of agents, as the platform gives them.
pub type AgentNames = BTreeMap<UserId, Arc<str>>;

/// The whole view.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct View {
    /// Wall-clock instant at which it was built.
    pub built_at: UnixMillis,
    /// Every agent of the registry, ordered by id.
    pub agents: Vec<AgentView>,
    /// Every known queue, ordered by id.
    pub queues: Vec<QueueView>,
    /// The organisation, every agent once.
    pub organisation: OrganisationView,
    /// The pipeline about itself.
    pub health: Health,
    /// Names for label values, where agents' series are to have them; shown nowhere else.
    #[serde(skip)]
    pub names: Option<Arc<AgentNames>>,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentView {
    /// The agent.
    pub user_id: UserId,
    /// The state shown: `Unknown` once nothing has confirmed it for `stale_after`.
    pub state: RoutingState,
    /// When it was entered, by the platform's clock; `None` before the first join.
    pub entered_at: Option<UnixMillis>,
    /// Latest platform instant for which an answer said what state the agent was in.
    pub confirmed_until: Option<UnixMillis>,
    /// When the last answer about the agent arrived, by our clock.
    pub ingested_at: UnixMillis,
    /// Who said it.
    pub source: Source,
    /// Committed UI presence.
    pub presence: Presence,
    /// The wrap-up code, if the platform gave one.
    pub wrapup_code: Option<Arc<str>>,
    /// Ids of the agent's queues, sorted.
    pub queues: Arc<[QueueId]>,
    /// Their names as shown in [`QueueView::name`], sorted.
    pub queue_names: Arc<[Arc<str>]>,
    /// Held back as volatile: in no gauge by state.
    pub volatile: bool,
    /// On call without any open interaction.
    pub stuck: bool,
    /// The UI promises availability, routing says not ready.
    pub phantom: bool,
    /// Nothing has confirmed the agent for `stale_after`.
    pub stale: bool,
    /// The public platform's own routing status; `None` in dialect `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform_status: Option<PlatformStatus>,
}

/// One queue. An agent counts fully in each of its queues.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueueView {
    /// The queue.
    pub queue_id: QueueId,
    /// Its label value: the name, cleaned; where two queues share it, with the id's head appended.
    pub name: Arc<str>,
    /// Members by state, volatile ones left out.
    pub agents: PerState<u64>,
    /// Members that are phantom available.
    pub phantom: u64,
    /// Members held back as volatile.
    pub volatile: u64,
    /// When the member that is longest in the state entered it.
    pub oldest_entered_at: PerState<Option<UnixMillis>>,
    /// Agent-time by state since counting began; never falls.
    pub time: PerState<Millis>,
    /// State changes of members, by (from, to).
    pub transitions: BTreeMap<(RoutingState, RoutingState), u64>,
}

/// The organisation, every agent once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct OrganisationView {
    /// Agents by state, volatile ones left out.
    pub agents: PerState<u64>,
    /// Agents by presence label; every label present, zero included.
    pub presences: BTreeMap<&'static str, u64>,
    /// Agents by the public platform's own routing status, every status present; `None` in dialect
    /// `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform_statuses: Option<BTreeMap<PlatformStatus, u64>>,
    /// Agents held back as volatile.
    pub volatile: u64,
    /// Agents on call without any open interaction.
    pub stuck: u64,
    /// Agent-time by state since counting began; never falls.
    pub time: PerState<Millis>,
}

/// State of the circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Polling goes on.
    #[default]
    Closed,
    /// Polling is paused.
    Open,
    /// One probe is under way.
    HalfOpen,
}

impl BreakerState {
    /// Every state, in label order.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The label value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// What became of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotOutcome {
    /// Believed.
    Accepted,
    /// An answer that was not believed: coverage too low.
    RejectedCoverage,
    /// An answer that was not believed: no agent is registered, so nothing can be judged.
    RejectedNoRegistry,
    /// An answer that was not believed: its paging did not add up.
    RejectedPaging,
    /// An answer that is not the expected JSON.
    FailedParse,
    /// An answer with an unexpected status code.
    FailedStatus,
    /// No answer: connection, TLS, DNS, cut body.
    FailedTransport,
    /// No answer in time.
    FailedTimeout,
    /// An answer over the size limit.
    FailedTooLarge,
    /// No valid token.
    FailedAuth,
    /// Throttled by the platform (429).
    FailedThrottled,
}

impl SnapshotOutcome {
    /// Every outcome, in label order; all are exposed from the start with 0.
    pub const ALL: [Self; 11] = [
        Self::Accepted,
        Self::RejectedCoverage,
        Self::RejectedNoRegistry,
        Self::RejectedPaging,
        Self::FailedParse,
        Self::FailedStatus,
        Self::FailedTransport,
        Self::FailedTimeout,
        Self::FailedTooLarge,
        Self::FailedAuth,
        Self::FailedThrottled,
    ];

    /// The label values `result` and `reason`.
    pub const fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Accepted => ("accepted", ""),
            Self::RejectedCoverage => ("rejected", "coverage"),
            Self::RejectedNoRegistry => ("rejected", "no_registry"),
            Self::RejectedPaging => ("rejected", "paging"),
            Self::FailedParse => ("failed", "parse"),
            Self::FailedStatus => ("failed", "status"),
            Self::FailedTransport => ("failed", "transport"),
            Self::FailedTimeout => ("failed", "timeout"),
            Self::FailedTooLarge => ("failed", "too_large"),
            Self::FailedAuth => ("failed", "auth"),
            Self::FailedThrottled => ("failed", "throttled"),
        }
    }
}

/// Why time is unknown: the values of the label `cause`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownCause {
    /// The agent left its state and came back unseen, or several answers lacked the known state.
    Hidden,
    /// Nothing was confirmed for longer than the gap tolerance.
    Hole,
    /// The agent was not joined yet when its time began.
    NeverJoined,
    /// The platform named a state that this version does not know.
    Unrecognised,
}

impl UnknownCause {
    /// Every cause, in label order.
    pub const ALL: [Self; 4] = [
        Self::Hidden,
        Self::Hole,
        Self::NeverJoined,
        Self::Unrecognised,
    ];

    /// The label value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::Hole => "hole",
            Self::NeverJoined => "never_joined",
            Self::Unrecognised => "unrecognised",
        }
    }
}

/// Counts of records by what became of them (`genesyscloud_records_total`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RecordCounts {
    /// Records in accepted snapshots.
    pub seen: u64,
    /// Of these, passed on because something changed.
    pub emitted: u64,
    /// Older than what was known.
    pub stale: u64,
    /// Contradicted by a higher authority.
    pub conflict: u64,
    /// Could not be true, or could not be read.
    pub invalid: u64,
}

/// Divergence validation (semantics.md §9).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct DivergenceView {
    /// Divergent ÷ compared of the last validation.
    pub ratio: Option<f64>,
    /// Agents compared by the last validation, races left out.
    pub compared: u64,
    /// Validations that found no more divergence than allowed.
    pub ok: u64,
    /// Validations that found more.
    pub diverged: u64,
    /// Validations that could not compare the whole sample.
    pub incomplete: u64,
    /// Mismatches explained by a change between the two answers.
    pub races: u64,
    /// Times the delta cache was dropped.
    pub invalidations: u64,
}

/// The pipeline about itself; every field is a metric of the catalog.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Health {
    /// The last cycle's snapshot was accepted.
    pub up: bool,
    /// Snapshots by outcome; every outcome present, zero included.
    pub snapshots: BTreeMap<SnapshotOutcome, u64>,
    /// Coverage of the last answer that could be judged, also of a rejected one.
    pub coverage: Option<f64>,
    /// Distinct agents in the last answer.
    pub snapshot_agents: Option<u64>,
    /// Active agents of the registry.
    pub registry_agents: u64,
    /// When the last accepted snapshot arrived.
    pub accepted_at: Option<UnixMillis>,
    /// The breaker.
    pub breaker: BreakerState,
    /// Times the breaker opened.
    pub breaker_trips: u64,
    /// Divergence validation.
    pub divergence: DivergenceView,
    /// Requests left in the budget of the running minute.
    pub budget_remaining: u64,
    /// Answers that said 429.
    pub throttled: u64,
    /// Agents whose routing state was confirmed by itself within `stale_after`, ÷ agents.
    pub join_coverage: Option<f64>,
    /// The agent whose routing state was confirmed longest ago.
    pub oldest_confirmation: Option<UnixMillis>,
    /// Records by what became of them.
    pub records: RecordCounts,
    /// Our clock minus the platform's, in seconds; `None` before the first answer.
    pub clock_skew_seconds: Option<f64>,
    /// The effective poll interval.
    pub poll_interval: Millis,
    /// Agents without confirmation for `stale_after`.
    pub agents_stale: u64,
    /// Registered agents missing from the last accepted snapshot.
    pub agents_missing: u64,
    /// Queues without series, because there are more than `queues.max`.
    pub queues_left_out: u64,
    /// Time accrued as unknown, by cause.
    pub unknown_time: BTreeMap<UnknownCause, Millis>,
    /// Time that counters are ahead of the truth.
    pub debt: Millis,
    /// Time held back for volatile agents.
    pub volatile_held: Millis,
    /// Times an agent left its state and came back unseen.
    pub hidden_transitions: u64,
    /// End of the last window that is closed for every agent.
    pub window_closed_until: Option<UnixMillis>,
    /// Agents whose join is owed.
    pub joins_pending: u64,
    /// Push; `None` where it is off or the dialect has none.
    pub push: Option<PushView>,
    /// Whether the platform accepts our credentials; `None` before the first login.
    pub authenticated: Option<bool>,
}
