//! `simulate history` without its file: the same seed gives the same bytes, times rise, and the
//! figures agree with each other and with the day that the script tells.

#![allow(
    clippy::float_cmp,
    reason = "samples that are compared are whole numbers"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use genesys_cloud_exporter::history::{HistoryOptions, Script, Written, record};
use genesys_cloud_exporter::model::time::{Millis, UnixMillis};
use genesys_cloud_exporter::simulator::org::OrgSpec;

const STEP: i64 = 30;
const SCRAPES: u32 = 120;
const AGENTS: u32 = 60;

/// A working Tuesday's noon.
const END: UnixMillis = UnixMillis(1_715_688_000_000); // 2024-05-14T12:00:00Z

fn options() -> HistoryOptions {
    HistoryOptions {
        org: OrgSpec::new(AGENTS, 4, 7),
        script: Script::day(Millis::from_secs(STEP * i64::from(SCRAPES))),
        end: END,
        step: Millis::from_secs(STEP),
        scrapes: SCRAPES,
        per_agent: true,
        job: "genesys-cloud".to_owned(),
        instance: "127.0.0.1:10095".to_owned(),
    }
}

fn made(options: &HistoryOptions) -> (Vec<u8>, Written) {
    let scratch = tempfile::tempdir().unwrap();
    let mut told = Vec::new();
    let recording = record(options, scratch.path(), &mut |progress| {
        told.push(progress.done);
        ControlFlow::Continue(())
    });
    let recording = recording.unwrap();
    assert!(told.iter().copied().eq(1..=options.scrapes), "{told:?}");
    let mut bytes = Vec::new();
    let written = recording.write(options, &mut bytes).unwrap();
    assert_eq!(written.bytes, bytes.len() as u64);
    (bytes, written)
}

/// Values by instant, by series as written.
type History = BTreeMap<String, BTreeMap<i64, f64>>;

/// Reads the file, and holds it to what OpenMetrics says of samples with instants.
fn read(text: &str) -> History {
    let mut history = History::new();
    let mut families = BTreeSet::new();
    let (mut family, mut group, mut groups) = (String::new(), String::new(), BTreeSet::new());
    let (mut at_last, mut ended) = (i64::MIN, false);
    for line in text.lines() {
        assert!(!ended, "something follows the end: {line}");
        if let Some(named) = line.strip_prefix("# HELP ") {
            named.split(' ').next().unwrap().clone_into(&mut family);
            assert!(families.insert(family.clone()), "{family} comes twice");
            continue;
        }
        if line.starts_with('#') {
            ended = line == "# EOF";
            continue;
        }
        let (series, rest) = line.rsplit_once("} ").unwrap();
        let (value, at) = rest.split_once(' ').unwrap();
        let at: i64 = at.parse().unwrap();
        assert!(series.starts_with(&family), "{series} is not of {family}");
        // All lines of a histogram's sample are of one group.
        let (name, labels) = series.split_once('{').unwrap();
        let ending = name.strip_prefix(&*family).unwrap();
        let histogram = ["_bucket", "_sum", "_count"].contains(&ending);
        let own = labels.split(",le=").next().unwrap();
        let grouped = format!("{family}{{{own}");
        if grouped == group {
            let rises = if histogram {
                at >= at_last
            } else {
                at > at_last
            };
            assert!(rises, "{line}");
        } else {
            assert!(groups.insert(grouped.clone()), "{grouped} comes twice");
            group = grouped;
        }
        at_last = at;
        let before = history.entry(format!("{series}}}")).or_default();
        assert_eq!(before.insert(at, value.parse().unwrap()), None, "{line}");
    }
    assert!(ended, "it is cut off");
    history
}

/// The sum over all series of a metric that have these labels, by instant.
fn sum(history: &History, name: &str, having: &[&str]) -> BTreeMap<i64, f64> {
    let mut sums = BTreeMap::new();
    let ours = history.iter().filter(|(series, _)| {
        series.starts_with(&format!("{name}{{"))
            && having.iter().all(|label| series.contains(label))
    });
    for (_, values) in ours {
        for (at, value) in values {
            *sums.entry(*at).or_insert(0.0) += value;
        }
    }
    assert!(!sums.is_empty(), "{name} {having:?} is not there");
    sums
}

fn most(values: &BTreeMap<i64, f64>) -> f64 {
    values.values().copied().fold(f64::MIN, f64::max)
}

fn last(values: &BTreeMap<i64, f64>) -> f64 {
    *values.values().next_back().unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let short = HistoryOptions {
        scrapes: 20,
        script: Script::day(Millis::from_secs(STEP * 20)),
        ..options()
    };
    let (one, _) = made(&short);
    assert!(made(&short).0 == one, "a seed decides everything");
    let other = HistoryOptions {
        org: OrgSpec::new(AGENTS, 4, 8),
        ..short
    };
    assert!(made(&other).0 != one);
}

#[test]
fn figures_agree_with_each_other_and_with_what_happened() {
    let (bytes, written) = made(&options());
    let text = String::from_utf8(bytes).unwrap();
    let history = read(&text);
    let samples: usize = history.values().map(BTreeMap::len).sum();
    assert_eq!(samples as u64, written.samples);
    let at = |scrape: i64| END.0 / 1_000 - (i64::from(SCRAPES) - 1 - scrape) * STEP;
    let up = sum(&history, "up", &["job=\"genesys-cloud\""]);
    assert!(up.keys().copied().eq((0..i64::from(SCRAPES)).map(at)));

    // Nobody is lost, whatever goes wrong.
    let held = sum(&history, "genesyscloud_volatile_agents", &[]);
    for (at, agents) in sum(&history, "genesyscloud_agents", &[]) {
        assert_eq!(agents + held[&at], f64::from(AGENTS), "at {at}");
    }
    // Counters never fall, and agent-seconds grow with time and agents.
    for (series, values) in &history {
        let counter = series.split('{').next().unwrap().ends_with("_total");
        let values: Vec<f64> = values.values().copied().collect();
        assert!(!counter || values.is_sorted(), "{series} falls");
    }
    let time = sum(&history, "genesyscloud_state_time_seconds_total", &[]);
    let passed = last(&time) - time[&at(0)];
    let wanted = f64::from(AGENTS) * (f64::from(SCRAPES) - 1.0) * STEP as f64;
    assert!(
        (0.9..1.1).contains(&(passed / wanted)),
        "{passed} of {wanted}"
    );
    // What was published was stored, but for what waits; nothing was lost.
    let events = |result: &str| last(&sum(&history, "genesyscloud_events_total", &[result]));
    let stored = events("stored") + events("duplicate") + events("corrected");
    let waits = last(&sum(&history, "genesyscloud_event_queue_depth_events", &[]));
    let published = events("published");
    assert!(published > 300.0 && stored <= published && published <= stored + waits);
    assert_eq!(
        last(&sum(&history, "genesyscloud_data_loss_total", &[])),
        0.0
    );
    assert!(last(&sum(&history, "genesyscloud_windows_total", &["written"])) > 300.0);

    // The script is seen.
    let seen = |name: &str, having: &[&str]| most(&sum(&history, name, having));
    assert_eq!(seen("genesyscloud_breaker_state", &["\"open\""]), 1.0);
    assert!(seen("genesyscloud_divergence_ratio", &[]) > 0.05);
    assert!(seen("genesyscloud_snapshots_total", &["\"coverage\""]) > 0.0);
    assert!(seen("genesyscloud_api_throttled_total", &[]) > 0.0);
    assert!(seen("genesyscloud_records_total", &["\"invalid\""]) > 0.0);
    assert!(seen("genesyscloud_event_queue_depth_events", &[]) > 0.0);
    let accepted = sum(
        &history,
        "genesyscloud_snapshot_accepted_timestamp_seconds",
        &[],
    );
    let age = accepted.iter().map(|(at, accepted)| *at as f64 - accepted);
    let oldest = age.fold(0.0, f64::max);
    assert!(
        (400.0..1_200.0).contains(&oldest),
        "an outage of ten minutes: {oldest}"
    );
    let breaker = sum(&history, "genesyscloud_breaker_state", &["\"closed\""]);
    assert_eq!(last(&breaker), 1.0, "it has recovered");
}
