//! The event loop: executes effects as the driver does, in virtual time.

use std::collections::BTreeMap;

use genesys_cloud_exporter::config::Config;
use genesys_cloud_exporter::effect::{Append, Effect};
use genesys_cloud_exporter::history::agenda::Agenda;
use genesys_cloud_exporter::model::event::JournalRecord;
use genesys_cloud_exporter::model::time::{Monotonic, Now, UnixMillis};
use genesys_cloud_exporter::model::window::WindowRow;
use genesys_cloud_exporter::pipeline::Pipeline;
use genesys_cloud_exporter::simulator::exchange::SimRequest;
use genesys_cloud_exporter::simulator::faults::FaultPlan;
use genesys_cloud_exporter::simulator::platform::SimulatedPlatform;
use genesys_cloud_exporter::upstream::channel::SocketId;
use genesys_cloud_exporter::upstream::request::{ApiRequest, RequestId};
use genesys_cloud_exporter::upstream::response::{Answer, TransportFailure};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::journal::{Journal, Memory, Sqlite};
use super::observe::{Observation, Observed, Observer, Raw};
use super::options::{DAY, Keeping, Options, Upset, reconfigured};
use super::sockets::{Sockets, Towards};
use super::transport::{self, Arrival};

/// The driver's loop turns at least this often.
const PULSE: i64 = 5_000;

/// A request on its way.
pub(super) struct Flight {
    life: u64,
    id: RequestId,
    request: ApiRequest,
    sent_at: Now,
    sent: i64,
    timeout: i64,
    token: Option<String>,
}

pub(super) enum Event {
    Reach(Flight),
    Arrive(Box<(Flight, i64, Arrival)>),
    Durable(u64, Append),
    Upset(Upset),
    Start { clean: bool },
    Calm,
    Socket(u64, SocketId, Towards),
}

/// One life of the exporter.
pub(super) struct Life {
    pipeline: Pipeline,
    /// True time at which its monotonic clock would have read 0.
    zero: i64,
    /// Of the client.
    token: Option<String>,
    /// An append that is under way.
    appending: Option<Append>,
    /// A stop has been asked for: how long until the next start, and whether its last append is out.
    stopping: Option<(i64, bool)>,
}

/// A run.
pub(crate) struct World<'o> {
    pub(super) options: Options,
    config: Config,
    pub(crate) platform: SimulatedPlatform,
    pub(super) random: ChaCha8Rng,
    pub(super) now: i64,
    pub(super) outage_until: i64,
    pub(super) lives: u64,
    journal: Box<dyn Journal>,
    observer: &'o mut dyn Observer,
    /// The machine's wall clock less true time.
    step: i64,
    asleep_until: i64,
    silence_until: i64,
    disk_until: i64,
    agenda: Agenda<Event>,
    pub(super) life: Option<Life>,
    pub(super) sockets: Sockets,
    /// Every effect as text, if asked for.
    pub(crate) log: Option<String>,
    pub(crate) digest: u64,
    pub(crate) checkpoint: Sizes,
}

/// What the exporter would begin again from, in bytes: all that it knows of agents and queues.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    entries: BTreeMap<String, usize>,
    now: usize,
    /// The most of each day of the run.
    pub(crate) days: BTreeMap<i64, usize>,
}

impl Sizes {
    fn take(&mut self, append: &Append, since: i64) {
        for (key, value) in &append.checkpoint {
            let bytes = value.as_ref().map_or(0, |value| key.len() + value.len());
            self.now += bytes;
            self.now -= self.entries.insert(key.clone(), bytes).unwrap_or(0);
        }
        let most = self.days.entry(since / DAY).or_default();
        *most = self.now.max(*most);
    }
}

impl<'o> World<'o> {
    pub(crate) fn new(options: &Options, observer: &'o mut dyn Observer) -> Self {
        let config = options.config();
        let journal: Box<dyn Journal> = match options.keeping {
            Keeping::Memory => Box::new(Memory::new(&config)),
            Keeping::Sqlite => Box::new(Sqlite::new(&config)),
        };
        let mut world = Self {
            config,
            platform: SimulatedPlatform::new(options.simulator()).unwrap(),
            journal,
            observer,
            random: ChaCha8Rng::seed_from_u64(options.seed),
            now: options.origin.0,
            step: 0,
            asleep_until: 0,
            outage_until: 0,
            silence_until: 0,
            disk_until: 0,
            agenda: Agenda::default(),
            lives: 0,
            life: None,
            sockets: Sockets::default(),
            log: None,
            digest: 0xcbf2_9ce4_8422_2325,
            checkpoint: Sizes::default(),
            options: options.clone(),
        };
        world.at(options.origin.0, Event::Start { clean: true });
        world.at(options.calm_from(), Event::Calm);
        for (offset, upset) in &options.upsets {
            world.at(options.origin.0 + offset, Event::Upset(*upset));
        }
        world
    }

    /// Runs to the end and gives the rows.
    pub(crate) fn run(&mut self) -> Vec<WindowRow> {
        while self.now < self.options.end() {
            self.turn();
        }
        self.journal.rows()
    }

    fn turn(&mut self) {
        let event = self.agenda.next_at().map(|at| at.0);
        let frames = self.frames_due();
        let due = self.life.as_ref().map(|life| self.due(life));
        let next = [event, due, frames].into_iter().flatten().min();
        let next = next.unwrap_or_else(|| self.options.end());
        self.now = self.now.max(next);
        if frames.is_some_and(|frames| frames <= self.now) {
            self.pump();
        } else if let Some(event) = self.agenda.take(UnixMillis(self.now)) {
            self.happen(event);
        } else if due.is_some_and(|due| due <= self.now) {
            self.step_pipeline(Pipeline::on_due);
        }
    }

    /// True time at which the loop wakes by itself.
    fn due(&self, life: &Life) -> i64 {
        let now = self.reading(life);
        // A driver that stops waits for its append alone.
        if life.stopping.is_some() {
            return i64::MAX;
        }
        let deadline = life.pipeline.next_deadline(now);
        let deadline = deadline.0.min(now.mono.0 + PULSE);
        (life.zero + deadline).max(self.asleep_until)
    }

    /// Both clocks of the machine.
    fn reading(&self, life: &Life) -> Now {
        Now {
            mono: Monotonic(self.now - life.zero),
            wall: UnixMillis(self.now + self.step),
        }
    }

    pub(super) fn at(&mut self, at: i64, event: Event) {
        self.agenda.put(UnixMillis(at), event);
    }

    fn observe(&mut self, what: Observation) {
        let platform = self.platform.platform_now(UnixMillis(self.now)).0;
        self.observer.observe(&Observed {
            at: self.now,
            platform,
            what,
        });
    }

    fn happen(&mut self, event: Event) {
        if self.now < self.asleep_until && !matches!(event, Event::Reach(_) | Event::Calm) {
            return self.at(self.asleep_until, event);
        }
        match event {
            Event::Reach(flight) => self.reach(flight),
            Event::Arrive(arrived) => {
                let (flight, reached, arrival) = *arrived;
                self.arrive(&flight, reached, arrival);
            }
            Event::Durable(life, append) => self.durable(life, &append),
            Event::Upset(upset) => self.upset(upset),
            Event::Start { clean } => self.start(clean),
            Event::Calm => self.calm(),
            Event::Socket(life, socket, towards) => self.towards(life, socket, towards),
        }
    }

    fn start(&mut self, clean: bool) {
        self.lives += 1;
        let now = Now {
            mono: Monotonic(0),
            wall: UnixMillis(self.now + self.step),
        };
        let checkpoint = self.journal.reopen(now.wall, clean);
        let pipeline = Pipeline::new(self.config.pipeline.clone(), checkpoint, now).unwrap();
        self.life = Some(Life {
            pipeline,
            zero: self.now,
            token: None,
            appending: None,
            stopping: None,
        });
        self.observe(Observation::Started);
    }

    fn calm(&mut self) {
        self.platform
            .set_faults(FaultPlan::default(), UnixMillis(self.now));
        self.outage_until = 0;
        self.silence_until = 0;
    }

    /// Lets the pipeline take something in, and executes what it asks for.
    pub(super) fn step_pipeline(&mut self, input: impl FnOnce(&mut Pipeline, Now) -> Vec<Effect>) {
        let Some(mut life) = self.life.take() else {
            return;
        };
        let now = self.reading(&life);
        let effects = input(&mut life.pipeline, now);
        let quiet = life.stopping.is_some();
        for effect in effects {
            // Who stops only shows what is known.
            if !quiet || matches!(effect, Effect::Publish(_) | Effect::Append(_)) {
                self.execute(&mut life, effect, now);
            }
        }
        self.life = Some(life);
    }

    fn execute(&mut self, life: &mut Life, effect: Effect, now: Now) {
        self.write(&effect);
        match effect {
            Effect::Request {
                id,
                request,
                timeout,
            } => {
                self.observe(Observation::Sent {
                    id: id.0,
                    path: request.path_and_query(),
                });
                let flight = Flight {
                    life: self.lives,
                    id,
                    request,
                    sent_at: now,
                    sent: self.now,
                    timeout: timeout.0,
                    token: life.token.clone(),
                };
                let way = self.random.random_range(self.options.latency.clone());
                self.at(self.now + way, Event::Reach(flight));
            }
            Effect::Append(append) => {
                self.observe(Observation::Built);
                life.appending = Some(append.clone());
                let takes = self.random.random_range(self.options.disk.clone());
                let at = (self.now + takes).max(self.disk_until);
                self.at(at, Event::Durable(self.lives, append));
            }
            Effect::Publish(view) => self.observe(Observation::Published(view)),
            Effect::Measure(_) => {}
            Effect::OpenSocket { socket, uri } => self.open_socket(socket, &uri),
            Effect::PingSocket(socket) => self.towards_platform(socket, Towards::Ping),
            Effect::CloseSocket(socket) => self.close_socket(socket),
            Effect::Notice(notice) => self.observe(Observation::Said {
                kind: notice.kind,
                message: notice.message,
            }),
        }
    }

    fn reach(&mut self, flight: Flight) {
        let reached = self.platform.platform_now(UnixMillis(self.now)).0;
        let patience = (flight.sent + flight.timeout - self.now).max(0);
        let endpoint = flight.request.endpoint();
        let arrival = if self.now < self.outage_until {
            transport::nothing(TransportFailure::Connect, 0)
        } else if self.now < self.silence_until {
            transport::nothing(TransportFailure::Timeout, patience)
        } else {
            match transport::written(&flight.request, flight.token.as_deref()) {
                None => transport::nothing(TransportFailure::NoToken, 0),
                Some(request) => {
                    let response = self.platform.handle(&request, UnixMillis(self.now));
                    transport::arrive(endpoint, &response, patience)
                }
            }
        };
        let way = self.random.random_range(self.options.latency.clone());
        let at = self.now + arrival.takes + way;
        self.at(at, Event::Arrive(Box::new((flight, reached, arrival))));
    }

    fn arrive(&mut self, flight: &Flight, reached: i64, arrival: Arrival) {
        let Some(life) = self.life.as_mut() else {
            return;
        };
        if flight.life != self.lives || life.stopping.is_some() {
            return;
        }
        if let Some(token) = arrival.token {
            life.token = Some(token);
        }
        self.say_answered(flight, reached, arrival.raw);
        let life = self.life.as_ref().expect("it lives");
        let answer = Answer {
            id: flight.id,
            sent_at: flight.sent_at,
            received_at: self.reading(life),
            result: arrival.result,
        };
        self.step_pipeline(|pipeline, now| pipeline.on_answer(answer, now));
    }

    fn say_answered(&mut self, flight: &Flight, reached: i64, raw: Raw) {
        let path = flight.request.path_and_query();
        let body = String::from_utf8_lossy(if self.log.is_some() { &raw.body } else { b"" });
        let line = format!("< {} {:?} {path} {body}", flight.id.0, raw.status);
        self.digest(&line);
        self.observe(Observation::Answered {
            id: flight.id.0,
            path,
            reached,
            raw,
        });
    }

    fn durable(&mut self, life: u64, append: &Append) {
        if life != self.lives || self.life.is_none() {
            return;
        }
        self.keep(append);
        let life = self.life.as_mut().expect("it lives");
        life.appending = None;
        let sequence = append.sequence;
        self.step_pipeline(|pipeline, _| pipeline.on_appended(sequence));
        self.go_on_stopping();
    }

    fn keep(&mut self, append: &Append) {
        self.journal
            .append(append, UnixMillis(self.now + self.step));
        self.checkpoint
            .take(append, self.now - self.options.origin.0);
        for record in &append.records {
            if let JournalRecord::Marks(marks) = record {
                for mark in marks {
                    if let Some(until) = mark.closed_until {
                        let user = mark.user_id.to_string();
                        self.observe(Observation::Closed {
                            user,
                            until: until.0,
                        });
                    }
                }
            }
        }
    }

    /// As the driver ends: waits for an append under way, then for one more.
    fn go_on_stopping(&mut self) {
        let Some(life) = self.life.as_mut() else {
            return;
        };
        let Some((down, last)) = life.stopping else {
            return;
        };
        if life.appending.is_some() {
            return;
        }
        if last {
            self.life = None;
            self.forget_sockets();
            self.observe(Observation::Ended);
            self.at(self.now + down, Event::Start { clean: true });
        } else {
            life.stopping = Some((down, true));
            self.step_pipeline(Pipeline::on_stop);
        }
    }

    fn upset(&mut self, upset: Upset) {
        match upset {
            Upset::Crash { down } => self.crash(down),
            Upset::Stop { down } => {
                if let Some(life) = self.life.as_mut().filter(|life| life.stopping.is_none()) {
                    life.stopping = Some((down, false));
                    self.go_on_stopping();
                }
            }
            Upset::Outage { lasts } => {
                self.outage_until = self.now + lasts;
                self.break_sockets();
            }
            Upset::Silence { lasts } => self.silence_until = self.now + lasts,
            Upset::Disk { lasts } => self.disk_until = self.now + lasts,
            Upset::Step { by } => self.step += by,
            Upset::Sleep { lasts } => {
                self.asleep_until = self.now + lasts;
                if let Some(life) = self.life.as_mut() {
                    life.zero += lasts;
                }
                self.observe(Observation::Slept);
            }
            Upset::Join { agents } => self.change_registry(&format!(r#"{{"add":{agents}}}"#)),
            Upset::Leave { agents } => {
                for _ in 0..agents {
                    let at = self.platform.platform_now(UnixMillis(self.now));
                    let there = self.platform.roster().registered_at(at);
                    let who = there[self.random.random_range(0..there.len())];
                    let id = self.platform.roster().entries()[who].agent.id.clone();
                    self.change_registry(&format!(r#"{{"remove":"{id}"}}"#));
                }
            }
            Upset::Reload { divide } => {
                let config = reconfigured(&self.config.pipeline, divide);
                self.step_pipeline(|pipeline, now| pipeline.on_reconfigured(config, now));
            }
            Upset::Revoke => self.control("DELETE", "/simulator/tokens", ""),
        }
    }

    fn change_registry(&mut self, body: &str) {
        self.control("POST", "/simulator/registry", body);
    }

    fn control(&mut self, method: &str, path: &str, body: &str) {
        let request = SimRequest {
            method: method.to_owned(),
            path_and_query: path.to_owned(),
            body: body.to_owned().into(),
            ..SimRequest::default()
        };
        let response = self.platform.handle(&request, UnixMillis(self.now));
        assert_eq!(response.status, 200, "{}", response.value());
    }

    /// What was under way may have become durable, or not.
    fn crash(&mut self, down: i64) {
        let Some(life) = self.life.take() else {
            return;
        };
        if let Some(append) = life.appending.filter(|_| self.now >= self.disk_until)
            && self.random.random_bool(0.5)
        {
            self.keep(&append);
        }
        self.forget_sockets();
        self.observe(Observation::Ended);
        self.at(self.now + down, Event::Start { clean: false });
    }
}
