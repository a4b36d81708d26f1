//! The exporter's core in virtual time: simulated days with swarms of faults, judged by an
//! auditor that shares no code with it; and properties.
//!
//! `SEED=n cargo nextest run --test offline -E 'test(a_seed)'` repeats the run of a seed, byte for
//! byte; `AGENTS` and `MINUTES` of its faulty part come with it in what a failed run prints.

#![allow(
    clippy::print_stderr,
    reason = "what a run was and what it found must be seen"
)]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod audit;
mod audit_tests;
mod harness;
mod history;
mod days;
mod platform;
mod properties;
mod runs;
mod scale;
mod scenarios;
mod swarms;
