//! Which repetitions of a warning are written: one a minute and kind.
//!
//! Pure: `now` is an argument. A storm of one error costs one line a minute, and the next line
//! says how many were left out.

use std::collections::BTreeMap;

use crate::model::time::{Millis, Monotonic};

/// A kind is written at most once in this time.
pub const QUIET: Millis = Millis::from_secs(60);

/// Most kinds told apart. Kinds are a closed set of ours; what is beyond comes from a mistake,
/// and shares one entry.
const KINDS_MAX: usize = 512;

/// Name of the shared entry.
const OTHERS: &str = "…";

/// Whether to write a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Write it.
    Write {
        /// How many of its kind were left out since the last one.
        suppressed: u64,
    },
    /// Leave it out.
    Suppress,
}

/// What was written when, by kind.
#[derive(Debug, Default)]
pub struct Repeats {
    kinds: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    written: Monotonic,
    suppressed: u64,
}

impl Repeats {
    /// Whether a line of this kind is written now.
    pub fn admit(&mut self, kind: &str, now: Monotonic) -> Admission {
        let kind = if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(kind) {
            OTHERS
        } else {
            kind
        };
        let Some(entry) = self.kinds.get_mut(kind) else {
            let entry = Entry {
                written: now,
                suppressed: 0,
            };
            self.kinds.insert(kind.to_owned(), entry);
            return Admission::Write { suppressed: 0 };
        };
        if now - entry.written < QUIET {
            entry.suppressed += 1;
            return Admission::Suppress;
        }
        entry.written = now;
        Admission::Write {
            suppressed: std::mem::take(&mut entry.suppressed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_one_line_a_minute_and_none_is_uncounted() {
        let mut repeats = Repeats::default();
        let (mut written, mut suppressed) = (0, 0);
        for second in 0..181 {
            for _ in 0..1_000 {
                match repeats.admit("storm", Monotonic(second * 1_000)) {
                    Admission::Write { suppressed: count } => {
                        written += 1;
                        suppressed += count;
                    }
                    Admission::Suppress => {}
                }
            }
        }
        assert_eq!(written, 4);
        // All but the lines written and those left out after the last of them.
        assert_eq!(suppressed, 180 * 1_000 - 3);
    }

    #[test]
    fn kinds_do_not_silence_each_other() {
        let mut repeats = Repeats::default();
        let write = Admission::Write { suppressed: 0 };
        assert_eq!(repeats.admit("a", Monotonic(0)), write);
        assert_eq!(repeats.admit("b", Monotonic(0)), write);
        assert_eq!(repeats.admit("a", Monotonic(59_999)), Admission::Suppress);
        let next = repeats.admit("a", Monotonic(60_000));
        assert_eq!(next, Admission::Write { suppressed: 1 });
    }

    #[test]
    fn kinds_are_bounded() {
        let mut repeats = Repeats::default();
        let written = (0..100_000)
            .filter(|i| repeats.admit(&i.to_string(), Monotonic(0)) != Admission::Suppress)
            .count();
        assert_eq!(written, KINDS_MAX + 1);
        assert_eq!(repeats.kinds.len(), KINDS_MAX + 1);
    }
}
