//! A simulated organisation that knows the truth: what every figure is proved against.
//!
//! Pure but for [`serve`]: state and `now` in, values out, so that a virtual clock and real
//! sockets see the same bytes. It shares no code with the parsers and windows it judges.

pub mod chance; //     hashes instead of a generator where order must not matter
pub mod org; //        who is there
pub mod behaviour; //  what each agent does, millisecond by millisecond
pub mod truth; //      exact time in state
