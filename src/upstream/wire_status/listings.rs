//! The platform's listings: active users, queues, members of a queue.

use std::sync::Arc;

use serde::de::MapAccess;

use super::document::{Listing, Object, Rows, listing, skip};
use super::error::WireError;
use super::scalar::Scalar;
use crate::model::ids::{QueueId, UserId};
use crate::upstream::wire::{MembersPage, Paging, QueuesPage, RefusalReason, UsersPage};

/// Rows on one page: twenty times what is asked for, for servers that ignore the page size.
/// More is an error.
pub const LISTING_ROWS_MAX: usize = 10_000;

/// Longest queue name kept, in characters. The platform allows 256; the rest is cut.
const QUEUE_NAME_MAX: usize = 256;

/// Reads a page of the registry. Rows that are not active are left out, should the server have
/// ignored the filter; refused rows show as the difference to `paging.rows`.
pub fn users(body: &[u8]) -> Result<UsersPage, WireError> {
    users_named(body, &mut |_, _| {})
}

/// The same, telling the name of each active user that has one.
pub fn users_named(
    body: &[u8],
    tell: &mut dyn FnMut(&UserId, &str),
) -> Result<UsersPage, WireError> {
    let (rows, paging) = page(body, "users", "an object with entities, the users", |row| {
        let id = row.id.id()?;
        let active = row
            .state
            .text()
            .is_none_or(|state| state.eq_ignore_ascii_case("active"));
        let user = active.then(|| UserId::new(id));
        if let (Some(user), Some(name)) = (&user, row.name.text()) {
            tell(user, name);
        }
        Ok(user)
    })?;
    Ok(UsersPage {
        users: rows.kept,
        paging,
    })
}

/// Reads a page of queues. A queue without a name goes by its id; names are cut to a bounded
/// length and otherwise kept as they are.
pub fn queues(body: &[u8]) -> Result<QueuesPage, WireError> {
    let (rows, paging) = page(
        body,
        "queues",
        "an object with entities, the queues",
        |row| {
            let id = row.id.id()?;
            let name = row.name.text().unwrap_or(id);
            let name = name.chars().take(QUEUE_NAME_MAX).collect::<String>();
            Ok(Some((QueueId::new(id), Arc::from(name))))
        },
    )?;
    Ok(QueuesPage {
        queues: rows.kept,
        paging,
    })
}

/// Reads a page of a queue's members. Members that have not joined the queue are left out.
pub fn members(body: &[u8]) -> Result<MembersPage, WireError> {
    let (rows, paging) = page(
        body,
        "members",
        "an object with entities, the members",
        |row| {
            let id = row.id.id()?;
            let joined = !matches!(row.joined, Scalar::Bool(false));
            Ok(joined.then(|| UserId::new(id)))
        },
    )?;
    Ok(MembersPage {
        members: rows.kept,
        paging,
    })
}

fn page<T>(
    body: &[u8],
    what: &'static str,
    expected: &'static str,
    accept: impl FnMut(EntityRow<'_>) -> Result<Option<T>, RefusalReason>,
) -> Result<(Rows<T>, Paging), WireError> {
    let spec = Listing {
        what,
        expected,
        rows_max: LISTING_ROWS_MAX,
        bare: false,
    };
    let (rows, paging) = listing(body, spec, accept)?;
    Ok((rows, paging.unwrap_or_default()))
}

/// A row of any of these listings; all else is skipped unbuilt.
#[derive(Default)]
struct EntityRow<'a> {
    id: Scalar<'a>,
    name: Scalar<'a>,
    state: Scalar<'a>,
    joined: Scalar<'a>,
}

impl<'de> Object<'de> for EntityRow<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        match key {
            "id" => self.id = fields.next_value()?,
            "name" => self.name = fields.next_value()?,
            "state" => self.state = fields.next_value()?,
            "joined" => self.joined = fields.next_value()?,
            _ => skip(fields)?,
        }
        Ok(())
    }
}
