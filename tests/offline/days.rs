//! Days of a large organisation: a thousand agents, 24 hours, at the default budget of 300
//! requests a minute.

use std::ops::Range;

use crate::harness::swarm::{draw_day, draw_days};
use crate::runs::run;
use crate::swarms::fresh;

const AGENTS: u32 = 1_000;

fn a_day(seed: u64) {
    let run = run(&draw_day(seed, AGENTS));
    run.complaints.assert_none(&run.says);
    assert!(run.tally.rows > 50_000, "{}", run.says);
    assert!(run.tally.changing > 10_000, "{}", run.says);
}

/// A small team, so that a month of it takes no longer than a day of a large organisation.
const TEAM: u32 = 8;
const DAYS: i64 = 31;

/// Nothing piles up: what a restart would begin from is no more at the end of the month than it was
/// in its first week, give or take what a fault of one day leaves behind.
#[test]
fn a_month_with_a_swarm_of_faults_every_day() {
    let run = run(&draw_days(1, TEAM, DAYS));
    run.complaints.assert_none(&run.says);
    assert!(run.tally.rows > 20_000, "{}", run.says);
    assert!(run.tally.changing > 10_000, "{}", run.says);
    let most = |days: Range<i64>| run.kept.range(days).map(|(_, bytes)| *bytes).max().unwrap();
    let (first, last) = (most(0..7), most(DAYS - 7..DAYS));
    eprintln!("kept at most {first} bytes in the first week, {last} in the last");
    assert!(last * 10 <= first * 13, "{:?}", run.kept);
}

#[test]
fn a_day_with_a_swarm_of_faults() {
    a_day(1);
}

#[test]
fn a_day_that_nobody_has_seen() {
    a_day(fresh());
}
