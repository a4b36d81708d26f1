//! Puts a bulk snapshot together from its pages: whole or not at all (semantics.md §10).
//!
//! A bare array is one page and the whole; an object with `entities` is followed by number. It
//! checks that the pages add up and nothing else; whether to believe the whole is
//! [`super::validate`]'s business.

use crate::model::ids::UserId;
use crate::upstream::wire::{RefusalReason, StatusPage, StatusRecord};

use super::paging::{Listing, Step};

/// What comes after a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanProgress {
    /// Ask for this page.
    NextPage(u32),
    /// This was the last one.
    Complete(ScanResult),
    /// The pages contradict each other: nothing of them is used.
    Inconsistent,
}

/// A snapshot with all its pages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanResult {
    /// Records in order of appearance, duplicates still in.
    pub records: Vec<StatusRecord>,
    /// Records refused alone by the parser.
    pub refused: Vec<RefusalReason>,
    /// Agents listed without what was asked for about them.
    pub incomplete: Vec<UserId>,
    /// Pages it took: the cost of the next one.
    pub pages: u32,
}

/// A scan in progress, for one snapshot.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    listing: Listing,
    result: ScanResult,
    failed: bool,
}

impl Scan {
    /// Before page 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next page in order. After anything but `NextPage` the scan is over; a further
    /// page is inconsistent.
    pub fn page(&mut self, page: StatusPage) -> ScanProgress {
        if self.failed {
            return ScanProgress::Inconsistent;
        }
        let step = match &page.paging {
            // A bare array is always the whole listing, so it cannot be a later page.
            None if self.listing.pages() == 0 => {
                self.result.pages = 1;
                Step::End
            }
            None => Step::Inconsistent,
            Some(paging) => {
                let step = self.listing.page(paging);
                self.result.pages = self.listing.pages();
                step
            }
        };
        self.result.records.extend(page.records);
        self.result.refused.extend(page.refused);
        self.result.incomplete.extend(page.incomplete);
        // A cut-off array that still parses shows here (faults.md F33).
        let adds_up = |total: u64| total == self.listing.rows();
        match step {
            Step::Next(number) => ScanProgress::NextPage(number),
            Step::End if self.listing.total().is_none_or(adds_up) => {
                self.failed = true;
                ScanProgress::Complete(std::mem::take(&mut self.result))
            }
            Step::End | Step::Inconsistent => {
                self.failed = true;
                self.result = ScanResult::default();
                ScanProgress::Inconsistent
            }
        }
    }

    /// How many pages this scan will take, as far as its first page has said.
    pub fn pages_expected(&self) -> Option<u32> {
        self.listing.page_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::state::{Presence, RoutingState};
    use crate::model::time::UnixMillis;
    use crate::upstream::wire::Paging;

    fn records(ids: std::ops::Range<u32>) -> Vec<StatusRecord> {
        ids.map(|n| StatusRecord {
            user_id: UserId::new(&format!("agent-{n:04}")),
            presence: Presence::parse("Available"),
            availability: RoutingState::Available,
            last_modified: UnixMillis(i64::from(n)),
            platform: None,
        })
        .collect()
    }

    fn page(ids: std::ops::Range<u32>, total: Option<u64>, has_next: bool) -> StatusPage {
        StatusPage {
            paging: Some(Paging {
                total,
                page_count: None,
                has_next,
                rows: ids.len(),
            }),
            records: records(ids),
            refused: Vec::new(),
            incomplete: Vec::new(),
        }
    }

    #[test]
    fn a_bare_array_is_the_whole() {
        let mut scan = Scan::new();
        let bare = StatusPage {
            records: records(0..7),
            refused: vec![RefusalReason::Time],
            incomplete: vec![UserId::new("agent-0099")],
            paging: None,
        };
        let ScanProgress::Complete(result) = scan.page(bare.clone()) else {
            panic!("not complete");
        };
        assert_eq!(result.records, records(0..7));
        assert_eq!(result.refused, [RefusalReason::Time]);
        assert_eq!(result.incomplete, [UserId::new("agent-0099")]);
        assert_eq!(result.pages, 1);
        assert_eq!(scan.page(bare), ScanProgress::Inconsistent);
    }

    #[test]
    fn pages_are_put_together_in_order() {
        let mut scan = Scan::new();
        let first = scan.page(page(0..100, Some(207), true));
        assert_eq!(first, ScanProgress::NextPage(2));
        let second = scan.page(page(100..200, Some(207), true));
        assert_eq!(second, ScanProgress::NextPage(3));
        let ScanProgress::Complete(result) = scan.page(page(200..207, Some(207), false)) else {
            panic!("not complete");
        };
        assert_eq!(result.records, records(0..207));
        assert_eq!(result.pages, 3);
    }

    #[test]
    fn pages_that_do_not_add_up_are_refused_whole() {
        let mut scan = Scan::new();
        scan.page(page(0..100, Some(207), true));
        let cut = scan.page(page(100..150, Some(207), false));
        assert_eq!(cut, ScanProgress::Inconsistent);

        let mut scan = Scan::new();
        scan.page(page(0..100, Some(207), true));
        let grown = scan.page(page(100..200, Some(208), true));
        assert_eq!(grown, ScanProgress::Inconsistent);

        let mut scan = Scan::new();
        scan.page(page(0..100, None, true));
        let mut bare = page(100..200, None, false);
        bare.paging = None;
        assert_eq!(scan.page(bare), ScanProgress::Inconsistent);
        assert_eq!(
            scan.page(page(100..200, None, false)),
            ScanProgress::Inconsistent,
            "once spoilt, always spoilt"
        );
    }
}
