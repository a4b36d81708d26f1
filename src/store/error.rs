//! Why a store did not do it, whichever engine it is.

use crate::journal::{self, DatabaseError};

use super::postgres::PostgresError;

/// Why the store did not do it. Nothing of the call has happened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be used.
    #[error("cannot open the store")]
    Open(#[source] DatabaseError),
    /// SQLite refused.
    #[error("cannot {operation} the store")]
    Database {
        /// What we were doing.
        operation: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// PostgreSQL refused, or did not answer.
    #[error("cannot {operation} the store")]
    Postgres {
        /// What we were doing.
        operation: &'static str,
        /// What became of it.
        #[source]
        source: PostgresError,
    },
    /// The thread that owns the store has ended.
    #[error("the store cannot be reached")]
    Gone(#[source] journal::WorkerGone),
}

impl StoreError {
    /// Whether what was to be stored is at fault, so that the same will never be stored.
    pub(super) fn is_about_data(&self) -> bool {
        match self {
            Self::Postgres { source, .. } => source.is_about_data(),
            Self::Open(_) | Self::Database { .. } | Self::Gone(_) => false,
        }
    }
}
