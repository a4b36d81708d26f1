//! One run from its options to its verdict.

use std::collections::BTreeMap;
use std::sync::Arc;

use genesys_cloud_exporter::model::time::UnixMillis;
use genesys_cloud_exporter::model::view::{BreakerState, View};
use genesys_cloud_exporter::model::window::WindowRow;
use genesys_cloud_exporter::simulator::notifications::NotificationStatistics;

use crate::audit::rows::{Row, Tally};
use crate::audit::truth::{Calm, Truth};
use crate::audit::{Auditor, Complaints, Terms};
use crate::harness::options::{MINUTE, Options, Speech};
use crate::harness::swarm::{RECOVERY, untruths};
use crate::harness::world::World;

/// Snapshots lie for as long as a fault lasts, and the cache and the next poll after it.
const UNTRUTH_MARGIN: i64 = 45_000;

/// Windows that end so long before a run does are closed by then.
const CLOSED_WITHIN: i64 = 13 * MINUTE;

/// A change shows in the cache's next refresh, and that in the next poll.
const SEEN_WITHIN: i64 = 35_000;

/// What the auditor is told of the options.
pub(crate) fn terms(options: &Options) -> Terms {
    let pipeline = options.config().pipeline;
    Terms {
        requests_per_minute: pipeline.requests_per_minute as usize,
        max_in_flight: pipeline.max_in_flight as usize,
        breaker_failures: pipeline.breaker_failures as usize,
        stale_after: pipeline.stale_after.0,
        window: pipeline.window.length.0,
        platform: options.speech != Speech::Status,
    }
}

/// A run and what was found.
pub(crate) struct Run {
    pub(crate) tally: Tally,
    pub(crate) digest: u64,
    pub(crate) rows: Vec<WindowRow>,
    /// Bytes that the exporter would begin again from, by day: the most of each.
    pub(crate) kept: BTreeMap<i64, usize>,
    /// What was shown last.
    pub(crate) last: Arc<View>,
    /// Times that the breaker opened, and questions about what one agent works on.
    pub(crate) opened: usize,
    pub(crate) after_call: usize,
    /// The platform's account of its sockets and events.
    pub(crate) notifications: NotificationStatistics,
    pub(crate) complaints: Complaints,
    pub(crate) says: String,
}

/// The truth of a run, as the simulator knows it at the end.
pub(crate) fn truth(world: &mut World<'_>, options: &Options) -> Truth {
    let until = options.end() + 60_000;
    let mut truth = Truth::of(&mut world.platform, until);
    truth.platform = options.speech != Speech::Status;
    truth.undated = truth.platform && !options.dated;
    if options.faults.contains("registry-shrink") {
        // Whoever the registry forgets for a while has come and gone too.
        truth.movers = truth.agents.len();
    }
    // By the platform's clock, whatever that showed.
    let skews: Vec<i64> = [0, 90_000, -40_000].into();
    for (from, to) in untruths(options) {
        let (from, to) = (options.origin.0 + from, options.origin.0 + to);
        let low = from + skews.iter().min().unwrap() - UNTRUTH_MARGIN;
        let high = to + skews.iter().max().unwrap() + UNTRUTH_MARGIN;
        truth.misled.push((low, high));
    }
    truth
}

/// Windows that must be whole.
pub(crate) fn calm(options: &Options) -> Calm {
    // Joins have at least this part of the budget.
    let joins_a_minute = i64::from(options.requests_per_minute) / 2;
    let turn = i64::from(options.org.agents) * MINUTE / joins_a_minute;
    Calm {
        from: options.calm_from() + RECOVERY,
        to: options.end() - CLOSED_WITHIN,
        delay: SEEN_WITHIN + 4 * options.latency.end() + options.disk.end() + turn,
        history: options.history,
    }
}

/// Runs, audits, and says what it saw.
pub(crate) fn run(options: &Options) -> Run {
    eprintln!("{options}");
    let mut auditor = Auditor::new(terms(options));
    let mut world = World::new(options, &mut auditor);
    let rows = world.run();
    let mut truth = truth(&mut world, options);
    let digest = world.digest;
    let kept = std::mem::take(&mut world.checkpoint.days);
    let notifications = world.platform.notification_statistics();
    drop(world);
    let plain: Vec<Row> = rows.iter().map(Row::of).collect();
    let tally = auditor.finish(&plain, &mut truth, &calm(options));
    let last = Arc::clone(auditor.views.last().expect("something was shown"));
    recovered(&last, options, &mut auditor.complaints);
    let says = format!(
        "seed {}: digest {digest:016x}; {} requests (at most {} a minute), {} throttled, breaker \
         opened {}; {} views, {} moves, {} snapshots refused; {tally:?}",
        options.seed,
        auditor.requests.sent,
        auditor.requests.most_in_a_minute,
        auditor.requests.throttled,
        auditor.requests.opened,
        auditor.views.published,
        auditor.views.moves,
        auditor.views.refused_snapshots,
    );
    eprintln!("{says}");
    Run {
        tally,
        digest,
        rows,
        kept,
        last,
        opened: auditor.requests.opened,
        after_call: auditor.requests.after_call,
        notifications,
        complaints: auditor.complaints,
        says,
    }
}

/// Until everybody has been asked in turn: upkeep has at least a quarter of the budget, and
/// nobody is asked more often than once a minute.
fn turn(options: &Options) -> i64 {
    let agents = i64::from(options.org.agents);
    2 * MINUTE + agents * MINUTE * 4 / i64::from(options.requests_per_minute)
}

/// Once faults are over, everything comes right.
fn recovered(view: &View, options: &Options, complaints: &mut Complaints) {
    let health = &view.health;
    let joined = view
        .agents
        .iter()
        .filter(|a| a.entered_at.is_some())
        .count() as u64;
    let age = UnixMillis(options.end()) - view.built_at;
    let oldest = health
        .oldest_confirmation
        .map_or(i64::MAX, |at| options.end() - at.0);
    let well = health.up
        && health.breaker == BreakerState::Closed
        && health.authenticated == Some(true)
        && health.agents_stale == 0
        && health.agents_missing == 0
        && joined == health.registry_agents
        && oldest <= turn(options);
    if !well {
        complaints.add("not recovered", || {
            format!("{joined} joined, view {} ms old: {health:?}", age.0)
        });
    }
}
