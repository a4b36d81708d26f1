//! Views: no state without an answer that told it, none moved without one that named the agent,
//! none that goes back, none frozen; presences only from snapshots that cover enough.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use genesys_cloud_exporter::model::state::RoutingState;
use genesys_cloud_exporter::model::view::{AgentView, View};

use super::answers::{self, UNRECOGNISED, asked_about, snapshot_page};
use super::truth::Truth;
use super::{Complaints, Terms};
use crate::harness::observe::{Observation, Observed};

/// Snapshots remembered beside those since the last view.
const REMEMBERED: usize = 2;

/// Answers about one agent remembered before those older than the last view are let go of.
const NAMED_MAX: usize = 64;

/// No answer is longer under way.
const WAY_MAX: i64 = 30_000;

/// The platform's clock is known to a second or so; what depends on it may be late by this.
const CLOCK_SLACK: i64 = 5_000;

/// How long after an untrue answer its effects can last: the tolerance for gaps, twice.
const UNTRUTH_LASTS: i64 = 110_000;

/// What was told of a segment.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// A bit a state.
    states: u8,
    /// Latest platform instant for which it was said to be the current one.
    current_at: i64,
}

struct Snapshot {
    at: i64,
    /// By agent; a broken snapshot may have several of one.
    records: BTreeMap<String, Vec<(String, usize)>>,
}

impl Snapshot {
    /// Whether it tells of nine in ten of so many.
    fn covers(&self, registered: u64) -> bool {
        self.records.len() as u64 * 10 >= registered * 9
    }

    fn told(&self, user: &str) -> impl Iterator<Item = &(String, usize)> {
        self.records.get(user).into_iter().flatten()
    }
}

#[derive(Default)]
struct Person {
    told: BTreeMap<i64, Told>,
    named: Vec<i64>,
}

pub(crate) struct Views {
    terms: Terms,
    people: BTreeMap<String, Person>,
    snapshots: VecDeque<Snapshot>,
    /// Those that cover too little of the registry of the last view, and came after it.
    doubted: Vec<Snapshot>,
    pages: (Vec<answers::Record>, usize),
    /// When the view under way was built: true time, platform time.
    built: (i64, i64),
    last: Option<(i64, Arc<View>)>,
    /// Furthest that the platform's clock has ever stood.
    furthest: i64,
    /// Of the platform's clock from true time.
    offset: i64,
    /// An answer has told the platform's clock since the exporter started, or slept.
    clock_known: bool,
    /// The same when the view under way was built.
    age_known: bool,
    /// And the one before.
    last_age_known: bool,
    pub(crate) published: usize,
    pub(crate) moves: usize,
    pub(crate) refused_snapshots: usize,
}

fn number(state: RoutingState) -> usize {
    match state {
        RoutingState::Available => 0,
        RoutingState::NotReady => 1,
        RoutingState::OnCall => 2,
        RoutingState::WrapUp => 3,
        RoutingState::Unknown => UNRECOGNISED,
    }
}

impl Views {
    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            terms,
            people: BTreeMap::new(),
            snapshots: VecDeque::new(),
            doubted: Vec::new(),
            pages: (Vec::new(), 0),
            built: (0, 0),
            last: None,
            furthest: 0,
            offset: 0,
            clock_known: false,
            age_known: false,
            last_age_known: false,
            published: 0,
            moves: 0,
            refused_snapshots: 0,
        }
    }

    pub(crate) fn window(&self) -> i64 {
        self.terms.window
    }

    /// Platform time at which the view shown last was built.
    pub(crate) fn built(&self) -> i64 {
        self.built.1
    }

    pub(crate) fn last(&self) -> Option<&Arc<View>> {
        self.last.as_ref().map(|(_, view)| view)
    }

    pub(crate) fn observe(&mut self, observed: &Observed, complaints: &mut Complaints) {
        self.furthest = self.furthest.max(observed.platform);
        let offset = observed.platform - observed.at;
        self.clock_known &= offset == self.offset;
        self.offset = offset;
        if let Observation::Answered { raw, reached, .. } = &observed.what {
            // An answer from before the platform's clock was stepped tells nothing.
            let way = observed.platform - reached;
            self.clock_known |= raw.status.is_some() && (0..WAY_MAX).contains(&way);
        }
        match &observed.what {
            Observation::Started | Observation::Slept => self.clock_known = false,
            Observation::Answered {
                path, reached, raw, ..
            } if raw.status == Some(200) => {
                if let Some(user) = asked_about(path) {
                    self.told(observed.at, user, *reached, &raw.body);
                } else if let Some(page) = snapshot_page(path) {
                    self.page(observed.at, page, &raw.body);
                }
            }
            Observation::Built => {
                self.built = (observed.at, observed.platform);
                self.age_known = self.clock_known;
            }
            Observation::Published(view) => self.published(view, complaints),
            Observation::Closed { user, until } if *until > self.furthest + self.terms.window => {
                let ahead = until - self.furthest;
                complaints.add("closed early", || {
                    format!("{user} until {until}, {ahead} ms ahead of the platform's clock")
                });
            }
            _ => {}
        }
    }

    fn told(&mut self, at: i64, user: &str, reached: i64, body: &[u8]) {
        let entries = answers::entries(body);
        let newest = entries.iter().map(|(start, _)| *start).max();
        let person = self.people.entry(user.to_owned()).or_default();
        for (start, state) in entries {
            let told = person.told.entry(start).or_default();
            told.states |= 1 << state;
            if Some(start) == newest {
                told.current_at = told.current_at.max(reached);
            }
        }
        person.named.push(at);
        if person.named.len() > NAMED_MAX {
            let since = self.last.as_ref().map_or(0, |(since, _)| *since);
            person.named.retain(|at| *at >= since);
        }
    }

    fn page(&mut self, at: i64, page: u32, body: &[u8]) {
        if page == 1 {
            self.pages = (Vec::new(), 0);
        }
        let Some((records, rows, total)) = answers::records(body) else {
            return;
        };
        self.pages.0.extend(records);
        self.pages.1 += rows;
        if total.is_some_and(|total| self.pages.1 < total) {
            return;
        }
        let mut records: BTreeMap<String, Vec<(String, usize)>> = BTreeMap::new();
        for record in std::mem::take(&mut self.pages.0) {
            let of_user = records.entry(record.user).or_default();
            of_user.push((record.presence, record.state));
        }
        let registered = self.last().map_or(0, |view| view.health.registry_agents);
        let snapshot = Snapshot { at, records };
        if !snapshot.covers(registered) {
            // Whatever it says, nothing may follow from it; unless the registry has shrunk since,
            // which the next view tells.
            self.refused_snapshots += 1;
            self.doubted.push(snapshot);
            return;
        }
        self.snapshots.push_back(snapshot);
        let since = self.last.as_ref().map_or(0, |(since, _)| *since);
        while self.snapshots.len() > REMEMBERED && self.snapshots[REMEMBERED].at < since {
            self.snapshots.pop_front();
        }
    }

    fn published(&mut self, view: &Arc<View>, complaints: &mut Complaints) {
        self.published += 1;
        let registered = view.health.registry_agents;
        for snapshot in std::mem::take(&mut self.doubted) {
            if snapshot.covers(registered) {
                self.refused_snapshots -= 1;
                self.snapshots.push_back(snapshot);
            }
        }
        let (since, previous) = match &self.last {
            Some((since, previous)) => (*since, Some(Arc::clone(previous))),
            None => (0, None),
        };
        let mut before = previous
            .iter()
            .flat_map(|view| view.agents.iter())
            .peekable();
        for agent in &view.agents {
            while before.next_if(|b| b.user_id < agent.user_id).is_some() {}
            let before = before.next_if(|b| b.user_id == agent.user_id);
            self.aged(agent, complaints);
            let moved =
                before.is_none_or(|b| (b.state, b.entered_at) != (agent.state, agent.entered_at));
            if moved {
                self.moves += 1;
                self.moved(agent, before, since, complaints);
            }
            if before.is_none_or(|b| b.presence != agent.presence) {
                self.changed_presence(agent, before, complaints);
            }
        }
        self.last = Some((self.built.0, Arc::clone(view)));
        self.last_age_known = self.age_known;
    }

    /// Unknown after `stale_after` without confirmation, and not before.
    fn aged(&self, agent: &AgentView, complaints: &mut Complaints) {
        let Some(confirmed) = agent.confirmed_until else {
            return;
        };
        let age = self.built.1 - confirmed.0;
        let (stale, limit) = (agent.stale, self.terms.stale_after);
        let wrong = stale && age <= limit - CLOCK_SLACK || !stale && age > limit + CLOCK_SLACK;
        if wrong && self.age_known {
            complaints.add("wrong age", || {
                format!("stale: {stale} at an age of {age} ms: {agent:?}")
            });
        }
        if confirmed.0 > self.furthest + CLOCK_SLACK {
            complaints.add("confirmed ahead", || format!("by {} ms: {agent:?}", -age));
        }
        if stale && number(agent.state) != UNRECOGNISED {
            complaints.add("stale and shown", || format!("{agent:?}"));
        }
    }

    fn moved(
        &self,
        agent: &AgentView,
        before: Option<&AgentView>,
        since: i64,
        complaints: &mut Complaints,
    ) {
        let user = agent.user_id.as_str();
        let state = number(agent.state);
        if self.terms.platform {
            // The true start of one state may come after a later one that was observed.
            let back =
                before.is_some_and(|b| b.state != agent.state && b.entered_at > agent.entered_at);
            if back {
                complaints.add("went back", || format!("{before:?}\n    {agent:?}"));
            }
            return;
        }
        let Some(entered) = agent.entered_at else {
            let said = |s: &Snapshot| s.told(user).any(|(_, told)| *told == state);
            let known = self.until_built().any(said);
            if !known && !agent.stale {
                complaints.add("state without evidence", || format!("{agent:?}"));
            }
            return;
        };
        if before.is_some_and(|b| b.entered_at > Some(entered)) {
            complaints.add("went back", || format!("{before:?}\n    {agent:?}"));
        }
        let person = self.people.get(user);
        let told = person.and_then(|person| person.told.get(&entered.0));
        let said = told.is_some_and(|told| told.states & (1 << state) != 0);
        if !said && !agent.stale {
            complaints.add("state without evidence", || format!("{agent:?}: {told:?}"));
        }
        let between = |at: &i64| (since..=self.built.0).contains(at);
        let named = person.is_some_and(|person| person.named.iter().any(between));
        let confirmed = self.snapshots.iter().any(|s| between(&s.at));
        // One segment may age, and come back by a snapshot that confirms it.
        let same = before.is_some_and(|b| b.entered_at == Some(entered));
        // What is known of the age is a guess before the platform's clock is known.
        let guessed = !self.age_known || !self.last_age_known;
        let returned = same && before.is_some_and(|b| b.stale) && (confirmed || guessed);
        let aged = same && agent.stale;
        if !(named || returned || aged || before.is_none()) {
            complaints.add("moved without an answer", || {
                format!("since {since}: {before:?}\n    {agent:?}")
            });
        }
    }

    fn changed_presence(
        &self,
        agent: &AgentView,
        before: Option<&AgentView>,
        complaints: &mut Complaints,
    ) {
        let user = agent.user_id.as_str();
        let shown = agent.presence.wire();
        let told = |s: &Snapshot| s.told(user).any(|(presence, _)| presence == shown);
        if self.terms.platform {
            return;
        }
        let nobody_knows = before.is_none() && shown == "Unknown";
        // A restart shows what was kept, which the auditor saw long ago.
        if !nobody_knows && before.is_some() && !self.until_built().any(told) {
            complaints.add("presence without evidence", || {
                format!("{before:?}\n    {agent:?}")
            });
        }
    }

    fn until_built(&self) -> impl Iterator<Item = &Snapshot> {
        self.snapshots.iter().filter(|s| s.at <= self.built.0)
    }

    /// Finds out who was told untruths about themselves.
    pub(crate) fn finish(&mut self, truth: &mut Truth) {
        for (user, person) in &self.people {
            for (start, told) in &person.told {
                let Some((_, end)) = truth.segment(user, *start) else {
                    continue;
                };
                if end < told.current_at {
                    let spans = truth.misled_about.entry(user.clone()).or_default();
                    spans.push((end, told.current_at + UNTRUTH_LASTS));
                }
            }
        }
    }
}
