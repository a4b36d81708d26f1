//! A simulated organisation that knows the truth: what every figure is proved against.
//!
//! Pure but for [`serve`] and its sockets: state and `now` in, values out, so that a virtual clock and real
//! sockets see the same bytes. It shares no code with the parsers and windows it judges.

pub mod chance; //     hashes instead of a generator where order must not matter
pub mod org; //        who is there
pub mod behaviour; //  what each agent does, millisecond by millisecond
pub mod truth; //      exact time in state
pub mod dialect; //    which wire formats it speaks
pub mod call; //       the one table of calls
pub mod exchange; //   one request, one answer, as values
pub mod span; //       `30s`, `5m`: spans as fault strings write them
mod fault_table; //    names, values, what each fault does
pub mod faults; //     what goes wrong, and when
mod oauth; //          tokens
pub mod rate; //       the fixed window, Retry-After, and who disregarded it
pub mod roster; //     agents with their timelines, joiners and leavers
mod presence; //       presence definitions, and the three spellings of a presence
mod standing; //       what the public platform says of an agent at an instant
mod bodies; //         the platform's JSON
mod user_bodies; //    the same for what the public platform says of an agent
mod pinned; //         agents whom a fault keeps on call
mod snapshot; //       the bulk snapshot, as cached and as broken as it may be
mod listings; //       the paged answers
pub mod notifications; // channels, topics, events
pub mod platform; //   owns all of the above and answers
mod calls; //          one answer a call
mod users; //          users, their presence and routing status
mod analytics; //      history, and what an agent does this moment
mod control; //        the simulator's own endpoints
mod socket; //         frames over WebSocket
pub mod serve; //      the same over HTTP

#[cfg(test)]
mod tests;
