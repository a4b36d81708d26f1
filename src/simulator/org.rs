//! Who is there: agents, teams, queues, memberships and shifts, all from a seed.
//!
//! An agent is a function of (seed, index) alone, so that one more agent changes no other and
//! the order of evaluation never matters. What agents do is `behaviour`'s business.

use std::sync::Arc;

use rand::Rng;
use rand::SeedableRng;
use rand::seq::IteratorRandom;
use rand_chacha::ChaCha8Rng;

use super::chance;
use crate::model::ids::{QueueId, UserId};
use crate::model::time::Millis;

/// More agents than any organisation that the platform is known to host; keeps memory bounded.
pub const AGENTS_MAX: u32 = 200_000;
/// More queues than the platform allows an organisation (5,000 by default).
pub const QUEUES_MAX: u32 = 10_000;
/// Slowest and fastest pace. Beyond a thousand every state would last milliseconds.
pub const TEMPO_RANGE: std::ops::RangeInclusive<f64> = 0.01..=1_000.0;
/// Longest `min_state`: longer, and nobody would ever finish a day's work.
pub const MIN_STATE_MAX: Millis = Millis::from_secs(3_600);
/// From this many queues on, the last one bears the name of the first: names are not keys.
pub const SHARED_NAME_FROM: u32 = 20;
/// A day in milliseconds.
pub(super) const DAY_MS: i64 = 86_400_000;

const DEPARTMENTS: [&str; 10] = [
    "Sales",
    "Support",
    "Billing",
    "Retention",
    "Claims",
    "Onboarding",
    "Technical",
    "Collections",
    "Reservations",
    "Dispatch",
];
const AUDIENCES: [&str; 8] = ["US", "Tier2", "EU", "Tier1", "VIP", "APAC", "Tier3", "Chat"];
const TEAM_SIZE: u32 = 15;

/// What organisation to make up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OrgSpec {
    /// How many agents.
    pub agents: u32,
    /// How many queues.
    pub queues: u32,
    /// Everything else follows from it.
    pub seed: u64,
    /// 1.0 is a real contact centre; 20 does everything twenty times as fast.
    pub tempo: f64,
    /// No routing state is shorter than this. Above 20 s no agent is ever volatile.
    pub min_state: Millis,
    /// Part of the agents, 0 to 1, that now and then flap between states within seconds.
    pub volatile_share: f64,
}

/// Why an organisation cannot be made up.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OrgError {
    /// Too many agents.
    #[error("{given} agents are too many: at most {AGENTS_MAX}")]
    Agents {
        /// As given.
        given: u32,
    },
    /// Too many queues.
    #[error("{given} queues are too many: at most {QUEUES_MAX}")]
    Queues {
        /// As given.
        given: u32,
    },
    /// A tempo that is no pace.
    #[error("tempo {given} is out of range: from {} to {}", TEMPO_RANGE.start(), TEMPO_RANGE.end())]
    Tempo {
        /// As given.
        given: f64,
    },
    /// A negative or endless least state.
    #[error("a least state of {} ms is out of range: from 0 to {} ms", given.0, MIN_STATE_MAX.0)]
    MinState {
        /// As given.
        given: Millis,
    },
    /// A share that is no share.
    #[error("volatile share {given} is out of range: from 0 to 1")]
    VolatileShare {
        /// As given.
        given: f64,
    },
}

impl OrgSpec {
    /// A realistic organisation.
    pub const fn new(agents: u32, queues: u32, seed: u64) -> Self {
        Self {
            agents,
            queues,
            seed,
            tempo: 1.0,
            min_state: Millis(250),
            volatile_share: 0.02,
        }
    }

    /// Refuses what cannot be simulated.
    ///
    /// # Errors
    /// [`OrgError`] names the first figure out of range.
    pub fn check(&self) -> Result<(), OrgError> {
        if self.agents > AGENTS_MAX {
            return Err(OrgError::Agents { given: self.agents });
        }
        if self.queues > QUEUES_MAX {
            return Err(OrgError::Queues { given: self.queues });
        }
        // Written so that NaN is refused too.
        if !TEMPO_RANGE.contains(&self.tempo) {
            return Err(OrgError::Tempo { given: self.tempo });
        }
        if !(Millis::ZERO..=MIN_STATE_MAX).contains(&self.min_state) {
            return Err(OrgError::MinState {
                given: self.min_state,
            });
        }
        if !(0.0..=1.0).contains(&self.volatile_share) {
            return Err(OrgError::VolatileShare {
                given: self.volatile_share,
            });
        }
        Ok(())
    }

    /// The generator of one stream; streams of one seed are independent.
    pub(super) fn stream(&self, stream: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng
    }
}

/// When an agent works, in organisation time (see [`OrgSpec::tempo`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    /// Start after midnight.
    pub start: Millis,
    /// Scheduled length.
    pub length: Millis,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Position; with the seed, all there is to know.
    pub index: u32,
    /// The user id, in the shape of a UUID.
    pub id: UserId,
    /// `agent-0042`.
    pub name: String,
    /// `team-03`.
    pub team: String,
    /// When it works.
    pub shift: Shift,
    /// Queues by position, ascending: first those joined, see [`Membership`].
    pub memberships: Vec<Membership>,
    /// What the desktop shows while the agent works.
    pub desktop: Desktop,
    /// Flaps between states now and then.
    pub volatile: bool,
}

/// An agent in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// The queue's position.
    pub queue: usize,
    /// Whether the agent takes this queue's interactions.
    pub joined: bool,
}

/// What the desktop shows while an agent works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desktop {
    /// `Available` throughout.
    Available,
    /// `Available`, and `Busy` on calls.
    BusyOnCall,
    /// `On Queue` throughout.
    OnQueue,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// The id, in the shape of a UUID.
    pub id: QueueId,
    /// The name; may repeat.
    pub name: Arc<str>,
}

impl Agent {
    /// The agent at a position.
    pub fn generate(spec: &OrgSpec, index: u32) -> Self {
        // Streams 2i and 2i+1 belong to agent i; the odd one is its behaviour's.
        let mut rng = spec.stream(2 * u64::from(index));
        Self {
            index,
            id: UserId::new(&chance::uuid(&[spec.seed, 1, u64::from(index)])),
            name: format!("agent-{index:04}"),
            team: format!("team-{:02}", index / TEAM_SIZE),
            shift: shift(&mut rng),
            memberships: memberships(spec, index, &mut rng),
            desktop: match rng.random_range(0..100) {
                0..15 => Desktop::BusyOnCall,
                15..35 => Desktop::OnQueue,
                _ => Desktop::Available,
            },
            volatile: rng.random_bool(spec.volatile_share),
        }
    }
}

impl Queue {
    /// The queue at a position.
    pub fn generate(spec: &OrgSpec, index: u32) -> Self {
        let named_like = if spec.queues >= SHARED_NAME_FROM && index == spec.queues - 1 {
            0
        } else {
            index as usize
        };
        Self {
            id: QueueId::new(&chance::uuid(&[spec.seed, 2, u64::from(index)])),
            name: Arc::from(queue_name(named_like)),
        }
    }
}

/// Names walk both lists at once (`Sales_US`, `Support_Tier2`, …), so that the first few differ
/// in both words; after eighty they are numbered.
fn queue_name(index: usize) -> String {
    let combinations = DEPARTMENTS.len() * AUDIENCES.len();
    let round = index / combinations;
    let index = index % combinations;
    let department = DEPARTMENTS[index % DEPARTMENTS.len()];
    let audience = AUDIENCES[(index + index / DEPARTMENTS.len() * 3) % AUDIENCES.len()];
    if round == 0 {
        format!("{department}_{audience}")
    } else {
        format!("{department}_{audience}_{}", round + 1)
    }
}

/// Early, day, late and night shifts: fewest work before dawn, most at noon, somebody always.
fn shift(rng: &mut ChaCha8Rng) -> Shift {
    let (from, to) = match rng.random_range(0..100) {
        0..30 => (5 * 60, 8 * 60),
        30..60 => (8 * 60, 11 * 60),
        60..85 => (13 * 60, 16 * 60),
        _ => (20 * 60, 23 * 60),
    };
    Shift {
        // Nobody logs in on the dot.
        start: Millis(rng.random_range(from * 60_000..to * 60_000)),
        length: Millis(rng.random_range(7 * 3_600_000..9 * 3_600_000)),
    }
}

/// A home queue (so that every queue has members while agents last) and up to three others;
/// now and then one more in which the agent is a member without having joined.
fn memberships(spec: &OrgSpec, index: u32, rng: &mut ChaCha8Rng) -> Vec<Membership> {
    if spec.queues == 0 {
        return Vec::new();
    }
    let queues = spec.queues as usize;
    let home = index as usize % queues;
    let others = rng.random_range(0..4);
    let idle = usize::from(rng.random_bool(0.1));
    let mut found: Vec<_> = (0..queues)
        .filter(|&queue| queue != home)
        .choose_multiple(rng, others + idle)
        .into_iter()
        .enumerate()
        .map(|(position, queue)| Membership {
            queue,
            joined: position < others,
        })
        .collect();
    found.push(Membership {
        queue: home,
        joined: true,
    });
    found.sort_by_key(|membership| membership.queue);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn an_agent_depends_on_seed_and_index_alone() {
        let small = OrgSpec::new(3, 12, 42);
        let large = OrgSpec {
            agents: 900,
            ..small
        };
        assert_eq!(Agent::generate(&small, 2), Agent::generate(&large, 2));
        let other = OrgSpec { seed: 43, ..small };
        assert_ne!(Agent::generate(&small, 2).id, Agent::generate(&other, 2).id);
    }

    #[test]
    fn ids_are_unique_and_every_agent_joined_one_to_four_queues() {
        let spec = OrgSpec::new(2_000, 40, 7);
        let agents: Vec<_> = (0..spec.agents)
            .map(|i| Agent::generate(&spec, i))
            .collect();
        let ids: BTreeSet<_> = agents.iter().map(|agent| agent.id.clone()).collect();
        assert_eq!(ids.len(), 2_000);
        for agent in &agents {
            let joined = agent.memberships.iter().filter(|m| m.joined).count();
            assert!((1..=4).contains(&joined), "{agent:?}");
            assert!(agent.memberships.is_sorted_by(|a, b| a.queue < b.queue));
        }
        let covered: BTreeSet<_> = agents
            .iter()
            .flat_map(|a| &a.memberships)
            .map(|m| m.queue)
            .collect();
        assert_eq!(covered.len(), 40);
        assert!(
            agents
                .iter()
                .any(|a| a.memberships.iter().any(|m| !m.joined))
        );
    }

    #[test]
    fn queue_names_read_like_names_and_a_large_organisation_repeats_one() {
        let small = OrgSpec::new(1, 12, 1);
        let names: Vec<_> = (0..12).map(|i| Queue::generate(&small, i).name).collect();
        assert_eq!(&*names[0], "Sales_US");
        assert_eq!(&*names[1], "Support_Tier2");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 12);
        let large = OrgSpec::new(1, 200, 1);
        let names: Vec<_> = (0..200).map(|i| Queue::generate(&large, i).name).collect();
        assert_eq!(names[199], names[0]);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 199);
    }

    #[test]
    fn figures_out_of_range_are_named() {
        let fine = OrgSpec::new(10, 2, 1);
        assert_eq!(fine.check(), Ok(()));
        let text = |spec: OrgSpec| spec.check().unwrap_err().to_string();
        assert_eq!(
            text(OrgSpec {
                agents: 200_001,
                ..fine
            }),
            "200001 agents are too many: at most 200000"
        );
        assert_eq!(
            text(OrgSpec {
                tempo: f64::NAN,
                ..fine
            }),
            "tempo NaN is out of range: from 0.01 to 1000"
        );
        assert_eq!(
            text(OrgSpec {
                volatile_share: 1.5,
                ..fine
            }),
            "volatile share 1.5 is out of range: from 0 to 1"
        );
        assert_eq!(
            text(OrgSpec {
                min_state: Millis(-1),
                ..fine
            }),
            "a least state of -1 ms is out of range: from 0 to 3600000 ms"
        );
        assert_eq!(
            text(OrgSpec {
                queues: 10_001,
                ..fine
            }),
            "10001 queues are too many: at most 10000"
        );
    }
}
