//! When what changed is made durable and shown: persist first, then publish.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Pipeline;
use super::directory::REGISTRY;
use crate::effect::{Append, Effect, Measurement, Phase};
use crate::model::time::{Millis, Monotonic, Now, UnixMillis};
use crate::model::view::{Health, View};
use crate::poller::{Budget, Carried};
use crate::reconciler::checkpoint::CheckpointError;

/// What changed is made durable and shown this long after it came at the latest, joins or not.
const COMMIT_WITHIN: Millis = Millis::from_secs(1);

/// Time is not accrued to queues before their members are known, so that none is lost to them;
/// but not for longer than this, in case they never will be.
const MEMBERS_PATIENCE: Millis = Millis::from_secs(120);

/// Checkpoint key of the budget.
pub(super) const BUDGET: &str = "budget";

/// What a restart must not forget of the budget. By the wall clock, which is all that two runs
/// share: a step of it in between costs a wait, which the budget bounds.
#[derive(Debug, Serialize, Deserialize)]
struct BudgetEntry {
    at: UnixMillis,
    silent_until: UnixMillis,
    sent: Vec<(Millis, u32)>,
}

/// Takes the budget of an earlier run.
pub(super) fn restore_budget(
    budget: &mut Budget,
    checkpoint: &[(String, String)],
    now: Now,
) -> Result<(), CheckpointError> {
    if let Some((key, value)) = checkpoint.iter().find(|(key, _)| key == BUDGET) {
        let entry: BudgetEntry =
            serde_json::from_str(value).map_err(|e| CheckpointError::new(key, e))?;
        let since = (now.wall - entry.at).max(Millis::ZERO);
        let aged = |(age, count): (Millis, u32)| (age + since, count);
        let carried = Carried {
            silence: entry.silent_until - now.wall,
            sent: entry.sent.into_iter().map(aged).collect(),
        };
        budget.carry_on(&carried, now.mono);
    }
    Ok(())
}

impl Pipeline {
    /// Something changed that is to be committed soon.
    pub(super) fn touch(&mut self, now: Now) {
        let at = now.mono + COMMIT_WITHIN;
        self.commit_at = Some(self.commit_at.map_or(at, |known| known.min(at)));
    }

    pub(super) fn commit_if_due(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.end_joining(now, effects);
        let heartbeat = self.committed_at + self.cycle.effective_interval();
        let due = self.commit_at.is_some_and(|at| at <= now.mono) || heartbeat <= now.mono;
        if !due || self.appending.is_some() {
            return;
        }
        self.commit(now, effects);
    }

    /// The joins of a cycle have been answered: what they told is shown at once.
    fn end_joining(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(since) = self.joining_since else {
            return;
        };
        if !self.joins_open(now) {
            self.joining_since = None;
            self.commit_at = Some(now.mono);
            effects.push(Effect::Measure(Measurement::Phase {
                phase: Phase::Join,
                seconds: (now.mono - since).as_secs_f64(),
            }));
        }
    }

    pub(super) fn commit(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.commit_at = None;
        self.committed_at = now.mono;
        self.sequence += 1;
        let at = self.platform_now(now);
        // Accrual that has begun goes on with the members known from before: the checkpoint moves
        // agents along with the snapshot and takes their time for accrued.
        let members_known = self.resumed
            || self.directory.complete
            || now.mono - self.started_at > MEMBERS_PATIENCE;
        let begun = (self.stopwatch)();
        // A guess of the platform's clock gives no window up.
        let known = self.skew.is_measured().then_some(at);
        self.reconciler.settle(known, members_known);
        let mut changes = self.reconciler.take_changes();
        let mut checkpoint = self.reconciler.checkpoint(&changes, &self.delta);
        if std::mem::take(&mut self.registry_changed) {
            let ids =
                serde_json::to_string(self.registry.ids()).expect("a set of texts serialises");
            checkpoint.push((REGISTRY.to_owned(), Some(ids)));
        }
        checkpoint.push((BUDGET.to_owned(), Some(self.budget_entry(now))));
        // Everybody may be in it, and the view needs room.
        drop(std::mem::take(&mut changes.agents));
        let settled = (self.stopwatch)();
        let view = self.view(now);
        let built = (self.stopwatch)();
        effects.extend(changes.measurements.into_iter().map(Effect::Measure));
        for (phase, seconds) in [
            (Phase::Reconcile, settled - begun),
            (Phase::Publish, built - settled),
        ] {
            let seconds = seconds.max(0.0);
            effects.push(Effect::Measure(Measurement::Phase { phase, seconds }));
        }
        effects.push(Effect::Append(Append {
            sequence: self.sequence,
            records: changes.records,
            checkpoint,
        }));
        self.appending = Some((self.sequence, Arc::new(view), now.mono));
    }

    /// What is held, as readers would see it. At the start it is what the last run left.
    pub fn view(&self, now: Now) -> View {
        let at = self.platform_now(now);
        let health = self.health_now(now.mono);
        let view = self.reconciler.view(at, now.wall, &self.delta, health);
        View {
            names: self.names.shown(),
            ..view
        }
    }

    /// What was spent of the budget, for whoever polls after us.
    pub fn spent(&self, now: Now) -> String {
        self.budget_entry(now)
    }

    /// Counts what another has spent, as its [`Self::spent`] said it.
    ///
    /// # Errors
    /// [`CheckpointError`] if it cannot be read.
    pub fn also_spent(&mut self, spent: &str, now: Now) -> Result<(), CheckpointError> {
        let entry = (BUDGET.to_owned(), spent.to_owned());
        restore_budget(&mut self.budget, &[entry], now)
    }

    fn budget_entry(&self, now: Now) -> String {
        let carried = self.budget.carried(now.mono);
        let entry = BudgetEntry {
            at: now.wall,
            silent_until: now.wall + carried.silence,
            sent: carried.sent,
        };
        serde_json::to_string(&entry).expect("plain data serialises")
    }

    /// What this stage knows of its own health.
    fn health_now(&self, now: Monotonic) -> Health {
        Health {
            registry_agents: self.registry.len() as u64,
            breaker: self.breaker.state(),
            breaker_trips: self.breaker.trips(),
            budget_remaining: u64::from(self.budget.remaining(now)),
            push: self.push.as_ref().map(super::push::Push::view),
            poll_interval: self.cycle.effective_interval(),
            ..self.health.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::model::time::Monotonic;

    fn now(millis: i64) -> Now {
        Now {
            wall: UnixMillis(1_715_675_400_000 + millis),
            mono: Monotonic(millis),
        }
    }

    #[test]
    fn a_view_is_shown_before_the_next_one_is_made() {
        let text = "source: { dialect: status, client_id: demo, api_url: 'http://127.0.0.1:1', \
                    login_url: 'http://127.0.0.1:1' }";
        let environment = [("GENESYSCLOUD_CLIENT_SECRET".to_owned(), "demo".to_owned())];
        let loaded = config::parse(&Arc::from("commit.yml"), text, &environment.into(), &[]);
        let mut pipeline =
            Pipeline::new(loaded.unwrap().config.pipeline, Vec::new(), now(0)).unwrap();
        let appends = |effects: &[Effect]| {
            let append = |effect: &Effect| match effect {
                Effect::Append(append) => Some(append.sequence),
                _ => None,
            };
            effects.iter().filter_map(append).collect::<Vec<u64>>()
        };
        let minute = 60_000;
        assert_eq!(appends(&pipeline.on_due(now(minute))), [1]);
        // It takes so long that the next one is due meanwhile.
        let later = now(2 * minute);
        assert!(appends(&pipeline.on_due(later)).is_empty());
        let effects = pipeline.on_appended(1);
        assert!(matches!(&effects[..], [Effect::Publish(_)]), "{effects:?}");
        assert_eq!(pipeline.next_deadline(later), later.mono);
        assert_eq!(appends(&pipeline.on_due(later)), [2]);
    }
}
