//! What an agent has open: `conversationSummary`, media by media (platform-api.md §2.7).

use serde::de::MapAccess;

use crate::upstream::wire_status::document::{Maybe, Object, skip};
use crate::upstream::wire_status::scalar::Scalar;

/// Open work of the contact centre, over all media; what lies outside all queues decides nothing
/// about routing (platform-api.md §10).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Work {
    /// Interactions.
    pub(super) active: u64,
    /// Interactions in after-call work.
    pub(super) after_call: u64,
    /// A count is not a number: nothing may be concluded.
    pub(super) unreadable: bool,
}

/// Medium by medium; whatever is not an object (`userId`) is no medium. A count that is not there
/// is zero, as the platform leaves zeros out.
impl<'de> Object<'de> for Work {
    fn take<A: MapAccess<'de>>(&mut self, _: &str, fields: &mut A) -> Result<(), A::Error> {
        if let Maybe(Some(Medium(side))) = fields.next_value::<Maybe<Medium>>()? {
            self.active = self.active.saturating_add(side.active);
            self.after_call = self.after_call.saturating_add(side.after_call);
            self.unreadable |= side.unreadable;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Medium(Side);

impl<'de> Object<'de> for Medium {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        if key != "contactCenter" {
            return skip(fields);
        }
        if let Maybe(Some(side)) = fields.next_value::<Maybe<Side>>()? {
            self.0 = side;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Side {
    active: u64,
    after_call: u64,
    unreadable: bool,
}

impl<'de> Object<'de> for Side {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        if !matches!(key, "active" | "acw") {
            return skip(fields);
        }
        let value = fields.next_value::<Scalar<'de>>()?;
        let count = value.count();
        self.unreadable |= count.is_none() && !matches!(value, Scalar::Null);
        match key {
            "active" => self.active = count.unwrap_or(0),
            _ => self.after_call = count.unwrap_or(0),
        }
        Ok(())
    }
}
