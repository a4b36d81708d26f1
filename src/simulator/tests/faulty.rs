//! Every fault, by its effect on the wire.

use std::collections::{BTreeMap, BTreeSet};

use super::super::exchange::Delivery;
use super::super::faults::KINDS;
use super::*;
use crate::model::state::RoutingState;

/// A lively organisation and a budget that is not the subject.
fn lively(agents: u32) -> SimulatorOptions {
    SimulatorOptions {
        org: OrgSpec {
            tempo: 20.0,
            ..OrgSpec::new(agents, 6, 42)
        },
        requests_per_minute: 1_000_000,
        ..options(0)
    }
}

fn by_user(records: &[Value]) -> BTreeMap<String, Value> {
    records
        .iter()
        .map(|record| (text(&record["userId"]).to_owned(), record.clone()))
        .collect()
}

#[test]
fn no_fault_is_without_a_test() {
    let tests = [
        include_str!("faulty.rs"),
        include_str!("platform_api.rs"),
        include_str!("history.rs"),
        include_str!("mishaps.rs"),
    ]
    .concat();
    for row in KINDS {
        let plans = [
            format!("\"{}\"", row.name),
            format!("\"{}=", row.name),
            format!("\"{}:", row.name),
            format!("\"{}@", row.name),
        ];
        assert!(
            plans.iter().any(|plan| tests.contains(plan)),
            "{}",
            row.name
        );
    }
}

#[test]
fn partial_cuts_the_snapshot_and_rounds_up() {
    for (agents, percent, left) in [
        (100, 89, 89),
        (100, 90, 90),
        (55, 90, 50),
        (10, 0, 0),
        (10, 100, 10),
    ] {
        let mut client = Client::with_faults(agents, &format!("partial={percent}"));
        assert_eq!(client.snapshot().len(), left);
        assert_eq!(client.json("/api/v2/users")["total"], agents);
    }
}

#[test]
fn a_stale_cache_stands_still_and_catches_up() {
    let mut client = Client::of(lively(40));
    client.set_faults("stale-cache");
    let before = client.snapshot();
    client.pass(300);
    assert_eq!(client.snapshot(), before);
    client.set_faults("none");
    assert_ne!(client.snapshot(), before);
}

#[test]
fn divergence_holds_some_records_while_routing_moves_on() {
    let mut client = Client::of(lively(100));
    client.set_faults("divergence=30");
    let before = by_user(&client.snapshot());
    client.pass(600);
    let after = by_user(&client.snapshot());
    let held: Vec<_> = before
        .iter()
        .filter(|(id, record)| after[*id] == **record)
        .collect();
    let moved = held
        .iter()
        .filter(|(id, record)| {
            // Routing has moved since, and the record does not say so.
            let (_, since) = client.platform.state_at(id, client.now).unwrap();
            since > instant(&record["lastModified"]) && since > TEST_ORIGIN
        })
        .count();
    assert!((20..70).contains(&held.len()), "{} held", held.len());
    assert!(moved > 5, "{moved} diverge");
    client.set_faults("divergence=100");
    let before = client.snapshot();
    client.pass(600);
    assert_eq!(client.snapshot(), before);
}

#[test]
fn the_stuck_stay_on_call_everywhere_without_interactions() {
    let mut client = Client::of(lively(100));
    client.set_faults("stuck-on-call=3");
    let before = client.snapshot();
    client.pass(1_200);
    let now = client.now;
    let mut stuck = Vec::new();
    for record in client.snapshot() {
        let id = text(&record["userId"]).to_owned();
        let (state, _) = client.platform.state_at(&id, now).unwrap();
        let states = client.routing(&id);
        let entered = instant(&states[0]["stateEnteredTimestamp"]);
        if entered <= TEST_ORIGIN && text(&states[0]["interactionState"]) == "OnCall" {
            assert_eq!(record["availability"], "OnCall");
            let body = client.json(&format!("/api/v2/users/{id}?expand=conversationSummary"));
            assert_eq!(
                body["conversationSummary"]["call"]["contactCenter"]["active"],
                0
            );
            stuck.push(id);
        } else {
            assert_eq!(text(&states[0]["interactionState"]), state.wire());
        }
    }
    assert_eq!(stuck.len(), 3);
    let before = by_user(&before);
    assert!(
        stuck
            .iter()
            .all(|id| before[id]["availability"] == "OnCall"),
        "they were on call when it began"
    );
    client.set_faults("none");
    let freed = client.routing(&stuck[0]);
    assert!(instant(&freed[0]["stateEnteredTimestamp"]) > TEST_ORIGIN);
}

#[test]
fn the_stuck_in_cache_are_right_when_asked_directly() {
    let mut client = Client::of(lively(100));
    client.set_faults("stuck-in-cache=5");
    client.pass(1_200);
    let now = client.now;
    let mut wrong = 0;
    for record in client.snapshot() {
        let id = text(&record["userId"]).to_owned();
        let (state, since) = client.platform.state_at(&id, now).unwrap();
        let states = client.routing(&id);
        assert_eq!(text(&states[0]["interactionState"]), state.wire());
        assert_eq!(instant(&states[0]["stateEnteredTimestamp"]), since);
        let lags = now - since < Millis::from_secs(15);
        wrong += usize::from(!lags && text(&record["availability"]) != state.wire());
    }
    assert!((2..=5).contains(&wrong), "{wrong}");
}

#[test]
fn duplicates_come_twice() {
    let mut client = Client::new(20);
    let once = client.snapshot();
    client.set_faults("duplicates");
    let twice = client.snapshot();
    assert_eq!(twice.len(), 24);
    assert_eq!(twice[0], twice[1]);
    let mut deduplicated = twice;
    deduplicated.dedup();
    assert_eq!(deduplicated, once);
}

#[test]
fn out_of_order_brings_the_older_after_the_newer() {
    let mut client = Client::new(20);
    let id = client.ids()[2].clone();
    let falling = client.routing(&id);
    let newest = by_user(&client.snapshot());
    client.set_faults("out-of-order");
    let mut rising = client.routing(&id);
    rising.reverse();
    assert_eq!(rising, falling);
    let records = client.snapshot();
    assert_eq!(records.len(), 24);
    let mut seen = BTreeSet::new();
    for record in records {
        let id = text(&record["userId"]);
        if seen.insert(id.to_owned()) {
            assert_eq!(record, newest[id]);
        } else {
            assert!(instant(&record["lastModified"]) < instant(&newest[id]["lastModified"]));
        }
    }
}

#[test]
fn malformed_spoils_single_records() {
    let mut client = Client::new(200);
    let good = by_user(&client.snapshot());
    client.set_faults("malformed=20");
    let records = client.snapshot();
    assert_eq!(records.len(), 200);
    let bad: Vec<_> = records
        .iter()
        .filter(|record| good.get(text(&record["userId"])) != Some(record))
        .collect();
    assert!((20..60).contains(&bad.len()), "{}", bad.len());
    assert!(bad.iter().any(|record| record.is_string()));
    assert!(bad.iter().any(|record| record["userId"] == ""));
    assert!(
        bad.iter()
            .any(|record| record["lastModified"] == "yesterday")
    );
    client.set_faults("malformed=100");
    let id = client.ids()[0].clone();
    let states = client.routing(&id);
    assert_eq!(states.last().unwrap()["stateEnteredTimestamp"], "yesterday");
}

#[test]
fn unknown_state_is_one_that_nobody_knows() {
    let mut client = Client::with_faults(100, "unknown-state=25");
    let mut unknown = 0;
    for record in client.snapshot() {
        let states = client.routing(text(&record["userId"]));
        let strange =
            RoutingState::from_wire(text(&record["availability"])) == RoutingState::Unknown;
        assert_eq!(
            strange,
            RoutingState::from_wire(text(&states[0]["interactionState"])) == RoutingState::Unknown
        );
        assert_ne!(
            RoutingState::from_wire(text(&states[1]["interactionState"])),
            RoutingState::Unknown
        );
        unknown += usize::from(strange);
    }
    assert!((12..40).contains(&unknown), "{unknown}");
}

#[test]
fn no_history_leaves_one_entry() {
    let mut client = Client::with_faults(1, "no-history");
    let id = client.ids()[0].clone();
    assert_eq!(client.routing(&id).len(), 1);
}

#[test]
fn the_registry_shrinks_to_the_percentage() {
    let mut client = Client::with_faults(100, "registry-shrink=40");
    let body = client.json("/api/v2/users?pageSize=500");
    assert_eq!(body["total"], 40);
    assert_eq!(body["entities"].as_array().unwrap().len(), 40);
    assert_eq!(client.snapshot().len(), 100);
}

#[test]
fn clock_skew_moves_all_that_the_platform_says() {
    let mut straight = Client::of(lively(30));
    let mut skewed = Client::of(lively(30));
    skewed.set_faults("clock-skew=+10m");
    straight.pass(600);
    assert_eq!(skewed.snapshot(), straight.snapshot());
    let id = straight.ids()[0].clone();
    assert_eq!(skewed.routing(&id), straight.routing(&id));
    assert_eq!(
        skewed.get("/api/v2/users").header("date"),
        straight.get("/api/v2/users").header("date")
    );
    // Tokens and rates run by our clock: a step of the platform's costs neither.
    skewed.set_faults("clock-skew=-24h");
    assert_eq!(
        skewed.get("/api/v2/users").header("inin-ratelimit-count"),
        Some("4")
    );
    for record in skewed.snapshot() {
        assert!(instant(&record["lastModified"]) <= skewed.now - Millis::from_secs(86_400));
    }
}

#[test]
fn errors_of_the_server_strike_as_often_as_asked() {
    for (plan, status) in [
        ("http-500", 500),
        ("http-502", 502),
        ("http-503", 503),
        ("http-504", 504),
    ] {
        let mut client = Client::with_faults(2, plan);
        let answer = client.get("/api/v2/users");
        assert_eq!(answer.status, status);
        assert_eq!(answer.value()["status"], status);
        client.log_in();
        let mut client = Client::of(lively(2));
        client.set_faults(&format!("{plan}=30"));
        let failed = (0..200)
            .filter(|_| client.get("/api/v2/users").status == status)
            .count();
        assert!((40..80).contains(&failed), "{failed} of 200");
    }
    let mut client = Client::with_faults(2, "http-503:token");
    assert_eq!(client.get("/api/v2/users").status, 200);
    assert_eq!(client.login("demo", "demo").status, 503);
}

#[test]
fn throttle_asks_for_silence_whatever_the_rate() {
    let mut client = Client::with_faults(2, "throttle=5s");
    let answer = client.get("/api/v2/users");
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (429, Some("5"))
    );
    client.pass(4);
    client.get("/api/v2/users");
    assert_eq!(client.platform.statistics().retry_after_disregarded, 1);
    client.pass(5);
    client.get("/api/v2/users");
    assert_eq!(client.platform.statistics().retry_after_disregarded, 1);
}

#[test]
fn doors_close() {
    let mut client = Client::with_faults(2, "unauthorised");
    assert_eq!(client.get("/api/v2/users").status, 401);
    assert_eq!(client.login("demo", "demo").status, 200);
    client.set_faults("forbidden");
    let answer = client.get("/api/v2/users/statuses");
    assert_eq!(
        (answer.status, text(&answer.value()["code"])),
        (403, "missing.permissions")
    );
    assert!(text(&answer.value()["message"]).ends_with("permission(s): UserStatus:Read"));
    client.set_faults("login-refused");
    assert_eq!(
        client.get("/api/v2/users").status,
        200,
        "the token is still good"
    );
    let answer = client.login("demo", "demo");
    assert_eq!(
        (answer.status, text(&answer.value()["error"])),
        (400, "invalid_client")
    );
}

#[test]
fn bodies_are_replaced() {
    let mut client = Client::with_faults(2, "html");
    let answer = client.get("/api/v2/users/statuses");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    assert!(answer.body.starts_with(b"<!DOCTYPE html>"));

    client.set_faults("empty");
    assert_eq!(&client.get("/api/v2/users/statuses").body[..], b"[]");
    assert_eq!(
        client.json("/api/v2/users")["entities"],
        serde_json::json!([])
    );
    let id = client.ids()[0].clone();
    assert_eq!(client.routing(&id), Vec::<Value>::new());

    client.set_faults("empty-body");
    let answer = client.get("/api/v2/users/statuses");
    assert_eq!((answer.status, answer.body.len()), (200, 0));

    client.set_faults("none");
    let plain = client.json("/api/v2/users/statuses");
    client.set_faults("huge-body=1");
    let answer = client.get("/api/v2/users/statuses");
    assert_eq!(answer.body.len(), 1_048_576);
    assert_eq!(answer.value(), plain, "huge, but valid");
}

#[test]
fn answers_travel_badly() {
    for (plan, delivery) in [
        ("slow=3s", Delivery::Delayed(Millis::from_secs(3))),
        ("slow-body", Delivery::SlowBody),
        ("cut-body", Delivery::CutBody),
    ] {
        let mut client = Client::with_faults(2, plan);
        assert_eq!(client.get("/api/v2/users").delivery, delivery);
        assert_eq!(client.login("demo", "demo").delivery, Delivery::Normal);
        client.set_faults("none");
        assert_eq!(client.get("/api/v2/users").delivery, Delivery::Normal);
    }
}

#[test]
fn faults_repeat_themselves_from_the_same_seed() {
    let run = || {
        let mut client = Client::of(lively(50));
        client.set_faults("http-500=20,malformed=20,unknown-state=10,divergence=10,stuck-on-call=2,duplicates@1m+1m/3m");
        let mut answers = Vec::new();
        for _ in 0..60 {
            client.pass(10);
            answers.push(client.get("/api/v2/users/statuses"));
        }
        answers
    };
    assert_eq!(run(), run());
}
