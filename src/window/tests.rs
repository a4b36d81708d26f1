//! Properties of the window function: rows are a function of the set of records, never of their
//! order, number or batches.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::event::{Chain, Event, JournalRecord, Mark, PresenceChange, RosterSpan};
use crate::model::ids::UserId;
use crate::model::state::RoutingState::{Available, NotReady, OnCall, WrapUp};
use crate::model::state::{Presence, RoutingState, Source};
use crate::model::time::{Millis, UnixMillis};
use crate::model::window::WindowSpec;

type Rows = BTreeMap<(UserId, UnixMillis), Row>;

const RULES: RowRules = RowRules {
    volatile_transitions: 3,
    volatile_within: Millis::from_secs(60),
    include_offline: false,
};

fn five_minutes() -> WindowSpec {
    WindowSpec::new(Millis::from_secs(300), Millis::from_secs(300))
}

fn instant(text: &str) -> UnixMillis {
    UnixMillis::parse(text).unwrap()
}

/// An event with nothing special about it.
pub(crate) fn event(user: &str, at: UnixMillis, state: RoutingState, chain: Chain) -> Event {
    Event {
        user_id: UserId::new(user),
        state_entered_timestamp: at,
        routing_availability: state,
        raw_state: None,
        wrapup_code: None,
        ui_presence: Presence::parse("On Queue"),
        queue_assignments: ["Support".into()].into(),
        timestamp: at,
        state_duration_seconds: Millis::ZERO,
        ingested_at: at + Millis(1_500),
        source: Source::Routing,
        volatile: false,
        previous: None,
        revision: 1,
        chain,
        estimated: false,
        withdrawn: false,
    }
}

/// A mark with a tolerance of 37.5 s.
pub(crate) fn mark(
    user: &str,
    entered_at: Option<UnixMillis>,
    confirmed_until: Option<UnixMillis>,
    closed_until: Option<UnixMillis>,
) -> Mark {
    Mark {
        user_id: UserId::new(user),
        entered_at,
        confirmed_until,
        tolerance: Millis(37_500),
        closed_until,
    }
}

/// Every row of every closed window, from scratch.
pub(crate) fn all_rows(
    facts: &BTreeMap<UserId, AgentFacts>,
    spec: WindowSpec,
    rules: &RowRules,
) -> Rows {
    let mut rows = Rows::new();
    for (user, facts) in facts {
        let Some(until) = facts.closed_until else {
            continue;
        };
        for start in closing(facts, None, until, spec) {
            if let Some(row) = row(facts, spec, start, rules) {
                rows.insert((user.clone(), start), row);
            }
        }
    }
    rows
}

/// The same, record by record: only windows that close or that `dirty` names.
fn incremental_rows(records: &[JournalRecord], spec: WindowSpec, rules: &RowRules) -> Rows {
    let mut facts: BTreeMap<UserId, AgentFacts> = BTreeMap::new();
    let mut rows = Rows::new();
    for record in records {
        let before = facts.clone();
        apply(&mut facts, record);
        for (user, after) in &facts {
            let old = before.get(user).cloned().unwrap_or_default();
            let mut touched = old
                .closed_until
                .map(|until| dirty(&old, after, spec, rules, until))
                .unwrap_or_default();
            if after.closed_until > old.closed_until {
                let until = after.closed_until.unwrap();
                touched.extend(closing(after, old.closed_until, until, spec));
            }
            for start in touched {
                let key = (user.clone(), start);
                match row(after, spec, start, rules) {
                    Some(row) => rows.insert(key, row),
                    None => rows.remove(&key),
                };
            }
        }
    }
    rows
}

fn arb_state() -> impl Strategy<Value = RoutingState> {
    proptest::sample::select(RoutingState::ALL.to_vec())
}

/// Instants of one hour, in steps of 15 s so that they meet boundaries and each other, some a
/// millisecond off.
fn arb_instant() -> impl Strategy<Value = UnixMillis> {
    (0_i64..240, -1_i64..=1).prop_map(|(step, off)| UnixMillis((step * 15_000 + off).max(0)))
}

fn arb_chain() -> impl Strategy<Value = Chain> {
    let gap =
        proptest::option::of(arb_instant()).prop_map(|known_until| Chain::Gap { known_until });
    let alone = (arb_instant(), 0_i64..100_000).prop_map(|(known_until, tolerance)| Chain::Alone {
        known_until,
        tolerance: Millis(tolerance),
    });
    let follows = arb_instant().prop_map(|entered_at| Chain::Follows { entered_at });
    prop_oneof![gap, alone, follows]
}

fn arb_user() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["agent-0001", "agent-0002"])
}

fn arb_event() -> impl Strategy<Value = JournalRecord> {
    let flags = (any::<bool>(), proptest::bool::weighted(0.1), 1_u32..4);
    let source = proptest::sample::select(Source::ALL.to_vec());
    (
        arb_user(),
        arb_instant(),
        arb_state(),
        arb_chain(),
        flags,
        source,
    )
        .prop_map(
            |(user, at, state, chain, (estimated, withdrawn, revision), source)| {
                let plain = event(user, at, state, chain);
                JournalRecord::from(Event {
                    source,
                    revision,
                    estimated,
                    withdrawn,
                    ..plain
                })
            },
        )
}

fn arb_marks() -> impl Strategy<Value = JournalRecord> {
    let optional = || proptest::option::weighted(0.8, arb_instant());
    let closed = proptest::option::of((0_i64..14).prop_map(|n| UnixMillis(n * 300_000)));
    let one = (arb_user(), optional(), optional(), 0_i64..100_000, closed).prop_map(
        |(user, entered_at, confirmed_until, tolerance, closed_until)| Mark {
            tolerance: Millis(tolerance),
            ..mark(user, entered_at, confirmed_until, closed_until)
        },
    );
    proptest::collection::vec(one, 1..4).prop_map(JournalRecord::Marks)
}

fn arb_roster() -> impl Strategy<Value = JournalRecord> {
    (
        arb_user(),
        arb_instant(),
        proptest::option::of(arb_instant()),
    )
        .prop_map(|(user, from, until)| {
            JournalRecord::Roster(RosterSpan {
                user_id: UserId::new(user),
                from,
                until,
            })
        })
}

fn arb_presence() -> impl Strategy<Value = JournalRecord> {
    let presence = proptest::sample::select(vec!["Offline", "Available", "On Queue"]);
    (arb_user(), arb_instant(), presence).prop_map(|(user, at, presence)| {
        JournalRecord::Presence(PresenceChange {
            user_id: UserId::new(user),
            at,
            presence: Presence::parse(presence),
        })
    })
}

/// A journal in which anything can follow anything.
pub(crate) fn arb_journal() -> impl Strategy<Value = Vec<JournalRecord>> {
    let record = prop_oneof![
        5 => arb_event(),
        3 => arb_marks(),
        1 => arb_roster(),
        1 => arb_presence(),
    ];
    proptest::collection::vec(record, 1..60)
}

/// A journal and the same records in another order, some of them twice.
pub(crate) fn arb_journal_and_permutation()
-> impl Strategy<Value = (Vec<JournalRecord>, Vec<JournalRecord>)> {
    arb_journal().prop_flat_map(|journal| {
        let again = proptest::sample::subsequence(journal.clone(), 0..=journal.len());
        let original = journal.clone();
        again
            .prop_flat_map(move |again| {
                let mut both = original.clone();
                both.extend(again);
                Just(both).prop_shuffle()
            })
            .prop_map(move |other| (journal.clone(), other))
    })
}

fn arb_spec() -> impl Strategy<Value = WindowSpec> {
    proptest::sample::select(vec![(300, 300), (300, 100), (60, 60), (300, 60)]).prop_map(
        |(length, slide)| WindowSpec::new(Millis::from_secs(length), Millis::from_secs(slide)),
    )
}

fn facts_of(records: &[JournalRecord]) -> BTreeMap<UserId, AgentFacts> {
    let mut facts = BTreeMap::new();
    for record in records {
        apply(&mut facts, record);
    }
    facts
}

proptest! {
    #[test]
    fn order_and_repetition_change_nothing(
        (journal, other) in arb_journal_and_permutation(),
        spec in arb_spec(),
    ) {
        let facts = facts_of(&journal);
        prop_assert_eq!(&facts, &facts_of(&other));
        let rows = all_rows(&facts, spec, &RULES);
        for row in rows.values() {
            prop_assert_eq!(row.metrics.total(), row.covered);
            prop_assert!(row.covered <= spec.length && row.estimated <= row.covered);
        }
        prop_assert_eq!(&rows, &all_rows(&facts_of(&other), spec, &RULES));
    }

    #[test]
    fn touching_only_what_is_dirty_gives_the_rows_of_a_full_computation(
        journal in arb_journal(),
        spec in arb_spec(),
        include_offline: bool,
    ) {
        let rules = RowRules { include_offline, ..RULES };
        let mut expected = all_rows(&facts_of(&journal), spec, &rules);
        let mut rows = incremental_rows(&journal, spec, &rules);
        // Which event told last is exact; when it was ingested may lag behind a repetition.
        for row in expected.values_mut().chain(rows.values_mut()) {
            if let Some(last) = &mut row.last_event {
                last.ingested_at = UnixMillis(0);
            }
        }
        prop_assert_eq!(rows, expected);
    }

    #[test]
    fn the_worked_example_is_exact_whenever_the_polls_saw_it(
        phase in 0_i64..15_000,
        missed in proptest::collection::btree_set(0_usize..120, 0..60),
        slide in proptest::sample::select(vec![300_i64, 100, 60]),
    ) {
        let records = worked_example(phase, &missed);
        let facts = facts_of(&records);
        let facts = &facts[&UserId::new("agent-0001")];
        let spec = WindowSpec::new(Millis::from_secs(300), Millis::from_secs(slide));
        let row = row(facts, spec, instant("2024-05-14T08:30:00Z"), &RULES).unwrap();
        prop_assert_eq!(row.metrics.by_state().map(|part| part.0), [150_000, 0, 120_000, 30_000, 0]);
        prop_assert_eq!(row.metrics.state_transitions, 3);
        prop_assert_eq!(row.covered, Millis(300_000));
        prop_assert_eq!(row.estimated, Millis::ZERO);
        prop_assert!(!row.volatile);
    }
}

/// The events of semantics.md §4 as polls every 15 s see them, from 08:10; the polls whose number
/// is in `missed` fail, but not those that come after the window's end.
fn worked_example(phase: i64, missed: &std::collections::BTreeSet<usize>) -> Vec<JournalRecord> {
    let truth = [
        ("2024-05-14T08:06:20.000Z", Available),
        ("2024-05-14T08:31:00.250Z", OnCall),
        ("2024-05-14T08:33:00.250Z", WrapUp),
        ("2024-05-14T08:33:30.250Z", Available),
    ];
    let mut records = vec![JournalRecord::Roster(RosterSpan {
        user_id: UserId::new("agent-0001"),
        from: instant("2024-05-14T08:00:00Z"),
        until: None,
    })];
    let mut seen: Option<UnixMillis> = None;
    for poll in (0..120_usize).filter(|poll| *poll > 100 || !missed.contains(poll)) {
        let at = instant("2024-05-14T08:10:00Z") + Millis(phase + 15_000 * poll as i64);
        for (start, state) in truth.map(|(text, state)| (instant(text), state)) {
            if start <= at && seen.is_none_or(|seen| start > seen) {
                let chain = match seen {
                    Some(entered_at) => Chain::Follows { entered_at },
                    None => Chain::Gap { known_until: None },
                };
                records.push(JournalRecord::from(event(
                    "agent-0001",
                    start,
                    state,
                    chain,
                )));
                seen = Some(start);
            }
        }
        let closed = (at - Millis::from_secs(30)).floor(Millis::from_secs(300));
        let mark = mark("agent-0001", seen, Some(at), Some(closed));
        records.push(JournalRecord::Marks(vec![mark]));
    }
    records
}

/// Facts of an agent in the registry from the epoch on.
fn registered(events: &[(i64, RoutingState)]) -> AgentFacts {
    let mut facts = AgentFacts::default();
    facts.roster.insert(UnixMillis(0), None);
    let mut known = None;
    for &(at, state) in events {
        let chain = match known {
            Some(entered_at) => Chain::Follows { entered_at },
            None => Chain::Gap { known_until: None },
        };
        let at = UnixMillis(at);
        facts.apply_event(&event("agent-0001", at, state, chain));
        known = Some(at);
    }
    let until = Some(UnixMillis(10_000_000));
    facts.apply_mark(&mark("agent-0001", known, until, until));
    facts
}

#[test]
fn a_start_on_the_boundary_belongs_to_the_next_window() {
    let facts = registered(&[(0, Available), (300_000, OnCall), (600_000, Available)]);
    let rows = [0, 300_000, 600_000]
        .map(|start| row(&facts, five_minutes(), UnixMillis(start), &RULES).unwrap());
    assert_eq!(rows.map(|row| row.metrics.state_transitions), [1, 1, 1]);
    assert_eq!(rows[0].metrics.available_seconds, Millis(300_000));
    assert_eq!(rows[1].metrics.on_call_seconds, Millis(300_000));
    assert_eq!(rows[0].last_event.unwrap().at, UnixMillis(0));
}

#[test]
fn joiners_and_leavers_have_shorter_rows_that_say_so() {
    let mut facts = registered(&[(0, Available)]);
    facts.roster = BTreeMap::from([
        (UnixMillis(100_000), Some(UnixMillis(200_000))),
        (UnixMillis(250_000), None),
    ]);
    let first = row(&facts, five_minutes(), UnixMillis(0), &RULES).unwrap();
    assert_eq!(first.covered, Millis(150_000));
    assert_eq!(first.metrics.available_seconds, Millis(150_000));
    assert_eq!(first.metrics.state_transitions, 0, "the start is outside");
    facts.roster = BTreeMap::from([(UnixMillis(0), Some(UnixMillis(300_000)))]);
    assert!(row(&facts, five_minutes(), UnixMillis(300_000), &RULES).is_none());
}

#[test]
fn four_starts_within_sixty_seconds_inclusive_are_volatile() {
    for (last, expected) in [(350_000, true), (350_001, false)] {
        let facts = registered(&[
            (0, Available),
            (290_000, OnCall),
            (295_000, Available),
            (305_000, OnCall),
            (last, Available),
        ]);
        let rows = [0, 300_000, 600_000].map(|start| {
            row(&facts, five_minutes(), UnixMillis(start), &RULES)
                .unwrap()
                .volatile
        });
        assert_eq!(rows, [expected, expected, false]);
    }
}

#[test]
fn only_offline_and_not_ready_throughout_is_left_out() {
    let offline = |facts: &mut AgentFacts, at: i64, presence: &str| {
        facts
            .presence
            .insert(UnixMillis(at), Presence::parse(presence));
    };
    let mut facts = registered(&[(0, NotReady)]);
    let second = UnixMillis(300_000);
    assert!(
        row(&facts, five_minutes(), second, &RULES).is_some(),
        "presence not known"
    );
    offline(&mut facts, 300_000, "Offline");
    assert!(row(&facts, five_minutes(), second, &RULES).is_none());
    let all = RowRules {
        include_offline: true,
        ..RULES
    };
    assert!(row(&facts, five_minutes(), second, &all).is_some());
    let on_call = registered(&[(0, OnCall)]);
    let routed = AgentFacts {
        presence: facts.presence.clone(),
        ..on_call
    };
    assert!(
        row(&routed, five_minutes(), second, &RULES).is_some(),
        "offline, yet on call"
    );
    offline(&mut facts, 599_999, "Available");
    assert!(
        row(&facts, five_minutes(), second, &RULES).is_some(),
        "online for a millisecond"
    );
}

#[test]
fn windows_close_once_and_only_where_the_agent_was_registered() {
    let mut facts = registered(&[(0, Available)]);
    facts.roster = BTreeMap::from([(UnixMillis(400_000), Some(UnixMillis(1_000_000)))]);
    let spec = five_minutes();
    let starts = |before: Option<i64>, until| {
        closing(&facts, before.map(UnixMillis), UnixMillis(until), spec)
            .into_iter()
            .map(|start| start.0 / 1_000)
            .collect::<Vec<_>>()
    };
    assert_eq!(starts(None, 899_999), [300]);
    assert_eq!(starts(Some(600_000), 1_200_000), [600, 900]);
    assert_eq!(starts(Some(1_200_000), 9_000_000), Vec::<i64>::new());
    let overlapping = WindowSpec::new(Millis::from_secs(300), Millis::from_secs(100));
    let closed = closing(
        &facts,
        Some(UnixMillis(600_000)),
        UnixMillis(800_000),
        overlapping,
    );
    assert_eq!(Vec::from_iter(closed), [400_000, 500_000].map(UnixMillis));
    facts.roster = BTreeMap::from([(UnixMillis(0), None)]);
    let first = closing(&facts, None, UnixMillis(400_000), overlapping);
    assert_eq!(
        Vec::from_iter(first),
        [0, 100_000].map(UnixMillis),
        "none before 1970"
    );
}

#[test]
fn records_that_cannot_be_computed_with_are_refused_by_reason() {
    let sound = event(
        "agent-0001",
        UnixMillis(0),
        OnCall,
        Chain::Gap { known_until: None },
    );
    assert_eq!(refuse_event(&sound), None);
    let late = Event {
        ingested_at: UnixMillis(i64::MAX),
        ..sound.clone()
    };
    assert_eq!(refuse_event(&late), Some(Refusal::Instant));
    let nobody = Event {
        user_id: UserId::new(""),
        ..sound
    };
    assert_eq!(refuse_event(&nobody), Some(Refusal::UserId));
    let endless = Mark {
        tolerance: Millis(i64::MAX),
        ..mark("agent-0001", None, None, None)
    };
    assert_eq!(refuse_mark(&endless), Some(Refusal::Tolerance));
}
