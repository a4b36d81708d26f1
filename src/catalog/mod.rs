//! The one table of metrics.
