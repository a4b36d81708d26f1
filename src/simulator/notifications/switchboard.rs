//! Channels, sockets and what waits to be sent: the bookkeeping of notifications.
//!
//! Knows limits and lifetimes, but neither agents nor JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::topic::{Kind, Topic};
use crate::model::time::{Millis, UnixMillis};

/// Limits and lifetimes of notifications; tests make them small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotificationOptions {
    /// Channels that a client may have; one more evicts another.
    pub channels_max: usize,
    /// Topics that a channel may have.
    pub topics_max: usize,
    /// How long a channel lives unless its topics are set again.
    pub channel_lifetime: Millis,
    /// Between two heartbeats of a socket.
    pub heartbeat: Millis,
}

impl Default for NotificationOptions {
    /// The platform's own figures (platform-api.md §3).
    fn default() -> Self {
        Self {
            channels_max: 20,
            topics_max: 1_000,
            channel_lifetime: Millis::from_secs(86_400),
            heartbeat: Millis::from_secs(30),
        }
    }
}

/// A socket, from its connection to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// What a socket is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Send this text.
    Text(String),
    /// Close with a code and a reason.
    Close(u16, &'static str),
    /// Break off without a word.
    Cut,
}

/// A frame and its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Which socket.
    pub socket: SocketId,
    /// What it is to do.
    pub frame: Frame,
}

/// What has happened to notifications so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotificationStatistics {
    /// Channels made.
    pub channels: u64,
    /// Channels that had to make room for another, or fell to a fault.
    pub evicted: u64,
    /// Sockets connected.
    pub connects: u64,
    /// Sockets open now.
    pub open: u64,
    /// Events of subscribed topics that came to pass.
    pub events: u64,
    /// Events sent, repetitions included.
    pub sent: u64,
    /// Events that a fault kept back for good, or that had no socket to go to.
    pub lost: u64,
}

/// A channel.
#[derive(Debug, Clone)]
pub(super) struct Channel {
    pub(super) number: u64,
    /// Last created, connected or subscribed, by our clock.
    pub(super) used: UnixMillis,
    pub(super) expires: UnixMillis,
    /// Topics by the id under which they were subscribed.
    pub(super) topics: BTreeMap<String, Vec<Topic>>,
    pub(super) socket: Option<SocketId>,
}

/// A socket.
#[derive(Debug, Clone)]
pub(super) struct Socket {
    pub(super) channel: String,
    pub(super) heartbeat: UnixMillis,
    /// Announced to close at this instant.
    pub(super) closing: Option<UnixMillis>,
}

/// A subscription to what agents do: which channel, which kind.
pub(super) type Watchers = BTreeSet<(String, Kind)>;

/// All of it. Instants are by our clock but for `due` and `late`, which are by the platform's.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Switchboard {
    pub(super) options: NotificationOptions,
    pub(super) channels: BTreeMap<String, Channel>,
    pub(super) sockets: BTreeMap<SocketId, Socket>,
    /// By agent, by position.
    pub(super) agents: BTreeMap<usize, Watchers>,
    /// By queue, by position.
    pub(super) queues: BTreeMap<usize, Watchers>,
    /// Next instants at which something may change, with the agent; one an agent.
    pub(super) due: BTreeSet<(UnixMillis, usize)>,
    /// Events that a fault sends later than their successors.
    pub(super) late: BTreeMap<(UnixMillis, u64), (String, String)>,
    /// What is to be sent now.
    pub(super) outbox: Vec<Outgoing>,
    /// Faults whose beginning has been acted upon: (eviction, closing).
    pub(super) acted: (Option<Millis>, Option<Millis>),
    pub(super) statistics: NotificationStatistics,
    pub(super) counter: u64,
}

impl Switchboard {
    pub(in crate::simulator) fn new(options: NotificationOptions) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// The faults are others now: what has been acted upon may come again.
    pub(in crate::simulator) fn forget_faults(&mut self) {
        self.acted = (None, None);
    }

    /// What has happened so far.
    pub(in crate::simulator) fn statistics(&self) -> NotificationStatistics {
        NotificationStatistics {
            open: self.sockets.len() as u64,
            ..self.statistics
        }
    }

    /// A new channel with an id; another makes room for it if there are as many as may be: the
    /// one used longest ago, those without a socket first.
    pub(super) fn open_channel(&mut self, id: String, now: UnixMillis) -> Option<String> {
        let full = self.channels.len() >= self.options.channels_max;
        let evicted = full
            .then(|| {
                let order =
                    |channel: &Channel| (channel.socket.is_some(), channel.used, channel.number);
                self.channels
                    .iter()
                    .min_by_key(|(_, channel)| order(channel))
                    .map(|(id, _)| id.clone())
            })
            .flatten();
        self.statistics.channels += 1;
        self.channels.insert(
            id,
            Channel {
                number: self.statistics.channels,
                used: now,
                expires: now + self.options.channel_lifetime,
                topics: BTreeMap::new(),
                socket: None,
            },
        );
        evicted
    }

    /// Ends a channel and closes its socket.
    pub(super) fn close_channel(&mut self, id: &str, code: u16, reason: &'static str) {
        let Some(channel) = self.channels.remove(id) else {
            return;
        };
        self.unwatch(id);
        if let Some(socket) = channel.socket {
            self.sockets.remove(&socket);
            self.outbox.push(Outgoing {
                socket,
                frame: Frame::Close(code, reason),
            });
        }
    }

    /// Ends a socket; its channel and topics stay.
    pub(super) fn drop_socket(&mut self, id: SocketId, last: Option<Frame>) {
        let Some(socket) = self.sockets.remove(&id) else {
            return;
        };
        if let Some(channel) = self.channels.get_mut(&socket.channel) {
            channel.socket = None;
        }
        if let Some(frame) = last {
            self.outbox.push(Outgoing { socket: id, frame });
        }
    }

    /// Forgets what a channel is subscribed to.
    pub(super) fn unwatch(&mut self, channel: &str) {
        for watched in [&mut self.agents, &mut self.queues] {
            watched.retain(|_, watchers| {
                watchers.retain(|(watcher, _)| watcher != channel);
                !watchers.is_empty()
            });
        }
        let agents = &self.agents;
        self.due
            .retain(|(_, position)| agents.contains_key(position));
    }

    /// Puts a text on the socket of a channel; false if it has none.
    pub(super) fn push(&mut self, channel: &str, text: String) -> bool {
        let socket = self
            .channels
            .get(channel)
            .and_then(|channel| channel.socket);
        if let Some(socket) = socket {
            self.outbox.push(Outgoing {
                socket,
                frame: Frame::Text(text),
            });
        }
        socket.is_some()
    }

    /// Channels whose life is over.
    pub(super) fn expired(&self, now: UnixMillis) -> Vec<String> {
        let over = |channel: &Channel| channel.expires <= now;
        let channels = self.channels.iter();
        channels
            .filter(|(_, channel)| over(channel))
            .map(|(id, _)| id.clone())
            .collect()
    }
}
