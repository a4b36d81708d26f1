//! Everything that the window function knows of one agent: a grow-only set.
//!
//! Each kind of record has an identity and a rule for two of one identity; every rule takes the
//! greater of two values in a total order. So applying records is commutative, associative and
//! idempotent, and a row cannot depend on how the records came (semantics.md §4). Refuses records
//! whose numbers could not be stored or computed with.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::model::event::{Chain, Event, JournalRecord, Mark, PresenceChange, RosterSpan};
use crate::model::ids::UserId;
use crate::model::state::{Presence, RoutingState, Source};
use crate::model::time::{Millis, UNIX_MILLIS_MAX, UnixMillis};
use crate::model::timeline::{Segment, Segments, Tail};

/// Longest tolerance believed: nobody carries a state forward for more than a year, and the bound
/// keeps sums of instants far from overflow.
pub const TOLERANCE_MAX: Millis = Millis::from_secs(366 * 86_400);

/// Longest user id accepted. The platform's ids have 36 characters; this bounds a row's key.
const USER_ID_MAX: usize = 256;

/// What the window function takes of an event; its start is the key it is kept under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventFact {
    /// The state entered.
    pub state: RoutingState,
    /// How the start is joined to the segment before.
    pub chain: Chain,
    /// The start was observed rather than read from the platform.
    pub estimated: bool,
    /// A tombstone: the event never was.
    pub withdrawn: bool,
    /// 1, and one more with each correction.
    pub revision: u32,
    /// Who said it.
    pub source: Source,
    /// When we first knew, by our clock.
    pub ingested_at: UnixMillis,
}

impl EventFact {
    /// The part of `event` that rows are made of.
    pub fn of(event: &Event) -> Self {
        Self {
            state: event.routing_availability,
            chain: event.chain,
            estimated: event.estimated,
            withdrawn: event.withdrawn,
            revision: event.revision,
            source: event.source,
            ingested_at: event.ingested_at,
        }
    }

    /// Of two facts of one identity the one of the greater rank holds: the higher revision; at
    /// equal revision the tombstone, then the higher authority, then the better chain (`Follows`
    /// proves more than `Alone`, and that more than `Gap`); all else equal, what we knew first.
    pub fn rank(&self) -> impl Ord + use<> {
        (
            self.revision,
            self.withdrawn,
            self.source,
            self.chain,
            self.state,
            Reverse(self.estimated),
            Reverse(self.ingested_at),
        )
    }

    /// Whether both lead to the same rows.
    fn same_content(&self, other: &Self) -> bool {
        (self.state, self.chain, self.estimated, self.withdrawn)
            == (other.state, other.chain, other.estimated, other.withdrawn)
    }
}

/// How long a segment is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Confirmation {
    /// Latest instant for which the segment is confirmed. Ranks first.
    pub until: UnixMillis,
    /// The gap tolerance in force when that was confirmed.
    pub tolerance: Millis,
}

/// What became of a record when it was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Nothing of this identity was known.
    New,
    /// It replaced what was known, by a higher revision or a later confirmation.
    Replaced,
    /// Another content under the same identity and revision, and it ranks higher.
    ConflictWon,
    /// Another content under the same identity and revision, and it ranks lower.
    ConflictLost,
    /// It says nothing new.
    None,
}

impl Change {
    /// Whether the facts are different now.
    pub fn is_change(self) -> bool {
        matches!(self, Self::New | Self::Replaced | Self::ConflictWon)
    }
}

/// The facts of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentFacts {
    /// Starts of segments, tombstones included.
    pub events: BTreeMap<UnixMillis, EventFact>,
    /// Confirmations, by start of the segment confirmed.
    pub confirmations: BTreeMap<UnixMillis, Confirmation>,
    /// Spans in the registry: from, until; `None`: still there.
    pub roster: BTreeMap<UnixMillis, Option<UnixMillis>>,
    /// UI presence from an instant on.
    pub presence: BTreeMap<UnixMillis, Presence>,
    /// Every window that ends at or before this instant is closed.
    pub closed_until: Option<UnixMillis>,
}

impl AgentFacts {
    /// Takes an event.
    pub fn apply_event(&mut self, event: &Event) -> Change {
        let new = EventFact::of(event);
        match self.events.entry(event.state_entered_timestamp) {
            Entry::Vacant(place) => {
                place.insert(new);
                Change::New
            }
            Entry::Occupied(mut place) => {
                let held = *place.get();
                let wins = new.rank() > held.rank();
                if wins {
                    place.insert(new);
                }
                match (held.revision == new.revision, held.same_content(&new)) {
                    (true, false) if wins => Change::ConflictWon,
                    (true, false) => Change::ConflictLost,
                    // A correction; or the same content known earlier, or on better authority.
                    (false, _) | (true, true) if wins => Change::Replaced,
                    _ => Change::None,
                }
            }
        }
    }

    /// Takes a mark: the later confirmation of a segment holds, and `closed_until` only grows.
    pub fn apply_mark(&mut self, mark: &Mark) -> Change {
        let mut change = Change::None;
        if let (Some(entered_at), Some(until)) = (mark.entered_at, mark.confirmed_until) {
            let new = Confirmation {
                until,
                tolerance: mark.tolerance,
            };
            match self.confirmations.get(&entered_at) {
                Some(held) if *held >= new => {}
                held => {
                    change = held.map_or(Change::New, |_| Change::Replaced);
                    self.confirmations.insert(entered_at, new);
                }
            }
        }
        if mark.closed_until > self.closed_until {
            self.closed_until = mark.closed_until;
            if change == Change::None {
                change = Change::Replaced;
            }
        }
        change
    }

    /// Takes a span in the registry: an end that is told stands, the later of two ends.
    pub fn apply_roster(&mut self, span: &RosterSpan) -> Change {
        match self.roster.entry(span.from) {
            Entry::Vacant(place) => {
                place.insert(span.until);
                Change::New
            }
            Entry::Occupied(mut place) => {
                if span.until > *place.get() {
                    place.insert(span.until);
                    Change::Replaced
                } else {
                    Change::None
                }
            }
        }
    }

    /// Takes a change of presence; of two at one instant the greater in the order of presences.
    pub fn apply_presence(&mut self, change: &PresenceChange) -> Change {
        match self.presence.entry(change.at) {
            Entry::Vacant(place) => {
                place.insert(change.presence.clone());
                Change::New
            }
            Entry::Occupied(mut place) => match change.presence.cmp(place.get()) {
                std::cmp::Ordering::Equal => Change::None,
                std::cmp::Ordering::Less => Change::ConflictLost,
                std::cmp::Ordering::Greater => {
                    place.insert(change.presence.clone());
                    Change::ConflictWon
                }
            },
        }
    }

    /// The segments that hold: tombstones left out.
    pub fn segments(&self) -> Segments {
        self.standing()
            .map(|(at, fact)| {
                let segment = Segment {
                    state: fact.state,
                    chain: fact.chain,
                    estimated: fact.estimated,
                };
                (at, segment)
            })
            .collect()
    }

    /// What is known of the end of the last segment that holds.
    pub fn tail(&self) -> Option<Tail> {
        let (last, _) = self.standing().next_back()?;
        self.confirmations.get(&last).map(|confirmation| Tail {
            confirmed_until: confirmation.until,
            tolerance: confirmation.tolerance,
        })
    }

    /// Events that hold, in order.
    pub fn standing(&self) -> impl DoubleEndedIterator<Item = (UnixMillis, &EventFact)> {
        self.events
            .iter()
            .filter(|(_, fact)| !fact.withdrawn)
            .map(|(&at, fact)| (at, fact))
    }

    /// The parts of `[from, to)` in which the agent was in the registry: in order, disjoint, not
    /// empty.
    pub fn coverage(&self, from: UnixMillis, to: UnixMillis) -> Vec<(UnixMillis, UnixMillis)> {
        let mut parts: Vec<(UnixMillis, UnixMillis)> = Vec::new();
        for (&begin, &until) in &self.roster {
            let begin = begin.max(from);
            let end = until.map_or(to, |until| until.min(to));
            match parts.last_mut() {
                _ if begin >= end => {}
                Some(last) if begin <= last.1 => last.1 = last.1.max(end),
                _ => parts.push((begin, end)),
            }
        }
        parts
    }
}

/// Takes a record into the facts of the agents that it names.
pub fn apply(all: &mut BTreeMap<UserId, AgentFacts>, record: &JournalRecord) {
    match record {
        JournalRecord::Event(event) => {
            all.entry(event.user_id.clone())
                .or_default()
                .apply_event(event);
        }
        JournalRecord::Marks(marks) => {
            for mark in marks {
                all.entry(mark.user_id.clone())
                    .or_default()
                    .apply_mark(mark);
            }
        }
        JournalRecord::Roster(span) => {
            all.entry(span.user_id.clone())
                .or_default()
                .apply_roster(span);
        }
        JournalRecord::Presence(change) => {
            all.entry(change.user_id.clone())
                .or_default()
                .apply_presence(change);
        }
    }
}

/// Why a record cannot be taken; the text form is a label value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The user id is empty, holds a NUL or is longer than `USER_ID_MAX`.
    UserId,
    /// An instant is outside 1970 to 9999.
    Instant,
    /// A tolerance is negative or longer than [`TOLERANCE_MAX`].
    Tolerance,
}

impl Refusal {
    /// Every refusal, in label order.
    pub const ALL: [Self; 3] = [Self::UserId, Self::Instant, Self::Tolerance];

    /// The label value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::UserId => "user_id",
            Self::Instant => "instant",
            Self::Tolerance => "tolerance",
        }
    }
}

/// Why this event cannot be taken, if so.
pub fn refuse_event(event: &Event) -> Option<Refusal> {
    let (known_until, tolerance) = match event.chain {
        Chain::Gap { known_until } => (known_until, Millis::ZERO),
        Chain::Alone {
            known_until,
            tolerance,
        } => (Some(known_until), tolerance),
        Chain::Follows { entered_at } => (Some(entered_at), Millis::ZERO),
    };
    let instants = [
        Some(event.state_entered_timestamp),
        Some(event.timestamp),
        Some(event.ingested_at),
        known_until,
    ];
    refuse(&event.user_id, &instants, tolerance)
}

/// Why this mark cannot be taken, if so.
pub fn refuse_mark(mark: &Mark) -> Option<Refusal> {
    let instants = [mark.entered_at, mark.confirmed_until, mark.closed_until];
    refuse(&mark.user_id, &instants, mark.tolerance)
}

/// Why this span cannot be taken, if so.
pub fn refuse_roster(span: &RosterSpan) -> Option<Refusal> {
    refuse(&span.user_id, &[Some(span.from), span.until], Millis::ZERO)
}

/// Why this change cannot be taken, if so.
pub fn refuse_presence(change: &PresenceChange) -> Option<Refusal> {
    refuse(&change.user_id, &[Some(change.at)], Millis::ZERO)
}

fn refuse(user: &UserId, instants: &[Option<UnixMillis>], tolerance: Millis) -> Option<Refusal> {
    // PostgreSQL holds no NUL, and no platform gives one.
    let named = !user.as_str().is_empty() && !user.as_str().contains('\0');
    if !named || user.as_str().len() > USER_ID_MAX {
        return Some(Refusal::UserId);
    }
    let sound = |at: &UnixMillis| (0..=UNIX_MILLIS_MAX).contains(&at.0);
    if !instants.iter().flatten().all(sound) {
        return Some(Refusal::Instant);
    }
    if tolerance < Millis::ZERO || tolerance > TOLERANCE_MAX {
        return Some(Refusal::Tolerance);
    }
    None
}
