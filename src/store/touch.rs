//! What a batch says of one agent, and what it does to the agent's facts and rows.
//!
//! The same for every engine, and pure: an engine loads the facts around what the records name,
//! asks what changes, writes that, loads the facts around the windows that it was told, and asks
//! again what their rows are now. Only the closed windows that the records can have changed are
//! looked at.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::event::{Event, JournalRecord, Mark, PresenceChange, RosterSpan};
use crate::model::ids::UserId;
use crate::model::time::{Millis, UNIX_MILLIS_MAX, UnixMillis};
use crate::window::{
    AgentFacts, Change, EventFact, Refusal, closing, dirty, refuse_event, refuse_mark,
    refuse_presence, refuse_roster, row,
};

use super::cells::Cell;
use super::event_row::event_cells;
use super::report::{CommitReport, StoreSettings};
use super::window_row::Kept;

/// Windows whose starts lie no further apart are computed from one load of facts.
const GROUP_GAP_MAX: Millis = Millis::from_secs(3_600);

/// From an instant to an instant, both in it.
pub(super) type Span = (UnixMillis, UnixMillis);

/// What is loaded of an agent's facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    /// Of events and their confirmations.
    pub(super) events: Span,
    /// Of presences; `None`: none is needed.
    pub(super) presence: Option<Span>,
    /// Whether the roster is needed.
    pub(super) roster: bool,
}

impl Reach {
    /// All facts of a span.
    pub(super) fn of(span: Span) -> Self {
        Self {
            events: span,
            presence: Some(span),
            roster: true,
        }
    }

    /// Whether all facts of a span are within.
    pub(super) fn covers(&self, span: Span) -> bool {
        let within = |wide: Span| wide.0 <= span.0 && span.1 <= wide.1;
        within(self.events) && self.presence.is_some_and(within) && self.roster
    }
}

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

/// What an event may replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Whatever has its key.
    Anything,
    /// Only one that leads to the same figures and ranks lower in an arbitrary but fixed order: so
    /// the table does not depend on which came first.
    LesserTwin,
}

/// An event to write.
#[derive(Debug)]
pub(super) struct EventWrite<'b> {
    /// The row.
    pub(super) cells: Vec<Cell<'b>>,
    /// What it may replace.
    pub(super) over: Over,
}

impl EventWrite<'_> {
    /// Its place in the order of twins: the checksum.
    pub(super) fn rank(&self) -> i64 {
        self.cells.last().and_then(Cell::as_integer).unwrap_or(0)
    }
}

/// What a batch made of an agent's facts.
#[derive(Debug)]
pub(super) struct Applied<'b> {
    /// The facts as they were loaded.
    pub(super) before: AgentFacts,
    /// And with the batch; whatever of it is not in `before` is to be written.
    pub(super) after: AgentFacts,
    /// Events to write, at most one a key.
    pub(super) events: Vec<EventWrite<'b>>,
    /// Starts of windows whose rows may be others now, in groups that lie close together.
    pub(super) groups: Vec<Vec<UnixMillis>>,
}

/// A row that is another now; `None`: it should not be.
pub(super) type RowChange = (UnixMillis, Option<Kept>);

impl<'b> Touched<'b> {
    /// From before the first instant that the records name to the last, so that a load of it
    /// holds the neighbours of each.
    pub(super) fn reach(&self) -> Span {
        let events = self
            .events
            .iter()
            .map(|event| event.state_entered_timestamp);
        let marks = self.marks.iter().filter_map(|mark| mark.entered_at);
        let presence = self.presence.iter().map(|change| change.at);
        let instants = || events.clone().chain(marks.clone()).chain(presence.clone());
        let first = instants().min().unwrap_or_default();
        let last = instants().max().unwrap_or_default();
        storable(first - Millis(1), last)
    }

    /// Whether any record is of presence. What none is of is as it was, and need not be loaded to
    /// see what the records change.
    pub(super) fn names_presence(&self) -> bool {
        !self.presence.is_empty()
    }

    /// Whether any record is of the roster, or closes windows: only an agent on it has any.
    pub(super) fn asks_for_roster(&self) -> bool {
        !self.roster.is_empty() || self.marks.iter().any(|mark| mark.closed_until.is_some())
    }

    /// What [`Touched::reach`] says and, if the records are marks alone, what the last window needs
    /// that they close. Mostly they close no other, and then one load is enough. Marks change no
    /// presence, so of presences only that window's are needed: of an agent who is in one state for
    /// weeks, those of weeks are not looked at.
    pub(super) fn reach_to_close(&self, settings: &StoreSettings) -> Reach {
        let events = self.reach();
        let reach = Reach {
            events,
            presence: self.names_presence().then_some(events),
            roster: self.asks_for_roster(),
        };
        let only_marks =
            self.events.is_empty() && self.roster.is_empty() && self.presence.is_empty();
        let closed = self.marks.iter().filter_map(|mark| mark.closed_until);
        let (true, Some(until)) = (only_marks, closed.max()) else {
            return reach;
        };
        let last = settings.window.last_end(until) - settings.window.length;
        let Some(window) = needed(settings, &[last]) else {
            return reach;
        };
        let entered = self.marks.iter().any(|mark| mark.entered_at.is_some());
        let (from, to) = if entered { events } else { window };
        Reach {
            events: (from.min(window.0), to.max(window.1)),
            ..Reach::of(window)
        }
    }

    /// Takes the records into the facts that were loaded for [`Touched::reach`]. Windows that
    /// start before `pruned_until` are gone for good.
    pub(super) fn apply(
        self,
        settings: &'b StoreSettings,
        pruned_until: UnixMillis,
        before: AgentFacts,
        report: &mut CommitReport,
    ) -> Applied<'b> {
        let mut after = before.clone();
        let events = apply_events(&settings.org, &self.events, &mut after, report);
        for mark in self.marks {
            after.apply_mark(mark);
        }
        for span in self.roster {
            after.apply_roster(span);
        }
        for change in self.presence {
            if after.apply_presence(change) == Change::ConflictLost {
                report.conflicts += 1;
            }
        }
        let mut windows = self.damaged;
        windows.extend(changed_windows(settings, &before, &after));
        windows.retain(|&start| start >= pruned_until);
        Applied {
            before,
            after,
            events,
            groups: groups(windows),
        }
    }
}

fn apply_events<'b>(
    org: &'b str,
    events: &[&'b Event],
    facts: &mut AgentFacts,
    report: &mut CommitReport,
) -> Vec<EventWrite<'b>> {
    let mut writes: BTreeMap<UnixMillis, EventWrite<'b>> = BTreeMap::new();
    for event in events {
        let at = event.state_entered_timestamp;
        let change = facts.apply_event(event);
        if change.is_change() {
            let write = EventWrite {
                cells: event_cells(org, event),
                over: Over::Anything,
            };
            writes.insert(at, write);
        } else if facts.events.get(&at) == Some(&EventFact::of(event)) {
            let twin = EventWrite {
                cells: event_cells(org, event),
                over: Over::LesserTwin,
            };
            match writes.get_mut(&at) {
                None => {
                    writes.insert(at, twin);
                }
                Some(held) if held.rank() < twin.rank() => held.cells = twin.cells,
                Some(_) => {}
            }
        }
        match change {
            Change::New => report.stored += 1,
            Change::Replaced => report.corrected += 1,
            Change::ConflictWon | Change::ConflictLost => report.conflicts += 1,
            Change::None => report.duplicate += 1,
        }
    }
    writes.into_values().collect()
}

/// Windows that close now, and closed ones whose rows may be others now.
fn changed_windows(
    settings: &StoreSettings,
    before: &AgentFacts,
    after: &AgentFacts,
) -> BTreeSet<UnixMillis> {
    let StoreSettings { window, rules, .. } = settings;
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

/// The instants between which facts are needed for a group of windows; `None` if it is empty.
pub(super) fn needed(settings: &StoreSettings, group: &[UnixMillis]) -> Option<Span> {
    let margin = settings.rules.volatile_within;
    let (&first, &last) = (group.first()?, group.last()?);
    Some(storable(
        first - margin,
        last + settings.window.length + margin,
    ))
}

/// What changes of the rows of a group, given the facts that it needs and the rows that are kept.
pub(super) fn recompute(
    settings: &StoreSettings,
    facts: &AgentFacts,
    kept: &BTreeMap<UnixMillis, Kept>,
    group: &[UnixMillis],
    report: &mut CommitReport,
) -> Vec<RowChange> {
    let spec = settings.window;
    let change = |&start: &UnixMillis| {
        let closed = facts
            .closed_until
            .is_some_and(|until| start + spec.length <= until);
        let row = closed
            .then(|| row(facts, spec, start, &settings.rules))
            .flatten();
        match (row, kept.get(&start)) {
            (Some(row), held) => keep(held, row, report).map(|kept| (start, Some(kept))),
            (None, Some(_)) => {
                report.deleted += 1;
                Some((start, None))
            }
            (None, None) => None,
        }
    };
    group.iter().filter_map(change).collect()
}

/// A row as it is to be written; `None`: it is kept as it is.
fn keep(held: Option<&Kept>, row: crate::window::Row, report: &mut CommitReport) -> Option<Kept> {
    let revision = match held {
        None => {
            report.written += 1;
            1
        }
        Some(held) if held.row.quality(0) != row.quality(0) || held.row.metrics != row.metrics => {
            report.revised += 1;
            held.revision.saturating_add(1)
        }
        // Only which event told last, or when: not a figure, so not a revision.
        Some(held) if held.row != row => held.revision,
        Some(_) => return None,
    };
    if row.volatile && held.is_none_or(|held| held.revision != revision) {
        report.volatile_rows += 1;
    }
    Some(Kept { row, revision })
}

/// What of `after` is not in `before`.
pub(super) fn changed<'m, V: PartialEq>(
    before: &'m BTreeMap<UnixMillis, V>,
    after: &'m BTreeMap<UnixMillis, V>,
) -> impl Iterator<Item = (UnixMillis, &'m V)> {
    after
        .iter()
        .filter(|(at, value)| before.get(at) != Some(value))
        .map(|(&at, value)| (at, value))
}

/// Instants in the tables lie between 1970 and 9999, and only such compare as text.
fn storable(from: UnixMillis, to: UnixMillis) -> Span {
    let clamp = |at: UnixMillis| UnixMillis(at.0.clamp(0, UNIX_MILLIS_MAX));
    (clamp(from), clamp(to))
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
