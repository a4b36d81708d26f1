//! One commit: what a batch says, taken into the database in one transaction.
//!
//! Statements go out without waiting for each other's answers; PostgreSQL takes them in order, and
//! after one that fails refuses all that follow, so that the commit at the end stands for all.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::try_join_all;
use tokio_postgres::Error;

use crate::crash::{CrashPoint, passing};
use crate::journal::crc32;
use crate::model::event::JournalRecord;
use crate::model::ids::UserId;
use crate::model::time::UnixMillis;
use crate::window::AgentFacts;

use super::super::arrivals::{Arrivals, Poison};
use super::super::report::{CommitReport, StoreSettings};
use super::super::touch::{self, Applied, Touched, TouchedAgents, needed, recompute};
use super::facts::{
    Damaged, EventRows, Spans, load, load_windows, set_aside, sort_rows, write_changed,
    write_windows,
};
use super::link::Live;
use super::statements::{Change, Query};

/// Locks of agents that one commit holds at most. PostgreSQL has room for some six thousand with
/// its default settings, for all who are connected; a commit of more agents goes alone instead.
const AGENT_LOCKS_MAX: usize = 256;

/// Sets the lock of organisations apart from other programs' locks.
const ORG_LOCK: i32 = 0x6765_6e65;

/// Takes a batch. Nothing has happened if it fails, but for a failure of the commit itself.
pub(super) async fn commit(
    live: &Live,
    settings: &StoreSettings,
    batch: Batch<'_>,
    suspects: &BTreeSet<(UserId, UnixMillis)>,
) -> Result<CommitReport, Error> {
    let mut report = CommitReport::default();
    let arrivals = batch.arrivals();
    let (agents, letters) = sort(batch, suspects);
    report.dead += letters.seqs.len() as u64;
    let (horizon, facts, damaged) = begin(live, settings, &agents).await?;
    let pruned_until = horizon.unwrap_or_default();
    report.quarantined += damaged.len() as u64;
    let mut rows = EventRows::default();
    let mut applied: Vec<(UserId, Applied<'_>)> = Vec::with_capacity(agents.len());
    for ((user, touched), before) in agents.into_iter().zip(facts) {
        let mut agent = touched.apply(settings, pruned_until, before, &mut report);
        rows.take(&mut agent);
        applied.push((user, agent));
    }
    let mut changes = set_aside(settings, damaged);
    changes.extend(write_changed(&settings.org, &applied, &rows));
    let groups: Vec<Group<'_>> = applied
        .iter()
        .flat_map(|(user, agent)| agent.groups.iter().map(move |group| (user, &group[..])))
        .collect();
    let (mut written, mut gone) = (Vec::new(), Vec::new());
    if !groups.is_empty() {
        let spans = Spans::of(
            groups
                .iter()
                .filter_map(|(user, group)| needed(settings, group).map(|span| (*user, span))),
        );
        let starts = Spans::of(groups.iter().filter_map(|(user, group)| {
            group
                .first()
                .zip(group.last())
                .map(|(&first, &last)| (*user, (first, last)))
        }));
        let ((), (facts, damaged), (kept, bad)) = tokio::try_join!(
            biased;
            run(live, &changes),
            load(live, &settings.org, &spans),
            load_windows(live, settings, &starts),
        )?;
        report.quarantined += (damaged.len() + bad.len()) as u64;
        changes = set_aside(settings, damaged.into_iter().chain(bad).collect());
        for ((user, group), (facts, kept)) in groups.iter().zip(facts.iter().zip(&kept)) {
            let new = recompute(settings, facts, kept, group, &mut report);
            sort_rows(settings, user, new, &mut written, &mut gone);
            passing(CrashPoint::Closing);
        }
    }
    let mut last = changes;
    last.extend(write_windows(settings, &written, &gone));
    last.extend(letters.changes(&settings.org));
    last.extend(arrivals.and_then(|arrivals| take(Query::Take, &settings.org, &arrivals.taken)));
    // Of what came from producers, there is nothing to note but that this organisation is here.
    if arrivals.is_none() || horizon.is_none() {
        last.push(progress(&settings.org, letters.cursor));
    }
    end(live, &last).await?;
    Ok(report)
}

/// Sorts a batch to the agents that it names, and to what cannot be taken.
fn sort<'b>(
    batch: Batch<'b>,
    suspects: &BTreeSet<(UserId, UnixMillis)>,
) -> (Vec<(UserId, Touched<'b>)>, Letters) {
    let mut agents = TouchedAgents::new();
    let mut letters = Letters::default();
    for (seq, record) in batch.records() {
        letters.cursor = letters.cursor.max(*seq);
        if let Some(refusal) = touch::sort(&mut agents, record) {
            letters.push(*seq, refusal.label(), record);
        }
    }
    if let Some(arrivals) = batch.arrivals() {
        // The journal's numbers are not those of producers.
        letters.cursor = 0;
        letters.poison(&arrivals.poison);
    }
    for (user, start) in suspects {
        touch::suspect(&mut agents, user, *start);
    }
    (agents.into_iter().collect(), letters)
}

/// What a commit takes.
#[derive(Clone, Copy)]
pub(super) enum Batch<'b> {
    /// Records of the journal, by its numbers.
    Journal(&'b [(u64, JournalRecord)]),
    /// What came from producers.
    Arrivals(&'b Arrivals),
}

impl<'b> Batch<'b> {
    fn records(self) -> &'b [(u64, JournalRecord)] {
        match self {
            Self::Journal(records) => records,
            Self::Arrivals(arrivals) => &arrivals.records,
        }
    }

    fn arrivals(self) -> Option<&'b Arrivals> {
        match self {
            Self::Journal(_) => None,
            Self::Arrivals(arrivals) => Some(arrivals),
        }
    }
}

/// Notes numbers of producers, by [`Query::Take`] or [`Query::Forgo`].
pub(super) fn take<'c>(
    query: Query,
    org: &'c str,
    taken: &'c [(Arc<str>, u64)],
) -> Option<Change<'c>> {
    if taken.is_empty() {
        return None;
    }
    let producers: Vec<&str> = taken.iter().map(|(producer, _)| &**producer).collect();
    let seqs: Vec<i64> = taken.iter().map(|(_, seq)| *seq as i64).collect();
    Some(Change {
        query,
        params: vec![Box::new(org), Box::new(producers), Box::new(seqs)],
    })
}

/// Windows of one agent that lie close together.
type Group<'g> = (&'g UserId, &'g [UnixMillis]);

/// Begins: takes the locks, and loads the facts that the records touch, and before when windows are
/// gone for good, if that was ever noted. Each statement sees what was committed before it began, and
/// so, behind the locks, whatever the last holder wrote.
async fn begin(
    live: &Live,
    settings: &StoreSettings,
    agents: &[(UserId, Touched<'_>)],
) -> Result<(Option<UnixMillis>, Vec<AgentFacts>, Vec<Damaged>), Error> {
    let org = &settings.org;
    let alone = agents.len() > AGENT_LOCKS_MAX;
    let mut locks = vec![hold(org, alone)];
    if !alone && !agents.is_empty() {
        let mut keys: Vec<i64> = agents.iter().map(|(user, _)| key(org, user)).collect();
        keys.sort_unstable();
        keys.dedup();
        locks.push(Change {
            query: Query::HoldAgents,
            params: vec![Box::new(keys)],
        });
    }
    let spans = Spans::touched(agents);
    let ((), (), progress, (facts, damaged)) = tokio::try_join!(
        biased;
        live.client.batch_execute("BEGIN"),
        run(live, &locks),
        live.query(Query::Progress, [org]),
        load(live, org, &spans),
    )?;
    let horizon = progress.first().map(|row| row.try_get(1).map(UnixMillis));
    Ok((horizon.transpose()?, facts, damaged))
}

/// The lock of an organisation: shared by commits of few agents, alone for all else.
pub(super) fn hold(org: &str, alone: bool) -> Change<'static> {
    Change {
        query: if alone {
            Query::HoldOrg
        } else {
            Query::ShareOrg
        },
        params: vec![Box::new(ORG_LOCK), Box::new(crc32(org.as_bytes()) as i32)],
    }
}

/// Sets the lock of whoever sends closed windows apart from that of organisations.
const SENDER_LOCK: i32 = 0x7365_6e64;

/// Whether this connection is the one of the organisation that sends closed windows: a receiver
/// refuses samples that come out of order, as those of two would.
pub(super) async fn sends_alone(live: &Live, org: &str) -> Result<bool, Error> {
    let org = crc32(org.as_bytes()) as i32;
    let rows = live.query(Query::SendAlone, [&SENDER_LOCK, &org]).await?;
    rows.first().map_or(Ok(false), |row| row.try_get(0))
}

/// The lock of an agent. Two that share a number by accident only wait for each other.
fn key(org: &str, user: &UserId) -> i64 {
    (i64::from(crc32(org.as_bytes()) as i32) << 32) | i64::from(crc32(user.as_str().as_bytes()))
}

/// Sends changes in order; all are on their way at the first poll.
async fn run(live: &Live, changes: &[Change<'_>]) -> Result<(), Error> {
    let send = |change| live.execute(change);
    try_join_all(changes.iter().map(send)).await?;
    Ok(())
}

/// The position. Its row is everybody's, so it is locked last and for the shortest time.
fn progress(org: &str, cursor: u64) -> Change<'_> {
    Change {
        query: Query::SetProgress,
        params: vec![Box::new(org), Box::new(cursor as i64), Box::new(0_i64)],
    }
}

/// Writes the last, and commits.
async fn end(live: &Live, changes: &[Change<'_>]) -> Result<(), Error> {
    tokio::try_join!(
        biased;
        run(live, changes),
        live.client.batch_execute("COMMIT"),
    )?;
    Ok(())
}

/// Records that cannot be taken, and the greatest number that was seen.
#[derive(Debug, Default)]
struct Letters {
    cursor: u64,
    seqs: Vec<i64>,
    checksums: Vec<i64>,
    reasons: Vec<&'static str>,
    payloads: Vec<String>,
}

impl Letters {
    fn push(&mut self, seq: u64, reason: &'static str, record: &JournalRecord) {
        let payload = serde_json::to_string(record).expect("plain data has a JSON form");
        self.add(seq, reason, payload);
    }

    fn poison(&mut self, poison: &[Poison]) {
        for letter in poison {
            self.add(letter.seq, letter.reason, letter.payload.clone());
        }
    }

    fn add(&mut self, seq: u64, reason: &'static str, payload: String) {
        self.seqs.push(seq as i64);
        self.checksums.push(crc32(payload.as_bytes()).into());
        self.reasons.push(reason);
        self.payloads.push(payload);
    }

    fn changes<'l>(&'l self, org: &'l str) -> Option<Change<'l>> {
        if self.seqs.is_empty() {
            return None;
        }
        Some(Change {
            query: Query::Bury,
            params: vec![
                Box::new(org),
                Box::new(&self.seqs),
                Box::new(&self.checksums),
                Box::new(&self.reasons),
                Box::new(&self.payloads),
            ],
        })
    }
}
