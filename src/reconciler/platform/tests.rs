//! What records of a scan mean to someone who knows the agent.

use std::sync::Arc;

use super::super::agent::Membership;
use super::super::evidence::apply;
use super::RoutingState::{Available, NotReady, OnCall, WrapUp};
use super::*;
use crate::model::event::Chain;

const TOLERANCE: Millis = Millis::from_secs(37);

fn at(seconds: i64) -> UnixMillis {
    UnixMillis(seconds * 1_000)
}

fn fact(status: PlatformStatus, since: Option<i64>) -> PlatformFact {
    PlatformFact {
        status,
        raw_status: None,
        since: since.map(at),
        presence_since: at(0),
        unoccupied: false,
    }
}

/// An agent of whom scans at these instants told these states, each since when.
fn agent_after(scans: &[(i64, RoutingState, Option<i64>)]) -> Agent {
    let mut agent = Agent::new(Membership {
        from: at(0),
        queues: Arc::from([]),
    });
    for &(seen, state, since) in scans {
        let status = match state {
            OnCall | WrapUp => PlatformStatus::Interacting,
            Available => PlatformStatus::Idle,
            _ => PlatformStatus::OffQueue,
        };
        let answer = states_told(&agent, state, &fact(status, since), at(seen));
        let evidence = Evidence {
            source: Source::Bulk,
            confirms: at(seen),
            latest: at(seen),
            ingested_at: at(seen),
            tolerance: TOLERANCE,
        };
        apply(&mut agent, &answer, &evidence);
    }
    agent
}

fn held(agent: &Agent) -> Vec<(i64, RoutingState, bool)> {
    let seconds = |held: &Held| (held.entered_at.0 / 1_000, held.state, held.estimated);
    agent.history.iter().map(seconds).collect()
}

fn alone(known: i64) -> Chain {
    Chain::Alone {
        known_until: at(known),
        tolerance: TOLERANCE,
    }
}

#[test]
fn what_the_platform_dates_is_exact() {
    let agent = agent_after(&[
        (10, Available, Some(5)),
        (25, Available, Some(5)),
        (40, OnCall, Some(31)),
        (55, NotReady, Some(50)),
    ]);
    assert_eq!(
        held(&agent),
        [
            (5, Available, false),
            (31, OnCall, false),
            (50, NotReady, false)
        ]
    );
    assert_eq!(agent.history[2].chain, alone(40));
}

#[test]
fn after_call_work_and_a_call_behind_it_are_dated_by_their_first_sight() {
    let agent = agent_after(&[
        (40, OnCall, Some(31)),
        (55, WrapUp, Some(31)),
        (70, WrapUp, Some(31)),
        (85, OnCall, Some(31)),
        (100, Available, Some(90)),
    ]);
    assert_eq!(
        held(&agent),
        [
            (31, OnCall, false),
            (55, WrapUp, true),
            (85, OnCall, true),
            (90, Available, false)
        ]
    );
    assert_eq!(agent.history[1].chain, alone(40));
    assert_eq!(agent.history[3].chain, alone(85));
}

#[test]
fn after_call_work_seen_first_still_began_as_a_call() {
    let agent = agent_after(&[(40, Available, Some(5)), (55, WrapUp, Some(44))]);
    assert_eq!(
        held(&agent),
        [
            (5, Available, false),
            (44, OnCall, false),
            (55, WrapUp, true)
        ]
    );
    // The start that the platform told is one statement, not several: no hole before it.
    assert_eq!(agent.history[1].chain, alone(40));
    assert_eq!(agent.history[2].chain, alone(44));
}

#[test]
fn an_interaction_that_is_over_does_not_come_back_with_a_late_answer() {
    let agent = agent_after(&[
        (40, OnCall, Some(31)),
        (55, NotReady, Some(50)),
        (70, OnCall, Some(31)),
        (85, WrapUp, Some(31)),
    ]);
    assert_eq!(held(&agent), [(31, OnCall, false), (50, NotReady, false)]);
    assert_eq!(agent.confirmed_until, Some(at(55)));
}

#[test]
fn a_status_without_a_start_begins_when_it_is_first_seen() {
    let agent = agent_after(&[(40, NotReady, None), (55, NotReady, None)]);
    assert_eq!(held(&agent), [(40, NotReady, true)]);
    assert_eq!(agent.confirmed_until, Some(at(55)));
    let agent = agent_after(&[(40, Available, Some(9)), (55, NotReady, None)]);
    assert_eq!(held(&agent), [(9, Available, false), (55, NotReady, true)]);
}
