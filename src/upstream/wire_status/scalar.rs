//! Any JSON value, of which only scalars are kept: with it a field of the wrong type refuses its
//! record instead of ending the whole document. Texts are borrowed from the body.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::model::time::UnixMillis;
use crate::upstream::wire::RefusalReason;

/// Longest id in bytes. A UUID has 36; four times that leaves room for gateways that prefix one,
/// and keeps keys of the store and paths of requests short. A longer one refuses its record.
pub const ID_LENGTH_MAX: usize = 144;

/// A JSON value.
#[derive(Default)]
pub(in crate::upstream) enum Scalar<'a> {
    /// `null`, or the key is not there.
    #[default]
    Null,
    /// A text.
    Text(Cow<'a, str>),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// An array or an object, skipped.
    Nested,
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Scalar::Float(value as f64), Scalar::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nested)
    }
}

/// From here on a whole number is milliseconds since the epoch, below it seconds: as seconds it
/// is the year 5138, as milliseconds 1973 (faults.md F83).
const EPOCH_MILLIS_FROM: i64 = 100_000_000_000;
/// 9999-12-31T23:59:59.999Z, where RFC 3339 with four digits of year ends.
const INSTANT_MAX: i64 = 253_402_300_799_999;

impl Scalar<'_> {
    /// A text that says something.
    pub(in crate::upstream) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.trim().is_empty() => Some(text),
            _ => None,
        }
    }

    /// A whole number that is not negative.
    pub(in crate::upstream) fn count(&self) -> Option<u64> {
        match self {
            Self::Int(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// An id that can be a key and a segment of a path.
    pub(in crate::upstream) fn id(&self) -> Result<&str, RefusalReason> {
        match self {
            Self::Null => Err(RefusalReason::EmptyId),
            Self::Text(text) if text.trim().is_empty() => Err(RefusalReason::EmptyId),
            // "." and ".." cannot be a segment of a path, however they are encoded (WHATWG URL).
            Self::Text(text)
                if text.len() > ID_LENGTH_MAX
                    || text.chars().any(char::is_control)
                    || matches!(text.as_ref(), "." | "..") =>
            {
                Err(RefusalReason::Shape)
            }
            Self::Text(text) => Ok(text),
            _ => Err(RefusalReason::Shape),
        }
    }

    /// An instant: RFC 3339 with any offset, or whole seconds or milliseconds since the epoch.
    pub(in crate::upstream) fn instant(&self) -> Result<UnixMillis, RefusalReason> {
        match self {
            Self::Text(text) => UnixMillis::parse(text).map_err(|_| RefusalReason::Time),
            Self::Int(value) => {
                let millis = if *value < EPOCH_MILLIS_FROM {
                    value.saturating_mul(1_000)
                } else {
                    *value
                };
                (0..=INSTANT_MAX)
                    .contains(&millis)
                    .then_some(UnixMillis(millis))
                    .ok_or(RefusalReason::Time)
            }
            _ => Err(RefusalReason::Shape),
        }
    }
}

/// A foreign text as it may be kept: without control characters, at most `chars_max` characters.
pub(in crate::upstream) fn bounded(text: &str, chars_max: usize) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(chars_max)
        .collect()
}

/// The same, shared.
pub(in crate::upstream) fn bounded_arc(text: &str, chars_max: usize) -> Arc<str> {
    Arc::from(bounded(text, chars_max))
}
