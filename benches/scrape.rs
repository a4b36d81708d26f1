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
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use genesys_cloud_exporter::clock::SystemClock;
use genesys_cloud_exporter::config::PerAgent;
use genesys_cloud_exporter::expose::{Front, Limits, Pages, Pulse, ServerState, serve};
use genesys_cloud_exporter::model::state::RoutingState;
use genesys_cloud_exporter::model::view::View;
use genesys_cloud_exporter::store::{ReadError, WindowPage, WindowQuery, WindowReader};
use genesys_cloud_exporter::telemetry::{BuildInfo, Telemetry};
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

/// An organisation of this size: agents, each in two queues, and queues.
const AGENTS: usize = 10_000;
const QUEUES: usize = 200;

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
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
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
        let begun = Instant::now();
        self.scrape();
        begun.elapsed()
    }
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
fn organisation() -> View {
    let view = view::large(QUEUES);
    let agents = (0..AGENTS).map(|n| {
        let names = [n % QUEUES, (n * 7 + 1) % QUEUES]
            .map(|q| (format!("q-{q:06}"), format!("Queue {q:06}")));
        let queues = names
            .each_ref()
            .map(|(id, name)| (id.as_str(), name.as_str()));
        let id = format!("a1b2c3d4-e5f6-7890-abcd-{n:012}");
        view::agent(&id, RoutingState::ALL[n % 4], &queues)
    });
    View {
        agents: agents.collect(),
        ..view
    }
}

/// The exporter's own server with that view. Its sender stops it.
fn exporter(
    runtime: &Runtime,
    per_agent: PerAgent,
) -> (SocketAddr, Arc<Pages>, watch::Sender<bool>) {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let pages = Arc::new(Pages::new(per_agent));
    pages.publish(Arc::new(organisation()));
    let state = ServerState::new(
        pages.clone(),
        Arc::new(Telemetry::new(BuildInfo::current())),
        Arc::new(NoWindows),
        Arc::new(Pulse::new()),
        SystemClock::new(),
        Front::open("/metrics").unwrap(),
        Limits::default(),
    );
    let (stop, stopped) = watch::channel(false);
    runtime.spawn(serve(listener, Arc::new(state), stopped));
    (address, pages, stop)
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
    case(criterion, "queues", PerAgent::Off);
    case(criterion, "queues and agents", PerAgent::Id);
}

fn case(criterion: &mut Criterion, name: &str, per_agent: PerAgent) {
    let runtime = Runtime::new().unwrap();
    let (address, pages, _stop) = exporter(&runtime, per_agent);
    let mut ours = Scraper::new(address);
    let size = ours.scrape();
    let mut theirs = Scraper::new(fixed(&runtime, Bytes::from(vec![b'x'; size])));
    assert_eq!(theirs.scrape(), size);

    let mut group = criterion.benchmark_group(format!("scrape of {name}"));
    group.throughput(Throughput::Bytes(size as u64));
    group.bench_function("page", |bencher| bencher.iter(|| ours.scrape()));
    group.bench_function("static buffer", |bencher| bencher.iter(|| theirs.scrape()));
    group.finish();

    println!("a page of {size} bytes: {AGENTS} agents, {QUEUES} queues, series of {name}");
    // The server has closed the connection that idled meanwhile.
    ours = Scraper::new(address);
    support::side_by_side(
        "of a scrape to a static buffer of its size",
        || ours.timed(),
        || theirs.timed(),
    );
    let view = Arc::new(organisation());
    support::side_by_side(
        "of the first scrape of a view, which renders it, to that",
        || {
            pages.publish(view.clone());
            ours.timed()
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
