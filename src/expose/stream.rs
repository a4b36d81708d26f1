//! `/api/v1/stream`: server-sent events for the board. Edge.
//!
//! Each reader gets the whole once, then what has changed since it was last told, at most a few
//! times a second; a reader that is slow gets fewer and larger updates, never a backlog. It ends
//! with the server, and a page whose stream has ended connects again by itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::sync::watch;

use super::api;
use super::board::{Pipeline, Shown};
use super::served::Served;
use super::state::ServerState;

/// How often the current view is looked at: with push a view may be published twenty times a
/// second, and nobody reads a page faster than this.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Looks after which something is said although the view is the same: the state of queue and store
/// is no part of it, and silence tells a page nothing. Five seconds.
const LOOKS_QUIET_MAX: u32 = 20;

/// What a page waits before it connects again, in milliseconds.
const PREAMBLE: &[u8] = b"retry: 1000\n\n";

pub(super) const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

struct Reader {
    state: Arc<ServerState>,
    /// Which of the organisations.
    at: usize,
    shown: Shown,
    closing: watch::Receiver<bool>,
    begun: bool,
}

/// The events about one organisation, by position, for one reader, until the server stops.
pub(super) fn events(
    state: Arc<ServerState>,
    at: usize,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let reader = Reader {
        closing: state.closing.subscribe(),
        state,
        at,
        shown: Shown::default(),
        begun: false,
    };
    stream::unfold(reader, next)
}

async fn next(mut reader: Reader) -> Option<(Bytes, Reader)> {
    if !reader.begun {
        reader.begun = true;
        return Some((Bytes::from_static(PREAMBLE), reader));
    }
    let mut quiet = 0;
    while reader.shown.is_current(&reader.served().pages.view()) && quiet < LOOKS_QUIET_MAX {
        tokio::select! {
            _ = reader.closing.wait_for(|closing| *closing) => return None,
            () = tokio::time::sleep(LOOK_EVERY) => quiet += 1,
        }
    }
    // Ten thousand agents make some megabytes of text the first time: off the reactor.
    tokio::task::spawn_blocking(move || {
        let event = reader.event();
        (event, reader)
    })
    .await
    .ok()
}

impl Reader {
    fn served(&self) -> &Served {
        &self.state.served[self.at]
    }

    fn event(&mut self) -> Bytes {
        let (state, served) = (&self.state, self.served());
        let view = served.pages.view();
        let several = state.served.len() > 1;
        let names = state.served.iter().filter(|_| several);
        let now = state.clock.now();
        let pipeline = Pipeline {
            duty: served.pulse.duty(),
            status: api::status_of(served, &view),
            queue_oldest: served.telemetry.queue_oldest(),
            losses: served.telemetry.losses(),
            silence: served.pulse.silence(now.mono),
            org: served.name.to_string(),
            organisations: names.map(|of| of.name.to_string()).collect(),
        };
        let mut event = b"data: ".to_vec();
        event.extend(self.shown.tell(view, &pipeline, now.wall));
        event.extend(b"\n\n");
        event.into()
    }
}
