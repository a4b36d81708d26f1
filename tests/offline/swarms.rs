//! Swarms: many short runs of few agents, each with faults of its own; and that a seed is all
//! there is to a run.

use std::env::var_os;
use std::fs;

use genesys_cloud_exporter::clock::SystemClock;
use genesys_cloud_exporter::model::window::WindowRow;

use crate::harness::observe::Recording;
use crate::harness::options::{MINUTE, Options};
use crate::harness::swarm::{draw, on_disk};
use crate::harness::world::World;
use crate::runs::run;

const AGENTS: u32 = 40;
const FAULTY: i64 = 30 * MINUTE;

/// Seeds of every run of the tests, and as many that nobody has seen before.
const FIXED: std::ops::Range<u64> = 1..41;
const FRESH: u64 = 20;

fn given(name: &str) -> Option<u64> {
    var_os(name).map(|text| text.to_str().unwrap().parse().unwrap())
}

/// A seed that no run had before.
pub(crate) fn fresh() -> u64 {
    SystemClock::new().now().wall.0 as u64
}

fn all_clean(seeds: impl Iterator<Item = u64>) {
    let mut exact = 0;
    for seed in seeds {
        let run = run(&draw(seed, AGENTS, FAULTY));
        run.complaints.assert_none(&run.says);
        exact += run.tally.changing;
    }
    assert!(exact > 2_000, "only {exact} rows with changes were exact");
}

#[test]
fn whatever_goes_wrong_comes_right_and_nothing_is_invented() {
    all_clean(FIXED);
}

#[test]
fn the_same_with_seeds_that_nobody_has_seen() {
    let first = fresh();
    all_clean(first..first + FRESH);
}

/// Repeats one run: `SEED`, with `AGENTS` and `MINUTES` if they were others, and everything that
/// went in and out into the file `LOG`.
#[test]
fn a_seed() {
    let seed = given("SEED").unwrap_or(1);
    let agents = given("AGENTS").map_or(AGENTS, |agents| agents as u32);
    let faulty = given("MINUTES").map_or(FAULTY, |minutes| minutes as i64 * MINUTE);
    let options = draw(seed, agents, faulty);
    if let Some(file) = var_os("LOG") {
        let (log, _) = logged(&options);
        fs::write(file, log).unwrap();
    }
    let run = run(&options);
    run.complaints.assert_none(&run.says);
}

/// Everything that went in and out, byte for byte, and the rows.
fn logged(options: &Options) -> (String, Vec<WindowRow>) {
    let mut nobody = Recording::default();
    let mut world = World::new(options, &mut nobody);
    world.log = Some(String::new());
    let rows = world.run();
    (world.log.take().unwrap(), rows)
}

#[test]
fn a_seed_reproduces_a_run_byte_for_byte() {
    for seed in [3, 7] {
        let options = draw(seed, 12, 10 * MINUTE);
        let (log, rows) = logged(&options);
        let (again, rows_again) = logged(&options);
        assert!(log.len() > 1_000_000, "the log is whole: {}", log.len());
        let differs = log.lines().zip(again.lines()).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert!(log == again && rows == rows_again, "seed {seed}");
    }
    let other = logged(&draw(4, 12, 10 * MINUTE));
    assert_ne!(
        other,
        logged(&draw(3, 12, 10 * MINUTE)),
        "another seed, another run"
    );
}

/// Revisions tell how a row came about; figures do not depend on it.
fn figures(rows: Vec<WindowRow>) -> Vec<WindowRow> {
    let mut rows: Vec<_> = rows
        .into_iter()
        .map(|mut row| {
            row.quality.revision = 0;
            row
        })
        .collect();
    rows.sort_by_key(|row| (row.window_start, row.user_id.clone()));
    rows
}

/// The real journal and store, batch by batch and over crashes, give the rows that the window
/// function gives of all facts at once.
#[test]
fn the_store_keeps_the_rows_of_the_window_function() {
    for seed in [6, 13, 24] {
        let options = draw(seed, 12, 15 * MINUTE);
        let in_memory = run(&options);
        let on_disk = run(&on_disk(options));
        on_disk.complaints.assert_none(&on_disk.says);
        assert_eq!(
            in_memory.digest, on_disk.digest,
            "one run, kept in two ways"
        );
        assert!(!on_disk.rows.is_empty());
        assert_eq!(
            figures(on_disk.rows),
            figures(in_memory.rows),
            "seed {seed}"
        );
    }
}
