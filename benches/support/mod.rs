//! Two things measured side by side in one run, so that a busy machine slows both.

use std::time::Duration;

/// Rounds of each; the median of so many is steady to a few per cent on a shared machine.
const ROUNDS: usize = 41;

/// Calls `ours` and `theirs` in turn, each returning what it took, and prints both medians and
/// their ratio.
pub(crate) fn side_by_side(
    what: &str,
    mut ours: impl FnMut() -> Duration,
    mut theirs: impl FnMut() -> Duration,
) {
    let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_ours.push(ours());
        of_theirs.push(theirs());
    }
    let (ours, theirs) = (median(of_ours), median(of_theirs));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("ratio {what}: {ratio:.2} ({ours:.2?} to {theirs:.2?}, medians of {ROUNDS})");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
