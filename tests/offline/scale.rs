//! Large organisations within the usual budget, in virtual time: how long it takes until everybody
//! is known, and that the platform never has to say no.

use genesys_cloud_exporter::model::push::ChannelState;
use genesys_cloud_exporter::simulator::org::OrgSpec;

use crate::harness::observe::{Observation, Observed, Observer};
use crate::harness::options::{MINUTE, Options};
use crate::harness::world::World;

const BUDGET: u32 = 300;

/// Counts requests, and looks for the first view in which all is as it should be.
struct Watch {
    origin: i64,
    sent: Vec<i64>,
    throttled: usize,
    wanted: fn(&genesys_cloud_exporter::model::view::View) -> bool,
    reached: Option<i64>,
}

impl Watch {
    fn new(
        options: &Options,
        wanted: fn(&genesys_cloud_exporter::model::view::View) -> bool,
    ) -> Self {
        Self {
            origin: options.origin.0,
            sent: Vec::new(),
            throttled: 0,
            wanted,
            reached: None,
        }
    }

    fn most_in_a_minute(&self) -> usize {
        let ends = self.sent.iter().enumerate();
        ends.map(|(last, at)| {
            let first = self.sent.partition_point(|sent| *sent <= at - MINUTE);
            last + 1 - first
        })
        .max()
        .unwrap_or(0)
    }
}

impl Observer for Watch {
    fn observe(&mut self, observed: &Observed) {
        match &observed.what {
            Observation::Sent { .. } => self.sent.push(observed.at),
            Observation::Answered { raw, .. } => {
                self.throttled += usize::from(raw.status == Some(429));
            }
            Observation::Published(view) if self.reached.is_none() && (self.wanted)(view) => {
                self.reached = Some(observed.at - self.origin);
            }
            _ => {}
        }
    }
}

fn watched(
    options: &Options,
    wanted: fn(&genesys_cloud_exporter::model::view::View) -> bool,
) -> (Watch, u64) {
    let mut watch = Watch::new(options, wanted);
    let mut world = World::new(options, &mut watch);
    world.run();
    let over = world.platform.statistics().over_limit;
    drop(world);
    let seconds = watch.reached.map(|at| at as f64 / 1_000.0);
    eprintln!(
        "{} agents: reached after {seconds:?} s; {} requests, at most {} a minute",
        options.org.agents,
        watch.sent.len(),
        watch.most_in_a_minute()
    );
    (watch, over)
}

#[test]
fn ten_thousand_agents_have_twenty_channels_and_never_a_429() {
    let options = Options::platform(OrgSpec::new(10_000, 40, 5), true, MINUTE / 2);
    assert_eq!(options.requests_per_minute, BUDGET);
    let (watch, over) = watched(&options, |view| {
        let push = view.health.push.as_ref();
        push.is_some_and(|push| {
            push.agents == 10_000 && push.channels.get(&ChannelState::Live) == Some(&20)
        })
    });
    assert_eq!((watch.throttled, over), (0, 0));
    assert!(watch.most_in_a_minute() <= BUDGET as usize);
    assert!(
        watch.reached.is_some(),
        "twenty channels are live within half a minute"
    );
}

#[test]
fn first_joins_take_nearly_the_whole_budget() {
    let options = Options::calm(OrgSpec::new(1_500, 10, 6), 10 * MINUTE);
    let (watch, over) = watched(&options, |view| {
        let joined = view.agents.iter().filter(|a| a.entered_at.is_some());
        view.agents.len() == 1_500 && joined.count() == 1_500
    });
    assert_eq!((watch.throttled, over), (0, 0));
    assert!(watch.most_in_a_minute() <= BUDGET as usize);
    let reached = watch.reached.expect("everybody is joined");
    let a_minute = 1_500.0 / (reached as f64 / MINUTE as f64);
    assert!(a_minute > 160.0, "{a_minute} a minute, changes not counted");
}
