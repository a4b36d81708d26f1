//! The current view and its page: swapped whole when a view is published, rendered at most once
//! per view and format, compressed at most once, shared by every scrape.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use prometheus::proto::MetricFamily;

use super::families::{of_registry, of_view};
use super::gzip::{Part, member};
use super::names::SeriesNames;
use super::page::{Format, render};
use crate::config::PerAgent;
use crate::model::view::View;

/// Room for the exporter's own families: they take some 60 KB, so that the text never moves.
const TAIL_BYTES: usize = 96 * 1024;

/// What readers read. One for a process; the driver publishes, everybody else loads.
#[derive(Debug)]
pub struct Pages {
    per_agent: ArcSwap<PerAgent>,
    current: ArcSwap<Published>,
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

    /// Whether all that takes long of a page of the current view has been done for an earlier
    /// reader: what is left takes some ten microseconds. Compressing the rest always takes long.
    pub(super) fn at_hand(&self, format: Format, gzip: bool) -> bool {
        !gzip && self.current.load().cached(format).plain.get().is_some()
    }

    /// The page of the current view followed by the exporter's own families, in pieces.
    /// Takes milliseconds on a large view, unless it is `at_hand`: call it off the reactor.
    pub fn page(&self, own: &[MetricFamily], format: Format, gzip: bool) -> Vec<Bytes> {
        self.current.load_full().page(own, format, gzip)
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

    fn page(&self, own: &[MetricFamily], format: Format, gzip: bool) -> Vec<Bytes> {
        let mut tail = String::with_capacity(TAIL_BYTES);
        render(&of_registry(own), format, &mut tail);
        tail.push_str(format.end());
        let cached = self.cached(format);
        let plain = cached.plain.get_or_init(|| self.render(format));
        if !gzip {
            return vec![plain.clone(), tail.into()];
        }
        let deflated = cached.deflated.get_or_init(|| Part::inner(plain));
        member(deflated, &Part::last(tail.as_bytes()))
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
