//! A small hand-made view with everything in it, and one as large as wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use genesys_cloud_exporter::model::ids::{QueueId, UserId};
use genesys_cloud_exporter::model::platform_status::PlatformStatus;
use genesys_cloud_exporter::model::push::{ChannelState, PushView, ReconnectReason};
use genesys_cloud_exporter::model::state::RoutingState::{self, NotReady, OnCall, Unknown};
use genesys_cloud_exporter::model::state::{Presence, Source};
use genesys_cloud_exporter::model::time::{Millis, UnixMillis};
use genesys_cloud_exporter::model::view::{
    AgentView, BreakerState, DivergenceView, Health, OrganisationView, QueueView, RecordCounts,
    SnapshotOutcome, UnknownCause, View,
};

/// 2024-05-14T08:30:00Z.
pub(crate) const NOW: UnixMillis = UnixMillis(1_715_675_400_000);

pub(crate) fn agent(id: &str, state: RoutingState, queues: &[(&str, &str)]) -> AgentView {
    let entered_at = (state != Unknown).then_some(UnixMillis(NOW.0 - 1_420_250));
    AgentView {
        user_id: UserId::new(id),
        state,
        entered_at,
        confirmed_until: entered_at.map(|_| NOW),
        ingested_at: UnixMillis(NOW.0 + 40),
        source: Source::Routing,
        presence: Presence::parse("On Queue"),
        wrapup_code: None,
        queues: queues.iter().map(|(id, _)| QueueId::new(id)).collect(),
        queue_names: queues.iter().map(|(_, name)| Arc::from(*name)).collect(),
        volatile: false,
        stuck: false,
        phantom: state == NotReady,
        stale: state == Unknown,
        platform_status: None,
    }
}

pub(crate) fn queue(id: &str, name: &str) -> QueueView {
    QueueView {
        queue_id: QueueId::new(id),
        name: Arc::from(name),
        agents: [3, 1, 2, 0, 0],
        phantom: 1,
        volatile: 0,
        oldest_entered_at: [
            Some(UnixMillis(NOW.0 - 1_420_250)),
            Some(UnixMillis(NOW.0 - 5)),
            Some(UnixMillis(NOW.0 - 60_000)),
            None,
            None,
        ],
        time: [
            Millis(7_200_000),
            Millis(1),
            Millis(90_500),
            Millis(30_000),
            Millis::ZERO,
        ],
        transitions: BTreeMap::from([
            ((RoutingState::Available, OnCall), 12),
            ((OnCall, RoutingState::WrapUp), 11),
        ]),
    }
}

fn health() -> Health {
    Health {
        up: true,
        snapshots: BTreeMap::from([
            (SnapshotOutcome::Accepted, 240),
            (SnapshotOutcome::RejectedCoverage, 2),
        ]),
        coverage: Some(0.987_654_321),
        snapshot_agents: Some(5),
        registry_agents: 5,
        accepted_at: Some(UnixMillis(NOW.0 + 40)),
        breaker: BreakerState::Closed,
        breaker_trips: 1,
        divergence: DivergenceView {
            ratio: Some(0.0),
            compared: 2,
            ok: 1,
            ..DivergenceView::default()
        },
        budget_remaining: 281,
        throttled: 0,
        join_coverage: Some(0.8),
        oldest_confirmation: Some(UnixMillis(NOW.0 - 600_000)),
        records: RecordCounts {
            seen: 1_200,
            emitted: 31,
            ..RecordCounts::default()
        },
        clock_skew_seconds: Some(-0.25),
        poll_interval: Millis::from_secs(15),
        agents_stale: 1,
        agents_missing: 0,
        queues_left_out: 0,
        unknown_time: BTreeMap::from([(UnknownCause::Hole, Millis(37_500))]),
        debt: Millis(250),
        volatile_held: Millis::ZERO,
        hidden_transitions: 4,
        window_closed_until: Some(UnixMillis(NOW.0 - 300_000)),
        joins_pending: 1,
        authenticated: Some(true),
        push: Some(push()),
    }
}

fn push() -> PushView {
    PushView {
        channels: ChannelState::ALL
            .map(|state| (state, u64::from(state == ChannelState::Live)))
            .into(),
        agents: 3,
        agents_unplaced: 0,
        events: BTreeMap::from([("activity", 240), ("metadata", 12), ("unknown", 0)]),
        reconnects: ReconnectReason::ALL
            .map(|reason| (reason, u64::from(reason == ReconnectReason::Silent)))
            .into(),
        rejections: BTreeMap::from([("permission", 2)]),
        disagreements: 1,
    }
}

/// Two queues, three agents.
pub(crate) fn small() -> View {
    let (sales, support) = (("q-1", "Sales_US"), ("q-2", "Support \"Tier\\2\"\né"));
    let presences = Presence::labels().map(|label| (label, u64::from(label == "on_queue") * 3));
    let statuses = PlatformStatus::ALL
        .into_iter()
        .map(|status| (status, u64::from(status == PlatformStatus::Idle) * 3));
    View {
        built_at: NOW,
        agents: vec![
            agent("agent-0001", RoutingState::Available, &[sales, support]),
            agent("agent-0002", NotReady, &[sales]),
            agent("agent-0003", Unknown, &[]),
        ],
        queues: vec![queue(sales.0, sales.1), queue(support.0, support.1)],
        organisation: OrganisationView {
            agents: [1, 1, 0, 0, 1],
            presences: presences.collect(),
            platform_statuses: Some(statuses.collect()),
            volatile: 0,
            stuck: 0,
            time: [
                Millis(7_200_000),
                Millis(1),
                Millis::ZERO,
                Millis::ZERO,
                Millis(37_500),
            ],
        },
        health: health(),
        names: None,
    }
}

/// A page of about 2 KB a queue.
pub(crate) fn large(queues: usize) -> View {
    View {
        queues: (0..queues)
            .map(|n| queue(&format!("q-{n:06}"), &format!("Queue {n:06}")))
            .collect(),
        ..small()
    }
}
