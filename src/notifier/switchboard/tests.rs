use super::*;
use crate::upstream::channel::{ChannelId, ConnectUri, RejectionReason};

const START: Monotonic = Monotonic(1_000_000);
const LIFE: Millis = Millis::from_secs(24 * 3_600);
const HEARTBEAT: &str =
    r#"{"topicName":"channel.metadata","eventBody":{"message":"WebSocket Heartbeat"}}"#;
const PONG: &str = r#"{"topicName":"channel.metadata","eventBody":{"message":"pong"}}"#;

fn system(kind: &str) -> String {
    format!(r#"{{"topicName":"v2.system.{kind}.streaming-1","eventBody":{{"message":"m"}}}}"#)
}

/// The notifier and a platform that does as it is told, under a clock of its own.
struct World {
    notifier: Notifier,
    now: Monotonic,
    channels: u64,
    calls: Vec<&'static str>,
}

impl World {
    fn new(agents: usize) -> Self {
        let limits = Limits {
            channels: 2,
            topics: 6,
        };
        let mut notifier = Notifier::new("test", limits, START);
        notifier.fit(&users(agents), &[]);
        Self {
            notifier,
            now: START,
            channels: 0,
            calls: Vec::new(),
        }
    }

    /// The platform's clock.
    fn at(&self) -> UnixMillis {
        UnixMillis(1_700_000_000_000 + self.now.0)
    }

    /// Answers every call that is due, and lists the socket commands.
    fn turn(&mut self) -> Vec<Command> {
        while let Some((slot, call)) = self.notifier.next_call(self.now) {
            self.notifier.called(slot);
            match call {
                Call::Open => {
                    self.calls.push("open");
                    self.channels += 1;
                    let channel = Channel {
                        id: ChannelId::new(&format!("streaming-{}", self.channels)),
                        connect_uri: ConnectUri::new("wss://x/"),
                        expires_at: None,
                    };
                    self.notifier
                        .on_channel(slot, channel, Some(LIFE), 7, self.now);
                }
                Call::Subscribe(_, topics) => {
                    self.calls.push("subscribe");
                    let (at, now) = (self.at(), self.now);
                    let all = Subscription {
                        permitted: topics.len(),
                        ..Subscription::default()
                    };
                    self.notifier.on_subscribed(slot, &topics, &all, at, now);
                }
            }
        }
        self.notifier.act(self.now)
    }

    /// Lets time pass to the next deadline, and asserts that there is one within `within`.
    fn step(&mut self, within: Millis) -> Vec<Command> {
        let next = self.notifier.next_deadline().expect("something is due");
        assert!(next <= self.now + within, "due in {}", (next - self.now).0);
        self.now = self.now.max(next);
        self.turn()
    }

    fn connect(&mut self) -> SocketId {
        let commands = self.turn();
        let [Command::Connect(socket, _)] = commands[..] else {
            panic!("one connection expected: {commands:?}");
        };
        assert!(self.notifier.on_opened(socket, self.at(), self.now));
        socket
    }

    fn reconnects(&self, reason: ReconnectReason) -> u64 {
        self.notifier.view().reconnects[&reason]
    }

    fn live(&self) -> u64 {
        self.notifier.view().channels[&ChannelState::Live]
    }
}

fn users(count: usize) -> Vec<UserId> {
    (0..count).map(|k| UserId::new(&format!("u{k}"))).collect()
}

#[test]
fn a_channel_is_made_then_subscribed_then_connected() {
    let mut world = World::new(2);
    let socket = world.connect();
    assert_eq!(world.calls, ["open", "subscribe"]);
    assert_eq!(world.live(), 1);
    let since = world.notifier.covered_since(&users(1)[0]).unwrap();
    assert!(since > world.at(), "not before the platform has settled");
    let text = r#"{"topicName":"v2.users.u0.activity","eventBody":{"id":"u0"}}"#;
    let (told, command) = world.notifier.on_text(socket, text, world.now);
    assert!(matches!(told, Told::Event { since: Some(at), .. } if at == since));
    assert_eq!(command, None);
    assert_eq!(world.notifier.view().events["activity"], 1);
    assert_eq!(world.notifier.view().agents, 2);
}

#[test]
fn agents_beyond_the_channels_find_no_place_and_are_counted() {
    let mut world = World::new(8);
    assert_eq!(world.notifier.capacity(), 6);
    assert_eq!(world.turn().len(), 2, "two sockets");
    assert_eq!(world.calls.len(), 4);
    assert_eq!(world.notifier.view().agents_unplaced, 2);
    assert_eq!(world.notifier.covered_since(&users(8)[7]), None);
}

#[test]
fn silence_is_asked_about_and_then_ends_the_socket() {
    let mut world = World::new(1);
    let socket = world.connect();
    world.now = world.now + Millis::from_secs(30);
    world.notifier.on_text(socket, HEARTBEAT, world.now);
    let heard = world.now;
    assert_eq!(world.step(Millis::from_secs(31)), [Command::Ping(socket)]);
    world.notifier.on_text(socket, PONG, world.now);
    assert_eq!(world.step(Millis::from_secs(31)), [Command::Ping(socket)]);
    assert_eq!(world.now - heard, Millis::from_secs(62));
    let commands = world.step(Millis::from_secs(7));
    let silent = world.now - heard - Millis::from_secs(31);
    assert!((35_000..=40_000).contains(&silent.0));
    assert!(matches!(
        commands[..],
        [Command::Close(old), Command::Connect(new, _)] if old == socket && new != socket
    ));
    assert_eq!(world.reconnects(ReconnectReason::Silent), 1);
    assert_eq!(world.notifier.covered_since(&users(1)[0]), None);
    assert_eq!(world.calls.len(), 2, "the channel and its topics stay");
}

#[test]
fn a_socket_that_falls_is_opened_again_to_the_same_channel_ever_more_slowly() {
    let mut world = World::new(1);
    let socket = world.connect();
    let reason = world
        .notifier
        .on_ended(socket, SocketEnd::Broken, world.now);
    assert_eq!(reason, Some(ReconnectReason::Broken));
    let mut fell = world.now;
    let mut waits = Vec::new();
    for _ in 0..4 {
        let commands = world.step(Millis::from_secs(60));
        let [Command::Connect(socket, _)] = commands[..] else {
            panic!("{commands:?}");
        };
        waits.push(world.now - fell);
        world
            .notifier
            .on_ended(socket, SocketEnd::Connect, world.now);
        fell = world.now;
    }
    assert!(waits[0] <= Millis(250));
    assert!(waits.is_sorted() && waits[3] >= Millis::from_secs(4));
    assert_eq!(world.calls, ["open", "subscribe"]);
    assert_eq!(world.reconnects(ReconnectReason::Failed), 4);
    // The fifth handshake that fails gives the channel up for a new one.
    let commands = world.step(Millis::from_secs(60));
    let [Command::Connect(socket, _)] = commands[..] else {
        panic!("{commands:?}");
    };
    world
        .notifier
        .on_ended(socket, SocketEnd::Connect, world.now);
    world.step(Millis::from_secs(60));
    assert_eq!(world.calls, ["open", "subscribe", "open", "subscribe"]);
}

#[test]
fn a_channel_that_the_handshake_does_not_find_is_made_anew_at_once() {
    let mut world = World::new(1);
    let socket = world.connect();
    world
        .notifier
        .on_ended(socket, SocketEnd::Closed, world.now);
    let commands = world.step(Millis(250));
    let [Command::Connect(socket, _)] = commands[..] else {
        panic!("{commands:?}");
    };
    world
        .notifier
        .on_ended(socket, SocketEnd::Refused(404), world.now);
    let commands = world.step(Millis::from_secs(2));
    assert!(matches!(commands[..], [Command::Connect(..)]));
    assert_eq!(world.calls, ["open", "subscribe", "open", "subscribe"]);
}

#[test]
fn announced_maintenance_moves_to_the_same_channel_within_seconds() {
    let mut world = World::new(1);
    let socket = world.connect();
    let text = r#"{"topicName":"v2.system.socket_closing","eventBody":{"message":"m"}}"#;
    let (told, command) = world.notifier.on_text(socket, text, world.now);
    assert_eq!((told, command), (Told::Nothing, None));
    let commands = world.step(Millis::from_secs(5));
    assert!(matches!(
        commands[..],
        [Command::Close(old), Command::Connect(..)] if old == socket
    ));
    assert_eq!(world.reconnects(ReconnectReason::Maintenance), 1);
    assert_eq!(world.calls, ["open", "subscribe"]);
}

#[test]
fn topics_that_were_taken_over_are_asked_for_again_but_not_in_a_war() {
    let mut world = World::new(1);
    let socket = world.connect();
    let mut waits = Vec::new();
    for _ in 0..4 {
        let (told, _) = world
            .notifier
            .on_text(socket, &system("no_longer_subscribed"), world.now);
        assert_eq!(told, Told::Missed);
        assert_eq!(world.notifier.covered_since(&users(1)[0]), None);
        let taken = world.now;
        world.step(Millis::from_secs(60));
        waits.push(world.now - taken);
        assert!(world.notifier.covered_since(&users(1)[0]).is_some());
    }
    assert!(
        waits.is_sorted() && waits[3] >= Millis::from_secs(4),
        "{waits:?}"
    );
    assert_eq!(world.calls.len(), 2 + 4);
}

#[test]
fn an_evicted_channel_is_found_gone_and_made_anew() {
    let mut world = World::new(1);
    let socket = world.connect();
    world
        .notifier
        .on_text(socket, &system("no_longer_subscribed"), world.now);
    world.now = world.now + Millis::from_secs(2);
    let (slot, call) = world.notifier.next_call(world.now).unwrap();
    assert!(matches!(call, Call::Subscribe(..)));
    world.notifier.called(slot);
    assert_eq!(world.notifier.next_call(world.now), None, "one at a time");
    let command = world
        .notifier
        .on_call_failed(slot, CallFailure::Gone, world.now);
    assert_eq!(command, Some(Command::Close(socket)));
    world.step(Millis::from_secs(4));
    assert_eq!(world.channels, 2);
}

#[test]
fn a_revoked_token_costs_the_channel() {
    let mut world = World::new(1);
    let socket = world.connect();
    let (told, command) = world
        .notifier
        .on_text(socket, &system("token_revoked"), world.now);
    assert_eq!(told, Told::TokenRevoked(7));
    assert_eq!(command, Some(Command::Close(socket)));
    assert_eq!(world.live(), 0);
    assert_eq!(world.reconnects(ReconnectReason::Revoked), 1);
    // What the closed socket still says is nobody's.
    assert_eq!(
        world
            .notifier
            .on_ended(socket, SocketEnd::Closed, world.now),
        None
    );
    world.connect();
    assert_eq!(world.channels, 2);
}

#[test]
fn a_channel_is_renewed_before_its_day_is_over() {
    let mut world = World::new(1);
    let socket = world.connect();
    let mut beats = world.now;
    while world.calls.len() == 2 {
        beats = beats + Millis::from_secs(30);
        world.now = beats;
        world.notifier.on_text(socket, HEARTBEAT, world.now);
        assert!(world.turn().is_empty(), "the socket stays");
        assert!(world.now - START < LIFE, "too late");
    }
    let age = world.now - START;
    assert!(age > Millis(LIFE.0 / 2), "after {} s", age.0 / 1_000);
    assert_eq!(world.calls, ["open", "subscribe", "subscribe"]);
    assert_eq!(world.live(), 1);
    assert!(world.notifier.covered_since(&users(1)[0]).is_some());
}

#[test]
fn a_refused_call_waits_minutes_and_a_passing_failure_seconds() {
    let mut world = World::new(1);
    for (failure, range) in [
        (CallFailure::Passing, 500..=1_000),
        (CallFailure::Refused, 150_000..=300_000),
    ] {
        let (slot, call) = world.notifier.next_call(world.now).unwrap();
        assert_eq!(call, Call::Open);
        world.notifier.called(slot);
        world.notifier.on_call_failed(slot, failure, world.now);
        assert_eq!(world.notifier.next_call(world.now), None);
        let next = world.notifier.next_deadline().unwrap();
        assert!(range.contains(&(next - world.now).0), "{failure:?}");
        world.now = next;
    }
}

#[test]
fn rejected_topics_are_counted_and_their_agents_are_not_covered() {
    let mut world = World::new(2);
    let (slot, _) = world.notifier.next_call(world.now).unwrap();
    world.notifier.called(slot);
    let channel = Channel {
        id: ChannelId::new("c"),
        connect_uri: ConnectUri::new("wss://x/"),
        expires_at: None,
    };
    world.notifier.on_channel(slot, channel, None, 7, world.now);
    let (slot, Call::Subscribe(_, topics)) = world.notifier.next_call(world.now).unwrap() else {
        panic!("a subscription is due");
    };
    world.notifier.called(slot);
    let answer = Subscription {
        permitted: 3,
        rejected: vec![(
            "v2.users.u1.conversationsummary".to_owned(),
            RejectionReason::Permission,
        )],
        missing_permissions: Vec::new(),
    };
    let (at, now) = (world.at(), world.now);
    world
        .notifier
        .on_subscribed(slot, &topics, &answer, at, now);
    world.connect();
    assert!(world.notifier.covered_since(&users(2)[0]).is_some());
    assert_eq!(world.notifier.covered_since(&users(2)[1]), None);
    assert_eq!(world.notifier.view().rejections["permission"], 1);
}

#[test]
fn an_agent_that_joins_is_covered_from_its_own_subscription_on() {
    let mut world = World::new(1);
    let socket = world.connect();
    world.now = world.now + Millis::from_secs(20);
    world.notifier.on_text(socket, HEARTBEAT, world.now);
    world.notifier.fit(&users(2), &[]);
    assert!(world.turn().is_empty());
    assert_eq!(world.calls, ["open", "subscribe", "subscribe"]);
    let [old, new] = [0, 1].map(|k| world.notifier.covered_since(&users(2)[k]).unwrap());
    assert_eq!(new - old, Millis::from_secs(20));
}

#[test]
fn a_frame_that_cannot_be_read_shows_at_least_that_the_socket_lives() {
    let mut world = World::new(1);
    let socket = world.connect();
    world.now = world.now + Millis::from_secs(37);
    let (told, _) = world.notifier.on_text(socket, "\u{0}", world.now);
    assert_eq!(told, Told::Unreadable(FrameError::Shape));
    world.now = world.now + Millis::from_secs(30);
    assert!(world.turn().is_empty());
    assert_eq!(world.notifier.view().events["invalid"], 1);
    assert_eq!(world.live(), 1);
}
