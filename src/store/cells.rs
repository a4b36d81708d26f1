//! A row as cells, whatever engine holds it, and the checksum over them.
//!
//! Both engines write the same cells in the same order, so that their tables can be held against
//! each other and a row that is not as it was written is noticed in either. Pure: engines turn
//! cells into parameters and columns into cells.

use std::borrow::Cow;

use crate::journal::Checksum;
use crate::model::time::UnixMillis;

/// One column of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell<'r> {
    /// Nothing.
    Null,
    /// A number, or a flag as 0 or 1.
    Integer(i64),
    /// Text.
    Text(Cow<'r, str>),
    /// An instant; in SQLite, and to the checksum, its text.
    Instant(UnixMillis),
    /// What we never write.
    Foreign,
}

impl<'r> Cell<'r> {
    /// A text without NUL, which PostgreSQL cannot hold.
    pub(super) fn text(text: impl Into<Cow<'r, str>>) -> Self {
        let text = text.into();
        if text.contains('\0') {
            return Self::Text(text.replace('\0', "\u{FFFD}").into());
        }
        Self::Text(text)
    }

    /// The same, or nothing.
    pub(super) fn optional_text(text: Option<&'r str>) -> Self {
        text.map_or(Self::Null, Self::text)
    }

    /// An instant, or nothing.
    pub(super) fn optional_instant(at: Option<UnixMillis>) -> Self {
        at.map_or(Self::Null, Self::Instant)
    }

    /// The text, if it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The instant, if it is one or the text of one.
    pub(super) fn as_instant(&self) -> Option<UnixMillis> {
        match self {
            Self::Instant(at) => Some(*at),
            Self::Text(text) => UnixMillis::parse(text).ok(),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub(super) fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if it fits.
    pub(super) fn as_count(&self) -> Option<u32> {
        self.as_integer().and_then(|value| value.try_into().ok())
    }

    /// The flag, if it is one.
    pub(super) fn as_flag(&self) -> Option<bool> {
        match self {
            Self::Integer(0) => Some(false),
            Self::Integer(1) => Some(true),
            _ => None,
        }
    }
}

/// The checksum of cells about to be written.
pub(super) fn checksum(cells: &[Cell<'_>]) -> i64 {
    let sum = cells.iter().fold(Checksum::new(), |sum, cell| match cell {
        Cell::Null => sum.optional_text(None),
        Cell::Integer(value) => sum.integer(*value),
        Cell::Text(text) => sum.text(text),
        Cell::Instant(at) => sum.text(&at.to_string()),
        // Whatever it is, it does not match.
        Cell::Foreign => sum.text("foreign").integer(0),
    });
    i64::from(sum.finish())
}

/// Adds the checksum to the cells of a row.
pub(super) fn sealed(mut cells: Vec<Cell<'_>>) -> Vec<Cell<'_>> {
    cells.push(Cell::Integer(checksum(&cells)));
    cells
}

/// The cells without the checksum that follows them; `None` if it does not hold.
pub(super) fn sound<'c, 'r>(cells: &'c [Cell<'r>]) -> Option<&'c [Cell<'r>]> {
    let (sum, row) = cells.split_last()?;
    let whole = !row.contains(&Cell::Foreign);
    (whole && *sum == Cell::Integer(checksum(row))).then_some(row)
}

/// What a bad row says, for whoever looks into it.
pub(super) fn describe(cells: &[Cell<'_>]) -> String {
    let values = cells.iter().map(|cell| match cell {
        Cell::Null => serde_json::Value::Null,
        Cell::Integer(value) => (*value).into(),
        Cell::Text(text) => text.as_ref().into(),
        Cell::Instant(at) => at.to_string().into(),
        Cell::Foreign => "(not one of ours)".into(),
    });
    serde_json::Value::Array(values.collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_and_its_text_are_the_same_to_the_checksum() {
        let at = UnixMillis(1_715_675_400_250);
        let (instant, text) = (Cell::Instant(at), Cell::text(at.to_string()));
        assert_eq!(checksum(&[instant]), checksum(std::slice::from_ref(&text)));
        assert_eq!(text.as_instant(), Some(at));
    }

    #[test]
    fn a_row_is_sound_only_as_it_was_sealed() {
        let mut cells = sealed(vec![Cell::text("a"), Cell::Integer(1), Cell::Null]);
        assert_eq!(sound(&cells).map(<[_]>::len), Some(3));
        cells[1] = Cell::Integer(2);
        assert_eq!(sound(&cells), None);
        let foreign = sealed(vec![Cell::Foreign]);
        assert_eq!(sound(&foreign), None);
        assert_eq!(sound(&[]), None);
    }

    #[test]
    fn what_postgresql_cannot_hold_is_replaced_for_both_engines() {
        assert_eq!(Cell::text("a\0b").as_text(), Some("a\u{FFFD}b"));
    }
}
