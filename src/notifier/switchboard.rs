//! All channels together: who is on which, which call is next, what a frame tells.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::allotment::{Allotment, Limits};
use super::link::{Call, CallFailure, Command, Link};
use crate::model::ids::{QueueId, UserId};
use crate::model::push::{ChannelState, PushView, ReconnectReason};
use crate::model::time::{Millis, Monotonic, UnixMillis};
use crate::poller::jitter;
use crate::upstream::channel::{
    Channel, Frame, RejectionReason, SocketEnd, SocketId, Subscription, Topic, TopicClass,
};
use crate::upstream::wire_platform::{self, FrameError};

/// What a frame means for others than the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Something happened to an agent or a queue. `since`: from when on every change of the
    /// agent was told, by the platform's clock.
    Event {
        /// What.
        frame: Frame,
        /// `None`: changes may have been missed until now.
        since: Option<UnixMillis>,
    },
    /// The token of this generation is no longer good.
    TokenRevoked(u64),
    /// Changes may have been missed: ask for everyone.
    Missed,
    /// The frame cannot be read.
    Unreadable(FrameError),
    /// Nothing to anyone else.
    Nothing,
}

/// All channels.
#[derive(Debug, Clone)]
pub struct Notifier {
    allotment: Allotment,
    links: Vec<Link>,
    /// Sockets in use, and whose they are.
    sockets: BTreeMap<SocketId, usize>,
    last_socket: u64,
    unplaced: usize,
    view: PushView,
}

impl Notifier {
    /// No channel yet. `org` seeds the jitter, so that exporters of many organisations differ.
    pub fn new(org: &str, limits: Limits, now: Monotonic) -> Self {
        let seed = jitter::fnv1a(org.as_bytes());
        let links = (0..limits.channels as u64)
            .map(|slot| Link::new(seed.wrapping_add(slot.wrapping_mul(0x9e37_79b9)), now));
        Self {
            allotment: Allotment::new(limits),
            links: links.collect(),
            sockets: BTreeMap::new(),
            last_socket: 0,
            unplaced: 0,
            view: nothing_yet(),
        }
    }

    /// Agents that find a place at most.
    pub fn capacity(&self) -> usize {
        self.allotment.capacity()
    }

    /// Wants push for the first of `agents` and of `queues`, as many as there is room for.
    pub fn fit(&mut self, agents: &[UserId], queues: &[QueueId]) {
        self.unplaced = agents.len().saturating_sub(self.allotment.capacity());
        for slot in self.allotment.fit(agents, queues) {
            self.links[slot].want(self.allotment.topics(slot));
        }
    }

    /// The call that is due and most urgent: a channel nearer to being live comes first.
    pub fn next_call(&self, now: Monotonic) -> Option<(usize, Call)> {
        let calls = || {
            let links = self.links.iter().enumerate();
            links.filter_map(|(slot, link)| Some((slot, link.call(now)?)))
        };
        calls()
            .find(|(_, call)| matches!(call, Call::Subscribe(..)))
            .or_else(|| calls().next())
    }

    /// The call that [`Self::next_call`] named for this channel goes out.
    pub fn called(&mut self, slot: usize) {
        self.links[slot].called();
    }

    /// A channel was made, with the token of this generation, and lives for `life` if that was
    /// told.
    pub fn on_channel(
        &mut self,
        slot: usize,
        channel: Channel,
        life: Option<Millis>,
        generation: u64,
        now: Monotonic,
    ) {
        self.links[slot].on_channel(channel, life, generation, now);
    }

    /// A list of topics was answered. `at`: the platform's clock shows at most this now. True if
    /// agents are told from now on that were not before: what happened until now is to be asked.
    pub fn on_subscribed(
        &mut self,
        slot: usize,
        topics: &Arc<[Topic]>,
        subscription: &Subscription,
        at: UnixMillis,
        now: Monotonic,
    ) -> bool {
        for (_, reason) in &subscription.rejected {
            *self.view.rejections.entry(reason.label()).or_default() += 1;
        }
        let before = self.links[slot].covered();
        self.links[slot].on_subscribed(topics, subscription, at, now);
        self.links[slot].covered() > before
    }

    /// A call has no usable answer.
    pub fn on_call_failed(
        &mut self,
        slot: usize,
        failure: CallFailure,
        now: Monotonic,
    ) -> Option<Command> {
        let socket = self.links[slot].socket();
        let command = self.links[slot].on_call_failed(failure, now);
        if self.links[slot].socket().is_none()
            && let Some(socket) = socket
        {
            self.sockets.remove(&socket);
            self.count(ReconnectReason::Revoked);
        }
        command
    }

    /// What is to be done with sockets now.
    pub fn act(&mut self, now: Monotonic) -> Vec<Command> {
        let mut all = Vec::new();
        for slot in 0..self.links.len() {
            let (commands, reason) = self.links[slot].act(&mut self.last_socket, now);
            if let Some(reason) = reason {
                self.count(reason);
            }
            for command in &commands {
                match command {
                    Command::Connect(socket, _) => drop(self.sockets.insert(*socket, slot)),
                    Command::Close(socket) => drop(self.sockets.remove(socket)),
                    Command::Ping(_) => {}
                }
            }
            all.extend(commands);
        }
        all
    }

    /// A handshake is done. `at`: the platform's clock shows at most this now. False if nobody
    /// asked for this socket any more.
    pub fn on_opened(&mut self, socket: SocketId, at: UnixMillis, now: Monotonic) -> bool {
        let Some(slot) = self.sockets.get(&socket) else {
            return false;
        };
        self.links[*slot].on_opened(at, now);
        true
    }

    /// A socket is no more; why it is to be opened again, unless it was given up before.
    pub fn on_ended(
        &mut self,
        socket: SocketId,
        end: SocketEnd,
        now: Monotonic,
    ) -> Option<ReconnectReason> {
        let slot = self.sockets.remove(&socket)?;
        let reason = self.links[slot].on_ended(end, now);
        self.count(reason);
        Some(reason)
    }

    /// A text came over a socket.
    pub fn on_text(
        &mut self,
        socket: SocketId,
        text: &str,
        now: Monotonic,
    ) -> (Told, Option<Command>) {
        let Some(&slot) = self.sockets.get(&socket) else {
            return (Told::Nothing, None);
        };
        let read = wire_platform::frame(text);
        let class = read.as_ref().map_or(TopicClass::Invalid, Frame::class);
        *self.view.events.entry(class.label()).or_default() += 1;
        let (command, reason) = self.links[slot].on_frame(read.as_ref().ok(), now);
        if let Some(reason) = reason {
            self.sockets.remove(&socket);
            self.count(reason);
        }
        let told = match read {
            Err(error) => Told::Unreadable(error),
            Ok(Frame::TokenRevoked) => Told::TokenRevoked(self.links[slot].generation()),
            Ok(Frame::NoLongerSubscribed) => Told::Missed,
            Ok(frame @ (Frame::Activity { .. } | Frame::Interactions { .. })) => {
                let since = match &frame {
                    Frame::Activity { user, .. } | Frame::Interactions { user, .. } => {
                        self.links[slot].covered_since(user)
                    }
                    _ => None,
                };
                Told::Event { frame, since }
            }
            Ok(frame @ Frame::Membership { .. }) => Told::Event { frame, since: None },
            Ok(_) => Told::Nothing,
        };
        (told, command)
    }

    /// Since when every change of an agent is told, by the platform's clock.
    pub fn covered_since(&self, user: &UserId) -> Option<UnixMillis> {
        self.links[self.allotment.slot_of(user)?].covered_since(user)
    }

    /// When there is something to do by the passing of time alone.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.links.iter().filter_map(Link::next_deadline).min()
    }

    /// Push about itself.
    pub fn view(&self) -> PushView {
        let mut view = self.view.clone();
        view.channels = ChannelState::ALL.map(|state| (state, 0)).into();
        for link in self.links.iter().filter(|link| link.is_wanted()) {
            *view.channels.entry(link.state()).or_default() += 1;
            view.agents += link.covered() as u64;
        }
        view.agents_unplaced = self.unplaced as u64;
        view
    }

    fn count(&mut self, reason: ReconnectReason) {
        *self.view.reconnects.entry(reason).or_default() += 1;
    }
}

/// Every label value present, at zero.
fn nothing_yet() -> PushView {
    PushView {
        events: TopicClass::ALL.map(|class| (class.label(), 0)).into(),
        reconnects: ReconnectReason::ALL.map(|reason| (reason, 0)).into(),
        rejections: RejectionReason::ALL
            .map(|reason| (reason.label(), 0))
            .into(),
        ..PushView::default()
    }
}

#[cfg(test)]
mod tests;
