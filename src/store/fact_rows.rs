//! The facts of one agent in tables: loads a bounded part of them, and writes what changed.

use std::collections::BTreeMap;

use rusqlite::{CachedStatement, OptionalExtension, Row, Transaction, params};

use crate::model::ids::UserId;
use crate::model::state::Presence;
use crate::model::time::{Millis, UnixMillis};
use crate::window::{AgentFacts, Confirmation};

use super::columns::instant;
use super::event_rows::EventRows;
use super::touch::{Reach, Span, changed};

/// The facts of an organisation's agents within a transaction.
pub(super) struct FactRows<'t> {
    pub(super) events: EventRows<'t>,
    confirmations: CachedStatement<'t>,
    closed_until: CachedStatement<'t>,
}

impl<'t> FactRows<'t> {
    pub(super) fn of(transaction: &'t Transaction<'t>, org: &'t str) -> rusqlite::Result<Self> {
        Ok(Self {
            events: EventRows::of(transaction, org)?,
            confirmations: transaction.prepare_cached(CONFIRMATIONS)?,
            closed_until: transaction.prepare_cached(CLOSED_UNTIL)?,
        })
    }

    /// Loads what lies in a reach, the nearest event and presence on either side, and all of the
    /// roster if it is asked for: enough to compute anything within, however long the agent's
    /// history.
    pub(super) fn load(
        &mut self,
        user: &UserId,
        reach: Reach,
        bad: &mut u64,
    ) -> rusqlite::Result<AgentFacts> {
        let (transaction, org, user) = (self.events.transaction, self.events.org, user.as_str());
        let (events, span) = self.events.load(user, reach.events, bad)?;
        Ok(AgentFacts {
            events,
            confirmations: self.confirmations(user, span)?,
            roster: if reach.roster {
                roster(transaction, org, user)?
            } else {
                BTreeMap::new()
            },
            presence: match reach.presence {
                Some(span) => presences(transaction, org, user, span)?,
                None => BTreeMap::new(),
            },
            closed_until: self.closed_until(user)?,
        })
    }

    /// Writes whatever of `after` is not in `before`, events excepted: those are written whole.
    pub(super) fn write_changed(
        &self,
        user: &UserId,
        before: &AgentFacts,
        after: &AgentFacts,
    ) -> rusqlite::Result<()> {
        let (transaction, org, user) = (self.events.transaction, self.events.org, user.as_str());
        for (at, confirmation) in changed(&before.confirmations, &after.confirmations) {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO confirmation VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![
                    org,
                    user,
                    at.to_string(),
                    confirmation.until.0,
                    confirmation.tolerance.0
                ])?;
        }
        for (from, until) in changed(&before.roster, &after.roster) {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO roster VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![org, user, from.0, until.map(|until| until.0)])?;
        }
        for (at, presence) in changed(&before.presence, &after.presence) {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO presence VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![org, user, at.0, presence.wire()])?;
        }
        if let Some(until) = after
            .closed_until
            .filter(|_| before.closed_until != after.closed_until)
        {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO agent VALUES (?1, ?2, ?3)")?
                .execute(params![org, user, until.0])?;
        }
        Ok(())
    }

    fn confirmations(
        &mut self,
        user: &str,
        (from, to): Span,
    ) -> rusqlite::Result<BTreeMap<UnixMillis, Confirmation>> {
        let asked = params![self.events.org, user, from.to_string(), to.to_string()];
        let confirmation = |row: &Row<'_>| {
            let confirmation = Confirmation {
                until: UnixMillis(row.get(1)?),
                tolerance: Millis(row.get(2)?),
            };
            Ok(instant(row, 0)?.map(|at| (at, confirmation)))
        };
        self.confirmations
            .query_map(asked, confirmation)?
            .filter_map(Result::transpose)
            .collect()
    }

    fn closed_until(&mut self, user: &str) -> rusqlite::Result<Option<UnixMillis>> {
        self.closed_until
            .query_row(params![self.events.org, user], |row| {
                row.get(0).map(UnixMillis)
            })
            .optional()
    }
}

const CONFIRMATIONS: &str = "SELECT entered_at, confirmed_until, tolerance FROM confirmation \
    WHERE org = ?1 AND user_id = ?2 AND entered_at BETWEEN ?3 AND ?4";

const CLOSED_UNTIL: &str = "SELECT closed_until FROM agent WHERE org = ?1 AND user_id = ?2";

fn roster(
    transaction: &Transaction<'_>,
    org: &str,
    user: &str,
) -> rusqlite::Result<BTreeMap<UnixMillis, Option<UnixMillis>>> {
    transaction
        .prepare_cached("SELECT from_at, until_at FROM roster WHERE org = ?1 AND user_id = ?2")?
        .query_map(params![org, user], |row| {
            let until: Option<i64> = row.get(1)?;
            Ok((UnixMillis(row.get(0)?), until.map(UnixMillis)))
        })?
        .collect()
}

fn presences(
    transaction: &Transaction<'_>,
    org: &str,
    user: &str,
    (from, to): Span,
) -> rusqlite::Result<BTreeMap<UnixMillis, Presence>> {
    transaction
        .prepare_cached(
            "SELECT at, presence FROM presence WHERE org = ?1 AND user_id = ?2 \
             AND at >= coalesce((SELECT max(at) FROM presence \
                 WHERE org = ?1 AND user_id = ?2 AND at <= ?3), ?3) \
             AND at <= coalesce((SELECT min(at) FROM presence \
                 WHERE org = ?1 AND user_id = ?2 AND at > ?4), ?4)",
        )?
        .query_map(params![org, user, from.0, to.0], |row| {
            let presence: String = row.get(1)?;
            Ok((UnixMillis(row.get(0)?), Presence::parse(&presence)))
        })?
        .collect()
}
