//! Golden answers, tolerances and limits.

use super::*;
use crate::model::ids::UserId;
use crate::model::platform_status::PlatformStatus;
use crate::model::state::RoutingState;
use crate::model::time::UnixMillis;
use crate::upstream::wire::{PlatformFact, RefusalReason, StatusRecord};
use crate::upstream::wire_status::WireError;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/upstream/",
            $name
        ))
    };
}

fn at(text: &str) -> UnixMillis {
    UnixMillis::parse(text).unwrap()
}

/// One user with a routing status and a summary, as the platform writes them.
fn one(routing: &str, summary: &str) -> Result<AgentAnswer, WireError> {
    let body = format!(
        "{{\"id\":\"u-1\",\"state\":\"active\",\"presence\":{{\"presenceDefinition\":\
         {{\"systemPresence\":\"On Queue\"}},\"modifiedDate\":\"2026-05-04T08:00:03.441Z\"}}\
         {routing}{summary}}}"
    );
    user(body.as_bytes(), &UserId::new("u-1"))
}

fn told(routing: &str, summary: &str) -> StatusRecord {
    match one(routing, summary).unwrap() {
        AgentAnswer::Told(record) => record,
        AgentAnswer::Incomplete(_) => panic!("incomplete: {routing} {summary}"),
    }
}

const INTERACTING: &str =
    r#","routingStatus":{"status":"INTERACTING","startTime":"2026-05-04T09:15:22.118Z"}"#;

fn summary(active: &str, after_call: &str) -> String {
    format!(
        ",\"conversationSummary\":{{\"userId\":\"u-1\",\"email\":{{\"contactCenter\":\
         {{\"active\":{active},\"acw\":{after_call}}},\"enterprise\":{{\"active\":5,\"acw\":5}}}}}}"
    )
}

#[test]
fn a_page_of_the_scan_is_read_and_what_is_missing_is_not_offline() {
    let page = users(fixture!("platform_users.json")).unwrap();
    let read: Vec<_> = page
        .records
        .iter()
        .map(|record| {
            let fact = record.platform.as_ref().unwrap();
            (
                record.user_id.as_str(),
                record.availability,
                fact.status,
                record.presence.label(),
            )
        })
        .collect();
    assert_eq!(
        read,
        [
            (
                "agent-0001",
                RoutingState::WrapUp,
                PlatformStatus::Interacting,
                "on_queue"
            ),
            (
                "agent-0002",
                RoutingState::Available,
                PlatformStatus::Idle,
                "on_queue"
            ),
            (
                "agent-0003",
                RoutingState::NotReady,
                PlatformStatus::OffQueue,
                "available"
            ),
            (
                "agent-0004",
                RoutingState::NotReady,
                PlatformStatus::NotResponding,
                "on_queue"
            ),
            (
                "agent-0005",
                RoutingState::OnCall,
                PlatformStatus::Communicating,
                "busy"
            ),
            (
                "agent-0006",
                RoutingState::Unknown,
                PlatformStatus::Other,
                "other"
            ),
        ]
    );
    let paging = page.paging.unwrap();
    assert_eq!(
        (paging.rows, paging.total, paging.has_next),
        (12, Some(1_012), true)
    );
}

#[test]
fn a_record_keeps_what_the_platform_dates_and_what_nobody_knows() {
    let page = users(fixture!("platform_users.json")).unwrap();
    let first = &page.records[0];
    assert_eq!(first.last_modified, at("2026-05-04T09:15:22.118Z"));
    assert_eq!(
        first.platform,
        Some(Box::new(PlatformFact {
            status: PlatformStatus::Interacting,
            raw_status: None,
            since: Some(at("2026-05-04T09:15:22.118Z")),
            presence_since: at("2026-05-04T08:00:03.441Z"),
            unoccupied: false,
        }))
    );
    let unknown = page.records[5].platform.as_ref().unwrap();
    assert_eq!(unknown.raw_status.as_deref(), Some("LEVITATING"));
    let incomplete: Vec<_> = page.incomplete.iter().map(UserId::as_str).collect();
    assert_eq!(incomplete, ["agent-0007", "agent-0008", "agent-0009"]);
    assert_eq!(page.refused, [RefusalReason::EmptyId, RefusalReason::Time]);
}

#[test]
fn an_interaction_is_a_call_or_its_after_call_work_and_other_work_decides_nothing() {
    for (active, after_call, state, unoccupied) in [
        ("1", "0", RoutingState::OnCall, false),
        ("1", "1", RoutingState::OnCall, false),
        ("0", "1", RoutingState::WrapUp, false),
        ("0", "0", RoutingState::OnCall, true),
        ("null", "2", RoutingState::WrapUp, false),
    ] {
        let record = told(INTERACTING, &summary(active, after_call));
        assert_eq!(record.availability, state, "{active} {after_call}");
        assert_eq!(record.platform.unwrap().unoccupied, unoccupied);
    }
    for summary in [
        String::new(),
        summary("\"1\"", "0"),
        ",\"conversationSummary\":7".to_owned(),
    ] {
        let answer = one(INTERACTING, &summary).unwrap();
        assert_eq!(
            answer,
            AgentAnswer::Incomplete(UserId::new("u-1")),
            "{summary}"
        );
    }
}

#[test]
fn a_status_without_a_start_is_a_status_all_the_same() {
    let record = told(r#","routingStatus":{"status":"OFF_QUEUE"}"#, "");
    assert_eq!(record.availability, RoutingState::NotReady);
    assert_eq!(record.platform.as_ref().unwrap().since, None);
    assert_eq!(record.last_modified, at("2026-05-04T08:00:03.441Z"));
}

#[test]
fn an_answer_about_somebody_else_is_refused() {
    let other = user(br#"{"id":"u-2"}"#, &UserId::new("u-1"));
    assert_eq!(other, Err(WireError::OtherUser));
    let unreadable = one(
        r#","routingStatus":{"status":7,"startTime":"yesterday"}"#,
        "",
    );
    assert!(
        matches!(unreadable, Err(WireError::Missing { .. })),
        "{unreadable:?}"
    );
    assert_eq!(user(b"", &UserId::new("u-1")), Err(WireError::Empty));
}

#[test]
fn a_page_has_a_limit() {
    let row = r#"{"id":"u"},"#.repeat(USERS_MAX);
    let body = format!("{{\"entities\":[{row}{{\"id\":\"u\"}}]}}");
    assert!(matches!(
        users(body.as_bytes()),
        Err(WireError::TooMany { .. })
    ));
    assert!(matches!(users(b"[]"), Err(WireError::Shape { .. })));
    assert_eq!(users(b"<html>"), Err(WireError::Html));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_parsers_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let _ = users(&body);
        let _ = user(&body, &UserId::new("u-1"));
    }

    #[test]
    fn no_cut_makes_the_parsers_panic(cut in 0..3_000_usize) {
        let whole = fixture!("platform_users.json");
        let page = users(&whole[..cut.min(whole.len() - 3)]);
        proptest::prop_assert!(page.is_err());
    }
}
