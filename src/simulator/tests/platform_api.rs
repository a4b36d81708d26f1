//! The public platform's REST shapes: the same organisation, told in its words.

use std::collections::BTreeSet;

use super::super::dialect::Dialect;
use super::*;
use crate::model::state::RoutingState;

const EXPANDED: &str =
    "/api/v2/users?state=active&pageSize=500&expand=presence,routingStatus,conversationSummary";

/// A lively organisation, with an allowance that no test runs out of.
pub(super) fn lively(agents: u32) -> SimulatorOptions {
    SimulatorOptions {
        org: OrgSpec {
            tempo: 20.0,
            volatile_share: 0.1,
            ..OrgSpec::new(agents, 6, 42)
        },
        requests_per_minute: 1_000_000,
        ..options(0)
    }
}

/// The sum of a count over all media and both sides.
fn open(summary: &Value, count: &str) -> u64 {
    let media = summary.as_object().unwrap().values();
    media
        .filter(|medium| medium.is_object())
        .flat_map(|medium| {
            [
                &medium["contactCenter"][count],
                &medium["enterprise"][count],
            ]
        })
        .map(|count| count.as_u64().unwrap())
        .sum()
}

/// Routing state by platform-api.md §10.
pub(super) fn mapped(user: &Value) -> RoutingState {
    let summary = &user["conversationSummary"];
    match text(&user["routingStatus"]["status"]) {
        "IDLE" => RoutingState::Available,
        "OFF_QUEUE" | "NOT_RESPONDING" => RoutingState::NotReady,
        "INTERACTING" if open(summary, "active") == 0 && open(summary, "acw") > 0 => {
            RoutingState::WrapUp
        }
        "INTERACTING" | "COMMUNICATING" => RoutingState::OnCall,
        other => panic!("no status: {other:?}"),
    }
}

#[test]
fn the_listing_tells_the_truth_in_the_platforms_words() {
    let mut client = Client::of(lively(120));
    let mut seen = BTreeSet::new();
    let (mut moved, mut turned) = (0, 0);
    for _ in 0..120 {
        client.pass(5);
        let listing = client.json(EXPANDED);
        assert_eq!(listing["total"], 120);
        for user in listing["entities"].as_array().unwrap() {
            let id = text(&user["id"]);
            let (state, since) = client.platform.state_at(id, client.now).unwrap();
            assert_eq!(mapped(user), state, "{user}");
            let status = &user["routingStatus"];
            seen.insert((text(&status["status"]).to_owned(), state));
            let told = instant(&status["startTime"]);
            // After-call work, and a call that follows it, move no start time.
            if told == since {
                continue;
            }
            // And who missed an alert and goes off queue moves it within one stay out of work.
            if told > since {
                assert_eq!(text(&status["status"]), "OFF_QUEUE", "{user}");
                assert!(told >= since + Millis::from_secs(20), "{user}");
                turned += 1;
                continue;
            }
            assert_eq!(text(&status["status"]), "INTERACTING", "{user}");
            moved += 1;
        }
    }
    assert!(moved > 100 && turned > 10, "{moved}, {turned}");
    let seen: Vec<_> = seen
        .iter()
        .map(|(status, state)| (&**status, *state))
        .collect();
    assert_eq!(
        seen,
        [
            ("COMMUNICATING", RoutingState::OnCall),
            ("IDLE", RoutingState::Available),
            ("INTERACTING", RoutingState::OnCall),
            ("INTERACTING", RoutingState::WrapUp),
            ("NOT_RESPONDING", RoutingState::NotReady),
            ("OFF_QUEUE", RoutingState::NotReady),
        ]
    );
}

#[test]
fn on_queue_is_what_whoever_takes_interactions_shows() {
    let mut client = Client::of(lively(120));
    let (mut on_queue, mut together, mut definitions) = (0, 0, BTreeSet::new());
    for _ in 0..60 {
        client.pass(10);
        let listing = client.json(EXPANDED);
        for user in listing["entities"].as_array().unwrap() {
            let presence = &user["presence"]["presenceDefinition"];
            let shown = text(&presence["systemPresence"]);
            definitions.insert((shown.to_owned(), text(&presence["id"]).to_owned()));
            let status = text(&user["routingStatus"]["status"]);
            assert!(instant(&user["presence"]["modifiedDate"]) <= client.now);
            assert!(!(shown == "On Queue" && status == "OFF_QUEUE"), "{user}");
            on_queue += usize::from(shown == "On Queue");
            together += usize::from(
                shown == "On Queue" && matches!(status, "IDLE" | "INTERACTING" | "NOT_RESPONDING"),
            );
        }
    }
    assert!(
        on_queue > 500 && together == on_queue,
        "{together} of {on_queue}"
    );
    let known = client.json("/api/v2/presence/definitions");
    let known: BTreeSet<_> = known["entities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                text(&row["systemPresence"]).to_owned(),
                text(&row["id"]).to_owned(),
            )
        })
        .collect();
    for (shown, id) in &definitions {
        assert!(
            known.contains(&(shown.replace(' ', ""), id.clone())),
            "{shown} {id}"
        );
    }
    let meals = definitions
        .iter()
        .filter(|(shown, _)| shown == "Meal")
        .count();
    assert_eq!(
        meals, 2,
        "the built-in definition and one of the organisation"
    );
}

#[test]
fn one_user_is_told_as_the_listing_tells_it() {
    let mut client = Client::of(lively(40));
    client.pass(1_000);
    let listing = client.json(&format!("{EXPANDED},outOfOffice"));
    for user in listing["entities"].as_array().unwrap() {
        let id = text(&user["id"]);
        let path = format!(
            "/api/v2/users/{id}?expand=presence%2CroutingStatus&expand=conversationSummary,outOfOffice"
        );
        assert_eq!(client.json(&path), *user);
        let status = client.json(&format!("/api/v2/users/{id}/routingstatus"));
        assert_eq!(status, user["routingStatus"]);
        let presence = client.json(&format!("/api/v2/users/{id}/presences/purecloud"));
        assert_eq!(presence, user["presence"]);
        let bulk = client.json(&format!(
            "/api/v2/users/presences/purecloud/bulk?id={id}%2Cnobody"
        ));
        assert_eq!(bulk.as_array().unwrap().len(), 1);
        assert_eq!(bulk[0]["userId"], *id);
        assert_eq!(
            bulk[0]["presenceDefinition"],
            user["presence"]["presenceDefinition"]
        );
        assert_eq!(user["outOfOffice"]["active"], false);
        let queues = client.json(&format!("/api/v2/users/{id}/queues?pageSize=100"));
        let position = client.platform.roster().find(id).unwrap();
        let names: Vec<_> = client.platform.roster().queue_names(position);
        let mut told: Vec<_> = queues["entities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|q| text(&q["name"]))
            .collect();
        told.sort_unstable();
        assert_eq!(told, names);
    }
    let bare = client.json("/api/v2/users");
    for field in [
        "presence",
        "routingStatus",
        "conversationSummary",
        "outOfOffice",
    ] {
        assert!(bare["entities"][0].get(field).is_none(), "{field}");
    }
    assert_eq!(
        client.json("/api/v2/users/nobody/routingstatus")["status"],
        "OFF_QUEUE",
        "the platform knows no unknown user here"
    );
    assert_eq!(
        client
            .get("/api/v2/users/nobody/presences/purecloud")
            .status,
        404
    );
    assert_eq!(
        client.json("/api/v2/conversations")["entities"],
        serde_json::json!([])
    );
    assert_eq!(
        client
            .json("/api/v2/systempresences")
            .as_array()
            .unwrap()
            .len(),
        10
    );
}

#[test]
fn users_can_be_asked_for_by_id_and_not_by_too_many() {
    let mut client = Client::of(lively(150));
    let ids = client.ids();
    let some = client.json(&format!(
        "/api/v2/users?id={}&id={},nobody&pageSize=100",
        ids[3], ids[90]
    ));
    let told: Vec<_> = some["entities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| text(&u["id"]))
        .collect();
    assert_eq!(told, [&ids[3], &ids[90]]);
    let many = client.get(&format!("/api/v2/users?id={}", ids[..101].join(",")));
    assert_eq!(
        (many.status, text(&many.value()["code"])),
        (400, "max.user.ids")
    );
    let many = client.get(&format!(
        "/api/v2/users/presences/purecloud/bulk?id={}",
        ids[..51].join(",")
    ));
    assert_eq!(many.status, 400);
}

#[test]
fn members_carry_their_routing_status() {
    let mut client = Client::of(lively(60));
    client.pass(500);
    let queue = client.platform.roster().queues()[2].id.clone();
    let members = client.json(&format!(
        "/api/v2/routing/queues/{queue}/members?pageSize=100"
    ));
    for member in members["entities"].as_array().unwrap() {
        let id = text(&member["id"]);
        let status = client.json(&format!("/api/v2/users/{id}/routingstatus"));
        assert_eq!(member["routingStatus"], status);
    }
}

#[test]
fn a_dialect_that_is_not_spoken_is_not_found() {
    let of = |dialect| {
        Client::of(SimulatorOptions {
            dialect,
            ..options(3)
        })
    };
    let platform = of(Dialect::Platform);
    let id = platform.ids()[0].clone();
    let statuses = "/api/v2/users/statuses";
    let status = format!("/api/v2/users/{id}/routingstatus");
    let state = format!("/api/v2/routing/users/{id}/state");
    for (dialect, found) in [
        (Dialect::Platform, [404, 404, 200]),
        (Dialect::Status, [200, 200, 404]),
        (Dialect::Both, [200, 200, 200]),
    ] {
        let mut client = of(dialect);
        let given = [statuses, &*state, &*status].map(|path| client.get(path).status);
        assert_eq!(given, found, "{dialect:?}");
        let user = client.json("/api/v2/users?expand=routingStatus,conversationSummary");
        let user = &user["entities"][0];
        assert_eq!(user.get("routingStatus").is_some(), found[2] == 200);
        assert!(user.get("conversationSummary").is_some());
    }
}

#[test]
fn expands_can_be_missing_and_pages_can_shift() {
    let mut client = Client::of(lively(200));
    client.set_faults("expand-missing=30");
    let listing = client.json(EXPANDED);
    for field in ["presence", "routingStatus", "conversationSummary"] {
        let users = listing["entities"].as_array().unwrap().iter();
        let missing = users.filter(|user| user.get(field).is_none()).count();
        assert!((30..90).contains(&missing), "{field}: {missing} of 200");
    }
    client.set_faults("shifting-pages");
    let (mut total, mut distinct) = (0, BTreeSet::new());
    for number in 1..=8 {
        let page = client.json(&format!("/api/v2/users?pageSize=25&pageNumber={number}"));
        for user in page["entities"].as_array().unwrap() {
            total += 1;
            distinct.insert(text(&user["id"]).to_owned());
        }
    }
    assert_eq!(total, 200);
    assert!((160..200).contains(&distinct.len()), "{}", distinct.len());
}

#[test]
fn faults_of_the_snapshot_are_faults_of_the_listing() {
    let mut client = Client::of(lively(100));
    client.pass(300);
    client.set_faults("partial=80");
    assert_eq!(client.json(EXPANDED)["total"], 80);
    assert_eq!(
        client.json("/api/v2/users")["total"],
        100,
        "the registry is whole"
    );
    client.set_faults("stale-cache");
    let then = client.json(EXPANDED);
    client.pass(60);
    assert_eq!(client.json(EXPANDED), then);
    client.set_faults("stuck-on-call=5");
    client.pass(300);
    let nobody = |user: &&Value| {
        user["routingStatus"]["status"] == "INTERACTING"
            && open(&user["conversationSummary"], "active")
                + open(&user["conversationSummary"], "acw")
                == 0
    };
    let listing = client.json(EXPANDED);
    assert_eq!(
        listing["entities"]
            .as_array()
            .unwrap()
            .iter()
            .filter(nobody)
            .count(),
        5
    );
    client.set_faults("unknown-state=10,malformed=10");
    let listing = client.json(EXPANDED);
    let users = listing["entities"].as_array().unwrap().iter();
    let unknown = users
        .filter(|user| user["routingStatus"]["status"] == "LEVITATING")
        .count();
    assert!((2..25).contains(&unknown), "{unknown}");
    let sound = |user: &Value| {
        user["routingStatus"]["startTime"]
            .as_str()
            .is_some_and(|at| at != "yesterday")
    };
    let users = listing["entities"].as_array().unwrap().iter();
    assert!(users.filter(|user| !sound(user)).count() > 0);
}
