//! What is wrong with a configuration, where, and what to do about it.
//!
//! Findings are collected, never thrown: an operator sees all mistakes at once. They hold no
//! secrets; whoever makes one decides what may be quoted.

use std::fmt;
use std::sync::Arc;

/// Longest piece of an offending value that a message repeats.
const QUOTED_BYTES_MAX: usize = 64;

/// Where a value came from. The order is the order in which findings are listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file as a whole.
    File(Arc<str>),
    /// A line and column of the file, counted from 1.
    Line {
        /// Name of the file as it was given.
        file: Arc<str>,
        /// The line.
        line: u64,
        /// The column.
        column: u64,
    },
    /// A variable of the environment.
    Environment(String),
    /// A flag, with its dashes.
    Flag(&'static str),
    /// Given nowhere.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => f.write_str(file),
            Self::Line { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Default => f.write_str("configuration"),
        }
    }
}

/// Why a single value was refused; becomes a [`Finding`] where its place is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl Refusal {
    /// A refusal that quotes nothing.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// A refusal that begins with the offending value.
    pub fn value(value: &str, what: &str, hint: &str) -> Self {
        Self::new(format!("{} {what}", quoted(value)), hint)
    }
}

/// A mistake or a warning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// The path of the key, `poll.interval`; empty if it is about no single key.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl Finding {
    /// A refusal at its place.
    pub fn new(place: Place, key: impl Into<String>, refusal: Refusal) -> Self {
        Self {
            place,
            key: key.into(),
            what: refusal.what,
            hint: refusal.hint,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.what, self.hint)
    }
}

/// A configuration that is refused, with every mistake in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The mistakes, by place; never empty.
    pub mistakes: Vec<Finding>,
}

impl ConfigError {
    /// Sorts the mistakes by place.
    pub fn new(mut mistakes: Vec<Finding>) -> Self {
        mistakes.sort();
        Self { mistakes }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mistakes.len() {
            1 => f.write_str("the configuration has 1 mistake")?,
            count => write!(f, "the configuration has {count} mistakes")?,
        }
        for mistake in &self.mistakes {
            write!(f, "\n  {mistake}")?;
        }
        Ok(())
    }
}

/// `value` in quotes, escaped and cut to a bounded length, fit for one line of a terminal.
pub fn quoted(value: &str) -> String {
    let end = value.floor_char_boundary(QUOTED_BYTES_MAX);
    let more = if end < value.len() { "…" } else { "" };
    format!("{:?}", format!("{}{more}", &value[..end]))
}

/// The candidate most like `word`, if it is like enough to be a slip of the hand: at most a
/// third of the letters differ.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`. Long words are
/// cut first: a key of ours has fewer than 64 letters.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(QUOTED_BYTES_MAX).collect();
    let b: Vec<char> = b.chars().take(QUOTED_BYTES_MAX).collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_key_and_a_stranger_finds_none() {
        let keys = ["interval", "timeout"];
        assert_eq!(nearest("intervall", keys), Some("interval"));
        assert_eq!(nearest("itnerval", keys), Some("interval"));
        assert_eq!(nearest("time_out", keys), Some("timeout"));
        assert_eq!(nearest("colour", keys), None);
    }

    #[test]
    fn quoted_text_stays_on_its_line_and_short() {
        assert_eq!(quoted("a\nb"), r#""a\nb""#);
        assert!(quoted(&"é".repeat(1_000)).len() < 80);
    }

    #[test]
    fn mistakes_are_listed_by_place() {
        let at = |line| Place::Line {
            file: "c.yml".into(),
            line,
            column: 2,
        };
        let bad = |place| Finding::new(place, "k", Refusal::new("is bad", "mend it"));
        let error = ConfigError::new(vec![bad(Place::Flag("--k")), bad(at(12)), bad(at(3))]);
        assert_eq!(
            error.to_string(),
            "the configuration has 3 mistakes\n  c.yml:3:2: k: is bad; mend it\n  \
             c.yml:12:2: k: is bad; mend it\n  flag --k: k: is bad; mend it"
        );
    }
}
