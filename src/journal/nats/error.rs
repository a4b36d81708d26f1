//! Why NATS did not do it. Names servers, never what they were told to let us in.

use std::error::Error;

/// Why NATS did not do it. Whatever it was, it can be done again.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The options are not ones that the client takes.
    #[error("cannot set up the client of NATS; check queue.credentials_file")]
    Options(#[source] std::io::Error),
    /// The client refuses the servers' names.
    #[error("cannot set up the client of NATS for {place}; check queue.url")]
    Servers {
        /// Servers.
        place: String,
        /// Why.
        #[source]
        source: async_nats::ConnectError,
    },
    /// No answer, or one that is a refusal.
    #[error("cannot {what} at {place}; check that it runs with JetStream, and queue.url")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Servers.
        place: String,
        /// What it said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}
