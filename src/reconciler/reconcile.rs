//! The reconciler: all agents, and how each kind of answer changes them.
//!
//! It collects what must be made durable ([`Changes`]) until the pipeline commits; nothing leaves
//! it before that.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::PipelineConfig;
use crate::effect::Measurement;
use crate::model::event::{JournalRecord, PresenceChange, RosterSpan};
use crate::model::fill::fill;
use crate::model::ids::{QueueId, UserId};
use crate::model::state::RoutingState;
use crate::model::time::{Millis, UnixMillis};
use crate::model::view::RecordCounts;
use crate::upstream::wire::{RoutingStates, StatusRecord};

use super::accrual::{self, Ledger};
use super::agent::{Agent, Membership};
use super::divergence::Divergence;
use super::evidence::{Evidence, Verdict, apply};
use super::holes::Hole;
use super::joins::{JoinClass, Joins};
use super::membership::{Directory, QueueFilter};
use super::quiet::fact_of;
use super::volatility::{Change, VolatilityRule};

/// How often each pair of states followed one another.
pub type Transitions = BTreeMap<(RoutingState, RoutingState), u64>;

/// What must be made durable with the next commit.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Journal records, in order.
    pub records: Vec<JournalRecord>,
    /// Agents whose checkpoint entry is out of date.
    pub agents: BTreeSet<UserId>,
    /// Agents whose entry is to be deleted.
    pub gone: BTreeSet<UserId>,
    /// The directory's entry is out of date.
    pub directory: bool,
    /// Queues whose entry is to be deleted.
    pub queues_gone: BTreeSet<QueueId>,
    /// For the exporter's histograms.
    pub measurements: Vec<Measurement>,
}

/// All that is known of all agents.
#[derive(Debug, Clone)]
pub struct Reconciler {
    pub(super) config: PipelineConfig,
    pub(super) interval: Millis,
    pub(super) agents: BTreeMap<UserId, Agent>,
    pub(super) directory: Directory,
    pub(super) ledger: Ledger,
    pub(super) transitions: BTreeMap<QueueId, Transitions>,
    pub(super) counts: RecordCounts,
    pub(super) hidden: u64,
    pub(super) missing: u64,
    pub(super) cohort_until: Option<UnixMillis>,
    pub(super) first_load: bool,
    pub(super) cycle: u64,
    pub(super) joins: Joins,
    pub(super) changes: Changes,
    pub(super) holes: Vec<(UserId, Hole)>,
    /// Agents whose after-call work has just begun, at an instant that was observed.
    pub(super) after_call: Vec<UserId>,
    /// Divergence validation.
    pub divergence: Divergence,
}

fn filter(config: &PipelineConfig) -> QueueFilter {
    QueueFilter {
        include: config.queues_include.clone(),
        exclude: config.queues_exclude.clone(),
        max: Some(config.queues_max),
    }
}

impl Reconciler {
    /// Knows nobody. `config.poll_interval` is the interval until [`Self::set_interval`].
    pub fn new(config: PipelineConfig) -> Self {
        Self {
            interval: config.poll_interval,
            agents: BTreeMap::new(),
            directory: Directory::new(filter(&config)),
            ledger: Ledger::default(),
            transitions: BTreeMap::new(),
            counts: RecordCounts::default(),
            hidden: 0,
            missing: 0,
            cohort_until: None,
            first_load: true,
            cycle: 0,
            joins: Joins::default(),
            changes: Changes::default(),
            holes: Vec::new(),
            after_call: Vec::new(),
            divergence: Divergence::default(),
            config,
        }
    }

    /// The effective poll interval, from which `auto` tolerances follow.
    pub fn set_interval(&mut self, interval: Millis) {
        self.interval = interval;
    }

    /// Other thresholds and filters from now on; the list of queues is filtered when it comes
    /// next. The effective interval is told by itself.
    pub fn reconfigure(&mut self, config: PipelineConfig) {
        self.directory.set_filter(filter(&config));
        self.config = config;
    }

    /// How old a snapshot's cache may be, once the dialect is known.
    pub fn set_cache_age(&mut self, age: Millis) {
        self.config.cache_age = age;
    }

    /// The gap tolerance in force (semantics.md §12.8).
    pub fn tolerance(&self) -> Millis {
        self.config
            .gap_tolerance
            .unwrap_or(Millis(self.interval.0 * 5 / 2) + self.config.cache_age)
    }

    /// The lateness in force.
    pub fn lateness(&self) -> Millis {
        self.config
            .lateness
            .unwrap_or(Millis(self.interval.0 * 2) + self.config.cache_age)
    }

    /// Agents held.
    pub fn agents(&self) -> &BTreeMap<UserId, Agent> {
        &self.agents
    }

    /// What has to be made durable; what is taken must be committed.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Takes in a new registry: who joined it and who left.
    pub fn on_registry(&mut self, joined: &[UserId], left: &[UserId]) {
        for user in left {
            self.part(user);
        }
        let mut new = Vec::new();
        for user in joined {
            if !self.agents.contains_key(user) {
                let queues = Membership {
                    from: UnixMillis(0),
                    queues: self.directory.queues_of(user),
                };
                new.push((user.clone(), Agent::new(queues)));
            }
            self.changes.agents.insert(user.clone());
            self.changes.gone.remove(user);
        }
        fill(&mut self.agents, new);
    }

    /// Begins to account for an agent at its first evidence.
    fn begin(&mut self, user: &UserId, at: UnixMillis) {
        let from = if self.first_load {
            // At the very first load nobody joined: all were there, and the window that is
            // running is accounted for whole.
            at.floor(self.config.window.length)
        } else {
            at
        };
        let Some(agent) = self.agents.get_mut(user) else {
            return;
        };
        if agent.covered_from.is_some() {
            return;
        }
        agent.covered_from = Some(from);
        agent.counted_from = Some(at);
        self.changes.agents.insert(user.clone());
        self.changes.records.push(JournalRecord::Roster(RosterSpan {
            user_id: user.clone(),
            from,
            until: None,
        }));
    }

    /// Takes in an accepted snapshot, which describes the platform at `at` or later. Each record is
    /// of a registered agent, once; they are ordered by agent.
    pub fn on_snapshot(
        &mut self,
        records: &[StatusRecord],
        at: UnixMillis,
        ingested_at: UnixMillis,
    ) {
        self.cycle += 1;
        if self.cohort_until.is_some_and(|until| at < until) {
            // The platform's clock was set back: who follows the snapshot is confirmed further
            // than this one, and others may follow from now on. Each entry speaks for itself.
            let following = self.agents.iter().filter(|(_, agent)| agent.follows_bulk);
            let following: Vec<UserId> = following.map(|(user, _)| user.clone()).collect();
            self.changes.agents.extend(following);
        }
        self.cohort_until = Some(at);
        let (news, volatile) = self.pass_over(records, at, ingested_at);
        for record in news {
            self.begin(&record.user_id, at);
            self.note_presence(record);
            match &record.platform {
                None => self.on_record(record, at, ingested_at),
                Some(fact) => self.on_scanned(record, fact, at, ingested_at),
            }
        }
        self.first_load = false;
        for user in volatile {
            // A settle cycle counts only with a routing confirmation, so ask for one each cycle.
            // The public platform's scan is one itself.
            let owed = self.agents.get(&user).is_some_and(|agent| {
                let scanned = agent.platform_status.is_some();
                agent.volatile.is_some() && !scanned && !agent.pending && agent.asking.is_none()
            });
            if owed {
                self.pend(&user, JoinClass::Changed);
            }
        }
    }

    /// Takes in the UI presence that a record shows.
    pub fn note_presence(&mut self, record: &StatusRecord) {
        let Some(agent) = self.agents.get_mut(&record.user_id) else {
            return;
        };
        if record.platform.is_some() {
            let since = Some(record.presence_since());
            if agent.presence_since > since {
                return;
            }
            agent.presence_since = since;
        }
        if agent.presence.as_ref() == Some(&record.presence) {
            return;
        }
        agent.presence = Some(record.presence.clone());
        self.changes.agents.insert(record.user_id.clone());
        self.changes
            .records
            .push(JournalRecord::Presence(PresenceChange {
                user_id: record.user_id.clone(),
                at: record.presence_since(),
                presence: record.presence.clone(),
            }));
    }

    /// A record of dialect `status`: a cached availability, which decides whether a join is due.
    fn on_record(&mut self, record: &StatusRecord, at: UnixMillis, ingested_at: UnixMillis) {
        let Some(agent) = self.agents.get_mut(&record.user_id) else {
            return;
        };
        let fact = fact_of(record);
        agent.platform_status = None;
        // This dialect has no history to fill them from.
        agent.holes.clear();
        agent.bulk_seen_at = Some(at);
        agent.ingested_at = agent.ingested_at.max(ingested_at);
        let news = agent.bulk != Some(fact);
        agent.bulk = Some(fact);
        let confirms = agent.joined_with == Some(fact)
            && agent.joined()
            && !agent.pending
            && agent.asking.is_none();
        if confirms {
            agent.confirmed_until = agent.confirmed_until.max(Some(at));
        }
        if agent.follows_bulk != confirms {
            agent.follows_bulk = confirms;
            self.changes.agents.insert(record.user_id.clone());
        }
        // Its last join may have failed for a record that the cache has taken back since.
        let idle = confirms && agent.resting.is_none();
        if let Some(confirmed) = agent.routing_confirmed_at.filter(|_| idle) {
            self.rest(&record.user_id, confirmed);
            return;
        }
        let asked_for_this = !news && agent.asking.is_some();
        if !confirms && !asked_for_this {
            let class = if agent.joined() {
                JoinClass::Changed
            } else {
                JoinClass::NeverJoined
            };
            self.pend(&record.user_id, class);
        }
    }

    /// Puts an agent on the pending list, unless it is there.
    pub fn pend(&mut self, user: &UserId, class: JoinClass) {
        let Some(agent) = self.agents.get_mut(user) else {
            return;
        };
        if agent.pending || agent.asking.is_some() {
            // Whoever is being asked is judged again when the answer comes.
            return;
        }
        agent.pending = true;
        if let Some(key) = agent.resting.take() {
            self.joins.wake(key, user);
        }
        self.joins.push(class, user.clone());
    }

    /// Whom to ask next in a class, by the platform's clock.
    pub fn next_join(&mut self, class: JoinClass, at: UnixMillis) -> Option<UserId> {
        let agents = &self.agents;
        self.joins.head(class, at, |user| {
            agents.get(user).is_some_and(|agent| agent.pending)
        })
    }

    /// When upkeep has somebody to ask, by the platform's clock.
    pub fn upkeep_due(&self) -> Option<UnixMillis> {
        self.joins.upkeep_due()
    }

    /// The agent that [`Self::next_join`] named is being asked.
    pub fn asked(&mut self, user: &UserId, class: JoinClass) {
        self.joins.take(class);
        self.asked_directly(user);
    }

    /// An agent is being asked whatever list it stands on.
    pub fn asked_directly(&mut self, user: &UserId) {
        if let Some(agent) = self.agents.get_mut(user) {
            if let Some(key) = agent.resting.take() {
                self.joins.wake(key, user);
            }
            agent.pending = false;
            agent.asking = Some(agent.bulk);
        }
    }

    /// No answer came. A join that is owed is put back on the list by the next snapshot, so that
    /// a failing endpoint is not hammered; upkeep waits its turn again, from `at` on.
    pub fn join_failed(&mut self, user: &UserId, at: UnixMillis) {
        let Some(agent) = self.agents.get_mut(user) else {
            return;
        };
        agent.asking = None;
        if agent.joined() && agent.bulk == agent.joined_with {
            self.rest(user, at);
        }
    }

    /// Takes in the routing state of one agent.
    pub fn on_routing(
        &mut self,
        user: &UserId,
        answer: &RoutingStates,
        evidence: &Evidence,
    ) -> Verdict {
        let Some(agent) = self.agents.get_mut(user) else {
            return Verdict::Empty;
        };
        let asked_with = agent.asking.take();
        let verdict = self.take_in(user, answer, evidence);
        if let Some(agent) = self.agents.get_mut(user) {
            agent.joined_with = match (verdict, asked_with) {
                // A record of a later change than the answer can know of is not what it answers.
                (Verdict::Current, Some(fact)) => {
                    fact.filter(|fact| fact.last_modified <= evidence.latest)
                }
                (Verdict::Current, None) => agent.joined_with,
                // It said nothing usable: no snapshot may confirm what is held until one does.
                _ => None,
            };
        }
        self.queue_after(user, verdict);
        verdict
    }

    /// Applies an answer about one agent to its history, its accounts and its events.
    pub(super) fn take_in(
        &mut self,
        user: &UserId,
        answer: &RoutingStates,
        evidence: &Evidence,
    ) -> Verdict {
        let tolerance = self.tolerance();
        let rule = self.volatility();
        let Some(agent) = self.agents.get(user) else {
            return Verdict::Empty;
        };
        if agent.covered_from.is_none() && !answer.entries.is_empty() {
            self.begin(user, evidence.confirms);
        }
        let Some(agent) = self.agents.get_mut(user) else {
            return Verdict::Empty;
        };
        let accrued = accrual::remember(agent, tolerance);
        let applied = apply(agent, answer, evidence);
        if let Some(accrued) = accrued {
            accrual::restate(&mut self.ledger, agent, &accrued, tolerance);
        }
        self.count(&applied, answer);
        let Some(agent) = self.agents.get_mut(user) else {
            return applied.verdict;
        };
        let change = rule.judge(agent, &applied, self.cycle);
        if !applied.changed.is_empty() || change != Change::None {
            agent.stuck.stuck = false;
        }
        self.changes.agents.insert(user.clone());
        self.note_holes(user, &applied.added);
        self.note_after_call(user, &applied.added);
        self.emit(user, &applied);
        applied.verdict
    }

    /// After an answer: back on the pending list if the snapshot has moved on meanwhile, else to
    /// rest until upkeep. What said nothing usable is asked again with the next snapshot.
    fn queue_after(&mut self, user: &UserId, verdict: Verdict) {
        let Some(agent) = self.agents.get_mut(user) else {
            return;
        };
        // What answered no record is asked again with the next one, not at once.
        let unanswered = agent.bulk.is_some() && agent.joined_with.is_none();
        if verdict != Verdict::Current || agent.pending || unanswered {
            return;
        }
        if agent.bulk == agent.joined_with {
            if let Some(confirmed) = agent.routing_confirmed_at {
                self.rest(user, confirmed);
            }
        } else {
            self.pend(user, JoinClass::Changed);
        }
    }

    /// Lets an agent wait until upkeep asks for it again.
    fn rest(&mut self, user: &UserId, since: UnixMillis) {
        if let Some(agent) = self.agents.get_mut(user) {
            if let Some(key) = agent.resting.replace(since) {
                self.joins.wake(key, user);
            }
            self.joins.rest(since, user.clone());
        }
    }

    fn volatility(&self) -> VolatilityRule {
        VolatilityRule {
            transitions: self.config.volatile_transitions,
            within: self.config.volatile_within,
            settle_cycles: self.config.settle_cycles,
        }
    }

    /// Drops what is believed of everyone in the queues of `divergent`: each is asked again, and no
    /// snapshot confirms it before it has answered (semantics.md §9).
    pub fn distrust(&mut self, divergent: &[UserId]) {
        self.divergence.view.invalidations += 1;
        let mut affected: BTreeSet<UserId> = divergent.iter().cloned().collect();
        for user in divergent {
            for queue in self.directory.queues_of(user).iter() {
                affected.extend(self.directory.members(queue).cloned());
            }
        }
        for user in affected {
            if let Some(agent) = self.agents.get_mut(&user) {
                agent.joined_with = None;
                agent.follows_bulk = false;
                self.changes.agents.insert(user.clone());
                self.pend(&user, JoinClass::Forced);
            }
        }
    }
}
