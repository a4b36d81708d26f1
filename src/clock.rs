//! The only file that reads the operating system's clocks; everything else takes `now`.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::model::time::{Monotonic, Now, UnixMillis};

/// The real clocks. Monotonic readings count from its creation.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Starts counting.
    #[allow(
        clippy::new_without_default,
        reason = "reading a clock is an effect, not a default"
    )]
    #[allow(clippy::disallowed_methods, reason = "the one place")]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// Reads both clocks. A wall clock before 1970 reads as 1970.
    #[allow(clippy::disallowed_methods, reason = "the one place")]
    pub fn now(&self) -> Now {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            mono: Monotonic(i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)),
            wall: UnixMillis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)),
        }
    }

    /// Seconds since it was created, as finely as the system tells; for measuring only.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// The tokio instant at which the monotonic clock reads `at`; now, if that has passed.
    pub fn instant(&self, at: Monotonic) -> tokio::time::Instant {
        let offset = std::time::Duration::from_millis(u64::try_from(at.0).unwrap_or(0));
        tokio::time::Instant::from_std(self.started + offset.min(FAR_FUTURE))
    }
}

/// Deadlines are cut to a century so that adding them to an instant cannot overflow.
const FAR_FUTURE: std::time::Duration = std::time::Duration::from_secs(100 * 365 * 86_400);
