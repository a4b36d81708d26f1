//! Swarms of faults: each seed leaves most kinds out, so that no kind hides another.

use std::ops::Range;

use genesys_cloud_exporter::model::time::Millis;
use genesys_cloud_exporter::simulator::org::OrgSpec;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::options::{DAY, HOUR, Keeping, MINUTE, ORIGIN, Options, Upset};

/// Everyone must be joined again, and all be well, this long after the last fault: the longest
/// pause of the login and of the breaker, and as much again for what piled up.
pub(crate) const RECOVERY: i64 = 20 * MINUTE;

/// Part of the fault kinds that a seed draws, in percent.
const DRAWN: u32 = 22;

/// Faults of the platform, and whether what its snapshots say is then untrue.
const PLATFORM: [(&str, bool); 31] = [
    ("partial=0", false),
    ("partial=50", false),
    ("partial=89", false),
    ("partial=91", false),
    ("stale-cache", true),
    ("divergence=20", true),
    ("stuck-on-call=2", true),
    ("stuck-in-cache=2", true),
    ("duplicates", false),
    ("out-of-order", false),
    ("malformed=5", false),
    ("unknown-state=10", false),
    ("no-history", false),
    ("registry-shrink=80", false),
    ("registry-shrink=40", false),
    ("clock-skew=+90s", false),
    ("clock-skew=-40s", false),
    ("http-500=60", false),
    ("http-502:statuses", false),
    ("http-503:routing-state=50", false),
    ("http-504:users", false),
    ("throttle=7s", false),
    ("throttle:routing-state=30s", false),
    ("unauthorised", false),
    ("forbidden:members", false),
    ("login-refused", false),
    ("html:statuses", false),
    ("empty:users", false),
    ("huge-body:routing-state=2", false),
    ("slow=4s", false),
    ("cut-body", false),
];

/// A run of so many agents: `faulty` with a swarm of faults, then calm.
pub(crate) fn draw(seed: u64, agents: u32, faulty: i64) -> Options {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let org = OrgSpec {
        tempo: *[1.0, 1.0, 4.0, 12.0].choose(&mut random).unwrap(),
        min_state: Millis(*[250, 1_000, 8_000].choose(&mut random).unwrap()),
        volatile_share: *[0.0, 0.02, 0.1].choose(&mut random).unwrap(),
        ..OrgSpec::new(agents, (agents / 10).max(2), seed)
    };
    let window = *["1m", "5m"].choose(&mut random).unwrap();
    let mut options = Options {
        origin: ORIGIN + Millis(random.random_range(0..24) * HOUR),
        faulty,
        calm: RECOVERY + 30 * MINUTE,
        history: *[1, 3, 3, 10].choose(&mut random).unwrap(),
        statuses_page: *[None, None, Some(agents.div_ceil(3))]
            .choose(&mut random)
            .unwrap(),
        token_lifetime: *[10 * MINUTE, 24 * HOUR].choose(&mut random).unwrap(),
        latency: [5..=20, 20..=120, 50..=900]
            .choose(&mut random)
            .unwrap()
            .clone(),
        disk: [1..=5, 1..=5, 20..=2_500]
            .choose(&mut random)
            .unwrap()
            .clone(),
        settings: format!("window: {{ length: {window}, slide: {window} }}"),
        ..Options::calm(org, 0)
    };
    draw_faults(&mut options, 0..faulty, &mut random);
    options
}

/// The same for a day of a large organisation, as it comes: only what goes wrong is drawn.
pub(crate) fn draw_day(seed: u64, agents: u32) -> Options {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let calm = RECOVERY + 30 * MINUTE;
    let mut options = Options {
        faulty: 24 * HOUR - calm,
        ..Options::calm(OrgSpec::new(agents, 20, seed), calm)
    };
    let faulty = options.faulty;
    draw_faults(&mut options, 0..faulty, &mut random);
    options
}

/// So many days in a row, each with a swarm of its own. Every day somebody leaves and somebody is
/// hired, so that the team stays as large as it is.
pub(crate) fn draw_days(seed: u64, agents: u32, days: i64) -> Options {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let calm = RECOVERY + 30 * MINUTE;
    let mut options = Options {
        faulty: days * DAY - calm,
        ..Options::calm(OrgSpec::new(agents, 3, seed), calm)
    };
    for day in 0..days {
        let part = day * DAY..((day + 1) * DAY).min(options.faulty);
        let first = options.upsets.len();
        draw_faults(&mut options, part.clone(), &mut random);
        let moves = |upset: &Upset| matches!(upset, Upset::Join { .. } | Upset::Leave { .. });
        let mut today = options.upsets.split_off(first);
        today.retain(|(_, upset)| !moves(upset));
        for upset in [Upset::Leave { agents: 1 }, Upset::Join { agents: 1 }] {
            today.push((random.random_range(part.clone()), upset));
        }
        today.sort_by_key(|(at, _)| *at);
        options.upsets.extend(today);
    }
    options
}

/// Spans that begin and end within a part of so many milliseconds.
fn span(faulty: i64, longest: i64, random: &mut ChaCha8Rng) -> (i64, i64) {
    let lasts = random.random_range(5_000..longest);
    let start = random.random_range(0..(faulty - lasts).max(1));
    (start, lasts.min(faulty - start))
}

/// Adds a swarm to a part of a run.
fn draw_faults(options: &mut Options, part: Range<i64>, random: &mut ChaCha8Rng) {
    let faulty = part.end - part.start;
    let longest = (faulty / 6).clamp(30_000, 20 * MINUTE);
    let mut plan = Vec::new();
    for (fault, _) in PLATFORM {
        if random.random_ratio(DRAWN, 100) {
            let (start, lasts) = span(faulty, longest, random);
            plan.push(format!("{fault}@{}ms+{lasts}ms", part.start + start));
        }
    }
    if !plan.is_empty() {
        if options.faults != "none" {
            plan.insert(0, std::mem::take(&mut options.faults));
        }
        options.faults = plan.join(",");
    }
    let mut upsets = std::mem::take(&mut options.upsets);
    for kind in 0..10 {
        if !random.random_ratio(DRAWN * 2, 100) {
            continue;
        }
        for _ in 0..random.random_range(1..4) {
            let (start, lasts) = span(faulty, longest, random);
            let upset = match kind {
                0 => Upset::Crash {
                    down: random.random_range(100..90_000),
                },
                1 => Upset::Stop {
                    down: random.random_range(100..90_000),
                },
                2 => Upset::Outage { lasts },
                3 => Upset::Silence { lasts },
                4 => Upset::Disk {
                    lasts: lasts.min(8 * MINUTE),
                },
                5 => Upset::Step {
                    by: random.random_range(-HOUR..HOUR),
                },
                6 => Upset::Sleep { lasts },
                7 => Upset::Join {
                    agents: random.random_range(1..3),
                },
                8 => Upset::Leave { agents: 1 },
                _ => Upset::Revoke,
            };
            upsets.push((part.start + start, upset));
        }
    }
    upsets.sort_by_key(|(at, _)| *at);
    options.upsets = upsets;
}

/// Spans, from the origin on, in which snapshots say what is not so.
pub(crate) fn untruths(options: &Options) -> Vec<(i64, i64)> {
    let lies = |word: &&str| {
        let name = word.split('@').next().unwrap_or_default();
        // An open socket that says nothing says that nothing changes.
        let silent = name == "socket-silent";
        silent
            || PLATFORM
                .iter()
                .any(|(fault, untrue)| *untrue && *fault == name)
    };
    let span = |word: &str| {
        let (start, lasts) = word.split_once('@')?.1.split_once('+')?;
        let millis = |text: &str| text.trim_end_matches("ms").parse::<i64>().ok();
        let start = millis(start)?;
        Some((start, start + millis(lasts)?))
    };
    options
        .faults
        .split(',')
        .filter(lies)
        .filter_map(span)
        .collect()
}

/// The same seed, with the real journal and store.
pub(crate) fn on_disk(options: Options) -> Options {
    Options {
        keeping: Keeping::Sqlite,
        ..options
    }
}
