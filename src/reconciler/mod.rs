//! What is true: evidence about agents becomes segments, accrued time, marks and the live view.
//!
//! Fourth pure stage. It is told what answers said and when; it asks nothing, and it decides by
//! semantics.md alone: routing availability overrides UI presence, platform timestamps make
//! segments, absence is not evidence, counters never fall, blind time is nobody's.

pub mod accrual;
pub mod after_call;
pub mod agent;
pub mod checkpoint;
pub mod closing;
pub mod divergence;
pub mod emit;
pub mod evidence;
pub mod holes;
pub mod joins;
pub mod membership;
pub mod platform;
pub mod push;
pub mod queues;
mod quiet;
pub mod reconcile;
pub mod skew;
pub mod stuck;
pub mod view;
pub mod volatility;
