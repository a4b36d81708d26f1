//! How long to wait after a failure: doubling, with equal jitter from a hash, so that channels
//! that fell together do not rise together and a seed reproduces it.

use crate::model::time::Millis;
use crate::poller::jitter;

/// Shortest and longest wait after what passes by itself.
const PASSING: (Millis, Millis) = (Millis::from_secs(1), Millis::from_secs(60));
/// The wait after a refusal that nobody lifts by asking again: a permission, a limit. Roles take
/// minutes to change (platform-api.md §8).
const REFUSED: Millis = Millis::from_secs(300);
/// Announced maintenance closes the socket in about a minute: all are moved well before that, not
/// at the same instant.
const MAINTENANCE_MAX: Millis = Millis::from_secs(5);
/// A socket that falls is opened again after at most this: the platform keeps its channel.
const FIRST_CONNECT_MAX: Millis = Millis(250);

/// Enough doublings to reach the longest wait from the shortest.
const DOUBLINGS_MAX: u32 = 6;

const _: () = assert!(PASSING.0.0 << DOUBLINGS_MAX >= PASSING.1.0);
const _: () = assert!(PASSING.0.0 < PASSING.1.0 && PASSING.1.0 < REFUSED.0);

/// The wait after the `failures`th failure in a row (from 1).
pub(super) fn passing(failures: u32, seed: u64) -> Millis {
    let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
    let full = (PASSING.0.0 << doublings).min(PASSING.1.0);
    Millis(full / 2 + jitter::up_to(seed ^ u64::from(failures), full / 2))
}

/// The wait after a refusal.
pub(super) fn refused(seed: u64) -> Millis {
    Millis(REFUSED.0 / 2 + jitter::up_to(seed, REFUSED.0 / 2))
}

/// The wait before moving from a socket that will be closed.
pub(super) fn maintenance(seed: u64) -> Millis {
    Millis(jitter::up_to(seed, MAINTENANCE_MAX.0))
}

/// The wait before opening again a socket that has worked.
pub(super) fn reconnect(seed: u64) -> Millis {
    Millis(jitter::up_to(seed, FIRST_CONNECT_MAX.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_minute_and_are_never_less_than_half() {
        for seed in 0..200 {
            for (failures, full) in [
                (1, 1_000),
                (2, 2_000),
                (4, 8_000),
                (7, 60_000),
                (99, 60_000),
            ] {
                let wait = passing(failures, seed).0;
                assert!((full / 2..=full).contains(&wait), "{failures}: {wait}");
            }
            assert!((150_000..=300_000).contains(&refused(seed).0));
            assert!((0..=5_000).contains(&maintenance(seed).0));
            assert!((0..=250).contains(&reconnect(seed).0));
        }
        assert_ne!(passing(4, 1), passing(4, 2));
    }
}
