//! A scrape of the metrics page beside a bare hyper server that gives a static buffer of the same
//! size: what our page costs beyond carrying its bytes.
//!
//! `cargo bench --bench scrape`. The lines that begin with `ratio` are the result.

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

use std::convert::Infallible;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use genesys_cloud_exporter::catalog::EventResult;
use genesys_cloud_exporter::clock::SystemClock;
use genesys_cloud_exporter::config::PerAgent;
use genesys_cloud_exporter::effect::{Measurement, Phase};
use genesys_cloud_exporter::expose::{Front, Limits, Pages, Pulse, Served, ServerState, serve};
use genesys_cloud_exporter::model::state::{RoutingState, Source};
use genesys_cloud_exporter::model::time::Millis;
use genesys_cloud_exporter::model::view::View;
use genesys_cloud_exporter::store::{ReadError, WindowPage, WindowQuery, WindowReader};
use genesys_cloud_exporter::telemetry::{BuildInfo, Telemetry};
use genesys_cloud_exporter::upstream::request::Endpoint;
use http_body_util::Full;
use hyper::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

mod support;
#[allow(dead_code, reason = "shared with the tests of the pages")]
#[path = "../tests/expose/view.rs"]
mod view;

/// Agents, each in two queues.
const AGENTS: usize = 10_000;

/// Queues of a large organisation, and of one that is larger than any.
const QUEUES: usize = 200;
const QUEUES_MANY: usize = 5_000;

struct NoWindows;

impl WindowReader for NoWindows {
    fn windows(&self, _: &WindowQuery) -> Result<WindowPage, ReadError> {
        Ok(WindowPage::default())
    }
}

/// One connection that is kept, as Prometheus keeps it.
struct Scraper {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Scraper {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: vec![0; 32 * 1024 * 1024],
        }
    }

    /// The length of the body.
    fn scrape(&mut self) -> usize {
        self.ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    }

    /// The same, compressed.
    fn scrape_gzip(&mut self) -> usize {
        self.ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
    }

    fn ask(&mut self, request: &[u8]) -> usize {
        self.stream.write_all(request).unwrap();
        let mut read = 0;
        loop {
            let more = self.stream.read(&mut self.buffer[read..]).unwrap();
            assert!(more > 0, "the connection ended within an answer");
            read += more;
            if let Some((head, length)) = parse_head(&self.buffer[..read])
                && read == head + length
            {
                return length;
            }
        }
    }

    fn timed(&mut self) -> Duration {
        timed(|| self.scrape())
    }

    fn timed_gzip(&mut self) -> Duration {
        timed(|| self.scrape_gzip())
    }
}

fn timed(work: impl FnOnce() -> usize) -> Duration {
    let begun = Instant::now();
    black_box(work());
    begun.elapsed()
}

/// Length of the head, and of the body by `Content-Length`.
fn parse_head(answer: &[u8]) -> Option<(usize, usize)> {
    let head = &answer[..answer.len().min(1_024)];
    let end = head.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&head[..end]).unwrap();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let matches = name.eq_ignore_ascii_case("content-length");
        matches.then(|| value.parse().unwrap())
    });
    Some((end, length.expect("a Content-Length")))
}

/// The organisation as the pipeline shows it.
fn organisation(queues: usize) -> View {
    let view = view::large(queues);
    let agents = (0..AGENTS).map(|n| {
        let names = [n % queues, (n * 7 + 1) % queues]
            .map(|q| (format!("q-{q:06}"), format!("Queue {q:06}")));
        let in_two = names
            .each_ref()
            .map(|(id, name)| (id.as_str(), name.as_str()));
        let id = format!("a1b2c3d4-e5f6-7890-abcd-{n:012}");
        view::agent(&id, RoutingState::ALL[n % 4], &in_two)
    });
    View {
        agents: agents.collect(),
        ..view
    }
}

/// The exporter's own server with that view.
struct Exporter {
    address: SocketAddr,
    pages: Arc<Pages>,
    telemetry: Arc<Telemetry>,
    clock: SystemClock,
    /// Its end stops the server.
    _stop: watch::Sender<bool>,
}

impl Exporter {
    fn new(runtime: &Runtime, per_agent: PerAgent, view: Arc<View>) -> Self {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let pages = Arc::new(Pages::new(per_agent));
        pages.publish(view);
        let telemetry = Arc::new(Telemetry::new(BuildInfo::current()));
        let served = Served {
            name: "acme".into(),
            pages: pages.clone(),
            telemetry: telemetry.clone(),
            windows: Arc::new(NoWindows),
            pulse: Arc::new(Pulse::new()),
        };
        let clock = SystemClock::new();
        let state = ServerState::new(
            vec![served],
            telemetry.clone(),
            clock,
            Front::open("/metrics").unwrap(),
            Limits::default(),
        );
        let (stop, stopped) = watch::channel(false);
        runtime.spawn(serve(listener, Arc::new(state), stopped));
        Self {
            address,
            pages,
            telemetry,
            clock,
            _stop: stop,
        }
    }

    /// What the exporter does from one poll to the scrape that follows it.
    fn poll_and_make_ahead(&self, view: Arc<View>) {
        self.count_a_poll();
        self.pages.publish(view);
        let now = self.clock.now().mono;
        self.pages.make_ahead(self.telemetry.shelves(), now);
    }

    /// What is counted from one poll to the next: a snapshot, joins, a batch stored.
    fn count_a_poll(&self) {
        let telemetry = &self.telemetry;
        telemetry.request(Endpoint::Statuses, Ok(200), Millis(120));
        telemetry.request(Endpoint::RoutingState, Ok(200), Millis(80));
        for phase in Phase::ALL {
            let seconds = 0.02;
            telemetry.measure(Measurement::Phase { phase, seconds });
        }
        telemetry.measure(Measurement::IngestionDelay {
            source: Source::Routing,
            delay: Millis(900),
        });
        telemetry.measure(Measurement::SegmentFinished {
            state: RoutingState::OnCall,
            length: Millis(90_500),
        });
        telemetry.events(EventResult::Published, 31);
        telemetry.events(EventResult::Stored, 31);
        telemetry.batch(0.003);
        telemetry.event_queue(0, None);
    }
}

/// Bare hyper with one buffer.
fn fixed(runtime: &Runtime, body: Bytes) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let body = body.clone();
            let service = service_fn(move |_| {
                let body = body.clone();
                async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    address
}

fn scrape(criterion: &mut Criterion) {
    case(criterion, "queues", QUEUES, PerAgent::Off);
    case(criterion, "queues and agents", QUEUES, PerAgent::Id);
    case(criterion, "many queues", QUEUES_MANY, PerAgent::Off);
}

fn case(criterion: &mut Criterion, name: &str, queues: usize, per_agent: PerAgent) {
    let runtime = Runtime::new().unwrap();
    let view = Arc::new(organisation(queues));
    let exporter = Exporter::new(&runtime, per_agent, view.clone());
    let mut ours = Scraper::new(exporter.address);
    let size = ours.scrape();
    let buffer = fixed(&runtime, Bytes::from(vec![b'x'; size]));
    let mut theirs = Scraper::new(buffer);
    assert_eq!(theirs.scrape(), size);

    let mut group = criterion.benchmark_group(format!("scrape of {name}"));
    group.throughput(Throughput::Bytes(size as u64));
    group.bench_function("page", |bencher| bencher.iter(|| ours.scrape()));
    group.bench_function("static buffer", |bencher| bencher.iter(|| theirs.scrape()));
    group.finish();

    println!("a page of {size} bytes: {AGENTS} agents, {queues} queues, series of {name}");
    // The server has closed the connection that idled meanwhile.
    ours = Scraper::new(exporter.address);
    support::side_by_side(
        "of a scrape to a static buffer of its size",
        || ours.timed(),
        || theirs.timed(),
    );
    support::side_by_side(
        "of the first scrape after what a poll counts to that",
        || {
            exporter.count_a_poll();
            ours.timed()
        },
        || theirs.timed(),
    );
    support::side_by_side(
        "of the first scrape of a view, which renders it, to that",
        || {
            exporter.pages.publish(view.clone());
            ours.timed()
        },
        || theirs.timed(),
    );
    support::side_by_side(
        "of the first scrape of a view whose page was made ahead, to that",
        || {
            exporter.poll_and_make_ahead(view.clone());
            ours.timed()
        },
        || theirs.timed(),
    );
    let size = ours.scrape_gzip();
    let buffer = fixed(&runtime, Bytes::from(vec![b'x'; size]));
    let mut theirs = Scraper::new(buffer);
    println!("compressed, {size} bytes");
    support::side_by_side(
        "of a compressed scrape to a static buffer of its size",
        || ours.timed_gzip(),
        || theirs.timed(),
    );
    support::side_by_side(
        "of the first compressed scrape of a view whose page was made ahead, to that",
        || {
            exporter.poll_and_make_ahead(view.clone());
            ours.timed_gzip()
        },
        || theirs.timed(),
    );
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3));
    targets = scrape
}
criterion_main!(benches);
