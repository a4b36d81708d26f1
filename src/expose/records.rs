//! Normalised records and queues as the API shows them, made from the view. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::model::record::NormalisedRecord;
use crate::model::state::RoutingState;
use crate::model::time::{Millis, UnixMillis};
use crate::model::view::{AgentView, PerState, QueueView};

/// Wire spellings of the states, shared by all records.
pub(super) struct Spellings(PerState<Arc<str>>);

impl Spellings {
    pub(super) fn new() -> Self {
        Self(RoutingState::ALL.map(|state| Arc::from(state.wire())))
    }

    /// The record of an agent. An agent that no answer has confirmed yet is described as of the
    /// answer that named it.
    pub(super) fn record(&self, agent: &AgentView) -> NormalisedRecord {
        let timestamp = agent.confirmed_until.unwrap_or(agent.ingested_at);
        NormalisedRecord {
            user_id: agent.user_id.clone(),
            timestamp,
            ui_presence: agent.presence.clone(),
            routing_availability: self.0[agent.state.index()].clone(),
            wrapup_code: agent.wrapup_code.clone(),
            queue_assignments: agent.queue_names.clone(),
            state_duration_seconds: agent
                .entered_at
                .map(|entered| (timestamp - entered).max(Millis::ZERO)),
            state_entered_timestamp: agent.entered_at,
            ingested_at: agent.ingested_at,
            source: agent.source,
            volatile: agent.volatile,
        }
    }
}

/// A queue.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueueRecord<'a> {
    queue_id: &'a str,
    name: &'a str,
    members: BTreeMap<&'static str, u64>,
    phantom_available: u64,
    volatile: u64,
    oldest_state_entered: BTreeMap<&'static str, Option<UnixMillis>>,
}

impl<'a> From<&'a QueueView> for QueueRecord<'a> {
    fn from(queue: &'a QueueView) -> Self {
        let labels = || RoutingState::ALL.into_iter().map(RoutingState::label);
        Self {
            queue_id: queue.queue_id.as_str(),
            name: &queue.name,
            members: labels().zip(queue.agents).collect(),
            phantom_available: queue.phantom,
            volatile: queue.volatile,
            oldest_state_entered: labels().zip(queue.oldest_entered_at).collect(),
        }
    }
}
