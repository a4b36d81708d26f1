//! The tables of the store.
//!
//! `agent_event` and `agent_window` are for users: instants are RFC 3339 in UTC with milliseconds,
//! which sorts as text, and spans are integers of milliseconds. The rest is ours: instants there
//! are milliseconds since the Unix epoch, but for those that are compared with an event's start. A schema once released never changes; a new one is a
//! further migration.

use crate::journal::Database;

/// The store's file and its migrations.
pub(super) const DATABASE: Database = Database {
    file: "store.db",
    migrations: &[SCHEMA_1, SCHEMA_2, SCHEMA_3, SCHEMA_4],
};

const SCHEMA_1: &str = "
CREATE TABLE agent_event (
    org TEXT NOT NULL,
    user_id TEXT NOT NULL,
    state_entered_at TEXT NOT NULL,
    routing_availability TEXT NOT NULL,
    raw_state TEXT,
    wrapup_code TEXT,
    ui_presence TEXT NOT NULL,
    queue_assignments TEXT NOT NULL,
    described_at TEXT NOT NULL,
    state_duration_ms INTEGER NOT NULL,
    ingested_at TEXT NOT NULL,
    source TEXT NOT NULL,
    volatile INTEGER NOT NULL,
    previous TEXT,
    revision INTEGER NOT NULL,
    chain TEXT NOT NULL,
    estimated INTEGER NOT NULL,
    withdrawn INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (org, user_id, state_entered_at)
) STRICT;
CREATE INDEX agent_event_by_time ON agent_event (org, state_entered_at, user_id);

CREATE TABLE agent_window (
    org TEXT NOT NULL,
    user_id TEXT NOT NULL,
    window_length INTEGER NOT NULL,
    window_start TEXT NOT NULL,
    window_end TEXT NOT NULL,
    available_ms INTEGER NOT NULL,
    not_ready_ms INTEGER NOT NULL,
    on_call_ms INTEGER NOT NULL,
    wrap_up_ms INTEGER NOT NULL,
    unknown_ms INTEGER NOT NULL,
    state_transitions INTEGER NOT NULL,
    covered_ms INTEGER NOT NULL,
    estimated_ms INTEGER NOT NULL,
    volatile INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    last_event_at TEXT,
    last_event_ingested_at TEXT,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (org, user_id, window_length, window_start)
) STRICT;
CREATE INDEX agent_window_by_time ON agent_window (org, window_length, window_start, user_id);

CREATE TABLE agent (
    org TEXT NOT NULL,
    user_id TEXT NOT NULL,
    closed_until INTEGER NOT NULL,
    PRIMARY KEY (org, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE confirmation (
    org TEXT NOT NULL,
    user_id TEXT NOT NULL,
    entered_at TEXT NOT NULL,
    confirmed_until INTEGER NOT NULL,
    tolerance INTEGER NOT NULL,
    PRIMARY KEY (org, user_id, entered_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE roster (
    org TEXT NOT NULL,
    user_id TEXT NOT NULL,
    from_at INTEGER NOT NULL,
    until_at INTEGER,
    PRIMARY KEY (org, user_id, from_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE presence (
    org TEXT NOT NULL,
    user_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    presence TEXT NOT NULL,
    PRIMARY KEY (org, user_id, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE progress (
    org TEXT PRIMARY KEY,
    cursor INTEGER NOT NULL,
    pruned_until INTEGER NOT NULL
) STRICT;

CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY,
    org TEXT NOT NULL,
    seq INTEGER NOT NULL,
    reason TEXT NOT NULL,
    payload TEXT NOT NULL
) STRICT;

CREATE TABLE quarantined_row (
    id INTEGER PRIMARY KEY,
    origin TEXT NOT NULL,
    content TEXT NOT NULL
) STRICT;
";

/// How far remote write has come (milliseconds since the epoch), and what was refused for good.
const SCHEMA_2: &str = "
CREATE TABLE remote_write (
    org TEXT PRIMARY KEY,
    sent_until INTEGER NOT NULL
) STRICT;

CREATE TABLE remote_write_dead (
    id INTEGER PRIMARY KEY,
    org TEXT NOT NULL,
    window_end INTEGER NOT NULL,
    status INTEGER NOT NULL,
    reason TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
";

/// Each row in one tree instead of three. Windows lie by time: all that close together are written
/// side by side, however many days are kept, where the key by agent touched a page for each. Events
/// lie by agent, as they are read.
const SCHEMA_3: &str = "
CREATE TABLE agent_event_3 (
    org TEXT NOT NULL,
    user_id TEXT NOT NULL,
    state_entered_at TEXT NOT NULL,
    routing_availability TEXT NOT NULL,
    raw_state TEXT,
    wrapup_code TEXT,
    ui_presence TEXT NOT NULL,
    queue_assignments TEXT NOT NULL,
    described_at TEXT NOT NULL,
    state_duration_ms INTEGER NOT NULL,
    ingested_at TEXT NOT NULL,
    source TEXT NOT NULL,
    volatile INTEGER NOT NULL,
    previous TEXT,
    revision INTEGER NOT NULL,
    chain TEXT NOT NULL,
    estimated INTEGER NOT NULL,
    withdrawn INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (org, user_id, state_entered_at)
) STRICT, WITHOUT ROWID;
INSERT INTO agent_event_3 SELECT * FROM agent_event ORDER BY org, user_id, state_entered_at;
DROP TABLE agent_event;
ALTER TABLE agent_event_3 RENAME TO agent_event;
CREATE INDEX agent_event_by_time ON agent_event (org, state_entered_at, user_id);

CREATE TABLE agent_window_3 (
    org TEXT NOT NULL,
    user_id TEXT NOT NULL,
    window_length INTEGER NOT NULL,
    window_start TEXT NOT NULL,
    window_end TEXT NOT NULL,
    available_ms INTEGER NOT NULL,
    not_ready_ms INTEGER NOT NULL,
    on_call_ms INTEGER NOT NULL,
    wrap_up_ms INTEGER NOT NULL,
    unknown_ms INTEGER NOT NULL,
    state_transitions INTEGER NOT NULL,
    covered_ms INTEGER NOT NULL,
    estimated_ms INTEGER NOT NULL,
    volatile INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    last_event_at TEXT,
    last_event_ingested_at TEXT,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (org, window_length, window_start, user_id)
) STRICT, WITHOUT ROWID;
INSERT INTO agent_window_3 SELECT * FROM agent_window
    ORDER BY org, window_length, window_start, user_id;
DROP TABLE agent_window;
ALTER TABLE agent_window_3 RENAME TO agent_window;
";

/// Numbers of producers: everything up to `floor` is committed, and what `delivery` names beyond.
const SCHEMA_4: &str = "
CREATE TABLE producer (
    org TEXT NOT NULL,
    producer TEXT NOT NULL,
    floor INTEGER NOT NULL,
    PRIMARY KEY (org, producer)
) STRICT, WITHOUT ROWID;

CREATE TABLE delivery (
    org TEXT NOT NULL,
    producer TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (org, producer, seq)
) STRICT, WITHOUT ROWID;
";
