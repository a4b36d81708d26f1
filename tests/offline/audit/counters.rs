//! Counters: they never fall, over restarts too, and conserve time.

use std::collections::BTreeMap;
use std::sync::Arc;

use genesys_cloud_exporter::model::view::{AgentView, View};

use super::Complaints;
use super::truth::{Truth, undated};

/// Beyond an interval: the cache's age, and the way.
const CONFIRMED_WITHIN: i64 = 20_000;

/// What the counters of the organisation show at one instant, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// Platform instant that all agents are confirmed for, about.
    pub(crate) at: i64,
    pub(crate) states: [i64; 5],
    pub(crate) debt: i64,
    pub(crate) held: i64,
    pub(crate) interval: i64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    organisation: [i64; 5],
    queues: BTreeMap<String, [i64; 5]>,
    transitions: BTreeMap<String, u64>,
    unknown: i64,
    hidden: u64,
    records: [u64; 5],
    /// The first reading at which everybody was joined, and the last.
    pub(crate) first: Option<Reading>,
    pub(crate) last: Option<Reading>,
}

impl Counters {
    pub(crate) fn read(&mut self, platform: i64, view: &Arc<View>, complaints: &mut Complaints) {
        let organisation = view.organisation.time.map(|time| time.0);
        for (before, now) in self.organisation.iter().zip(organisation) {
            fell("organisation", *before, now, complaints);
        }
        self.organisation = organisation;
        for queue in &view.queues {
            let id = queue.queue_id.as_str();
            let time = queue.time.map(|time| time.0);
            let transitions = queue.transitions.values().sum();
            match self.queues.get_mut(id) {
                Some(held) => {
                    for (before, now) in held.iter().zip(time) {
                        fell(id, *before, now, complaints);
                    }
                    *held = time;
                    let held = self.transitions.get_mut(id).expect("beside the times");
                    fell("transitions", *held as i64, transitions as i64, complaints);
                    *held = transitions;
                }
                None => {
                    self.queues.insert(id.to_owned(), time);
                    self.transitions.insert(id.to_owned(), transitions);
                }
            }
        }
        self.others(view, complaints);
        let reading = Reading {
            at: platform,
            states: organisation,
            debt: view.health.debt.0,
            held: view.health.volatile_held.0,
            interval: view.health.poll_interval.0,
        };
        let all = view.health.registry_agents;
        let recent = platform - reading.interval - CONFIRMED_WITHIN;
        let fresh = |a: &&AgentView| a.confirmed_until.is_some_and(|at| at.0 > recent);
        let joined = view.agents.iter().filter(|a| a.entered_at.is_some());
        if self.first.is_none() && all > 0 && joined.filter(fresh).count() as u64 == all {
            self.first = Some(reading);
        }
        self.last = Some(reading);
    }

    fn others(&mut self, view: &View, complaints: &mut Complaints) {
        let health = &view.health;
        let unknown = health.unknown_time.values().map(|time| time.0).sum();
        fell("unknown", self.unknown, unknown, complaints);
        self.unknown = unknown;
        let hidden = health.hidden_transitions;
        fell("hidden", self.hidden as i64, hidden as i64, complaints);
        self.hidden = hidden;
        let r = health.records;
        let records = [r.seen, r.emitted, r.stale, r.conflict, r.invalid];
        for (before, now) in self.records.iter().zip(records) {
            fell("records", *before as i64, now as i64, complaints);
        }
        self.records = records;
    }

    /// Holds what was counted between the first and the last reading against the truth.
    /// `estimated`: time that rows call an estimate, which may be another state's.
    pub(crate) fn against(&self, truth: &Truth, estimated: i64, complaints: &mut Complaints) {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            complaints.add("nothing counted", || format!("{self:?}"));
            return;
        };
        conserved(&first, &last, truth, estimated, complaints);
    }
}

fn fell(what: &str, before: i64, now: i64, complaints: &mut Complaints) {
    if now < before {
        complaints.add("a counter fell", || format!("{what}: {before}, then {now}"));
    }
}

/// Truth = increase − debt + held, less what is unknown, within an interval an agent; agents who
/// came or went may miss all their time, and nobody may have time that was never lived.
pub(crate) fn conserved(
    first: &Reading,
    last: &Reading,
    truth: &Truth,
    estimated: i64,
    complaints: &mut Complaints,
) {
    let agents = truth.agents.len() as i64;
    let elapsed = last.at - first.at;
    // At both ends agents are confirmed up to one interval, the cache's age and the way apart.
    let slack = agents * (first.interval.max(last.interval) + CONFIRMED_WITHIN);
    let moved = truth.movers as i64 * (elapsed + 600_000);
    let mut increase: Vec<i64> = (0..5).map(|k| last.states[k] - first.states[k]).collect();
    let counted =
        increase.iter().sum::<i64>() - (last.debt - first.debt) + (last.held - first.held);
    let error = counted - agents * elapsed;
    if error > slack || error < -(slack + moved) {
        complaints.add("time not conserved", || {
            format!(
                "off by {error} ms of {} ms, slack {slack}\n    {first:?}\n    {last:?}",
                agents * elapsed
            )
        });
    }
    let untrue: i64 = truth.misled.iter().map(|s| s.1 - s.0).sum::<i64>() * agents
        + truth
            .misled_about
            .values()
            .flatten()
            .map(|s| s.1 - s.0)
            .sum::<i64>();
    if truth.undated {
        increase[2] += increase[3];
        increase[3] = 0;
    }
    let unclear = slack + untrue + estimated + last.debt + first.debt + last.held + first.held;
    for state in 0..4 {
        let lived: i64 = truth
            .agents
            .keys()
            .filter_map(|user| truth.lived(user, first.at, last.at))
            .map(|(four, _)| if truth.undated { undated(four) } else { four })
            .map(|four| four[state])
            .sum();
        let missed = lived - increase[state];
        if missed < -unclear || missed > unclear + increase[4] + moved {
            complaints.add("wrong state counted", || {
                format!(
                    "state {state}: counted {} ms, lived {lived} ms; unclear {unclear} ms, \
                     unknown {} ms",
                    increase[state], increase[4]
                )
            });
        }
    }
}
