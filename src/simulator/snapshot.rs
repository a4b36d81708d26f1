//! The bulk snapshot, as cached and as broken as it may be.
//!
//! A pure function of the refresh instant: nothing is stored, so a snapshot asked for twice
//! within one refresh is the same, and one that nobody asked for costs nothing.

use serde::Serialize;
use serde_json::{Value, json};

use super::bodies::StatusRecord;
use super::chance;
use super::pinned::Pinned;
use super::roster::Roster;
use crate::model::time::{Millis, UnixMillis};

/// Every how many records `duplicates` and `out-of-order` strike.
const ODD_RECORD: usize = 5;

/// Which snapshot to make.
pub(super) struct SnapshotView<'a> {
    /// The content is the state at this instant.
    pub(super) refreshed: UnixMillis,
    /// Percentage of agents whose record stands still, and since which refresh.
    pub(super) diverged: Option<(u32, UnixMillis)>,
    /// Agents kept on call.
    pub(super) pinned: [&'a Pinned; 2],
    /// Percentage of agents in a state that nobody knows.
    pub(super) unknown: u32,
    /// Percentage of records kept.
    pub(super) kept: Option<u32>,
    /// Some records twice.
    pub(super) duplicates: bool,
    /// Older records after newer ones.
    pub(super) out_of_order: bool,
    /// Percentage of records that cannot be read.
    pub(super) malformed: u32,
}

/// The latest refresh at or before an instant; refreshes have a phase of the organisation's own.
pub(super) fn refresh_before(seed: u64, every: Millis, at: UnixMillis) -> UnixMillis {
    if every <= Millis::ZERO {
        return at;
    }
    let phase = (chance::mix(&[seed, 7]) % every.0 as u64) as i64;
    UnixMillis(at.0 - (at.0 - phase).rem_euclid(every.0))
}

/// How many of `count` a percentage keeps, rounded up: 90 % of any registry is 0.90 or more.
pub(super) fn kept(count: usize, percent: u32) -> usize {
    (count * percent as usize).div_ceil(100)
}

/// Whether a fault that concerns part of the agents concerns this one: always the same ones.
pub(super) fn concerns(seed: u64, salt: u64, position: usize, percent: u32) -> bool {
    chance::strikes(percent, &[seed, salt, position as u64])
}

/// Salt of `divergence`.
pub(super) const DIVERGED: u64 = 20;
/// Salt of `unknown-state`; the direct answer concerns the same agents.
pub(super) const UNKNOWN: u64 = 21;
/// Salt of `malformed`.
pub(super) const MALFORMED: u64 = 22;

/// A record as it is sent. Written as it stands: a tree of values for each of a thousand agents
/// took most of a simulated day's time.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Sent {
    /// As it should be.
    Whole(StatusRecord),
    /// Spoilt.
    Malformed(Value),
}

/// The records in the order in which they are sent.
pub(super) fn records(roster: &mut Roster, view: &SnapshotView<'_>) -> Vec<Sent> {
    let seed = roster.spec().seed;
    let mut present = roster.registered_at(view.refreshed);
    if let Some(percent) = view.kept {
        present.truncate(kept(present.len(), percent));
    }
    let mut out = Vec::with_capacity(present.len());
    for (count, &position) in present.iter().enumerate() {
        let newest = record_at(roster, view, position, None);
        let odd = count % ODD_RECORD == 0;
        if concerns(
            seed,
            MALFORMED ^ view.refreshed.0 as u64,
            position,
            view.malformed,
        ) {
            out.push(Sent::Malformed(malformed(newest.value(), count)));
            continue;
        }
        if view.duplicates && odd {
            out.push(Sent::Whole(newest.clone()));
        }
        let newest_at = newest.last_modified();
        out.push(Sent::Whole(newest));
        if view.out_of_order && odd {
            let older = record_at(roster, view, position, Some(newest_at - Millis(1)));
            if older.last_modified() < newest_at {
                out.push(Sent::Whole(older));
            }
        }
    }
    out
}

/// An agent's record; `at` overrides the instant that the cache would have.
fn record_at(
    roster: &mut Roster,
    view: &SnapshotView<'_>,
    position: usize,
    at: Option<UnixMillis>,
) -> StatusRecord {
    let seed = roster.spec().seed;
    let cached = match view.diverged {
        Some((percent, since)) if concerns(seed, DIVERGED, position, percent) => {
            since.min(view.refreshed)
        }
        _ => view.refreshed,
    };
    let instant = at.unwrap_or(cached);
    let entry = roster.entry_mut(position);
    let routing = view
        .pinned
        .iter()
        .find_map(|pinned| pinned.segment(position))
        .unwrap_or_else(|| entry.timeline.routing_at(instant));
    let presence = entry.timeline.presence_at(instant);
    let unknown = concerns(seed, UNKNOWN, position, view.unknown);
    StatusRecord::new(seed, &entry.agent, routing, presence, unknown)
}

/// One of the ways in which a record goes wrong.
fn malformed(mut record: Value, turn: usize) -> Value {
    match turn % 6 {
        0 => record["userId"] = json!(""),
        1 => record["lastModified"] = json!("yesterday"),
        2 => record["presence"] = json!(7),
        3 => record["availability"] = json!({"state": "Available"}),
        4 => record["userId"] = Value::Null,
        _ => record = json!("not a record"),
    }
    record
}
