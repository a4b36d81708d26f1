//! The live view, built whole from what is held.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::accrual::{StateAccounts, outstanding};
use super::agent::Agent;
use super::reconcile::Reconciler;
use crate::model::ids::{QueueId, UserId};
use crate::model::platform_status::PlatformStatus;
use crate::model::state::{Presence, RoutingState, Source};
use crate::model::time::{Millis, UnixMillis};
use crate::model::view::{
    AgentView, Health, OrganisationView, PerState, QueueView, UnknownCause, View,
};
use crate::snapshot::Delta;

impl Reconciler {
    /// The view at the platform instant `at`; `health` comes filled in by the stages before.
    pub fn view(
        &self,
        at: UnixMillis,
        built_at: UnixMillis,
        delta: &Delta,
        health: Health,
    ) -> View {
        let mut queues: BTreeMap<&QueueId, QueueView> = self
            .directory
            .queues()
            .iter()
            .map(|(id, queue)| (id, self.empty_queue(id, &queue.label)))
            .collect();
        let mut organisation = OrganisationView {
            time: posted(&self.ledger.organisation),
            ..OrganisationView::default()
        };
        let mut presences = [0; Presence::KNOWN + 1];
        let mut pass = Pass::default();
        let mut agents = Vec::with_capacity(self.agents.len());
        for (user, agent) in &self.agents {
            pass.look_at(agent, at, self.config.stale_after);
            if agent.bulk_seen_at.is_none() && !agent.joined() {
                // Registered, but no answer has said anything of it yet.
                continue;
            }
            let shown = self.agent_view(user, agent, at);
            presences[shown.presence.index()] += 1;
            tally(&shown, &mut organisation, &mut queues);
            pass.stale += u64::from(shown.stale);
            agents.push(shown);
        }
        organisation.presences = Presence::labels().zip(presences).collect();
        View {
            built_at,
            agents,
            queues: queues.into_values().collect(),
            organisation,
            health: self.health(&pass, delta, health),
            names: None,
        }
    }

    fn empty_queue(&self, id: &QueueId, label: &Arc<str>) -> QueueView {
        QueueView {
            queue_id: id.clone(),
            name: Arc::clone(label),
            agents: [0; RoutingState::COUNT],
            phantom: 0,
            volatile: 0,
            oldest_entered_at: [None; RoutingState::COUNT],
            time: self.ledger.queues.get(id).map(posted).unwrap_or_default(),
            transitions: self.transitions.get(id).cloned().unwrap_or_default(),
        }
    }

    fn agent_view(&self, user: &UserId, agent: &Agent, at: UnixMillis) -> AgentView {
        let last = agent.confirmed_until.or(agent.bulk_seen_at);
        let expired = last.is_none_or(|last| at - last > self.config.stale_after);
        let state = if expired {
            RoutingState::Unknown
        } else {
            agent.shown_state()
        };
        let current = agent.current();
        let presence = agent
            .presence
            .clone()
            .unwrap_or_else(|| Presence::parse("Unknown"));
        AgentView {
            user_id: user.clone(),
            state,
            entered_at: current.map(|held| held.entered_at),
            confirmed_until: agent.confirmed_until,
            ingested_at: agent.ingested_at,
            source: current.map_or(Source::Bulk, |held| held.source),
            phantom: state == RoutingState::NotReady
                && presence.label() == promise(agent.platform_status),
            platform_status: agent.platform_status.filter(|_| !expired),
            presence,
            wrapup_code: current.and_then(|held| held.wrapup_code.clone()),
            queues: Arc::clone(agent.queues()),
            queue_names: match &agent.labels {
                Some(labels) => Arc::clone(labels),
                None => self.directory.labels(agent.queues()),
            },
            volatile: agent.volatile.is_some(),
            stuck: agent.stuck.stuck,
            stale: expired,
        }
    }

    fn health(&self, pass: &Pass, delta: &Delta, health: Health) -> Health {
        let all = self.agents.len();
        Health {
            divergence: self.divergence.view,
            agents_stale: pass.stale,
            volatile_held: pass.held,
            join_coverage: (all > 0).then(|| pass.fresh as f64 / all as f64),
            oldest_confirmation: pass.oldest,
            records: self.record_counts(delta),
            agents_missing: self.missing,
            queues_left_out: self.directory.left_out() as u64,
            unknown_time: UnknownCause::ALL
                .into_iter()
                .map(|cause| {
                    let account = self.ledger.causes.get(&cause);
                    (
                        cause,
                        account.map_or(Millis::ZERO, |account| account.posted),
                    )
                })
                .collect(),
            debt: self.ledger.debt(),
            hidden_transitions: self.hidden,
            window_closed_until: pass.closed,
            joins_pending: pass.pending,
            ..health
        }
    }
}

/// What one look at every agent gives beside what is shown of each.
#[derive(Default)]
struct Pass {
    /// Confirmed by themselves recently enough.
    fresh: u64,
    oldest: Option<UnixMillis>,
    /// Joins owed.
    pending: u64,
    stale: u64,
    /// Time held back for volatile agents.
    held: Millis,
    /// Somebody is accounted for.
    accounted: bool,
    /// End of the last window that is closed for every agent that is accounted for.
    closed: Option<UnixMillis>,
}

impl Pass {
    fn look_at(&mut self, agent: &Agent, at: UnixMillis, stale_after: Millis) {
        if let Some(confirmed) = agent.routing_confirmed_at {
            self.fresh += u64::from(at - confirmed <= stale_after);
            self.oldest = Some(
                self.oldest
                    .map_or(confirmed, |oldest| oldest.min(confirmed)),
            );
        }
        self.pending += u64::from(agent.pending || agent.asking.is_some());
        if let Some((from, to)) = outstanding(agent).filter(|_| agent.volatile.is_some()) {
            self.held = self.held + (to - from);
        }
        if agent.covered_from.is_some() {
            // `None` is less than any instant.
            let before = self.closed.min(agent.closed_until);
            self.closed = if self.accounted {
                before
            } else {
                agent.closed_until
            };
            self.accounted = true;
        }
    }
}

/// The UI presence that promises availability (semantics.md §2.1): on the public platform
/// `Available` is the normal presence of someone off queue.
fn promise(platform_status: Option<PlatformStatus>) -> &'static str {
    match platform_status {
        Some(_) => "on_queue",
        None => "available",
    }
}

fn posted(accounts: &StateAccounts) -> PerState<Millis> {
    accounts.map(|account| account.posted)
}

/// Counts one agent in the organisation and in each of its queues.
fn tally(
    agent: &AgentView,
    organisation: &mut OrganisationView,
    queues: &mut BTreeMap<&QueueId, QueueView>,
) {
    organisation.stuck += u64::from(agent.stuck);
    if let Some(status) = agent.platform_status {
        let statuses = organisation
            .platform_statuses
            .get_or_insert_with(|| PlatformStatus::ALL.into_iter().map(|s| (s, 0)).collect());
        *statuses.entry(status).or_default() += 1;
    }
    let state = agent.state.index();
    if agent.volatile {
        organisation.volatile += 1;
    } else {
        organisation.agents[state] += 1;
    }
    for id in agent.queues.iter() {
        let Some(queue) = queues.get_mut(id) else {
            continue;
        };
        if agent.volatile {
            queue.volatile += 1;
            continue;
        }
        queue.agents[state] += 1;
        queue.phantom += u64::from(agent.phantom);
        if let Some(entered) = agent.entered_at.filter(|_| !agent.stale) {
            let oldest = &mut queue.oldest_entered_at[state];
            *oldest = Some(oldest.map_or(entered, |known| known.min(entered)));
        }
    }
}
