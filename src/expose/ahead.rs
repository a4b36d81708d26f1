//! Pages made ahead: once a view is shown, its page is made in the forms in which readers have asked
//! for the page lately, so that a scrape finds it made. Each poll brings another view, and Prometheus
//! scrapes about as often as we poll: without this, nearly every scrape would be the first of a view.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::page::Format;
use super::state::ServerState;
use crate::model::time::{Millis, Monotonic};

/// Whoever scrapes comes back within this; the form in which nobody has asked for so long is left to
/// the reader who does.
const LATELY: Millis = Millis::from_secs(120);

/// While joins are answered, one view follows the other: only the one that stays is worth it.
const STAYS: Duration = Duration::from_millis(200);

/// Forms of the page: format, and whether it is compressed.
const FORMS: [(Format, bool); 4] = [
    (Format::Text, false),
    (Format::Text, true),
    (Format::OpenMetrics, false),
    (Format::OpenMetrics, true),
];

/// When readers last asked for the page, by form.
#[derive(Debug)]
pub(super) struct Asked([AtomicI64; FORMS.len()]);

impl Default for Asked {
    fn default() -> Self {
        // Before any reading of the clock, yet so that the span to one can be computed.
        Self(std::array::from_fn(|_| AtomicI64::new(i64::MIN / 4)))
    }
}

impl Asked {
    pub(super) fn note(&self, format: Format, gzip: bool, now: Monotonic) {
        for (form, at) in FORMS.iter().zip(&self.0) {
            if *form == (format, gzip) {
                at.store(now.0, Ordering::Relaxed);
            }
        }
    }

    /// The forms in which readers have asked for it lately.
    pub(super) fn lately(&self, now: Monotonic) -> impl Iterator<Item = (Format, bool)> {
        let is_recent = move |at: &AtomicI64| now - Monotonic(at.load(Ordering::Relaxed)) <= LATELY;
        let forms = FORMS.into_iter().zip(&self.0);
        forms.filter_map(move |(form, at)| is_recent(at).then_some(form))
    }
}

/// Makes pages ahead until `stop` turns true. Of several organisations there is one page, which
/// changes whenever one of them does: that is made by whoever asks.
pub async fn make_ahead(state: Arc<ServerState>, mut stop: watch::Receiver<bool>) {
    let Some(only) = state.all().only().cloned() else {
        return;
    };
    loop {
        tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => return,
            () = only.pages.published() => {}
        }
        while tokio::time::timeout(STAYS, only.pages.published())
            .await
            .is_ok()
        {}
        let (served, now) = (only.clone(), state.clock.now().mono);
        let make = move || served.pages.make_ahead(served.telemetry.shelves(), now);
        if tokio::task::spawn_blocking(make).await.is_err() {
            // Scrapes will say so: they make it themselves.
            tracing::error!("a page could not be made ahead");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::config::PerAgent;
    use crate::expose::{Front, Limits, Pages, Pulse, Served};
    use crate::store::{ReadError, WindowPage, WindowQuery, WindowReader};
    use crate::telemetry::{BuildInfo, Telemetry};

    struct NoWindows;

    impl WindowReader for NoWindows {
        fn windows(&self, _: &WindowQuery) -> Result<WindowPage, ReadError> {
            Ok(WindowPage::default())
        }
    }

    /// Longer than anything takes here, however busy the machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn the_page_of_a_new_view_is_made_before_anybody_asks_again() {
        let telemetry = Arc::new(Telemetry::new(BuildInfo::current()));
        let served = Served {
            name: "acme".into(),
            pages: Arc::new(Pages::new(PerAgent::Off)),
            telemetry: Arc::clone(&telemetry),
            windows: Arc::new(NoWindows),
            pulse: Arc::new(Pulse::new()),
        };
        let pages = Arc::clone(&served.pages);
        let front = Front::open("/metrics").unwrap();
        let clock = SystemClock::new();
        let own = Arc::clone(&telemetry);
        let state = ServerState::new(vec![served], telemetry, clock, front, Limits::default());
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(make_ahead(Arc::new(state), stopped));

        pages.page(own.shelves(), Format::Text, true, clock.now().mono);
        pages.publish(Arc::default());
        let made = async {
            while !pages.at_hand(own.shelves(), Format::Text, true) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, made).await.unwrap();
        assert!(
            !pages.at_hand(own.shelves(), Format::OpenMetrics, true),
            "nobody has asked for that"
        );
        stop.send(true).unwrap();
        tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
    }

    #[test]
    fn a_form_is_made_ahead_while_readers_ask_for_it() {
        let asked = Asked::default();
        let forms = |at| asked.lately(Monotonic(at)).collect::<Vec<_>>();
        assert_eq!(forms(0), []);
        asked.note(Format::Text, true, Monotonic(5));
        asked.note(Format::OpenMetrics, true, Monotonic(100_000));
        let both = [(Format::Text, true), (Format::OpenMetrics, true)];
        assert_eq!(forms(120_005), both);
        assert_eq!(forms(120_006), both[1..]);
    }
}
