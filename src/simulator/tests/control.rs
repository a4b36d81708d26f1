//! The simulator's own endpoints.

use std::collections::BTreeSet;

use serde_json::json;

use super::notifications::events;
use super::*;
use crate::model::state::RoutingState;

fn own(client: &mut Client, method: &str, path: &str, body: &str) -> (u16, Value) {
    let answer = client.send(method, path, body, None);
    (answer.status, answer.value())
}

#[test]
fn truth_and_segments_are_told_and_agree() {
    let mut client = Client::new(5);
    client.pass(3_600);
    let span = "from=2024-05-14T09:00:00Z&to=2024-05-14T10:00:00Z";
    let (status, body) = own(&mut client, "GET", &format!("/simulator/truth?{span}"), "");
    assert_eq!(status, 200);
    let agents = body["agents"].as_array().unwrap().clone();
    assert_eq!(agents.len(), 5);
    for agent in agents {
        let sum: i64 = [
            "availableMillis",
            "notReadyMillis",
            "onCallMillis",
            "wrapUpMillis",
        ]
        .iter()
        .map(|field| agent[field].as_i64().unwrap())
        .sum();
        assert_eq!(sum, 3_600_000);
        let id = text(&agent["userId"]);
        let (_, one) = own(
            &mut client,
            "GET",
            &format!("/simulator/truth?{span}&userId={id}"),
            "",
        );
        assert_eq!(one["agents"], json!([agent]));
        let (_, listed) = own(
            &mut client,
            "GET",
            &format!("/simulator/segments?{span}&userId={id}"),
            "",
        );
        let segments = listed["segments"].as_array().unwrap();
        let starts = segments
            .iter()
            .filter(|segment| instant(&segment["enteredAt"]) >= TEST_ORIGIN);
        assert_eq!(agent["starts"], starts.count());
        assert!(segments.last().unwrap()["until"].is_null());
    }
}

#[test]
fn questions_without_an_answer_are_told_why() {
    let mut client = Client::new(1);
    let id = client.ids()[0].clone();
    let span = "from=2024-05-14T08:00:00Z&to=2024-05-14T09:00:00Z";
    for (path, status, message) in [
        ("truth?to=2024-05-14T09:00:00Z".to_owned(), 400, "parameter from is missing: give an RFC 3339 timestamp".to_owned()),
        (
            "truth?from=now&to=2024-05-14T09:00:00Z".to_owned(),
            400,
            "parameter from: \"now\" is not an RFC 3339 timestamp between years 1970 and 9999".to_owned(),
        ),
        (
            "truth?from=2024-05-14T08:00:00Z&to=2024-05-14T09:00:01Z".to_owned(),
            400,
            "parameter to: 2024-05-14T09:00:01.000Z is in the future: it is 2024-05-14T09:00:00.000Z".to_owned(),
        ),
        (
            "truth?from=2024-05-14T09:00:00Z&to=2024-05-14T08:00:00Z".to_owned(),
            400,
            "parameter from: 2024-05-14T09:00:00.000Z is after 2024-05-14T08:00:00.000Z".to_owned(),
        ),
        (format!("truth?{span}&userId=nobody"), 404, "no agent has the id \"nobody\"".to_owned()),
        (format!("segments?{span}"), 400, "parameter userId is missing".to_owned()),
    ] {
        let (got, body) = own(&mut client, "GET", &format!("/simulator/{path}"), "");
        assert_eq!((got, text(&body["error"]["message"])), (status, &*message));
    }
    let past =
        format!("/simulator/truth?from=2020-01-01T00:00:00Z&to=2024-05-14T09:00:00Z&userId={id}");
    let (status, body) = own(&mut client, "GET", &past, "");
    assert_eq!(status, 410);
    assert!(
        text(&body["error"]["message"])
            .starts_with("parameter from: 2020-01-01T00:00:00.000Z is forgotten")
    );
    assert_eq!(own(&mut client, "GET", "/simulator/secrets", "").0, 404);
}

#[test]
fn faults_are_switched_at_run_time_from_now_on() {
    let mut client = Client::new(2);
    client.pass(1_000);
    let (status, body) = own(
        &mut client,
        "PUT",
        "/simulator/faults",
        "http-503@10s+5s,no-history",
    );
    assert_eq!((status, &body["active"]), (200, &json!(["no-history"])));
    assert_eq!(client.get("/api/v2/users").status, 200);
    client.pass(10);
    assert_eq!(client.get("/api/v2/users").status, 503);
    let (_, body) = own(&mut client, "GET", "/simulator/faults", "");
    assert_eq!(body["faults"], "http-503@10s+5s,no-history");
    assert_eq!(body["active"], json!(["http-503", "no-history"]));
    let (status, body) = own(&mut client, "PUT", "/simulator/faults", "slow=x");
    assert_eq!(status, 400);
    assert_eq!(
        body["error"]["message"],
        "fault slow: \"x\" is not a duration like 500ms, 30s or 5m"
    );
    assert_eq!(
        client.get("/api/v2/users").status,
        503,
        "a bad plan changes nothing"
    );
    own(&mut client, "PUT", "/simulator/faults", "none");
    assert_eq!(client.get("/api/v2/users").status, 200);
}

#[test]
fn joiners_and_leavers() {
    let mut client = Client::new(10);
    let gone = client.ids()[3].clone();
    let (status, _) = own(
        &mut client,
        "POST",
        "/simulator/registry",
        &json!({"remove": gone}).to_string(),
    );
    assert_eq!(status, 200);
    assert_eq!(
        client
            .get(&format!("/api/v2/routing/users/{gone}/state"))
            .status,
        404
    );
    assert_eq!(client.json("/api/v2/users")["total"], 9);
    assert_eq!(
        client.json("/api/v2/users?state=deleted")["entities"][0]["id"],
        *gone
    );
    assert_eq!(
        own(
            &mut client,
            "POST",
            "/simulator/registry",
            &json!({"remove": gone}).to_string()
        )
        .0,
        404
    );

    let (status, body) = own(&mut client, "POST", "/simulator/registry", r#"{"add":2}"#);
    assert_eq!(status, 200);
    let new = text(&body["added"][1]).to_owned();
    assert_eq!(client.json("/api/v2/users")["total"], 11);
    assert_eq!(client.routing(&new).len(), 3);
    client.pass(15);
    let listed: Vec<_> = client
        .snapshot()
        .iter()
        .map(|record| text(&record["userId"]).to_owned())
        .collect();
    assert!(listed.contains(&new) && !listed.contains(&gone));
    for body in [r#"{"add":1001}"#, r#"{"add":-1}"#, "{}", r#"{"paint":1}"#] {
        assert_eq!(
            own(&mut client, "POST", "/simulator/registry", body).0,
            400,
            "{body}"
        );
    }
}

#[test]
fn tokens_can_be_revoked_and_statistics_read() {
    let mut client = Client::new(2);
    client.get("/api/v2/users");
    assert_eq!(
        own(&mut client, "DELETE", "/simulator/tokens", ""),
        (200, json!({"revoked": 1}))
    );
    assert_eq!(client.get("/api/v2/users").status, 401);
    let (_, body) = own(&mut client, "GET", "/simulator/statistics", "");
    assert_eq!(body["byCall"], json!({"token": 1, "users": 2}));
    assert_eq!(body["byStatus"], json!({"200": 2, "401": 1}));
    assert_eq!(body["requests"], 3);
    assert_eq!(body["maxIn60s"], 3);
    assert_eq!(body["retryAfterDisregarded"], 0);
}

#[test]
fn a_shift_change_turns_everybody_within_its_time() {
    let mut client = Client::new(30);
    client.pass(3_600);
    let standing = |client: &mut Client| -> Vec<(RoutingState, UnixMillis)> {
        let now = client.now;
        (0..30)
            .map(|position| {
                let entry = client.platform.roster.entry_mut(position);
                let start = entry.timeline.routing_at(now);
                (start.state, start.entered_at)
            })
            .collect()
    };
    let before = standing(&mut client);
    let asked_at = client.now;
    let (status, body) = own(
        &mut client,
        "POST",
        "/simulator/shift-change",
        r#"{"within":"1m"}"#,
    );
    assert_eq!((status, &body["agents"]), (200, &json!(30)));
    assert_eq!(instant(&body["until"]), asked_at + Millis::from_secs(60));
    assert_eq!(standing(&mut client), before, "nobody has turned yet");
    client.pass(60);
    let after = standing(&mut client);
    for ((_, was), (_, is)) in before.iter().zip(&after) {
        assert!(is > was, "everybody is in another state since");
    }
    for body in [
        "",
        r#"{"within":"0s"}"#,
        r#"{"within":"2h"}"#,
        r#"{"in":"1m"}"#,
    ] {
        let (status, answer) = own(&mut client, "POST", "/simulator/shift-change", body);
        assert_eq!(status, 400, "{body}: {answer}");
        let told = text(&answer["error"]["message"]);
        assert!(told.contains("within"), "{body}: {told}");
    }
    assert_eq!(standing(&mut client), after);
}

#[test]
fn who_listens_hears_of_a_shift_change_in_time() {
    let mut client = Client::new(8);
    let (_, socket) = client.listen(&["routingStatus"]);
    client.heard(socket);
    let body = r#"{"within":"30s"}"#;
    let (status, _) = own(&mut client, "POST", "/simulator/shift-change", body);
    assert_eq!(status, 200);
    client.pass(30);
    let told: BTreeSet<String> = events(&client.heard(socket))
        .into_iter()
        .map(|(id, _, _)| id)
        .collect();
    assert_eq!(told, client.ids().into_iter().collect());
}
