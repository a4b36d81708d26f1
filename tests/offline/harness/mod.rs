//! Virtual time: the real pipeline and a simulated platform on one queue of events.
//!
//! The pipeline's effects are executed as the driver executes them, its requests are built by
//! the client's own builders and answered with the simulator's own bytes; only clocks, sockets
//! and disks are stand-ins. One seed decides everything, so it reproduces everything.

pub(crate) mod journal;
mod log;
pub(crate) mod observe;
pub(crate) mod options;
mod sockets;
pub(crate) mod swarm;
mod transport;
pub(crate) mod world;
