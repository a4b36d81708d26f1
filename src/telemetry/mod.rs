//! The exporter's own counters and histograms, under the catalog's names.
//!
//! Edge: handles of the prometheus crate behind methods named by meaning, and a look at our own
//! process. What the live view tells is not repeated here.

mod build;
mod histogram;
mod optional;
mod process;
mod recorder;
mod register;
mod shelf;

pub use build::BuildInfo;
pub use recorder::Telemetry;
pub use shelf::Shelf;
