//! Believe a snapshot or not: pages made whole, coverage against the registry, and what changed.
//!
//! Stands after the poller, which decides when to ask, and before the reconciler, which decides
//! what is true. Pure; nothing here is ever half applied.

pub mod delta;
pub mod paging;
pub mod registry;
pub mod scan;
pub mod validate;

pub use delta::Delta;
pub use paging::{Listing, Step};
pub use registry::{Progress, Registry, RegistryChange};
pub use scan::{Scan, ScanProgress, ScanResult};
pub use validate::{Judgement, judge};
