//! History and the state of this moment: `users/details/query` and `agents/{id}/status`.

use serde_json::json;

use super::platform_api::lively;
use super::*;
use crate::model::state::RoutingState;

const DETAILS: &str = "/api/v2/analytics/users/details/query";

impl Client {
    fn details(&mut self, query: &Value) -> SimResponse {
        let request = SimRequest::json("POST", DETAILS, &self.token, query);
        self.platform.handle(&request, self.now)
    }
}

fn of_user(id: &str, from: UnixMillis, to: UnixMillis) -> Value {
    json!({
        "interval": format!("{from}/{to}"),
        "userFilters": [{"type": "or", "predicates": [{"dimension": "userId", "value": id}]}],
    })
}

#[test]
fn history_is_the_truth_in_the_platforms_words() {
    let mut client = Client::of(lively(30));
    client.pass(3_600);
    let (from, to) = (
        client.now - Millis::from_secs(1_800),
        client.now - Millis::from_secs(600),
    );
    for id in client.ids() {
        let answer = client.details(&of_user(&id, from, to)).value();
        assert_eq!(answer["totalHits"], 1);
        let records = answer["userDetails"][0]["routingStatus"]
            .as_array()
            .unwrap()
            .clone();
        assert!(instant(&records[0]["startTime"]) <= from);
        for pair in records.windows(2) {
            assert_eq!(pair[0]["endTime"], pair[1]["startTime"]);
            assert_ne!(pair[0]["routingStatus"], pair[1]["routingStatus"]);
        }
        // Every instant of the interval: the record that holds it agrees with the truth.
        for offset in (0..(to - from).0).step_by(7_919) {
            let at = from + Millis(offset);
            let (state, _) = client.platform.state_at(&id, at).unwrap();
            let record = records
                .iter()
                .rfind(|record| instant(&record["startTime"]) <= at)
                .unwrap();
            let fits: &[&str] = match state {
                RoutingState::Available => &["IDLE"],
                RoutingState::NotReady => &["OFF_QUEUE", "NOT_RESPONDING"],
                _ => &["INTERACTING", "COMMUNICATING"],
            };
            assert!(
                fits.contains(&text(&record["routingStatus"])),
                "{state:?} {record}"
            );
        }
        let presences = answer["userDetails"][0]["primaryPresence"]
            .as_array()
            .unwrap();
        for pair in presences.windows(2) {
            assert_eq!(pair[0]["endTime"], pair[1]["startTime"]);
        }
        // What ended after the interval has its end all the same.
        let last = records.last().unwrap();
        let live = client.json(&format!("/api/v2/users/{id}/routingstatus"));
        let open = live["startTime"] == last["startTime"];
        assert_eq!(last.get("endTime").is_none(), open, "{last} {live}");
    }
}

#[test]
fn what_runs_now_has_no_end() {
    let mut client = Client::of(lively(20));
    client.pass(1_000);
    for id in client.ids() {
        let query = of_user(
            &id,
            client.now - Millis::from_secs(60),
            client.now + Millis::from_secs(60),
        );
        let answer = client.details(&query).value();
        let status = client.json(&format!("/api/v2/users/{id}/routingstatus"));
        let last = answer["userDetails"][0]["routingStatus"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .clone();
        assert_eq!(
            last,
            json!({"startTime": status["startTime"], "routingStatus": status["status"]})
        );
        let presence = client.json(&format!("/api/v2/users/{id}/presences/purecloud"));
        let shown = &answer["userDetails"][0]["primaryPresence"];
        let last = shown.as_array().unwrap().last().unwrap();
        assert_eq!(last["startTime"], presence["modifiedDate"]);
        assert_eq!(
            last["organizationPresenceId"],
            presence["presenceDefinition"]["id"]
        );
        assert!(last.get("endTime").is_none());
    }
}

#[test]
fn history_comes_in_pages_of_users() {
    let mut client = Client::of(lively(60));
    client.pass(600);
    let interval = format!("{}/{}", client.now - Millis::from_secs(300), client.now);
    let mut ids = Vec::new();
    for number in 1..=3 {
        let query = json!({"interval": interval, "paging": {"pageSize": 25, "pageNumber": number}});
        let answer = client.details(&query).value();
        assert_eq!(answer["totalHits"], 60);
        let rows = answer["userDetails"].as_array().unwrap().clone();
        ids.extend(rows.iter().map(|row| text(&row["userId"]).to_owned()));
    }
    assert_eq!(ids, client.ids());
    let past =
        client.details(&json!({"interval": interval, "paging": {"pageSize": 25, "pageNumber": 4}}));
    assert!(past.value().get("userDetails").is_none());
    let idle = json!({"interval": interval, "routingStatusFilters": [
        {"type": "or", "predicates": [{"dimension": "routingStatus", "value": "IDLE"}]}]});
    let answer = client.details(&idle).value();
    for row in answer["userDetails"].as_array().unwrap() {
        for record in row["routingStatus"].as_array().unwrap() {
            assert_eq!(record["routingStatus"], "IDLE");
        }
    }
}

#[test]
fn queries_that_cannot_be_are_refused_with_the_reason() {
    let mut client = Client::of(lively(3));
    let week = "2024-05-01T00:00:00Z/2024-05-09T00:00:00Z";
    for (query, message) in [
        (
            json!({"interval": "today"}),
            "interval \"today\" is not of the form from/to",
        ),
        (
            json!({"interval": week}),
            "interval \"2024-05-01T00:00:00Z/2024-05-09T00:00:00Z\" is longer than 7 days",
        ),
        (
            json!({"interval": "2024-05-01T00:00:00Z/2024-05-02T00:00:00Z", "paging": {"pageSize": 101}}),
            "paging is out of range: pageSize 101 (1 to 100), pageNumber 1 (from 1)",
        ),
        (
            json!({"interval": "2024-05-01T00:00:00Z/2024-05-02T00:00:00Z",
                "userFilters": [{"type": "or", "predicates": [{"dimension": "queueId", "value": "q"}]}]}),
            "dimension \"queueId\" is not one of [\"userId\"]",
        ),
    ] {
        let answer = client.details(&query);
        assert_eq!(
            (answer.status, text(&answer.value()["message"])),
            (400, message)
        );
    }
    let month = of_user(
        "nobody",
        TEST_ORIGIN - Millis::from_secs(30 * 86_400),
        TEST_ORIGIN,
    );
    assert_eq!(client.details(&month).status, 200, "with a filter, a month");
}

#[test]
fn history_can_lag() {
    let mut client = Client::of(lively(10));
    client.pass(600);
    client.set_faults("stale-details=5m");
    let id = client.ids()[0].clone();
    let known = client.now - Millis::from_secs(300);
    let answer = client
        .details(&of_user(&id, known - Millis::from_secs(60), client.now))
        .value();
    let records = answer["userDetails"][0]["routingStatus"]
        .as_array()
        .unwrap();
    assert!(
        records
            .iter()
            .all(|record| instant(&record["startTime"]) <= known)
    );
    assert!(records.last().unwrap().get("endTime").is_none());
}

#[test]
fn only_the_status_of_an_agent_tells_when_after_call_work_began() {
    let mut client = Client::of(lively(60));
    let (mut wrapped, mut talked) = (0, 0);
    for _ in 0..40 {
        client.pass(10);
        for id in client.ids() {
            let (state, since) = client.platform.state_at(&id, client.now).unwrap();
            let row = client.json(&format!("/api/v2/analytics/agents/{id}/status"));
            assert_eq!(
                row["sessionCount"],
                row["sessions"].as_array().unwrap().len()
            );
            let session = &row["sessions"][0];
            match state {
                RoutingState::WrapUp => {
                    wrapped += 1;
                    assert_eq!(session["segmentType"], "wrapup");
                    assert_eq!(instant(&session["segmentStart"]), since);
                    assert!(instant(&session["sessionStart"]) < since);
                    assert!(instant(&row["routingStatusDate"]) < since);
                }
                RoutingState::OnCall => {
                    talked += 1;
                    assert_eq!(session["segmentType"], "interact");
                    assert_eq!(instant(&session["segmentStart"]), since);
                }
                _ => assert_eq!(row["sessionCount"], 0),
            }
        }
    }
    assert!(wrapped > 50 && talked > 50, "{wrapped} {talked}");
}
