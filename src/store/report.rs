//! What a store is told, and what a commit says it did.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::PipelineConfig;
use crate::model::ids::UserId;
use crate::model::time::UnixMillis;
use crate::model::window::WindowSpec;
use crate::window::RowRules;

/// What the configuration says about the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// The organisation's name, part of every key.
    pub org: String,
    /// Length and step of windows.
    pub window: WindowSpec,
    /// What rows are made by.
    pub rules: RowRules,
}

impl StoreSettings {
    /// What the configuration says about the store.
    pub fn of(pipeline: &PipelineConfig) -> Self {
        Self {
            org: pipeline.org.clone(),
            window: pipeline.window,
            rules: RowRules {
                volatile_transitions: pipeline.volatile_transitions,
                volatile_within: pipeline.volatile_within,
                include_offline: pipeline.include_offline,
            },
        }
    }
}

/// Rows that a reader found damaged and the writer should make again.
pub(super) type Suspects = Arc<Mutex<BTreeSet<(UserId, UnixMillis)>>>;

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommitReport {
    /// Events that were new.
    pub stored: u64,
    /// Events that said nothing new.
    pub duplicate: u64,
    /// Events that replaced what was held: a correction, or the same on better authority.
    pub corrected: u64,
    /// Records that contradicted one of the same identity and revision; the higher rank holds.
    pub conflicts: u64,
    /// Records whose numbers were committed before.
    pub skipped: u64,
    /// Window rows that were new.
    pub written: u64,
    /// Window rows whose figures or quality changed.
    pub revised: u64,
    /// Window rows that should no longer exist.
    pub deleted: u64,
    /// Of the rows written or revised, those flagged volatile.
    pub volatile_rows: u64,
    /// Records refused, as a whole or in part, and kept as dead letters.
    pub dead: u64,
    /// Damaged rows set aside.
    pub quarantined: u64,
}

impl CommitReport {
    /// What another commit did after this one.
    pub(super) fn add(&mut self, later: &Self) {
        self.stored += later.stored;
        self.duplicate += later.duplicate;
        self.corrected += later.corrected;
        self.conflicts += later.conflicts;
        self.skipped += later.skipped;
        self.written += later.written;
        self.revised += later.revised;
        self.deleted += later.deleted;
        self.volatile_rows += later.volatile_rows;
        self.dead += later.dead;
        self.quarantined += later.quarantined;
    }
}

/// A set of suspects is whole even if a thread died while it held the lock.
pub(super) fn lock(
    suspects: &Suspects,
) -> std::sync::MutexGuard<'_, BTreeSet<(UserId, UnixMillis)>> {
    suspects.lock().unwrap_or_else(PoisonError::into_inner)
}
