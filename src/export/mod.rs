//! Rows as files for other tools: CSV, JSON lines, Parquet.
//!
//! Takes the tables page by page from the store and writes them on, one row after the other, so
//! that memory does not grow with the file. Every column has the name that the API gives its
//! figure, in each format. Here, and on the board, times may leave UTC; instants are never changed
//! by it. Pure but for whatever stands behind the reader and the writer.

mod copy; //    page after page, from a table to a writer
mod csv; //     a line a row, with a head
mod format; //  which form, and what all forms have in common
mod jsonl; //   an object a line
mod parquet; // columns, in groups of rows
#[cfg(test)]
mod tests;
mod zone; //    instants as a place on earth writes them

pub use copy::{ExportError, ExportProgress, Exported, copy};
pub use format::{ExportFormat, RowWriter};
pub use zone::Zone;
