//! Pure parsers of the User Status API (dialect `status`) and of the listings it shares with the
//! platform: bytes of one answer in, the domain values of [`super::wire`] out.
//!
//! One rule for all of them: a bad record is refused alone and counted, a bad document is an
//! error. Of duplicate keys the last one counts. A byte order mark is skipped. Nothing here
//! knows what time it is, follows an address, or keeps more of a text than its limit.

mod error; //    why an answer cannot be read
pub(super) mod scalar; //   one value, whatever its type
pub(super) mod document; // objects and arrays of them
pub(super) mod again; //    rows that stood there the last time
pub(super) mod statuses;
mod routing;
mod listings;
mod summary;
mod login;
mod failure;

#[cfg(test)]
mod tests;

pub use error::WireError;
pub use failure::{PlatformError, error_body};
pub use listings::{LISTING_ROWS_MAX, members, queues, users, users_named};
pub(super) use login::grant;
pub use login::{TOKEN_LIFETIME_MAX, TOKEN_LIFETIME_MIN, TokenLifetime, login};
pub use routing::{ROUTING_ENTRIES_MAX, routing_states};
pub use scalar::ID_LENGTH_MAX;
pub use statuses::{STATUS_RECORDS_MAX, StatusesReader, statuses};
pub use summary::open_interactions;
