//! How every answer is walked: an object key by key, an array row by row, without a tree.
//!
//! Rows are read into `Default` structs of [`Scalar`]s, so that one row's wrong type cannot end
//! the document; what is not asked for is skipped by the JSON parser itself, at any depth.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::error::WireError;
use super::scalar::Scalar;
use crate::upstream::wire::{Paging, RefusalReason};

/// An object that takes the keys it knows. A key that comes twice is taken twice: the last counts.
pub(in crate::upstream) trait Object<'de>: Default {
    /// Takes or skips the value of `key`; must consume exactly one value.
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error>;
}

/// Skips one value without looking at it.
pub(in crate::upstream) fn skip<'de, A: MapAccess<'de>>(fields: &mut A) -> Result<(), A::Error> {
    fields.next_value::<IgnoredAny>().map(|_| ())
}

fn walk<'de, T: Object<'de>, A: MapAccess<'de>>(mut fields: A) -> Result<T, A::Error> {
    let mut object = T::default();
    while let Some(key) = fields.next_key::<Scalar<'de>>()? {
        match &key {
            Scalar::Text(key) => object.take(key, &mut fields)?,
            _ => skip(&mut fields)?,
        }
    }
    Ok(object)
}

/// `T`, or `None` where something else than an object stands.
pub(in crate::upstream) struct Maybe<T>(pub(in crate::upstream) Option<T>);

impl<'de, T: Object<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MaybeVisitor(PhantomData))
    }
}

struct MaybeVisitor<T>(PhantomData<T>);

impl<'de, T: Object<'de>> Visitor<'de> for MaybeVisitor<T> {
    type Value = Maybe<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        walk(fields).map(|object| Maybe(Some(object)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Maybe(None))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }
}

/// The rows of an array.
pub(in crate::upstream) struct Rows<T> {
    /// Rows kept, in order of appearance.
    pub(in crate::upstream) kept: Vec<T>,
    /// Rows refused alone.
    pub(in crate::upstream) refused: Vec<RefusalReason>,
    /// Rows looked at, those left out included.
    pub(in crate::upstream) seen: usize,
    /// There were more than the limit; the rest was skipped.
    pub(in crate::upstream) overflow: bool,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            refused: Vec::new(),
            seen: 0,
            overflow: false,
        }
    }
}

/// Reads an array of `R` and keeps what `accept` makes of each; `null` gives `None`.
pub(in crate::upstream) struct RowsSeed<'f, R, F> {
    accept: &'f mut F,
    rows_max: usize,
    row: PhantomData<R>,
}

impl<'f, R, F> RowsSeed<'f, R, F> {
    /// `accept` says what to keep of a row: a value, nothing, or why it is refused.
    pub(in crate::upstream) fn new(accept: &'f mut F, rows_max: usize) -> Self {
        Self {
            accept,
            rows_max,
            row: PhantomData,
        }
    }
}

impl<'de, R, T, F> DeserializeSeed<'de> for RowsSeed<'_, R, F>
where
    R: Object<'de>,
    F: FnMut(R) -> Result<Option<T>, RefusalReason>,
{
    type Value = Option<Rows<T>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, R, T, F> Visitor<'de> for RowsSeed<'_, R, F>
where
    R: Object<'de>,
    F: FnMut(R) -> Result<Option<T>, RefusalReason>,
{
    type Value = Option<Rows<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut rows = Rows::default();
        while rows.seen < self.rows_max {
            let Some(Maybe(row)) = items.next_element::<Maybe<R>>()? else {
                return Ok(Some(rows));
            };
            rows.seen += 1;
            match row.map_or(Err(RefusalReason::Shape), &mut *self.accept) {
                Ok(kept) => rows.kept.extend(kept),
                Err(reason) => rows.refused.push(reason),
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {
            rows.overflow = true;
        }
        Ok(Some(rows))
    }
}

/// What a listing is.
#[derive(Clone, Copy)]
pub(in crate::upstream) struct Listing {
    /// Its rows, for messages.
    pub(in crate::upstream) what: &'static str,
    /// Its shape, for messages.
    pub(in crate::upstream) expected: &'static str,
    /// Rows a page at most.
    pub(in crate::upstream) rows_max: usize,
    /// Whether it may be an array without paging around it.
    pub(in crate::upstream) bare: bool,
}

/// A page of a listing: its rows, and its paging unless it was a bare array.
pub(in crate::upstream) type Page<T> = (Rows<T>, Option<Paging>);

struct ListingSeed<'f, R, F> {
    listing: Listing,
    rows: RowsSeed<'f, R, F>,
}

impl<'de, R, T, F> Visitor<'de> for ListingSeed<'_, R, F>
where
    R: Object<'de>,
    F: FnMut(R) -> Result<Option<T>, RefusalReason>,
{
    type Value = (Option<Rows<T>>, Option<Paging>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.listing.expected)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        if !self.listing.bare {
            return Err(serde::de::Error::invalid_type(
                serde::de::Unexpected::Seq,
                &self,
            ));
        }
        Ok((self.rows.visit_seq(items)?, None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let RowsSeed {
            accept, rows_max, ..
        } = self.rows;
        let mut rows = None;
        let mut paging = Paging::default();
        while let Some(key) = fields.next_key::<Scalar<'de>>()? {
            match key.text().unwrap_or_default() {
                "entities" => {
                    rows = fields.next_value_seed(RowsSeed::new(&mut *accept, rows_max))?;
                }
                known if is_paging(known) => {
                    take_paging(&mut paging, known, &fields.next_value()?);
                }
                _ => skip(&mut fields)?,
            }
        }
        Ok((rows, Some(paging)))
    }
}

fn is_paging(key: &str) -> bool {
    matches!(key, "total" | "pageCount" | "nextUri")
}

/// Takes a field of paging; any other is passed over.
pub(super) fn take_paging(paging: &mut Paging, key: &str, value: &Scalar<'_>) {
    match key {
        "total" => paging.total = value.count(),
        "pageCount" => {
            paging.page_count = value.count().and_then(|count| u32::try_from(count).ok());
        }
        "nextUri" => {
            // An empty address names no page. Its text is never used.
            paging.has_next = match value {
                Scalar::Null => false,
                Scalar::Text(address) => !address.is_empty(),
                _ => true,
            };
        }
        _ => {}
    }
}

/// Reads one page of a listing.
pub(in crate::upstream) fn listing<'de, R, T, F>(
    body: &'de [u8],
    listing: Listing,
    mut accept: F,
) -> Result<Page<T>, WireError>
where
    R: Object<'de>,
    F: FnMut(R) -> Result<Option<T>, RefusalReason>,
{
    let rows = RowsSeed::new(&mut accept, listing.rows_max);
    let (rows, paging) = parse(body, listing.expected, |json| {
        json.deserialize_any(ListingSeed { listing, rows })
    })?;
    let rows = rows.ok_or(WireError::Missing { field: "entities" })?;
    if rows.overflow {
        return Err(WireError::TooMany {
            what: listing.what,
            limit: listing.rows_max,
        });
    }
    let paging = paging.map(|paging| Paging {
        rows: rows.seen,
        ..paging
    });
    Ok((rows, paging))
}

/// Reads a document that is one object.
pub(in crate::upstream) fn object<'de, T: Object<'de>>(
    body: &'de [u8],
    expected: &'static str,
) -> Result<T, WireError> {
    let Maybe(object) = parse(body, expected, |json| Maybe::deserialize(json))?;
    object.ok_or(WireError::Shape {
        expected,
        line: 1,
        column: 1,
    })
}

type Json<'de> = serde_json::Deserializer<serde_json::de::SliceRead<'de>>;

/// Runs `read` over the whole body, byte order mark skipped, nothing allowed behind the value.
fn parse<'de, T>(
    body: &'de [u8],
    expected: &'static str,
    read: impl FnOnce(&mut Json<'de>) -> serde_json::Result<T>,
) -> Result<T, WireError> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let Some(first) = body.iter().find(|byte| !byte.is_ascii_whitespace()) else {
        return Err(WireError::Empty);
    };
    if *first == b'<' {
        return Err(WireError::Html);
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    read(&mut json)
        .and_then(|value| json.end().map(|()| value))
        .map_err(|error| WireError::from_json(&error, expected))
}
