//! Open interactions of one user, `GET /api/v2/users/{userId}?expand=conversationSummary`.

use serde::de::MapAccess;

use super::document::{Maybe, Object, object, skip};
use super::error::WireError;
use super::scalar::Scalar;

/// Counts open interactions: contact-centre and enterprise, `active` plus `acw`, over all media
/// (semantics.md §7). `None` if the expanded field is missing: that is no proof of zero.
///
/// A count that is not there is zero, as the platform leaves zeros out; a count that is not a
/// number makes the whole answer an error, because zero has consequences.
pub fn open_interactions(body: &[u8]) -> Result<Option<u64>, WireError> {
    let user: User = object(body, "a user")?;
    let Some(summary) = user.summary else {
        return Ok(None);
    };
    if summary.unreadable {
        return Err(WireError::Missing {
            field: "conversationSummary",
        });
    }
    Ok(Some(summary.open))
}

#[derive(Default)]
struct User {
    summary: Option<Tally>,
}

impl<'de> Object<'de> for User {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        if key != "conversationSummary" {
            return skip(fields);
        }
        let Maybe(summary) = fields.next_value::<Maybe<Summary>>()?;
        self.summary = summary.map(|summary| summary.0);
        Ok(())
    }
}

/// A sum, and whether something in it could not be read.
#[derive(Default, Clone, Copy)]
struct Tally {
    open: u64,
    unreadable: bool,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.open = self.open.saturating_add(other.open);
        self.unreadable |= other.unreadable;
    }
}

/// Medium by medium; whatever is not an object (`userId`) is no medium.
#[derive(Default)]
struct Summary(Tally);

impl<'de> Object<'de> for Summary {
    fn take<A: MapAccess<'de>>(&mut self, _: &str, fields: &mut A) -> Result<(), A::Error> {
        if let Maybe(Some(medium)) = fields.next_value::<Maybe<Medium>>()? {
            self.0.add(medium.0);
        }
        Ok(())
    }
}

#[derive(Default)]
struct Medium(Tally);

impl<'de> Object<'de> for Medium {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        if !matches!(key, "contactCenter" | "enterprise") {
            return skip(fields);
        }
        if let Maybe(Some(side)) = fields.next_value::<Maybe<Side>>()? {
            self.0.add(side.0);
        }
        Ok(())
    }
}

#[derive(Default)]
struct Side(Tally);

impl<'de> Object<'de> for Side {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        if !matches!(key, "active" | "acw") {
            return skip(fields);
        }
        let value = fields.next_value::<Scalar<'de>>()?;
        let count = value.count();
        self.0.add(Tally {
            open: count.unwrap_or(0),
            unreadable: count.is_none() && !matches!(value, Scalar::Null),
        });
        Ok(())
    }
}
