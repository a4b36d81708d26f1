//! Push: which topics stand on which channel, the life of each channel, and what its frames mean
//! for it (platform-api.md §3).
//!
//! Pure: it is told what happened and when, and says which calls and sockets it wants. Calls go
//! out when the budget admits them; what agents do is the reconciler's business.

mod allotment; // who is on which channel
mod backoff; //   how long to wait after a failure
mod link; //      one channel: made, subscribed, connected, watched
mod switchboard; // all channels together

pub use allotment::Limits;
pub use link::{Call, CallFailure, Command};
pub use switchboard::{Notifier, Told};
