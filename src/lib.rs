//! Genesys Cloud agent presence and routing availability as metrics that are right.
//!
//! Modules stand in the order in which data flow; a module imports only modules above it.
//! Pure stages decide, edges do, the assemblers at the foot see everything.
//! `tests/tidy` holds both rules.

// What the words mean.
pub mod model; //      time, ids, states, facts, rows
pub mod clock; //      the only reader of the clocks
pub mod crash; //      where a test may end the process
pub mod config; //     file, flags and environment -> Config

// The flow.
pub mod upstream; //   the platform's wire format, and the client
pub mod effect; //     what the pipeline may ask for
pub mod catalog; //    the one table of metrics
pub mod telemetry; //  the exporter's own counters and histograms, by the catalog's names
pub mod poller; //     when to ask what
pub mod notifier; //   who tells by himself: channels of push
pub mod snapshot; //   believe it or not
pub mod reconciler; // what is true
pub mod pipeline; //   owns the pure stages
pub mod journal; //    keep it until it is stored
pub mod window; //     events and marks -> rows
pub mod store; //      rows in a database
pub mod export; //     rows as files for other tools
pub mod expose; //     pages, API, push

// Somebody to ask when there is no platform.
pub mod simulator;

// Assemblers.
pub mod driver; //     executes effects, decides nothing
pub mod app; //        the composition root
pub mod history; //    the same in virtual time: a simulated past
pub mod cli; //        one file a command
