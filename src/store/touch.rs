//! What a batch says of one agent, and what it does to the agent's facts and rows.
//!
//! Runs inside the transaction of a commit. Loads only the facts around what the records name,
//! and recomputes only the closed windows whose rows they can have changed.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Transaction;

use crate::model::event::{Event, JournalRecord, Mark, PresenceChange, RosterSpan};
use crate::model::ids::UserId;
use crate::model::time::{Millis, UnixMillis};
use crate::window::{
    AgentFacts, Change, EventFact, Refusal, closing, dirty, refuse_event, refuse_mark,
    refuse_presence, refuse_roster, row,
};

use super::sqlite::{CommitReport, StoreSettings};
use super::window_rows::Kept;
use super::{event_rows, fact_rows, window_rows};

/// Windows whose starts lie no further apart are computed from one load of facts.
const GROUP_GAP_MAX: Millis = Millis::from_secs(3_600);

/// The records of a batch that name one agent, and rows of the agent that a reader found damaged.
#[derive(Debug, Default)]
pub(super) struct Touched<'b> {
    events: Vec<&'b Event>,
    marks: Vec<&'b Mark>,
    roster: Vec<&'b RosterSpan>,
    presence: Vec<&'b PresenceChange>,
    damaged: BTreeSet<UnixMillis>,
}

/// Agents in order, so that a commit always writes in the same order.
pub(super) type TouchedAgents<'b> = BTreeMap<UserId, Touched<'b>>;

/// Sorts a record to the agents that it names; says why, if it or a part of it is refused.
pub(super) fn sort<'b>(
    agents: &mut TouchedAgents<'b>,
    record: &'b JournalRecord,
) -> Option<Refusal> {
    let mut refusal = None;
    match record {
        JournalRecord::Event(event) => match refuse_event(event) {
            None => of(agents, &event.user_id).events.push(event),
            refused => refusal = refused,
        },
        JournalRecord::Marks(marks) => {
            for mark in marks {
                match refuse_mark(mark) {
                    None => of(agents, &mark.user_id).marks.push(mark),
                    refused => refusal = refused,
                }
            }
        }
        JournalRecord::Roster(span) => match refuse_roster(span) {
            None => of(agents, &span.user_id).roster.push(span),
            refused => refusal = refused,
        },
        JournalRecord::Presence(change) => match refuse_presence(change) {
            None => of(agents, &change.user_id).presence.push(change),
            refused => refusal = refused,
        },
    }
    refusal
}

/// Asks for a row to be looked at again.
pub(super) fn suspect(agents: &mut TouchedAgents<'_>, user: &UserId, start: UnixMillis) {
    of(agents, user).damaged.insert(start);
}

fn of<'a, 'b>(agents: &'a mut TouchedAgents<'b>, user: &UserId) -> &'a mut Touched<'b> {
    agents.entry(user.clone()).or_default()
}

/// One commit's transaction, and what it is told.
pub(super) struct Commit<'c> {
    pub(super) transaction: &'c Transaction<'c>,
    pub(super) settings: &'c StoreSettings,
    /// Rows of windows that start before this are gone for good.
    pub(super) pruned_until: UnixMillis,
}

impl Commit<'_> {
    /// Takes what a batch says of one agent.
    pub(super) fn take(
        &self,
        user: &UserId,
        touched: Touched<'_>,
        report: &mut CommitReport,
    ) -> rusqlite::Result<()> {
        let (from, to) = touched.reach();
        let before = self.load(user, from, to, report)?;
        let mut after = before.clone();
        self.apply_events(&touched.events, &mut after, report)?;
        for mark in touched.marks {
            after.apply_mark(mark);
        }
        for span in touched.roster {
            after.apply_roster(span);
        }
        for change in touched.presence {
            if after.apply_presence(change) == Change::ConflictLost {
                report.conflicts += 1;
            }
        }
        let org = self.settings.org.as_str();
        fact_rows::write_changed(self.transaction, org, user, &before, &after)?;
        let mut windows = touched.damaged;
        windows.extend(self.windows(&before, &after));
        windows.retain(|&start| start >= self.pruned_until);
        self.recompute(user, windows, report)
    }

    fn load(
        &self,
        user: &UserId,
        from: UnixMillis,
        to: UnixMillis,
        report: &mut CommitReport,
    ) -> rusqlite::Result<AgentFacts> {
        let org = self.settings.org.as_str();
        fact_rows::load(
            self.transaction,
            org,
            user,
            from,
            to,
            &mut report.quarantined,
        )
    }

    fn apply_events(
        &self,
        events: &[&Event],
        facts: &mut AgentFacts,
        report: &mut CommitReport,
    ) -> rusqlite::Result<()> {
        let org = self.settings.org.as_str();
        for event in events {
            let change = facts.apply_event(event);
            if change.is_change() {
                event_rows::write(self.transaction, org, event)?;
            } else if facts.events.get(&event.state_entered_timestamp)
                == Some(&EventFact::of(event))
            {
                event_rows::write_twin(self.transaction, org, event)?;
            }
            match change {
                Change::New => report.stored += 1,
                Change::Replaced => report.corrected += 1,
                Change::ConflictWon | Change::ConflictLost => report.conflicts += 1,
                Change::None => report.duplicate += 1,
            }
        }
        Ok(())
    }

    /// Windows that close now, and closed ones whose rows may be others now.
    fn windows(&self, before: &AgentFacts, after: &AgentFacts) -> BTreeSet<UnixMillis> {
        let StoreSettings { window, rules, .. } = self.settings;
        let mut windows = BTreeSet::new();
        if let Some(until) = before.closed_until {
            windows = dirty(before, after, *window, rules, until);
        }
        if let Some(until) = after
            .closed_until
            .filter(|_| before.closed_until != after.closed_until)
        {
            windows.extend(closing(after, before.closed_until, until, *window));
        }
        windows
    }

    fn recompute(
        &self,
        user: &UserId,
        windows: BTreeSet<UnixMillis>,
        report: &mut CommitReport,
    ) -> rusqlite::Result<()> {
        let spec = self.settings.window;
        let margin = self.settings.rules.volatile_within;
        let org = self.settings.org.as_str();
        for group in groups(windows) {
            let (Some(&first), Some(&last)) = (group.first(), group.last()) else {
                continue;
            };
            let facts = self.load(user, first - margin, last + spec.length + margin, report)?;
            let bad = &mut report.quarantined;
            let kept = window_rows::load(self.transaction, org, user, spec, (first, last), bad)?;
            for start in group {
                let closed = facts
                    .closed_until
                    .is_some_and(|until| start + spec.length <= until);
                let row = closed
                    .then(|| row(&facts, spec, start, &self.settings.rules))
                    .flatten();
                self.keep(user, start, kept.get(&start), row, report)?;
            }
        }
        Ok(())
    }

    /// Writes, revises, deletes or leaves one row.
    fn keep(
        &self,
        user: &UserId,
        start: UnixMillis,
        held: Option<&Kept>,
        row: Option<crate::window::Row>,
        report: &mut CommitReport,
    ) -> rusqlite::Result<()> {
        let (org, spec) = (self.settings.org.as_str(), self.settings.window);
        let Some(row) = row else {
            if held.is_some() {
                window_rows::delete(self.transaction, org, user, spec, start)?;
                report.deleted += 1;
            }
            return Ok(());
        };
        let revision = match held {
            None => {
                report.written += 1;
                1
            }
            Some(held)
                if held.row.quality(0) != row.quality(0) || held.row.metrics != row.metrics =>
            {
                report.revised += 1;
                held.revision.saturating_add(1)
            }
            // Only which event told last, or when: not a figure, so not a revision.
            Some(held) if held.row != row => held.revision,
            Some(_) => return Ok(()),
        };
        if row.volatile && held.is_none_or(|held| held.revision != revision) {
            report.volatile_rows += 1;
        }
        window_rows::write(
            self.transaction,
            org,
            user,
            spec,
            start,
            &Kept { row, revision },
        )
    }
}

impl Touched<'_> {
    /// From before the first instant that the records name to the last, so that a load of it
    /// holds the neighbours of each.
    fn reach(&self) -> (UnixMillis, UnixMillis) {
        let events = self
            .events
            .iter()
            .map(|event| event.state_entered_timestamp);
        let marks = self.marks.iter().filter_map(|mark| mark.entered_at);
        let presence = self.presence.iter().map(|change| change.at);
        let instants = || events.clone().chain(marks.clone()).chain(presence.clone());
        let first = instants().min().unwrap_or_default();
        let last = instants().max().unwrap_or_default();
        (first - Millis(1), last)
    }
}

/// Splits rising starts where they lie far apart.
fn groups(windows: BTreeSet<UnixMillis>) -> Vec<Vec<UnixMillis>> {
    let mut groups: Vec<Vec<UnixMillis>> = Vec::new();
    for start in windows {
        match groups.last_mut() {
            Some(group)
                if group
                    .last()
                    .is_some_and(|&last| start - last <= GROUP_GAP_MAX) =>
            {
                group.push(start);
            }
            _ => groups.push(vec![start]),
        }
    }
    groups
}
