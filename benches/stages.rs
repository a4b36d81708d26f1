//! What each stage of a quiet cycle takes, at 1,000, 10,000 and 100,000 agents: reading the
//! snapshot beside the last one and alone, judging it, comparing it, taking it in, accruing and
//! closing, building the view, and writing the page. One agent in a hundred has changed.
//!
//! `cargo bench --bench stages`. `thrpt` is agents a second: flat if the cost is linear.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench is read by its results, and a panic is its report"
)]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use genesys_cloud_exporter::config::{self, PerAgent, PipelineConfig};
use genesys_cloud_exporter::expose::{Format, Pages};
use genesys_cloud_exporter::model::ids::{QueueId, UserId};
use genesys_cloud_exporter::model::state::{RoutingState, Source};
use genesys_cloud_exporter::model::time::{Millis, Monotonic, UnixMillis};
use genesys_cloud_exporter::model::view::{Health, View};
use genesys_cloud_exporter::reconciler::evidence::Evidence;
use genesys_cloud_exporter::reconciler::reconcile::Reconciler;
use genesys_cloud_exporter::snapshot::{Delta, judge};
use genesys_cloud_exporter::upstream::wire::{RoutingEntry, RoutingStates, StatusRecord};
use genesys_cloud_exporter::upstream::wire_status::{StatusesReader, statuses};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

/// Agents a queue; each agent is in two.
const AGENTS_A_QUEUE: usize = 100;

/// 2024-05-14T08:30:00Z.
const ORIGIN: i64 = 1_715_675_400_000;

/// Of so many agents, one has changed since the last snapshot.
const QUIET: usize = 100;

fn uuid(kind: u64, n: usize) -> String {
    // Spread as UUIDs are.
    let mixed = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (kind << 60);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{kind:03x}-{n:012x}",
        mixed >> 32,
        (mixed >> 16) & 0xffff,
        mixed & 0xfff
    )
}

/// A snapshot as the platform writes it; `round` moves the hundredth that has changed.
fn body(agents: usize, round: usize) -> Bytes {
    let rows: Vec<String> = (0..agents)
        .map(|n| {
            let changed = if n % QUIET == round % QUIET { round } else { 0 };
            let at = UnixMillis(ORIGIN + changed as i64 * 15_000);
            let state = RoutingState::ALL[(n + changed) % 4].wire();
            format!(
                r#"{{"id":"{}","userId":"{}","presence":"On Queue","availability":"{state}","lastModified":"{at}"}}"#,
                uuid(3, n),
                uuid(1, n)
            )
        })
        .collect();
    Bytes::from(format!("[{}]", rows.join(",")))
}

fn pipeline_config() -> PipelineConfig {
    let text = "source: { client_id: demo, api_url: 'http://127.0.0.1:1', \
                login_url: 'http://127.0.0.1:1' }";
    let environment = [("GENESYSCLOUD_CLIENT_SECRET".to_owned(), "demo".to_owned())];
    let loaded = config::parse(&Arc::from("bench.yml"), text, &environment.into(), &[]);
    loaded
        .unwrap_or_else(|error| panic!("{error}"))
        .config
        .pipeline
}

/// An organisation that everybody has been joined in.
struct Organisation {
    registry: BTreeSet<UserId>,
    records: Vec<StatusRecord>,
    reconciler: Reconciler,
    delta: Delta,
}

impl Organisation {
    fn new(agents: usize) -> Self {
        let registry: BTreeSet<UserId> = (0..agents).map(|n| UserId::new(&uuid(1, n))).collect();
        let mut reconciler = Reconciler::new(pipeline_config());
        let joined: Vec<UserId> = registry.iter().cloned().collect();
        reconciler.on_registry(&joined, &[]);
        let queues = (agents / AGENTS_A_QUEUE).max(2);
        let id = |queue: usize| QueueId::new(&uuid(2, queue));
        let listed = (0..queues).map(|queue| (id(queue), Arc::from(format!("Queue {queue:05}"))));
        reconciler.on_queues(listed.collect(), UnixMillis(ORIGIN));
        for queue in 0..queues {
            let of = |n: &usize| n % queues == queue || (n * 7 + 1) % queues == queue;
            let members = (0..agents).filter(of).map(|n| UserId::new(&uuid(1, n)));
            reconciler.on_members(&id(queue), members.collect(), UnixMillis(ORIGIN));
        }
        let records = judge(
            statuses(&body(agents, 0)).unwrap().records,
            &registry,
            900,
            UnixMillis(ORIGIN + 15_000),
            Millis::from_secs(5),
        )
        .records;
        let at = UnixMillis(ORIGIN + 1_000);
        reconciler.on_snapshot(&records, at, at);
        for record in &records {
            reconciler.asked_directly(&record.user_id);
            let answer = RoutingStates {
                entries: vec![RoutingEntry {
                    state: record.availability,
                    raw_state: None,
                    wrapup_code: None,
                    entered_at: record.last_modified,
                    estimated: false,
                }],
                refused: Vec::new(),
            };
            let evidence = Evidence {
                source: Source::Routing,
                confirms: at,
                latest: at,
                ingested_at: at,
                tolerance: Millis::from_secs(53),
            };
            reconciler.on_routing(&record.user_id, &answer, &evidence);
        }
        reconciler.settle(Some(at), true);
        reconciler.take_changes();
        let mut delta = Delta::new();
        delta.compare(&records);
        Self {
            registry,
            records,
            reconciler,
            delta,
        }
    }

    fn view(&self, at: UnixMillis) -> View {
        let health = Health {
            accepted_at: Some(at),
            ..Health::default()
        };
        self.reconciler.view(at, at, &self.delta, health)
    }
}

fn reading(criterion: &mut Criterion, agents: usize) {
    let mut group = criterion.benchmark_group("read the snapshot");
    group.throughput(Throughput::Elements(agents as u64));
    let bodies = [body(agents, 1), body(agents, 2)];
    group.bench_function(BenchmarkId::new("alone", agents), |bencher| {
        bencher.iter(|| statuses(&bodies[0]).unwrap());
    });
    let (mut reader, nobody) = (StatusesReader::default(), BTreeSet::new());
    let mut turn = 0;
    group.bench_function(BenchmarkId::new("beside the last one", agents), |bencher| {
        bencher.iter(|| {
            turn += 1;
            reader.read(1, &bodies[turn % 2], &nobody).unwrap()
        });
    });
    group.finish();
}

fn stages(criterion: &mut Criterion, agents: usize) {
    let mut organisation = Organisation::new(agents);
    let mut group = criterion.benchmark_group("stages");
    group.throughput(Throughput::Elements(agents as u64));
    let Organisation {
        registry, records, ..
    } = &organisation;
    let latest = UnixMillis(ORIGIN + 15_000);
    group.bench_function(BenchmarkId::new("judge", agents), |bencher| {
        bencher.iter_batched(
            || records.clone(),
            |records| judge(records, registry, 900, latest, Millis::from_secs(5)),
            BatchSize::LargeInput,
        );
    });
    group.bench_function(BenchmarkId::new("compare", agents), |bencher| {
        bencher.iter(|| organisation.delta.compare(&organisation.records));
    });
    let mut at = UnixMillis(ORIGIN + 15_000);
    group.bench_function(BenchmarkId::new("take in", agents), |bencher| {
        bencher.iter(|| {
            at = at + Millis(1);
            organisation
                .reconciler
                .on_snapshot(&organisation.records, at, at);
        });
    });
    group.bench_function(BenchmarkId::new("take in and settle", agents), |bencher| {
        bencher.iter(|| {
            at = at + Millis(1);
            let reconciler = &mut organisation.reconciler;
            reconciler.on_snapshot(&organisation.records, at, at);
            reconciler.settle(Some(at), true);
            reconciler.take_changes()
        });
    });
    group.bench_function(BenchmarkId::new("view", agents), |bencher| {
        bencher.iter(|| organisation.view(at));
    });
    let pages = Pages::new(PerAgent::Off);
    let view = Arc::new(organisation.view(at));
    group.bench_function(BenchmarkId::new("page", agents), |bencher| {
        bencher.iter(|| {
            pages.publish(view.clone());
            black_box(pages.page(&[], Format::Text, false, Monotonic(0)))
        });
    });
    group.finish();
}

fn all(criterion: &mut Criterion) {
    for agents in SIZES {
        reading(criterion, agents);
        stages(criterion, agents);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = all
}
criterion_main!(benches);
