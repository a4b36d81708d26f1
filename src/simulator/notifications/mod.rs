//! Notifications of the public platform (platform-api.md §3): channels and their topics by REST,
//! events as frames of a WebSocket.
//!
//! Pure like the rest of the platform: `take_frames(now)` gives what is due, so that a virtual
//! clock can drive push too; `socket` beside this folder moves the frames.

mod topic; //    what can be subscribed to
mod switchboard; // channels, sockets, and what waits to be sent: the bookkeeping
mod events; //   the JSON of frames
mod answers; //  the REST calls
mod feed; //     from timelines to frames
mod mishaps; //  what goes wrong with sockets and channels

pub use feed::ConnectRefused;
pub(super) use switchboard::Switchboard;
pub use switchboard::{Frame, NotificationOptions, NotificationStatistics, Outgoing, SocketId};
