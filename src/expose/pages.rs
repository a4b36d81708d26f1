//! The current view and its page: swapped whole when a view is published, rendered at most once
//! per view and format, compressed at most once, shared by every scrape; made ahead where readers
//! are expected.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::asked::Asked;
use super::families::of_view;
use super::gzip::{Part, member};
use super::names::SeriesNames;
use super::own::OwnText;
use super::page::{Format, render};
use crate::config::PerAgent;
use crate::model::time::Monotonic;
use crate::model::view::View;
use crate::telemetry::Shelf;

/// What readers read. One for a process; the driver publishes, everybody else loads.
#[derive(Debug)]
pub struct Pages {
    per_agent: ArcSwap<PerAgent>,
    current: ArcSwap<Published>,
    own_text: OwnText,
    own_open_metrics: OwnText,
    asked: Asked,
}

/// A view and what was made of it so far.
#[derive(Debug)]
pub(super) struct Published {
    view: Arc<View>,
    per_agent: Arc<PerAgent>,
    text: Cached,
    open_metrics: Cached,
}

/// The view's part of a page in one format, made when first asked for.
#[derive(Debug, Default)]
struct Cached {
    plain: OnceLock<Bytes>,
    deflated: OnceLock<Part>,
}

impl Pages {
    /// Starts with an empty view: the pipeline's own figures and no agents.
    pub fn new(per_agent: PerAgent) -> Self {
        let per_agent = Arc::new(per_agent);
        let empty = Published::new(Arc::default(), Arc::clone(&per_agent));
        Self {
            per_agent: ArcSwap::new(per_agent),
            current: ArcSwap::from_pointee(empty),
            own_text: OwnText::default(),
            own_open_metrics: OwnText::default(),
            asked: Asked::default(),
        }
    }

    /// Shows this view to readers from now on. Cheap: the page is made by whoever first asks.
    pub fn publish(&self, view: Arc<View>) {
        let published = Published::new(view, self.per_agent.load_full());
        self.current.store(Arc::new(published));
    }

    /// Shows agents in this way with the next view.
    pub fn set_per_agent(&self, per_agent: PerAgent) {
        self.per_agent.store(Arc::new(per_agent));
    }

    /// The current view.
    pub fn view(&self) -> Arc<View> {
        self.current.load().view.clone()
    }

    /// How single agents are shown.
    pub(super) fn per_agent(&self) -> Arc<PerAgent> {
        self.per_agent.load_full()
    }

    /// Whether all that takes long of a page has been done for an earlier reader: what is left
    /// takes some ten microseconds.
    pub(super) fn at_hand(&self, own: &[Shelf], format: Format, gzip: bool) -> bool {
        let current = self.current.load();
        let view = current.cached(format);
        if gzip {
            view.deflated.get().is_some() && self.own(format).is_deflated(own)
        } else {
            view.plain.get().is_some()
        }
    }

    /// The page of the current view followed by the exporter's own families, in pieces.
    /// Takes milliseconds on a large view, unless it is `at_hand`: call it off the reactor.
    pub fn page(&self, own: &[Shelf], format: Format, gzip: bool, now: Monotonic) -> Vec<Bytes> {
        self.asked.note(format, gzip, now);
        let current = self.current.load_full();
        let fresh = self.own(format).fresh(own, format, now);
        if gzip {
            let deflated = self.own(format).deflated(own, format);
            member(&[current.deflated(format), &deflated, &Part::last(&fresh)])
        } else {
            let kept = self.own(format).plain(own, format);
            vec![current.plain(format).clone(), kept, fresh]
        }
    }

    /// Makes the page of the current view in the forms in which readers have asked for it lately.
    /// Takes as long as a scrape: call it off the reactor.
    pub fn make_ahead(&self, own: &[Shelf], now: Monotonic) {
        let current = self.current.load_full();
        for (format, gzip) in self.asked.lately(now) {
            if gzip {
                current.deflated(format);
                self.own(format).deflated(own, format);
            } else {
                current.plain(format);
                self.own(format).plain(own, format);
            }
        }
    }

    fn own(&self, format: Format) -> &OwnText {
        match format {
            Format::Text => &self.own_text,
            Format::OpenMetrics => &self.own_open_metrics,
        }
    }
}

impl Published {
    fn new(view: Arc<View>, per_agent: Arc<PerAgent>) -> Self {
        Self {
            view,
            per_agent,
            text: Cached::default(),
            open_metrics: Cached::default(),
        }
    }

    fn plain(&self, format: Format) -> &Bytes {
        let plain = &self.cached(format).plain;
        plain.get_or_init(|| self.render(format))
    }

    fn deflated(&self, format: Format) -> &Part {
        let deflated = &self.cached(format).deflated;
        deflated.get_or_init(|| Part::inner(self.plain(format)))
    }

    fn cached(&self, format: Format) -> &Cached {
        match format {
            Format::Text => &self.text,
            Format::OpenMetrics => &self.open_metrics,
        }
    }

    fn render(&self, format: Format) -> Bytes {
        let names = SeriesNames::of(&self.view, &self.per_agent);
        let mut out = String::new();
        render(&of_view(&self.view, &names), format, &mut out);
        out.into()
    }
}
