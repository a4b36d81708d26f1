//! Live tests: the real binary against a simulated organisation, over real HTTP.
//!
//! Every process listens on port 0, works in a temporary directory and is ended by its own id.
//! Nothing sleeps for an event: each wait has a condition and a bound. The tests mostly wait, so
//! they are best run side by side: `cargo nextest run --test live --test-threads 8`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "in a test a panic is the report, and what leads to it belongs beside it"
)]
#![allow(
    clippy::float_cmp,
    reason = "samples that are compared are whole numbers"
)]

mod alerts;
mod backfill;
mod board;
mod breaker;
mod crash;
mod crowd;
mod dashboards;
mod delta;
mod demo;
mod disk;
mod export;
mod export_filled;
mod history;
mod notifications;
mod organisations;
mod otlp;
mod pair;
mod platform;
mod platform_dialect;
mod postgres;
mod proof;
mod queue;
mod queue_trouble;
mod refusals;
mod reload;
mod remote_write;
mod sdk;
mod secrets;
mod support;
mod truth;
mod web;
