//! What goes wrong with sockets, channels and events, by the fault plan.

use super::super::chance;
use super::super::faults::{Active, FaultKind};
use super::super::platform::SimulatedPlatform;
use super::events;
use super::switchboard::Frame;
use crate::model::time::{Millis, UnixMillis};

/// Salts of what befalls an event.
const LOST: u64 = 63;
const TWICE: u64 = 64;
const LATER: u64 = 65;
/// Events out of order come this much later than they should, at most.
const LATER_MAX_MS: u64 = 5_000;

/// What befalls an event.
pub(super) struct Fate {
    pub(super) lost: bool,
    pub(super) twice: bool,
    pub(super) later: Millis,
}

impl SimulatedPlatform {
    pub(super) fn sockets_refused(&self, now: UnixMillis) -> bool {
        self.fault(FaultKind::SocketDrop, None, now).is_some()
    }

    pub(super) fn sockets_silent(&self, now: UnixMillis) -> bool {
        self.fault(FaultKind::SocketSilent, None, now).is_some()
    }

    /// Decides by the event's number.
    pub(super) fn fate(&self, number: u64, now: UnixMillis) -> Fate {
        let seed = self.roster.spec().seed;
        let strikes = |kind, salt| {
            let percent = self.fault(kind, None, now).map_or(0, Active::percent);
            chance::strikes(percent, &[seed, salt, number])
        };
        let later = if strikes(FaultKind::ReorderedEvents, LATER) {
            1 + chance::mix(&[seed, LATER, number, 1]) % LATER_MAX_MS
        } else {
            0
        };
        Fate {
            lost: strikes(FaultKind::LostEvents, LOST),
            twice: strikes(FaultKind::DuplicateEvents, TWICE),
            later: Millis(later as i64),
        }
    }

    /// Lets the faults of sockets and channels do what they do at this instant.
    pub(super) fn mishaps(&mut self, now: UnixMillis) {
        if self.sockets_refused(now) {
            let sockets: Vec<_> = self.switchboard.sockets.keys().copied().collect();
            for socket in sockets {
                self.switchboard.drop_socket(socket, Some(Frame::Cut));
            }
        }
        let eviction = self.fault(FaultKind::EvictedChannels, None, now);
        let closing = self.fault(FaultKind::SocketClosing, None, now);
        let begun = (
            eviction.map(|active| active.since),
            closing.map(|active| active.since),
        );
        let acted = std::mem::replace(&mut self.switchboard.acted, begun);
        if begun.0.is_some() && begun.0 != acted.0 {
            let channels: Vec<_> = self.switchboard.channels.keys().cloned().collect();
            for channel in channels {
                self.evict(&channel);
            }
        }
        if let Some(closing) = closing.filter(|_| begun.1 != acted.1) {
            self.announce_closing(now, Millis(closing.value));
        }
        let due = |at: Option<UnixMillis>| at.is_some_and(|at| at <= now);
        let sockets = self.switchboard.sockets.iter();
        let over: Vec<_> = sockets
            .filter(|(_, socket)| due(socket.closing))
            .map(|(&id, _)| id)
            .collect();
        for socket in over {
            let frame = Frame::Close(1_001, "maintenance");
            self.switchboard.drop_socket(socket, Some(frame));
        }
    }

    /// Maintenance: every open socket is told, and closed a while later. The channels stay.
    fn announce_closing(&mut self, now: UnixMillis, patience: Millis) {
        let client = self.tokens.client_id().to_owned();
        let mut told = Vec::new();
        for socket in self.switchboard.sockets.values_mut() {
            socket.closing = Some(now + patience);
            told.push(socket.channel.clone());
        }
        for channel in told {
            let topic = "v2.system.socket_closing";
            let message = "The socket will be closed for maintenance.";
            let text = events::system_message(topic, None, &channel, &client, None, message);
            self.say(&channel, text, now);
        }
    }

    /// A channel goes, to make room for another of the same client.
    pub(super) fn evict(&mut self, channel: &str) {
        self.switchboard.statistics.evicted += 1;
        self.end_channel(
            channel,
            "no_longer_subscribed",
            "another_channel_subscribed",
            "Another channel has taken the place of this one.",
        );
    }

    /// Every token becomes invalid, and every channel with it; how many tokens there were.
    pub(in crate::simulator) fn revoke_tokens(&mut self, now: UnixMillis) -> usize {
        self.pump(now);
        let channels: Vec<_> = self.switchboard.channels.keys().cloned().collect();
        for channel in channels {
            self.end_channel(
                &channel,
                "token_revoked",
                "user_tokens_revoked",
                "The token has been revoked.",
            );
        }
        self.tokens.revoke_all()
    }

    /// Says why, then closes.
    fn end_channel(&mut self, channel: &str, kind: &str, reason: &str, message: &str) {
        let client = self.tokens.client_id();
        let topic = format!("v2.system.{kind}.{channel}");
        let text =
            events::system_message(&topic, Some(kind), channel, client, Some(reason), message);
        self.switchboard.push(channel, text);
        self.switchboard
            .close_channel(channel, 1_000, "the channel has ended");
    }
}
