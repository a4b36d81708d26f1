//! Retention: what is older than the horizon goes, in steps, but never what a later row needs.
//!
//! The segment and the presence that reach over the horizon stay, however old their starts.

use rusqlite::{Transaction, params};

use crate::model::time::UnixMillis;

/// Rows of a table deleted at a time: well under a second of the writer's time.
const STEP_ROWS_MAX: i64 = 20_000;

/// What a step of pruning did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PruneReport {
    /// Events forgotten.
    pub events: u64,
    /// Window rows forgotten.
    pub windows: u64,
    /// There may be more to forget.
    pub more: bool,
}

/// Rows lie by length and start, so that the old ones of each length are found without a look at
/// the others; there is one length unless the configuration has changed.
const WINDOWS: &str = "DELETE FROM agent_window
WHERE (org, window_length, window_start, user_id) IN (
    WITH RECURSIVE length (ms) AS (
        SELECT min(window_length) FROM agent_window WHERE org = ?1
        UNION ALL
        SELECT (SELECT min(window_length) FROM agent_window
            WHERE org = ?1 AND window_length > length.ms)
        FROM length WHERE length.ms IS NOT NULL)
    SELECT org, window_length, window_start, user_id FROM length CROSS JOIN agent_window
    WHERE org = ?1 AND window_length = length.ms AND window_start < ?2 LIMIT ?3)";

/// An event goes if a later one that holds stands at or before the horizon, or if the agent has
/// left the registry for good before it.
const EVENTS: &str = "DELETE FROM agent_event
WHERE (org, user_id, state_entered_at) IN (
    SELECT e.org, e.user_id, e.state_entered_at FROM agent_event AS e
    WHERE e.org = ?1 AND e.state_entered_at < ?2 AND (
        EXISTS (SELECT 1 FROM agent_event AS later
            WHERE later.org = e.org AND later.user_id = e.user_id
              AND later.state_entered_at > e.state_entered_at
              AND later.state_entered_at <= ?2 AND later.withdrawn = 0)
        OR NOT EXISTS (SELECT 1 FROM roster
            WHERE roster.org = e.org AND roster.user_id = e.user_id
              AND (roster.until_at IS NULL OR roster.until_at >= ?4)))
    LIMIT ?3)";

/// Confirmations, by the same rule; `?2` is text.
const CONFIRMATIONS: &str = "DELETE FROM confirmation WHERE org = ?1 AND entered_at < ?2 AND (
    EXISTS (SELECT 1 FROM agent_event AS later
        WHERE later.org = confirmation.org AND later.user_id = confirmation.user_id
          AND later.state_entered_at > confirmation.entered_at
          AND later.state_entered_at <= ?2 AND later.withdrawn = 0)
    OR NOT EXISTS (SELECT 1 FROM roster
        WHERE roster.org = confirmation.org AND roster.user_id = confirmation.user_id))";

/// What instants as integers bound; `?2` is one.
const REST: [&str; 3] = [
    "DELETE FROM roster WHERE org = ?1 AND until_at < ?2",
    "DELETE FROM presence WHERE org = ?1 AND at < ?2 AND (
        EXISTS (SELECT 1 FROM presence AS later
            WHERE later.org = presence.org AND later.user_id = presence.user_id
              AND later.at > presence.at AND later.at <= ?2)
        OR NOT EXISTS (SELECT 1 FROM roster
            WHERE roster.org = presence.org AND roster.user_id = presence.user_id))",
    "DELETE FROM agent WHERE org = ?1 AND closed_until < ?2 AND NOT EXISTS (
        SELECT 1 FROM roster
        WHERE roster.org = agent.org AND roster.user_id = agent.user_id)",
];

/// Forgets rows of windows that start before `windows`, and facts that only rows before `facts`
/// needed.
pub(super) fn step(
    transaction: &Transaction<'_>,
    org: &str,
    windows: UnixMillis,
    facts: UnixMillis,
) -> rusqlite::Result<PruneReport> {
    let facts = facts.max(UnixMillis(0));
    let gone_windows =
        transaction.execute(WINDOWS, params![org, windows.to_string(), STEP_ROWS_MAX])?;
    let gone_events = transaction.execute(
        EVENTS,
        params![org, facts.to_string(), STEP_ROWS_MAX, facts.0],
    )?;
    for sql in REST {
        transaction.execute(sql, params![org, facts.0])?;
    }
    transaction.execute(CONFIRMATIONS, params![org, facts.to_string()])?;
    let full = |gone: usize| gone as i64 >= STEP_ROWS_MAX;
    Ok(PruneReport {
        events: gone_events as u64,
        windows: gone_windows as u64,
        more: full(gone_windows) || full(gone_events),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::Place;
    use crate::model::event::{JournalRecord, RosterSpan};
    use crate::model::ids::UserId;
    use crate::model::time::UnixMillis;
    use crate::window::tests::arb_journal;

    /// Whether retention at `horizon` leaves all that the record can bear upon.
    fn is_recent(record: &JournalRecord, horizon: UnixMillis) -> bool {
        match record {
            JournalRecord::Event(event) => event.state_entered_timestamp >= horizon,
            JournalRecord::Marks(_) => true,
            JournalRecord::Roster(span) => span.from >= horizon,
            JournalRecord::Presence(change) => change.at >= horizon,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn rows_behind_the_horizon_are_those_of_a_store_that_forgets_nothing(
            early in arb_journal(),
            late in arb_journal(),
            horizon in (0_i64..13).prop_map(|n| UnixMillis(n * 300_000)),
        ) {
            let (forgetful, whole) = (Place::new(), Place::new());
            let registered = ["agent-0001", "agent-0002"].map(|user| {
                JournalRecord::Roster(RosterSpan {
                    user_id: UserId::new(user),
                    from: UnixMillis(0),
                    until: None,
                })
            });
            let early: Vec<_> = (1..).zip(registered.into_iter().chain(early)).collect();
            let late: Vec<_> = (1_000..)
                .zip(late.into_iter().filter(|record| is_recent(record, horizon)))
                .collect();
            let mut kept = Vec::new();
            for (place, prunes) in [(&forgetful, true), (&whole, false)] {
                let mut store = place.store();
                store.commit(&early).unwrap();
                if prunes {
                    store.prune(horizon).unwrap();
                }
                store.commit(&late).unwrap();
                let mut rows = place.figures();
                let first = rusqlite::types::Value::Text(horizon.to_string());
                let text = |value: &rusqlite::types::Value| format!("{value:?}");
                if prunes {
                    prop_assert!(rows.iter().all(|row| text(&row[3]) >= text(&first)));
                }
                rows.retain(|row| text(&row[3]) >= text(&first));
                kept.push(rows);
            }
            prop_assert_eq!(&kept[0], &kept[1]);
        }
    }
}
