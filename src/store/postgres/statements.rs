//! Every statement of the store in PostgreSQL, prepared once a connection.
//!
//! Statements take whole batches as arrays: a commit costs three round trips, however many agents
//! it names, and at most two more if of some nothing was heard for a day.

use std::fmt::Write;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

use super::link::Live;
use super::schema::{EVENT_COLUMNS, WINDOW_COLUMNS};
use super::values::{Column, Kind, Param};

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident => $sql:expr,)*) => {
        /// A statement.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Query { $($(#[$doc])* $name,)* }

        impl Query {
            /// Every statement, in order.
            const ALL: &[Self] = &[$(Self::$name,)*];

            fn sql(self) -> String {
                match self { $(Self::$name => $sql.into(),)* }
            }
        }
    };
}

statements! {
    /// Commits of few agents go side by side …
    ShareOrg => "SELECT pg_advisory_xact_lock_shared($1::int, $2::int)",
    /// … those of many, and pruning, alone.
    HoldOrg => "SELECT pg_advisory_xact_lock($1::int, $2::int)",
    /// Each agent is written by one at a time; in rising order, so that nobody waits in a circle.
    HoldAgents => "SELECT count(pg_advisory_xact_lock(key)) FROM unnest($1::bigint[]) AS key",
    Progress => "SELECT cursor, pruned_until FROM progress WHERE org = $1",
    SetProgress => "INSERT INTO progress VALUES ($1, $2, $3) ON CONFLICT (org) DO UPDATE \
        SET cursor = greatest(progress.cursor, EXCLUDED.cursor), \
            pruned_until = greatest(progress.pruned_until, EXCLUDED.pruned_until)",
    /// Of an agent that joined later than its windows closed, those before it joined are closed,
    /// for it has none.
    ClosedForAll => "SELECT min(greatest(coalesce(agent.closed_until, 0), \
            roster.from_at - roster.from_at % $2)) \
        FROM roster LEFT JOIN agent \
            ON agent.org = roster.org AND agent.user_id = roster.user_id \
        WHERE roster.org = $1 AND roster.until_at IS NULL",
    Size => "SELECT coalesce(sum(pg_total_relation_size(parts.relid)), 0)::bigint \
        FROM unnest(ARRAY['agent_event', 'agent_window', 'agent', 'confirmation', 'roster', \
            'presence', 'progress', 'dead_letter', 'quarantined_row', 'delivery']) AS named, \
            LATERAL (SELECT named::regclass AS relid UNION \
                SELECT relid FROM pg_partition_tree(named::regclass)) AS parts",
    /// Events, and between the same bounds confirmations, which have no more than a key in common.
    LoadEvents => format!(
        "SELECT span.ord, fact.* FROM {SPANS} {BOUNDS} \
         CROSS JOIN LATERAL ( \
             (SELECT {}, NULL::bigint, NULL::bigint FROM agent_event AS e \
                 WHERE e.org = $1 AND (e.user_id, e.state_entered_at) \
                     BETWEEN (span.user_id, bound.first_at) AND (span.user_id, bound.last_at) \
                   AND e.state_entered_at >= $5 \
                 ORDER BY e.user_id, e.state_entered_at OFFSET 0) \
             UNION ALL \
             (SELECT {}, c.confirmed_until, c.tolerance FROM confirmation AS c \
                 WHERE c.org = $1 AND c.user_id = span.user_id \
                   AND c.entered_at BETWEEN bound.first_at AND bound.last_at)) AS fact",
        read("e", &EVENT_COLUMNS),
        confirmation()
    ),
    LoadPresence => "SELECT span.ord, p.at, p.presence \
        FROM unnest($2::text[], $3::bigint[], $4::bigint[]) \
            WITH ORDINALITY AS span (user_id, from_at, to_at, ord) \
        CROSS JOIN LATERAL (SELECT \
            coalesce((SELECT max(at) FROM presence AS p WHERE p.org = $1 \
                AND p.user_id = span.user_id AND p.at <= span.from_at), span.from_at) AS first_at, \
            coalesce((SELECT min(at) FROM presence AS p WHERE p.org = $1 \
                AND p.user_id = span.user_id AND p.at > span.to_at), span.to_at) AS last_at) \
            AS bound \
        CROSS JOIN LATERAL (SELECT * FROM presence AS p \
            WHERE p.org = $1 AND p.user_id = span.user_id \
              AND p.at BETWEEN bound.first_at AND bound.last_at OFFSET 0) AS p",
    LoadRoster => "SELECT span.ord, r.from_at, r.until_at \
        FROM unnest($2::text[]) WITH ORDINALITY AS span (user_id, ord) \
        CROSS JOIN LATERAL (SELECT * FROM roster AS r \
            WHERE r.org = $1 AND r.user_id = span.user_id OFFSET 0) AS r",
    LoadAgents => "SELECT span.ord, a.closed_until \
        FROM unnest($2::text[]) WITH ORDINALITY AS span (user_id, ord) \
        CROSS JOIN LATERAL (SELECT * FROM agent AS a \
            WHERE a.org = $1 AND a.user_id = span.user_id OFFSET 0) AS a",
    /// No span begins before `$6`, which spares the days before.
    LoadWindows => format!(
        "SELECT span.ord, {} FROM {SPANS} \
         CROSS JOIN LATERAL (SELECT * FROM agent_window AS w \
             WHERE w.org = $1 AND (w.user_id, w.window_length, w.window_start) \
                 BETWEEN (span.user_id, $5, span.from_at) AND (span.user_id, $5, span.to_at) \
               AND w.window_start >= $6 \
             OFFSET 0) AS w",
        read("w", &WINDOW_COLUMNS)
    ),
    /// In place of whatever has the key.
    PutEvents => upsert("agent_event", &EVENT_COLUMNS, EVENT_KEY, ""),
    /// In place of a twin that ranks lower.
    PutTwins => upsert(
        "agent_event",
        &EVENT_COLUMNS,
        EVENT_KEY,
        "WHERE EXCLUDED.checksum > agent_event.checksum",
    ),
    PutWindows => upsert(
        "agent_window",
        &WINDOW_COLUMNS,
        "org, user_id, window_length, window_start",
        "",
    ),
    DropWindows => "DELETE FROM agent_window AS w \
        USING unnest($3::text[], $4::timestamptz[]) AS gone (user_id, window_start) \
        WHERE w.org = $1 AND w.window_length = $2 \
          AND w.user_id = gone.user_id AND w.window_start = gone.window_start",
    DropEvents => "DELETE FROM agent_event AS e \
        USING unnest($2::text[], $3::timestamptz[]) AS gone (user_id, state_entered_at) \
        WHERE e.org = $1 AND e.user_id = gone.user_id \
          AND e.state_entered_at = gone.state_entered_at",
    Quarantine => "INSERT INTO quarantined_row (origin, content) \
        SELECT * FROM unnest($1::text[], $2::text[])",
    PutConfirmations => "INSERT INTO confirmation \
        SELECT $1, * FROM unnest($2::text[], $3::timestamptz[], $4::bigint[], $5::bigint[]) \
        ON CONFLICT (org, user_id, entered_at) DO UPDATE \
            SET confirmed_until = EXCLUDED.confirmed_until, tolerance = EXCLUDED.tolerance",
    PutRoster => "INSERT INTO roster \
        SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::bigint[]) \
        ON CONFLICT (org, user_id, from_at) DO UPDATE SET until_at = EXCLUDED.until_at",
    PutPresence => "INSERT INTO presence \
        SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::text[]) \
        ON CONFLICT (org, user_id, at) DO UPDATE SET presence = EXCLUDED.presence",
    PutAgents => "INSERT INTO agent SELECT $1, * FROM unnest($2::text[], $3::bigint[]) \
        ON CONFLICT (org, user_id) DO UPDATE SET closed_until = EXCLUDED.closed_until",
    Bury => "INSERT INTO dead_letter SELECT $1, * \
        FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[]) ON CONFLICT DO NOTHING",
    /// Numbers of producers; in rising order, so that nobody waits in a circle.
    Take => "INSERT INTO delivery SELECT $1, * FROM unnest($2::text[], $3::bigint[]) \
        ON CONFLICT DO NOTHING",
    /// The same of numbers that nobody has committed or given up before.
    Forgo => "INSERT INTO delivery SELECT $1, given.* \
        FROM unnest($2::text[], $3::bigint[]) AS given (producer, seq) \
        LEFT JOIN producer AS p ON p.org = $1 AND p.producer = given.producer \
        WHERE given.seq > coalesce(p.floor, 0) ON CONFLICT DO NOTHING",
    MeetProducers => "INSERT INTO producer SELECT DISTINCT org, producer, 0 FROM delivery \
        WHERE org = $1 ON CONFLICT DO NOTHING",
    /// As far as numbers follow without a hole.
    RaiseFloors => "WITH run AS (SELECT d.producer, d.seq, p.floor, \
            d.seq - row_number() OVER (PARTITION BY d.producer ORDER BY d.seq) AS base \
            FROM delivery AS d JOIN producer AS p USING (org, producer) \
            WHERE d.org = $1 AND d.seq > p.floor), \
        reached AS (SELECT producer, max(seq) AS floor FROM run WHERE base = floor \
            GROUP BY producer) \
        UPDATE producer AS p SET floor = reached.floor FROM reached \
        WHERE p.org = $1 AND p.producer = reached.producer AND p.floor < reached.floor",
    ForgetTaken => "DELETE FROM delivery AS d USING producer AS p \
        WHERE d.org = $1 AND p.org = d.org AND p.producer = d.producer AND d.seq <= p.floor",
    Floors => "SELECT p.producer, p.floor, min(d.seq) FROM producer AS p \
        LEFT JOIN delivery AS d USING (org, producer) \
        WHERE p.org = $1 GROUP BY p.producer, p.floor ORDER BY p.producer",
    /// For as long as the connection lives; who has it already has it.
    SendAlone => "SELECT pg_try_advisory_lock($1::int, $2::int)",
    SentUntil => "SELECT sent_until FROM remote_write WHERE org = $1",
    /// With what was refused on the way, in one statement and so all or nothing.
    NoteSent => "WITH refused AS (INSERT INTO remote_write_dead \
            (org, window_end, status, reason, body) \
            SELECT $1, * FROM unnest($3::timestamptz[], $4::bigint[], $5::text[], $6::bytea[])) \
        INSERT INTO remote_write VALUES ($1, $2) \
        ON CONFLICT (org) DO UPDATE SET sent_until = EXCLUDED.sent_until",
    ReadWindows => format!(
        "SELECT {} FROM agent_window AS w WHERE w.org = $1 AND w.window_length = $2 \
         AND w.window_start >= $3 AND w.window_start < $4 \
         AND (w.window_start, w.user_id) > ($5, $6) \
         AND ($7::text IS NULL OR w.user_id = $7) \
         ORDER BY w.window_start, w.user_id LIMIT $8",
        read("w", &WINDOW_COLUMNS)
    ),
    ScanEvents => format!(
        "SELECT {} FROM agent_event AS e WHERE e.org = $1 \
         AND e.state_entered_at >= $2 AND e.state_entered_at < $3 \
         AND (e.state_entered_at, e.user_id) > ($2, $4) \
         ORDER BY e.state_entered_at, e.user_id LIMIT $5",
        read("e", &EVENT_COLUMNS)
    ),
    LengthAbove => "SELECT min(window_length) FROM agent_window \
        WHERE org = $1 AND window_length > $2",
}

const EVENT_KEY: &str = "org, user_id, state_entered_at";

/// One row an agent and what is asked of it.
const SPANS: &str = "unnest($2::text[], $3::timestamptz[], $4::timestamptz[]) \
    WITH ORDINALITY AS span (user_id, from_at, to_at, ord)";

/// From the last start that holds at or before a span, but not before `$5`, to the first after it; no
/// span ends before `$6`.
///
/// Rows are compared as pairs of agent and instant, which only the primary key has in this order. Of
/// a partition that has not been analysed yet the planner would else take the index by time, and
/// look at every agent's events. `$5` and `$6` spare it the days before; were there a bound on the
/// other side too, it would think that few rows lie in between, and take that index all the same.
const BOUNDS: &str = "CROSS JOIN LATERAL (SELECT \
    coalesce((SELECT b.state_entered_at FROM agent_event AS b \
        WHERE b.org = $1 AND b.user_id >= span.user_id AND NOT b.withdrawn \
          AND (b.user_id, b.state_entered_at) <= (span.user_id, span.from_at) \
          AND b.state_entered_at >= $5 \
        ORDER BY b.user_id DESC, b.state_entered_at DESC LIMIT 1), span.from_at) AS first_at, \
    coalesce((SELECT b.state_entered_at FROM agent_event AS b \
        WHERE b.org = $1 AND b.user_id <= span.user_id AND NOT b.withdrawn \
          AND (b.user_id, b.state_entered_at) > (span.user_id, span.to_at) \
          AND b.state_entered_at > $6 \
        ORDER BY b.user_id, b.state_entered_at LIMIT 1), span.to_at) AS last_at \
    OFFSET 0) AS bound";

/// The columns of an event, of a confirmation, which has but its key of them.
fn confirmation() -> String {
    let column = |&(name, kind): &Column| match name {
        "org" | "user_id" => format!("c.{name}"),
        "state_entered_at" => "c.entered_at".to_owned(),
        _ => format!("NULL::{}", kind.sent()),
    };
    EVENT_COLUMNS
        .iter()
        .map(column)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The columns as they are read.
fn read(table: &str, columns: &[Column]) -> String {
    let column = |(name, kind): &Column| match kind {
        Kind::Json => format!("{table}.{name}::text"),
        _ => format!("{table}.{name}"),
    };
    columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

fn upsert(table: &str, columns: &[Column], key: &str, condition: &str) -> String {
    let names =
        |make: &dyn Fn(&Column) -> String| columns.iter().map(make).collect::<Vec<_>>().join(", ");
    let all = names(&|(name, _)| (*name).to_owned());
    let sent = names(&|(name, kind)| match kind {
        Kind::Json => format!("{name}::json"),
        _ => (*name).to_owned(),
    });
    let replaced = names(&|(name, _)| format!("{name} = EXCLUDED.{name}"));
    let mut arrays = String::new();
    for (at, (_, kind)) in columns.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        write!(arrays, "{comma}${}::{}[]", at + 1, kind.sent()).expect("a string takes any text");
    }
    format!(
        "INSERT INTO {table} ({all}) SELECT {sent} FROM unnest({arrays}) AS sent ({all}) \
         ON CONFLICT ({key}) DO UPDATE SET {replaced} {condition}"
    )
}

/// The statements as one connection knows them.
pub(super) struct Statements(Vec<Statement>);

impl Statements {
    /// Prepares all of them.
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        let mut prepared = Vec::with_capacity(Query::ALL.len());
        for query in Query::ALL {
            prepared.push(client.prepare(&query.sql()).await?);
        }
        Ok(Self(prepared))
    }

    fn get(&self, query: Query) -> &Statement {
        &self.0[query as usize]
    }
}

/// A statement that changes something, with what it is told.
pub(super) struct Change<'p> {
    pub(super) query: Query,
    pub(super) params: Vec<Param<'p>>,
}

/// A value of a statement that only reads.
pub(super) type Asked<'p> = &'p (dyn ToSql + Sync);

impl Live {
    /// Runs a statement. It is on its way once this was polled, so that those polled in order
    /// arrive in order, without waiting for each other's answers.
    pub(super) async fn execute(&self, change: &Change<'_>) -> Result<u64, Error> {
        let params = change.params.iter().map(plain);
        let statement = self.statements.get(change.query);
        self.client.execute_raw(statement, params).await
    }

    /// The same, and gives back its rows.
    pub(super) async fn query<const N: usize>(
        &self,
        query: Query,
        params: [Asked<'_>; N],
    ) -> Result<Vec<Row>, Error> {
        let statement = self.statements.get(query);
        self.client.query(statement, &params).await
    }
}

fn plain<'p>(param: &'p Param<'_>) -> Asked<'p> {
    param.as_ref()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Cluster, DATABASE, store};
    use super::*;
    use crate::store::tests::settings;

    /// However many days are kept: of each search they would be a part.
    #[tokio::test(flavor = "multi_thread")]
    async fn days_before_the_last_are_not_looked_into() {
        let cluster = Cluster::start();
        store(&cluster, &settings(300)).open().await.unwrap();
        for table in ["agent_event", "agent_window"] {
            let made = format!(
                "CREATE TABLE {table}_long_ago PARTITION OF {table} \
                 FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')"
            );
            cluster.ask(DATABASE, &made);
        }
        let looks = |query: Query, more: &str| {
            let sql = query.sql();
            let asked = format!(
                "SET plan_cache_mode = 'force_generic_plan'; PREPARE asked AS {sql}; \
                 EXPLAIN EXECUTE asked ('o', ARRAY['u'], ARRAY[now()], ARRAY[now()], {more})"
            );
            let plan = cluster.ask(DATABASE, &asked);
            plan.matches("_long_ago_pkey on").count()
        };
        assert_eq!(
            looks(Query::LoadEvents, "now() - interval '1 day', now()"),
            0
        );
        assert_eq!(looks(Query::LoadEvents, "'1970-01-01', now()"), 2);
        assert_eq!(looks(Query::LoadWindows, "300000, now()"), 0);
        assert_eq!(looks(Query::LoadWindows, "300000, '1970-01-01'"), 1);
    }

    /// A day begins with a partition of which the planner knows nothing, and all that is asked of it
    /// then is asked thousands of times before anybody analyses it.
    #[tokio::test(flavor = "multi_thread")]
    async fn facts_are_found_by_the_primary_key_before_anybody_has_analysed_a_table() {
        let cluster = Cluster::start();
        store(&cluster, &settings(300)).open().await.unwrap();
        for (query, more) in [
            (Query::LoadEvents, ", now(), now()"),
            (Query::LoadWindows, ", 300000, now()"),
        ] {
            let sql = query.sql();
            let plan = cluster.ask(
                DATABASE,
                &format!(
                    "SET plan_cache_mode = 'force_generic_plan'; PREPARE asked AS {sql}; \
                     EXPLAIN EXECUTE asked ('o', ARRAY['u'], ARRAY[now()], ARRAY[now()]{more})"
                ),
            );
            assert!(plan.contains("_pkey on "), "{query:?}: {plan}");
            for by_time in ["_state_entered_at_user_id_idx", "_window_start_user_id_idx"] {
                assert!(!plan.contains(by_time), "{query:?}: {plan}");
            }
        }
    }
}
