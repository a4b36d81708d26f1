//! What simulated runs have found, each in a run of its own that was made for it; and the seeds
//! that found it.

use std::sync::Arc;

use genesys_cloud_exporter::model::ids::UserId;
use genesys_cloud_exporter::model::state::{Presence, RoutingState, Source};
use genesys_cloud_exporter::model::time::{Millis, UnixMillis};
use genesys_cloud_exporter::reconciler::evidence::Evidence;
use genesys_cloud_exporter::reconciler::joins::JoinClass;
use genesys_cloud_exporter::reconciler::reconcile::Reconciler;
use genesys_cloud_exporter::simulator::org::OrgSpec;
use genesys_cloud_exporter::upstream::wire::{RoutingEntry, RoutingStates, StatusRecord};

use crate::harness::options::{MINUTE, Options, Upset};
use crate::harness::swarm::{RECOVERY, draw};
use crate::runs::run;

/// Seeds whose runs were once wrong.
const FOUND: [u64; 17] = [
    2,
    11,
    23,
    93,
    98,
    129,
    148,
    183,
    283,
    325,
    326,
    404,
    454,
    481,
    540,
    280,
    1_795_923_242_795,
];

#[test]
fn seeds_that_once_failed() {
    for seed in FOUND {
        let run = run(&draw(seed, 40, 30 * MINUTE));
        run.complaints.assert_none(&run.says);
    }
}

fn scenario(lasts: i64, upsets: Vec<(i64, Upset)>, faults: &str) -> Options {
    let org = OrgSpec::new(40, 4, 77);
    Options {
        faulty: lasts,
        upsets,
        faults: faults.to_owned(),
        ..Options::calm(org, RECOVERY + 20 * MINUTE)
    }
}

fn assert_clean(options: &Options) {
    let run = run(options);
    run.complaints.assert_none(&run.says);
    assert!(run.tally.exact > 0, "{}", run.says);
}

#[test]
fn short_lives_lose_no_time_and_count_none_twice() {
    let crash = |k: i64| (60_000 + k * 47_000, Upset::Crash { down: 1_500 });
    assert_clean(&scenario(20 * MINUTE, (0..24).map(crash).collect(), "none"));
}

#[test]
fn a_stepped_clock_closes_no_window_and_ages_nobody() {
    let mut upsets = Vec::new();
    for k in 0..8 {
        let by = if k % 2 == 0 { 3_600_000 } else { -5_000_000 };
        // Stepped while no answer comes that could tell.
        upsets.push((120_000 + k * 120_000, Upset::Outage { lasts: 90_000 }));
        upsets.push((150_000 + k * 120_000, Upset::Step { by }));
        upsets.push((170_000 + k * 120_000, Upset::Crash { down: 2_000 }));
    }
    assert_clean(&scenario(20 * MINUTE, upsets, "none"));
}

#[test]
fn configurations_that_change_every_minute_lose_no_time_and_count_none_twice() {
    let mut upsets = Vec::new();
    for k in 0..20 {
        let divide = [2, 1, 4, 3][k % 4];
        let at = 60_000 + 61_000 * k as i64;
        upsets.push((at, Upset::Reload { divide }));
    }
    assert_clean(&scenario(22 * MINUTE, upsets.clone(), "none"));
    assert_clean(&scenario(
        22 * MINUTE,
        upsets,
        "http-503=30@3m+2m,throttle=20s@8m+1m",
    ));
}

#[test]
fn a_scan_ends_at_the_429_of_another_request() {
    let mut options = scenario(10 * MINUTE, Vec::new(), "throttle:routing-state=20s@60s+6m");
    options.statuses_page = Some(4);
    options.latency = 100..=400;
    assert_clean(&options);
}

#[test]
fn a_restart_forgets_neither_retry_after_nor_the_minute() {
    let crash = |k: i64| (65_000 + k * 40_000, Upset::Crash { down: 500 });
    let faults = "throttle=45s@60s+5m";
    let mut options = scenario(10 * MINUTE, (0..9).map(crash).collect(), faults);
    options.requests_per_minute = 60;
    assert_clean(&options);
}

const USER: &str = "agent-0001";

fn at(seconds: i64) -> UnixMillis {
    UnixMillis(1_700_000_000_000 + seconds * 1_000)
}

fn record(state: RoutingState, modified: i64) -> StatusRecord {
    StatusRecord {
        user_id: UserId::new(USER),
        presence: Presence::parse("Available"),
        availability: state,
        last_modified: at(modified),
        platform: None,
    }
}

fn answer(reconciler: &mut Reconciler, state: RoutingState, entered: i64, told: i64) {
    let states = RoutingStates {
        entries: vec![RoutingEntry {
            state,
            raw_state: None,
            wrapup_code: Some(Arc::from("none")),
            entered_at: at(entered),
            estimated: false,
        }],
        refused: Vec::new(),
    };
    let evidence = Evidence {
        source: Source::Routing,
        confirms: at(told),
        latest: at(told),
        ingested_at: at(told),
        tolerance: Millis::from_secs(37),
    };
    reconciler.on_routing(&UserId::new(USER), &states, &evidence);
}

/// One agent, who is available since second 5, joined with that record.
fn joined() -> Reconciler {
    let options = Options::calm(OrgSpec::new(1, 1, 1), MINUTE);
    let mut reconciler = Reconciler::new(options.config().pipeline);
    let user = UserId::new(USER);
    reconciler.on_registry(std::slice::from_ref(&user), &[]);
    reconciler.on_snapshot(&[record(RoutingState::Available, 5)], at(10), at(10));
    assert_eq!(
        reconciler.next_join(JoinClass::NeverJoined, at(10)),
        Some(user.clone())
    );
    reconciler.asked(&user, JoinClass::NeverJoined);
    answer(&mut reconciler, RoutingState::Available, 5, 11);
    reconciler
}

#[test]
fn an_agent_whose_change_is_taken_back_stays_in_upkeep() {
    let mut reconciler = joined();
    let user = UserId::new(USER);
    reconciler.on_snapshot(&[record(RoutingState::OnCall, 20)], at(25), at(25));
    reconciler.asked(&user, JoinClass::Changed);
    reconciler.join_failed(&user, at(26));
    assert_eq!(reconciler.upkeep_due(), None);
    reconciler.on_snapshot(&[record(RoutingState::Available, 5)], at(40), at(40));
    assert_eq!(
        reconciler.upkeep_due(),
        Some(at(71)),
        "a minute after it was confirmed"
    );
}

#[test]
fn a_record_from_after_an_answer_is_not_what_it_answered() {
    let mut reconciler = joined();
    let user = UserId::new(USER);
    // The platform's clock was ahead when this was written, and is not any more.
    let ahead = [record(RoutingState::OnCall, 90)];
    reconciler.on_snapshot(&ahead, at(25), at(25));
    reconciler.asked(&user, JoinClass::Changed);
    answer(&mut reconciler, RoutingState::Available, 5, 30);
    assert!(!reconciler.agents()[&user].pending, "but not at once");
    reconciler.on_snapshot(&ahead, at(95), at(95));
    let agent = &reconciler.agents()[&user];
    assert_eq!(agent.confirmed_until, Some(at(30)));
    assert!(agent.pending, "it is asked again");
}
