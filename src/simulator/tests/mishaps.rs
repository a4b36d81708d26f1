//! What goes wrong with sockets, channels and events.

use std::collections::BTreeMap;

use super::super::notifications::{ConnectRefused, Frame};
use super::notifications::{CHANNELS, events};
use super::platform_api::lively;
use super::*;

/// Frames of 20 minutes, second by second.
fn a_while(client: &mut Client) -> Vec<(UnixMillis, Frame)> {
    let mut all = Vec::new();
    for _ in 0..1_200 {
        client.pass(1);
        let now = client.now;
        all.extend(
            client
                .frames()
                .into_iter()
                .map(|outgoing| (now, outgoing.frame)),
        );
    }
    all
}

fn activities(frames: &[(UnixMillis, Frame)]) -> Vec<String> {
    let texts: Vec<Value> = frames
        .iter()
        .filter_map(|(_, frame)| match frame {
            Frame::Text(text) => serde_json::from_str(text).ok(),
            _ => None,
        })
        .collect();
    events(&texts)
        .into_iter()
        .map(|(_, _, body)| body.to_string())
        .collect()
}

fn listener(faults: &str) -> Client {
    let mut client = Client::of(lively(30));
    client.listen(&["activity"]);
    client.set_faults(faults);
    client
}

/// What a sound platform sends in the same time.
fn sound() -> Vec<String> {
    activities(&a_while(&mut listener("none")))
}

#[test]
fn a_dropped_socket_is_cut_and_what_happens_meanwhile_is_lost() {
    let mut client = listener("socket-drop@5m+1m");
    let frames = a_while(&mut client);
    let begin = TEST_ORIGIN + Millis::from_secs(300);
    assert_eq!(frames.last(), Some(&(begin, Frame::Cut)));
    let lost = client.platform.notification_statistics().lost;
    assert!(lost > 20, "{lost}");
    // The channel outlives its sockets, but none is let in while it lasts.
    let mut client = listener("socket-drop@0s+1m");
    let channel = client.json(CHANNELS);
    let channel = text(&channel["entities"][0]["id"]).to_owned();
    assert_eq!(
        client.platform.connect(&channel, client.now),
        Err(ConnectRefused::Unavailable)
    );
    client.pass(60);
    assert!(client.platform.connect(&channel, client.now).is_ok());
}

#[test]
fn a_silent_socket_stays_open_and_says_nothing() {
    let mut client = listener("socket-silent@1m+10m");
    let frames = a_while(&mut client);
    let silence = (
        TEST_ORIGIN + Millis::from_secs(60),
        TEST_ORIGIN + Millis::from_secs(660),
    );
    let within = |at: &UnixMillis| (silence.0..silence.1).contains(at);
    assert!(frames.iter().all(|(at, _)| !within(at)));
    assert!(frames.iter().any(|(at, _)| *at >= silence.1));
    assert_eq!(client.platform.notification_statistics().open, 1);
}

#[test]
fn maintenance_is_announced_and_then_closes() {
    let mut client = listener("socket-closing=30s@1m+5m");
    let frames = a_while(&mut client);
    let told = frames.iter().find(|(_, frame)| {
        matches!(frame, Frame::Text(text) if text.contains("v2.system.socket_closing"))
    });
    assert_eq!(told.unwrap().0, TEST_ORIGIN + Millis::from_secs(60));
    let closed = (
        TEST_ORIGIN + Millis::from_secs(90),
        Frame::Close(1_001, "maintenance"),
    );
    assert_eq!(frames.last(), Some(&closed));
    assert_eq!(
        client.json(CHANNELS)["entities"].as_array().unwrap().len(),
        1,
        "the channel stays"
    );
}

#[test]
fn evicted_channels_are_told_closed_and_gone() {
    let mut client = listener("evicted-channels@1m+1m/5m");
    let frames = a_while(&mut client);
    let (last, said) = (frames.last().unwrap(), &frames[frames.len() - 2].1);
    assert_eq!(last.0, TEST_ORIGIN + Millis::from_secs(60));
    assert!(matches!(said, Frame::Text(text) if text.contains("no_longer_subscribed")));
    assert_eq!(client.json(CHANNELS)["entities"], serde_json::json!([]));
    // Once each time: a new channel lives until the next one.
    let (_, socket) = client.listen(&["activity"]);
    client.pass(59);
    assert!(!client.heard(socket).is_empty());
}

#[test]
fn revoked_tokens_end_channels() {
    let mut client = listener("none");
    client.send("DELETE", "/simulator/tokens", "", None);
    let frames = client.frames();
    assert!(matches!(&frames[0].frame, Frame::Text(text) if text.contains("user_tokens_revoked")));
    assert!(matches!(frames[1].frame, Frame::Close(1_000, _)));
}

#[test]
fn some_topics_are_rejected_and_always_the_same_ones() {
    let mut client = Client::of(lively(100));
    client.set_faults("rejected-topics=20");
    let channel = client.new_channel();
    let topics: Vec<_> = client
        .ids()
        .iter()
        .map(|id| format!("v2.users.{id}.activity"))
        .collect();
    assert_eq!(client.subscribe(&channel, &topics).status, 403);
    let body: Value = topics
        .iter()
        .map(|id| serde_json::json!({"id": id}))
        .collect();
    let path = format!("{CHANNELS}/{channel}/subscriptions?ignoreErrors=true");
    let answer = client.call("PUT", &path, &body).value();
    let rows = answer["entities"].as_array().unwrap().clone();
    let rejected = rows.iter().filter(|row| row["state"] == "Rejected").count();
    assert!((8..35).contains(&rejected), "{rejected}");
    assert_eq!(client.call("PUT", &path, &body).value(), answer);
    let subscribed = client.json(&format!("{CHANNELS}/{channel}/subscriptions"));
    assert_eq!(
        subscribed["entities"].as_array().unwrap().len(),
        100 - rejected
    );
}

#[test]
fn events_are_lost_doubled_and_late() {
    let sound = sound();
    assert!(sound.len() > 500, "{}", sound.len());
    let mut client = listener("lost-events=20");
    let some = activities(&a_while(&mut client));
    let share = some.len() * 100 / sound.len();
    assert!((70..90).contains(&share), "{share} %");
    let statistics = client.platform.notification_statistics();
    assert_eq!(
        (statistics.sent, statistics.lost),
        (some.len() as u64, (sound.len() - some.len()) as u64)
    );

    let doubled = activities(&a_while(&mut listener("duplicate-events=20")));
    let mut counts = BTreeMap::new();
    for body in &doubled {
        *counts.entry(body.clone()).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), sound.len(), "every event came");
    let twice = counts.values().filter(|&&count| count == 2).count();
    assert!((10..30).contains(&(twice * 100 / sound.len())), "{twice}");

    let mut late = activities(&a_while(&mut listener("reordered-events=20")));
    let order_held = sound.iter().zip(&late).all(|(a, b)| a == b);
    assert!(!order_held);
    // All but those that are still under way at the end.
    late.sort();
    let mut sorted = sound.clone();
    sorted.sort();
    assert!(
        late.len() + 10 > sound.len(),
        "{} of {}",
        late.len(),
        sound.len()
    );
    assert!(late.iter().all(|body| sorted.binary_search(body).is_ok()));
}
