//! One channel: made, given its topics, connected, watched, renewed, given up.
//!
//! The order is fixed: a channel gets its topics before its socket, so that an open socket misses
//! nothing. Whose changes a channel tells in full, and since when, is [`Link::covered_since`]:
//! what the reconciler builds proofs on, so it errs towards later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::backoff;
use crate::model::ids::UserId;
use crate::model::push::{ChannelState, ReconnectReason};
use crate::model::time::{Millis, Monotonic, UnixMillis};
use crate::upstream::channel::{
    Channel, ChannelId, ConnectUri, Frame, SocketEnd, SocketId, Subscription, Topic,
};

/// The platform sends a heartbeat about every 30 s; one that is a second late is asked for.
const PING_AFTER: Millis = Millis::from_secs(31);
/// Nothing heard for so long: the socket is dead. The platform's own clients wait 35 s
/// (platform-api.md §3); a ping has had seven seconds to be answered by then.
const DEAD_AFTER: Millis = Millis::from_secs(38);
/// A channel is renewed when this part of its life is left, in percent: of 24 h, more than two.
const RENEW_PERCENT_LEFT: i64 = 10;
/// The life of a channel of which none was told.
const LIFE_DEFAULT: Millis = Millis::from_secs(24 * 3_600);
/// Shortest life believed; a shorter one would make renewals a hammer.
const LIFE_MIN: Millis = Millis::from_secs(60);
/// A socket that has been open for so long has worked: earlier failures are forgotten.
const PROVEN_AFTER: Millis = Millis::from_secs(60);
/// Handshakes that fail in a row before the channel itself is given up for a new one.
const CONNECTS_MAX: u32 = 5;
/// The platform may take a moment from the answer to a subscription, or from the handshake, until
/// it tells every event: only what happens later counts as told in full.
const SETTLING: Millis = Millis::from_secs(2);

const _: () = assert!(PING_AFTER.0 < DEAD_AFTER.0);
const _: () = assert!(DEAD_AFTER.0 >= 35_000 && DEAD_AFTER.0 <= 40_000);

/// A call that a channel needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Make one.
    Open,
    /// Give it all its topics.
    Subscribe(ChannelId, Arc<[Topic]>),
}

/// Why a call has no usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFailure {
    /// The platform knows no such channel.
    Gone,
    /// It refuses, and will refuse again.
    Refused,
    /// It passes by itself.
    Passing,
}

/// Something to do with a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Connect to this address.
    Connect(SocketId, ConnectUri),
    /// Ask whether the other side is there.
    Ping(SocketId),
    /// Hang up. The socket's name is forgotten already.
    Close(SocketId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Socket {
    Closed,
    Opening(SocketId),
    Open {
        id: SocketId,
        opened_at: Monotonic,
        heard_at: Monotonic,
        pinged: bool,
    },
}

/// One channel.
#[derive(Debug, Clone)]
pub(super) struct Link {
    seed: u64,
    channel: Option<Channel>,
    /// What the channel is to tell.
    wanted: Arc<[Topic]>,
    /// What it was last told to tell; `None`: nothing yet, or nothing any more.
    accepted: Option<Arc<[Topic]>>,
    /// Agents whose topics are all accepted.
    permitted: BTreeSet<UserId>,
    /// The token that the channel was made with.
    generation: u64,
    /// A call is out.
    calling: bool,
    /// No call before this, and no connection.
    not_before: Monotonic,
    connect_at: Monotonic,
    life: Millis,
    renew_at: Monotonic,
    /// Failures in a row, of calls and of sockets.
    failures: u32,
    connect_failures: u32,
    socket: Socket,
    /// Maintenance: to be left then.
    leave_at: Option<Monotonic>,
    /// Since when an agent's changes are told in full, by the platform's clock.
    covered: BTreeMap<UserId, UnixMillis>,
}

impl Link {
    pub(super) fn new(seed: u64, now: Monotonic) -> Self {
        Self {
            seed,
            channel: None,
            wanted: Arc::from([]),
            accepted: None,
            permitted: BTreeSet::new(),
            generation: 0,
            calling: false,
            not_before: now,
            connect_at: now,
            life: LIFE_DEFAULT,
            renew_at: now,
            failures: 0,
            connect_failures: 0,
            socket: Socket::Closed,
            leave_at: None,
            covered: BTreeMap::new(),
        }
    }

    /// The whole list of topics from now on.
    pub(super) fn want(&mut self, topics: Arc<[Topic]>) {
        self.wanted = topics;
    }

    pub(super) fn is_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    pub(super) fn state(&self) -> ChannelState {
        match (&self.channel, &self.accepted, self.socket) {
            (None, ..) => ChannelState::Absent,
            (Some(_), None, _) => ChannelState::Subscribing,
            (Some(_), Some(_), Socket::Open { .. }) => ChannelState::Live,
            (Some(_), Some(_), _) => ChannelState::Connecting,
        }
    }

    /// The token that the channel was made with.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The socket in use.
    pub(super) fn socket(&self) -> Option<SocketId> {
        match self.socket {
            Socket::Closed => None,
            Socket::Opening(id) | Socket::Open { id, .. } => Some(id),
        }
    }

    /// Agents told in full.
    pub(super) fn covered(&self) -> usize {
        self.covered.len()
    }

    /// Since when every change of an agent is told, by the platform's clock.
    pub(super) fn covered_since(&self, user: &UserId) -> Option<UnixMillis> {
        self.covered.get(user).copied()
    }

    /// The call that is due, if one is.
    pub(super) fn call(&self, now: Monotonic) -> Option<Call> {
        if self.calling || now < self.not_before {
            return None;
        }
        match &self.channel {
            None => self.is_wanted().then_some(Call::Open),
            Some(channel) => self.owes_topics(now).then(|| {
                let topics = Arc::clone(&self.wanted);
                Call::Subscribe(channel.id.clone(), topics)
            }),
        }
    }

    fn owes_topics(&self, now: Monotonic) -> bool {
        now >= self.renew_at || self.accepted.as_ref() != Some(&self.wanted)
    }

    /// The call goes out.
    pub(super) fn called(&mut self) {
        self.calling = true;
    }

    /// A channel was made; it lives for `life`.
    pub(super) fn on_channel(
        &mut self,
        channel: Channel,
        life: Option<Millis>,
        generation: u64,
        now: Monotonic,
    ) {
        self.calling = false;
        self.generation = generation;
        self.channel = Some(channel);
        self.accepted = None;
        self.connect_failures = 0;
        self.life = life.unwrap_or(LIFE_DEFAULT).max(LIFE_MIN);
        self.renew(now);
    }

    fn renew(&mut self, now: Monotonic) {
        let left = self.life.0 * RENEW_PERCENT_LEFT / 100;
        self.renew_at = now + Millis(self.life.0 - left);
    }

    /// The topics asked for were accepted, but those that were rejected. `at`: the platform's
    /// clock shows at most this now.
    pub(super) fn on_subscribed(
        &mut self,
        topics: &Arc<[Topic]>,
        subscription: &Subscription,
        at: UnixMillis,
        now: Monotonic,
    ) {
        self.calling = false;
        let rejected: BTreeSet<&str> = subscription
            .rejected
            .iter()
            .map(|(id, _)| id.as_str())
            .collect();
        self.permitted = permitted(topics, &rejected);
        self.accepted = Some(Arc::clone(topics));
        self.renew(now);
        let permitted = &self.permitted;
        self.covered.retain(|user, _| permitted.contains(user));
        if matches!(self.socket, Socket::Open { .. }) {
            self.cover(at);
        }
    }

    fn cover(&mut self, at: UnixMillis) {
        for user in &self.permitted {
            self.covered.entry(user.clone()).or_insert(at + SETTLING);
        }
    }

    pub(super) fn on_call_failed(
        &mut self,
        failure: CallFailure,
        now: Monotonic,
    ) -> Option<Command> {
        self.calling = false;
        self.failures = self.failures.saturating_add(1);
        let seed = self.seed ^ now.0.unsigned_abs();
        self.not_before = now
            + match failure {
                CallFailure::Refused => backoff::refused(seed),
                CallFailure::Passing | CallFailure::Gone => backoff::passing(self.failures, seed),
            };
        (failure == CallFailure::Gone)
            .then(|| self.abandon())
            .flatten()
    }

    /// The channel is no more: everything begins anew.
    fn abandon(&mut self) -> Option<Command> {
        let close = self.socket().map(Command::Close);
        self.channel = None;
        self.accepted = None;
        self.permitted.clear();
        self.hung_up();
        close
    }

    fn hung_up(&mut self) {
        self.socket = Socket::Closed;
        self.leave_at = None;
        self.covered.clear();
    }

    /// What is to be done with the socket now, and why one is to be opened again.
    pub(super) fn act(
        &mut self,
        next: &mut u64,
        now: Monotonic,
    ) -> (Vec<Command>, Option<ReconnectReason>) {
        let mut commands = Vec::new();
        let mut reason = None;
        if let Socket::Open {
            id,
            opened_at,
            heard_at,
            pinged,
        } = &mut self.socket
        {
            if now - *opened_at >= PROVEN_AFTER {
                self.failures = 0;
            }
            if now - *heard_at >= DEAD_AFTER {
                commands.push(Command::Close(*id));
                reason = Some(ReconnectReason::Silent);
            } else if self.leave_at.is_some_and(|at| at <= now) {
                commands.push(Command::Close(*id));
                reason = Some(ReconnectReason::Maintenance);
            } else if now - *heard_at >= PING_AFTER && !*pinged {
                *pinged = true;
                commands.push(Command::Ping(*id));
            }
        }
        if reason.is_some() {
            self.hung_up();
            self.connect_at = now;
        }
        if self.socket == Socket::Closed
            && self.accepted.is_some()
            && self.connect_at <= now
            && let Some(channel) = &self.channel
        {
            *next += 1;
            let id = SocketId(*next);
            self.socket = Socket::Opening(id);
            commands.push(Command::Connect(id, channel.connect_uri.clone()));
        }
        (commands, reason)
    }

    /// The handshake is done. `at`: the platform's clock shows at most this now.
    pub(super) fn on_opened(&mut self, at: UnixMillis, now: Monotonic) {
        if let Socket::Opening(id) = self.socket {
            self.connect_failures = 0;
            self.socket = Socket::Open {
                id,
                opened_at: now,
                heard_at: now,
                pinged: false,
            };
            self.cover(at);
        }
    }

    /// The socket is no more, or never was.
    pub(super) fn on_ended(&mut self, end: SocketEnd, now: Monotonic) -> ReconnectReason {
        let was_open = matches!(self.socket, Socket::Open { .. });
        self.hung_up();
        self.failures = self.failures.saturating_add(1);
        let seed = self.seed ^ now.0.unsigned_abs();
        if was_open && self.failures == 1 {
            self.connect_at = now + backoff::reconnect(seed);
        } else {
            self.connect_at = now + backoff::passing(self.failures, seed);
        }
        if was_open {
            return if end == SocketEnd::Closed {
                ReconnectReason::Closed
            } else {
                ReconnectReason::Broken
            };
        }
        self.connect_failures += 1;
        let gone = matches!(
            end,
            SocketEnd::Refused(401 | 403 | 404 | 410) | SocketEnd::Address
        );
        if gone || self.connect_failures >= CONNECTS_MAX {
            self.not_before = self.not_before.max(self.connect_at);
            self.abandon();
        }
        ReconnectReason::Failed
    }

    /// Something was heard; what it means for the channel.
    pub(super) fn on_frame(
        &mut self,
        frame: Option<&Frame>,
        now: Monotonic,
    ) -> (Option<Command>, Option<ReconnectReason>) {
        if let Socket::Open {
            heard_at, pinged, ..
        } = &mut self.socket
        {
            *heard_at = now;
            *pinged = false;
        }
        match frame {
            Some(Frame::SocketClosing) if self.leave_at.is_none() => {
                self.leave_at = Some(now + backoff::maintenance(self.seed));
                (None, None)
            }
            Some(Frame::NoLongerSubscribed) => {
                // Another channel took the topics, or this one's place: ask for them again, not
                // at once, or two exporters would take them from each other without end.
                self.accepted = None;
                self.permitted.clear();
                self.covered.clear();
                self.failures = self.failures.saturating_add(1);
                let wait = backoff::passing(self.failures, self.seed ^ now.0.unsigned_abs());
                self.not_before = self.not_before.max(now + wait);
                (None, None)
            }
            Some(Frame::TokenRevoked) => (self.abandon(), Some(ReconnectReason::Revoked)),
            _ => (None, None),
        }
    }

    /// When there is something to do by the passing of time alone.
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let mut next: Option<Monotonic> = None;
        let mut consider = |at: Monotonic| next = Some(next.map_or(at, |known| known.min(at)));
        if !self.calling {
            match &self.channel {
                None if self.is_wanted() => consider(self.not_before),
                None => {}
                Some(_) if self.accepted.as_ref() != Some(&self.wanted) => {
                    consider(self.not_before);
                }
                Some(_) => consider(self.renew_at.max(self.not_before)),
            }
        }
        match self.socket {
            Socket::Closed if self.accepted.is_some() => consider(self.connect_at),
            Socket::Closed | Socket::Opening(_) => {}
            Socket::Open {
                heard_at, pinged, ..
            } => {
                consider(heard_at + if pinged { DEAD_AFTER } else { PING_AFTER });
                if let Some(at) = self.leave_at {
                    consider(at);
                }
            }
        }
        next
    }
}

/// Agents of a list whose topics were all accepted.
fn permitted(topics: &[Topic], rejected: &BTreeSet<&str>) -> BTreeSet<UserId> {
    let mut agents = BTreeSet::new();
    let mut lost = Vec::new();
    for topic in topics {
        let (Topic::Activity(user) | Topic::ConversationSummary(user)) = topic else {
            continue;
        };
        agents.insert(user.clone());
        if !rejected.is_empty() && rejected.contains(&*topic.name().to_ascii_lowercase()) {
            lost.push(user);
        }
    }
    for user in lost {
        agents.remove(user);
    }
    agents
}
