//! Events and marks become rows.
//!
//! Stands between the journal, which keeps the records, and the store, which keeps the rows. Pure:
//! a row is a function of an agent's facts and nothing else, so neither order nor repetition of
//! the records can change it (semantics.md §4).

mod dirty;
mod facts;
mod rows;
#[cfg(test)]
pub(crate) mod tests;

pub use dirty::{DirtyRange, dirty};
pub use facts::{
    AgentFacts, Change, Confirmation, EventFact, Refusal, TOLERANCE_MAX, apply, refuse_event,
    refuse_mark, refuse_presence, refuse_roster,
};
pub use rows::{LastEvent, Row, RowRules, closing, row};
