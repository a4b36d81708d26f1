//! The catalog: the one table in which a metric is declared.
//!
//! A metric is referred to by its [`Metric`] id everywhere, so a name outside the catalog does
//! not compile. The registry of the exporter's own counters, the rendered page, the reference
//! and the OTLP push all read this table. Pure data: nothing here holds a value.

mod markdown;
mod spec;
mod table;
#[cfg(test)]
mod tests;
mod values;

pub use markdown::reference;
pub use spec::{
    Area, Kind, LABELS_MAX, LabelSpec, LabelValues, MetricSpec, ORG_LABEL, Origin, Scale,
    SeriesBound, Stability, Unit,
};
pub use table::{CATALOG, Metric};
pub use values::{DataLoss, EventResult, ExportResult, StoreOperation, WindowResult, code_label};
