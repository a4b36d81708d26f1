//! The bulk snapshot, `GET /api/v2/users/statuses`: a bare array, or the platform's paging.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::de::MapAccess;

use super::again::LastPages;
use super::document::{Listing, Object, Page, listing, skip};
use super::error::WireError;
use super::scalar::Scalar;
use crate::model::ids::UserId;
use crate::model::state::{Presence, RoutingState};
use crate::upstream::wire::{RefusalReason, StatusPage, StatusRecord};

/// Records on one page. A bare array is the whole organisation; 200,000 is twice the largest that
/// the request budget could join within a working day. More is an error, not a cut listing.
pub const STATUS_RECORDS_MAX: usize = 200_000;

const LISTING: Listing = Listing {
    what: "status records",
    expected: "an array of status records, or an object with entities",
    rows_max: STATUS_RECORDS_MAX,
    bare: true,
};

/// Reads a page of the snapshot. Records stay in order of appearance, duplicates included.
pub fn statuses(body: &[u8]) -> Result<StatusPage, WireError> {
    let mut presences = Presences::default();
    let nobody = BTreeSet::new();
    let accept = |row: StatusRow<'_>| row.accept(&mut presences, &nobody).map(Some);
    listing(body, LISTING, accept).map(page)
}

/// Reads one snapshot after another as [`statuses`] does; what has not changed is not parsed again.
#[derive(Debug, Default)]
pub struct StatusesReader(LastPages<StatusRecord>);

impl StatusesReader {
    /// Reads page `number`, counted from 1. An id that is among `held` is taken from there.
    pub fn read(
        &mut self,
        number: u32,
        body: &Bytes,
        held: &BTreeSet<UserId>,
    ) -> Result<StatusPage, WireError> {
        let mut presences = Presences::default();
        let accept = |row: StatusRow<'_>| row.accept(&mut presences, held).map(Some);
        let same = |a: &StatusRecord, b: &StatusRecord| a.user_id == b.user_id;
        self.0.read(number, body, LISTING, same, accept).map(page)
    }
}

fn page((rows, paging): Page<StatusRecord>) -> StatusPage {
    StatusPage {
        records: rows.kept,
        refused: rows.refused,
        incomplete: Vec::new(),
        paging,
    }
}

/// A record as it stands; `id`, `targetPresence` and `customPresence` are skipped unbuilt.
#[derive(Default)]
struct StatusRow<'a> {
    user_id: Scalar<'a>,
    presence: Scalar<'a>,
    availability: Scalar<'a>,
    last_modified: Scalar<'a>,
}

impl<'de> Object<'de> for StatusRow<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        match key {
            "userId" => self.user_id = fields.next_value()?,
            "presence" => self.presence = fields.next_value()?,
            "availability" => self.availability = fields.next_value()?,
            "lastModified" => self.last_modified = fields.next_value()?,
            _ => skip(fields)?,
        }
        Ok(())
    }
}

impl StatusRow<'_> {
    fn accept(
        &self,
        presences: &mut Presences,
        held: &BTreeSet<UserId>,
    ) -> Result<StatusRecord, RefusalReason> {
        let user_id = self.user_id.id()?;
        let presence = self.presence.text().ok_or(RefusalReason::Shape)?;
        let availability = self.availability.text().ok_or(RefusalReason::Shape)?;
        let last_modified = self.last_modified.instant()?;
        Ok(StatusRecord {
            user_id: UserId::of(user_id, held),
            presence: presences.parse(presence),
            availability: routing_state(availability),
            last_modified,
            platform: None,
        })
    }
}

/// Reads a routing state; the exact spelling, which is nearly every one, costs no allocation.
pub(super) fn routing_state(text: &str) -> RoutingState {
    RoutingState::ALL
        .into_iter()
        .find(|state| state.wire() == text)
        .unwrap_or_else(|| RoutingState::from_wire(text))
}

/// Presences already met on this page: parsing one folds its text, and a page repeats a few.
#[derive(Default)]
pub(in crate::upstream) struct Presences(Vec<(String, Presence)>);

/// More spellings than an organisation has presences; further ones are parsed each time.
const PRESENCES_REMEMBERED: usize = 16;

impl Presences {
    /// Reads a presence, in any of its spellings.
    pub(in crate::upstream) fn parse(&mut self, text: &str) -> Presence {
        if let Some((_, presence)) = self.0.iter().find(|(known, _)| known == text) {
            return presence.clone();
        }
        let presence = Presence::parse(text);
        // Long texts are not remembered: comparing them would cost more than it saves.
        if self.0.len() < PRESENCES_REMEMBERED && text.len() <= super::ID_LENGTH_MAX {
            self.0.push((text.to_owned(), presence.clone()));
        }
        presence
    }
}
