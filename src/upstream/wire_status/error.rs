//! Why an answer as a whole could not be read: a closed set, told without quoting the answer.
//!
//! The texts of an answer may hold names and free words of people, so no variant carries any;
//! the place (line and column, counted from 1) is enough to find it in a capture.

use serde_json::error::Category;

/// Why an answer could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// No byte but white space.
    #[error("the body is empty")]
    Empty,
    /// A page for people: a proxy, a captive portal or a maintenance notice.
    #[error("the body is HTML, not JSON; something between here and the platform has answered")]
    Html,
    /// Not JSON.
    #[error("the body is not JSON at line {line}, column {column}")]
    NotJson {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
    },
    /// JSON that stops in the middle.
    #[error("the body ends too early, at line {line}, column {column}")]
    Truncated {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
    },
    /// JSON of another shape than the endpoint's.
    #[error("expected {expected}, found something else at line {line}, column {column}")]
    Shape {
        /// What should have been there.
        expected: &'static str,
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
    },
    /// A field without which the answer says nothing.
    #[error("the answer has no field {field:?}, or it is not usable")]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// More rows than a page may have.
    #[error("the page has more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// An answer about somebody else.
    #[error("the answer is about another user than the one that was asked for")]
    OtherUser,
    /// A login that was answered with an error under a status of success.
    #[error("the login was answered with an error instead of a token")]
    LoginRefused,
}

impl WireError {
    /// Translates the JSON parser's error; its own text may quote the answer and is dropped.
    pub(in crate::upstream) fn from_json(
        error: &serde_json::Error,
        expected: &'static str,
    ) -> Self {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            Category::Eof => Self::Truncated { line, column },
            Category::Data => Self::Shape {
                expected,
                line,
                column,
            },
            Category::Syntax | Category::Io => Self::NotJson { line, column },
        }
    }
}
