//! Days of a large organisation: a thousand agents, 24 hours, at the default budget of 300
//! requests a minute.

use crate::harness::swarm::draw_day;
use crate::runs::run;
use crate::swarms::fresh;

const AGENTS: u32 = 1_000;

fn a_day(seed: u64) {
    let run = run(&draw_day(seed, AGENTS));
    run.complaints.assert_none(&run.says);
    assert!(run.tally.rows > 50_000, "{}", run.says);
    assert!(run.tally.changing > 10_000, "{}", run.says);
}

#[test]
fn a_day_with_a_swarm_of_faults() {
    a_day(1);
}

#[test]
fn a_day_that_nobody_has_seen() {
    a_day(fresh());
}
