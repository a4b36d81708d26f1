//! The tables of the store in PostgreSQL: those of SQLite, with the types that PostgreSQL has.
//!
//! Instants that users read are `timestamptz`, flags `boolean`, lists `json`. `agent_event` and
//! `agent_window` are partitioned by day; what belongs to no day that is kept lies in the default
//! partition. Keys sort by bytes (`COLLATE "C"`), so that pages come in one order everywhere. A
//! schema once released never changes; a new one is a further migration.

use super::values::{Column, Kind};

/// `MIGRATIONS[n]` leads from schema `n` to `n + 1`.
pub(super) const MIGRATIONS: &[&str] = &[SCHEMA_1, SCHEMA_2];

/// Where the version of the schema is recorded.
pub(super) const VERSION_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS exporter_schema (version BIGINT NOT NULL)";

/// Columns of `agent_event`, in the order of its cells.
pub(super) const EVENT_COLUMNS: [Column; 19] = [
    ("org", Kind::Text),
    ("user_id", Kind::Text),
    ("state_entered_at", Kind::Instant),
    ("routing_availability", Kind::Text),
    ("raw_state", Kind::Text),
    ("wrapup_code", Kind::Text),
    ("ui_presence", Kind::Text),
    ("queue_assignments", Kind::Json),
    ("described_at", Kind::Instant),
    ("state_duration_ms", Kind::Integer),
    ("ingested_at", Kind::Instant),
    ("source", Kind::Text),
    ("volatile", Kind::Flag),
    ("previous", Kind::Text),
    ("revision", Kind::Integer),
    ("chain", Kind::Json),
    ("estimated", Kind::Flag),
    ("withdrawn", Kind::Flag),
    ("checksum", Kind::Integer),
];

/// Columns of `agent_window`, in the order of its cells.
pub(super) const WINDOW_COLUMNS: [Column; 18] = [
    ("org", Kind::Text),
    ("user_id", Kind::Text),
    ("window_length", Kind::Integer),
    ("window_start", Kind::Instant),
    ("window_end", Kind::Instant),
    ("available_ms", Kind::Integer),
    ("not_ready_ms", Kind::Integer),
    ("on_call_ms", Kind::Integer),
    ("wrap_up_ms", Kind::Integer),
    ("unknown_ms", Kind::Integer),
    ("state_transitions", Kind::Integer),
    ("covered_ms", Kind::Integer),
    ("estimated_ms", Kind::Integer),
    ("volatile", Kind::Flag),
    ("revision", Kind::Integer),
    ("last_event_at", Kind::Instant),
    ("last_event_ingested_at", Kind::Instant),
    ("checksum", Kind::Integer),
];

const SCHEMA_1: &str = r#"
CREATE TABLE agent_event (
    org TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    state_entered_at TIMESTAMPTZ NOT NULL,
    routing_availability TEXT NOT NULL,
    raw_state TEXT,
    wrapup_code TEXT,
    ui_presence TEXT NOT NULL,
    queue_assignments JSON NOT NULL,
    described_at TIMESTAMPTZ NOT NULL,
    state_duration_ms BIGINT NOT NULL,
    ingested_at TIMESTAMPTZ NOT NULL,
    source TEXT NOT NULL,
    volatile BOOLEAN NOT NULL,
    previous TEXT,
    revision BIGINT NOT NULL,
    chain JSON NOT NULL,
    estimated BOOLEAN NOT NULL,
    withdrawn BOOLEAN NOT NULL,
    checksum BIGINT NOT NULL,
    PRIMARY KEY (org, user_id, state_entered_at)
) PARTITION BY RANGE (state_entered_at);
CREATE INDEX agent_event_by_time ON agent_event (org, state_entered_at, user_id);
CREATE TABLE agent_event_default PARTITION OF agent_event DEFAULT;

CREATE TABLE agent_window (
    org TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    window_length BIGINT NOT NULL,
    window_start TIMESTAMPTZ NOT NULL,
    window_end TIMESTAMPTZ NOT NULL,
    available_ms BIGINT NOT NULL,
    not_ready_ms BIGINT NOT NULL,
    on_call_ms BIGINT NOT NULL,
    wrap_up_ms BIGINT NOT NULL,
    unknown_ms BIGINT NOT NULL,
    state_transitions BIGINT NOT NULL,
    covered_ms BIGINT NOT NULL,
    estimated_ms BIGINT NOT NULL,
    volatile BOOLEAN NOT NULL,
    revision BIGINT NOT NULL,
    last_event_at TIMESTAMPTZ,
    last_event_ingested_at TIMESTAMPTZ,
    checksum BIGINT NOT NULL,
    PRIMARY KEY (org, user_id, window_length, window_start)
) PARTITION BY RANGE (window_start);
CREATE INDEX agent_window_by_time ON agent_window (org, window_length, window_start, user_id);
CREATE TABLE agent_window_default PARTITION OF agent_window DEFAULT;

CREATE TABLE agent (
    org TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    closed_until BIGINT NOT NULL,
    PRIMARY KEY (org, user_id)
) WITH (fillfactor = 70);

CREATE TABLE confirmation (
    org TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    entered_at TIMESTAMPTZ NOT NULL,
    confirmed_until BIGINT NOT NULL,
    tolerance BIGINT NOT NULL,
    PRIMARY KEY (org, user_id, entered_at)
) WITH (fillfactor = 70);

CREATE TABLE roster (
    org TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    from_at BIGINT NOT NULL,
    until_at BIGINT,
    PRIMARY KEY (org, user_id, from_at)
);

CREATE TABLE presence (
    org TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    presence TEXT NOT NULL,
    PRIMARY KEY (org, user_id, at)
);

CREATE TABLE progress (
    org TEXT COLLATE "C" PRIMARY KEY,
    cursor BIGINT NOT NULL,
    pruned_until BIGINT NOT NULL
);

CREATE TABLE dead_letter (
    org TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    checksum BIGINT NOT NULL,
    reason TEXT NOT NULL,
    payload TEXT NOT NULL,
    PRIMARY KEY (org, seq, checksum)
);

CREATE TABLE remote_write (
    org TEXT COLLATE "C" PRIMARY KEY,
    sent_until BIGINT NOT NULL
);

CREATE TABLE remote_write_dead (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org TEXT COLLATE "C" NOT NULL,
    window_end TIMESTAMPTZ NOT NULL,
    status BIGINT NOT NULL,
    reason TEXT NOT NULL,
    body BYTEA NOT NULL
);

CREATE TABLE quarantined_row (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    origin TEXT NOT NULL,
    content TEXT NOT NULL
);
"#;

/// Numbers of producers: everything up to `floor` is committed, and what `delivery` names beyond.
const SCHEMA_2: &str = r#"
CREATE TABLE producer (
    org TEXT COLLATE "C" NOT NULL,
    producer TEXT COLLATE "C" NOT NULL,
    floor BIGINT NOT NULL,
    PRIMARY KEY (org, producer)
);

CREATE TABLE delivery (
    org TEXT COLLATE "C" NOT NULL,
    producer TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (org, producer, seq)
);
"#;
