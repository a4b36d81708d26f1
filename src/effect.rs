//! What the pipeline may ask of the world, and what the world answers.
//!
//! Plain, comparable data: the driver executes effects in order and makes no decisions; the
//! virtual-time harness executes the very same effects against a simulated platform.

use std::sync::Arc;

use crate::model::event::JournalRecord;
use crate::model::state::{RoutingState, Source};
use crate::model::time::Millis;
use crate::model::view::View;
use crate::upstream::channel::{ConnectUri, SocketId};
use crate::upstream::request::{ApiRequest, RequestId};

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send this request and report the answer under the same id.
    Request {
        /// To be repeated in the answer.
        id: RequestId,
        /// What to ask.
        request: ApiRequest,
        /// Give up after this long, all in all.
        timeout: Millis,
    },
    /// Make this durable in one transaction, then report it as appended.
    Append(Append),
    /// Show this view to readers. Comes only after the append it rests on (persist before publish).
    Publish(Arc<View>),
    /// Connect to this address and report what comes.
    OpenSocket {
        /// To be repeated in every report.
        socket: SocketId,
        /// Where to: a secret.
        uri: ConnectUri,
    },
    /// Ask over this socket whether the other side is there.
    PingSocket(SocketId),
    /// Hang up; reports about it are no longer of interest.
    CloseSocket(SocketId),
    /// Record a measurement.
    Measure(Measurement),
    /// Say something to the operator.
    Notice(Notice),
}

/// Records for the journal and the checkpoint that goes with them: all or nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Append {
    /// Counts up; reported back by whoever executes it.
    pub sequence: u64,
    /// Records in order.
    pub records: Vec<JournalRecord>,
    /// Checkpoint entries to write (`Some`) or delete (`None`), by key.
    pub checkpoint: Vec<(String, Option<String>)>,
}

/// A number for the exporter's own histograms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measurement {
    /// Ingestion minus platform time of a new event.
    IngestionDelay {
        /// Who told it.
        source: Source,
        /// How late.
        delay: Millis,
    },
    /// A segment ended.
    SegmentFinished {
        /// Its state.
        state: RoutingState,
        /// Its length.
        length: Millis,
    },
    /// A phase of the cycle took this long.
    Phase {
        /// Which.
        phase: Phase,
        /// In seconds.
        seconds: f64,
    },
}

/// Phases of a cycle: values of the label `phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Waiting for the bulk answer.
    Fetch,
    /// Reading it.
    Parse,
    /// Judging it against the registry, and finding what changed.
    Validate,
    /// Asking for the routing state of changed agents.
    Join,
    /// Applying evidence, accruing time.
    Reconcile,
    /// Building and swapping the view.
    Publish,
}

impl Phase {
    /// Every phase, in flow order.
    pub const ALL: [Self; 6] = [
        Self::Fetch,
        Self::Parse,
        Self::Validate,
        Self::Join,
        Self::Reconcile,
        Self::Publish,
    ];

    /// The label value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Parse => "parse",
            Self::Validate => "validate",
            Self::Join => "join",
            Self::Reconcile => "reconcile",
            Self::Publish => "publish",
        }
    }
}

/// How urgently an operator must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For someone who looks for a cause.
    Debug,
    /// A fact worth a line.
    Info,
    /// Look at it in working hours.
    Warn,
    /// Act.
    Error,
}

/// A line for the log. Never contains secrets, names or free text of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How urgent.
    pub level: Level,
    /// A closed set of kinds, for rate limiting.
    pub kind: &'static str,
    /// What happened and what to do.
    pub message: String,
}
