//! Waiting for a condition, with a bound and a name.

use std::time::Duration;

/// Between two looks: short beside every bound, long beside a look.
const PAUSE: Duration = Duration::from_millis(100);

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
