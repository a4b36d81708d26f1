//! Page after page from a table to a writer. What a page holds is all that is held.

use std::io;
use std::ops::ControlFlow;

use super::format::RowWriter;
use crate::model::time::UnixMillis;
use crate::store::{ReadError, TableScan};

/// How far it is, told after each page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExportProgress {
    /// Rows written.
    pub rows: u64,
    /// The instant of the last row; `None` before the first.
    pub reached: Option<UnixMillis>,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exported {
    /// Rows.
    pub rows: u64,
    /// Rows that were left out because they are not as they were written.
    pub damaged: u64,
}

/// Why an export has no end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store gave no page.
    #[error("cannot read what to export")]
    Read(#[source] ReadError),
    /// The writer took no row.
    #[error("cannot write what was read")]
    Write(#[source] io::Error),
    /// It was asked to stop.
    #[error("stopped")]
    Stopped,
}

/// Copies all rows of a scan, and adds to what was `exported` before.
///
/// # Errors
/// If the store or the writer fails, or `watch` says that it is enough; what was exported until
/// then stands in `exported`.
pub fn copy(
    scan: &mut dyn TableScan,
    writer: &mut dyn RowWriter,
    exported: &mut Exported,
    watch: &mut dyn FnMut(ExportProgress) -> ControlFlow<()>,
) -> Result<(), ExportError> {
    let mut reached = None;
    loop {
        let page = scan.next_page().map_err(ExportError::Read)?;
        exported.damaged += page.damaged;
        for row in &page.rows {
            writer.row(row).map_err(ExportError::Write)?;
            exported.rows += 1;
        }
        reached = page.reached.or(reached);
        let progress = ExportProgress {
            rows: exported.rows,
            reached,
        };
        if watch(progress).is_break() {
            return Err(ExportError::Stopped);
        }
        if page.last {
            return Ok(());
        }
    }
}
