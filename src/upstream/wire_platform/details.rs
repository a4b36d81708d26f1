//! Routing statuses of the past: `POST /api/v2/analytics/users/details/query`
//! (platform-api.md §2.8).
//!
//! The list of users is not there at all past the last page. A status that spans days is stored
//! twice; the same start twice is one status, of which the later end counts. What runs has no end.

use std::sync::Arc;

use serde::de::MapAccess;

use crate::model::ids::UserId;
use crate::model::platform_status::PlatformStatus;
use crate::model::state::RAW_TEXT_MAX;
use crate::model::time::UnixMillis;
use crate::upstream::wire::RefusalReason;
use crate::upstream::wire_status::WireError;
use crate::upstream::wire_status::document::{Object, Rows, RowsSeed, object, skip};
use crate::upstream::wire_status::scalar::{Scalar, bounded_arc};

/// Users on one page: a hundred times what is asked for, for servers that ignore the page size.
/// More is an error.
pub const DETAILS_ROWS_MAX: usize = 10_000;

/// Statuses of one user in one answer; one a second for nearly three hours. Of a user with more
/// nothing is kept: a history with a hole in it would pass for one without.
pub const HISTORY_MAX: usize = 10_000;

/// A page of the past.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DetailsPage {
    /// Users with the statuses that they had, in order of appearance.
    pub users: Vec<UserPast>,
    /// Users refused alone.
    pub refused: Vec<RefusalReason>,
    /// Users on the page, refused ones included. Fewer than were asked for: the last page.
    pub rows: usize,
}

/// What one user went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPast {
    /// Who.
    pub user: UserId,
    /// By start, ascending, one each. Each ends where it says, which need not be where the next
    /// one starts: what lies between was not told.
    pub statuses: Vec<PastStatus>,
}

/// A routing status with its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastStatus {
    /// The status.
    pub status: PlatformStatus,
    /// The platform's own word, if this version does not know it.
    pub raw: Option<Arc<str>>,
    /// `startTime`.
    pub from: UnixMillis,
    /// `endTime`; `None`: it runs, or ran when this was written down.
    pub until: Option<UnixMillis>,
}

/// Reads a page. A user of whom one status cannot be read is refused whole, because its
/// neighbours would pass for consecutive.
pub fn user_details(body: &[u8]) -> Result<DetailsPage, WireError> {
    let document: Document = object(body, "an object with userDetails")?;
    let Some(rows) = document.users else {
        return Ok(DetailsPage::default());
    };
    if rows.overflow {
        return Err(WireError::TooMany {
            what: "users",
            limit: DETAILS_ROWS_MAX,
        });
    }
    Ok(DetailsPage {
        users: rows.kept,
        refused: rows.refused,
        rows: rows.seen,
    })
}

#[derive(Default)]
struct Document {
    users: Option<Rows<UserPast>>,
}

impl<'de> Object<'de> for Document {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        if key != "userDetails" {
            return skip(fields);
        }
        let mut accept = |row: UserRow<'de>| row.accept().map(Some);
        self.users = fields.next_value_seed(RowsSeed::new(&mut accept, DETAILS_ROWS_MAX))?;
        Ok(())
    }
}

#[derive(Default)]
struct UserRow<'a> {
    id: Scalar<'a>,
    statuses: Option<Rows<PastStatus>>,
}

impl<'de> Object<'de> for UserRow<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        match key {
            "userId" => self.id = fields.next_value()?,
            "routingStatus" => {
                let mut accept = |row: StatusRow<'de>| row.accept().map(Some);
                self.statuses = fields.next_value_seed(RowsSeed::new(&mut accept, HISTORY_MAX))?;
            }
            _ => skip(fields)?,
        }
        Ok(())
    }
}

impl UserRow<'_> {
    fn accept(self) -> Result<UserPast, RefusalReason> {
        let user = UserId::new(self.id.id()?);
        // Nobody who only had a presence has the list.
        let rows = self.statuses.unwrap_or_default();
        if rows.overflow {
            return Err(RefusalReason::Shape);
        }
        if let Some(reason) = rows.refused.first() {
            return Err(*reason);
        }
        let mut statuses = rows.kept;
        statuses.sort_by(|a, b| {
            (a.from, a.until.is_none(), a.until).cmp(&(b.from, b.until.is_none(), b.until))
        });
        // Of two with one start the last is the one that ends later, or runs.
        statuses.reverse();
        statuses.dedup_by_key(|status| status.from);
        statuses.reverse();
        Ok(UserPast { user, statuses })
    }
}

#[derive(Default)]
struct StatusRow<'a> {
    status: Scalar<'a>,
    start_time: Scalar<'a>,
    end_time: Scalar<'a>,
}

impl<'de> Object<'de> for StatusRow<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        match key {
            "routingStatus" => self.status = fields.next_value()?,
            "startTime" => self.start_time = fields.next_value()?,
            "endTime" => self.end_time = fields.next_value()?,
            _ => skip(fields)?,
        }
        Ok(())
    }
}

impl StatusRow<'_> {
    fn accept(&self) -> Result<PastStatus, RefusalReason> {
        let text = self.status.text().ok_or(RefusalReason::Shape)?;
        let status = PlatformStatus::parse(text);
        let from = self.start_time.instant()?;
        let until = match self.end_time {
            Scalar::Null => None,
            _ => Some(self.end_time.instant()?),
        };
        if until.is_some_and(|until| until < from) {
            return Err(RefusalReason::Time);
        }
        Ok(PastStatus {
            status,
            raw: (status == PlatformStatus::Other).then(|| bounded_arc(text, RAW_TEXT_MAX)),
            from,
            until,
        })
    }
}

#[cfg(test)]
mod tests;
