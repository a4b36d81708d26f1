//! What a platform in good order answers.

use std::collections::BTreeSet;

use super::*;

#[test]
fn the_snapshot_is_the_state_at_the_last_refresh() {
    let mut client = Client::of(SimulatorOptions {
        org: OrgSpec {
            tempo: 20.0,
            ..OrgSpec::new(60, 6, 42)
        },
        ..options(0)
    });
    let ids = client.ids();
    let first = client.snapshot();
    assert_eq!(first.len(), 60);
    // The phase of the cache is not known outside: find the refresh by its first change.
    let mut changes = Vec::new();
    let mut last = first;
    for _ in 0..60 {
        client.pass(1);
        let next = client.snapshot();
        if next != last {
            changes.push(client.now);
            for (record, id) in next.iter().zip(&ids) {
                // The refresh lies within the last second.
                let (from, to) = (client.now - Millis(1_000), client.now + Millis(1));
                let possible = client.platform.segments(id, from, to).unwrap();
                let mut states = possible.iter().map(|segment| segment.state.wire());
                assert!(states.any(|state| text(&record["availability"]) == state));
                assert!(instant(&record["lastModified"]) >= possible[0].entered_at);
                assert!(instant(&record["lastModified"]) <= client.now);
            }
            last = next;
        }
    }
    assert_eq!(changes.len(), 4, "{changes:?}");
    assert!(
        changes
            .windows(2)
            .all(|pair| pair[1] - pair[0] == Millis::from_secs(15)),
        "{changes:?}"
    );
}

#[test]
fn the_snapshot_lags_while_the_routing_state_is_live() {
    let mut client = Client::of(SimulatorOptions {
        org: OrgSpec {
            tempo: 20.0,
            ..OrgSpec::new(40, 6, 42)
        },
        requests_per_minute: 100_000,
        ..options(0)
    });
    let ids = client.ids();
    let mut behind = 0;
    for _ in 0..40 {
        client.pass(1);
        for (record, id) in client.snapshot().iter().zip(&ids) {
            let live = client.routing(id);
            let (state, since) = client.platform.state_at(id, client.now).unwrap();
            assert_eq!(text(&live[0]["interactionState"]), state.wire());
            assert_eq!(instant(&live[0]["stateEnteredTimestamp"]), since);
            behind += usize::from(record["availability"] != live[0]["interactionState"]);
        }
    }
    assert!(behind > 20, "{behind} of 1600 records lagged");
}

#[test]
fn routing_states_are_consecutive_and_as_many_as_configured() {
    for history in [1, 3, 10, 99] {
        let mut client = Client::of(SimulatorOptions {
            history,
            ..options(4)
        });
        let id = client.ids()[0].clone();
        let states = client.routing(&id);
        assert_eq!(states.len(), history.min(10));
        let oldest = instant(&states.last().unwrap()["stateEnteredTimestamp"]);
        let now = client.now;
        let truth = client
            .platform
            .segments(&id, oldest, now + Millis(1))
            .unwrap();
        let told: Vec<_> = states
            .iter()
            .rev()
            .map(|state| instant(&state["stateEnteredTimestamp"]))
            .collect();
        assert_eq!(
            told,
            truth
                .iter()
                .map(|segment| segment.entered_at)
                .collect::<Vec<_>>()
        );
        for (state, segment) in states.iter().rev().zip(&truth) {
            assert_eq!(state["wrapState"].as_str(), segment.wrapup_code);
        }
    }
}

#[test]
fn a_snapshot_in_pages_has_every_agent_once() {
    let mut client = Client::of(SimulatorOptions {
        statuses_page: Some(7),
        ..options(30)
    });
    let mut seen = BTreeSet::new();
    for number in 1..=5 {
        let body = client.json(&format!("/api/v2/users/statuses?pageNumber={number}"));
        assert_eq!(body["total"], 30);
        assert_eq!(body["pageCount"], 5);
        assert_eq!(body["nextUri"].is_string(), number < 5);
        for record in body["entities"].as_array().unwrap() {
            assert!(seen.insert(text(&record["userId"]).to_owned()));
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), sorted(client.ids()));
}

#[test]
fn the_registry_is_complete_over_its_pages() {
    let mut client = Client::new(1_234);
    let mut seen = BTreeSet::new();
    for number in 1..=3 {
        let body = client.json(&format!(
            "/api/v2/users?state=active&pageSize=500&pageNumber={number}"
        ));
        assert_eq!(body["total"], 1_234);
        assert_eq!(body["pageCount"], 3);
        let next = format!(
            "/api/v2/users?state=active&pageSize=500&pageNumber={}",
            number + 1
        );
        assert_eq!(body["nextUri"].as_str(), (number < 3).then_some(&*next));
        for user in body["entities"].as_array().unwrap() {
            assert_eq!(user["state"], "active");
            assert!(seen.insert(text(&user["id"]).to_owned()));
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), sorted(client.ids()));
    assert_eq!(
        client.json("/api/v2/users?pageNumber=999")["entities"],
        serde_json::json!([])
    );
    assert_eq!(client.json("/api/v2/users")["pageSize"], 25);
}

#[test]
fn queues_and_their_members_are_complete_over_their_pages() {
    let mut client = Client::new(400);
    let queues = client.json("/api/v2/routing/queues?pageSize=500&pageNumber=1");
    assert_eq!(queues["total"], 6);
    let mut joined = 0;
    for queue in queues["entities"].as_array().unwrap() {
        assert!(!text(&queue["name"]).is_empty());
        let mut members = BTreeSet::new();
        for number in 1.. {
            let path = format!(
                "/api/v2/routing/queues/{}/members?pageSize=100&pageNumber={number}",
                text(&queue["id"])
            );
            let body = client.json(&path);
            assert!(
                body.get("total").is_none()
                    && body.get("pageCount").is_none()
                    && body.get("lastUri").is_none()
            );
            for member in body["entities"].as_array().unwrap() {
                joined += usize::from(member["joined"] == true);
                assert!(members.insert(text(&member["id"]).to_owned()));
            }
            if body.get("nextUri").is_none() {
                break;
            }
        }
        assert_eq!(queue["memberCount"], members.len());
    }
    let roster = client.platform.roster();
    let truth: usize = (0..400)
        .map(|position| roster.queue_ids(position).len())
        .sum();
    assert_eq!(joined, truth);
}

#[test]
fn pages_that_cannot_be_are_refused() {
    let mut client = Client::new(3);
    let queue = client.platform.roster().queues()[0].id.clone();
    let members = format!("/api/v2/routing/queues/{queue}/members?pageSize=101");
    for (path, message) in [
        (
            "/api/v2/users?pageSize=501",
            "pageSize 501 is too large: at most 500",
        ),
        (
            "/api/v2/users?pageNumber=0",
            "pageNumber \"0\" is not a positive number",
        ),
        (&members, "pageSize 101 is too large: at most 100"),
    ] {
        let answer = client.get(path);
        assert_eq!(
            (answer.status, text(&answer.value()["message"])),
            (400, message)
        );
        assert_eq!(
            text(&answer.value()["contextId"]),
            answer.header("inin-correlation-id").unwrap()
        );
    }
}

#[test]
fn what_does_not_exist_is_not_found() {
    let mut client = Client::new(3);
    for path in [
        "/api/v2/users/nobody",
        "/api/v2/routing/users/nobody/state",
        "/api/v2/routing/queues/none/members",
        "/api/v2/users/presence/x",
        "/",
    ] {
        let answer = client.get(path);
        assert_eq!(
            (answer.status, text(&answer.value()["code"])),
            (404, "not.found"),
            "{path}"
        );
    }
    let token = format!("Bearer {}", client.token);
    assert_eq!(
        client
            .send("DELETE", "/api/v2/users", "", Some(&token))
            .status,
        405
    );
}

#[test]
fn the_same_seed_gives_the_same_bytes_however_time_passes() {
    let (mut patient, mut busy) = (Client::new(50), Client::new(50));
    for _ in 0..100 {
        busy.pass(36);
        busy.snapshot();
    }
    patient.pass(3_600);
    assert_eq!(patient.snapshot(), busy.snapshot());
    let id = patient.ids()[7].clone();
    assert_eq!(patient.routing(&id), busy.routing(&id));
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}
