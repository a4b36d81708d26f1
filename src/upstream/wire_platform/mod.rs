//! Pure parsers of what only the public platform says (dialect `platform`): bytes of one answer
//! or one frame in, domain values out. The rules are those of [`super::wire_status`].

mod notifications; // channels, subscriptions, frames

pub use notifications::{FRAME_BYTES_MAX, FrameError, channel, frame, subscription};
