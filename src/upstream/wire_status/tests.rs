//! Golden answers, tolerances and limits; what no bytes can do to the parsers is in `properties`.

use std::fmt::Write as _;
use std::sync::Arc;

use super::login::GrantRefusal;
use super::*;
use crate::model::ids::{QueueId, UserId};
use crate::model::state::{Presence, RAW_TEXT_MAX, RoutingState};
use crate::model::time::{Millis, UnixMillis};
use crate::upstream::wire::{Paging, RefusalReason, RoutingEntry, StatusRecord};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/upstream/",
            $name
        ))
    };
}

mod again;
mod properties;

fn at(text: &str) -> UnixMillis {
    UnixMillis::parse(text).unwrap()
}

fn status(user: &str, presence: &str, availability: RoutingState, modified: &str) -> StatusRecord {
    StatusRecord {
        user_id: UserId::new(user),
        presence: Presence::parse(presence),
        availability,
        last_modified: at(modified),
        platform: None,
    }
}

fn entry(state: RoutingState, entered_at: &str) -> RoutingEntry {
    RoutingEntry {
        state,
        raw_state: None,
        wrapup_code: None,
        entered_at: at(entered_at),
        estimated: false,
    }
}

fn agent() -> UserId {
    UserId::new("agent-0001")
}

#[test]
fn a_bare_array_is_the_whole_snapshot() {
    let page = statuses(fixture!("statuses.json")).unwrap();
    let expected = [
        status(
            "agent-0001",
            "Available",
            RoutingState::NotReady,
            "2024-05-14T08:30:00.000Z",
        ),
        status(
            "agent-0002",
            "On Queue",
            RoutingState::OnCall,
            "2024-05-14T08:29:58.000Z",
        ),
        status(
            "agent-0003",
            "On Queue",
            RoutingState::WrapUp,
            "2024-05-14T08:29:57.250Z",
        ),
        status(
            "agent-0004",
            "Gone Fishing",
            RoutingState::Unknown,
            "2024-05-14T08:30:00.000Z",
        ),
    ];
    assert_eq!(page.records, expected);
    assert_eq!((page.refused.len(), page.paging), (0, None));
}

#[test]
fn an_object_with_entities_is_a_page() {
    let page = statuses(fixture!("statuses_paged.json")).unwrap();
    assert_eq!(page.records.len(), 2, "duplicates stay in");
    let paging = Paging {
        total: Some(5),
        page_count: Some(3),
        has_next: true,
        rows: 2,
    };
    assert_eq!(page.paging, Some(paging));
}

#[test]
fn a_bad_record_is_refused_alone_and_by_reason() {
    use RefusalReason::{EmptyId, Shape, Time};
    let page = statuses(fixture!("statuses_bad_records.json")).unwrap();
    let ids: Vec<_> = page.records.iter().map(|r| r.user_id.as_str()).collect();
    assert_eq!(ids, ["agent-0001", "agent-0009"]);
    assert_eq!(
        page.refused,
        [
            EmptyId, EmptyId, Shape, Shape, Time, Shape, Shape, Shape, Shape, Shape
        ]
    );
}

#[test]
fn ids_that_cannot_be_a_key_or_a_path_segment_are_refused() {
    for id in [
        "a\\u0000b".to_owned(),
        "..".to_owned(),
        "x".repeat(ID_LENGTH_MAX + 1),
    ] {
        let body = format!(r#"{{"entities":[{{"id":"{id}"}},{{"id":"agent-0001"}}]}}"#);
        let page = users(body.as_bytes()).unwrap();
        assert_eq!((page.users.len(), page.paging.rows), (1, 2), "{id}");
    }
    let longest = "x".repeat(ID_LENGTH_MAX);
    let body = format!(r#"{{"entities":[{{"id":"{longest}"}}]}}"#);
    assert_eq!(
        users(body.as_bytes()).unwrap().users,
        [UserId::new(&longest)]
    );
}

#[test]
fn of_duplicate_keys_the_last_counts() {
    let body = br#"{"entities":[{"id":"a"}],"total":1,"entities":[{"id":"b","id":"c"}],"total":2}"#;
    let page = users(body).unwrap();
    assert_eq!(page.users, [UserId::new("c")]);
    assert_eq!((page.paging.total, page.paging.rows), (Some(2), 1));
}

#[test]
fn a_byte_order_mark_and_escaped_keys_are_read() {
    let mut body = b"\xEF\xBB\xBF \r\n".to_vec();
    body.extend_from_slice(
        br#"[{"user\u0049d":"agent-0001","presence":"Aw\u0061y","availability":"on_call",
            "lastModified":"2024-05-14T08:30:00Z"}]"#,
    );
    let expected = status(
        "agent-0001",
        "Away",
        RoutingState::OnCall,
        "2024-05-14T08:30:00Z",
    );
    assert_eq!(statuses(&body).unwrap().records, [expected]);
}

#[test]
fn whole_documents_fail_by_kind_and_place() {
    assert_eq!(statuses(b" \n "), Err(WireError::Empty));
    assert_eq!(statuses(fixture!("maintenance.html")), Err(WireError::Html));
    assert_eq!(
        statuses(b"[\n{\"userId\": nope}]"),
        Err(WireError::NotJson {
            line: 2,
            column: 13
        })
    );
    assert_eq!(
        statuses(b"[] []"),
        Err(WireError::NotJson { line: 1, column: 4 })
    );
    assert!(matches!(
        statuses(b"[{\"userId\":\"agent-0001\""),
        Err(WireError::Truncated { line: 1, .. })
    ));
    for body in [&b"null"[..], b"7", b"\"text\"", b"{\"entities\":7}"] {
        assert!(
            matches!(statuses(body), Err(WireError::Shape { .. })),
            "{body:?}"
        );
    }
    for body in [&b"{}"[..], b"{\"entities\":null}"] {
        assert_eq!(
            statuses(body),
            Err(WireError::Missing { field: "entities" })
        );
    }
    assert!(matches!(users(b"[]"), Err(WireError::Shape { .. })));
    assert!(statuses(b"[]").unwrap().records.is_empty());
}

#[test]
fn errors_do_not_quote_the_answer() {
    let error = statuses(b"{\"entities\":\"agent-0001 is at lunch\"}").unwrap_err();
    assert!(!error.to_string().contains("lunch"), "{error}");
}

#[test]
fn nesting_of_any_depth_is_skipped_or_refused_without_a_stack() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let record = |extra: &str| {
        format!(
            r#"[{{"userId":"agent-0001","presence":"Away","availability":"OnCall","customPresence":{extra},
                "lastModified":"2024-05-14T08:30:00Z"}}]"#
        )
    };
    let skipped = statuses(record(&deep(100_000)).as_bytes()).unwrap();
    assert_eq!(skipped.records.len(), 1);
    assert_eq!(
        statuses(deep(100_000).as_bytes()).unwrap().refused,
        [RefusalReason::Shape]
    );
}

#[test]
fn pages_over_the_limit_are_errors() {
    let rows = |count: usize| {
        let row = r#"{"id":"agent-0001"}"#;
        format!(
            r#"{{"entities":[{row}{}]}}"#,
            format!(",{row}").repeat(count - 1)
        )
    };
    let full = users(rows(LISTING_ROWS_MAX).as_bytes()).unwrap();
    assert_eq!(full.users.len(), LISTING_ROWS_MAX);
    assert_eq!(
        users(rows(LISTING_ROWS_MAX + 1).as_bytes()),
        Err(WireError::TooMany {
            what: "users",
            limit: LISTING_ROWS_MAX
        })
    );
    let states = format!(
        r#"{{"routingStates":[7{}]}}"#,
        ",7".repeat(ROUTING_ENTRIES_MAX)
    );
    assert!(matches!(
        routing_states(states.as_bytes(), &agent()),
        Err(WireError::TooMany { .. })
    ));
}

#[test]
fn routing_states_are_ascending() {
    let read = routing_states(fixture!("routing_state.json"), &agent()).unwrap();
    let expected = [
        entry(RoutingState::Available, "2024-05-14T08:01:02.412Z"),
        entry(RoutingState::OnCall, "2024-05-14T08:06:20.000Z"),
    ];
    assert_eq!(read.entries, expected);
    assert!(read.refused.is_empty());
}

#[test]
fn odd_routing_states_are_merged_kept_or_refused() {
    let read = routing_states(fixture!("routing_state_odd.json"), &agent()).unwrap();
    let mut wrap_up = entry(RoutingState::WrapUp, "2024-05-14T08:10:00.000Z");
    wrap_up.wrapup_code = Some(Arc::from("code-7"));
    let mut unknown = entry(RoutingState::Unknown, "2024-05-14T08:20:00.000Z");
    unknown.raw_state = Some(Arc::from("Levitating"));
    let expected = [
        entry(RoutingState::Available, "2024-05-14T08:01:00.000Z"),
        // Available and not ready at one instant: doubt is never availability.
        entry(RoutingState::NotReady, "2024-05-14T08:05:00.000Z"),
        wrap_up,
        unknown,
    ];
    assert_eq!(read.entries, expected);
    assert_eq!(read.refused, [RefusalReason::Shape, RefusalReason::Time]);
}

#[test]
fn an_unknown_state_is_kept_but_bounded() {
    let body = format!(
        r#"{{"routingStates":[{{"interactionState":"{}","stateEnteredTimestamp":1715675400000}}]}}"#,
        "é".repeat(10_000)
    );
    let read = routing_states(body.as_bytes(), &agent()).unwrap();
    let raw = read.entries[0].raw_state.as_deref().unwrap();
    assert_eq!(raw.chars().count(), RAW_TEXT_MAX);
    assert_eq!(read.entries[0].entered_at, at("2024-05-14T08:30:00Z"));
}

#[test]
fn a_routing_answer_is_about_the_user_that_was_asked_for() {
    let other = UserId::new("agent-0002");
    assert_eq!(
        routing_states(fixture!("routing_state.json"), &other),
        Err(WireError::OtherUser)
    );
    assert_eq!(
        routing_states(br#"{"userId":7,"routingStates":[]}"#, &other),
        Err(WireError::OtherUser)
    );
    for empty in [
        &br#"{"routingStates":[]}"#[..],
        br#"{"routingStates":null}"#,
    ] {
        assert!(routing_states(empty, &other).unwrap().entries.is_empty());
    }
    assert_eq!(
        routing_states(br#"{"userId":"agent-0002"}"#, &other),
        Err(WireError::Missing {
            field: "routingStates"
        })
    );
}

#[test]
fn listings_keep_what_counts() {
    let page = users(fixture!("users.json")).unwrap();
    assert_eq!(
        page.users,
        [UserId::new("agent-0001"), UserId::new("agent-0003")]
    );
    let paging = Paging {
        total: Some(504),
        page_count: Some(2),
        has_next: false,
        rows: 4,
    };
    assert_eq!(page.paging, paging);

    let page = queues(fixture!("queues.json")).unwrap();
    let names: Vec<_> = page
        .queues
        .iter()
        .map(|(id, name)| (id.clone(), name.as_ref()))
        .collect();
    assert_eq!(
        names,
        [
            (QueueId::new("q-1"), "Sales_US"),
            (QueueId::new("q-2"), "Line\none \"quoted\" \u{202e}"),
            (QueueId::new("q-3"), "q-3"),
        ]
    );

    let page = members(fixture!("queue_members.json")).unwrap();
    assert_eq!(
        page.members,
        [UserId::new("agent-0001"), UserId::new("agent-0003")]
    );
    assert_eq!(page.paging.total, None);
    assert!(page.paging.has_next);
    assert_eq!(page.paging.rows, 3);
}

#[test]
fn paging_fields_that_make_no_sense_are_none() {
    let body = br#"{"entities":[],"total":-1,"pageCount":99999999999,"nextUri":""}"#;
    assert_eq!(users(body).unwrap().paging, Paging::default());
}

#[test]
fn open_interactions_are_summed_over_media_and_sides() {
    assert_eq!(
        open_interactions(fixture!("user_summary.json")),
        Ok(Some(7))
    );
    assert_eq!(
        open_interactions(fixture!("user_no_summary.json")),
        Ok(None)
    );
    assert_eq!(open_interactions(b"{}"), Ok(None));
    assert_eq!(
        open_interactions(br#"{"conversationSummary":{}}"#),
        Ok(Some(0))
    );
}

#[test]
fn a_count_that_cannot_be_read_is_not_zero() {
    for count in ["-1", "\"0\"", "0.5", "[]", "true"] {
        let body = format!(
            r#"{{"conversationSummary":{{"call":{{"contactCenter":{{"active":{count}}}}}}}}}"#
        );
        assert_eq!(
            open_interactions(body.as_bytes()),
            Err(WireError::Missing {
                field: "conversationSummary"
            }),
            "{count}"
        );
    }
}

#[test]
fn lifetimes_are_clamped_and_say_so() {
    let read = |value: &str| {
        let read = login(format!(r#"{{"expires_in":{value}}}"#).as_bytes()).unwrap();
        (read.lifetime.0 / 1_000, read.adjusted)
    };
    assert_eq!(read("86400"), (86_400, false));
    assert_eq!(read("86400.0"), (86_400, false));
    assert_eq!(read("\"300\""), (300, false));
    assert_eq!(read("60"), (60, false));
    assert_eq!(read("172800"), (172_800, false));
    for short in ["59", "0", "-5", "null", "[]", "\"soon\""] {
        assert_eq!(read(short), (60, true), "{short}");
    }
    for long in ["172801", "1e12", "9223372036854775807", "1e300"] {
        assert_eq!(read(long), (172_800, true), "{long}");
    }
    assert_eq!(
        login(b"{}"),
        Ok(TokenLifetime {
            lifetime: Millis::from_secs(60),
            adjusted: true
        })
    );
}

#[test]
fn a_login_without_a_token_is_an_error() {
    assert_eq!(
        login(fixture!("error_login.json")),
        Err(WireError::LoginRefused)
    );
    let refusal = |body: &[u8]| grant(body).err();
    assert_eq!(refusal(b"<html>"), Some(GrantRefusal::Unreadable));
    assert_eq!(
        refusal(fixture!("error_login.json")),
        Some(GrantRefusal::Error)
    );
    assert_eq!(
        refusal(br#"{"expires_in":60}"#),
        Some(GrantRefusal::NoToken)
    );
    assert_eq!(
        refusal(br#"{"access_token":"a\r\nb: c"}"#),
        Some(GrantRefusal::NoToken)
    );
    assert_eq!(
        refusal(br#"{"access_token":"t","token_type":"mac"}"#),
        Some(GrantRefusal::TokenType)
    );
    let good = grant(br#"{"access_token":"t-1","token_type":"Bearer","expires_in":300}"#);
    let good = good.ok().unwrap();
    assert_eq!((good.token.as_ref(), good.expires_in), ("t-1", Some(300)));
}

#[test]
fn error_bodies_name_the_missing_permission() {
    let error = error_body(fixture!("error_403.json")).unwrap();
    assert_eq!(error.code, "missing.permissions");
    assert_eq!(
        error.missing_permissions,
        ["routing:queue:view", "UserStatus:Read"]
    );
    assert!(error.message.starts_with("Unable to perform"));

    let error = error_body(fixture!("error_login.json")).unwrap();
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("invalid_client", "authentication failed")
    );
    assert!(error.missing_permissions.is_empty());

    assert_eq!(error_body(fixture!("maintenance.html")), None);
    assert_eq!(error_body(b"{}"), None);
}

#[test]
fn error_texts_are_bounded_and_plain() {
    let mut message = String::from("permission(s):\\u0007 ");
    for index in 0..1_000 {
        write!(message, "a:b{index} ").unwrap();
    }
    let body = format!(
        r#"{{"code":"{}","message":"{message}"}}"#,
        "c".repeat(1_000)
    );
    let error = error_body(body.as_bytes()).unwrap();
    assert_eq!(error.code.len(), 64);
    assert_eq!(error.message.len(), 256);
    assert!(!error.message.contains('\u{7}'));
    assert_eq!(error.missing_permissions.len(), 16);
}
