//! The exporter's own families as text, kept from scrape to scrape: a family is gathered and written
//! again only after it has changed, and what the operating system tells once a second. Pure but for
//! that memory.
//!
//! Gathering takes the prometheus crate longer than writing what it gathered, and both together take
//! longer than handing the page to the kernel.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::families::of_registry;
use super::gzip::Part;
use super::page::{Format, render};
use crate::model::time::{Millis, Monotonic};
use crate::telemetry::Shelf;

/// Room for what is written each time: some twenty lines.
const FRESH_BYTES: usize = 4 * 1024;

/// What the operating system tells is asked for at most this often, however many scrape: reading it
/// takes as long as a quarter of all else, and nobody scrapes more often to see it move.
pub(super) const FRESH_FOR: Millis = Millis::from_secs(1);

/// In one format.
#[derive(Debug, Default)]
pub(super) struct OwnText(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// By position among the shelves; nothing of those that count no changes.
    written: Vec<Option<Written>>,
    /// All of them.
    text: Bytes,
    /// The same, made when first asked for.
    deflated: Option<Part>,
    /// What counts no changes, and when it was written.
    fresh: Option<(Monotonic, Bytes)>,
}

/// A family's text, and how often it had changed by then.
#[derive(Debug)]
struct Written {
    changes: u64,
    text: String,
}

impl OwnText {
    /// What of the shelves counts its changes, as it is now.
    pub(super) fn plain(&self, shelves: &[Shelf], format: Format) -> Bytes {
        self.up_to_date(shelves, format).text.clone()
    }

    /// The same, compressed.
    pub(super) fn deflated(&self, shelves: &[Shelf], format: Format) -> Part {
        let mut kept = self.up_to_date(shelves, format);
        let Kept { text, deflated, .. } = &mut *kept;
        deflated.get_or_insert_with(|| Part::inner(text)).clone()
    }

    /// What of the shelves counts no changes, as it is now or was within the last second, and the
    /// end of the page.
    pub(super) fn fresh(&self, shelves: &[Shelf], format: Format, now: Monotonic) -> Bytes {
        let mut kept = self.kept();
        match &kept.fresh {
            Some((at, text)) if (Millis::ZERO..FRESH_FOR).contains(&(now - *at)) => text.clone(),
            _ => {
                let text = fresh(shelves, format);
                kept.fresh = Some((now, text.clone()));
                text
            }
        }
    }

    /// Whether that has been compressed as it is now.
    pub(super) fn is_deflated(&self, shelves: &[Shelf]) -> bool {
        let kept = self.kept();
        kept.deflated.is_some() && kept.is_up_to_date(shelves)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whatever was not written to its end is written anew: its count is not there yet.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn up_to_date(&self, shelves: &[Shelf], format: Format) -> MutexGuard<'_, Kept> {
        let mut kept = self.kept();
        if !kept.is_up_to_date(shelves) {
            kept.write(shelves, format);
        }
        kept
    }
}

impl Kept {
    fn is_up_to_date(&self, shelves: &[Shelf]) -> bool {
        let unchanged = |(shelf, written): (&Shelf, &Option<Written>)| {
            shelf.changes() == written.as_ref().map(|written| written.changes)
        };
        self.written.len() == shelves.len() && shelves.iter().zip(&self.written).all(unchanged)
    }

    fn write(&mut self, shelves: &[Shelf], format: Format) {
        self.deflated = None;
        self.written.resize_with(shelves.len(), || None);
        for (shelf, written) in shelves.iter().zip(&mut self.written) {
            let Some(changes) = shelf.changes() else {
                continue;
            };
            if written.as_ref().is_none_or(|was| was.changes != changes) {
                let mut text = written.take().map(|was| was.text).unwrap_or_default();
                text.clear();
                render(&of_registry(&shelf.gather()), format, &mut text);
                *written = Some(Written { changes, text });
            }
        }
        let texts = self.written.iter().flatten().map(|written| &*written.text);
        self.text = texts.collect::<Vec<&str>>().concat().into();
    }
}

fn fresh(shelves: &[Shelf], format: Format) -> Bytes {
    let mut text = String::with_capacity(FRESH_BYTES);
    for shelf in shelves.iter().filter(|shelf| shelf.changes().is_none()) {
        render(&of_registry(&shelf.gather()), format, &mut text);
    }
    text.push_str(format.end());
    text.into()
}
