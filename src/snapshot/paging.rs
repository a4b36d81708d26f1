//! Follows one listing page by page and sees that its paging fields do not contradict each other.
//!
//! Used by the bulk scan and the registry, and fit for queues and members. An offset listing is
//! no snapshot of the platform: rows move between pages while it is read, so a total that
//! changes means that rows may be missing.

use crate::upstream::wire::Paging;

/// No listing has more pages: 500 pages of 500 are 250,000 agents, more than twice the largest
/// organisation that the exporter is sized for. Beyond it the platform repeats itself, and the
/// listing is refused.
pub const PAGES_MAX: u32 = 500;

/// What comes after a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// This page.
    Next(u32),
    /// Nothing: it was the last one.
    End,
    /// The pages contradict each other; nothing of them may be used.
    Inconsistent,
}

/// Progress through one listing.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    pages: u32,
    rows: u64,
    total: Option<u64>,
    page_count: Option<u32>,
}

impl Listing {
    /// Before page 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next page in order.
    ///
    /// A listing ends with the first page that is empty or names no next one; a `pageCount`
    /// that promises more pages counts as naming one, as the platform leaves fields out.
    pub fn page(&mut self, paging: &Paging) -> Step {
        let changed = contradicts(self.total, paging.total)
            || contradicts(self.page_count, paging.page_count);
        if changed || self.pages >= PAGES_MAX {
            return Step::Inconsistent;
        }
        self.total = self.total.or(paging.total);
        self.page_count = self.page_count.or(paging.page_count);
        self.pages += 1;
        self.rows += paging.rows as u64;
        let more = paging.has_next || self.page_count.is_some_and(|count| count > self.pages);
        if paging.rows == 0 || !more {
            Step::End
        } else if self.pages == PAGES_MAX {
            Step::Inconsistent
        } else {
            Step::Next(self.pages + 1)
        }
    }

    /// Pages taken.
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// Rows taken, refused ones included.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows that the listing says it has.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Pages that the listing says it has.
    pub fn page_count(&self) -> Option<u32> {
        self.page_count
    }
}

fn contradicts<T: PartialEq>(known: Option<T>, told: Option<T>) -> bool {
    matches!((known, told), (Some(known), Some(told)) if known != told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: usize, has_next: bool) -> Paging {
        Paging {
            has_next,
            rows,
            ..Paging::default()
        }
    }

    #[test]
    fn a_listing_ends_without_a_next_page_or_with_an_empty_one() {
        let mut listing = Listing::new();
        assert_eq!(listing.page(&page(100, true)), Step::Next(2));
        assert_eq!(listing.page(&page(7, false)), Step::End);
        assert_eq!((listing.pages(), listing.rows()), (2, 107));
        let mut listing = Listing::new();
        assert_eq!(listing.page(&page(100, true)), Step::Next(2));
        assert_eq!(listing.page(&page(0, true)), Step::End);
    }

    #[test]
    fn a_page_count_stands_for_a_missing_link() {
        let mut listing = Listing::new();
        let mut told = page(100, false);
        told.page_count = Some(2);
        assert_eq!(listing.page(&told), Step::Next(2));
        assert_eq!(listing.page(&told), Step::End);
    }

    #[test]
    fn a_total_that_changes_spoils_the_listing() {
        let mut listing = Listing::new();
        let mut told = page(100, true);
        told.total = Some(300);
        assert_eq!(listing.page(&told), Step::Next(2));
        assert_eq!(listing.page(&page(100, true)), Step::Next(3));
        told.total = Some(299);
        assert_eq!(listing.page(&told), Step::Inconsistent);
    }

    #[test]
    fn a_listing_without_an_end_is_cut() {
        let mut listing = Listing::new();
        let mut steps = 0;
        while let Step::Next(number) = listing.page(&page(1, true)) {
            steps += 1;
            assert_eq!(number, steps + 1);
        }
        assert_eq!(listing.pages(), PAGES_MAX);
        assert_eq!(listing.page(&page(1, false)), Step::Inconsistent);
    }
}
