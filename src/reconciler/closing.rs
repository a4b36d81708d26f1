//! Ends: windows that close, and agents that leave.

use super::accrual;
use super::agent::Agent;
use super::reconcile::Reconciler;
use crate::model::event::{JournalRecord, MARKS_PER_RECORD_MAX, Mark, RosterSpan};
use crate::model::ids::UserId;
use crate::model::time::{Millis, UnixMillis};

/// Windows that one mark closes at most: after a long outage they close over several commits, so
/// that no batch grows without bound.
const WINDOWS_PER_MARK_MAX: i64 = 48;

impl Reconciler {
    /// Closes an agent that left the registry at its last confirmed instant.
    pub(super) fn part(&mut self, user: &UserId) {
        let tolerance = self.tolerance();
        let Some(mut agent) = self.agents.remove(user) else {
            return;
        };
        if let Some(key) = agent.resting {
            self.joins.wake(key, user);
        }
        self.changes.agents.remove(user);
        self.changes.gone.insert(user.clone());
        let Some(from) = agent.covered_from else {
            return;
        };
        agent.volatile = None;
        accrual::accrue(&mut self.ledger, &mut agent, tolerance);
        let until = agent.confirmed_until.map_or(from, |at| at.max(from));
        self.changes.records.push(JournalRecord::Roster(RosterSpan {
            user_id: user.clone(),
            from,
            until: Some(until),
        }));
        let closed = self
            .config
            .window
            .last_end(until + self.config.window.length);
        self.changes.records.push(JournalRecord::Marks(vec![mark(
            user,
            &agent,
            tolerance,
            agent.closed_until.max(Some(closed)),
        )]));
    }

    /// Whether any time has ever been accrued.
    pub fn has_accrued(&self) -> bool {
        let mut agents = self.agents.values();
        agents.any(|agent| agent.accrued_until.is_some())
    }

    /// Accrues confirmed time and closes windows; called before each commit. `at` is the
    /// platform's clock at least; `None` while nothing has told it: then no window is given up.
    pub fn settle(&mut self, at: Option<UnixMillis>, accrue: bool) {
        let tolerance = self.tolerance();
        let lateness = self.lateness();
        let window = self.config.window;
        let given_up = at.map_or(UnixMillis(0), |at| {
            window.last_end(at - self.config.max_wait)
        });
        // Everybody may have one: put in their records at once, they are never there twice.
        let mut marks: Vec<Vec<Mark>> = Vec::new();
        for (user, agent) in &mut self.agents {
            if agent.labels.is_none() {
                agent.labels = Some(self.directory.labels(agent.queues()));
            }
            if accrue {
                let first = agent.accrued_until.is_none();
                accrual::accrue(&mut self.ledger, agent, tolerance);
                if first && agent.accrued_until.is_some() {
                    self.changes.agents.insert(user.clone());
                }
            }
            let Some(covered) = agent.covered_from else {
                continue;
            };
            let known = match agent.confirmed_until {
                Some(confirmed) if agent.volatile.is_none() && agent.joined() => {
                    window.last_end(confirmed - lateness).max(given_up)
                }
                _ => given_up,
            };
            let closed = agent.closed_until.unwrap_or(covered.floor(window.slide));
            let most = closed + Millis(window.slide.0 * WINDOWS_PER_MARK_MAX);
            let until = known.min(most);
            if until > closed {
                agent.closed_until = Some(until);
                let mark = mark(user, agent, tolerance, Some(until));
                match marks.last_mut() {
                    Some(open) if open.len() < MARKS_PER_RECORD_MAX => open.push(mark),
                    _ => marks.push(vec![mark]),
                }
            }
        }
        let marks = marks.into_iter().map(JournalRecord::Marks);
        self.changes.records.extend(marks);
    }
}

fn mark(user: &UserId, agent: &Agent, tolerance: Millis, closed_until: Option<UnixMillis>) -> Mark {
    Mark {
        user_id: user.clone(),
        entered_at: agent.current().map(|held| held.entered_at),
        confirmed_until: agent.confirmed_until,
        tolerance,
        closed_until,
    }
}
