//! Pages and API from outside: golden pages, an independent parser, real sockets on port 0.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![allow(
    clippy::float_cmp,
    reason = "both sides must tell the very same number"
)]

mod api;
mod client;
mod golden;
mod limits;
mod otlp;
mod parse;
mod security;
mod stream;
mod view;
