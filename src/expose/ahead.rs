//! Pages made ahead: once a view is shown, its page is made in the forms in which readers have asked
//! for the page lately, so that a scrape finds it made. Each poll brings another view, and Prometheus
//! scrapes about as often as we poll: without this, nearly every scrape would be the first of a view.
//! Edge.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::state::ServerState;

/// While joins are answered, one view follows the other: one that has stayed for so long is worth a
/// page.
const STAYED: Duration = Duration::from_millis(200);

/// Makes pages ahead until `stop` turns true. Of several organisations there is one page, which
/// changes whenever one of them does: that is made by whoever asks.
pub async fn make_ahead(state: Arc<ServerState>, mut stop: watch::Receiver<bool>) {
    let Some(only) = state.all().only().cloned() else {
        return;
    };
    loop {
        tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => return,
            () = only.pulse.shows() => {}
        }
        while timeout(STAYED, only.pulse.shows()).await.is_ok() {}
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
    use crate::expose::{Format, Front, Limits, Pages, Pulse, Served};
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
        let (pages, pulse) = (Arc::clone(&served.pages), Arc::clone(&served.pulse));
        let front = Front::open("/metrics").unwrap();
        let clock = SystemClock::new();
        let own = Arc::clone(&telemetry);
        let state = ServerState::new(vec![served], telemetry, clock, front, Limits::default());
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(make_ahead(Arc::new(state), stopped));

        pages.page(own.shelves(), Format::Text, true, clock.now().mono);
        pages.publish(Arc::default());
        pulse.has_shown();
        let made = async {
            while !pages.at_hand(own.shelves(), Format::Text, true) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, made).await.unwrap();
        assert!(
            !pages.at_hand(own.shelves(), Format::OpenMetrics, true),
            "nobody has asked for that"
        );
        stop.send(true).unwrap();
        timeout(PATIENCE, task).await.unwrap().unwrap();
    }
}
