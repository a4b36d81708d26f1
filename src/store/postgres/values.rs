//! Cells to and from PostgreSQL's columns.

use bytes::{BufMut, BytesMut};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::model::time::UnixMillis;

use super::super::cells::Cell;

/// A parameter of a statement.
pub(super) type Param<'p> = Box<dyn ToSql + Sync + Send + 'p>;

/// Errors of conversion, as the driver wants them.
type Refused = Box<dyn std::error::Error + Sync + Send>;

/// How a column is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `text`.
    Text,
    /// `json`, which keeps its text letter for letter.
    Json,
    /// `timestamptz`.
    Instant,
    /// `bigint`.
    Integer,
    /// `boolean`.
    Flag,
}

impl Kind {
    /// The type of one value of an array that is sent.
    pub(super) const fn sent(self) -> &'static str {
        match self {
            Self::Text | Self::Json => "text",
            Self::Instant => "timestamptz",
            Self::Integer => "bigint",
            Self::Flag => "boolean",
        }
    }
}

/// A column and how it is kept.
pub(super) type Column = (&'static str, Kind);

/// `timestamptz` counts microseconds from here, 2000-01-01.
const EPOCH_MILLIS: i64 = 946_684_800_000;

/// An instant as `timestamptz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(pub(super) UnixMillis);

/// What was not written by us reads as this, which no checksum of ours covers.
const FOREIGN: UnixMillis = UnixMillis(-1);

impl ToSql for Stamp {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Refused> {
        out.put_i64(Micros::of(self.0).0);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Stamp {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Refused> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        let whole = micros % 1_000 == 0;
        let millis = (micros / 1_000).checked_add(EPOCH_MILLIS);
        let millis = millis.filter(|_| whole).map(UnixMillis);
        Ok(Self(millis.unwrap_or(FOREIGN)))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }
}

/// A `timestamptz` as the server keeps it, also one that is finer than any instant of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Micros(i64);

impl Micros {
    /// The same instant.
    pub(super) fn of(at: UnixMillis) -> Self {
        Self((at.0 - EPOCH_MILLIS) * 1_000)
    }
}

impl ToSql for Micros {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Refused> {
        out.put_i64(self.0);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Micros {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Refused> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }
}

/// Rows turned on their side: an array a column.
pub(super) fn arrays<'c>(rows: &'c [Vec<Cell<'_>>], columns: &[Column]) -> Vec<Param<'c>> {
    let array = |(at, (_, kind)): (usize, &Column)| -> Param<'c> {
        let column = rows.iter().map(move |row| &row[at]);
        match kind {
            Kind::Text | Kind::Json => Box::new(column.map(Cell::as_text).collect::<Vec<_>>()),
            Kind::Instant => {
                let stamps = column.map(|cell| cell.as_instant().map(Stamp));
                Box::new(stamps.collect::<Vec<_>>())
            }
            Kind::Integer => Box::new(column.map(Cell::as_integer).collect::<Vec<_>>()),
            Kind::Flag => Box::new(column.map(Cell::as_flag).collect::<Vec<_>>()),
        }
    };
    columns.iter().enumerate().map(array).collect()
}

/// The cells of a row, whose columns begin at `first`.
pub(super) fn cells<'r>(
    row: &'r Row,
    first: usize,
    columns: &[Column],
) -> Result<Vec<Cell<'r>>, tokio_postgres::Error> {
    let cell = |(at, (_, kind)): (usize, &Column)| {
        let at = first + at;
        Ok(match kind {
            Kind::Text | Kind::Json => match row.try_get::<_, Option<&str>>(at)? {
                Some(text) => Cell::Text(text.into()),
                None => Cell::Null,
            },
            Kind::Instant => match row.try_get::<_, Option<Stamp>>(at)? {
                Some(Stamp(instant)) => Cell::Instant(instant),
                None => Cell::Null,
            },
            Kind::Integer => row
                .try_get::<_, Option<i64>>(at)?
                .map_or(Cell::Null, Cell::Integer),
            Kind::Flag => row
                .try_get::<_, Option<bool>>(at)?
                .map_or(Cell::Null, |flag| Cell::Integer(flag.into())),
        })
    };
    columns.iter().enumerate().map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_keep_their_millisecond() {
        for millis in [
            0,
            1,
            946_684_799_999,
            1_715_675_400_250,
            253_402_300_799_999,
        ] {
            let mut out = BytesMut::new();
            let written = Stamp(UnixMillis(millis)).to_sql(&Type::TIMESTAMPTZ, &mut out);
            assert!(matches!(written, Ok(IsNull::No)));
            let read = Stamp::from_sql(&Type::TIMESTAMPTZ, &out).unwrap();
            assert_eq!(read, Stamp(UnixMillis(millis)));
        }
        let between = 1_i64.to_be_bytes();
        let read = Stamp::from_sql(&Type::TIMESTAMPTZ, &between).unwrap();
        assert_eq!(read, Stamp(FOREIGN));
    }
}
