//! Push under a virtual clock: whole pipelines, answered by hand.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::config;
use crate::model::event::JournalRecord;
use crate::model::state::RoutingState;
use crate::upstream::request::RequestId;
use crate::upstream::response::{Answer, Headers, Response};

const EPOCH: i64 = 1_715_675_400_000;

/// A pipeline of one agent, and who answers it.
struct Run {
    pipeline: Pipeline,
    now: i64,
    open: Vec<(RequestId, ApiRequest)>,
    /// What it wanted of the world beside answers, and when.
    wanted: Vec<(i64, Effect)>,
    /// The agent's status and its start, as a scan tells them.
    status: (&'static str, i64),
}

fn reading(millis: i64) -> Now {
    Now {
        wall: UnixMillis(EPOCH + millis),
        mono: Monotonic(millis),
    }
}

fn text(millis: i64) -> String {
    serde_json::to_value(UnixMillis(EPOCH + millis))
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}

fn activity(status: &str, since: i64) -> String {
    format!(
        r#"{{"topicName":"v2.users.u1.activity","eventBody":{{"id":"u1",
        "routingStatus":{{"status":"{status}","startTime":"{}"}}}}}}"#,
        text(since)
    )
}

impl Run {
    /// With its channel live and a scan behind it.
    fn live() -> (Self, SocketId) {
        let settings = "source: { dialect: platform, client_id: demo, api_url: 'http://127.0.0.1:1', \
                        login_url: 'http://127.0.0.1:1' }\n";
        let environment: BTreeMap<String, String> =
            [("GENESYSCLOUD_CLIENT_SECRET".to_owned(), "demo".to_owned())].into();
        let loaded = config::parse(&Arc::from("push.yml"), settings, &environment, &[]).unwrap();
        let pipeline = Pipeline::new(loaded.config.pipeline, Vec::new(), reading(0)).unwrap();
        let mut run = Self {
            pipeline,
            now: 0,
            open: Vec::new(),
            wanted: Vec::new(),
            status: ("IDLE", -60_000),
        };
        run.until(3_000);
        let socket = run.connection().expect("a socket is wanted");
        run.arrive(socket, SocketEvent::Opened);
        run.until(30_000);
        run.wanted.clear();
        (run, socket)
    }

    fn connection(&self) -> Option<SocketId> {
        self.wanted
            .iter()
            .rev()
            .find_map(|(_, effect)| match effect {
                Effect::OpenSocket { socket, .. } => Some(*socket),
                _ => None,
            })
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::Request { id, request, .. } = effect {
                self.open.push((id, request));
            } else {
                self.wanted.push((self.now, effect));
            }
        }
    }

    fn arrive(&mut self, socket: SocketId, event: SocketEvent) {
        let now = reading(self.now);
        let effects = self.pipeline.on_sockets(&[(socket, now, event)], now);
        self.take(effects);
    }

    fn body(&self, request: &ApiRequest) -> String {
        let (status, since) = self.status;
        match request {
            ApiRequest::Login => r#"{"expires_in":86400}"#.to_owned(),
            ApiRequest::UsersScan { .. } => format!(
                r#"{{"entities":[{{"id":"u1","state":"active","conversationSummary":{{}},
                "routingStatus":{{"userId":"u1","status":"{status}","startTime":"{}"}},
                "presence":{{"presenceDefinition":{{"systemPresence":"On Queue"}},"modifiedDate":"{}"}}}}],
                "pageCount":1,"total":1}}"#,
                text(since),
                text(-90_000)
            ),
            ApiRequest::OpenChannel => format!(
                r#"{{"id":"c","connectUri":"wss://x/c","expires":"{}"}}"#,
                text(86_400_000)
            ),
            _ => r#"{"entities":[],"pageCount":1,"total":0}"#.to_owned(),
        }
    }

    /// Lets time pass: every request is answered, and every append is durable, after 20 ms.
    fn until(&mut self, end: i64) {
        while self.now < end {
            let next = self.pipeline.next_deadline(reading(self.now)).0;
            self.now = next.clamp(self.now + 1, self.now + 20).min(end);
            let effects = self.pipeline.on_due(reading(self.now));
            self.take(effects);
            for (id, request) in std::mem::take(&mut self.open) {
                let answer = Answer {
                    id,
                    sent_at: reading(self.now),
                    received_at: reading(self.now + 20),
                    result: Ok(Response {
                        status: 200,
                        headers: Headers {
                            date: Some(UnixMillis((EPOCH + self.now) / 1_000 * 1_000)),
                            ..Headers::default()
                        },
                        body: Bytes::from(self.body(&request)),
                    }),
                };
                self.now += 20;
                let effects = self.pipeline.on_answer(answer, reading(self.now));
                self.take(effects);
            }
            if self.pipeline.is_appending() {
                let sequence = self.pipeline.sequence;
                let effects = self.pipeline.on_appended(sequence);
                self.take(effects);
            }
        }
    }

    /// Appends that held an event, and when.
    fn appends(&self) -> Vec<(i64, usize)> {
        let events = |effect: &Effect| match effect {
            Effect::Append(append) => {
                let records = append.records.iter();
                records
                    .filter(|r| matches!(r, JournalRecord::Event(_)))
                    .count()
            }
            _ => 0,
        };
        let all = self.wanted.iter().map(|(at, effect)| (*at, events(effect)));
        all.filter(|(_, events)| *events > 0).collect()
    }

    fn scans(&self) -> u64 {
        self.pipeline.reconciler.agents()[&UserId::new("u1")]
            .bulk_seen_at
            .map_or(0, |at| (at.0 - EPOCH).unsigned_abs())
    }
}

#[test]
fn a_pushed_change_is_kept_and_then_shown_within_a_quarter_of_a_second() {
    let (mut run, socket) = Run::live();
    let came = run.now;
    run.arrive(socket, SocketEvent::Text(activity("OFF_QUEUE", came - 40)));
    run.until(came + 250);
    let appends = run.appends();
    assert_eq!(appends.len(), 1, "{appends:?}");
    let kept = run
        .wanted
        .iter()
        .position(|(_, e)| matches!(e, Effect::Append(_)));
    let shown = run.wanted.iter().position(|(_, e)| {
        matches!(e, Effect::Publish(view) if view.agents[0].state == RoutingState::NotReady)
    });
    assert!(
        kept < shown && kept.is_some(),
        "kept first: {kept:?} {shown:?}"
    );
    let view = run.pipeline.view(reading(run.now));
    assert_eq!(view.agents[0].source, Source::Notification);
    assert_eq!(
        view.agents[0].entered_at,
        Some(UnixMillis(EPOCH + came - 40))
    );
}

#[test]
fn a_storm_of_frames_is_a_handful_of_appends() {
    let (mut run, socket) = Run::live();
    let began = run.now;
    for step in 0..200 {
        let status = ["OFF_QUEUE", "IDLE"][step % 2];
        let since = run.now - 4;
        run.arrive(socket, SocketEvent::Text(activity(status, since)));
        run.until(run.now + 5);
    }
    run.until(run.now + 300);
    let took = run.now - began;
    let appends = run.appends();
    let events: usize = appends.iter().map(|(_, events)| events).sum();
    assert_eq!(events, 200);
    assert!(
        appends.len() as i64 <= took / COMMITS_APART.0 + 1,
        "{appends:?}"
    );
}

#[test]
fn every_connection_is_followed_by_a_scan_that_was_not_due() {
    let (mut run, socket) = Run::live();
    let before = run.scans();
    // Right after a scan, so that the next slot is far.
    while run.scans() == before {
        run.until(run.now + 20);
    }
    let (scanned, fell) = (run.scans(), run.now);
    run.until(fell + 5_000);
    run.arrive(socket, SocketEvent::Ended(SocketEnd::Broken));
    run.until(run.now + 300);
    let socket = run.connection().expect("it is opened again");
    run.arrive(socket, SocketEvent::Opened);
    let opened = run.now;
    run.until(opened + 2_500);
    assert!(run.scans() > scanned, "a scan");
    assert!(run.now - fell < 15_000, "before the next slot");
    // And no storm of them.
    let scanned = run.scans();
    run.until(run.now + 3_000);
    assert_eq!(run.scans(), scanned);
}

#[test]
fn what_push_should_have_told_and_a_scan_tells_is_counted() {
    let (mut run, socket) = Run::live();
    let missed = |run: &Run| run.pipeline.push.as_ref().unwrap().view().disagreements;
    let beat = r#"{"topicName":"channel.metadata","eventBody":{"message":"WebSocket Heartbeat"}}"#;
    run.arrive(socket, SocketEvent::Text(beat.to_owned()));
    // Right after a scan, so that push has had its time when the next one is asked for.
    let before = run.scans();
    while run.scans() == before {
        run.until(run.now + 20);
    }
    assert_eq!(missed(&run), 0);
    run.arrive(socket, SocketEvent::Text(beat.to_owned()));
    run.status = ("OFF_QUEUE", run.now);
    run.until(run.now + 25_000);
    assert_eq!(missed(&run), 1);
}

#[test]
fn a_revoked_token_logs_in_again_and_makes_a_new_channel() {
    let (mut run, socket) = Run::live();
    let generation = run.pipeline.auth.generation();
    let frame = r#"{"topicName":"v2.system.token_revoked.c","eventBody":{}}"#;
    run.arrive(socket, SocketEvent::Text(frame.to_owned()));
    run.until(run.now + 5_000);
    assert_eq!(run.pipeline.auth.generation(), generation + 1);
    let again = run.connection().expect("a new socket");
    assert_ne!(again, socket);
    let closed = run
        .wanted
        .iter()
        .any(|(_, effect)| *effect == Effect::CloseSocket(socket));
    assert!(closed);
}
