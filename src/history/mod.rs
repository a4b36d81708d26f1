//! A simulated past: the real pipeline, journal and store against the simulated platform in
//! virtual time, sampled as a scrape would and written as OpenMetrics with timestamps.
//!
//! Assembler: executes effects as the driver does and decides nothing. Only clocks, sockets and
//! the process are stand-ins. One seed decides everything, so the same options give the same
//! bytes.

pub mod agenda; //  what is to happen when
mod columns; //     samples kept, series by series
mod exporter; //    the exporter under test, without sockets
mod machine; //     how long things take on a machine that is none
mod openmetrics; // the file
mod script; //      what happens in the day
pub mod wire; //    requests and answers without sockets
mod world; //       the event loop

pub use columns::Recording;
pub use exporter::HistoryError;
pub use openmetrics::Written;
pub use script::Script;
pub use world::{HistoryOptions, Progress, record};
