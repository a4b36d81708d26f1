//! Channels, topics and events under a virtual clock.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::notifications::{Frame, NotificationOptions, Outgoing, SocketId};
use super::platform_api::{lively, mapped};
use super::*;
use crate::model::state::RoutingState;

pub(super) const CHANNELS: &str = "/api/v2/notifications/channels";

impl Client {
    pub(super) fn call(&mut self, method: &str, path: &str, body: &Value) -> SimResponse {
        let request = SimRequest::json(method, path, &self.token, body);
        self.platform.handle(&request, self.now)
    }

    pub(super) fn new_channel(&mut self) -> String {
        let answer = self.call("POST", CHANNELS, &Value::Null);
        assert_eq!(answer.status, 200);
        text(&answer.value()["id"]).to_owned()
    }

    pub(super) fn subscribe(&mut self, channel: &str, topics: &[String]) -> SimResponse {
        let body: Value = topics.iter().map(|topic| json!({"id": topic})).collect();
        self.call("PUT", &format!("{CHANNELS}/{channel}/subscriptions"), &body)
    }

    /// A channel with a socket and a topic of each kind for every agent.
    pub(super) fn listen(&mut self, kinds: &[&str]) -> (String, SocketId) {
        let channel = self.new_channel();
        let topics: Vec<_> = self
            .ids()
            .iter()
            .flat_map(|id| {
                kinds
                    .iter()
                    .map(move |kind| format!("v2.users.{id}.{kind}"))
            })
            .collect();
        assert_eq!(self.subscribe(&channel, &topics).status, 200);
        let socket = self.platform.connect(&channel, self.now).unwrap();
        (channel, socket)
    }

    pub(super) fn frames(&mut self) -> Vec<Outgoing> {
        self.platform.take_frames(self.now)
    }

    /// Texts that are due, as JSON, and none of them to another socket.
    pub(super) fn heard(&mut self, by: SocketId) -> Vec<Value> {
        let frames = self.frames().into_iter();
        frames
            .map(|Outgoing { socket, frame }| {
                assert_eq!(socket, by);
                match frame {
                    Frame::Text(text) => serde_json::from_str(&text).unwrap(),
                    other => panic!("{other:?}"),
                }
            })
            .collect()
    }
}

/// Events among texts: id of the user, what it is about, the body.
pub(super) fn events(texts: &[Value]) -> Vec<(String, String, Value)> {
    texts
        .iter()
        .filter_map(|text_| {
            let rest = text(&text_["topicName"]).strip_prefix("v2.users.")?;
            let (id, kind) = rest.split_once('.')?;
            assert_eq!(text_["version"], "2");
            assert!(text_["metadata"]["CorrelationId"].is_string());
            Some((id.to_owned(), kind.to_owned(), text_["eventBody"].clone()))
        })
        .collect()
}

#[test]
fn whoever_folds_the_events_knows_the_truth() {
    let mut client = Client::of(lively(40));
    client.pass(100);
    let (_, socket) = client.listen(&["activity", "conversationsummary"]);
    let path = "/api/v2/users?pageSize=500&expand=presence,routingStatus,conversationSummary";
    let listing = client.json(path);
    let users = listing["entities"].as_array().unwrap().iter();
    let mut known: BTreeMap<String, Value> = users
        .map(|user| (text(&user["id"]).to_owned(), user.clone()))
        .collect();
    let (mut counted, mut states) = (0, BTreeMap::new());
    for _ in 0..1_500 {
        client.pass(1);
        let texts = client.heard(socket);
        for (id, kind, body) in events(&texts) {
            counted += 1;
            let user = known.get_mut(&id).unwrap();
            if kind == "activity" {
                assert_eq!(text(&body["id"]), id);
                user["routingStatus"]["status"] = body["routingStatus"]["status"].clone();
                user["routingStatus"]["startTime"] = body["routingStatus"]["startTime"].clone();
                user["presence"]["modifiedDate"] = body["presence"]["modifiedDate"].clone();
                let presence = &body["presence"]["presenceDefinition"];
                user["presence"]["presenceDefinition"]["id"] = presence["id"].clone();
                assert!(!text(&presence["systemPresence"]).contains(' '), "{body}");
            } else {
                assert_eq!(text(&body["userId"]), id);
                user["conversationSummary"] = body;
            }
        }
        for (id, user) in &known {
            let (state, _) = client.platform.state_at(id, client.now).unwrap();
            assert_eq!(mapped(user), state, "{user}");
            *states.entry(state).or_insert(0) += 1;
        }
    }
    let listing = client.json(path);
    for user in listing["entities"].as_array().unwrap() {
        let told = &known[text(&user["id"])];
        assert_eq!(told["routingStatus"], user["routingStatus"]);
        assert_eq!(told["conversationSummary"], user["conversationSummary"]);
        assert_eq!(
            told["presence"]["modifiedDate"],
            user["presence"]["modifiedDate"]
        );
        assert_eq!(
            told["presence"]["presenceDefinition"]["id"],
            user["presence"]["presenceDefinition"]["id"]
        );
    }
    assert!(
        counted > 1_000 && states[&RoutingState::WrapUp] > 500,
        "{counted} {states:?}"
    );
}

#[test]
fn events_come_when_they_happen_however_time_passes() {
    let run = |step: i64| {
        let mut client = Client::of(lively(20));
        let (_, socket) = client.listen(&[
            "activity",
            "presence",
            "routingStatus",
            "conversationsummary",
        ]);
        let end = client.now + Millis::from_secs(1_200);
        let mut all = Vec::new();
        while client.now < end {
            // A harness goes from event to event; another one looks now and then.
            client.now = match (step, client.platform.next_frame_at(client.now)) {
                (0, Some(next)) => next.max(client.now + Millis(1)).min(end),
                _ => (client.now + Millis(step)).min(end),
            };
            let now = client.now;
            for (id, kind, body) in events(&client.heard(socket)) {
                if kind == "routingStatus" && step == 0 {
                    assert_eq!(instant(&body["routingStatus"]["startTime"]), now);
                }
                all.push((id, kind, body.to_string()));
            }
        }
        all
    };
    let exact = run(0);
    assert!(exact.len() > 300, "{}", exact.len());
    assert_eq!(exact, run(250));
    assert_eq!(exact, run(77_777));
}

#[test]
fn a_channel_beats_answers_pings_and_expires() {
    let mut client = Client::of(SimulatorOptions {
        notifications: NotificationOptions {
            channel_lifetime: Millis::from_secs(100),
            ..NotificationOptions::default()
        },
        ..lively(2)
    });
    let begin = client.now;
    let (channel, socket) = client.listen(&["station"]);
    assert_eq!(client.heard(socket), Vec::<Value>::new());
    assert_eq!(
        client.platform.next_frame_at(client.now),
        Some(begin + Millis::from_secs(30))
    );
    client.pass(30);
    let beat =
        json!({"topicName": "channel.metadata", "eventBody": {"message": "WebSocket Heartbeat"}});
    assert_eq!(client.heard(socket), [beat]);
    client
        .platform
        .hear(socket, "{\"message\":\"ping\"}", client.now);
    client.platform.hear(socket, "hello", client.now);
    let pong = json!({"topicName": "channel.metadata", "eventBody": {"message": "pong"}});
    assert_eq!(client.heard(socket), [pong]);
    // Setting the topics again prolongs its life.
    client.subscribe(&channel, &[]);
    client.now = begin + Millis::from_secs(129);
    client.frames();
    client.now = begin + Millis::from_secs(130);
    let closed = Frame::Close(1_000, "the channel has expired");
    assert_eq!(client.frames().last().unwrap().frame, closed);
    assert_eq!(
        client
            .call("HEAD", &format!("{CHANNELS}/{channel}"), &Value::Null)
            .status,
        404
    );
    assert!(client.platform.connect(&channel, client.now).is_err());
    assert_eq!(client.subscribe(&channel, &[]).status, 404);
    assert_eq!(client.platform.next_frame_at(client.now), None);
}

#[test]
fn the_least_used_channel_makes_room() {
    let mut client = Client::of(SimulatorOptions {
        notifications: NotificationOptions {
            channels_max: 3,
            ..NotificationOptions::default()
        },
        ..lively(2)
    });
    let mut channels = Vec::new();
    for _ in 0..3 {
        client.pass(1);
        channels.push(client.new_channel());
    }
    let first = client.platform.connect(&channels[0], client.now).unwrap();
    client.new_channel();
    let left = client.json(CHANNELS);
    let left: Vec<_> = left["entities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| text(&c["id"]))
        .collect();
    assert!(
        left.len() == 3 && !left.contains(&&*channels[1]),
        "the connected one stays"
    );
    assert_eq!(client.frames(), []);
    client.platform.connect(&channels[2], client.now).unwrap();
    client.new_channel();
    client.new_channel();
    // Unconnected ones went first; a fourth connected one would cost the oldest.
    let third = client.new_channel();
    client.platform.connect(&third, client.now).unwrap();
    client.pass(1);
    client.new_channel();
    let frames = client.frames();
    let Frame::Text(said) = &frames[0].frame else {
        panic!("{frames:?}")
    };
    let said: Value = serde_json::from_str(said).unwrap();
    assert_eq!(said["eventBody"]["systemTopicType"], "no_longer_subscribed");
    assert_eq!(said["eventBody"]["reason"], "another_channel_subscribed");
    assert_eq!(frames[0].socket, first);
    assert_eq!(
        frames[1].frame,
        Frame::Close(1_000, "the channel has ended")
    );
    assert_eq!(client.platform.notification_statistics().evicted, 5);
}

#[test]
fn topics_are_added_replaced_listed_and_dropped() {
    let mut client = Client::of(SimulatorOptions {
        notifications: NotificationOptions {
            topics_max: 4,
            ..NotificationOptions::default()
        },
        ..lively(5)
    });
    let ids = client.ids();
    let channel = client.new_channel();
    let path = format!("{CHANNELS}/{channel}/subscriptions");
    let topic = |n: usize, kind: &str| format!("v2.users.{}.{kind}", ids[n]);
    let listed = |client: &mut Client| -> Vec<String> {
        let body = client.json(&path);
        body["entities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                assert_eq!(row["state"], "Permitted");
                text(&row["id"]).to_owned()
            })
            .collect()
    };
    client.subscribe(&channel, &[topic(0, "activity"), topic(1, "activity")]);
    client.call("POST", &path, &json!([{"id": topic(2, "presence")}]));
    assert_eq!(listed(&mut client).len(), 3);
    let combined = format!("v2.users.{}?presence&routingStatus", ids[3]);
    let many = client.call("POST", &path, &json!([{"id": combined}]));
    assert_eq!(many.status, 400, "a combined topic counts for its parts");
    assert_eq!(
        text(&many.value()["code"]),
        "notification.subscription.too.many.subscriptions"
    );
    assert_eq!(listed(&mut client).len(), 3, "nothing was changed");
    let bad = client.subscribe(&channel, &[topic(0, "activity"), topic(0, "mood")]);
    assert_eq!(bad.status, 403, "one bad topic fails the request");
    let body = json!([{"id": topic(4, "activity")}, {"id": "v2.users.nobody.activity"}]);
    let forgiven = client
        .call("PUT", &format!("{path}?ignoreErrors=true"), &body)
        .value();
    assert_eq!(forgiven["entities"][0]["state"], "Permitted");
    assert_eq!(forgiven["entities"][1]["state"], "Rejected");
    assert_eq!(
        forgiven["entities"][1]["rejectionReason"],
        "no such user or queue"
    );
    assert_eq!(listed(&mut client), [topic(4, "activity")]);
    client.subscribe(&channel, &[combined]);
    let socket = client.platform.connect(&channel, client.now).unwrap();
    client.pass(2_000);
    let told = events(&client.heard(socket));
    assert!(
        told.iter()
            .all(|(id, kind, _)| *id == ids[3] && (kind == "presence" || kind == "routingStatus"))
    );
    assert!(told.len() > 5, "{}", told.len());
    assert_eq!(client.call("DELETE", &path, &Value::Null).status, 204);
    client.pass(2_000);
    assert_eq!(events(&client.heard(socket)), []);
    let available = client.json("/api/v2/notifications/availabletopics");
    assert_eq!(available["entities"][0]["id"], "v2.users.{id}.activity");
}

#[test]
fn members_of_queues_are_told_when_they_come_and_go() {
    let mut client = Client::of(lively(6));
    let channel = client.new_channel();
    let queues: Vec<_> = client
        .platform
        .roster()
        .queues()
        .iter()
        .map(|queue| queue.id.clone())
        .collect();
    let topics: Vec<_> = queues
        .iter()
        .map(|id| format!("v2.routing.queues.{id}.users"))
        .collect();
    client.subscribe(&channel, &topics);
    let socket = client.platform.connect(&channel, client.now).unwrap();
    let added = client
        .send("POST", "/simulator/registry", "{\"add\":1}", None)
        .value();
    let id = text(&added["added"][0]).to_owned();
    client.send(
        "POST",
        "/simulator/registry",
        &format!("{{\"remove\":\"{id}\"}}"),
        None,
    );
    let told = client.heard(socket);
    let position = client.platform.roster().find(&id).unwrap();
    let joined = client.platform.roster().queue_ids(position).len();
    assert_eq!(told.len(), 2 * joined);
    for (count, event) in told.iter().enumerate() {
        assert_eq!(event["eventBody"]["user"]["id"], id);
        assert_eq!(event["eventBody"]["joined"], count < joined);
        let queue = text(&event["eventBody"]["queueId"]);
        assert_eq!(
            text(&event["topicName"]),
            format!("v2.routing.queues.{queue}.users")
        );
    }
}

#[test]
fn a_second_socket_drops_the_first_and_what_nobody_heard_is_lost() {
    let mut client = Client::of(lively(20));
    let (channel, first) = client.listen(&["activity"]);
    let second = client.platform.connect(&channel, client.now).unwrap();
    let dropped = Outgoing {
        socket: first,
        frame: Frame::Close(1_000, "another socket has connected"),
    };
    assert_eq!(client.frames(), [dropped]);
    client.pass(300);
    assert!(!events(&client.heard(second)).is_empty());
    client.platform.disconnect(second, client.now);
    client.pass(300);
    assert_eq!(client.frames(), []);
    let third = client.platform.connect(&channel, client.now).unwrap();
    assert_eq!(client.heard(third), Vec::<Value>::new(), "no replay");
    client.pass(300);
    assert!(
        !events(&client.heard(third)).is_empty(),
        "topics outlive sockets"
    );
    let statistics = client.platform.notification_statistics();
    assert_eq!(statistics.events, statistics.sent + statistics.lost);
    assert!(statistics.lost > 0 && statistics.open == 1 && statistics.connects == 3);
    let told = client
        .send("GET", "/simulator/statistics", "", None)
        .value();
    assert_eq!(told["notifications"]["lost"], statistics.lost);
}

#[test]
fn the_address_is_the_one_that_the_client_used() {
    let mut client = Client::of(lively(2));
    let request = SimRequest {
        host: Some("127.0.0.1:4711".to_owned()),
        ..SimRequest::json("POST", CHANNELS, &client.token, &Value::Null)
    };
    let body = client.platform.handle(&request, client.now).value();
    let id = text(&body["id"]);
    assert_eq!(
        text(&body["connectUri"]),
        format!("ws://127.0.0.1:4711/channels/{id}")
    );
    assert_eq!(
        instant(&body["expires"]),
        client.now + Millis::from_secs(86_400)
    );
    client.set_faults("clock-skew=+5m");
    let body = client.platform.handle(&request, client.now).value();
    let skewed = client.now + Millis::from_secs(86_400 + 300);
    assert_eq!(instant(&body["expires"]), skewed, "by the platform's clock");
}
