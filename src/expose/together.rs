//! The metrics page of several organisations: one page, each series with the label `org`.
//!
//! It is made anew once something on it is another, and shared by every scrape until then. An
//! exporter of one organisation has `pages` for this, which need not put families of different
//! views between each other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::families::{of_registry, of_view};
use super::gzip::{Part, member};
use super::names::SeriesNames;
use super::own::FRESH_FOR;
use super::page::{Format, render_together};
use super::served::Served;
use crate::model::time::{Millis, Monotonic};
use crate::model::view::View;
use crate::telemetry::{Shelf, Telemetry};

/// The page in both formats.
#[derive(Debug, Default)]
pub(super) struct Together {
    text: Mutex<Option<Kept>>,
    open_metrics: Mutex<Option<Kept>>,
}

/// A page, and what it was made of.
#[derive(Debug)]
struct Kept {
    views: Vec<Arc<View>>,
    changes: Vec<Option<u64>>,
    at: Monotonic,
    plain: Bytes,
    /// Made when first asked for.
    deflated: Option<Vec<Bytes>>,
}

impl Together {
    /// The page as it is now, in pieces; what the operating system tells as it was within the last
    /// second. Takes milliseconds: call it off the reactor.
    pub(super) fn page(
        &self,
        served: &[Served],
        process: &Telemetry,
        format: Format,
        gzip: bool,
        now: Monotonic,
    ) -> Vec<Bytes> {
        let mut kept = self.kept(format);
        // Asked before anything is read: a change between the two is seen the next time.
        let changes = changes(served, process);
        let views: Vec<_> = served.iter().map(|served| served.pages.view()).collect();
        let good = kept
            .take()
            .filter(|kept| kept.is_of(&views, &changes) && kept.is_fresh(now));
        let kept = kept.insert(good.unwrap_or_else(|| Kept {
            plain: render(served, &views, process, format),
            views,
            changes,
            at: now,
            deflated: None,
        }));
        if !gzip {
            return vec![kept.plain.clone()];
        }
        let Kept {
            plain, deflated, ..
        } = kept;
        deflated
            .get_or_insert_with(|| member(&[&Part::inner(plain), &Part::last(&[])]))
            .clone()
    }

    fn kept(&self, format: Format) -> MutexGuard<'_, Option<Kept>> {
        let kept = match format {
            Format::Text => &self.text,
            Format::OpenMetrics => &self.open_metrics,
        };
        // A page is put there whole or not at all.
        kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn is_of(&self, views: &[Arc<View>], changes: &[Option<u64>]) -> bool {
        let same = |(then, now): (&Arc<View>, &Arc<View>)| Arc::ptr_eq(then, now);
        self.changes == changes && self.views.iter().zip(views).all(same)
    }

    fn is_fresh(&self, now: Monotonic) -> bool {
        (Millis::ZERO..FRESH_FOR).contains(&(now - self.at))
    }
}

fn changes(served: &[Served], process: &Telemetry) -> Vec<Option<u64>> {
    let all = served.iter().map(|served| &*served.telemetry);
    std::iter::once(process)
        .chain(all)
        .flat_map(|telemetry| telemetry.shelves().iter().map(Shelf::changes))
        .collect()
}

fn render(served: &[Served], views: &[Arc<View>], process: &Telemetry, format: Format) -> Bytes {
    let own = process.gather();
    let gathered: Vec<_> = served
        .iter()
        .map(|served| served.telemetry.gather())
        .collect();
    let shown: Vec<_> = served
        .iter()
        .map(|served| served.pages.per_agent())
        .collect();
    let names: Vec<_> = views
        .iter()
        .zip(&shown)
        .map(|(view, per_agent)| SeriesNames::of(view, per_agent))
        .collect();
    let mut parts = vec![(None, of_registry(&own))];
    for (at, served) in served.iter().enumerate() {
        let mut families = of_view(&views[at], &names[at]);
        families.extend(of_registry(&gathered[at]));
        parts.push((Some(&*served.name), families));
    }
    let mut text = String::new();
    render_together(&parts, format, &mut text);
    text.push_str(format.end());
    text.into()
}
