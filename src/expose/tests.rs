//! Queries of the API, judged without a socket.

use super::api::*;
use super::state::Duty;
use crate::model::state::RoutingState;
use crate::model::time::UnixMillis;
use crate::model::view::{SnapshotOutcome, View};

const NOW: UnixMillis = UnixMillis(1_715_675_400_000);

fn refusal<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.status, hyper::StatusCode::BAD_REQUEST);
    let body: serde_json::Value = serde_json::from_slice(&error.body()).unwrap();
    assert_eq!(body["error"]["code"], "bad_parameter");
    body["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn windows_default_to_the_last_hour() {
    let (org, query) = window_query("", NOW).unwrap();
    assert_eq!(org, None);
    assert_eq!(query.to, NOW);
    assert_eq!(query.from.to_string(), "2024-05-14T07:30:00.000Z");
    assert_eq!((query.limit, query.user, query.cursor), (1_000, None, None));
    let (org, query) = window_query("to=2024-05-14T08:00:00Z&limit=10000&org=a", NOW).unwrap();
    assert_eq!(org.as_deref(), Some("a"));
    assert_eq!(query.from.to_string(), "2024-05-14T07:00:00.000Z");
    assert_eq!(query.limit, 10_000);
}

#[test]
fn an_offset_may_be_escaped_or_not() {
    for query in [
        "from=2024-05-14T09:00:00+02:00",
        "from=2024-05-14T09%3A00%3A00%2B02%3A00",
    ] {
        let from = window_query(query, NOW).unwrap().1.from;
        assert_eq!(from.to_string(), "2024-05-14T07:00:00.000Z");
    }
}

#[test]
fn a_query_that_makes_no_sense_is_refused_by_name() {
    for (query, message) in [
        (
            "from=yesterday",
            "from is not an RFC 3339 timestamp such as 2024-05-14T08:30:00Z",
        ),
        ("limit=0", "limit is not a number from 1 to 10000"),
        ("limit=10001", "limit is not a number from 1 to 10000"),
        ("limit=-1", "limit is not a number from 1 to 10000"),
        ("limit=5&limit=6", "limit is given twice"),
        (
            "userid=x",
            "unknown parameter; known here are from, to, userId, cursor, limit, org",
        ),
        (
            "from=2024-05-14T09:00:00Z&to=2024-05-14T09:00:00Z",
            "from (2024-05-14T09:00:00.000Z) must be before to (2024-05-14T09:00:00.000Z)",
        ),
    ] {
        assert_eq!(refusal(window_query(query, NOW)), message, "{query}");
    }
    let long = format!("cursor={}", "x".repeat(513));
    assert_eq!(refusal(window_query(&long, NOW)), "cursor is too long");
    assert_eq!(
        refusal(AgentQuery::parse("state=happy")),
        "state is none of available, not_ready, on_call, wrap_up, unknown"
    );
}

#[test]
fn a_state_is_named_by_label_or_wire_spelling() {
    for state in RoutingState::ALL {
        for text in [state.label(), state.wire()] {
            let query = AgentQuery::parse(&format!("state={text}")).unwrap();
            assert_eq!(
                query,
                AgentQuery::parse(&format!("state={}", state.label())).unwrap()
            );
        }
    }
}

#[test]
fn path_segments_are_decoded_or_refused() {
    assert_eq!(decode_segment("a%2Fb%C3%A9+").as_deref(), Some("a/bé+"));
    for bad in ["", "a/b", "%", "%2", "%zz", "%ff"] {
        assert_eq!(decode_segment(bad), None, "{bad}");
    }
}

#[test]
fn readiness_says_why_not() {
    let mut view = View::default();
    assert_eq!(
        ready_for(&view, Duty::Polls).unwrap_err(),
        "no snapshot was accepted yet"
    );
    view.health
        .snapshots
        .insert(SnapshotOutcome::RejectedCoverage, 2);
    assert_eq!(
        ready_for(&view, Duty::Polls).unwrap_err(),
        "no snapshot was accepted yet; one was rejected (coverage)"
    );
    view.health.authenticated = Some(false);
    assert_eq!(
        ready_for(&view, Duty::Polls).unwrap_err(),
        "the platform refuses the credentials"
    );
    view.health.accepted_at = Some(NOW);
    assert_eq!(ready_for(&view, Duty::Polls), Ok("ready"));
}
