//! Where appends go: facts in memory, or the real journal and store.
//!
//! Either way an append is all or nothing, and rows are read back at the end of a run.

use std::collections::BTreeMap;

use genesys_cloud_exporter::config::Config;
use genesys_cloud_exporter::effect::Append;
use genesys_cloud_exporter::journal::{DataDir, EmbeddedJournal};
use genesys_cloud_exporter::model::ids::UserId;
use genesys_cloud_exporter::model::time::{Millis, UnixMillis};
use genesys_cloud_exporter::model::window::{WindowRow, WindowSpec};
use genesys_cloud_exporter::store::{
    CommitReport, PAGE_ROWS_MAX, SqliteStore, StoreSettings, WindowQuery, WindowReader,
};
use genesys_cloud_exporter::window::{AgentFacts, RowRules, apply, closing, row};
use tempfile::TempDir;

/// Records a batch, as configured by default.
const BATCH: usize = 50;

/// Windows computed from one cut of an agent's facts.
const HOUR: i64 = 3_600_000;

pub(crate) trait Journal {
    /// Makes an append durable and consumes it.
    fn append(&mut self, append: &Append, now: UnixMillis);
    /// What a start finds. `clean`: the one before was not killed.
    fn reopen(&mut self, now: UnixMillis, clean: bool) -> Vec<(String, String)>;
    /// Every row.
    fn rows(&mut self) -> Vec<WindowRow>;
}

fn rules(config: &Config) -> RowRules {
    RowRules {
        volatile_transitions: config.pipeline.volatile_transitions,
        volatile_within: config.pipeline.volatile_within,
        include_offline: config.pipeline.include_offline,
    }
}

/// The window function over facts in memory.
pub(crate) struct Memory {
    facts: BTreeMap<UserId, AgentFacts>,
    checkpoint: BTreeMap<String, String>,
    spec: WindowSpec,
    rules: RowRules,
}

impl Memory {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            facts: BTreeMap::new(),
            checkpoint: BTreeMap::new(),
            spec: config.pipeline.window,
            rules: rules(config),
        }
    }

    /// What a row in `[from, to)` can rest on.
    fn cut(&self, facts: &AgentFacts, from: UnixMillis, to: UnixMillis) -> AgentFacts {
        let margin = self.rules.volatile_within;
        let before = facts.standing().rev().find(|(at, _)| *at <= from - margin);
        let after = facts.standing().find(|(at, _)| *at > to + margin);
        let first = before.map_or(UnixMillis(0), |(at, _)| at);
        let last = after.map_or(UnixMillis(i64::MAX), |(at, _)| at);
        let known = facts.presence.range(..=from).next_back();
        let first_presence = known.map_or(from, |(at, _)| *at);
        let copied = |(at, value): (&UnixMillis, &_)| (*at, *value);
        AgentFacts {
            events: facts.events.range(first..=last).map(copied).collect(),
            confirmations: facts
                .confirmations
                .range(first..=last)
                .map(|(at, held)| (*at, *held))
                .collect(),
            roster: facts.roster.clone(),
            presence: facts
                .presence
                .range(first_presence..to)
                .map(|(at, presence)| (*at, presence.clone()))
                .collect(),
            closed_until: facts.closed_until,
        }
    }
}

impl Journal for Memory {
    fn append(&mut self, append: &Append, _now: UnixMillis) {
        for record in &append.records {
            apply(&mut self.facts, record);
        }
        for (key, value) in &append.checkpoint {
            match value {
                Some(value) => self.checkpoint.insert(key.clone(), value.clone()),
                None => self.checkpoint.remove(key),
            };
        }
    }

    fn reopen(&mut self, _now: UnixMillis, _clean: bool) -> Vec<(String, String)> {
        let entries = self.checkpoint.iter();
        entries.map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    fn rows(&mut self) -> Vec<WindowRow> {
        let mut rows = Vec::new();
        for (user, facts) in &self.facts {
            let Some(until) = facts.closed_until else {
                continue;
            };
            let mut by_hour: BTreeMap<UnixMillis, Vec<UnixMillis>> = BTreeMap::new();
            for start in closing(facts, None, until, self.spec) {
                let hour = start.floor(Millis(HOUR));
                by_hour.entry(hour).or_default().push(start);
            }
            for starts in by_hour.values() {
                let end = starts[starts.len() - 1] + self.spec.length;
                let cut = self.cut(facts, starts[0], end);
                rows.extend(starts.iter().filter_map(|&start| {
                    let row = row(&cut, self.spec, start, &self.rules)?;
                    Some(WindowRow {
                        user_id: user.clone(),
                        window_start: start,
                        window_end: start + self.spec.length,
                        metrics: row.metrics,
                        quality: row.quality(1),
                    })
                }));
            }
        }
        rows
    }
}

/// The embedded journal and the store.
pub(crate) struct Sqlite {
    open: Option<(DataDir, EmbeddedJournal, SqliteStore)>,
    settings: StoreSettings,
    place: TempDir,
    report: CommitReport,
}

impl Sqlite {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            open: None,
            settings: StoreSettings {
                org: config.source.name.clone(),
                window: config.pipeline.window,
                rules: rules(config),
            },
            place: tempfile::tempdir().unwrap(),
            report: CommitReport::default(),
        }
    }

    /// Consumes what waits; `acknowledge`: or dies between commit and acknowledgement.
    fn consume(&mut self, acknowledge: bool) {
        let (_, journal, store) = self.open.as_mut().expect("it is open");
        loop {
            let fetched = journal.fetch(0, BATCH).unwrap();
            assert_eq!((fetched.dead, fetched.missing), (0, 0));
            if fetched.through <= fetched.acknowledged {
                return;
            }
            let report = store.commit(&fetched.records).unwrap();
            assert_eq!((report.dead, report.quarantined), (0, 0));
            self.report.revised += report.revised;
            self.report.skipped += report.skipped;
            if !acknowledge {
                return;
            }
            journal.acknowledge(fetched.through).unwrap();
        }
    }
}

impl Journal for Sqlite {
    fn append(&mut self, append: &Append, now: UnixMillis) {
        let (_, journal, _) = self.open.as_mut().expect("it is open");
        let records = &append.records;
        journal.append(records, &append.checkpoint, now).unwrap();
        self.consume(true);
    }

    fn reopen(&mut self, now: UnixMillis, clean: bool) -> Vec<(String, String)> {
        if self.open.is_some() && !clean {
            self.consume(false);
        }
        self.open = None;
        let dir = DataDir::open(self.place.path()).unwrap();
        let (store, opened) = SqliteStore::open(&dir, self.settings.clone(), now).unwrap();
        assert_eq!(opened.quarantined, None);
        let cursor = store.cursor().unwrap();
        let (mut journal, opened) = EmbeddedJournal::open(&dir, cursor, now).unwrap();
        assert_eq!(opened.behind_store, None);
        let checkpoint = journal.load_checkpoint().unwrap();
        assert_eq!(checkpoint.dead, 0);
        self.open = Some((dir, journal, store));
        self.consume(true);
        checkpoint.entries
    }

    fn rows(&mut self) -> Vec<WindowRow> {
        let (_, _, store) = self.open.as_ref().expect("it is open");
        let reader = store.reader().unwrap();
        let mut rows = Vec::new();
        let mut cursor = None;
        loop {
            let query = WindowQuery {
                from: UnixMillis(0),
                to: UnixMillis(i64::MAX),
                user: None,
                cursor,
                limit: PAGE_ROWS_MAX,
            };
            let page = reader.windows(&query).unwrap();
            rows.extend(page.rows);
            cursor = page.next;
            if cursor.is_none() {
                return rows;
            }
        }
    }
}
