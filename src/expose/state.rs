//! What the server serves from, and its limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

use super::access::{Access, AccessError};
use super::connection::Connections;
use super::served::{Chosen, Served};
use super::together::Together;
use crate::clock::SystemClock;
use crate::model::time::{Millis, Monotonic, UnixMillis};
use crate::telemetry::Telemetry;

/// Limits of the server; smaller in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all. At the limit the one that has waited longest without a request in
    /// progress is closed; if every one is busy, the new one is.
    pub connections: usize,
    /// Connections of one address other than loopback, so that one client cannot take them all;
    /// same rule.
    pub connections_per_address: usize,
    /// A connection is closed for another only after it has waited this long: whoever has just
    /// connected gets time to say what it wants, meanwhile new ones queue in the kernel.
    pub eviction_grace: Duration,
    /// Scrapes at once (node_exporter's default); more get 503 and `Retry-After`.
    pub scrapes: usize,
    /// API requests at once: each may hold a whole answer in memory or a database connection.
    pub api_requests: usize,
    /// Boards at once that are kept up to date: each keeps a connection for as long as it is open.
    pub streams: usize,
    /// A TLS handshake must be complete this long after the connection.
    pub handshake: Duration,
    /// A request head must be complete this long after the connection or its first byte.
    pub head_wait: Duration,
    /// An idle connection is closed after this; above the usual scrape interval of 15 s, so
    /// that a scraper need not connect each time.
    pub idle: Duration,
    /// A reader that takes no byte for this long is cut off.
    pub write_stall: Duration,
    /// After the stop signal, requests in progress have this long.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            connections_per_address: 32,
            eviction_grace: Duration::from_millis(100),
            scrapes: 40,
            api_requests: 8,
            streams: 64,
            handshake: Duration::from_secs(5),
            head_wait: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            write_stall: Duration::from_secs(10),
            drain: Duration::from_secs(2),
        }
    }
}

impl Front {
    /// Open to everybody who reaches it, in clear text.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn open(telemetry_path: &str) -> Result<Self, AccessError> {
        let (access, _) = Access::open(None, &[], UnixMillis(0))?;
        Ok(Self {
            telemetry_path: telemetry_path.to_owned(),
            access: Arc::new(access),
            reload: None,
        })
    }
}

/// What an instance is there for at the moment; readiness means something else for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Asks the platform: ready once a snapshot was accepted.
    Polls,
    /// Waits until the one that polls is gone.
    StandsBy,
    /// Keeps rows of what others publish, and has not reached queue and store yet.
    WillStore,
    /// And has.
    Stores,
}

impl Duty {
    const ALL: [Self; 4] = [Self::Polls, Self::StandsBy, Self::WillStore, Self::Stores];

    /// As the API says it.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Polls => "polls",
            Self::StandsBy => "stands_by",
            Self::WillStore => "will_store",
            Self::Stores => "stores",
        }
    }
}

/// The heartbeat of whoever does the work: tells one that stands still from one that waits; what
/// the work is; and when it has shown something new.
#[derive(Debug)]
pub struct Pulse {
    last: AtomicI64,
    duty: AtomicU8,
    shown: Notify,
}

/// `/-/healthy` fails when the last beat is older than this. The driver beats at least every
/// few seconds; a minute and a half of silence is no pause of any cause but ours.
const PULSE_AGE_MAX: Millis = Millis::from_secs(90);

const NEVER: i64 = i64::MIN;

impl Pulse {
    /// No beat yet; healthy until the first one, because starting may take its time.
    pub const fn new() -> Self {
        Self {
            last: AtomicI64::new(NEVER),
            duty: AtomicU8::new(Duty::Polls as u8),
            shown: Notify::const_new(),
        }
    }

    /// The work is another from now on.
    pub fn take_up(&self, duty: Duty) {
        self.duty.store(duty as u8, Ordering::Relaxed);
    }

    /// What the work is.
    pub fn duty(&self) -> Duty {
        let duty = self.duty.load(Ordering::Relaxed);
        Duty::ALL[usize::from(duty)]
    }

    /// A view has been published.
    pub fn has_shown(&self) {
        self.shown.notify_one();
    }

    /// Waits for a view that has not been waited for yet. For one task.
    pub(super) async fn shows(&self) {
        self.shown.notified().await;
    }

    /// It is alive.
    pub fn beat(&self, now: Monotonic) {
        self.last.store(now.0, Ordering::Relaxed);
    }

    /// How long ago it last was alive, if that is too long.
    pub fn silence(&self, now: Monotonic) -> Option<Millis> {
        let last = self.last.load(Ordering::Relaxed);
        let silence = Millis(now.0.saturating_sub(last));
        (last != NEVER && silence > PULSE_AGE_MAX).then_some(silence)
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

/// Everything that requests are answered from.
pub struct ServerState {
    /// Each organisation; at least one.
    pub(super) served: Vec<Served>,
    /// What is counted about the process.
    pub(super) process: Arc<Telemetry>,
    pub(super) together: Together,
    pub(super) clock: SystemClock,
    pub(super) telemetry_path: String,
    pub(super) limits: Limits,
    pub(super) scrapes: Arc<Semaphore>,
    pub(super) api_requests: Arc<Semaphore>,
    pub(super) streams: Arc<Semaphore>,
    /// Turns true when the server stops: answers without an end must end then.
    pub(super) closing: watch::Sender<bool>,
    pub(super) connections: Arc<Connections>,
    pub(super) access: Arc<Access>,
    pub(super) reload: Option<mpsc::Sender<ReloadAsk>>,
}

/// Asks for a reload; what became of it comes back, in words.
pub type ReloadAsk = oneshot::Sender<Result<String, String>>;

/// What readers meet first.
#[derive(Debug)]
pub struct Front {
    /// Path of the metrics page.
    pub telemetry_path: String,
    /// Who may read.
    pub access: Arc<Access>,
    /// Where `POST /-/reload` goes; `None`: it is forbidden.
    pub reload: Option<mpsc::Sender<ReloadAsk>>,
}

impl ServerState {
    /// Limits hold over all listeners that share this state. `process`: what is counted about the
    /// process; of one organisation, what is counted about that. `clock` must be the one whose
    /// readings pulses get.
    ///
    /// # Panics
    /// If no organisation is served.
    pub fn new(
        served: Vec<Served>,
        process: Arc<Telemetry>,
        clock: SystemClock,
        front: Front,
        limits: Limits,
    ) -> Self {
        assert!(!served.is_empty(), "somebody must be served");
        Self {
            served,
            process,
            together: Together::default(),
            clock,
            telemetry_path: front.telemetry_path,
            limits,
            scrapes: Arc::new(Semaphore::new(limits.scrapes)),
            api_requests: Arc::new(Semaphore::new(limits.api_requests)),
            streams: Arc::new(Semaphore::new(limits.streams)),
            closing: watch::Sender::new(false),
            connections: Arc::new(Connections::new(&limits, clock)),
            access: front.access,
            reload: front.reload,
        }
    }
}

impl ServerState {
    /// The organisations of this name, or all; `None`: there is none.
    pub(super) fn chosen(&self, name: Option<&str>) -> Option<Chosen<'_>> {
        Chosen::of(&self.served, name)
    }

    /// All organisations.
    pub(super) fn all(&self) -> Chosen<'_> {
        Chosen::of(&self.served, None).expect("nobody is left out")
    }
}

impl std::fmt::Debug for ServerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerState")
            .field("telemetry_path", &self.telemetry_path)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_the_last_beat_only() {
        let pulse = Pulse::new();
        assert_eq!(pulse.silence(Monotonic(10_000_000)), None);
        pulse.beat(Monotonic(1_000));
        assert_eq!(pulse.silence(Monotonic(91_000)), None);
        assert_eq!(pulse.silence(Monotonic(91_001)), Some(Millis(90_001)));
        pulse.beat(Monotonic(91_000));
        assert_eq!(pulse.silence(Monotonic(91_001)), None);
    }

    #[test]
    fn a_duty_is_what_was_taken_up_last() {
        let pulse = Pulse::new();
        assert_eq!(pulse.duty(), Duty::Polls);
        for duty in Duty::ALL {
            pulse.take_up(duty);
            assert_eq!(pulse.duty(), duty);
        }
    }
}
