//! The store in PostgreSQL: the tables of SQLite, for several aggregators at once.
//!
//! A batch, the facts it changes, the rows it touches and the read position are one transaction
//! of three round trips, and at most two more if of some agents nothing was heard for a day. What is
//! known of an agent is read and written under a lock of its own, so that commits in any order and
//! from any number of aggregators lead to the same rows: facts are a set, and rows are a function of
//! it (semantics.md §4). Records are told apart by their keys alone; numbers are only noted, for
//! several journals may have given the same ones. It computes nothing: that is `touch`'s and the
//! window function's.

mod error;
mod facts;
#[cfg(test)]
mod facts_tests;
mod link;
mod migrate;
mod partitions;
mod reader;
mod scan;
#[cfg(test)]
mod scan_tests;
mod schema;
mod statements;
mod store;
#[cfg(test)]
pub(super) mod tests;
mod transaction;
mod values;

pub use error::PostgresError;
pub use reader::PostgresReader;
pub use scan::PostgresTables;
pub use store::PostgresStore;
