//! The push of metrics by OTLP: the same catalog and the same values as the page.
//!
//! `map` and `places` are pure: families to points, points to requests. `shard`, `transport`,
//! `resource` and `pump` are the edge. The push reads the published view and the exporter's own
//! counters, on a thread of its own: a collector can delay nothing but the next push.

mod map;
mod partial;
mod places;
mod pump;
mod resource;
mod shard;
mod transport;

pub use pump::{LAST_PUSH_MAX, OtlpError, Push, Running, Source};
