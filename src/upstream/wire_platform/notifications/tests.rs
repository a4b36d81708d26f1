use proptest::prelude::*;

use super::*;
use crate::upstream::channel::TopicClass;

const ACTIVITY: &str = r#"{"topicName":"v2.users.u-1.activity","version":"2","eventBody":{"id":"u-1",
  "routingStatus":{"status":"IDLE","startTime":"2026-05-04T09:20:00.067Z"},
  "presence":{"presenceDefinition":{"id":"e08e","systemPresence":"ON_QUEUE"},"modifiedDate":"2026-05-04T08:00:03.441Z"},
  "outOfOffice":{"active":false,"modifiedDate":"2026-04-02T01:42:52.505Z"},
  "activeQueueIds":["q-1"],"dateActiveQueuesChanged":"2026-05-01T04:15:44.913Z"},
 "metadata":{"CorrelationId":"9e80"}}"#;

fn instant(text: &str) -> UnixMillis {
    UnixMillis::parse(text).unwrap()
}

#[test]
fn an_activity_tells_status_and_presence_each_with_its_start() {
    assert_eq!(
        frame(ACTIVITY),
        Ok(Frame::Activity {
            user: UserId::new("u-1"),
            status: Some(PushedStatus {
                status: Arc::from("IDLE"),
                since: instant("2026-05-04T09:20:00.067Z"),
            }),
            presence: Some(PushedPresence {
                presence: Presence::parse("On Queue"),
                since: instant("2026-05-04T08:00:03.441Z"),
            }),
        })
    );
}

#[test]
fn the_case_of_a_topic_name_does_not_matter_and_ids_come_from_the_body() {
    let text = ACTIVITY.replace("v2.users.u-1.activity", "V2.Users.U-1.ACTIVITY");
    assert_eq!(frame(&text), frame(ACTIVITY));
}

#[test]
fn what_an_activity_does_not_say_is_not_made_up() {
    let bare =
        r#"{"topicName":"v2.users.u-1.activity","eventBody":{"id":"u-1","routingStatus":null}}"#;
    assert_eq!(
        frame(bare),
        Ok(Frame::Activity {
            user: UserId::new("u-1"),
            status: None,
            presence: None,
        })
    );
    let undated = ACTIVITY.replace(r#","modifiedDate":"2026-05-04T08:00:03.441Z""#, "");
    assert!(matches!(
        frame(&undated),
        Ok(Frame::Activity { presence: None, .. })
    ));
}

#[test]
fn frames_that_cannot_be_used_are_refused_each_for_its_reason() {
    let cases = [
        ("nonsense", FrameError::Shape),
        (r#"{"eventBody":{}}"#, FrameError::Shape),
        (
            r#"{"topicName":"v2.users.u-1.activity","eventBody":{}}"#,
            FrameError::Id,
        ),
        (
            r#"{"topicName":"v2.users.u-1.activity","eventBody":{"id":"u","routingStatus":{"status":"IDLE"}}}"#,
            FrameError::Time,
        ),
        (
            r#"{"topicName":"v2.users.u-1.conversationsummary","eventBody":{"userId":7}}"#,
            FrameError::Id,
        ),
        (
            r#"{"topicName":"v2.routing.queues.q.users","eventBody":[]}"#,
            FrameError::Shape,
        ),
    ];
    for (text, error) in cases {
        assert_eq!(frame(text), Err(error), "{text}");
    }
    let long = format!("{ACTIVITY}{}", " ".repeat(FRAME_BYTES_MAX));
    assert_eq!(frame(&long), Err(FrameError::TooLong));
}

#[test]
fn interactions_are_summed_over_every_medium_also_a_new_one() {
    let text = r#"{"topicName":"v2.users.u-1.conversationsummary","version":"2","eventBody":{
        "userId":"u-1","call":{"contactCenter":{"active":1,"acw":2},"enterprise":{"active":4,"acw":8}},
        "hologram":{"contactCenter":{"active":16,"acw":32}},"chat":{}}}"#;
    assert_eq!(
        frame(text),
        Ok(Frame::Interactions {
            user: UserId::new("u-1"),
            open: OpenInteractions {
                active: 17,
                after_call: 34,
                enterprise: 12,
            },
        })
    );
}

#[test]
fn messages_about_the_channel_are_told_apart() {
    let message = |topic: &str, message: &str| {
        frame(&format!(
            r#"{{"topicName":"{topic}","eventBody":{{"message":"{message}"}}}}"#
        ))
    };
    let cases = [
        (
            message("channel.metadata", "WebSocket Heartbeat"),
            Frame::Heartbeat,
        ),
        (message("channel.metadata", "pong"), Frame::Pong),
        (
            message("v2.system.socket_closing", ""),
            Frame::SocketClosing,
        ),
        (
            message("v2.system.no_longer_subscribed.streaming-0", ""),
            Frame::NoLongerSubscribed,
        ),
        (
            message("v2.system.token_revoked.streaming-0", ""),
            Frame::TokenRevoked,
        ),
        (
            message("v2.subscription.updated", ""),
            Frame::SubscriptionChanged,
        ),
        (message("v2.system.novelty", ""), Frame::Unknown),
        (message("v2.users.u-1.station", ""), Frame::Unknown),
    ];
    for (read, expected) in cases {
        assert_eq!(read, Ok(expected));
    }
    assert_eq!(Frame::Unknown.class(), TopicClass::Unknown);
    let joined = r#"{"topicName":"v2.routing.queues.q-1.users","eventBody":{"id":"u-1","user":{"id":"u-1"},"queueId":"q-1","joined":true}}"#;
    assert_eq!(
        frame(joined),
        Ok(Frame::Membership {
            queue: QueueId::new("q-1")
        })
    );
}

#[test]
fn a_channel_is_read_and_an_error_about_it_does_not_quote_it() {
    let body = br#"{"connectUri":"wss://streaming.mypurecloud.com/channels/streaming-0-fmt",
        "id":"streaming-0-fmt","expires":"2020-08-12T12:41:54.707Z"}"#;
    let read = channel(body).unwrap();
    assert_eq!(read.id.expose(), "streaming-0-fmt");
    assert_eq!(
        read.connect_uri.expose(),
        "wss://streaming.mypurecloud.com/channels/streaming-0-fmt"
    );
    assert_eq!(read.expires_at, Some(instant("2020-08-12T12:41:54.707Z")));
    let without = channel(br#"{"id":"streaming-0-s3cr3t"}"#).unwrap_err();
    assert_eq!(
        without,
        WireError::Missing {
            field: "connectUri"
        }
    );
    let broken = channel(br#"{"id":"streaming-0-s3cr3t","connectUri":7}"#).unwrap_err();
    assert!(!format!("{broken} {broken:?}").contains("s3cr3t"));
}

#[test]
fn rejected_topics_are_told_with_their_reasons() {
    let body = br#"{"entities":[
        {"id":"v2.users.u-1.activity","state":"Permitted"},
        {"id":"v2.users.u-2.activity"},
        {"id":"v2.users.U-3.activity","state":"Rejected","rejectionReason":"no such user"},
        {"id":"v2.users.u-4.activity","state":"Rejected","missingPermissions":["directory:user:view"]},
        {"id":"v2.users.u-5.activity","state":"Rejected","missingPermissions":["directory:user:view"]},
        {"id":"v2.users.u-6.activity","state":"Rejected","rejectionReason":"moon phase"}]}"#;
    let read = subscription(body).unwrap();
    assert_eq!(read.permitted, 2);
    assert_eq!(read.missing_permissions, ["directory:user:view"]);
    let reasons: Vec<_> = read.rejected.iter().map(|(_, reason)| *reason).collect();
    assert_eq!(
        reasons,
        [
            RejectionReason::NotFound,
            RejectionReason::Permission,
            RejectionReason::Permission,
            RejectionReason::Other
        ]
    );
    assert_eq!(read.rejected[0].0, "v2.users.u-3.activity");
    assert!(subscription(b"[]").is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_parsers_panic(text in ".{0,300}") {
        let _ = frame(&text);
        let _ = channel(text.as_bytes());
        let _ = subscription(text.as_bytes());
    }

    #[test]
    fn no_cut_of_a_frame_is_taken_for_another_frame(at in 0..ACTIVITY.len()) {
        prop_assert_eq!(frame(&ACTIVITY[..at]), Err(FrameError::Shape));
    }
}
