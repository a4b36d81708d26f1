//! What is recorded of a run: what went out, what came back, and what was shown and kept.
//!
//! The auditor sees this and the simulator's truth, and nothing else.

use std::sync::Arc;

use bytes::Bytes;
use genesys_cloud_exporter::model::view::View;

/// An answer as it came off the wire.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    /// `None`: there was no answer.
    pub(crate) status: Option<u16>,
    /// `Retry-After` as it stood there.
    pub(crate) retry_after: Option<String>,
    /// The body.
    pub(crate) body: Bytes,
}

/// One thing that happened, at a true instant.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    /// True time, in milliseconds since the Unix epoch.
    pub(crate) at: i64,
    /// What the platform's own clock showed then.
    pub(crate) platform: i64,
    /// What.
    pub(crate) what: Observation,
}

#[derive(Debug, Clone)]
pub(crate) enum Observation {
    /// An exporter started.
    Started,
    /// It stopped, or crashed.
    Ended,
    /// The machine begins to sleep: its monotonic clock stands still.
    Slept,
    /// A request went out.
    Sent { id: u64, path: String },
    /// It was answered, or failed. `reached`: the platform's clock when the request reached it.
    Answered {
        id: u64,
        path: String,
        reached: i64,
        raw: Raw,
    },
    /// A view was built: what had arrived by now is in it, what comes later is not.
    Built,
    /// The view built last was shown.
    Published(Arc<View>),
    /// A line for the operator.
    Said { kind: &'static str, message: String },
    /// Windows of an agent that end at or before `until` are final.
    Closed { user: String, until: i64 },
}

/// Takes what happens, in order.
pub(crate) trait Observer {
    fn observe(&mut self, observed: &Observed);
}

/// Keeps all of it, to be replayed.
#[derive(Debug, Default)]
pub(crate) struct Recording(pub(crate) Vec<Observed>);

impl Observer for Recording {
    fn observe(&mut self, observed: &Observed) {
        self.0.push(observed.clone());
    }
}
