//! Properties of the core that its own unit tests do not hold: accounts under any evidence, and
//! instants in whatever form they are written.
//!
//! That order, repetition and batches of records change no row is a property beside the window
//! function (`src/window/tests.rs`) and the store (`src/store/tests.rs`).

use std::sync::Arc;

use genesys_cloud_exporter::model::ids::{QueueId, UserId};
use genesys_cloud_exporter::model::state::{RoutingState, Source};
use genesys_cloud_exporter::model::time::{Millis, UnixMillis};
use genesys_cloud_exporter::model::view::SnapshotOutcome;
use genesys_cloud_exporter::reconciler::accrual::{
    Ledger, StateAccounts, accrue, remember, restate,
};
use genesys_cloud_exporter::reconciler::agent::{Agent, Membership};
use genesys_cloud_exporter::reconciler::evidence::{Evidence, apply};
use genesys_cloud_exporter::simulator::org::OrgSpec;
use genesys_cloud_exporter::upstream::wire::{RoutingEntry, RoutingStates};
use genesys_cloud_exporter::upstream::wire_status;
use proptest::prelude::*;

use crate::audit::Auditor;
use crate::harness::options::{MINUTE, Options};
use crate::harness::world::World;
use crate::runs::terms;

const TOLERANCE: Millis = Millis::from_secs(37);

/// What may happen to one agent, in this many seconds after the last thing.
#[derive(Debug, Clone)]
struct Step {
    after: i64,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    /// An answer with so many entries, told so late, by somebody, who may be wrong about states.
    Answer {
        entries: Vec<(i64, usize)>,
        source: usize,
    },
    /// A snapshot confirms whatever is held.
    Confirm,
    /// Its queues change.
    Move { queue: usize },
}

fn arb_step() -> impl Strategy<Value = Step> {
    let answer = (
        proptest::collection::btree_map(0..400_i64, 0..5_usize, 0..4),
        0..5_usize,
    );
    let what = prop_oneof![
        5 => answer.prop_map(|(entries, source)| What::Answer {
            entries: entries.into_iter().collect(),
            source,
        }),
        3 => Just(What::Confirm),
        1 => (0..3_usize).prop_map(|queue| What::Move { queue }),
    ];
    (0..90_i64, what).prop_map(|(after, what)| Step { after, what })
}

fn at(seconds: i64) -> UnixMillis {
    UnixMillis(1_700_000_000_000 + seconds * 1_000)
}

/// Posted and debt by state.
fn shown(accounts: &StateAccounts) -> Vec<(i64, i64)> {
    let pair = |account: &_| {
        let genesys_cloud_exporter::reconciler::accrual::Account { posted, debt } = *account;
        (posted.0, debt.0)
    };
    accounts.iter().map(pair).collect()
}

proptest! {
    /// Whatever is told, in whatever order, and however often it is taken back: no counter
    /// falls, no debt is negative, and posted less debt is the time accrued, to the millisecond.
    #[test]
    fn accounts_never_fall_and_conserve_time(steps in proptest::collection::vec(arb_step(), 1..40)) {
        let queues: Vec<QueueId> = ["a", "b", "c"].map(QueueId::new).into();
        let mut ledger = Ledger::default();
        for queue in &queues {
            ledger.queues.insert(queue.clone(), StateAccounts::default());
        }
        let mut agent = Agent::new(Membership {
            from: UnixMillis(0),
            queues: Arc::from([queues[0].clone()]),
        });
        let begun = at(0);
        agent.counted_from = Some(begun);
        let mut now = 0;
        for step in steps {
            now += step.after;
            let before = shown(&ledger.organisation);
            let queues_before: Vec<_> = ledger.queues.values().map(shown).collect();
            match step.what {
                What::Answer { entries, source } => {
                    let answer = RoutingStates {
                        entries: entries
                            .iter()
                            .filter(|(start, _)| *start <= now + 100)
                            .map(|&(start, state)| RoutingEntry {
                                state: RoutingState::ALL[state],
                                raw_state: None,
                                wrapup_code: None,
                                entered_at: at(start - 100),
                                estimated: false,
                            })
                            .collect(),
                        refused: Vec::new(),
                    };
                    let evidence = Evidence {
                        source: Source::ALL[source],
                        confirms: at(now),
                        latest: at(now),
                        ingested_at: at(now),
                        tolerance: TOLERANCE,
                    };
                    let accrued = remember(&agent, TOLERANCE);
                    apply(&mut agent, &answer, &evidence);
                    if let Some(accrued) = accrued {
                        restate(&mut ledger, &agent, &accrued, TOLERANCE);
                    }
                    agent.prune();
                }
                What::Confirm if agent.joined() => {
                    agent.confirmed_until = agent.confirmed_until.max(Some(at(now)));
                }
                What::Confirm => {}
                What::Move { queue } => {
                    agent.move_to(Arc::from([queues[queue].clone()]), at(now));
                }
            }
            accrue(&mut ledger, &mut agent, TOLERANCE);
            let after = shown(&ledger.organisation);
            for (before, after) in before.iter().zip(&after) {
                prop_assert!(after.0 >= before.0 && after.1 >= 0, "{before:?}, then {after:?}");
            }
            for (before, after) in queues_before.iter().zip(ledger.queues.values().map(shown)) {
                for (before, after) in before.iter().zip(&after) {
                    prop_assert!(after.0 >= before.0 && after.1 >= 0);
                }
            }
            let accrued = agent.accrued_until.map_or(0, |until| (until - begun).0);
            let truth = |shown: &[(i64, i64)]| shown.iter().map(|(p, d)| p - d).sum::<i64>();
            prop_assert_eq!(truth(&after), accrued);
            // One queue at a time, so queues together hold the same.
            let in_queues: i64 = ledger.queues.values().map(|q| truth(&shown(q))).sum();
            prop_assert_eq!(in_queues, accrued);
        }
    }

    /// Any offset, with or without a fraction, at the hours at which clocks change: one instant.
    #[test]
    fn an_instant_is_the_same_in_every_form(
        night in proptest::sample::select(vec![
            "2024-03-31T01:00:00Z", // Europe springs forward
            "2024-10-27T01:00:00Z", // and falls back
            "2024-03-10T07:00:00Z", // New York
            "2024-11-03T06:00:00Z",
            "2024-10-05T15:30:00Z", // Lord Howe, half an hour
            "2018-11-04T03:00:00Z", // São Paulo, at midnight
            "2024-02-29T00:00:00Z", // a leap day
            "2016-12-31T23:59:59Z", // a leap second
        ]),
        around in -7_200_000_i64..7_200_000,
        offset in -18_i64 * 60..=18 * 60,
        digits in 0_usize..=9,
    ) {
        let night = chrono::DateTime::parse_from_rfc3339(night).unwrap().timestamp_millis();
        let unit = if digits < 3 { 1_000 } else { 1 };
        let millis = (night + around) / unit * unit;
        let zone = chrono::FixedOffset::east_opt(offset as i32 * 60).unwrap();
        let local = chrono::DateTime::from_timestamp_millis(millis).unwrap().with_timezone(&zone);
        let whole = local.format("%Y-%m-%dT%H:%M:%S");
        let fraction = if digits == 0 {
            String::new()
        } else {
            let nanos = format!("{:09}", millis.rem_euclid(1_000) * 1_000_000);
            format!(".{}", &nanos[..digits])
        };
        let zone = local.format("%:z");
        let text = format!("{whole}{fraction}{zone}");
        let body = serde_json::json!({
            "userId": "u",
            "routingStates": [{"interactionState": "OnCall", "stateEnteredTimestamp": text}],
        });
        let read = wire_status::routing_states(body.to_string().as_bytes(), &UserId::new("u"));
        let read = read.unwrap();
        prop_assert_eq!(read.refused.len(), 0, "{}", text);
        prop_assert_eq!(read.entries[0].entered_at, UnixMillis(millis), "{}", text);
        let body = serde_json::json!([{
            "userId": "u", "presence": "Available", "availability": "OnCall", "lastModified": text,
        }]);
        let read = wire_status::statuses(body.to_string().as_bytes()).unwrap();
        prop_assert_eq!(read.records[0].last_modified, UnixMillis(millis), "{}", text);
        // And so is its window, whatever the local day's length.
        prop_assert_eq!(UnixMillis(millis).floor(Millis(300_000)).0 % 300_000, 0);
    }
}

/// What became of snapshots that hold this part of so many agents, end to end.
fn outcomes(agents: u32, percent: u32) -> (u64, u64) {
    let org = OrgSpec::new(agents, 2, 9);
    let mut options = Options::calm(org, 3 * MINUTE);
    options.faulty = 3 * MINUTE;
    options.calm = 0;
    options.faults = format!("partial={percent}");
    let mut auditor = Auditor::new(terms(&options));
    World::new(&options, &mut auditor).run();
    let view = auditor.views.last().unwrap();
    auditor.complaints.assert_none("coverage");
    let count = |outcome| view.health.snapshots[&outcome];
    (
        count(SnapshotOutcome::Accepted),
        count(SnapshotOutcome::RejectedCoverage),
    )
}

/// 90 % is enough and less is not; of ten agents, 89 % is nine, which is 90 %.
#[test]
fn coverage_at_the_edge_end_to_end() {
    for (agents, percent, accepted) in [
        (10, 0, false),
        (10, 50, false),
        (10, 80, false),
        (10, 89, true),
        (10, 90, true),
        (10, 91, true),
        (100, 0, false),
        (100, 50, false),
        (100, 89, false),
        (100, 90, true),
        (100, 91, true),
    ] {
        let (believed, rejected) = outcomes(agents, percent);
        assert_eq!(
            believed > 3,
            accepted,
            "{percent} % of {agents}: {believed}"
        );
        assert_eq!(
            rejected > 2,
            !accepted,
            "{percent} % of {agents}: {rejected}"
        );
        assert!(believed == 0 || rejected == 0, "{percent} % of {agents}");
    }
}
