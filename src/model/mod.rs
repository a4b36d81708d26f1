//! The words of the domain: time, ids, states, facts and what is made of them.
//!
//! First stage of the flow; everything else imports it and it imports nothing
//! of ours. Pure data and arithmetic: no I/O, no clock, no async.

pub mod error;
pub mod event;
pub mod fill;
pub mod ids;
pub mod label;
pub mod platform_status;
pub mod push;
pub mod record;
pub mod state;
pub mod time;
pub mod timeline;
pub mod view;
pub mod window;
