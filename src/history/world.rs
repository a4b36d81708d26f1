//! The event loop: executes effects as the driver does, in virtual time, until the end.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::agenda::Agenda;
use super::columns::Recording;
use super::exporter::{Exporter, HistoryError};
use super::machine::Machine;
use super::script::{Script, check_every};
use super::wire::{Arrival, Flight};
use crate::config::{self, Config, Environment};
use crate::effect::{Append, Effect};
use crate::model::time::{Millis, Monotonic, Now, UnixMillis};
use crate::pipeline::Pipeline;
use crate::simulator::org::OrgSpec;
use crate::simulator::platform::{SimulatedPlatform, SimulatorOptions};

/// The exporter starts so long before the first sample: 500 agents are joined within five minutes
/// (README, Scaling), and a window closes after that.
const WARM_UP: Millis = Millis::from_secs(20 * 60);

/// What is older than the retention is deleted this often, as the composition root does.
const PRUNE_EVERY: Millis = Millis::from_secs(3_600);

/// The driver's loop turns at least this often.
const PULSE: Millis = Millis::from_secs(5);

/// What past to make up.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryOptions {
    /// The organisation.
    pub org: OrgSpec,
    /// What happens in it.
    pub script: Script,
    /// The last sample.
    pub end: UnixMillis,
    /// Distance of samples.
    pub step: Millis,
    /// How many.
    pub scrapes: u32,
    /// Whether single agents have series.
    pub per_agent: bool,
    /// The label `job`; plain text without quotes and backslashes.
    pub job: String,
    /// The label `instance`; likewise.
    pub instance: String,
}

impl HistoryOptions {
    /// The instant of a scrape, counted from 0.
    pub fn scraped_at(&self, scrape: u32) -> UnixMillis {
        let left = i64::from(self.scrapes) - 1 - i64::from(scrape);
        self.end - Millis(left * self.step.0)
    }

    /// From the first sample to the last, and a step more: every sample has a step before it.
    pub fn span(&self) -> Millis {
        Millis(i64::from(self.scrapes) * self.step.0)
    }

    /// The configuration, through the same parser as a user's: defaults but for what a span needs.
    fn config(&self) -> Config {
        let per_agent = if self.per_agent { "id" } else { "off" };
        let text = format!(
            "source: {{ name: simulated, dialect: status, client_id: demo, \
             api_url: 'http://127.0.0.1:1', login_url: 'http://127.0.0.1:1' }}\n\
             divergence: {{ interval: {}s }}\nmetrics: {{ per_agent: {per_agent} }}\n",
            check_every(self.span()).0 / 1_000
        );
        let environment =
            Environment::from([("GENESYSCLOUD_CLIENT_SECRET".to_owned(), "demo".to_owned())]);
        match config::parse(&Arc::from("the history"), &text, &environment, &[]) {
            Ok(loaded) => loaded.config,
            Err(error) => unreachable!("a test makes a history: {error}"),
        }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Scrapes made.
    pub done: u32,
    /// Of so many.
    pub of: u32,
    /// The instant reached.
    pub at: UnixMillis,
}

/// Lives through the past and keeps what was scraped. `scratch` is a directory for the simulated
/// exporter's databases. `progress` hears of every scrape and may end it.
///
/// # Errors
/// [`HistoryError`] if the organisation cannot be made, the databases fail, or it was ended.
pub fn record(
    options: &HistoryOptions,
    scratch: &Path,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Recording, HistoryError> {
    let mut world = World::new(options, scratch)?;
    while world.recording.scrapes() < options.scrapes {
        if world.turn()? {
            let done = world.recording.scrapes();
            let progress = progress(Progress {
                done,
                of: options.scrapes,
                at: world.now,
            });
            if progress.is_break() {
                return Err(HistoryError::Stopped);
            }
        }
    }
    Ok(world.recording)
}

enum Event {
    Reach(Flight),
    Arrive(Box<(Flight, Arrival)>),
    Durable(Append),
    /// A batch that took so long is committed.
    Batch(Millis),
    Scrape,
    Prune,
    /// The script begins.
    Script,
}

struct World<'o> {
    options: &'o HistoryOptions,
    platform: SimulatedPlatform,
    machine: Machine,
    exporter: Exporter,
    recording: Recording,
    retention: Millis,
    origin: UnixMillis,
    now: UnixMillis,
    token: Option<String>,
    agenda: Agenda<Event>,
    in_flight: usize,
    storing: bool,
}

impl<'o> World<'o> {
    fn new(options: &'o HistoryOptions, scratch: &Path) -> Result<Self, HistoryError> {
        let begins = options.end - options.span();
        let origin = begins - WARM_UP;
        let config = options.config();
        let platform = SimulatedPlatform::new(SimulatorOptions::new(options.org, origin))
            .map_err(HistoryError::Organisation)?;
        let machine = Machine::new(options.org.seed, options.org.agents);
        let started = Now {
            mono: Monotonic(0),
            wall: origin,
        };
        let mut world = Self {
            options,
            platform,
            exporter: Exporter::start(&config, scratch, &machine, started)?,
            machine,
            recording: Recording::default(),
            retention: config.store.retention,
            origin,
            now: origin,
            token: None,
            agenda: Agenda::default(),
            in_flight: 0,
            storing: false,
        };
        world.agenda.put(begins, Event::Script);
        world.agenda.put(options.scraped_at(0), Event::Scrape);
        world.agenda.put(origin + PRUNE_EVERY, Event::Prune);
        Ok(world)
    }

    fn clocks(&self) -> Now {
        Now {
            mono: Monotonic((self.now - self.origin).0),
            wall: self.now,
        }
    }

    /// The next thing that happens; says whether it was a scrape.
    fn turn(&mut self) -> Result<bool, HistoryError> {
        let clocks = self.clocks();
        let deadline = self.exporter.pipeline.next_deadline(clocks);
        let due = self.origin + (deadline.min(clocks.mono + PULSE) - Monotonic(0));
        let event = self.agenda.next_at().expect("there is a next prune");
        self.now = event.min(due).max(self.now);
        let Some(event) = self.agenda.take(self.now) else {
            self.step(Pipeline::on_due);
            return Ok(false);
        };
        let scrape = matches!(event, Event::Scrape);
        self.happen(event)?;
        Ok(scrape)
    }

    fn happen(&mut self, event: Event) -> Result<(), HistoryError> {
        match event {
            Event::Reach(flight) => self.reach(flight),
            Event::Arrive(arrived) => {
                let (flight, arrival) = *arrived;
                self.arrive(&flight, arrival);
            }
            Event::Durable(append) => self.durable(&append)?,
            Event::Batch(took) => {
                self.storing = self.exporter.batch(took)?;
                self.store();
            }
            Event::Scrape => {
                self.exporter
                    .scrape(&self.machine, self.in_flight, &mut self.recording)?;
                self.agenda.put(self.now + self.options.step, Event::Scrape);
            }
            Event::Prune => {
                self.exporter.prune(self.now - self.retention)?;
                self.agenda.put(self.now + PRUNE_EVERY, Event::Prune);
            }
            Event::Script => {
                let faults = self.options.script.faults.clone();
                self.platform.set_faults(faults, self.now);
            }
        }
        Ok(())
    }

    /// Lets the pipeline take something in, and executes what it asks for.
    fn step(&mut self, input: impl FnOnce(&mut Pipeline, Now) -> Vec<Effect>) {
        let now = self.clocks();
        for effect in input(&mut self.exporter.pipeline, now) {
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
                    self.in_flight += 1;
                    let reaches = self.now + self.machine.way();
                    self.agenda.put(reaches, Event::Reach(flight));
                }
                Effect::Append(append) => {
                    let durable = self.now + self.machine.append();
                    self.agenda.put(durable, Event::Durable(append));
                }
                Effect::Publish(view) => self.exporter.view = view,
                Effect::Measure(measurement) => self.exporter.telemetry.measure(measurement),
                Effect::OpenSocket { .. } | Effect::PingSocket(_) | Effect::CloseSocket(_) => {
                    unreachable!("dialect status has no push")
                }
                // Its instant is not now, and its reader is not here.
                Effect::Notice(_) => {}
            }
        }
    }

    fn reach(&mut self, flight: Flight) {
        let arrival = flight.reach(&mut self.platform, self.now);
        let arrives = self.now + arrival.takes + self.machine.way();
        self.agenda
            .put(arrives, Event::Arrive(Box::new((flight, arrival))));
    }

    fn arrive(&mut self, flight: &Flight, arrival: Arrival) {
        self.in_flight -= 1;
        if let Some(token) = arrival.token {
            self.token = Some(token);
        }
        let answer = flight.answered(arrival.result, self.clocks());
        let outcome = match &answer.result {
            Ok(response) => Ok(response.status),
            Err(failure) => Err(*failure),
        };
        let took = answer.received_at.mono - answer.sent_at.mono;
        let endpoint = flight.request.endpoint();
        self.exporter.telemetry.request(endpoint, outcome, took);
        self.step(|pipeline, now| pipeline.on_answer(answer, now));
    }

    fn durable(&mut self, append: &Append) -> Result<(), HistoryError> {
        self.exporter.appended(append, self.clocks())?;
        let sequence = append.sequence;
        self.step(|pipeline, _| pipeline.on_appended(sequence));
        if !self.storing {
            self.storing = true;
            self.store();
        }
        Ok(())
    }

    /// The consumer goes on, if it has anything to do.
    fn store(&mut self) {
        if !self.storing {
            return;
        }
        let into = self.now - (self.options.end - self.options.span());
        let slow = self.options.script.slow_disk.as_ref();
        let took = self
            .machine
            .batch(slow.is_some_and(|slow| slow.contains(&into)));
        self.agenda.put(self.now + took, Event::Batch(took));
    }
}
