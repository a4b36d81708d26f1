//! The queue on NATS JetStream: from the embedded journal, which is the outbox, to whoever keeps
//! rows.
//!
//! A record leaves the outbox only when a store has said that it is committed; what the broker
//! acknowledges is not yet kept by anybody. Records of a producer are numbered without holes, so
//! that a store sees what it lacks and asks for it again. However often a record comes, it counts
//! once (semantics.md §4).

mod error;
mod inbox;
mod leadership;
mod link;
mod relay;
mod wire;

pub use error::NatsError;
pub use inbox::{Inbox, Parcel};
pub use leadership::{Kept, Leadership};
pub use link::NatsLink;
pub use relay::{Relay, RelayObserver, Standing};
pub use wire::{Content, Delivery, Floors, ReplayAnswer, ReplayAsk};
