//! What frames mean to someone who knows the agent.

use std::sync::Arc;

use super::super::agent::Held;
use super::super::agent::Membership;
use super::super::evidence::apply;
use super::RoutingState::{Available, NotReady, OnCall, WrapUp};
use super::*;
use crate::model::state::Source;

fn at(seconds: i64) -> UnixMillis {
    UnixMillis(seconds * 1_000)
}

fn evidence(source: Source, seconds: i64) -> Evidence {
    Evidence {
        source,
        confirms: at(seconds),
        latest: at(seconds + 60),
        ingested_at: at(seconds),
        tolerance: Millis::from_secs(37),
    }
}

/// An agent that a scan at 10 s found available since 5 s.
fn agent() -> Agent {
    let mut agent = Agent::new(Membership {
        from: at(0),
        queues: Arc::from([]),
    });
    let fact = fact(PlatformStatus::Idle, Some(at(5)));
    let answer = states_told(&agent, Available, &fact, at(10));
    apply(&mut agent, &answer, &evidence(Source::Bulk, 10));
    agent
}

/// Pushes statuses in order of arrival on a channel that tells all since `unbroken`.
fn push(agent: &mut Agent, unbroken: Option<i64>, frames: &[(i64, &str)]) {
    for (since, status) in frames {
        let told = PushedStatus {
            status: Arc::from(*status),
            since: at(*since),
        };
        let status = PlatformStatus::parse(status);
        if let Some(answer) = told_by_status(agent, status, &told, unbroken.map(at)) {
            // What a frame says it says of its own start.
            let mut said = evidence(Source::Notification, *since);
            said.confirms = UnixMillis(0);
            // A late frame arrives after those that it should have come before.
            said.latest = at(600);
            apply(agent, &answer, &said);
        }
    }
}

fn held(agent: &Agent) -> Vec<(i64, RoutingState)> {
    let seconds = |held: &Held| (held.entered_at.0 / 1_000, held.state);
    agent.history.iter().map(seconds).collect()
}

fn follows(agent: &Agent) -> Vec<bool> {
    let follows = |held: &Held| matches!(held.chain, Chain::Follows { .. });
    agent.history.iter().skip(1).map(follows).collect()
}

#[test]
fn on_an_unbroken_channel_one_change_follows_the_other() {
    let mut agent = agent();
    let frames = [(20, "INTERACTING"), (80, "IDLE"), (90, "OFF_QUEUE")];
    push(&mut agent, Some(8), &frames);
    assert_eq!(
        held(&agent),
        [
            (5, Available),
            (20, OnCall),
            (80, Available),
            (90, NotReady)
        ]
    );
    assert_eq!(follows(&agent), [true, true, true]);
    assert_eq!(agent.confirmed_until, Some(at(90)));
}

#[test]
fn the_first_change_after_a_break_proves_nothing_of_the_time_before() {
    let mut broken = agent();
    push(&mut broken, Some(15), &[(20, "INTERACTING"), (80, "IDLE")]);
    assert_eq!(follows(&broken), [false, true]);
    let mut uncovered = agent();
    push(&mut uncovered, None, &[(20, "INTERACTING"), (80, "IDLE")]);
    assert_eq!(follows(&uncovered), [false, false]);
}

#[test]
fn a_state_that_follows_itself_shows_that_something_was_lost() {
    let mut agent = agent();
    push(&mut agent, Some(8), &[(20, "IDLE")]);
    assert_eq!(held(&agent), [(5, Available), (20, Available)]);
    assert_eq!(follows(&agent), [false]);
}

#[test]
fn arrival_does_not_order_frames_and_repetition_changes_nothing() {
    let in_order = [(20, "INTERACTING"), (80, "IDLE"), (90, "OFF_QUEUE")];
    let mut expected = agent();
    push(&mut expected, Some(8), &in_order);
    let orders: [&[usize]; 5] = [
        &[0, 2, 1],
        &[2, 0, 1],
        &[0, 0, 1, 1, 2, 2],
        &[0, 1, 2, 0, 1],
        &[1, 0, 2],
    ];
    for order in orders {
        let mut agent = agent();
        let frames: Vec<_> = order.iter().map(|k| in_order[*k]).collect();
        push(&mut agent, Some(8), &frames);
        assert_eq!(held(&agent), held(&expected), "{order:?}");
        let current = |agent: &Agent| agent.current().map(|held| held.entered_at);
        assert_eq!(current(&agent), current(&expected));
    }
    let mut late = agent();
    push(
        &mut late,
        Some(8),
        &[(20, "INTERACTING"), (90, "OFF_QUEUE"), (80, "IDLE")],
    );
    assert_eq!(
        follows(&late),
        [true, true, true],
        "filled, and proven again"
    );
}

#[test]
fn the_same_interaction_told_again_does_not_end_its_after_call_work() {
    let mut agent = agent();
    push(&mut agent, Some(8), &[(20, "INTERACTING")]);
    let answer = states_told(
        &agent,
        WrapUp,
        &fact(PlatformStatus::Interacting, None),
        at(60),
    );
    apply(&mut agent, &answer, &evidence(Source::Notification, 60));
    push(&mut agent, Some(8), &[(20, "INTERACTING"), (90, "IDLE")]);
    assert_eq!(
        held(&agent),
        [(5, Available), (20, OnCall), (60, WrapUp), (90, Available)]
    );
    assert!(agent.history[2].estimated && !agent.history[3].estimated);
}

#[test]
fn an_unknown_status_is_kept_in_its_own_words() {
    let mut agent = agent();
    push(&mut agent, Some(8), &[(20, "LEVITATING")]);
    let current = agent.current().unwrap();
    assert_eq!(current.state, RoutingState::Unknown);
    assert_eq!(current.raw_state.as_deref(), Some("LEVITATING"));
}

#[test]
fn who_missed_an_alert_and_goes_off_queue_stays_in_one_stay() {
    let mut agent = agent();
    push(&mut agent, Some(6), &[(20, "NOT_RESPONDING")]);
    agent.platform_status = Some(PlatformStatus::NotResponding);
    let off = PlatformStatus::OffQueue;
    // Unproven, it may have been ready in between: a segment of its own, with a hole before it.
    assert!(!turns(&agent, off, at(50), None));
    assert!(!turns(&agent, off, at(50), Some(at(21))), "told too late");
    assert!(!turns(
        &agent,
        PlatformStatus::NotResponding,
        at(50),
        Some(at(6))
    ));
    assert!(turns(&agent, off, at(50), Some(at(6))));
    agent.turned_at = Some(at(50));
    push(&mut agent, Some(6), &[(50, "OFF_QUEUE")]);
    assert_eq!(held(&agent), [(5, Available), (20, NotReady)]);
    // A scan tells the same start, and another one is another stay.
    let scanned = |since| {
        let fact = fact(off, Some(at(since)));
        let told = states_told(&agent, NotReady, &fact, at(90));
        told.entries[0].entered_at
    };
    assert_eq!(scanned(50), at(20));
    assert_eq!(scanned(60), at(60));
}
