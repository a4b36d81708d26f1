//! The embedded journal against a simple twin, and against damage.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rusqlite::{Connection, StatementStatus};

use super::*;
use crate::clock::SystemClock;
use crate::effect::Append;
use crate::model::event::{JournalRecord, PresenceChange};
use crate::model::ids::UserId;
use crate::model::state::Presence;
use crate::model::time::UnixMillis;

fn record(number: u32) -> JournalRecord {
    JournalRecord::Presence(PresenceChange {
        user_id: UserId::new("agent-0001"),
        at: UnixMillis(i64::from(number)),
        presence: Presence::parse("Available"),
    })
}

fn open(dir: &DataDir) -> EmbeddedJournal {
    EmbeddedJournal::open(dir, 0, UnixMillis(0)).unwrap().0
}

fn data_dir() -> (tempfile::TempDir, DataDir) {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::open(&parent.path().join("data")).unwrap();
    (parent, dir)
}

/// A second connection, as a meddler would have.
fn meddle(dir: &DataDir, sql: &str) {
    let meddler = Connection::open(dir.path().join("journal.db")).unwrap();
    assert!(meddler.execute(sql, []).unwrap() > 0, "{sql} touches a row");
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<u32>, Vec<(u8, Option<u8>)>),
    Fetch(u64, usize),
    Acknowledge(u64),
    Reopen,
}

fn arb_step() -> impl Strategy<Value = Step> {
    let entries = proptest::collection::vec((0_u8..4, any::<Option<u8>>()), 0..3);
    prop_oneof![
        3 => (proptest::collection::vec(0_u32..1_000, 0..5), entries)
            .prop_map(|(records, entries)| Step::Append(records, entries)),
        2 => (0_u64..40, 1_usize..8).prop_map(|(after, limit)| Step::Fetch(after, limit)),
        1 => (0_u64..40).prop_map(Step::Acknowledge),
        1 => Just(Step::Reopen),
    ]
}

/// What the journal should hold.
#[derive(Default)]
struct Twin {
    records: BTreeMap<u64, u32>,
    checkpoint: BTreeMap<String, String>,
    appended: u64,
    acknowledged: u64,
}

impl Twin {
    fn step(&mut self, journal: &mut EmbeddedJournal, step: &Step) {
        match step {
            Step::Append(numbers, entries) => self.append(journal, numbers, entries),
            Step::Fetch(after, limit) => {
                let fetched = journal.fetch(*after, *limit).unwrap();
                let expected: Vec<_> = self
                    .records
                    .range(after + 1..)
                    .take(*limit)
                    .map(|(&seq, &number)| (seq, record(number)))
                    .collect();
                assert_eq!((fetched.dead, fetched.missing), (0, 0));
                assert_eq!(fetched.records, expected);
            }
            Step::Acknowledge(up_to) if *up_to > self.appended => {
                assert!(journal.acknowledge(*up_to).is_err());
            }
            Step::Acknowledge(up_to) => {
                journal.acknowledge(*up_to).unwrap();
                self.records.retain(|seq, _| seq > up_to);
                self.acknowledged = self.acknowledged.max(*up_to);
            }
            Step::Reopen => {}
        }
        assert_eq!(journal.depth().unwrap(), self.appended - self.acknowledged);
        let checkpoint = journal.load_checkpoint().unwrap();
        let expected: Vec<_> = self.checkpoint.clone().into_iter().collect();
        assert_eq!((checkpoint.entries, checkpoint.dead), (expected, 0));
        let oldest = self.records.values().next();
        assert_eq!(oldest.is_some(), journal.oldest().unwrap().is_some());
    }

    fn append(
        &mut self,
        journal: &mut EmbeddedJournal,
        numbers: &[u32],
        entries: &[(u8, Option<u8>)],
    ) {
        let records: Vec<_> = numbers.iter().map(|&number| record(number)).collect();
        let entries: Vec<_> = entries
            .iter()
            .map(|(key, value)| (key.to_string(), value.map(|value| value.to_string())))
            .collect();
        let report = journal.append(&records, &entries, UnixMillis(7)).unwrap();
        for &number in numbers {
            self.appended += 1;
            self.records.insert(self.appended, number);
        }
        for (key, value) in entries {
            match value {
                Some(value) => self.checkpoint.insert(key, value),
                None => self.checkpoint.remove(&key),
            };
        }
        assert_eq!((report.last_seq, report.dead), (self.appended, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn it_behaves_like_its_twin(steps in proptest::collection::vec(arb_step(), 1..30)) {
        let (_parent, dir) = data_dir();
        let mut journal = open(&dir);
        let mut twin = Twin::default();
        for step in &steps {
            if matches!(step, Step::Reopen) {
                drop(journal);
                journal = open(&dir);
            }
            twin.step(&mut journal, step);
        }
    }
}

#[test]
fn numbers_never_start_again() {
    let (_parent, dir) = data_dir();
    let mut journal = open(&dir);
    journal
        .append(&[record(1), record(2)], &[], UnixMillis(0))
        .unwrap();
    journal.acknowledge(2).unwrap();
    drop(journal);
    let report = open(&dir).append(&[record(3)], &[], UnixMillis(0)).unwrap();
    assert_eq!(report.last_seq, 3);
}

#[test]
fn after_the_loss_of_the_file_numbers_go_on_behind_the_stores() {
    let (_parent, dir) = data_dir();
    open(&dir)
        .append(&[record(1), record(2)], &[], UnixMillis(0))
        .unwrap();
    let (mut journal, report) = EmbeddedJournal::open(&dir, 100, UnixMillis(0)).unwrap();
    assert_eq!(report.behind_store, Some(2));
    journal.append(&[record(3)], &[], UnixMillis(0)).unwrap();
    let fetched = journal.fetch(100, 10).unwrap();
    let numbers: Vec<_> = fetched.records.iter().map(|(seq, _)| *seq).collect();
    assert_eq!((numbers, fetched.missing), (vec![101, 102, 103], 0));
}

#[test]
fn a_flipped_byte_makes_a_dead_letter_once_and_the_rest_goes_on() {
    let (_parent, dir) = data_dir();
    let mut journal = open(&dir);
    journal
        .append(&[record(1), record(2), record(3)], &[], UnixMillis(0))
        .unwrap();
    meddle(
        &dir,
        "UPDATE record SET payload = replace(payload, 'agent-0001', 'agent-0003') WHERE seq = 2",
    );
    let fetched = journal.fetch(0, 10).unwrap();
    assert_eq!((fetched.dead, fetched.missing, fetched.through), (1, 0, 3));
    let numbers: Vec<_> = fetched.records.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, [1, 3]);
    drop(journal);
    let mut journal = open(&dir);
    let again = journal.fetch(0, 10).unwrap();
    assert_eq!((again.dead, again.missing, again.records.len()), (0, 0, 2));
    assert_eq!(journal.dead_letters().unwrap(), 1);
}

#[test]
fn a_sound_row_that_is_no_record_is_a_dead_letter_too() {
    let (_parent, dir) = data_dir();
    let mut journal = open(&dir);
    journal.append(&[record(1)], &[], UnixMillis(0)).unwrap();
    let checksum = crc32(b"{}");
    meddle(
        &dir,
        &format!("UPDATE record SET payload = '{{}}', checksum = {checksum}"),
    );
    let fetched = journal.fetch(0, 10).unwrap();
    assert_eq!(
        (fetched.dead, fetched.records.len(), fetched.through),
        (1, 0, 1)
    );
}

#[test]
fn a_hole_in_the_numbers_is_seen_once() {
    let (_parent, dir) = data_dir();
    let mut journal = open(&dir);
    let records: Vec<_> = (0..10).map(record).collect();
    journal.append(&records, &[], UnixMillis(0)).unwrap();
    meddle(&dir, "DELETE FROM record WHERE seq IN (2, 3, 9, 10)");
    let missing: Vec<_> = [(0, 3), (5, 3), (8, 3), (0, 20)]
        .map(|(after, limit)| journal.fetch(after, limit).unwrap().missing)
        .into();
    assert_eq!(missing, [2, 0, 2, 0]);
}

#[test]
fn a_damaged_checkpoint_entry_is_left_out_and_counted() {
    let (_parent, dir) = data_dir();
    let mut journal = open(&dir);
    let entries = ["a", "b"].map(|key| (key.to_owned(), Some("1".to_owned())));
    journal.append(&[], &entries, UnixMillis(0)).unwrap();
    meddle(&dir, "UPDATE checkpoint SET value = '2' WHERE key = 'a'");
    let report = journal.load_checkpoint().unwrap();
    assert_eq!(
        (report.entries, report.dead),
        (vec![("b".to_owned(), "1".to_owned())], 1)
    );
    assert_eq!(journal.load_checkpoint().unwrap().dead, 0);
}

#[test]
fn a_full_journal_refuses_and_evicts_nothing() {
    let (_parent, dir) = data_dir();
    let mut journal = open(&dir).with_records_max(2);
    journal
        .append(&[record(1), record(2)], &[], UnixMillis(0))
        .unwrap();
    let refused = journal
        .append(&[record(3)], &[], UnixMillis(0))
        .unwrap_err();
    assert!(matches!(refused, JournalError::Full { depth: 2 }));
    journal.acknowledge(1).unwrap();
    assert_eq!(
        journal
            .append(&[record(3)], &[], UnixMillis(0))
            .unwrap()
            .last_seq,
        3
    );
}

#[test]
fn an_oversize_record_is_a_dead_letter_on_entry() {
    let (_parent, dir) = data_dir();
    let mut journal = open(&dir);
    let huge = JournalRecord::Presence(PresenceChange {
        user_id: UserId::new(&"x".repeat(RECORD_BYTES_MAX)),
        at: UnixMillis(0),
        presence: Presence::parse("Available"),
    });
    let report = journal
        .append(&[huge, record(2)], &[], UnixMillis(0))
        .unwrap();
    assert_eq!((report.dead, report.last_seq), (1, 1));
    assert_eq!(journal.fetch(0, 10).unwrap().records, [(1, record(2))]);
}

#[tokio::test]
async fn the_handle_does_what_the_journal_does() {
    let (_parent, dir) = data_dir();
    let (handle, thread) = JournalHandle::spawn(open(&dir), SystemClock::new()).unwrap();
    let entries = vec![("k".to_owned(), Some("v".to_owned()))];
    let append = Append {
        records: vec![record(1)],
        checkpoint: entries,
        ..Append::default()
    };
    let appended = handle.append(Arc::new(append)).await.unwrap();
    assert_eq!(appended.last_seq, 1);
    let status = handle.status().await.unwrap();
    assert!(status.depth == 1 && status.oldest.is_some() && status.size_bytes > 0);
    assert_eq!(handle.fetch(0, 50).await.unwrap().records, [(1, record(1))]);
    handle.acknowledge(1).await.unwrap();
    assert_eq!(handle.status().await.unwrap().depth, 0);
    assert_eq!(handle.load_checkpoint().await.unwrap().entries.len(), 1);
    drop(handle);
    thread.join().unwrap();
}

#[test]
fn another_programs_lock_delays_an_append_and_costs_nothing() {
    let (_parent, dir) = data_dir();
    let mut journal = open(&dir);
    let other = Connection::open(dir.path().join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (ended, end) = std::sync::mpsc::channel();
    let appending = std::thread::spawn(move || {
        let appended = journal.append(&[record(1)], &[], UnixMillis(0));
        ended.send(()).unwrap();
        (journal, appended)
    });
    let waits = end.recv_timeout(std::time::Duration::from_millis(150));
    assert!(waits.is_err(), "it waits for the lock");
    other.execute_batch("ROLLBACK").unwrap();
    let (mut journal, appended) = appending.join().unwrap();
    appended.expect("the lock was gone in time");
    assert_eq!(journal.fetch(0, 10).unwrap().records, [(1, record(1))]);
}

#[test]
fn a_statement_is_prepared_once_whatever_is_bound_to_it() {
    const DATABASE: Database = Database {
        file: "other.db",
        migrations: &["CREATE TABLE thing (name TEXT, at INTEGER, PRIMARY KEY (name, at))"],
    };
    let (_parent, dir) = data_dir();
    let (writer, _) = DATABASE.open(dir.path(), UnixMillis(0)).unwrap();
    let reader = DATABASE.open_read_only(dir.path()).unwrap();
    for connection in [&writer, &reader] {
        let mut statement = connection
            .prepare("SELECT at FROM thing WHERE name = ?1 AND at >= ?2")
            .unwrap();
        for name in ["a", "b", "c"] {
            assert!(!statement.exists((name, 7)).unwrap());
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}

#[test]
fn much_is_read_ahead_of_what_is_small_and_little_of_what_is_large() {
    let (_parent, dir) = data_dir();
    let mut journal = open(&dir);
    let small: Vec<_> = (0..20).map(record).collect();
    let large = JournalRecord::Presence(PresenceChange {
        user_id: UserId::new(&"a".repeat(200_000)),
        at: UnixMillis(0),
        presence: Presence::parse("Available"),
    });
    journal.append(&small, &[], UnixMillis(0)).unwrap();
    let larges = vec![large; 8];
    journal.append(&larges, &[], UnixMillis(0)).unwrap();
    let mut read = |after, limit, most| {
        let fetched = journal.fetch_ahead(after, limit, most).unwrap();
        (fetched.records.len(), fetched.through, fetched.missing)
    };
    assert_eq!(read(0, 3, 15), (15, 15, 0));
    assert_eq!(read(15, 3, 100), (7, 22, 0), "five small, two large");
    assert_eq!(read(22, 3, 100), (3, 25, 0), "as many as were asked for");
    assert_eq!(read(25, 3, 100), (3, 28, 0), "the rest");
    assert_eq!(read(28, 3, 100), (0, 28, 0));
}
