//! From timelines to frames: what becomes of sockets as time passes.
//!
//! Events follow from the timelines: at each instant at which anything may change, the standing
//! is compared with the one just before, and whoever subscribed is told. Nothing is kept for
//! those who are not connected: the platform has no replay.

use super::super::chance;
use super::super::platform::SimulatedPlatform;
use super::super::standing::{Reading, Standing, before};
use super::super::user_bodies;
use super::events::{self, Activity};
use super::switchboard::{Outgoing, Socket, SocketId};
use super::topic::{self, Kind};
use crate::model::time::{Millis, UnixMillis};

/// Salt of correlation ids.
const CORRELATION: u64 = 62;

/// Why a socket is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectRefused {
    /// No such channel, or no longer.
    NoChannel,
    /// Not now.
    Unavailable,
}

impl ConnectRefused {
    /// The status of the answer to the upgrade.
    pub const fn status(self) -> u16 {
        match self {
            Self::NoChannel => 404,
            Self::Unavailable => 503,
        }
    }
}

impl SimulatedPlatform {
    /// Connects to a channel. A socket that it already has is closed.
    ///
    /// # Errors
    /// [`ConnectRefused`] says what to answer instead.
    pub fn connect(&mut self, channel: &str, now: UnixMillis) -> Result<SocketId, ConnectRefused> {
        self.pump(now);
        if self.sockets_refused(now) {
            return Err(ConnectRefused::Unavailable);
        }
        let board = &mut self.switchboard;
        let found = board
            .channels
            .get(channel)
            .ok_or(ConnectRefused::NoChannel)?;
        if let Some(earlier) = found.socket {
            let frame = super::Frame::Close(1_000, "another socket has connected");
            board.drop_socket(earlier, Some(frame));
        }
        board.statistics.connects += 1;
        let socket = SocketId(board.statistics.connects);
        let heartbeat = now + board.options.heartbeat;
        if let Some(found) = board.channels.get_mut(channel) {
            found.socket = Some(socket);
            found.used = now;
        }
        board.sockets.insert(
            socket,
            Socket {
                channel: channel.to_owned(),
                heartbeat,
                closing: None,
            },
        );
        Ok(socket)
    }

    /// A socket has gone; its channel and topics stay.
    pub fn disconnect(&mut self, socket: SocketId, now: UnixMillis) {
        // What came to pass until now still went to it.
        self.pump(now);
        self.switchboard.drop_socket(socket, None);
    }

    /// A text has come from a client. `{"message":"ping"}` is answered; nothing else means
    /// anything.
    pub fn hear(&mut self, socket: SocketId, text: &str, now: UnixMillis) {
        let said: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        let channel = self.switchboard.sockets.get(&socket);
        if let (Some(channel), Some("ping")) = (channel, said["message"].as_str()) {
            let channel = channel.channel.clone();
            self.say(&channel, events::channel_message("pong"), now);
        }
    }

    /// Everything that is due, in order.
    pub fn take_frames(&mut self, now: UnixMillis) -> Vec<Outgoing> {
        self.pump(now);
        std::mem::take(&mut self.switchboard.outbox)
    }

    /// When there will be something to send, as far as that is known: a request or a fault may
    /// come first. `None`: nobody is connected.
    pub fn next_frame_at(&self, now: UnixMillis) -> Option<UnixMillis> {
        let board = &self.switchboard;
        if !board.outbox.is_empty() {
            return Some(now);
        }
        let skew = self.platform_now(now) - now;
        let by_platform = [
            board.due.first().map(|&(at, _)| at),
            board.late.first_key_value().map(|(&(at, _), _)| at),
        ];
        let sockets = board.sockets.values();
        let ours = sockets.map(|socket| {
            let closing = socket.closing.unwrap_or(socket.heartbeat);
            let expires = board.channels.get(&socket.channel);
            let expires = expires.map_or(closing, |channel| channel.expires);
            socket.heartbeat.min(closing).min(expires)
        });
        let first = ours.min()?;
        let events = by_platform.into_iter().flatten().map(|at| at - skew);
        Some(events.fold(first, UnixMillis::min))
    }

    /// Lets everything happen that is due.
    pub(in crate::simulator) fn pump(&mut self, now: UnixMillis) {
        let platform_now = self.platform_now(now);
        for channel in self.switchboard.expired(now) {
            let reason = "the channel has expired";
            self.switchboard.close_channel(&channel, 1_000, reason);
        }
        self.pin(now);
        self.let_events_happen(now, platform_now);
        self.mishaps(now);
        let interval = self.switchboard.options.heartbeat;
        let mut beats = Vec::new();
        for socket in self.switchboard.sockets.values_mut() {
            if socket.heartbeat <= now {
                // After a long silence one beat, not all that were missed.
                socket.heartbeat = now + interval;
                beats.push(socket.channel.clone());
            }
        }
        for channel in beats {
            let text = events::channel_message("WebSocket Heartbeat");
            self.say(&channel, text, now);
        }
    }

    fn let_events_happen(&mut self, now: UnixMillis, platform_now: UnixMillis) {
        loop {
            let due = self.switchboard.due.first().copied();
            let late = self.switchboard.late.first_key_value();
            let late = late
                .map(|(&key, _)| key)
                .filter(|key| key.0 <= platform_now);
            match (due.filter(|due| due.0 <= platform_now), late) {
                (Some((at, position)), late) if late.is_none_or(|late| at <= late.0) => {
                    self.switchboard.due.pop_first();
                    self.tell(position, at, now);
                    self.expect_change(position, at);
                }
                (_, Some(key)) => {
                    if let Some((channel, text)) = self.switchboard.late.remove(&key) {
                        self.deliver(&channel, text, now);
                    }
                }
                _ => return,
            }
        }
    }

    /// Watches for what the topics of a channel name, and nothing else.
    pub(super) fn watch(&mut self, id: &str, platform_now: UnixMillis) {
        self.switchboard.unwatch(id);
        let Some(channel) = self.switchboard.channels.get(id) else {
            return;
        };
        let topics: Vec<_> = channel.topics.values().flatten().cloned().collect();
        for topic in topics {
            let watcher = (id.to_owned(), topic.kind);
            if topic.of_queue {
                if let Some(queue) = self.roster.find_queue(&topic.id) {
                    let watchers = self.switchboard.queues.entry(queue).or_default();
                    watchers.insert(watcher);
                }
            } else if topic.kind != Kind::Silent
                && let Some(position) = self.roster.find(&topic.id)
            {
                let known = self.switchboard.agents.contains_key(&position);
                let watchers = self.switchboard.agents.entry(position).or_default();
                watchers.insert(watcher);
                if !known {
                    self.expect_change(position, platform_now);
                }
            }
        }
    }

    /// What comes of an agent is not what it was: its watchers hear of the next change in time.
    pub(in crate::simulator) fn future_changed(&mut self, position: usize, after: UnixMillis) {
        if self.switchboard.agents.contains_key(&position) {
            self.expect_change(position, after);
        }
    }

    /// Notes when an agent may next change; not for those who have left.
    fn expect_change(&mut self, position: usize, after: UnixMillis) {
        let seed = self.roster.spec().seed;
        let entry = self.roster.entry_mut(position);
        let (index, left) = (entry.agent.index, entry.left);
        let next = Reading::at(seed, index, &mut entry.timeline, after).next_change();
        if left.is_none_or(|left| next < left) {
            self.switchboard.due.insert((next, position));
        }
    }

    /// Tells the watchers of an agent what has changed at an instant.
    fn tell(&mut self, position: usize, at: UnixMillis, now: UnixMillis) {
        if !self.roster.entries()[position].is_registered(at) {
            return;
        }
        let was = self.standing(position, before(at));
        let is = self.standing(position, at);
        let changed = |kind: Kind| match kind {
            Kind::Activity => activity_of(&was) != activity_of(&is),
            Kind::Presence => activity_of(&was).1 != activity_of(&is).1,
            Kind::RoutingStatus => activity_of(&was).0 != activity_of(&is).0,
            Kind::ConversationSummary => counts_of(&was) != counts_of(&is),
            Kind::Members | Kind::Silent => false,
        };
        let watchers = self.switchboard.agents.get(&position).cloned();
        for (channel, kind) in watchers.unwrap_or_default() {
            if changed(kind) {
                let body = self.body_of(kind, position, &is, now);
                let id = self.roster.entries()[position].agent.id.clone();
                self.emit(&channel, &topic::name(kind, id.as_str()), &body, at, now);
            }
        }
    }

    fn body_of(
        &self,
        kind: Kind,
        position: usize,
        standing: &Standing,
        now: UnixMillis,
    ) -> serde_json::Value {
        let entry = &self.roster.entries()[position];
        let queues = self.roster.queue_ids(position);
        let activity = Activity {
            agent: &entry.agent,
            standing,
            unknown: self.is_unknown(position, now),
            queues: queues.iter().map(ToString::to_string).collect(),
            queues_since: entry.joined.unwrap_or(self.roster.origin()),
        };
        match kind {
            Kind::Activity => events::activity(&activity),
            Kind::Presence => events::presence(standing),
            Kind::RoutingStatus => events::routing_status(&activity),
            Kind::ConversationSummary => {
                user_bodies::conversation_summary(&entry.agent, standing.conversation)
            }
            Kind::Members | Kind::Silent => unreachable!("BUG: not a topic of what agents do"),
        }
    }

    /// Tells the watchers of an agent's queues that it has joined or left.
    pub(in crate::simulator) fn tell_membership(
        &mut self,
        id: &str,
        joined: bool,
        now: UnixMillis,
    ) {
        let Some(position) = self.roster.find(id) else {
            return;
        };
        let at = self.platform_now(now);
        let memberships = self.roster.entries()[position].agent.memberships.clone();
        for membership in memberships.iter().filter(|membership| membership.joined) {
            let queue = self.roster.queues()[membership.queue].id.clone();
            let watchers = self.switchboard.queues.get(&membership.queue).cloned();
            for (channel, kind) in watchers.unwrap_or_default() {
                let body = events::membership(id, queue.as_str(), joined);
                self.emit(&channel, &topic::name(kind, queue.as_str()), &body, at, now);
            }
        }
    }

    /// An event has come to pass; faults decide what becomes of it.
    fn emit(
        &mut self,
        channel: &str,
        topic: &str,
        body: &serde_json::Value,
        at: UnixMillis,
        now: UnixMillis,
    ) {
        let board = &mut self.switchboard;
        board.statistics.events += 1;
        board.counter += 1;
        let number = board.counter;
        let seed = self.roster.spec().seed;
        let text = events::envelope(topic, body, &chance::uuid(&[seed, CORRELATION, number]));
        let fate = self.fate(number, now);
        if fate.lost {
            self.switchboard.statistics.lost += 1;
        } else if fate.later > Millis::ZERO {
            let key = (at + fate.later, number);
            self.switchboard
                .late
                .insert(key, (channel.to_owned(), text));
        } else {
            if fate.twice {
                self.deliver(channel, text.clone(), now);
            }
            self.deliver(channel, text, now);
        }
    }

    fn deliver(&mut self, channel: &str, text: String, now: UnixMillis) {
        let sent = self.say(channel, text, now);
        self.switchboard.statistics.sent += u64::from(sent);
        self.switchboard.statistics.lost += u64::from(!sent);
    }

    /// Puts a text on a channel's socket, unless sockets are silent; whether it did.
    pub(super) fn say(&mut self, channel: &str, text: String, now: UnixMillis) -> bool {
        !self.sockets_silent(now) && self.switchboard.push(channel, text)
    }
}

/// What an activity event tells: status and presence, each with its start.
fn activity_of(standing: &Standing) -> ((&str, UnixMillis), (&str, UnixMillis)) {
    (
        (standing.status.wire(), standing.status_since),
        (standing.definition, standing.presence_since),
    )
}

/// What a conversation summary tells.
fn counts_of(standing: &Standing) -> Option<(&str, bool, bool)> {
    let open = standing.conversation?;
    Some((open.medium.summary, open.contact_center, open.after_call))
}
