//! Why PostgreSQL did not do it. Names the server, never what it was told to let us in.

use tokio_postgres::error::SqlState;

/// Why PostgreSQL did not do it. Nothing of the call has happened, unless it was cut off while it
/// committed; then it may have, and doing it again changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No server took the connection.
    #[error(
        "cannot connect to PostgreSQL at {place}; check that it runs, that it takes writes, and what store.url_file says"
    )]
    Connect {
        /// Hosts and ports tried.
        place: String,
        /// What the last of them said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// No answer in time.
    #[error("PostgreSQL at {place} did not answer within {seconds} s")]
    Timeout {
        /// Hosts and ports.
        place: String,
        /// How long we waited.
        seconds: u64,
    },
    /// It answered with an error, or went away.
    #[error("PostgreSQL at {place} failed")]
    Database {
        /// Hosts and ports.
        place: String,
        /// What it said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The schema is newer than this program.
    #[error(
        "the database has schema {found}, and this version knows schemas up to {known}; run the version that wrote it or a later one, or name another database in store.url_file"
    )]
    NewerSchema {
        /// Its schema.
        found: i64,
        /// The latest that this program knows.
        known: i64,
    },
    /// The server is too old.
    #[error("PostgreSQL at {place} is version {found}; at least version {least} is needed")]
    OldServer {
        /// Hosts and ports.
        place: String,
        /// Its version.
        found: i64,
        /// The first that will do.
        least: i64,
    },
    /// The certificates to believe cannot be used.
    #[error("cannot tell by whose certificates PostgreSQL is believed: {reason}")]
    Certificates {
        /// Why.
        reason: String,
    },
}

impl PostgresError {
    /// Whether waiting may help: the server is away, restarting, full or slow. At a start all else
    /// is told at once, for somebody is there to mend it.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Timeout { .. } => true,
            Self::Connect { source, .. } | Self::Database { source, .. } => is_passing(source),
            Self::NewerSchema { .. } | Self::OldServer { .. } | Self::Certificates { .. } => false,
        }
    }

    /// Whether the server refused what it was given rather than to work.
    pub(in crate::store) fn is_about_data(&self) -> bool {
        let Self::Database { source, .. } = self else {
            return false;
        };
        // Classes: data exceptions, violations of constraints.
        source
            .code()
            .is_some_and(|code| matches!(code.code().get(..2), Some("22" | "23")))
    }
}

fn is_passing(error: &tokio_postgres::Error) -> bool {
    if let Some(code) = error.code() {
        // Classes: connection, resources, the operator stepped in, system.
        let class = code.code().get(..2).unwrap_or_default();
        return matches!(class, "08" | "53" | "57" | "58")
            || *code == SqlState::READ_ONLY_SQL_TRANSACTION
            || *code == SqlState::T_R_DEADLOCK_DETECTED
            || *code == SqlState::T_R_SERIALIZATION_FAILURE
            || *code == SqlState::LOCK_NOT_AVAILABLE;
    }
    // Without a code it is the connection; unless the server could not prove who it is.
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if error.is::<rustls::Error>() || inner.is_some() {
            return false;
        }
        cause = error.source();
    }
    !error.to_string().contains("TLS")
}
