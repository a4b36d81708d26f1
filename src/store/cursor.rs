//! Where a page of windows ended, as text that the next request gives back.

use std::fmt::Write;

use crate::model::time::{UNIX_MILLIS_MAX, UnixMillis};

/// Most rows of a page: the API's limit (contract.md); about 4 MiB of JSON.
pub const PAGE_ROWS_MAX: usize = 10_000;

/// Begins every cursor, so that a later form can be told apart.
const CURSOR_FORM: &str = "w1";

/// The place after a row: (window start, agent).
pub(super) type Place = (UnixMillis, String);

/// The place as text that means nothing to anybody else.
pub(super) fn write_cursor((start, user): &Place) -> String {
    let mut cursor = format!("{CURSOR_FORM}.{}.", start.0);
    for byte in user.bytes() {
        write!(cursor, "{byte:02x}").expect("a string takes any text");
    }
    cursor
}

/// Longest cursor looked at: a user id of the longest accepted length, twice, and the start.
const CURSOR_MAX: usize = 600;

/// The place that such a text names; `None` if it is none of ours.
pub(super) fn read_cursor(cursor: &str) -> Option<Place> {
    if cursor.len() > CURSOR_MAX || !cursor.is_ascii() {
        return None;
    }
    let mut parts = cursor.split('.');
    let (form, start, hex) = (parts.next()?, parts.next()?, parts.next()?);
    if form != CURSOR_FORM || parts.next().is_some() || hex.len() % 2 != 0 {
        return None;
    }
    let start: i64 = start.parse().ok()?;
    let bytes: Option<Vec<u8>> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok())
        .collect();
    let user = String::from_utf8(bytes?).ok()?;
    let in_range = (0..=UNIX_MILLIS_MAX).contains(&start);
    in_range.then_some((UnixMillis(start), user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_what_they_write_and_nothing_else() {
        let place = (UnixMillis(1_715_675_400_000), "agent-0001 é".to_owned());
        assert_eq!(read_cursor(&write_cursor(&place)), Some(place));
        for other in [
            "",
            "w1",
            "w1.5.zz",
            "w1.x.00",
            "w2.5.00",
            "w1.5.0",
            "w1.5.00.1",
            "w1.-1.00",
        ] {
            assert_eq!(read_cursor(other), None, "{other}");
        }
        assert_eq!(read_cursor(&format!("w1.5.{}", "00".repeat(9_000))), None);
    }
}
