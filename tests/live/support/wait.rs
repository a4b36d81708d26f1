//! Waiting for a condition, with a bound and a name.

use std::time::Duration;

/// Between two looks: short beside every bound, long beside a look.
const PAUSE: Duration = Duration::from_millis(100);

/// The same where a tenth of a second is a part of what is measured.
const SHORT_PAUSE: Duration = Duration::from_millis(20);

/// Looks again and again for `span`, a fiftieth of a second apart.
pub(crate) async fn look_for(span: Duration, mut look: impl AsyncFnMut()) {
    let looking = async {
        loop {
            look().await;
            tokio::time::sleep(SHORT_PAUSE).await;
        }
    };
    // It never ends by itself.
    let _ = tokio::time::timeout(span, looking).await;
}

/// Looks until `condition` gives a value; panics with `what` after `bound`.
pub(crate) async fn wait_for<T>(
    what: &str,
    bound: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let looking = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(bound, looking)
        .await
        .unwrap_or_else(|_| panic!("waited {bound:?} in vain: {what}"))
}
