//! One agent: what is held of its past, how far it is confirmed and accrued, and what the bulk
//! snapshot last said. Data and small questions; `reconcile` changes it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::event::Chain;
use crate::model::ids::QueueId;
use crate::model::platform_status::PlatformStatus;
use crate::model::state::{Presence, RoutingState, Source};
use crate::model::time::{Millis, UnixMillis};
use crate::model::timeline::{Segment, Segments, Tail};

/// Segments held of one agent at most. Corrections reach back at most this far; the store keeps
/// everything. Enough for the longest `routingStates` seen and for the volatility rule.
pub const HISTORY_MAX: usize = 16;

/// Segments that ended longer than this before the last confirmation are let go of, to bound
/// memory; answers name only the most recent few.
const HISTORY_AGE_MAX: Millis = Millis::from_secs(15 * 60);

/// Segments kept whatever their age, so that a correction always finds its neighbours.
const HISTORY_MIN: usize = 4;

/// Membership versions held of one agent: accrual never looks further back than one hole.
const MEMBERSHIPS_MAX: usize = 4;

/// A segment as it is held: its start and what was said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Start, by the platform's clock.
    pub entered_at: UnixMillis,
    /// The state.
    pub state: RoutingState,
    /// The platform's own word, if this version does not know the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_state: Option<Arc<str>>,
    /// The wrap-up code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrapup_code: Option<Arc<str>>,
    /// Who said it.
    pub source: Source,
    /// 1, and one more with each correction.
    pub revision: u32,
    /// How its start is joined to the segment before.
    pub chain: Chain,
    /// When the answer that told it arrived, by our clock.
    pub ingested_at: UnixMillis,
    /// Its start was observed rather than read from the platform (semantics.md §12.11).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

/// What the bulk snapshot says that decides whether a join is due (semantics.md §12.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkFact {
    /// Routing availability as cached.
    pub availability: RoutingState,
    /// Last change of presence or availability.
    pub last_modified: UnixMillis,
}

/// The queues of an agent from an instant on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// From this platform instant.
    pub from: UnixMillis,
    /// Sorted.
    pub queues: Arc<[QueueId]>,
}

/// Unknown time between two held segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hole {
    /// Start of the segment before it.
    pub after: UnixMillis,
    /// Start of the segment after it, where it ends.
    pub until: UnixMillis,
}

/// Held back as volatile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolatileHold {
    /// Consecutive cycles with a routing confirmation and no transition.
    pub settled_cycles: u32,
    /// The cycle that was counted last.
    #[serde(skip)]
    pub counted_cycle: u64,
}

/// What stuck checks found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StuckCheck {
    /// When the last check was asked, by the platform's clock.
    pub asked_at: Option<UnixMillis>,
    /// On call without any open interaction.
    pub stuck: bool,
    /// The platform's scan itself shows no interaction: a suspect at once (platform-api.md §10).
    pub unoccupied: bool,
}

/// One agent. A checkpoint leaves out what is not known: at a first start it holds everybody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Segments in order of start; the last is the current one. Empty: never joined.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Held>,
    /// Segments before the first one held were let go of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pruned: bool,
    /// Committed UI presence, once a snapshot named the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<Presence>,
    /// The bulk record in force when the last join was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_with: Option<BulkFact>,
    /// Latest platform instant for which an answer said what state the agent was in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_until: Option<UnixMillis>,
    /// The last snapshot confirmed it, so the next one moves it along with all the others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follows_bulk: bool,
    /// Latest platform instant for which an answer about this agent alone did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_confirmed_at: Option<UnixMillis>,
    /// Counters hold its time up to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accrued_until: Option<UnixMillis>,
    /// Its windows are accounted for from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered_from: Option<UnixMillis>,
    /// Its counters are: the instant of the first evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_from: Option<UnixMillis>,
    /// Every window that ends at or before this is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_until: Option<UnixMillis>,
    /// Its queues, latest last.
    pub memberships: Vec<Membership>,
    /// Flagged volatile, as few are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volatile: Option<Box<VolatileHold>>,
    /// When the last answer about the agent arrived, by our clock.
    pub ingested_at: UnixMillis,
    /// The public platform's own routing status; `None` in dialect `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_status: Option<PlatformStatus>,
    /// When it last went from one status to another within one stay out of work: a start that is
    /// none of a segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turned_at: Option<UnixMillis>,
    /// Since when it has its presence, in dialect `platform`: a scan that is overtaken by push must
    /// not turn it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence_since: Option<UnixMillis>,
    /// Holes that wait to be filled: kept with the history that they lie in, so that a restart
    /// goes on asking. At most one before each segment held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<Hole>,

    /// The bulk record in force.
    #[serde(skip)]
    pub bulk: Option<BulkFact>,
    /// Latest platform instant that a snapshot described it.
    #[serde(skip)]
    pub bulk_seen_at: Option<UnixMillis>,
    /// A join is owed.
    #[serde(skip)]
    pub pending: bool,
    /// A join has been asked; the bulk record in force at that moment.
    #[serde(skip)]
    pub asking: Option<Option<BulkFact>>,
    /// Where it stands in the order of upkeep.
    #[serde(skip)]
    pub resting: Option<UnixMillis>,
    /// Stuck checks.
    #[serde(skip)]
    pub stuck: StuckCheck,
    /// Label values of its queues, sorted, once they have been looked up.
    #[serde(skip)]
    pub labels: Option<Arc<[Arc<str>]>>,
}

impl Agent {
    /// An agent of whom nothing is known yet.
    pub fn new(queues: Membership) -> Self {
        Self {
            history: Vec::new(),
            pruned: false,
            presence: None,
            joined_with: None,
            confirmed_until: None,
            follows_bulk: false,
            routing_confirmed_at: None,
            accrued_until: None,
            covered_from: None,
            counted_from: None,
            closed_until: None,
            memberships: vec![queues],
            volatile: None,
            ingested_at: UnixMillis(0),
            platform_status: None,
            turned_at: None,
            presence_since: None,
            holes: Vec::new(),
            bulk: None,
            bulk_seen_at: None,
            pending: false,
            asking: None,
            resting: None,
            stuck: StuckCheck::default(),
            labels: None,
        }
    }

    /// The current segment.
    pub fn current(&self) -> Option<&Held> {
        self.history.last()
    }

    /// Whether routing has ever told a state.
    pub fn joined(&self) -> bool {
        !self.history.is_empty()
    }

    /// The queues of the agent now.
    pub fn queues(&self) -> &Arc<[QueueId]> {
        &self
            .memberships
            .last()
            .expect("an agent is made with a membership and never loses its last one")
            .queues
    }

    /// Takes no more room than it needs, and ids of queues from `known`, where a text of each is
    /// kept: what was read of a checkpoint has a text of its own of everything.
    pub fn tighten(&mut self, known: &mut BTreeSet<QueueId>) {
        self.history.shrink_to_fit();
        self.holes.shrink_to_fit();
        self.memberships.shrink_to_fit();
        for membership in &mut self.memberships {
            let queues = membership.queues.iter().map(|queue| {
                let queue = queue.clone().as_in(known);
                known.insert(queue.clone());
                queue
            });
            membership.queues = queues.collect();
        }
    }

    /// Takes its queues from `same`, if these are the same.
    pub fn share_queues(&mut self, same: &Arc<[QueueId]>) {
        let current = self.memberships.last_mut();
        if let Some(membership) = current.filter(|membership| membership.queues == *same) {
            membership.queues = Arc::clone(same);
        }
    }

    /// Moves the agent to other queues from `from` on; time before stays with the old ones.
    pub fn move_to(&mut self, queues: Arc<[QueueId]>, from: UnixMillis) {
        if *self.queues() == queues {
            return;
        }
        // Until time is accrued, no account needs what the queues were before.
        if self.accrued_until.is_none() {
            self.memberships.clear();
        }
        self.labels = None;
        self.memberships.push(Membership { from, queues });
        if self.memberships.len() > MEMBERSHIPS_MAX {
            self.memberships.remove(0);
        }
    }

    /// The state that the live view shows, before staleness: the current segment's, or the bulk
    /// availability of an agent that was never joined.
    pub fn shown_state(&self) -> RoutingState {
        match (self.current(), self.bulk) {
            (Some(held), _) => held.state,
            (None, Some(bulk)) => bulk.availability,
            (None, None) => RoutingState::Unknown,
        }
    }

    /// The held history as the timeline reads it.
    pub fn segments(&self) -> Segments {
        self.history
            .iter()
            .map(|held| {
                (
                    held.entered_at,
                    Segment {
                        state: held.state,
                        chain: held.chain,
                        estimated: held.estimated,
                    },
                )
            })
            .collect()
    }

    /// How far the last segment is confirmed.
    pub fn tail(&self, tolerance: Millis) -> Option<Tail> {
        self.confirmed_until.map(|confirmed_until| Tail {
            confirmed_until,
            tolerance,
        })
    }

    /// Lets go of history that nothing will ask for again. What a waiting hole lies between stays,
    /// up to [`HISTORY_MAX`].
    pub fn prune(&mut self) {
        let Some(confirmed) = self.confirmed_until else {
            return;
        };
        let needed_from = self
            .accrued_until
            .map_or(confirmed, |accrued| accrued.min(confirmed))
            - HISTORY_AGE_MAX;
        let first_hole = self.holes.iter().map(|hole| hole.after).min();
        let unneeded = |start| start < needed_from && first_hole.is_none_or(|hole| start <= hole);
        let old = self
            .history
            .windows(2)
            .take_while(|pair| unneeded(pair[1].entered_at))
            .count();
        let spare = self.history.len().saturating_sub(HISTORY_MIN);
        let surplus = self.history.len().saturating_sub(HISTORY_MAX);
        let gone = old.min(spare).max(surplus);
        if gone > 0 {
            self.history.drain(..gone);
            if self.history.capacity() > 2 * self.history.len() {
                // A first join may bring many; of 100,000 agents their room is tens of megabytes.
                self.history.shrink_to_fit();
            }
            self.pruned = true;
            let first = self.history.first().map(|held| held.entered_at);
            self.holes.retain(|hole| Some(hole.after) >= first);
        }
    }
}

#[cfg(test)]
impl Held {
    /// A segment for tests, entered so many seconds after the epoch and told at once.
    pub(super) fn example(seconds: i64, state: RoutingState, chain: Chain) -> Self {
        let at = UnixMillis(seconds * 1_000);
        Self {
            entered_at: at,
            state,
            raw_state: None,
            wrapup_code: None,
            source: Source::Bulk,
            revision: 1,
            chain,
            ingested_at: at,
            estimated: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(seconds: i64) -> Held {
        let chain = Chain::Gap { known_until: None };
        Held::example(seconds, RoutingState::Available, chain)
    }

    fn agent() -> Agent {
        Agent::new(Membership {
            from: UnixMillis(0),
            queues: Arc::from([]),
        })
    }

    #[test]
    fn a_checkpoint_leaves_out_what_is_not_known_and_one_that_names_it_is_read() {
        let unknown = agent();
        let text = serde_json::to_string(&unknown).unwrap();
        assert!(!text.contains("null") && !text.contains("false"), "{text}");
        let named = r#"{"history":[],"pruned":false,"presence":null,"joined_with":null,
            "confirmed_until":null,"follows_bulk":false,"routing_confirmed_at":null,
            "accrued_until":null,"covered_from":null,"counted_from":null,"closed_until":null,
            "memberships":[{"from":"1970-01-01T00:00:00.000Z","queues":[]}],"volatile":null,
            "ingested_at":"1970-01-01T00:00:00.000Z"}"#;
        for text in [&*text, named] {
            let read: Agent = serde_json::from_str(text).unwrap();
            assert_eq!(read, unknown);
        }
    }

    #[test]
    fn old_history_goes_but_recent_and_neighbouring_segments_stay() {
        let mut agent = agent();
        agent.history = (0..10).map(|k| held(k * 600)).collect();
        agent.confirmed_until = Some(UnixMillis(5_500_000));
        agent.accrued_until = agent.confirmed_until;
        agent.prune();
        // Needed from 4,600 s on: the segment from 4,200 reaches there, but four are always kept.
        let kept: Vec<i64> = agent
            .history
            .iter()
            .map(|h| h.entered_at.0 / 1_000)
            .collect();
        assert_eq!(kept, [3_600, 4_200, 4_800, 5_400]);
        assert!(agent.pruned);
    }

    #[test]
    fn what_a_waiting_hole_lies_between_is_kept_while_there_is_room() {
        let mut agent = agent();
        agent.history = (0..10).map(|k| held(k * 600)).collect();
        agent.confirmed_until = Some(UnixMillis(5_500_000));
        agent.accrued_until = agent.confirmed_until;
        agent.holes = vec![Hole {
            after: UnixMillis(1_200_000),
            until: UnixMillis(1_800_000),
        }];
        agent.prune();
        assert_eq!(agent.history[0].entered_at, UnixMillis(1_200_000));
        assert_eq!(agent.holes.len(), 1);
        agent.history.extend((10..26).map(|k| held(k * 600)));
        agent.prune();
        assert_eq!(agent.history.len(), HISTORY_MAX);
        assert!(agent.holes.is_empty(), "nothing could fill it any more");
    }

    #[test]
    fn what_was_read_is_the_same_in_less_room() {
        let mut first = agent();
        first.history = vec![held(0), held(600)];
        first.move_to(
            Arc::from([QueueId::new("q1"), QueueId::new("q2")]),
            UnixMillis(0),
        );
        let text = serde_json::to_string(&first).unwrap();
        let mut known = BTreeSet::new();
        let mut read = || {
            let mut agent: Agent = serde_json::from_str(&text).unwrap();
            agent.tighten(&mut known);
            assert_eq!(agent, first);
            assert_eq!(agent.history.capacity(), agent.history.len());
            agent
        };
        let (one, mut other) = (read(), read());
        let text = |agent: &Agent| agent.queues()[1].as_str().as_ptr();
        assert_eq!(text(&one), text(&other));
        other.share_queues(&Arc::from([QueueId::new("q3")]));
        assert_eq!(other, first);
        other.share_queues(one.queues());
        assert!(Arc::ptr_eq(one.queues(), other.queues()));
    }

    #[test]
    fn time_before_a_move_stays_with_the_old_queues() {
        let mut agent = agent();
        agent.accrued_until = Some(UnixMillis(0));
        let sales: Arc<[QueueId]> = Arc::from([QueueId::new("q1")]);
        agent.move_to(Arc::clone(&sales), UnixMillis(50));
        agent.move_to(Arc::clone(&sales), UnixMillis(90));
        assert_eq!(agent.memberships.len(), 2);
        assert_eq!(agent.queues(), &sales);
    }
}
