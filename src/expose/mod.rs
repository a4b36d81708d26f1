//! What readers see: the metrics page, the JSON API, the board; and the push by OTLP.
//!
//! Last stage of the flow. Families, page, names, negotiation and records are pure; `server`,
//! `connection`, `access`, `ahead`, `gate` and `routes` are the edge. A scrape reads the current view and never waits for a
//! poll; nothing here can change a number.

mod access;
mod ahead;
mod api;
mod asked;
mod board;
mod body;
mod connection;
mod families;
mod gate;
mod gzip;
mod names;
mod negotiate;
pub mod otlp;
mod own;
mod page;
mod pages;
mod push_families;
mod records;
mod routes;
mod served;
mod server;
mod state;
mod stream;
mod together;
mod windows;
#[cfg(test)]
mod tests;

pub use access::{Access, AccessError, TlsError};
pub use ahead::make_ahead;
pub use families::{Distribution, Family, Sample, Value, of_registry, of_view};
pub use names::SeriesNames;
pub use page::{Format, Past, render, render_head, render_past, render_together};
pub use pages::Pages;
pub use served::Served;
pub use server::serve;
pub use state::{Duty, Front, Limits, Pulse, ReloadAsk, ServerState};
