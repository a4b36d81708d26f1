//! Sockets in virtual time: what the carrier of frames does, without sockets. Frames of one socket
//! arrive in the order in which they were sent, whatever each is held up by on its way.

use std::collections::BTreeMap;

use genesys_cloud_exporter::model::time::UnixMillis;
use genesys_cloud_exporter::simulator::notifications as platform;
use genesys_cloud_exporter::upstream::channel::{ConnectUri, SocketEnd, SocketEvent, SocketId};
use rand::Rng as _;

use super::world::{Event, World};

/// The simulator's pump looks this often at the latest, because faults begin by the clock.
const PUMP_EVERY: i64 = 500;

/// What is under way over a socket, and to whom.
#[derive(Debug)]
pub(super) enum Towards {
    /// A handshake, to the platform.
    Connect(String),
    /// A question, to the platform.
    Ping,
    /// Something, to the exporter.
    Event(SocketEvent),
}

/// A socket that the platform has.
#[derive(Debug, Clone, Copy)]
struct Open {
    platform: platform::SocketId,
    /// When the last of what was sent over it arrives.
    arrives: i64,
}

#[derive(Debug, Default)]
pub(super) struct Sockets {
    open: BTreeMap<SocketId, Open>,
    pumped_at: i64,
}

impl World<'_> {
    /// When the platform has something to send, or is to be looked at.
    pub(super) fn frames_due(&self) -> Option<i64> {
        if self.sockets.open.is_empty() {
            return None;
        }
        let next = self.platform.next_frame_at(UnixMillis(self.now));
        let latest = self.sockets.pumped_at + PUMP_EVERY;
        // What was due until now is out.
        let first = self.now.max(self.sockets.pumped_at + 1);
        Some(next.map_or(latest, |at| at.0.min(latest)).max(first))
    }

    /// Puts on their way what the platform sends.
    pub(super) fn pump(&mut self) {
        self.sockets.pumped_at = self.now;
        for outgoing in self.platform.take_frames(UnixMillis(self.now)) {
            let ours = self.sockets.open.iter();
            let ours = ours.filter(|(_, open)| open.platform == outgoing.socket);
            let Some(socket) = ours.map(|(socket, _)| *socket).next() else {
                continue;
            };
            let event = match outgoing.frame {
                platform::Frame::Text(text) => SocketEvent::Text(text),
                platform::Frame::Close(..) => SocketEvent::Ended(SocketEnd::Closed),
                platform::Frame::Cut => SocketEvent::Ended(SocketEnd::Broken),
            };
            self.towards_exporter(socket, event);
        }
    }

    fn way(&mut self) -> i64 {
        let latency = self.options.latency.clone();
        self.random.random_range(latency)
    }

    pub(super) fn open_socket(&mut self, socket: SocketId, uri: &ConnectUri) {
        let channel = uri.expose().rsplit('/').next().unwrap_or_default();
        self.towards_platform(socket, Towards::Connect(channel.to_owned()));
    }

    pub(super) fn towards_platform(&mut self, socket: SocketId, what: Towards) {
        let at = self.now + self.way();
        self.at(at, Event::Socket(self.lives, socket, what));
    }

    fn towards_exporter(&mut self, socket: SocketId, event: SocketEvent) {
        let mut at = self.now + self.way();
        let ended = matches!(event, SocketEvent::Ended(_));
        if let Some(open) = self.sockets.open.get_mut(&socket) {
            at = at.max(open.arrives);
            open.arrives = at;
        }
        if ended {
            self.sockets.open.remove(&socket);
        }
        self.at(at, Event::Socket(self.lives, socket, Towards::Event(event)));
    }

    /// Something has arrived.
    pub(super) fn towards(&mut self, life: u64, socket: SocketId, what: Towards) {
        if life != self.lives || self.life.is_none() {
            return;
        }
        let now = UnixMillis(self.now);
        match what {
            Towards::Connect(_) if self.now < self.outage_until => {
                self.towards_exporter(socket, SocketEvent::Ended(SocketEnd::Connect));
            }
            Towards::Connect(channel) => match self.platform.connect(&channel, now) {
                Ok(platform) => {
                    let open = Open {
                        platform,
                        arrives: self.now,
                    };
                    self.sockets.open.insert(socket, open);
                    self.towards_exporter(socket, SocketEvent::Opened);
                }
                Err(refused) => {
                    let end = SocketEnd::Refused(refused.status());
                    self.towards_exporter(socket, SocketEvent::Ended(end));
                }
            },
            Towards::Ping => {
                if let Some(open) = self.sockets.open.get(&socket) {
                    let text = r#"{"message":"ping"}"#;
                    self.platform.hear(open.platform, text, now);
                }
            }
            Towards::Event(event) => {
                self.step_pipeline(|pipeline, now| {
                    pipeline.on_sockets(&[(socket, now, event)], now)
                });
            }
        }
    }

    /// The exporter hangs up.
    pub(super) fn close_socket(&mut self, socket: SocketId) {
        if let Some(open) = self.sockets.open.remove(&socket) {
            self.platform
                .disconnect(open.platform, UnixMillis(self.now));
        }
    }

    /// The network is gone.
    pub(super) fn break_sockets(&mut self) {
        let open: Vec<SocketId> = self.sockets.open.keys().copied().collect();
        for socket in open {
            self.close_socket(socket);
            self.towards_exporter(socket, SocketEvent::Ended(SocketEnd::Broken));
        }
    }

    /// The exporter is gone.
    pub(super) fn forget_sockets(&mut self) {
        let open: Vec<SocketId> = self.sockets.open.keys().copied().collect();
        for socket in open {
            self.close_socket(socket);
        }
    }
}
