//! The two tables as text, a line a row, read without the exporter's own code.
//!
//! What differs by nature is left out, and nothing else:
//!
//! - a window's `revision` counts how often its row was written anew, which depends on where
//!   batches begin and end; `checksum` is over it too;
//! - where the poller itself died and asked again, an event tells of another answer than the one
//!   that was lost with it: which one (`source`), when it came (`ingested_at`), the instant that it described
//!   (`described_at`, `state_duration_ms`, `chain`), and what stood beside the state in it
//!   (`ui_presence`, `queue_assignments`, `volatile`); `revision` counts its corrections.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::life::{COMPARED, MINUTE, ORIGIN};
use crate::support::cluster::Cluster;
use crate::support::http::rfc3339;

/// Differences that are shown when a comparison fails.
const SHOWN: usize = 12;

/// Columns of `agent_window` that are the same however often somebody died.
const WINDOW: [&str; 15] = [
    "window_start",
    "user_id",
    "window_end",
    "org",
    "window_length",
    "available_ms",
    "not_ready_ms",
    "on_call_ms",
    "wrap_up_ms",
    "unknown_ms",
    "state_transitions",
    "covered_ms",
    "estimated_ms",
    "volatile",
    "last_event_at",
];

/// And those that are if the poller did not.
const WINDOW_BESIDE: [&str; 1] = ["last_event_ingested_at"];

/// The same of `agent_event`.
const EVENT: [&str; 9] = [
    "state_entered_at",
    "user_id",
    "org",
    "routing_availability",
    "raw_state",
    "wrapup_code",
    "estimated",
    "withdrawn",
    "previous",
];

const EVENT_BESIDE: [&str; 10] = [
    "source",
    "ui_presence",
    "queue_assignments",
    "described_at",
    "state_duration_ms",
    "ingested_at",
    "volatile",
    "revision",
    "chain",
    "checksum",
];

/// Columns that PostgreSQL keeps as instants and as flags, and SQLite as text and as numbers.
const INSTANTS: [&str; 7] = [
    "window_start",
    "window_end",
    "last_event_at",
    "last_event_ingested_at",
    "state_entered_at",
    "described_at",
    "ingested_at",
];
const FLAGS: [&str; 3] = ["volatile", "estimated", "withdrawn"];

/// Rows of both tables, each in two parts: what is always compared, and what is beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tables {
    windows: BTreeSet<(String, String)>,
    events: BTreeSet<(String, String)>,
}

/// How the run that is compared differs from the one that is the measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feed {
    /// The poller lived through: every record is the same.
    Same,
    /// It died and asked again.
    AskedAgain,
}

impl Tables {
    /// Of the file in a place where rows are kept in one.
    pub(super) fn of_file(place: &Path) -> Self {
        let path = place.join("data/store.db");
        let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        Self::read(str::to_owned, |sql| {
            let mut statement = file.prepare(sql).unwrap();
            let columns = statement.column_count();
            let line = |row: &rusqlite::Row<'_>| {
                let cells = (0..columns).map(|at| match row.get_ref(at).unwrap() {
                    ValueRef::Null => String::new(),
                    ValueRef::Integer(number) => number.to_string(),
                    ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                    other => panic!("nobody writes {other:?}"),
                });
                Ok(cells.collect::<Vec<_>>().join("|"))
            };
            let lines = statement.query_map([], line).unwrap();
            lines.map(Result::unwrap).collect()
        })
    }

    /// Of a database.
    pub(super) fn of_database(cluster: &Cluster, database: &str) -> Self {
        let column = |name: &str| match name {
            _ if INSTANTS.contains(&name) => {
                format!("to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')")
            }
            _ if FLAGS.contains(&name) => format!("{name}::int"),
            _ => name.to_owned(),
        };
        Self::read(column, |sql| {
            let lines = cluster.ask(database, sql);
            lines.lines().map(str::to_owned).collect()
        })
    }

    fn read(column: impl Fn(&str) -> String, ask: impl Fn(&str) -> Vec<String>) -> Self {
        for table in ["dead_letter", "quarantined_row"] {
            let count = ask(&format!("SELECT count(*) FROM {table}"));
            assert_eq!(count, ["0"], "{table}");
        }
        let until = rfc3339(ORIGIN.0 + COMPARED * MINUTE);
        let rows = |table: &str, names: &[&str], beside: &[&str], instant: &str| {
            let select = |names: &[&str]| {
                let columns: Vec<String> = names.iter().map(|name| column(name)).collect();
                ask(&format!(
                    "SELECT {} FROM {table} WHERE {instant} <= '{until}' \
                     ORDER BY {instant}, user_id",
                    columns.join(", ")
                ))
            };
            let (main, more) = (select(names), select(beside));
            let count = main.len();
            let rows: BTreeSet<_> = main.into_iter().zip(more).collect();
            assert_eq!(rows.len(), count, "a row stands twice in {table}");
            rows
        };
        Self {
            windows: rows("agent_window", &WINDOW, &WINDOW_BESIDE, "window_end"),
            events: rows("agent_event", &EVENT, &EVENT_BESIDE, "state_entered_at"),
        }
    }

    /// Rows of windows and of events.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.windows.len(), self.events.len())
    }

    /// Windows with time of which nothing is known.
    pub(super) fn blind(&self) -> usize {
        let unknown = |row: &str| figures(row).1.unknown > 0;
        self.windows.iter().filter(|(row, _)| unknown(row)).count()
    }

    /// Panics unless both tables are the same.
    #[track_caller]
    pub(super) fn assert_same(&self, measure: &Self, feed: Feed, run: &str) {
        for (table, ours, theirs) in [
            ("agent_window", &self.windows, &measure.windows),
            ("agent_event", &self.events, &measure.events),
        ] {
            let seen = |rows: &BTreeSet<(String, String)>| -> BTreeSet<String> {
                let row = |(main, beside): &(String, String)| match feed {
                    Feed::Same => format!("{main}|{beside}"),
                    Feed::AskedAgain => main.clone(),
                };
                rows.iter().map(row).collect()
            };
            let (ours, theirs) = (seen(ours), seen(theirs));
            let lacking = theirs.difference(&ours).map(|row| format!("- {row}"));
            let strange = ours.difference(&theirs).map(|row| format!("+ {row}"));
            let all: Vec<String> = lacking.chain(strange).collect();
            let mut shown = all.clone();
            shown.sort_by(|one, other| one[1..].cmp(&other[1..]));
            shown.truncate(SHOWN);
            assert!(
                all.is_empty(),
                "{run}: {table} differs in {} lines of {}:\n{}",
                all.len(),
                theirs.len(),
                shown.join("\n")
            );
        }
    }

    /// Panics if anything is told that is not so in the measure. Time of which nothing is known
    /// may be more, and then by as much as is lacking elsewhere; starts that were not seen make
    /// no window volatile. The starts of windows that know less.
    #[track_caller]
    pub(super) fn assert_honest(&self, measure: &Self) -> BTreeSet<String> {
        let by_key = |tables: &Self| -> BTreeMap<(String, String), Figures> {
            tables.windows.iter().map(|(row, _)| figures(row)).collect()
        };
        let theirs = by_key(measure);
        let mut blind = BTreeSet::new();
        for (key, ours) in by_key(self) {
            let theirs = theirs.get(&key).expect("a row that never was");
            assert_eq!(ours.covered, theirs.covered, "{key:?}");
            if (ours.known, ours.unknown) == (theirs.known, theirs.unknown) {
                continue;
            }
            let mut pairs = ours.known.iter().zip(&theirs.known);
            assert!(
                ours.unknown > theirs.unknown && pairs.all(|(our, their)| our <= their),
                "{key:?}: {ours:?} and {theirs:?}"
            );
            blind.insert(key.0);
        }
        // Of a state after a hole it is not told what was before it.
        let starts = |tables: &Self| -> BTreeSet<String> {
            let rows = tables.events.iter();
            rows.map(|(row, _)| row.rsplit_once('|').unwrap().0.to_owned())
                .collect()
        };
        let strange: Vec<_> = starts(self).difference(&starts(measure)).cloned().collect();
        assert!(strange.is_empty(), "states that never were: {strange:?}");
        blind
    }
}

/// A window's figures in milliseconds; `known` are the four states and the count of starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Figures {
    known: [i64; 5],
    unknown: i64,
    covered: i64,
}

/// Start and agent, and what is told of them.
fn figures(row: &str) -> ((String, String), Figures) {
    let cells: Vec<&str> = row.split('|').collect();
    let cell = |name: &str| {
        let at = WINDOW.iter().position(|column| *column == name);
        cells[at.expect("it is compared")]
    };
    let number = |name: &str| cell(name).parse().unwrap();
    let figures = Figures {
        known: [
            "available_ms",
            "not_ready_ms",
            "on_call_ms",
            "wrap_up_ms",
            "state_transitions",
        ]
        .map(number),
        unknown: number("unknown_ms"),
        covered: number("covered_ms"),
    };
    let key = (cell("window_start").to_owned(), cell("user_id").to_owned());
    (key, figures)
}
