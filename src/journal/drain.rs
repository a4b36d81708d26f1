//! How whoever moves records ends: what is under way may end, for a while.

use tokio::sync::watch;

use crate::clock::SystemClock;
use crate::model::time::{Millis, Monotonic};

/// Longest drain after the stop signal; what is left then waits in the journal for the next start.
/// With the last append before it (2 s) the exporter ends within five seconds, however much waits.
pub(crate) const DRAIN_MAX: Millis = Millis::from_secs(2);

/// Whether `stop` is true or its sender is gone.
pub(crate) fn is_stopped(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

/// Ends when `stop` is true or its sender is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Ends when we have drained long enough: `until`, if we were told to stop already.
pub(crate) async fn overdue(
    stop: &mut watch::Receiver<bool>,
    clock: SystemClock,
    until: Option<Monotonic>,
) {
    match until {
        Some(until) => tokio::time::sleep_until(clock.instant(until)).await,
        None => {
            stopped(stop).await;
            tokio::time::sleep(DRAIN_MAX.to_duration()).await;
        }
    }
}
