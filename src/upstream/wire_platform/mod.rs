//! Pure parsers of the public platform API (dialect `platform`): bytes of one answer or one frame
//! in, the domain values of [`super::wire`] and [`super::channel`] out. Queues, members, logins and
//! errors are the same in both dialects and stand in [`super::wire_status`].
//!
//! The same rules as there: a bad record is refused alone, a bad document is an error. And one
//! more: expands are best effort, so an agent without one is `incomplete`, never offline.

mod users; // users with presence, routing status and open work
mod work; //  what an agent has open
mod details; // routing statuses of the past
mod sessions; // since when after-call work goes on
mod notifications; // channels, subscriptions, frames

#[cfg(test)]
mod tests;

pub use details::{DETAILS_ROWS_MAX, DetailsPage, HISTORY_MAX, PastStatus, UserPast, user_details};
pub use notifications::{FRAME_BYTES_MAX, FrameError, channel, frame, subscription};
pub use sessions::after_call_since;
pub use users::{AgentAnswer, USERS_MAX, UsersReader, user, users};
