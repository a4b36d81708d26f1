//! Histories as the platform writes them, and what is made of them.

use super::*;
use crate::model::ids::UserId;
use crate::model::platform_status::PlatformStatus;
use crate::model::time::UnixMillis;

fn at(text: &str) -> UnixMillis {
    UnixMillis::parse(text).unwrap()
}

fn past(status: PlatformStatus, from: &str, until: Option<&str>) -> PastStatus {
    PastStatus {
        status,
        raw: None,
        from: at(from),
        until: until.map(at),
    }
}

#[test]
fn a_history_is_read_in_order_and_what_runs_has_no_end() {
    let body = br#"{"userDetails":[{"userId":"u-1",
        "primaryPresence":[{"startTime":"2026-05-04T07:59:00.100Z","systemPresence":"AVAILABLE","organizationPresenceId":"6a3a"}],
        "routingStatus":[
          {"startTime":"2026-05-04T08:10:00.000Z","routingStatus":"INTERACTING"},
          {"startTime":"2026-05-04T08:00:03.500Z","endTime":"2026-05-04T08:10:00Z","routingStatus":"IDLE"}]},
        {"userId":"u-2","primaryPresence":[]}],"totalHits":1}"#;
    let page = user_details(body).unwrap();
    assert_eq!((page.rows, page.refused.len()), (2, 0));
    assert_eq!(page.users[0].user, UserId::new("u-1"));
    assert_eq!(
        page.users[0].statuses,
        [
            past(
                PlatformStatus::Idle,
                "2026-05-04T08:00:03.500Z",
                Some("2026-05-04T08:10:00.000Z")
            ),
            past(
                PlatformStatus::Interacting,
                "2026-05-04T08:10:00.000Z",
                None
            ),
        ]
    );
    assert!(page.users[1].statuses.is_empty());
}

#[test]
fn a_status_that_is_stored_twice_is_one_with_the_later_end() {
    let body = br#"{"userDetails":[{"userId":"u-1","routingStatus":[
        {"startTime":"2026-05-04T23:00:00Z","routingStatus":"IDLE"},
        {"startTime":"2026-05-04T23:00:00Z","endTime":"2026-05-05T00:00:00Z","routingStatus":"IDLE"},
        {"startTime":"2026-05-04T22:00:00Z","endTime":"2026-05-04T22:30:00Z","routingStatus":"OFF_QUEUE"},
        {"startTime":"2026-05-04T22:00:00Z","endTime":"2026-05-04T23:00:00Z","routingStatus":"OFF_QUEUE"}]}]}"#;
    assert_eq!(
        user_details(body).unwrap().users[0].statuses,
        [
            past(
                PlatformStatus::OffQueue,
                "2026-05-04T22:00:00Z",
                Some("2026-05-04T23:00:00Z")
            ),
            past(PlatformStatus::Idle, "2026-05-04T23:00:00Z", None),
        ]
    );
}

#[test]
fn a_user_with_an_unreadable_status_is_refused_whole_and_alone() {
    let body = br#"{"userDetails":[
        {"userId":"u-1","routingStatus":[{"startTime":"yesterday","routingStatus":"IDLE"}]},
        {"userId":"u-2","routingStatus":[{"startTime":"2026-05-04T08:00:00Z","endTime":"2026-05-04T07:00:00Z","routingStatus":"IDLE"}]},
        {"userId":"","routingStatus":[]},
        {"userId":"u-3","routingStatus":[{"startTime":"2026-05-04T08:00:00Z","routingStatus":"LEVITATING"}]}]}"#;
    let page = user_details(body).unwrap();
    assert_eq!(
        page.refused,
        [
            RefusalReason::Time,
            RefusalReason::Time,
            RefusalReason::EmptyId
        ]
    );
    assert_eq!(page.rows, 4);
    let [only] = page.users.as_slice() else {
        panic!("{page:?}");
    };
    assert_eq!(only.statuses[0].status, PlatformStatus::Other);
    assert_eq!(only.statuses[0].raw.as_deref(), Some("LEVITATING"));
}

#[test]
fn past_the_last_page_there_is_no_list() {
    assert_eq!(
        user_details(br#"{"totalHits":250}"#).unwrap(),
        DetailsPage::default()
    );
    assert!(matches!(user_details(b"[]"), Err(WireError::Shape { .. })));
}
