//! What the public platform says of an agent at an instant: routing status, presence, open
//! conversations, read off the same timeline as everything else (platform-api.md §10).
//!
//! The platform tells less than the timeline knows: after-call work moves neither status nor
//! start time, so one `INTERACTING` spans a call, its wrap-up, and a call that follows at once.
//! A status belongs to a whole segment; it is known once the segment's end is, so a timeline is
//! written on that far. Pure: nothing is stored.

use super::behaviour::{PresenceStart, RoutingStart, Timeline};
use super::chance;
use super::presence::SystemPresence;
use crate::model::state::RoutingState;
use crate::model::time::{Millis, UnixMillis};

/// Salts of the choices below.
const OUTBOUND: u64 = 41;
const MEDIUM: u64 = 42;
const CONVERSATION: u64 = 43;
const DEFINITION: u64 = 44;
/// Of the calls that have no after-call work, this percentage are outside all queues.
const OUTBOUND_PERCENT: u32 = 50;

/// Whoever shows a pause within this of becoming not ready has asked for it; who shows it later
/// has missed an alert first.
const MISSED_FOR: Millis = Millis::from_secs(20);

/// Which part of a stay out of work an agent did not ask for: an alert was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missed {
    Nothing,
    /// Until the desktop shows this presence: then the agent has gone off queue.
    Until(usize),
    Throughout,
}

/// The platform's routing status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RoutingStatus {
    OffQueue,
    Idle,
    Interacting,
    NotResponding,
    Communicating,
}

impl RoutingStatus {
    /// The one spelling that it has everywhere.
    pub(super) const fn wire(self) -> &'static str {
        match self {
            Self::OffQueue => "OFF_QUEUE",
            Self::Idle => "IDLE",
            Self::Interacting => "INTERACTING",
            Self::NotResponding => "NOT_RESPONDING",
            Self::Communicating => "COMMUNICATING",
        }
    }
}

/// A medium: its key in a conversation summary, and its name in analytics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Medium {
    pub(super) summary: &'static str,
    pub(super) analytics: &'static str,
}

const VOICE: Medium = Medium {
    summary: "call",
    analytics: "voice",
};
/// What one in five contact-centre interactions is; the others are calls.
const DIGITAL: [Medium; 4] = [
    Medium {
        summary: "chat",
        analytics: "chat",
    },
    Medium {
        summary: "message",
        analytics: "message",
    },
    Medium {
        summary: "email",
        analytics: "email",
    },
    Medium {
        summary: "callback",
        analytics: "callback",
    },
];

/// The one conversation that an agent has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conversation {
    pub(super) medium: Medium,
    /// Of the contact centre; else of the enterprise, outside all queues.
    pub(super) contact_center: bool,
    /// In after-call work; else active.
    pub(super) after_call: bool,
    /// When the agent entered it.
    pub(super) began: UnixMillis,
    /// When the agent entered its present part.
    pub(super) segment_began: UnixMillis,
    /// Identifies it, for ids.
    pub(super) key: u64,
}

/// What the platform says of an agent at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) status: RoutingStatus,
    /// `startTime`.
    pub(super) status_since: UnixMillis,
    pub(super) presence: &'static SystemPresence,
    /// `modifiedDate`.
    pub(super) presence_since: UnixMillis,
    /// The definition behind the presence.
    pub(super) definition: &'static str,
    pub(super) conversation: Option<Conversation>,
}

impl Standing {
    /// The standing of someone who is stuck: interacting with nobody since a segment began.
    pub(super) fn stuck(self, segment: RoutingStart) -> Self {
        Self {
            status: RoutingStatus::Interacting,
            status_since: segment.entered_at,
            conversation: None,
            ..self
        }
    }
}

/// A stretch of one routing status; `until` is `None` for the one that runs at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StatusSpan {
    pub(super) status: RoutingStatus,
    pub(super) since: UnixMillis,
    pub(super) until: Option<UnixMillis>,
}

/// A stretch of one presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PresenceSpan {
    pub(super) presence: &'static SystemPresence,
    pub(super) definition: &'static str,
    pub(super) since: UnixMillis,
    pub(super) until: Option<UnixMillis>,
}

/// A timeline as the platform sees it.
pub(super) struct Reading<'a> {
    salt: u64,
    routing: &'a [RoutingStart],
    presence: &'a [PresenceStart],
    /// Positions in force at the instant read.
    at: (usize, usize),
}

impl<'a> Reading<'a> {
    /// Reads a timeline at an instant; `agent` and `seed` salt the choices.
    pub(super) fn at(seed: u64, agent: u32, timeline: &'a mut Timeline, at: UnixMillis) -> Self {
        timeline.extend_to(at);
        while timeline
            .routing()
            .last()
            .is_none_or(|last| last.entered_at <= at)
        {
            // Every step takes time, so this ends with the next change of state.
            let until = timeline.known_until();
            timeline.extend_to(until);
        }
        let (routing, presence) = (timeline.routing(), timeline.presence());
        let position = |after: usize| after.saturating_sub(1);
        Self {
            salt: chance::mix(&[seed, u64::from(agent)]),
            at: (
                position(routing.partition_point(|start| start.entered_at <= at)),
                position(presence.partition_point(|start| start.at <= at)),
            ),
            routing,
            presence,
        }
    }

    /// What the platform says at the instant read.
    pub(super) fn standing(&self) -> Standing {
        let (segment, shown) = self.at;
        let presence = self.presence_of(segment, shown);
        let presence_since = self.presence_since(segment, shown);
        Standing {
            status: self.status_of(segment, shown),
            status_since: self.status_since(segment, shown),
            presence,
            presence_since,
            definition: self.definition(presence, presence_since),
            conversation: self.conversation(segment),
        }
    }

    /// The first instant after the one read at which anything may change.
    pub(super) fn next_change(&self) -> UnixMillis {
        let (segment, shown) = self.at;
        let routing = self.routing[segment + 1].entered_at;
        self.presence
            .get(shown + 1)
            .map_or(routing, |start| start.at.min(routing))
    }

    /// Stretches of routing status that touch `[from, …)` up to the instant read, in order.
    pub(super) fn statuses_from(&self, from: UnixMillis) -> Vec<StatusSpan> {
        let mut spans: Vec<StatusSpan> = Vec::new();
        let (mut segment, mut shown) = self.at;
        let mut until = None;
        loop {
            let since = self.status_since(segment, shown);
            spans.push(StatusSpan {
                status: self.status_of(segment, shown),
                since,
                until,
            });
            let first = self
                .routing
                .partition_point(|start| start.entered_at < since);
            if since <= from || first == 0 {
                spans.reverse();
                return spans;
            }
            segment = first - 1;
            let desktop = self.presence.partition_point(|start| start.at < since);
            shown = desktop.saturating_sub(1);
            until = Some(since);
        }
    }

    /// Stretches of presence that touch `[from, …)` up to the instant read, in order.
    pub(super) fn presences_from(&self, from: UnixMillis) -> Vec<PresenceSpan> {
        let mut spans: Vec<PresenceSpan> = Vec::new();
        let (mut segment, mut shown) = self.at;
        let mut until = None;
        loop {
            let presence = self.presence_of(segment, shown);
            let since = self.presence_since(segment, shown);
            spans.push(PresenceSpan {
                presence,
                definition: self.definition(presence, since),
                since,
                until,
            });
            match self.positions_before(since) {
                Some(before) if since > from => (segment, shown) = before,
                _ => break,
            }
            until = Some(since);
        }
        spans.reverse();
        spans
    }

    /// When the status in force ends, if that is by an instant that has been read before.
    pub(super) fn end_of_status(&self, by: UnixMillis) -> Option<UnixMillis> {
        let (segment, shown) = self.at;
        if let Missed::Until(position) = self.missed(segment)
            && shown < position
        {
            return Some(self.presence[position].at).filter(|at| *at <= by);
        }
        let status = self.status_of(segment, shown);
        (segment + 1..self.routing.len())
            .take_while(|&segment| self.routing[segment].entered_at <= by)
            .find(|&segment| self.status_of(segment, 0) != status)
            .map(|segment| self.routing[segment].entered_at)
    }

    /// When the presence in force ends, if that is by an instant that has been read before.
    pub(super) fn end_of_presence(&self, by: UnixMillis) -> Option<UnixMillis> {
        let presence = self.presence_of(self.at.0, self.at.1);
        let (mut segment, mut shown) = self.at;
        loop {
            let routing = self.routing.get(segment + 1).map(|start| start.entered_at);
            let desktop = self.presence.get(shown + 1).map(|start| start.at);
            let next = [routing, desktop].into_iter().flatten().min()?;
            if next > by {
                return None;
            }
            segment += usize::from(routing == Some(next));
            shown += usize::from(desktop == Some(next));
            if self.presence_of(segment, shown) != presence {
                return Some(next);
            }
        }
    }

    /// The positions in force just before an instant; `None` at the beginning of all memory.
    fn positions_before(&self, at: UnixMillis) -> Option<(usize, usize)> {
        let routing = self.routing.partition_point(|start| start.entered_at < at);
        let presence = self.presence.partition_point(|start| start.at < at);
        Some((routing.checked_sub(1)?, presence.checked_sub(1)?))
    }

    /// The status of a segment while the desktop shows a presence.
    fn status_of(&self, segment: usize, shown: usize) -> RoutingStatus {
        match self.routing[segment].state {
            RoutingState::Available => RoutingStatus::Idle,
            RoutingState::OnCall if self.is_outbound(segment) => RoutingStatus::Communicating,
            RoutingState::OnCall | RoutingState::WrapUp => RoutingStatus::Interacting,
            RoutingState::NotReady => match self.missed(segment) {
                Missed::Until(position) if shown >= position => RoutingStatus::OffQueue,
                Missed::Until(_) | Missed::Throughout => RoutingStatus::NotResponding,
                Missed::Nothing => RoutingStatus::OffQueue,
            },
            RoutingState::Unknown => unreachable!("BUG: a timeline has no unknown state"),
        }
    }

    /// Whether a call is outside all queues: such a call has no after-call work, before or after.
    fn is_outbound(&self, segment: usize) -> bool {
        let wraps = |position: Option<usize>| {
            position
                .and_then(|position| self.routing.get(position))
                .is_none_or(|start| start.state == RoutingState::WrapUp)
        };
        let began = self.routing[segment].entered_at.0 as u64;
        !wraps(segment.checked_sub(1))
            && !wraps(Some(segment + 1))
            && chance::strikes(OUTBOUND_PERCENT, &[self.salt, OUTBOUND, began])
    }

    /// Whether an agent at work became not ready without having asked for it: the desktop goes
    /// on to say that the agent works, until the agent asks for a pause.
    fn missed(&self, segment: usize) -> Missed {
        let entered = self.routing[segment].entered_at;
        let left = self.routing.get(segment + 1).map(|next| next.entered_at);
        let inside = self.presence.partition_point(|start| start.at <= entered);
        let at_work = |start: &PresenceStart| matches!(start.presence, "Available" | "On Queue");
        let shown = self.presence[inside.saturating_sub(1)];
        let worked = segment > 0 && (at_work(&shown) || shown.presence == "Busy");
        if self.routing[segment].state != RoutingState::NotReady || !worked {
            return Missed::Nothing;
        }
        let pause = self.presence[inside..]
            .iter()
            .take_while(|start| left.is_none_or(|left| start.at < left))
            .position(|start| !at_work(start));
        match pause {
            None => Missed::Throughout,
            Some(pause) if self.presence[inside + pause].at >= entered + MISSED_FOR => {
                Missed::Until(inside + pause)
            }
            Some(_) => Missed::Nothing,
        }
    }

    fn status_since(&self, segment: usize, shown: usize) -> UnixMillis {
        if let Missed::Until(position) = self.missed(segment)
            && shown >= position
        {
            return self.presence[position].at;
        }
        let status = self.status_of(segment, shown);
        let mut first = segment;
        while first > 0 && self.status_of(first - 1, shown) == status {
            first -= 1;
        }
        self.routing[first].entered_at
    }

    /// On queue is what whoever takes interactions shows, whatever the desktop of the other
    /// dialect says; and nobody who is off queue shows it.
    fn presence_of(&self, segment: usize, position: usize) -> &'static SystemPresence {
        let shown = self.presence[position].presence;
        let takes = match self.status_of(segment, position) {
            RoutingStatus::Idle | RoutingStatus::Interacting | RoutingStatus::NotResponding => true,
            RoutingStatus::OffQueue | RoutingStatus::Communicating => false,
        };
        SystemPresence::of(match (shown, takes) {
            ("Available" | "Busy", true) => "On Queue",
            ("On Queue", false) => "Available",
            _ => shown,
        })
    }

    fn presence_since(&self, segment: usize, shown: usize) -> UnixMillis {
        let presence = self.presence_of(segment, shown);
        let (mut segment, mut shown) = (segment, shown);
        loop {
            let (routing, desktop) = (self.routing[segment].entered_at, self.presence[shown].at);
            let began = routing.max(desktop);
            // What began last is taken back; a desktop may show the same for a whole shift, so
            // this steps rather than searches.
            let back = |position: usize, at: UnixMillis| {
                if at == began {
                    position.checked_sub(1)
                } else {
                    Some(position)
                }
            };
            match (back(segment, routing), back(shown, desktop)) {
                (Some(routing), Some(desktop))
                    if self.presence_of(routing, desktop) == presence =>
                {
                    (segment, shown) = (routing, desktop);
                }
                _ => return began,
            }
        }
    }

    fn definition(&self, presence: &SystemPresence, since: UnixMillis) -> &'static str {
        presence.definition_id(chance::mix(&[self.salt, DEFINITION, since.0 as u64]))
    }

    fn conversation(&self, segment: usize) -> Option<Conversation> {
        let start = self.routing[segment];
        let (call, after_call) = match start.state {
            RoutingState::OnCall => (segment, false),
            // After-call work is that of the call before it, if that is still remembered.
            RoutingState::WrapUp => (segment.saturating_sub(1), true),
            _ => return None,
        };
        let began = self.routing[call].entered_at;
        let contact_center = after_call || !self.is_outbound(call);
        let key = chance::mix(&[self.salt, CONVERSATION, began.0 as u64]);
        let draw = chance::mix(&[key, MEDIUM]);
        let digital = contact_center && draw.is_multiple_of(5);
        Some(Conversation {
            medium: if digital {
                DIGITAL[(draw >> 8) as usize % DIGITAL.len()]
            } else {
                VOICE
            },
            contact_center,
            after_call,
            began,
            segment_began: start.entered_at,
            key,
        })
    }
}

/// Just before an instant.
pub(super) fn before(at: UnixMillis) -> UnixMillis {
    at - Millis(1)
}
