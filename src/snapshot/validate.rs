//! Judges a whole snapshot against the registry: accepted or rejected, nothing between
//! (semantics.md §2.5, §8).
//!
//! Absence is no evidence: an agent that is missing is counted and nothing follows for it.
//! Strangers never raise coverage, and their records go no further until the registry knows them.

use std::collections::BTreeSet;

use crate::model::ids::UserId;
use crate::model::time::{Millis, UnixMillis};
use crate::upstream::wire::StatusRecord;

/// What became of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    /// Whether it is believed.
    pub accepted: bool,
    /// Registered agents in the snapshot, and registered agents; `None` without a registry.
    pub coverage: Option<(u64, u64)>,
    /// One record for each registered agent that was seen, ordered by agent. Also filled in a
    /// rejected snapshot; nothing of that may be applied.
    pub records: Vec<StatusRecord>,
    /// Agents that the registry does not know, ordered.
    pub strangers: Vec<UserId>,
    /// Records beyond the first of their agent.
    pub duplicates: u64,
    /// Of these, records that contradict another of the same `lastModified`.
    pub conflicts: u64,
    /// Records refused because they lie in the future; their agents count as not seen.
    pub refused: u64,
    /// Registered agents that were not seen.
    pub missing: u64,
}

impl Judgement {
    /// Distinct agents in the snapshot, strangers included.
    pub fn distinct(&self) -> u64 {
        (self.records.len() + self.strangers.len()) as u64
    }
}

/// Judges `records` in order of appearance. Accepted if at least `min_coverage_per_mille`
/// thousandths of the registry are in it: integers, inclusive, so that exactly 90 % pass. An
/// empty registry accepts nothing, since nothing can be judged by it.
pub fn judge(
    mut records: Vec<StatusRecord>,
    registry: &BTreeSet<UserId>,
    min_coverage_per_mille: u32,
    now_platform: UnixMillis,
    future_tolerance: Millis,
) -> Judgement {
    let mut judgement = Judgement::default();
    let before = records.len();
    let latest = now_platform + future_tolerance;
    records.retain(|record| record.last_modified <= latest);
    judgement.refused = (before - records.len()) as u64;

    deduplicate(&mut records, &mut judgement);
    // Both are ordered by agent: one walk instead of a look-up for each.
    let mut registered = registry.iter().peekable();
    records.retain(|record| {
        while registered.next_if(|id| **id < record.user_id).is_some() {}
        let known = registered.next_if(|id| **id == record.user_id).is_some();
        if !known {
            judgement.strangers.push(record.user_id.clone());
        }
        known
    });
    judgement.records = records;

    let observed = judgement.records.len() as u64;
    let expected = registry.len() as u64;
    judgement.missing = expected - observed;
    if expected > 0 {
        judgement.coverage = Some((observed, expected));
        judgement.accepted = observed * 1_000 >= expected * u64::from(min_coverage_per_mille);
    }
    judgement
}

/// One record an agent, ordered by agent: the newest `lastModified` wins, of equal ones the later. In
/// place, for a snapshot of a large organisation is no small part of all memory.
fn deduplicate(records: &mut Vec<StatusRecord>, judgement: &mut Judgement) {
    // Stable: within an agent the order of appearance stays.
    records.sort_by(|a, b| a.user_id.cmp(&b.user_id));
    records.dedup_by(|record, kept| {
        if kept.user_id != record.user_id {
            return false;
        }
        judgement.duplicates += 1;
        if record.last_modified == kept.last_modified && record != kept {
            judgement.conflicts += 1;
        }
        if record.last_modified >= kept.last_modified {
            std::mem::swap(kept, record);
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::state::{Presence, RoutingState};
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);
    const TOLERANCE: Millis = Millis::from_secs(5);

    fn id(n: u32) -> UserId {
        UserId::new(&format!("agent-{n:04}"))
    }

    fn record(n: u32, state: RoutingState, at: i64) -> StatusRecord {
        StatusRecord {
            user_id: id(n),
            presence: Presence::parse("Available"),
            availability: state,
            last_modified: UnixMillis(at),
            platform: None,
        }
    }

    fn registry(size: u32) -> BTreeSet<UserId> {
        (0..size).map(id).collect()
    }

    fn judged(records: Vec<StatusRecord>, size: u32, min: u32) -> Judgement {
        judge(records, &registry(size), min, NOW, TOLERANCE)
    }

    fn seen(count: u32) -> Vec<StatusRecord> {
        (0..count)
            .map(|n| record(n, RoutingState::Available, 5))
            .collect()
    }

    #[test]
    fn coverage_is_exact_and_inclusive() {
        // (observed, registered, accepted)
        for (observed, expected, accepted) in [
            (0, 10, false),
            (5, 10, false),
            (8, 10, false),
            (9, 10, true),
            (10, 10, true),
            (0, 100, false),
            (50, 100, false),
            (89, 100, false),
            (90, 100, true),
            (91, 100, true),
            (1, 1, true),
            (0, 1, false),
            (899, 1_000, false),
            (900, 1_000, true),
        ] {
            let judgement = judged(seen(observed), expected, 900);
            assert_eq!(judgement.accepted, accepted, "{observed} of {expected}");
            assert_eq!(
                judgement.coverage,
                Some((u64::from(observed), u64::from(expected)))
            );
            assert_eq!(judgement.missing, u64::from(expected - observed));
        }
    }

    #[test]
    fn other_thresholds_are_exact_too() {
        assert!(judged(seen(0), 10, 0).accepted);
        assert!(judged(seen(10), 10, 1_000).accepted);
        assert!(!judged(seen(9), 10, 1_000).accepted);
        // A third of 3 is 333.3 per mille.
        assert!(judged(seen(1), 3, 333).accepted);
        assert!(!judged(seen(1), 3, 334).accepted);
    }

    #[test]
    fn without_a_registry_nothing_is_accepted() {
        for min in [0, 900] {
            let judgement = judged(seen(10), 0, min);
            assert!(!judgement.accepted);
            assert_eq!(judgement.coverage, None);
            assert_eq!(judgement.strangers.len(), 10);
        }
    }

    #[test]
    fn strangers_and_duplicates_never_raise_coverage() {
        let mut records = seen(8);
        records.extend(seen(8));
        records.extend((50..90).map(|n| record(n, RoutingState::Available, 5)));
        let judgement = judged(records, 10, 900);
        assert!(!judgement.accepted);
        assert_eq!(judgement.coverage, Some((8, 10)));
        assert_eq!(judgement.duplicates, 8);
        assert_eq!(judgement.conflicts, 0);
        assert_eq!(judgement.strangers, (50..90).map(id).collect::<Vec<_>>());
        assert_eq!(judgement.distinct(), 48);
    }

    #[test]
    fn the_newest_of_several_records_wins_and_of_equal_ones_the_later() {
        use RoutingState::{Available, NotReady, OnCall, WrapUp};
        let judgement = judged(
            vec![
                record(0, OnCall, 20),
                record(1, Available, 10),
                record(0, Available, 10),
                record(1, NotReady, 10),
                record(2, Available, 7),
                record(2, WrapUp, 8),
            ],
            3,
            900,
        );
        let kept: Vec<_> = judgement.records.iter().map(|r| r.availability).collect();
        assert_eq!(kept, [OnCall, NotReady, WrapUp]);
        assert_eq!((judgement.duplicates, judgement.conflicts), (3, 1));
    }

    #[test]
    fn a_record_from_the_future_is_refused_alone() {
        let mut records = seen(9);
        let edge = NOW.0 + TOLERANCE.0;
        records.push(record(8, RoutingState::OnCall, edge + 1));
        records.push(record(9, RoutingState::OnCall, edge + 1));
        let judgement = judged(records.clone(), 10, 900);
        assert!(judgement.accepted);
        assert_eq!((judgement.refused, judgement.missing), (2, 1));
        assert_eq!(judgement.records[8].availability, RoutingState::Available);
        records[10].last_modified = UnixMillis(edge);
        assert_eq!(judged(records, 10, 900).coverage, Some((10, 10)));
    }

    proptest! {
        #[test]
        fn a_judgement_accounts_for_every_record(
            rows in proptest::collection::vec((0..60_u32, 0..4_usize, 0..8_i64), 0..200),
            size in 0..50_u32,
            min in 0..=1_000_u32,
        ) {
            let late = NOW.0 + TOLERANCE.0 - 3;
            let records: Vec<_> = rows
                .iter()
                .map(|(n, state, at)| record(*n, RoutingState::ALL[*state], late + at))
                .collect();
            let judgement = judged(records, size, min);
            let told = judgement.distinct() + judgement.duplicates + judgement.refused;
            prop_assert_eq!(told, rows.len() as u64);
            prop_assert!(judgement.records.is_sorted_by(|a, b| a.user_id < b.user_id));
            prop_assert_eq!(judgement.missing + judgement.records.len() as u64, u64::from(size));
            for kept in &judgement.records {
                let newest = rows
                    .iter()
                    .filter(|(n, _, at)| id(*n) == kept.user_id && *at <= 3)
                    .map(|(_, _, at)| late + at)
                    .max();
                prop_assert_eq!(Some(kept.last_modified.0), newest);
            }
        }
    }
}
