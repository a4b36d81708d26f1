//! Push in the pipeline: channels under the budget, frames to the reconciler, scans after breaks.
//!
//! The poll goes on as it would without: it finds what push lost, and serves whoever found no
//! place on a channel. What it finds that push should have told is counted.

use std::sync::Arc;

use super::dialect::Spoken;
use super::{Pipeline, Task};
use crate::effect::{Effect, Level};
use crate::model::ids::UserId;
use crate::model::state::Source;
use crate::model::time::{Millis, Monotonic, Now, UnixMillis};
use crate::notifier::{Call, CallFailure, Command, Limits, Notifier, Told};
use crate::poller::Priority;
use crate::reconciler::evidence::Evidence;
use crate::snapshot::Judgement;
use crate::upstream::channel::{Frame, SocketEnd, SocketEvent, SocketId, Topic};
use crate::upstream::request::ApiRequest;
use crate::upstream::wire_platform;

use super::answers::Failure;

/// Frames that arrive together are kept and shown together: so long after the first …
const GATHER: Millis = Millis(25);
/// … and so long after the last commit, so that a storm of ten thousand agents costs a handful
/// of appends a second, not one a frame. Both lie far below the second that push promises.
const COMMITS_APART: Millis = Millis(150);
/// Channels come up one after the other; one scan serves all that came up in this time.
const RESYNC_GATHER: Millis = Millis::from_secs(1);
/// Scans for breaks are no closer together than this, however often sockets fall.
const RESYNC_APART: Millis = Millis::from_secs(5);
/// Where not everybody fits, places are dealt again this often: on queue first.
const REFIT: Millis = Millis::from_secs(300);

const _: () = assert!(GATHER.0 + COMMITS_APART.0 < 250);

/// What the pipeline keeps of push.
#[derive(Debug, Clone)]
pub(super) struct Push {
    pub(super) notifier: Notifier,
    /// Who is to be told of has changed.
    roster_changed: bool,
    fitted_at: Option<Monotonic>,
    /// Changes may have been missed: a scan is wanted, from then on.
    resync_at: Option<Monotonic>,
    scanned_at: Option<Monotonic>,
    disagreements: u64,
}

impl Push {
    pub(super) fn new(org: &str, now: Monotonic) -> Self {
        Self {
            notifier: Notifier::new(org, Limits::default(), now),
            roster_changed: true,
            fitted_at: None,
            resync_at: None,
            scanned_at: None,
            disagreements: 0,
        }
    }

    pub(super) fn view(&self) -> crate::model::push::PushView {
        crate::model::push::PushView {
            disagreements: self.disagreements,
            ..self.notifier.view()
        }
    }

    /// Registry or queues have changed.
    pub(super) fn roster_changed(&mut self) {
        self.roster_changed = true;
    }

    fn want_scan(&mut self, now: Monotonic) {
        let spaced = self.scanned_at.map_or(now, |at| at + RESYNC_APART);
        self.resync_at = Some((now + RESYNC_GATHER).max(spaced));
    }

    /// When a scan that was not due is wanted.
    pub(super) fn resync_at(&self) -> Option<Monotonic> {
        self.resync_at
    }

    /// A scan goes out: what was missed until now it will tell.
    pub(super) fn scan_began(&mut self, now: Monotonic) {
        self.resync_at = None;
        self.scanned_at = Some(now);
    }
}

impl Pipeline {
    /// Something came over sockets, in order.
    pub fn on_sockets(
        &mut self,
        arrivals: &[(SocketId, Now, SocketEvent)],
        now: Now,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (socket, arrived_at, event) in arrivals {
            match event {
                SocketEvent::Opened => self.on_opened(*socket, now),
                SocketEvent::Text(text) => {
                    self.on_text(*socket, text, *arrived_at, now, &mut effects);
                }
                SocketEvent::Ended(end) => self.on_ended(*socket, *end, now),
            }
        }
        self.proceed(now, &mut effects);
        effects
    }

    fn on_opened(&mut self, socket: SocketId, now: Now) {
        let at = self.skew.platform_at_most(now);
        let Some(push) = &mut self.push else {
            return;
        };
        if push.notifier.on_opened(socket, at, now.mono) {
            push.want_scan(now.mono);
        }
    }

    fn on_ended(&mut self, socket: SocketId, end: SocketEnd, now: Now) {
        let Some(push) = &mut self.push else {
            return;
        };
        let Some(reason) = push.notifier.on_ended(socket, end, now.mono) else {
            return;
        };
        let what = match end {
            SocketEnd::Address => "its address is not usable; is something between here and there?",
            SocketEnd::Refused(_) => "the platform refuses it",
            _ => "opening it again",
        };
        self.notice(
            Level::Warn,
            "push_socket",
            format!(
                "a socket of notifications ended ({}); {what}",
                reason.label()
            ),
        );
    }

    fn on_text(
        &mut self,
        socket: SocketId,
        text: &str,
        arrived_at: Now,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(push) = &mut self.push else {
            return;
        };
        let (told, command) = push.notifier.on_text(socket, text, now.mono);
        effects.extend(command.map(effect));
        match told {
            Told::Event { frame, since } => self.on_event(&frame, since, arrived_at, now),
            Told::TokenRevoked(generation) => {
                // Of twenty channels each says so: only the first costs a login.
                self.auth.unauthorised(generation, now.mono);
                let message = "the platform revoked the token of a channel of notifications";
                self.notice(Level::Warn, "push_token", message.to_owned());
            }
            Told::Missed => push.want_scan(now.mono),
            Told::Unreadable(error) => {
                self.reconciler.count_refused(1);
                self.notice(
                    Level::Warn,
                    "push_frame",
                    format!("a notification cannot be read: {error}"),
                );
            }
            Told::Nothing => {}
        }
    }

    fn on_event(&mut self, frame: &Frame, since: Option<UnixMillis>, arrived_at: Now, now: Now) {
        let mut evidence = Evidence {
            source: Source::Notification,
            // A frame has no time of its own: it says what it says of the start that it names.
            confirms: UnixMillis(0),
            latest: self.skew.platform_at_most(arrived_at),
            ingested_at: arrived_at.wall,
            tolerance: self.reconciler.tolerance(),
        };
        let changed = match frame {
            Frame::Activity {
                user,
                status,
                presence,
            } => {
                let presence = presence.as_ref();
                let turned = presence.is_some_and(|p| {
                    p.since <= evidence.latest && self.reconciler.on_pushed_presence(user, p)
                });
                let status = status.as_ref();
                let moved = status.is_some_and(|status| {
                    self.reconciler
                        .on_pushed_status(user, status, &evidence, since)
                });
                turned || moved
            }
            Frame::Interactions { user, open } => {
                evidence.confirms = self.skew.platform_at_least(arrived_at);
                self.reconciler
                    .on_pushed_interactions(user, *open, &evidence)
            }
            Frame::Membership { .. } => {
                self.directory.soon(now.mono);
                false
            }
            _ => false,
        };
        if changed {
            let spaced = self.committed_at + COMMITS_APART;
            let at = (now.mono + GATHER).max(spaced);
            self.commit_at = Some(self.commit_at.map_or(at, |known| known.min(at)));
        }
    }

    /// Channels and topics that are due, as the budget admits them.
    pub(super) fn plan_push(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.push.is_none() || self.health.accepted_at.is_none() {
            return;
        }
        self.fit_push(now.mono);
        while let Some((slot, call)) = self
            .push
            .as_ref()
            .and_then(|push| push.notifier.next_call(now.mono))
        {
            if !self.admit(Priority::Changed, 1, now.mono) {
                break;
            }
            let (task, request) = match call {
                Call::Open => (Task::OpenChannel(slot), ApiRequest::OpenChannel),
                Call::Subscribe(channel, topics) => (
                    Task::Subscribe(slot),
                    ApiRequest::Subscribe { channel, topics },
                ),
            };
            if let Some(push) = &mut self.push {
                push.notifier.called(slot);
            }
            self.send(task, request, Priority::Changed, effects);
        }
        self.hasten_scan(now);
    }

    /// What sockets are to do: they need no token and no budget.
    pub(super) fn plan_sockets(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let Some(push) = &mut self.push {
            effects.extend(push.notifier.act(now.mono).into_iter().map(effect));
        }
    }

    /// Brings the next scan forward if changes may have been missed and the budget has room.
    fn hasten_scan(&mut self, now: Now) {
        let wanted = self.push.as_ref().and_then(Push::resync_at);
        let Some(at) = wanted.filter(|_| self.scan.is_none()) else {
            return;
        };
        let pages = self.snapshot_pages;
        let room = self
            .budget
            .next_opportunity(Priority::Snapshot, pages, now.mono);
        // After this step at the earliest: what it plans has been planned.
        self.cycle.hasten(at.max(room).max(now.mono + Millis(1)));
    }

    fn fit_push(&mut self, now: Monotonic) {
        let Some(push) = &mut self.push else {
            return;
        };
        let crowded = self.reconciler.agents().len() > push.notifier.capacity();
        let again = crowded && push.fitted_at.is_none_or(|at| now - at >= REFIT);
        if !push.roster_changed && !again {
            return;
        }
        push.roster_changed = false;
        push.fitted_at = Some(now);
        let mut agents: Vec<(u8, &UserId)> = self
            .reconciler
            .agents()
            .iter()
            .map(|(user, agent)| {
                let rank = match &agent.presence {
                    Some(presence) if presence.label() == "on_queue" => 0,
                    Some(presence) if presence.is_offline() => 2,
                    _ => 1,
                };
                (rank, user)
            })
            .collect();
        agents.sort_unstable();
        let agents: Vec<UserId> = agents.into_iter().map(|(_, user)| user.clone()).collect();
        let queues = self.reconciler.directory().queues();
        let queues: Vec<_> = queues.keys().cloned().collect();
        push.notifier.fit(&agents, &queues);
    }

    pub(super) fn on_channel(&mut self, slot: usize, generation: u64, body: &[u8], now: Now) {
        let at = self.skew.platform_at_most(now);
        match wire_platform::channel(body) {
            Ok(channel) => {
                let life = channel.expires_at.map(|expires| expires - at);
                if let Some(push) = &mut self.push {
                    push.notifier
                        .on_channel(slot, channel, life, generation, now.mono);
                }
            }
            Err(error) => {
                let message = format!("a channel of notifications cannot be read: {error}");
                self.notice(Level::Warn, "push_channel", message);
                self.push_call_failed(slot, CallFailure::Refused, now);
            }
        }
    }

    pub(super) fn on_subscribed(
        &mut self,
        slot: usize,
        topics: &Arc<[Topic]>,
        body: &[u8],
        now: Now,
    ) {
        let at = self.skew.platform_at_most(now);
        let subscription = match wire_platform::subscription(body) {
            Ok(subscription) => subscription,
            Err(error) => {
                let message = format!("a list of topics cannot be read: {error}");
                self.notice(Level::Warn, "push_channel", message);
                self.push_call_failed(slot, CallFailure::Refused, now);
                return;
            }
        };
        if let Some(push) = &mut self.push
            && push
                .notifier
                .on_subscribed(slot, topics, &subscription, at, now.mono)
        {
            push.want_scan(now.mono);
        }
        if !subscription.rejected.is_empty() {
            let hint = if subscription.missing_permissions.is_empty() {
                String::new()
            } else {
                let missing = subscription.missing_permissions.join(", ");
                format!("; the OAuth client's role lacks {missing}")
            };
            self.notice(
                Level::Warn,
                "push_topics",
                format!(
                    "the platform refuses {} of {} topics of notifications{hint}; polling goes on \
                     for their agents",
                    subscription.rejected.len(),
                    topics.len()
                ),
            );
        }
    }

    /// A call about a channel has no usable answer.
    pub(super) fn push_failed(&mut self, slot: usize, failure: Failure, now: Now) {
        let failure = match failure {
            Failure::Status(404) => CallFailure::Gone,
            Failure::Status(400..=499) => CallFailure::Refused,
            _ => CallFailure::Passing,
        };
        self.push_call_failed(slot, failure, now);
    }

    fn push_call_failed(&mut self, slot: usize, failure: CallFailure, now: Now) {
        if let Some(push) = &mut self.push
            && let Some(command) = push.notifier.on_call_failed(slot, failure, now.mono)
        {
            // Notices and commands leave together with the next step's effects.
            self.notices.push(effect(command));
        }
    }

    /// Counts what a scan tells and push should have told.
    pub(super) fn compare_with_push(&mut self, judgement: &Judgement, sent_at: UnixMillis) {
        let Some(push) = &mut self.push else {
            return;
        };
        let missed = judgement.records.iter().filter(|record| {
            push.notifier
                .covered_since(&record.user_id)
                .is_some_and(|since| self.reconciler.push_missed(record, since, sent_at))
        });
        push.disagreements += missed.count() as u64;
    }

    /// Sets up push, where it is wanted and spoken.
    pub(super) fn begin_push(&mut self, spoken: Spoken, now: Monotonic) {
        let spoken = matches!(spoken, Spoken::Platform { .. });
        self.push = (self.config.notifications && spoken).then(|| Push::new(&self.config.org, now));
    }
}

fn effect(command: Command) -> Effect {
    match command {
        Command::Connect(socket, uri) => Effect::OpenSocket { socket, uri },
        Command::Ping(socket) => Effect::PingSocket(socket),
        Command::Close(socket) => Effect::CloseSocket(socket),
    }
}

#[cfg(test)]
mod tests;
