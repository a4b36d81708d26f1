//! When to ask what: the cycle, one request budget for every call, the breaker, retries, and
//! the life of the access token.
//!
//! Stands after the wire formats and before everything that reads answers. It decides when a
//! request may go out and never what an answer means; pure, every function takes `now`.

pub mod auth;
pub mod breaker;
pub mod budget;
pub mod cycle;
pub(crate) mod jitter;
mod ledger;
mod pace;
pub mod retry;

pub use auth::{Auth, AuthState};
pub use breaker::Breaker;
pub use budget::{Budget, Carried, Priority, RateReading};
pub use cycle::{Cycle, interval_needed};
pub use retry::{Outcome, RetryBudget, retry_delay};
