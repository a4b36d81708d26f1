//! The event loop of who polls: executes the pipeline's effects as the driver does, against the
//! simulated platform and in virtual time; appends go into the real journal.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use genesys_cloud_exporter::effect::{Append, Effect};
use genesys_cloud_exporter::history::agenda::Agenda;
use genesys_cloud_exporter::history::wire::{Arrival, Flight};
use genesys_cloud_exporter::journal::JournalHandle;
use genesys_cloud_exporter::model::time::{Millis, Monotonic, Now, UnixMillis};
use genesys_cloud_exporter::pipeline::Pipeline;
use genesys_cloud_exporter::simulator::org::OrgSpec;
use genesys_cloud_exporter::simulator::platform::{SimulatedPlatform, SimulatorOptions};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;

use super::life::{DEADLINE, MINUTE, ORIGIN};
use crate::support::wait::wait_for;

/// The driver's loop turns at least this often.
const PULSE: Millis = Millis::from_secs(5);

/// One way between exporter and platform, in milliseconds.
const WAY: std::ops::RangeInclusive<i64> = 20..=120;

/// Until an append is durable, in milliseconds.
const DISK: std::ops::RangeInclusive<i64> = 1..=20;

enum Event {
    Reach(Flight),
    Arrive(Box<(Flight, Arrival)>),
    Durable(Append),
}

/// Who polls, from a start on.
pub(super) struct Poller {
    platform: SimulatedPlatform,
    pipeline: Pipeline,
    journal: JournalHandle,
    wake: Arc<Notify>,
    place: PathBuf,
    started: UnixMillis,
    now: UnixMillis,
    token: Option<String>,
    random: ChaCha8Rng,
    agenda: Agenda<Event>,
    records: usize,
}

impl Poller {
    /// The platform is as old as the scenario, whenever the exporter starts.
    pub(super) fn new(
        pipeline: Pipeline,
        journal: JournalHandle,
        wake: Arc<Notify>,
        place: &Path,
        started: UnixMillis,
    ) -> Self {
        let org = OrgSpec {
            tempo: 3.0,
            min_state: Millis::from_secs(2),
            ..OrgSpec::new(40, 5, 83)
        };
        let mut options = SimulatorOptions::new(org, ORIGIN);
        // All that an answer can name: so a minute without answers leaves no hole.
        options.history = 10;
        Self {
            platform: SimulatedPlatform::new(options).unwrap(),
            pipeline,
            journal,
            wake,
            place: place.to_owned(),
            started,
            now: started,
            token: None,
            random: ChaCha8Rng::seed_from_u64(started.0 as u64),
            agenda: Agenda::default(),
            records: 0,
        }
    }

    /// Polls until `end`, and makes durable what is held. Before each minute of `holds` it says
    /// that it is there, and waits to be told to go on.
    pub(super) async fn run(&mut self, end: UnixMillis, holds: &[i64]) {
        for minute in holds {
            self.run_until(ORIGIN + Millis(minute * MINUTE)).await;
            self.hold(*minute).await;
        }
        self.run_until(end).await;
        while self.pipeline.is_appending() {
            self.turn().await;
        }
        let now = self.clocks();
        for effect in self.pipeline.on_stop(now) {
            if let Effect::Append(append) = effect {
                self.append(append).await;
            }
        }
    }

    async fn run_until(&mut self, end: UnixMillis) {
        while self.now < end {
            self.turn().await;
        }
    }

    async fn hold(&self, minute: i64) {
        let there = self.place.join(format!("at-{minute}"));
        let beside = there.with_extension("new");
        std::fs::write(&beside, self.records.to_string()).unwrap();
        std::fs::rename(beside, there).unwrap();
        let go = self.place.join(format!("go-{minute}"));
        wait_for("the test lets go on", DEADLINE, async || {
            go.exists().then_some(())
        })
        .await;
    }

    fn clocks(&self) -> Now {
        Now {
            mono: Monotonic((self.now - self.started).0),
            wall: self.now,
        }
    }

    /// The next thing that happens.
    async fn turn(&mut self) {
        let clocks = self.clocks();
        let deadline = self.pipeline.next_deadline(clocks);
        let due = self.started + (deadline.min(clocks.mono + PULSE) - Monotonic(0));
        let event = self.agenda.next_at();
        self.now = event.map_or(due, |at| at.min(due)).max(self.now);
        let Some(event) = self.agenda.take(self.now) else {
            return self.step(Pipeline::on_due);
        };
        match event {
            Event::Reach(flight) => self.reach(flight),
            Event::Arrive(arrived) => {
                let (flight, arrival) = *arrived;
                self.arrive(&flight, arrival);
            }
            Event::Durable(append) => {
                let sequence = append.sequence;
                self.append(append).await;
                self.step(|pipeline, _| pipeline.on_appended(sequence));
            }
        }
    }

    /// Lets the pipeline take something in, and executes what it asks for.
    fn step(&mut self, input: impl FnOnce(&mut Pipeline, Now) -> Vec<Effect>) {
        let now = self.clocks();
        for effect in input(&mut self.pipeline, now) {
            match effect {
                Effect::Request {
                    id,
                    request,
                    timeout,
                } => {
                    let flight = Flight {
                        id,
                        request,
                        sent_at: now,
                        timeout,
                        token: self.token.clone(),
                    };
                    let reaches = self.now + self.way();
                    self.agenda.put(reaches, Event::Reach(flight));
                }
                Effect::Append(append) => {
                    let takes = Millis(self.random.random_range(DISK));
                    self.agenda.put(self.now + takes, Event::Durable(append));
                }
                Effect::Publish(_) | Effect::Measure(_) | Effect::Notice(_) => {}
                Effect::OpenSocket { .. } | Effect::PingSocket(_) | Effect::CloseSocket(_) => {
                    unreachable!("dialect status has no push")
                }
            }
        }
    }

    fn way(&mut self) -> Millis {
        Millis(self.random.random_range(WAY))
    }

    fn reach(&mut self, flight: Flight) {
        let arrival = flight.reach(&mut self.platform, self.now);
        let arrives = self.now + arrival.takes + self.way();
        self.agenda
            .put(arrives, Event::Arrive(Box::new((flight, arrival))));
    }

    fn arrive(&mut self, flight: &Flight, arrival: Arrival) {
        if let Some(token) = arrival.token {
            self.token = Some(token);
        }
        let answer = flight.answered(arrival.result, self.clocks());
        self.step(|pipeline, now| pipeline.on_answer(answer, now));
    }

    async fn append(&mut self, append: Append) {
        write_clock(&self.place, self.now);
        self.records += append.records.len();
        let report = self.journal.append(Arc::new(append)).await.unwrap();
        assert_eq!(report.dead, 0);
        self.wake.notify_one();
    }
}

/// The machine's clock, which goes on though the process ends.
fn write_clock(place: &Path, now: UnixMillis) {
    let beside = place.join("clock.new");
    std::fs::write(&beside, now.0.to_string()).unwrap();
    std::fs::rename(beside, place.join("clock")).unwrap();
}

/// When a process starts that follows one which ended at the clock's last reading, if there was
/// one; so many seconds after it.
pub(super) fn starts_at(place: &Path, down: i64) -> UnixMillis {
    match std::fs::read_to_string(place.join("clock")) {
        Ok(text) => UnixMillis(text.parse().unwrap()) + Millis::from_secs(down),
        Err(_) => ORIGIN,
    }
}
