//! The platform's side of the wire: what can be asked, how answers are read, and the client that
//! carries both. Requests and parsers are pure; only `client` and `socket` touch the network.
//!
//! The flow: [`request::ApiRequest`] -> [`client::Client::send`] -> [`response::Answer`] ->
//! [`wire_status`] and [`headers`] -> the values of [`wire`].

pub mod channel; //     channels, topics, frames: the nouns of notifications
pub mod request; //     what can be asked
pub mod response; //    what comes back
pub mod headers; //     when to ask again
pub mod wire; //        what answers mean
pub mod wire_status; // how they are read
pub mod wire_platform; // and in the other dialect, with frames
mod oauth; //           credentials and the token
pub mod client; //      carries both
pub mod socket; //      carries frames

pub(crate) use client::plain_client;
pub use client::{Client, ClientError, RequestObserver};
