//! How an error and its causes are told: in one line of the log. The types of errors stand in
//! the stage that makes them.

use std::error::Error;
use std::fmt::Write as _;

/// An error and its causes in one line, each once.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            write!(text, ": {said}").expect("writing to a string cannot fail");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the store")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("the disk is full: {0}")]
    struct Inner(#[source] std::io::Error);

    #[test]
    fn a_cause_that_its_error_has_told_is_not_told_again() {
        let error = Outer(Inner(std::io::Error::other("no space")));
        assert_eq!(
            chain(&error),
            "cannot open the store: the disk is full: no space"
        );
    }
}
