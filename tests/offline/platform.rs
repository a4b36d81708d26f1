//! The public platform in virtual time: push, its sockets' mishaps, holes that history fills, and
//! the starts of after-call work.

use genesys_cloud_exporter::model::push::ReconnectReason;
use genesys_cloud_exporter::model::time::Millis;
use genesys_cloud_exporter::simulator::notifications::NotificationOptions;
use genesys_cloud_exporter::simulator::org::OrgSpec;

use crate::audit::rows::Row;
use crate::harness::options::{HOUR, MINUTE, ORIGIN, Options, Upset};
use crate::harness::swarm::RECOVERY;
use crate::runs::{Run, run};

fn spec(agents: u32, seed: u64) -> OrgSpec {
    OrgSpec {
        volatile_share: 0.0,
        min_state: Millis::from_secs(3),
        tempo: 4.0,
        ..OrgSpec::new(agents, 5, seed)
    }
}

/// Faults and upsets for so long, and then as long as everything needs to come right.
fn broken(push: bool, lasts: i64, faults: &str, upsets: Vec<(i64, Upset)>) -> Options {
    Options {
        faulty: lasts,
        faults: faults.to_owned(),
        upsets,
        ..Options::platform(spec(40, 77), push, RECOVERY + 20 * MINUTE)
    }
}

fn clean(options: &Options) -> Run {
    let run = run(options);
    run.complaints.assert_none(&run.says);
    assert!(run.tally.exact > 40, "{}", run.says);
    run
}

/// Rows of the windows that are closed when a run ends; the first windows began before it did.
fn judged<'r>(run: &'r Run, options: &Options) -> impl Iterator<Item = Row> + 'r {
    let from = options.origin.0 + 10 * MINUTE;
    let to = options.end() - 15 * MINUTE;
    let rows = run.rows.iter().map(Row::of);
    rows.filter(move |row| row.start >= from && row.end <= to)
}

fn unknown(run: &Run, options: &Options) -> i64 {
    judged(run, options).map(|row| row.unknown).sum()
}

#[test]
fn twenty_minutes_down_leave_no_unknown_second_and_counters_that_conserve() {
    for (push, upset) in [
        (true, Upset::Crash { down: 20 * MINUTE }),
        (false, Upset::Stop { down: 20 * MINUTE }),
    ] {
        let options = broken(push, 50 * MINUTE, "none", vec![(20 * MINUTE, upset)]);
        let run = clean(&options);
        let down = options.origin.0 + 20 * MINUTE;
        let during = judged(&run, &options).filter(|row| {
            row.start >= down && row.end <= down + 20 * MINUTE && row.transitions > 0
        });
        assert!(during.count() > 40, "{}", run.says);
        assert_eq!(unknown(&run, &options), 0, "{}", run.says);
        repaid(&run);
    }
}

/// All that was counted as unknown since the first minutes is owed.
fn repaid(run: &Run) {
    let unknown = run.last.organisation.time[4].0;
    let owed = run.last.health.debt.0;
    assert!(
        unknown > 10 * MINUTE,
        "{unknown} ms were unknown at first: {}",
        run.says
    );
    // Before an agent is first seen its running segment may be younger than its account.
    assert!(
        owed >= unknown - 10 * MINUTE,
        "{owed} of {unknown} ms: {}",
        run.says
    );
}

/// The platform writes its history down five minutes late; a connection is lost for three; and
/// before what lies in between can be asked for, the exporter dies.
#[test]
fn a_hole_that_waits_outlives_a_crash() {
    let upsets = vec![
        (20 * MINUTE, Upset::Outage { lasts: 3 * MINUTE }),
        (25 * MINUTE, Upset::Crash { down: 20_000 }),
        (26 * MINUTE, Upset::Stop { down: 5_000 }),
    ];
    let mut options = broken(true, 50 * MINUTE, "stale-details=5m@0s+50m", upsets);
    // Life as it is, at nine in the morning: a hole waits longer than a busier agent is remembered.
    options.org.tempo = 1.0;
    options.origin = ORIGIN + Millis(5 * HOUR);
    let run = clean(&options);
    let holes = run.last.organisation.time[4].0;
    assert!(
        holes > 5 * MINUTE,
        "{holes} ms were unknown at first: {}",
        run.says
    );
    assert_eq!(unknown(&run, &options), 0, "{}", run.says);
}

#[test]
fn sockets_that_fall_and_lose_events_leave_no_unknown_second() {
    // Polls a minute apart: what happens while the socket is down is mostly seen by nobody.
    let mut options = broken(true, 45 * MINUTE, "socket-drop@10m+40s/3m", Vec::new());
    options.settings += "\npoll: { interval: 60s }";
    let run = clean(&options);
    let push = run.last.health.push.as_ref().unwrap();
    let fell = push.reconnects[&ReconnectReason::Broken];
    assert!(fell >= 10, "{fell}: {}", run.says);
    assert!(run.notifications.lost > 20, "{:?}", run.notifications);
    assert_eq!(unknown(&run, &options), 0, "{}", run.says);
}

#[test]
fn an_opened_breaker_leaves_no_unknown_second() {
    for push in [true, false] {
        let options = broken(push, 40 * MINUTE, "partial=40@20m+6m", Vec::new());
        let run = clean(&options);
        assert!(run.opened > 0, "{}", run.says);
        assert_eq!(unknown(&run, &options), 0, "{}", run.says);
    }
}

/// What the platform can do to a channel, one after the other; a channel lives for ten minutes.
#[test]
fn whatever_befalls_channels_is_acted_on_and_costs_no_truth() {
    let faults = "socket-silent@10m+2m,socket-closing=20s@15m+2m,evicted-channels@20m+30s,\
                  rejected-topics=30@24m+10m,evicted-channels@25m+30s,duplicate-events=30@36m+9m,\
                  reordered-events=30@36m+9m";
    let upsets = vec![(34 * MINUTE, Upset::Revoke)];
    let mut options = broken(true, 45 * MINUTE, faults, upsets);
    options.notifications = NotificationOptions {
        channel_lifetime: Millis(10 * MINUTE),
        ..NotificationOptions::default()
    };
    let run = clean(&options);
    let push = run.last.health.push.as_ref().unwrap();
    for reason in [
        ReconnectReason::Silent,
        ReconnectReason::Maintenance,
        ReconnectReason::Closed,
        ReconnectReason::Revoked,
    ] {
        assert!(push.reconnects[&reason] > 0, "{reason:?}: {push:?}");
    }
    assert!(push.rejections.values().sum::<u64>() > 0, "{push:?}");
    assert_eq!(push.agents, 40, "all are pushed again: {push:?}");
    // One at first, one for each eviction and one for the token: no life ran out unrenewed.
    assert!(run.notifications.channels <= 5, "{:?}", run.notifications);
}

#[test]
fn after_call_work_that_is_asked_about_is_exact() {
    let options = Options {
        dated: true,
        ..Options::platform(spec(60, 91), true, 80 * MINUTE)
    };
    let run = clean(&options);
    assert!(
        run.after_call > 60,
        "{} asked: {}",
        run.after_call,
        run.says
    );
    let exact = judged(&run, &options).filter(|row| row.states[3] > 0 && row.estimated == 0);
    let all = judged(&run, &options)
        .filter(|row| row.states[3] > 0)
        .count();
    let exact = exact.count();
    // A call right behind after-call work is dated by nobody.
    assert!(exact * 2 > all, "{exact} of {all}: {}", run.says);
}

#[test]
fn who_may_not_ask_about_after_call_work_keeps_the_estimate() {
    let options = Options {
        faulty: 50 * MINUTE,
        faults: "forbidden:agent-status@0s+1h".to_owned(),
        ..Options::platform(spec(40, 92), true, 8 * MINUTE)
    };
    let run = clean(&options);
    let until = options.calm_from();
    let worked = judged(&run, &options).filter(|row| row.states[3] > 0 && row.end <= until);
    for row in worked {
        assert!(row.estimated > 0, "{row:?}");
    }
    // Those that were out when the first was refused, and nobody for an hour.
    assert!((1..10).contains(&run.after_call), "{}", run.after_call);
}

/// By polls alone, history proves what lay between them, the turn from a missed alert to off
/// queue included.
#[test]
fn polls_and_history_leave_no_unknown_second() {
    let options = Options::platform(spec(60, 93), false, 80 * MINUTE);
    let run = clean(&options);
    assert_eq!(unknown(&run, &options), 0, "{}", run.says);
}
