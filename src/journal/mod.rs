//! Keeps events until they are stored.
//!
//! Stands between the pipeline, which decides what to append, and the store, which consumes it.
//! A record is deleted only after the store has committed what it led to. Never evicts.

mod checksum;
mod data_dir;
mod database;
mod drain;
mod embedded;
mod lease;
mod nats;
mod rows;
#[cfg(test)]
mod tests;
mod worker;
mod writer;

pub use checksum::{Checksum, crc32};
pub use data_dir::{DataDir, DataDirError};
pub use database::{Database, DatabaseError, OpenReport};
pub(crate) use database::{begin, forgo_durability, size_bytes};
pub(crate) use drain::{DRAIN_MAX, is_stopped, overdue, stopped};
pub use embedded::{
    AppendReport, CheckpointReport, EmbeddedJournal, FetchReport, JournalError, JournalOpenReport,
    RECORD_BYTES_MAX,
};
pub use lease::{Claim, Permit};
pub use nats::{
    Content, Delivery, Floors, Inbox, Kept, Leadership, NatsError, NatsLink, Parcel, Relay,
    RelayObserver, ReplayAnswer, ReplayAsk, Standing,
};
pub use worker::{Worker, WorkerGone};
pub use writer::{JournalHandle, JournalStatus};
