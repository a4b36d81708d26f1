//! Facts of many agents at once: loaded in one round trip, and what changed of them as a few
//! statements.

use std::collections::BTreeMap;
use std::future::Future;

use tokio_postgres::{Error, Row};

use crate::model::state::Presence;
use crate::model::time::{Millis, UnixMillis};
use crate::window::{AgentFacts, Confirmation};

use super::super::cells::{Cell, describe};
use super::super::event_row::event_fact;
use super::super::report::StoreSettings;
use super::super::table::Table;
use super::super::touch::{Applied, Over, RowChange, Span, Touched, changed};
use super::super::window_row::{Kept, window_cells, window_kept};
use super::link::Live;
use super::schema::{EVENT_COLUMNS, WINDOW_COLUMNS};
use super::statements::{Asked, Change, Query};
use super::values::{Param, Stamp, arrays, cells};
use crate::model::ids::UserId;

/// Agents, and between which instants their facts are wanted.
#[derive(Debug, Default)]
pub(super) struct Spans<'u> {
    users: Vec<&'u str>,
    from: Vec<Stamp>,
    to: Vec<Stamp>,
    /// Whether anybody's presences are wanted too.
    presence: bool,
    /// Whether anybody's roster is.
    roster: bool,
}

impl<'u> Spans<'u> {
    /// Of these, in order; each is numbered by its place. All of their facts are wanted.
    pub(super) fn of(agents: impl Iterator<Item = (&'u UserId, Span)>) -> Self {
        let mut spans = Self {
            presence: true,
            roster: true,
            ..Self::default()
        };
        for (user, span) in agents {
            spans.push(user, span);
        }
        spans
    }

    /// Of whom records name, and only what these can change.
    pub(super) fn touched(agents: &'u [(UserId, Touched<'_>)]) -> Self {
        let mut spans = Self::default();
        for (user, touched) in agents {
            spans.push(user, touched.reach());
            spans.presence |= touched.names_presence();
            spans.roster |= touched.asks_for_roster();
        }
        spans
    }

    /// Those of whom no event that holds was found at or before their span, and their places.
    fn without_start(&self, events: &[Row]) -> Result<(Self, Vec<usize>), Error> {
        let mut found = vec![false; self.users.len()];
        for row in events {
            // Of a confirmation there is no such word.
            if row.try_get::<_, Option<bool>>(WITHDRAWN)? == Some(false) {
                let (at, Stamp(start)) = (place(row)?, row.try_get(STATE_ENTERED_AT)?);
                found[at] |= start <= self.from[at].0;
            }
        }
        let places: Vec<usize> = (0..found.len()).filter(|&at| !found[at]).collect();
        let spans = Self {
            users: places.iter().map(|&at| self.users[at]).collect(),
            from: places.iter().map(|&at| self.from[at]).collect(),
            to: places.iter().map(|&at| self.to[at]).collect(),
            ..Self::default()
        };
        Ok((spans, places))
    }

    fn push(&mut self, user: &'u UserId, (from, to): Span) {
        self.users.push(user.as_str());
        self.from.push(Stamp(from));
        self.to.push(Stamp(to));
    }
}

/// A row that is not as it was written.
#[derive(Debug)]
pub(super) struct Damaged {
    table: Table,
    user: String,
    at: UnixMillis,
    content: String,
}

impl Damaged {
    fn new(table: Table, cells: &[Cell<'_>]) -> Self {
        let at = match table {
            Table::Event => 2,
            Table::Window => 3,
        };
        Self {
            table,
            user: cells[1].as_text().unwrap_or_default().to_owned(),
            at: cells[at].as_instant().unwrap_or_default(),
            content: describe(cells),
        }
    }
}

/// Facts by the number of their span, and the rows that are not as they were written.
pub(super) type Loaded = (Vec<AgentFacts>, Vec<Damaged>);

/// An agent's last event is mostly younger than this. Days before are only looked at for those whose
/// is not, so that what a commit costs does not grow with the days that are kept.
const LOOK_BACK: Millis = Millis::from_secs(86_400);

/// Loads facts; all on their way at the first poll.
pub(super) async fn load(live: &Live, org: &str, spans: &Spans<'_>) -> Result<Loaded, Error> {
    if spans.users.is_empty() {
        return Ok(Loaded::default());
    }
    let millis = |stamps: &[Stamp]| stamps.iter().map(|stamp| stamp.0.0).collect::<Vec<i64>>();
    let (from, to) = (millis(&spans.from), millis(&spans.to));
    let since = least(&spans.from) - LOOK_BACK;
    let (events, presence, roster, agents) = tokio::try_join!(
        biased;
        load_events(live, org, spans, since),
        wanted(spans.presence, live.query(Query::LoadPresence, [&org, &spans.users, &from, &to])),
        wanted(spans.roster, live.query(Query::LoadRoster, [&org, &spans.users])),
        live.query(Query::LoadAgents, [&org, &spans.users]),
    )?;
    let mut facts = vec![AgentFacts::default(); spans.users.len()];
    let mut damaged = Vec::new();
    let (earlier, places) = spans.without_start(&events)?;
    for row in &events {
        if places.binary_search(&place(row)?).is_err() {
            take_event(row, of(&mut facts, row)?, &mut damaged)?;
        }
    }
    if !places.is_empty() {
        for row in &load_events(live, org, &earlier, UnixMillis(0)).await? {
            take_event(row, &mut facts[places[place(row)?]], &mut damaged)?;
        }
    }
    for row in &presence {
        let (at, presence) = (
            UnixMillis(row.try_get(1)?),
            Presence::parse(row.try_get(2)?),
        );
        of(&mut facts, row)?.presence.insert(at, presence);
    }
    for row in &roster {
        let until: Option<i64> = row.try_get(2)?;
        let from = UnixMillis(row.try_get(1)?);
        of(&mut facts, row)?
            .roster
            .insert(from, until.map(UnixMillis));
    }
    for row in &agents {
        of(&mut facts, row)?.closed_until = Some(UnixMillis(row.try_get(1)?));
    }
    Ok((facts, damaged))
}

/// The least of some instants.
fn least(stamps: &[Stamp]) -> UnixMillis {
    stamps.iter().map(|stamp| stamp.0).min().unwrap_or_default()
}

/// Events and confirmations of spans; for the start before a span, none before `since` is looked at.
async fn load_events(
    live: &Live,
    org: &str,
    spans: &Spans<'_>,
    since: UnixMillis,
) -> Result<Vec<Row>, Error> {
    let (since, until) = (Stamp(since), Stamp(least(&spans.to)));
    let asked: [Asked<'_>; 6] = [&org, &spans.users, &spans.from, &spans.to, &since, &until];
    live.query(Query::LoadEvents, asked).await
}

/// Takes an event or a confirmation.
fn take_event(row: &Row, facts: &mut AgentFacts, damaged: &mut Vec<Damaged>) -> Result<(), Error> {
    if let Some(until) = row.try_get(CONFIRMED_UNTIL)? {
        let confirmation = Confirmation {
            until: UnixMillis(until),
            tolerance: Millis(row.try_get(CONFIRMED_UNTIL + 1)?),
        };
        let Stamp(at) = row.try_get(STATE_ENTERED_AT)?;
        facts.confirmations.insert(at, confirmation);
        return Ok(());
    }
    let cells = cells(row, 1, &EVENT_COLUMNS)?;
    match event_fact(&cells) {
        Some((at, fact)) => {
            facts.events.insert(at, fact);
        }
        None => damaged.push(Damaged::new(Table::Event, &cells)),
    }
    Ok(())
}

/// Places in a row of [`Query::LoadEvents`]: the number of the span, the event, the confirmation.
const STATE_ENTERED_AT: usize = 3;
const WITHDRAWN: usize = 18;
const CONFIRMED_UNTIL: usize = 1 + EVENT_COLUMNS.len();

/// The rows of a query, which is not even sent if they are not wanted.
async fn wanted(
    wanted: bool,
    rows: impl Future<Output = Result<Vec<Row>, Error>>,
) -> Result<Vec<Row>, Error> {
    if wanted { rows.await } else { Ok(Vec::new()) }
}

/// The facts of the span that a row is of.
fn of<'f>(facts: &'f mut [AgentFacts], row: &Row) -> Result<&'f mut AgentFacts, Error> {
    let at = place(row)?;
    Ok(&mut facts[at])
}

/// Rows name their span by its number, from 1 on.
fn place(row: &Row) -> Result<usize, Error> {
    let ordinal: i64 = row.try_get(0)?;
    Ok(ordinal as usize - 1)
}

/// Rows of windows by the number of their span.
pub(super) async fn load_windows(
    live: &Live,
    settings: &StoreSettings,
    spans: &Spans<'_>,
) -> Result<(Vec<BTreeMap<UnixMillis, Kept>>, Vec<Damaged>), Error> {
    let (length, since) = (settings.window.length.0, Stamp(least(&spans.from)));
    let (org, users) = (&settings.org, &spans.users);
    let asked: [Asked<'_>; 6] = [org, users, &spans.from, &spans.to, &length, &since];
    let rows = live.query(Query::LoadWindows, asked).await?;
    let mut kept = vec![BTreeMap::new(); spans.users.len()];
    let mut damaged = Vec::new();
    for row in &rows {
        let cells = cells(row, 1, &WINDOW_COLUMNS)?;
        match window_kept(&cells) {
            Some((start, row_kept)) => {
                kept[place(row)?].insert(start, row_kept);
            }
            None => damaged.push(Damaged::new(Table::Window, &cells)),
        }
    }
    Ok((kept, damaged))
}

/// Sets damaged rows aside.
pub(super) fn set_aside(settings: &StoreSettings, damaged: Vec<Damaged>) -> Vec<Change<'_>> {
    if damaged.is_empty() {
        return Vec::new();
    }
    let mut changes = Vec::new();
    for table in [Table::Event, Table::Window] {
        let rows = || damaged.iter().filter(move |row| row.table == table);
        if rows().next().is_none() {
            continue;
        }
        let users: Vec<String> = rows().map(|row| row.user.clone()).collect();
        let at: Vec<Stamp> = rows().map(|row| Stamp(row.at)).collect();
        let mut params: Vec<Param<'_>> = vec![Box::new(settings.org.as_str())];
        let query = match table {
            Table::Event => Query::DropEvents,
            Table::Window => {
                params.push(Box::new(settings.window.length.0));
                Query::DropWindows
            }
        };
        params.push(Box::new(users));
        params.push(Box::new(at));
        changes.push(Change { query, params });
    }
    let origins: Vec<&str> = damaged.iter().map(|row| row.table.name()).collect();
    let contents: Vec<String> = damaged.into_iter().map(|row| row.content).collect();
    changes.push(Change {
        query: Query::Quarantine,
        params: vec![Box::new(origins), Box::new(contents)],
    });
    changes
}

/// Whatever a batch made new of facts, of all agents together.
pub(super) fn write_changed<'a>(
    org: &'a str,
    applied: &'a [(UserId, Applied<'_>)],
    rows: &'a EventRows<'_>,
) -> Vec<Change<'a>> {
    let mut changes = Vec::new();
    for (query, rows) in [
        (Query::PutEvents, &rows.anything),
        (Query::PutTwins, &rows.twins),
    ] {
        if !rows.is_empty() {
            let params = arrays(rows, &EVENT_COLUMNS);
            changes.push(Change { query, params });
        }
    }
    let (mut users, mut entered, mut until, mut tolerance) = (vec![], vec![], vec![], vec![]);
    for (user, agent) in applied {
        for (at, it) in changed(&agent.before.confirmations, &agent.after.confirmations) {
            users.push(user.as_str());
            entered.push(Stamp(at));
            until.push(it.until.0);
            tolerance.push(it.tolerance.0);
        }
    }
    let columns: [Param<'a>; 3] = [Box::new(entered), Box::new(until), Box::new(tolerance)];
    push(&mut changes, Query::PutConfirmations, org, users, columns);

    let (mut users, mut from, mut until) = (vec![], vec![], vec![]);
    for (user, agent) in applied {
        for (at, it) in changed(&agent.before.roster, &agent.after.roster) {
            users.push(user.as_str());
            from.push(at.0);
            until.push(it.map(|until| until.0));
        }
    }
    let columns: [Param<'a>; 2] = [Box::new(from), Box::new(until)];
    push(&mut changes, Query::PutRoster, org, users, columns);

    let (mut users, mut at, mut presences) = (vec![], vec![], vec![]);
    for (user, agent) in applied {
        for (from, presence) in changed(&agent.before.presence, &agent.after.presence) {
            users.push(user.as_str());
            at.push(from.0);
            presences.push(presence.wire());
        }
    }
    let columns: [Param<'a>; 2] = [Box::new(at), Box::new(presences)];
    push(&mut changes, Query::PutPresence, org, users, columns);

    let (mut users, mut until) = (vec![], vec![]);
    for (user, agent) in applied {
        let closed = agent.after.closed_until;
        if let Some(closed) = closed.filter(|_| closed != agent.before.closed_until) {
            users.push(user.as_str());
            until.push(closed.0);
        }
    }
    let columns: [Param<'a>; 1] = [Box::new(until)];
    push(&mut changes, Query::PutAgents, org, users, columns);
    changes
}

fn push<'a, const N: usize>(
    changes: &mut Vec<Change<'a>>,
    query: Query,
    org: &'a str,
    users: Vec<&'a str>,
    columns: [Param<'a>; N],
) {
    if users.is_empty() {
        return;
    }
    let mut params: Vec<Param<'a>> = vec![Box::new(org), Box::new(users)];
    params.extend(columns);
    changes.push(Change { query, params });
}

/// Events of a batch by what they may replace.
#[derive(Debug, Default)]
pub(super) struct EventRows<'b> {
    anything: Vec<Vec<Cell<'b>>>,
    twins: Vec<Vec<Cell<'b>>>,
}

impl<'b> EventRows<'b> {
    /// Takes the events of an agent.
    pub(super) fn take(&mut self, applied: &mut Applied<'b>) {
        for event in applied.events.drain(..) {
            match event.over {
                Over::Anything => self.anything.push(event.cells),
                Over::LesserTwin => self.twins.push(event.cells),
            }
        }
    }
}

/// Rows of windows that are others now.
pub(super) fn write_windows<'a>(
    settings: &'a StoreSettings,
    rows: &'a [Vec<Cell<'_>>],
    gone: &'a [(&'a UserId, UnixMillis)],
) -> Vec<Change<'a>> {
    let mut changes = Vec::new();
    if !rows.is_empty() {
        changes.push(Change {
            query: Query::PutWindows,
            params: arrays(rows, &WINDOW_COLUMNS),
        });
    }
    if !gone.is_empty() {
        let users: Vec<&str> = gone.iter().map(|(user, _)| user.as_str()).collect();
        let starts: Vec<Stamp> = gone.iter().map(|(_, start)| Stamp(*start)).collect();
        changes.push(Change {
            query: Query::DropWindows,
            params: vec![
                Box::new(settings.org.as_str()),
                Box::new(settings.window.length.0),
                Box::new(users),
                Box::new(starts),
            ],
        });
    }
    changes
}

/// Sorts what is new of an agent's rows to those to write and those to delete.
pub(super) fn sort_rows<'a>(
    settings: &'a StoreSettings,
    user: &'a UserId,
    changes: Vec<RowChange>,
    rows: &mut Vec<Vec<Cell<'a>>>,
    gone: &mut Vec<(&'a UserId, UnixMillis)>,
) {
    for (start, kept) in changes {
        match kept {
            Some(kept) => {
                rows.push(window_cells(
                    &settings.org,
                    user,
                    settings.window,
                    start,
                    &kept,
                ));
            }
            None => gone.push((user, start)),
        }
    }
}
