//! What agents truly did, with arithmetic of its own.

use std::collections::{BTreeMap, BTreeSet};

use genesys_cloud_exporter::model::state::RoutingState;
use genesys_cloud_exporter::model::time::UnixMillis;
use genesys_cloud_exporter::simulator::platform::SimulatedPlatform;

/// Available, not ready, on call, wrap-up.
pub(crate) type Four = [i64; 4];

/// One agent's past: start and state (0 to 3) of each segment, rising.
pub(crate) type Past = Vec<(i64, usize)>;

/// The part of a run in which everything must be known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calm {
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// From a change to the answer that tells it, at most.
    pub(crate) delay: i64,
    /// Entries of an answer.
    pub(crate) history: usize,
}

/// Everyone's past.
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    pub(crate) agents: BTreeMap<String, Past>,
    /// Spans of platform time in which the platform's snapshots said what was not so: what was
    /// claimed of them is no fault of the exporter.
    pub(crate) misled: Vec<(i64, i64)>,
    /// The same for single agents who were said to be on call when asked themselves.
    pub(crate) misled_about: BTreeMap<String, Vec<(i64, i64)>>,
    /// Agents who came or went.
    pub(crate) movers: usize,
    /// After-call work is not told from the call before it everywhere: the two together count.
    pub(crate) undated: bool,
    /// The public platform is spoken to: some starts are observed.
    pub(crate) platform: bool,
    /// Those who went.
    pub(crate) left: BTreeSet<String>,
}

/// Time in state with after-call work counted as the call that it belongs to.
pub(crate) fn undated([available, not_ready, on_call, wrap_up]: Four) -> Four {
    [available, not_ready, on_call + wrap_up, 0]
}

/// The number of a state, by its name on the wire; `None` for a state that nobody knows.
pub(crate) fn numbered(name: &str) -> Option<usize> {
    ["Available", "NotReady", "OnCall", "WrapUp"]
        .iter()
        .position(|known| *known == name)
}

impl Truth {
    /// What the simulator knows up to `until`, by the platform's clock.
    pub(crate) fn of(platform: &mut SimulatedPlatform, until: i64) -> Self {
        let ids: Vec<String> = platform
            .roster()
            .entries()
            .iter()
            .map(|entry| entry.agent.id.to_string())
            .collect();
        let mut truth = Self::default();
        for id in ids {
            let position = platform.roster().find(&id).unwrap();
            let entry = &platform.roster().entries()[position];
            truth.movers += usize::from(entry.joined.is_some() || entry.left.is_some());
            if entry.left.is_some() {
                truth.left.insert(id.clone());
            }
            let from = entry.timeline.known_from();
            let segments = platform.segments(&id, from, UnixMillis(until)).unwrap();
            let number = |state| match state {
                RoutingState::Available => 0,
                RoutingState::NotReady => 1,
                RoutingState::OnCall => 2,
                RoutingState::WrapUp => 3,
                RoutingState::Unknown => unreachable!("nobody is truly unknown"),
            };
            let past = segments.iter().map(|s| (s.entered_at.0, number(s.state)));
            truth.agents.insert(id, past.collect());
        }
        truth
    }

    /// Time in state of an agent within `[from, to)`, and how many segments began in it.
    pub(crate) fn lived(&self, user: &str, from: i64, to: i64) -> Option<(Four, i64)> {
        let past = self.agents.get(user)?;
        let mut four = [0; 4];
        let mut starts = 0;
        let first = past.partition_point(|(at, _)| *at <= from).max(1) - 1;
        for (position, &(at, state)) in past.iter().enumerate().skip(first) {
            if at >= to {
                break;
            }
            let end = past.get(position + 1).map_or(to, |next| next.0.min(to));
            four[state] += (end - at.max(from)).max(0);
            starts += i64::from(at >= from);
        }
        Some((four, starts))
    }

    /// The segment that begins at an instant: its state, and when it ends.
    pub(crate) fn segment(&self, user: &str, at: i64) -> Option<(usize, i64)> {
        let past = self.agents.get(user)?;
        let position = past.binary_search_by_key(&at, |(start, _)| *start).ok()?;
        let end = past.get(position + 1).map_or(i64::MAX, |next| next.0);
        Some((past[position].1, end))
    }

    /// Whether an agent is too quick to be followed around `[from, to)`: as many starts as an
    /// answer has entries lie within what it can take from one answer to the next.
    pub(crate) fn is_hurried(&self, user: &str, (from, to): (i64, i64), calm: &Calm) -> bool {
        let Some(past) = self.agents.get(user) else {
            return false;
        };
        let first = past.partition_point(|(at, _)| *at < from - calm.delay);
        let last = past.partition_point(|(at, _)| *at < to + calm.delay);
        // With one entry it takes two starts: away and back again.
        let run = calm.history.max(2);
        let run_within = |run: &[(i64, usize)]| run[run.len() - 1].0 - run[0].0 <= calm.delay;
        past[first..last].windows(run).any(run_within)
    }

    /// Whether somebody was told untruths that concern this.
    pub(crate) fn is_misled(&self, user: &str, from: i64, to: i64) -> bool {
        let own = self.misled_about.get(user).map_or(&[][..], |spans| spans);
        let touches = |spans: &[(i64, i64)]| spans.iter().any(|s| s.0 < to && from < s.1);
        touches(&self.misled) || touches(own)
    }
}
