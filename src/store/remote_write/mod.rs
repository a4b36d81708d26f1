//! Closed windows as samples in any database that takes Prometheus remote write.
//!
//! Beside the store and after it: reads what is closed for every agent, in order of time, and
//! notes in the store how far it has come, so that nothing of it ever delays a commit and a restart
//! goes on where it was. A window is sent once: what is revised later is in the store alone, since
//! a sample cannot be written twice.

mod message;
mod sender;

pub use message::REMOTE_WRITE_METRICS;
pub use sender::{DeadSamples, RemoteWrite, RemoteWriteError, RemoteWriteObserver};
