//! Holes found, filled, and left alone.

use std::sync::Arc;

use super::super::accrual::accrue;
use super::super::agent::Membership;
use super::*;
use crate::model::state::RoutingState::{Available, NotReady, OnCall, Unknown, WrapUp};
use crate::model::time::Millis;

const TOLERANCE: Millis = Millis::from_secs(37);

fn at(seconds: i64) -> UnixMillis {
    UnixMillis(seconds * 1_000)
}

/// Available since 100, last seen at 200; then `state` since 1400, seen at 1500.
fn away(state: RoutingState) -> Agent {
    let mut agent = Agent::new(Membership {
        from: at(0),
        queues: Arc::from([]),
    });
    agent.history = vec![
        Held::example(100, Available, Chain::Gap { known_until: None }),
        Held::example(
            1_400,
            state,
            Chain::Alone {
                known_until: at(200),
                tolerance: TOLERANCE,
            },
        ),
    ];
    agent.confirmed_until = Some(at(1_500));
    agent.counted_from = Some(at(150));
    agent.platform_status = Some(PlatformStatus::Idle);
    agent
}

const HOLE: Hole = Hole {
    after: UnixMillis(100_000),
    until: UnixMillis(1_400_000),
};

/// Statuses by start; each ends where the next one starts, the last one runs.
fn past(statuses: &[(i64, PlatformStatus)]) -> UserPast {
    let ends = statuses.iter().skip(1).map(|(from, _)| Some(at(*from)));
    UserPast {
        user: UserId::new("u-1"),
        statuses: statuses
            .iter()
            .zip(ends.chain([None]))
            .map(|(&(from, status), until)| PastStatus {
                status,
                raw: None,
                from: at(from),
                until,
            })
            .collect(),
    }
}

fn totals(agent: &Agent) -> Vec<(RoutingState, i64)> {
    let spans = spans(&agent.segments(), agent.tail(TOLERANCE), at(150), at(1_500));
    spans
        .iter()
        .map(|span| (span.state, span.length().0 / 1_000))
        .collect()
}

#[test]
fn a_longer_absence_and_an_excursion_are_holes_and_a_seen_change_is_none() {
    for state in [Available, OnCall] {
        assert_eq!(hole_before(&away(state), 1), Some(HOLE), "{state}");
    }
    let mut seen = away(OnCall);
    seen.history[1].chain = Chain::Alone {
        known_until: at(1_390),
        tolerance: TOLERANCE,
    };
    assert_eq!(hole_before(&seen, 1), None);
    assert_eq!(hole_before(&seen, 0), None);
}

#[test]
fn a_history_without_gaps_fills_the_hole() {
    use PlatformStatus::{Idle, Interacting, NotResponding, OffQueue};
    let mut agent = away(Available);
    assert_eq!(
        totals(&agent),
        [(Available, 50), (Unknown, 1_200), (Available, 100)]
    );
    let told = past(&[
        (100, Idle),
        (300, Interacting),
        (700, NotResponding),
        (900, OffQueue),
        (1_400, Idle),
    ]);
    let (applied, withdrawn) = fill(&mut agent, HOLE, &told, at(1_600)).unwrap();
    assert_eq!(withdrawn, None);
    assert_eq!(
        totals(&agent),
        [
            (Available, 150),
            (OnCall, 400),
            (NotReady, 700),
            (Available, 100)
        ]
    );
    // Out of work is one state, whether it was asked for or not.
    assert_eq!(applied.added, [at(300), at(700)]);
    assert_eq!(applied.changed, [at(300), at(700), at(1_400)]);
    assert_eq!(agent.history[3].revision, 2);
    assert_eq!(agent.history[1].source, Source::History);
    // A second answer finds nothing to do.
    assert_eq!(
        fill(&mut agent, HOLE, &told, at(1_700)),
        Err(Filling::Filled)
    );
}

#[test]
fn counters_move_the_time_once_and_never_fall() {
    use PlatformStatus::{Idle, Interacting};
    let mut ledger = accrual::Ledger::default();
    let mut agent = away(Available);
    accrue(&mut ledger, &mut agent, TOLERANCE);
    let unknown = ledger.organisation[Unknown.index()];
    assert_eq!(unknown.posted, Millis::from_secs(1_200));
    let accrued = accrual::remember(&agent, TOLERANCE).unwrap();
    let told = past(&[(100, Idle), (300, Interacting), (1_400, Idle)]);
    fill(&mut agent, HOLE, &told, at(1_600)).unwrap();
    accrual::restate(&mut ledger, &agent, &accrued, TOLERANCE);
    let unknown = ledger.organisation[Unknown.index()];
    assert_eq!(
        (unknown.posted, unknown.debt),
        (Millis::from_secs(1_200), Millis::from_secs(1_200)),
        "what was posted stays, and is owed"
    );
    let truth: i64 = ledger
        .organisation
        .iter()
        .map(|account| (account.posted - account.debt).0)
        .sum();
    assert_eq!(truth, 1_350_000, "conserved");
    assert_eq!(
        ledger.organisation[OnCall.index()].posted,
        Millis::from_secs(1_100)
    );
}

#[test]
fn what_is_not_written_down_yet_is_worth_asking_again() {
    use PlatformStatus::{Idle, Interacting, OffQueue};
    for told in [
        past(&[(100, Idle), (300, OffQueue)]),
        // Not even the beginning of the hole is.
        past(&[(20, Idle), (50, Interacting)]),
    ] {
        let mut agent = away(Available);
        assert_eq!(
            fill(&mut agent, HOLE, &told, at(1_600)),
            Err(Filling::NotYet)
        );
        assert_eq!(agent, away(Available));
    }
}

#[test]
fn gaps_and_contradictions_leave_the_hole() {
    use PlatformStatus::{Idle, Interacting, OffQueue};
    let mut gap = past(&[(100, Idle), (300, OffQueue), (1_400, Idle)]);
    gap.statuses[0].until = Some(at(299));
    for (why, told) in [
        ("a gap", gap),
        (
            "another state before",
            past(&[(100, OffQueue), (1_400, Idle)]),
        ),
        ("another start before", past(&[(101, Idle), (1_400, Idle)])),
        (
            "another state after",
            past(&[(100, Idle), (1_400, Interacting)]),
        ),
        ("another start after", past(&[(100, Idle), (1_401, Idle)])),
        ("nothing before", past(&[(300, OffQueue), (1_400, Idle)])),
    ] {
        let mut agent = away(Available);
        assert_eq!(
            fill(&mut agent, HOLE, &told, at(1_600)),
            Err(Filling::Refused),
            "{why}"
        );
        assert_eq!(agent, away(Available), "{why}");
    }
}

#[test]
fn after_call_work_and_calls_are_parts_of_one_interaction() {
    use PlatformStatus::{Idle, Interacting};
    // In after-call work since 150, by observation, of an interaction since 100.
    let mut agent = away(Available);
    agent.history[0].state = OnCall;
    agent.history.insert(
        1,
        Held {
            estimated: true,
            ..Held::example(
                150,
                WrapUp,
                Chain::Follows {
                    entered_at: at(100),
                },
            )
        },
    );
    let hole = Hole {
        after: at(150),
        until: at(1_400),
    };
    let told = past(&[
        (100, Interacting),
        (400, Idle),
        (500, Interacting),
        (1_400, Idle),
    ]);
    fill(&mut agent, hole, &told, at(1_600)).unwrap();
    assert_eq!(
        totals(&agent),
        [
            (WrapUp, 250),
            (Available, 100),
            (OnCall, 900),
            (Available, 100)
        ]
    );
    // One interaction all along, of which the after-call work was seen first after the hole.
    let mut agent = away(WrapUp);
    agent.history[0].state = OnCall;
    agent.history[1].estimated = true;
    let running = past(&[(100, Interacting)]);
    assert_eq!(
        fill(&mut agent, HOLE, &running, at(1_600)),
        Err(Filling::NotYet),
        "it may have ended since that was written down"
    );
    let told = past(&[(100, Interacting), (1_450, Idle)]);
    let (applied, _) = fill(&mut agent, HOLE, &told, at(1_600)).unwrap();
    assert_eq!(applied.changed, [at(1_400)]);
    assert_eq!(totals(&agent), [(OnCall, 1_250), (WrapUp, 100)]);
}

#[test]
fn a_start_that_moved_within_one_stay_out_of_work_is_withdrawn() {
    use PlatformStatus::{NotResponding, OffQueue};
    let mut agent = away(NotReady);
    agent.history[0].state = NotReady;
    agent.history.push(Held::example(
        1_450,
        Available,
        Chain::Follows {
            entered_at: at(1_400),
        },
    ));
    let told = past(&[(100, NotResponding), (1_400, OffQueue)]);
    let (applied, withdrawn) = fill(&mut agent, HOLE, &told, at(1_600)).unwrap();
    assert_eq!(withdrawn.unwrap().gone.entered_at, at(1_400));
    assert_eq!((applied.added.len(), applied.changed), (0, vec![at(1_450)]));
    assert_eq!(totals(&agent), [(NotReady, 1_300), (Available, 50)]);
}

#[test]
fn a_hole_that_became_smaller_is_filled_as_far_as_it_is_left() {
    use PlatformStatus::{Idle, Interacting, OffQueue};
    let mut agent = away(Available);
    agent.history.insert(
        1,
        Held::example(
            900,
            NotReady,
            Chain::Gap {
                known_until: Some(at(200)),
            },
        ),
    );
    let told = past(&[
        (100, Idle),
        (300, Interacting),
        (900, OffQueue),
        (1_200, Interacting),
        (1_400, Idle),
    ]);
    fill(&mut agent, HOLE, &told, at(1_600)).unwrap();
    assert_eq!(
        totals(&agent),
        [
            (Available, 50),
            (Unknown, 700),
            (NotReady, 300),
            (OnCall, 200),
            (Available, 100)
        ]
    );
}
