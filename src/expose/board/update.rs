//! What the board is told: the whole once, then what changed. Pure.
//!
//! Both lists of a view are ordered by id, so two views are compared in one walk, and an update
//! costs what has changed. A page that missed views loses nothing: the next update is measured
//! against what that page was last told.

use std::cmp::Ordering;

use serde::Serialize;
use serde_json::Value;

use super::warnings::{Warning, warnings};
use crate::expose::state::Duty;
use crate::model::ids::QueueId;
use crate::model::state::RoutingState;
use crate::model::time::{Millis, UnixMillis};
use crate::model::view::{AgentView, QueueView, View};

/// What the view does not know of the pipeline.
#[derive(Debug, Clone)]
pub(in crate::expose) struct Pipeline {
    /// What the instance is there for.
    pub(in crate::expose) duty: Duty,
    /// The body of `/api/v1/status`.
    pub(in crate::expose) status: Value,
    /// When the oldest event that is not stored yet was appended.
    pub(in crate::expose) queue_oldest: Option<UnixMillis>,
    /// Records lost since start.
    pub(in crate::expose) losses: u64,
    /// How long the pipeline has stood still, if too long.
    pub(in crate::expose) silence: Option<Millis>,
    /// The organisation that is shown.
    pub(in crate::expose) org: String,
    /// All that can be shown; empty if there is no choice.
    pub(in crate::expose) organisations: Vec<String>,
}

/// One message of the stream.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Update<'a> {
    /// Our clock, so that the page needs none of its own.
    at: UnixMillis,
    /// Forget everything told before.
    whole: bool,
    org: &'a str,
    organisations: &'a [String],
    status: &'a Value,
    warnings: Vec<Warning>,
    organisation: Organisation,
    queues: Vec<QueueRow<'a>>,
    queues_gone: Vec<&'a str>,
    agents: Vec<AgentRow<'a>>,
    agents_gone: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
struct Organisation {
    /// In the order of [`RoutingState::ALL`].
    agents: [u64; RoutingState::COUNT],
    volatile: u64,
    stuck: u64,
}

/// A queue as the board shows it.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueRow<'a> {
    id: &'a str,
    name: &'a str,
    /// In the order of [`RoutingState::ALL`].
    agents: [u64; RoutingState::COUNT],
    phantom: u64,
    volatile: u64,
    /// Since when the longest available member has been waiting.
    idle_since: Option<UnixMillis>,
}

/// An agent as the board shows it: an id and no name, as in the API.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentRow<'a> {
    id: &'a str,
    state: &'static str,
    since: Option<UnixMillis>,
    presence: &'a str,
    wrapup: Option<&'a str>,
    queues: &'a [QueueId],
    volatile: bool,
    stuck: bool,
    phantom: bool,
}

impl<'a> From<&'a QueueView> for QueueRow<'a> {
    fn from(queue: &'a QueueView) -> Self {
        Self {
            id: queue.queue_id.as_str(),
            name: &queue.name,
            agents: queue.agents,
            phantom: queue.phantom,
            volatile: queue.volatile,
            idle_since: queue.oldest_entered_at[RoutingState::Available.index()],
        }
    }
}

impl<'a> From<&'a AgentView> for AgentRow<'a> {
    fn from(agent: &'a AgentView) -> Self {
        Self {
            id: agent.user_id.as_str(),
            state: agent.state.label(),
            since: agent.entered_at,
            presence: agent.presence.wire(),
            wrapup: agent.wrapup_code.as_deref(),
            queues: &agent.queues,
            volatile: agent.volatile,
            stuck: agent.stuck,
            phantom: agent.phantom,
        }
    }
}

/// What one page has been told so far.
#[derive(Debug, Clone, Default)]
pub(in crate::expose) struct Shown {
    last: Option<std::sync::Arc<View>>,
}

impl Shown {
    /// Whether this very view has been told already.
    pub(in crate::expose) fn is_current(&self, view: &std::sync::Arc<View>) -> bool {
        self.last
            .as_ref()
            .is_some_and(|last| std::sync::Arc::ptr_eq(last, view))
    }

    /// The next message for this page, as JSON on one line.
    pub(in crate::expose) fn tell(
        &mut self,
        view: std::sync::Arc<View>,
        pipeline: &Pipeline,
        now: UnixMillis,
    ) -> Vec<u8> {
        let message = message(self.last.as_deref(), &view, pipeline, now);
        self.last = Some(view);
        message
    }
}

fn message(last: Option<&View>, view: &View, pipeline: &Pipeline, now: UnixMillis) -> Vec<u8> {
    let (queues, queues_gone) = changes(
        last.map_or(&[], |last| &last.queues),
        &view.queues,
        |queue| queue.queue_id.as_str(),
        QueueRow::from,
    );
    let (agents, agents_gone) = changes(
        last.map_or(&[], |last| &last.agents),
        &view.agents,
        |agent| agent.user_id.as_str(),
        AgentRow::from,
    );
    let update = Update {
        at: now,
        whole: last.is_none(),
        org: &pipeline.org,
        organisations: &pipeline.organisations,
        status: &pipeline.status,
        warnings: warnings(view, pipeline, now),
        organisation: Organisation {
            agents: view.organisation.agents,
            volatile: view.organisation.volatile,
            stuck: view.organisation.stuck,
        },
        queues,
        queues_gone,
        agents,
        agents_gone,
    };
    serde_json::to_vec(&update).expect("our own types have only text keys")
}

/// Rows of `new` that are not the same in `old`, and the ids that `old` alone has. Both are
/// ordered by id.
fn changes<'a, T, R: PartialEq>(
    old: &'a [T],
    new: &'a [T],
    id: impl Fn(&'a T) -> &'a str,
    row: impl Fn(&'a T) -> R,
) -> (Vec<R>, Vec<&'a str>) {
    let (mut changed, mut gone) = (Vec::new(), Vec::new());
    let mut old = old.iter().peekable();
    for item in new {
        let before = loop {
            let Some(&first) = old.peek() else { break None };
            match id(first).cmp(id(item)) {
                Ordering::Less => gone.push(id(first)),
                Ordering::Equal => {
                    old.next();
                    break Some(first);
                }
                Ordering::Greater => break None,
            }
            old.next();
        };
        let now = row(item);
        if before.is_none_or(|before| row(before) != now) {
            changed.push(now);
        }
    }
    gone.extend(old.map(id));
    (changed, gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(old: &[(&'static str, u8)], new: &[(&'static str, u8)]) -> (Vec<&'static str>, String) {
        let (changed, gone) = changes(old, new, |item| item.0, |item| *item);
        let changed = changed.into_iter().map(|(id, _)| id).collect();
        (changed, gone.concat())
    }

    #[test]
    fn only_what_changed_is_told() {
        let all = [("a", 1), ("b", 2), ("d", 4)];
        assert_eq!(of(&[], &all), (vec!["a", "b", "d"], String::new()));
        assert_eq!(of(&all, &all), (vec![], String::new()));
        assert_eq!(
            of(&all, &[("b", 3), ("c", 1), ("d", 4), ("e", 1)]),
            (vec!["b", "c", "e"], "a".to_owned())
        );
        assert_eq!(of(&all, &[]), (vec![], "abd".to_owned()));
    }
}
