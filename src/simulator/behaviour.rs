//! What each agent does, millisecond by millisecond: a timeline that is written forward, lazily,
//! and never rewritten, but for a future that [`Timeline::turn`] changes before anybody was told.
//!
//! Each agent has a generator of its own, and the generator is only ever asked for the next
//! step. So a timeline is the same whether time advances in one jump or in many, and whatever
//! else is asked in between. It knows nothing of requests, caches or faults.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};

use super::org::{Agent, DAY_MS, Desktop, OrgSpec};
use crate::model::state::RoutingState;
#[cfg(test)]
use crate::model::time::Millis;
use crate::model::time::UnixMillis;

/// Segments kept per agent, so that a simulation that runs for weeks does not grow: at tempo 1
/// about two months, at tempo 30 about two days. Older ones are forgotten, and truth says so.
pub const SEGMENTS_KEPT: usize = 20_000;

/// Wrap-up codes in use.
pub const WRAP_UP_CODES: [&str; 8] = [
    "resolved",
    "callback-promised",
    "escalated",
    "no-answer",
    "sale",
    "cancelled",
    "wrong-queue",
    "follow-up",
];

/// Organisation time of day at which a simulation with a tempo other than 1 begins: two shifts
/// are at work then. (At tempo 1 the time of day is the real one, in UTC.)
const OPENING_MS: i64 = 10 * 3_600_000;
/// How much past is made up before the origin: a day and a half, so that every agent has been
/// through a shift.
const PAST_MS: i64 = DAY_MS * 3 / 2;
/// But never less than this, so that a platform whose clock is behind by a day still has a past.
/// At a high tempo everybody is offline at first: a long wait costs nothing.
const PAST_MIN_MS: i64 = super::faults::CLOCK_SKEW_MAX.0 + 3_600_000;

// Medians in ms at tempo 1, and the sigma of the log-normal. Orders of magnitude of voice work:
// calls of some minutes, of which one in fifty passes a quarter of an hour.
const WAIT: (f64, f64) = (40_000.0, 0.9);
const TALK: (f64, f64) = (200_000.0, 0.75);
const WRAP: (f64, f64) = (35_000.0, 0.6);
const LOGIN: (f64, f64) = (25_000.0, 0.5);
const BREAK: (f64, f64) = (900_000.0, 0.2);
const MEAL: (f64, f64) = (2_100_000.0, 0.15);
const MEETING: (f64, f64) = (1_800_000.0, 0.3);
const TRAINING: (f64, f64) = (3_000_000.0, 0.2);
const ERRAND: (f64, f64) = (300_000.0, 0.6);
const PHANTOM: (f64, f64) = (240_000.0, 0.5);
/// How long the desktop lags behind routing.
const LAG: (f64, f64) = (3_500.0, 0.7);
/// No state is longer than this many medians: the tail of the log-normal has no end.
const MEDIANS_MAX: f64 = 25.0;
/// Length of a state in a burst of flapping; not divided by the tempo, because what is volatile
/// is defined in absolute time.
const FLAP_MS: std::ops::Range<i64> = 1_500..7_000;

/// The start of a routing segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutingStart {
    /// Platform time.
    pub entered_at: UnixMillis,
    /// The state entered; never `Unknown`, and never the state before.
    pub state: RoutingState,
    /// The wrap-up code, in `WrapUp` only.
    pub wrapup_code: Option<&'static str>,
}

/// A change of UI presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceStart {
    /// Platform time.
    pub at: UnixMillis,
    /// The presence from then on, in the wire spelling.
    pub presence: &'static str,
}

/// One agent's past, known up to [`Timeline::known_until`].
#[derive(Debug, Clone)]
pub struct Timeline {
    routing: Vec<RoutingStart>,
    presence: Vec<PresenceStart>,
    generator: Generator,
}

/// Writes the next step, whatever that is.
#[derive(Debug, Clone)]
struct Generator {
    rng: ChaCha8Rng,
    tempo: f64,
    min_state: i64,
    desktop: Desktop,
    volatile: bool,
    /// Start of shift number 0 and distance between shifts, in platform time.
    first_shift: f64,
    day: f64,
    shift_length: i64,
    next_shift: u32,
    /// End of the running shift; `None`: off duty.
    shift_end: Option<i64>,
    meal_due: bool,
    /// Everything before this instant is written.
    cursor: i64,
}

impl Timeline {
    /// The timeline of an agent in a simulation that begins at `origin`. Its initial state began
    /// before that.
    pub fn new(spec: &OrgSpec, origin: UnixMillis, agent: &Agent) -> Self {
        let mut rng = spec.stream(2 * u64::from(agent.index) + 1);
        let day = DAY_MS as f64 / spec.tempo;
        let time_of_day = if (spec.tempo - 1.0).abs() < f64::EPSILON {
            origin.0.rem_euclid(DAY_MS)
        } else {
            OPENING_MS
        };
        let midnight = origin.0 as f64 - time_of_day as f64 / spec.tempo;
        let past = ((PAST_MS as f64 / spec.tempo) as i64).max(PAST_MIN_MS);
        // A little spread, so that no two agents share their first instant.
        let begin = origin.0 - past - rng.random_range(1..60_000);
        let first_today = midnight + agent.shift.start.0 as f64 / spec.tempo;
        let generator = Generator {
            rng,
            tempo: spec.tempo,
            min_state: spec.min_state.0.max(1),
            desktop: agent.desktop,
            volatile: agent.volatile,
            // Two days back lies before `begin`; shifts that are over by then are skipped.
            first_shift: first_today - 2.0 * day,
            day,
            shift_length: (agent.shift.length.0 as f64 / spec.tempo) as i64,
            next_shift: 0,
            shift_end: None,
            meal_due: false,
            cursor: begin,
        };
        let mut timeline = Self {
            routing: vec![RoutingStart {
                entered_at: UnixMillis(begin),
                state: RoutingState::NotReady,
                wrapup_code: None,
            }],
            presence: vec![PresenceStart {
                at: UnixMillis(begin),
                presence: "Offline",
            }],
            generator,
        };
        timeline.extend_to(origin);
        timeline
    }

    /// Writes on until everything up to and including `at` is known.
    pub fn extend_to(&mut self, at: UnixMillis) {
        while self.generator.cursor <= at.0 {
            let before = self.generator.cursor;
            self.step();
            debug_assert!(self.generator.cursor > before, "every step takes time");
        }
        forget(&mut self.routing);
        forget(&mut self.presence);
    }

    /// Everything before this instant is written and final.
    pub fn known_until(&self) -> UnixMillis {
        UnixMillis(self.generator.cursor)
    }

    /// Since when the timeline is remembered.
    pub fn known_from(&self) -> UnixMillis {
        self.routing[0].entered_at.max(self.presence[0].at)
    }

    /// Starts of routing segments in order, neighbours of different states.
    pub fn routing(&self) -> &[RoutingStart] {
        &self.routing
    }

    /// Changes of presence in order, neighbours different.
    pub fn presence(&self) -> &[PresenceStart] {
        &self.presence
    }

    /// The segment that an instant lies in; for an instant before all memory, the first.
    pub fn routing_at(&mut self, at: UnixMillis) -> RoutingStart {
        let position = self.position_at(at);
        self.routing[position]
    }

    /// The last `limit` segments that began at or before an instant, newest first.
    pub fn history_at(&mut self, at: UnixMillis, limit: usize) -> Vec<RoutingStart> {
        let position = self.position_at(at);
        self.routing[..=position]
            .iter()
            .rev()
            .take(limit)
            .copied()
            .collect()
    }

    /// The presence in force at an instant; for an instant before all memory, the first.
    pub fn presence_at(&mut self, at: UnixMillis) -> PresenceStart {
        self.extend_to(at);
        let after = self.presence.partition_point(|start| start.at <= at);
        self.presence[after.saturating_sub(1)]
    }

    fn position_at(&mut self, at: UnixMillis) -> usize {
        self.extend_to(at);
        self.routing
            .partition_point(|start| start.entered_at <= at)
            .saturating_sub(1)
    }

    /// At `at`, or as soon after it as the least state allows, an agent who works goes home, and one
    /// who does not begins a shift: the routing state changes. What was written of the time from
    /// then on is forgotten, so nobody may have been told of it.
    pub fn turn(&mut self, at: UnixMillis) {
        let current = self.routing_at(at);
        let at = at.0.max(current.entered_at.0 + self.generator.min_state);
        self.routing.retain(|start| start.entered_at.0 < at);
        self.presence.retain(|start| start.at.0 < at);
        self.generator.cursor = at;
        if current.state == RoutingState::NotReady {
            self.generator.begin_shift(at);
            let wait = self.generator.dwell(WAIT);
            let working = self.working();
            self.enter(RoutingState::Available, wait, None, Some(working));
        } else {
            self.log_out();
        }
    }

    /// One step: a wait, a shift change, an interaction or a pause.
    fn step(&mut self) {
        let Some(end) = self.generator.shift_end else {
            self.log_in();
            return;
        };
        if self.generator.cursor >= end {
            self.log_out();
            return;
        }
        let midway = end - self.generator.shift_length / 2;
        if self.generator.meal_due && self.generator.cursor >= midway {
            self.generator.meal_due = false;
            self.pause("Meal", MEAL);
            return;
        }
        match self.generator.rng.random_range(0..1_000) {
            0..30 => self.pause("Break", BREAK),
            30..40 => self.pause("Meeting", MEETING),
            40..44 => self.pause("Training", TRAINING),
            44..64 => self.pause("Busy", ERRAND),
            64..84 => self.pause("Away", ERRAND),
            84..120 => self.phantom(),
            120..220 if self.generator.volatile => self.flap(),
            _ => self.interaction(),
        }
    }

    /// Off duty until the next shift, then a desktop that shows Available before routing does.
    fn log_in(&mut self) {
        let earliest = self.generator.cursor + self.generator.min_state;
        let start = self.generator.next_shift_start(earliest);
        self.generator.cursor = start;
        self.generator.begin_shift(start);
        let login = self.generator.dwell(LOGIN);
        self.enter(RoutingState::NotReady, login, None, Some("Available"));
    }

    fn log_out(&mut self) {
        self.generator.shift_end = None;
        let least = self.generator.min_state;
        self.enter(RoutingState::NotReady, least, None, Some("Offline"));
    }

    /// Not ready, and the desktop says so.
    fn pause(&mut self, presence: &'static str, how_long: (f64, f64)) {
        let length = self.generator.dwell(how_long);
        self.enter(RoutingState::NotReady, length, None, Some(presence));
    }

    /// Not ready (a missed interaction, say) while the desktop says Available.
    fn phantom(&mut self) {
        let length = self.generator.dwell(PHANTOM);
        self.enter(RoutingState::NotReady, length, None, Some("Available"));
    }

    /// A wait, an interaction, and mostly after-call work.
    fn interaction(&mut self) {
        let working = self.working();
        let last = self.routing.last().expect("a timeline begins with a state");
        let at_once = last.state == RoutingState::WrapUp && self.generator.rng.random_bool(0.1);
        if !at_once {
            let wait = self.generator.dwell(WAIT);
            self.enter(RoutingState::Available, wait, None, Some(working));
        }
        let talk = self.generator.dwell(TALK);
        let on_call = match self.generator.desktop {
            Desktop::BusyOnCall => "Busy",
            Desktop::Available | Desktop::OnQueue => working,
        };
        self.enter(RoutingState::OnCall, talk, None, Some(on_call));
        if self.generator.rng.random_bool(0.93) {
            let wrap = self.generator.dwell(WRAP);
            let code = WRAP_UP_CODES[self.generator.rng.random_range(0..WRAP_UP_CODES.len())];
            self.enter(RoutingState::WrapUp, wrap, Some(code), Some(working));
        }
    }

    /// The presence of one who waits for interactions.
    fn working(&self) -> &'static str {
        match self.generator.desktop {
            Desktop::OnQueue => "On Queue",
            Desktop::Available | Desktop::BusyOnCall => "Available",
        }
    }

    /// A burst of short states, as a bad headset or an impatient agent makes them.
    fn flap(&mut self) {
        let other = if self.generator.rng.random_bool(0.5) {
            RoutingState::NotReady
        } else {
            RoutingState::OnCall
        };
        for _ in 0..self.generator.rng.random_range(3..7) {
            for state in [RoutingState::Available, other] {
                let length = self.generator.rng.random_range(FLAP_MS);
                self.enter(state, length.max(self.generator.min_state), None, None);
            }
        }
    }

    /// Enters a state at the cursor and moves the cursor to its end. The same state as before is
    /// one longer segment. The presence follows inside the segment, so that it never overtakes.
    fn enter(
        &mut self,
        state: RoutingState,
        length: i64,
        wrapup_code: Option<&'static str>,
        presence: Option<&'static str>,
    ) {
        let at = self.generator.cursor;
        if self.routing.last().is_none_or(|last| last.state != state) {
            self.routing.push(RoutingStart {
                entered_at: UnixMillis(at),
                state,
                wrapup_code,
            });
        }
        if let Some(presence) = presence {
            // Drawn even if it is not needed: the generator's order stays simple.
            let lag = self.generator.dwell_unbounded(LAG).min(length / 2);
            if self
                .presence
                .last()
                .is_none_or(|last| last.presence != presence)
            {
                self.presence.push(PresenceStart {
                    at: UnixMillis(at + lag),
                    presence,
                });
            }
        }
        self.generator.cursor = at + length;
    }
}

impl Generator {
    /// A log-normal span at the organisation's tempo, no shorter than the least state.
    fn dwell(&mut self, how_long: (f64, f64)) -> i64 {
        self.dwell_unbounded(how_long).max(self.min_state)
    }

    fn dwell_unbounded(&mut self, (median, sigma): (f64, f64)) -> i64 {
        let span = LogNormal::new(median.ln(), sigma)
            .expect("sigma is finite")
            .sample(&mut self.rng);
        (span.min(median * MEDIANS_MAX) / self.tempo).round() as i64
    }

    fn begin_shift(&mut self, at: i64) {
        self.shift_end = Some(at + self.shift_length);
        self.meal_due = true;
    }

    /// The start of the next scheduled shift that has not ended yet; late for it is late.
    fn next_shift_start(&mut self, earliest: i64) -> i64 {
        loop {
            let start = (self.first_shift + f64::from(self.next_shift) * self.day) as i64;
            self.next_shift += 1;
            if start + self.shift_length > earliest {
                return start.max(earliest);
            }
        }
    }
}

/// Drops the oldest half of what is too much, in bulk, so that it costs nothing on average.
fn forget<T>(starts: &mut Vec<T>) {
    if starts.len() > 2 * SEGMENTS_KEPT {
        starts.drain(..starts.len() - SEGMENTS_KEPT);
    }
}

/// The origin that tests of the simulator share: a working Tuesday morning.
#[cfg(test)]
pub(super) const TEST_ORIGIN: UnixMillis = UnixMillis(1_715_677_200_000); // 2024-05-14T09:00:00Z

/// Hours as a span, for tests.
#[cfg(test)]
pub(super) const fn hours(count: i64) -> Millis {
    Millis::from_secs(count * 3_600)
}

#[cfg(test)]
mod tests;
