//! One cycle of 10,000 agents, from the bytes of the snapshot to the published view, without the
//! network, beside what serde_json alone takes to parse the same bytes.
//!
//! The real pipeline polls the simulated platform under a virtual clock, with the default budget.
//! What is timed is every step of the pipeline between the arrival of a snapshot and the view
//! that shows it, joins of changed agents and the making of their records included; what the
//! platform and the disk would take is not. `cargo bench --bench cycle`; the lines that begin with
//! `ratio` are the result.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench prints its result, and a panic is its report"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a bench reads the clock to measure"
)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use genesys_cloud_exporter::config;
use genesys_cloud_exporter::effect::Effect;
use genesys_cloud_exporter::expose::Pages;
use genesys_cloud_exporter::model::time::{Millis, Monotonic, Now, UnixMillis};
use genesys_cloud_exporter::pipeline::Pipeline;
use genesys_cloud_exporter::simulator::org::OrgSpec;
use genesys_cloud_exporter::simulator::platform::{SimulatedPlatform, SimulatorOptions};
use genesys_cloud_exporter::upstream::request::{ApiRequest, Endpoint, RequestId};
use genesys_cloud_exporter::upstream::response::Answer;
use serde::Deserialize;
use serde_json::Value;

#[allow(dead_code, reason = "shared with the offline tests")]
#[path = "../tests/offline/harness/observe.rs"]
mod observe;
mod support;
#[allow(dead_code, reason = "shared with the offline tests")]
#[path = "../tests/offline/harness/transport.rs"]
mod transport;

const AGENTS: u32 = 10_000;
const QUEUES: u32 = 200;

/// A working Tuesday morning: 2024-05-14T08:00:00Z.
const ORIGIN: UnixMillis = UnixMillis(1_715_673_600_000);

/// From the start to the first cycle that counts.
const SETTLE: Millis = Millis::from_secs(3_600);

/// One way, in milliseconds.
const LATENCY: Millis = Millis(20);

/// An answer on its way.
struct Arriving {
    at: Monotonic,
    id: RequestId,
    request: ApiRequest,
    sent_at: Now,
}

/// The exporter and its platform, in virtual time.
struct World {
    platform: SimulatedPlatform,
    pipeline: Pipeline,
    pages: Pages,
    token: Option<String>,
    now: Now,
    arriving: VecDeque<Arriving>,
    /// Appends that are durable at once.
    appended: VecDeque<u64>,
    /// Spent in the pipeline since this was last set to zero.
    spent: Duration,
    /// The last snapshot.
    snapshot: Bytes,
    phase: Phase,
    cycles: u64,
}

/// Where the snapshot that came last is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Shown; the next has not come.
    Waiting,
    /// It has arrived.
    Arrived,
    /// What it changed has been given to the journal.
    Appended,
}

impl World {
    fn new() -> Self {
        let text = "source: { client_id: demo, api_url: 'http://127.0.0.1:1', \
                    login_url: 'http://127.0.0.1:1' }";
        let environment = [("GENESYSCLOUD_CLIENT_SECRET".to_owned(), "demo".to_owned())];
        let loaded = config::parse(&Arc::from("bench.yml"), text, &environment.into(), &[]);
        let config = loaded.unwrap_or_else(|error| panic!("{error}")).config;
        let org = OrgSpec::new(AGENTS, QUEUES, 42);
        let now = Now {
            wall: ORIGIN,
            mono: Monotonic(0),
        };
        Self {
            platform: SimulatedPlatform::new(SimulatorOptions::new(org, ORIGIN)).unwrap(),
            pipeline: Pipeline::new(config.pipeline, Vec::new(), now).unwrap(),
            pages: Pages::new(config.per_agent),
            token: None,
            now,
            arriving: VecDeque::new(),
            appended: VecDeque::new(),
            spent: Duration::ZERO,
            snapshot: Bytes::new(),
            phase: Phase::Waiting,
            cycles: 0,
        }
    }

    /// Lets time pass until a view with the next snapshot is published; what the pipeline took.
    fn cycle(&mut self) -> Duration {
        let cycles = self.cycles;
        while self.cycles == cycles {
            self.turn();
        }
        self.spent
    }

    fn turn(&mut self) {
        if let Some(sequence) = self.appended.pop_front() {
            self.step(|pipeline, _| pipeline.on_appended(sequence));
            return;
        }
        let due = self.pipeline.next_deadline(self.now).max(self.now.mono);
        let arrives = self.arriving.front().map(|arriving| arriving.at);
        let at = arrives.map_or(due, |at| at.min(due));
        self.now.wall = self.now.wall + (at - self.now.mono);
        self.now.mono = at;
        match self.arriving.pop_front_if(|arriving| arriving.at <= at) {
            Some(arriving) => self.arrive(&arriving),
            None => self.step(Pipeline::on_due),
        }
    }

    fn arrive(&mut self, arriving: &Arriving) {
        let endpoint = arriving.request.endpoint();
        let request = transport::written(&arriving.request, self.token.as_deref()).unwrap();
        let response = self.platform.handle(&request, self.now.wall - LATENCY);
        let arrival = transport::arrive(endpoint, &response, i64::MAX);
        self.token = arrival.token.or(self.token.take());
        if endpoint == Endpoint::Statuses {
            self.snapshot = arrival.raw.body;
            self.spent = Duration::ZERO;
            self.phase = Phase::Arrived;
        }
        let answer = Answer {
            id: arriving.id,
            sent_at: arriving.sent_at,
            received_at: self.now,
            result: arrival.result,
        };
        self.step(|pipeline, now| pipeline.on_answer(answer, now));
    }

    fn step(&mut self, step: impl FnOnce(&mut Pipeline, Now) -> Vec<Effect>) {
        let begun = Instant::now();
        let effects = step(&mut self.pipeline, self.now);
        self.spent += begun.elapsed();
        for effect in effects {
            match effect {
                Effect::Request { id, request, .. } => self.arriving.push_back(Arriving {
                    at: self.now.mono + LATENCY + LATENCY,
                    id,
                    request,
                    sent_at: self.now,
                }),
                Effect::Append(append) => {
                    self.appended.push_back(append.sequence);
                    if self.phase == Phase::Arrived {
                        self.phase = Phase::Appended;
                    }
                }
                Effect::Publish(view) => {
                    let begun = Instant::now();
                    self.pages.publish(view);
                    self.spent += begun.elapsed();
                    if self.phase == Phase::Appended {
                        self.phase = Phase::Waiting;
                        self.cycles += 1;
                    }
                }
                _ => {}
            }
        }
    }

    /// Until everybody has been joined: at 300 requests a minute, of which changes take most, this
    /// takes the better part of an hour.
    fn settle(&mut self) {
        while self.now.mono < Monotonic(0) + SETTLE {
            self.cycle();
        }
    }
}

/// A record of the snapshot, as a program that only wants to read it would declare it.
#[allow(dead_code, reason = "parsed for the time that it takes")]
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    user_id: String,
    presence: String,
    availability: String,
    last_modified: String,
}

fn cycle(criterion: &mut Criterion) {
    let mut world = World::new();
    world.settle();
    let snapshot = world.snapshot.clone();

    let mut group = criterion.benchmark_group("cycle");
    group.throughput(Throughput::Bytes(snapshot.len() as u64));
    group.bench_function("parse to published view", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| world.cycle()).sum());
    });
    group.bench_function("serde_json to values", |bencher| {
        bencher.iter(|| serde_json::from_slice::<Value>(&snapshot).unwrap());
    });
    group.bench_function("serde_json to records", |bencher| {
        bencher.iter(|| serde_json::from_slice::<Vec<Record>>(&snapshot).unwrap());
    });
    group.finish();

    println!(
        "a snapshot of {} bytes: {AGENTS} agents, {QUEUES} queues",
        snapshot.len()
    );
    support::side_by_side(
        "of a cycle to serde_json making values of the snapshot",
        || world.cycle(),
        || timed(|| serde_json::from_slice::<Value>(&snapshot).unwrap()),
    );
    support::side_by_side(
        "of a cycle to serde_json making records of the snapshot",
        || world.cycle(),
        || timed(|| serde_json::from_slice::<Vec<Record>>(&snapshot).unwrap()),
    );
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    let made = black_box(work());
    let took = begun.elapsed();
    drop(made);
    took
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(4));
    targets = cycle
}
criterion_main!(benches);
