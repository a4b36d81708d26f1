//! Swarms: many short runs of few agents, each with faults of its own.

use std::env::var_os;

use crate::harness::options::MINUTE;
use crate::harness::swarm::draw;
use crate::runs::run;

fn given(name: &str) -> Option<u64> {
    var_os(name).map(|text| text.to_str().unwrap().parse().unwrap())
}

/// The run of `SEED`, or one short run.
#[test]
fn a_seed() {
    let seed = given("SEED").unwrap_or(1);
    let agents = given("AGENTS").unwrap_or(40) as u32;
    let minutes = given("MINUTES").unwrap_or(30) as i64;
    let run = run(&draw(seed, agents, minutes * MINUTE));
    run.complaints.assert_none(&run.says);
}
