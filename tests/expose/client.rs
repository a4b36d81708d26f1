//! A server on port 0 and a client that sees every byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use genesys_cloud_exporter::clock::SystemClock;
use genesys_cloud_exporter::config::PerAgent;
use genesys_cloud_exporter::expose::{Front, Limits, Pages, Pulse, Served, ServerState, serve};
use genesys_cloud_exporter::store::{ReadError, WindowPage, WindowQuery, WindowReader};
use genesys_cloud_exporter::telemetry::{BuildInfo, Telemetry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Nothing in these tests takes longer.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// Answers every query with what a function says.
struct Reader<F>(F);

impl<F> WindowReader for Reader<F>
where
    F: Fn(&WindowQuery) -> Result<WindowPage, ReadError> + Send + Sync,
{
    fn windows(&self, query: &WindowQuery) -> Result<WindowPage, ReadError> {
        (self.0)(query)
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) pages: Arc<Pages>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) task: JoinHandle<()>,
}

pub(crate) async fn start(limits: Limits) -> Server {
    start_with(limits, |_| Ok(WindowPage::default())).await
}

pub(crate) async fn start_with(
    limits: Limits,
    read: impl Fn(&WindowQuery) -> Result<WindowPage, ReadError> + Send + Sync + 'static,
) -> Server {
    start_behind(Front::open("/metrics").unwrap(), limits, read).await
}

pub(crate) async fn start_behind(
    front: Front,
    limits: Limits,
    read: impl Fn(&WindowQuery) -> Result<WindowPage, ReadError> + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pages = Arc::new(Pages::new(PerAgent::Off));
    let telemetry = Arc::new(Telemetry::new(BuildInfo::current()));
    let pulse = Arc::new(Pulse::new());
    let served = Served {
        name: "acme".into(),
        pages: pages.clone(),
        telemetry: telemetry.clone(),
        windows: Arc::new(Reader(read)),
        pulse: pulse.clone(),
    };
    let state = ServerState::new(
        vec![served],
        telemetry.clone(),
        SystemClock::new(),
        front,
        limits,
    );
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(serve(listener, Arc::new(state), stopped));
    Server {
        address,
        pages,
        telemetry,
        pulse,
        stop,
        task,
    }
}

/// An answer, in its parts.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is text")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(
            self.header("content-type"),
            Some("application/json; charset=utf-8")
        );
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

impl Server {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    /// One request on a connection of its own; `headers` end in CRLF each.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut stream = self.connect().await;
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        parse(&to_end(&mut stream).await)
    }
}

/// Everything until the server closes; a reset counts as the end.
pub(crate) async fn to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = stream.read_to_end(&mut all);
    let ended = timeout(BOUND, read)
        .await
        .expect("the server closes in time");
    drop(ended);
    all
}

pub(crate) fn parse(raw: &[u8]) -> Answer {
    let end = raw
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(raw)));
    let head = String::from_utf8(raw[..end].to_vec()).unwrap();
    Answer {
        status: head[9..12].parse().unwrap(),
        head,
        body: raw[end + 4..].to_vec(),
    }
}

/// One answer with a `Content-Length` on a connection that stays open.
pub(crate) async fn one_answer(stream: &mut TcpStream) -> Answer {
    let mut raw = Vec::new();
    timeout(BOUND, async {
        loop {
            let mut buffer = [0; 4_096];
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "the connection ended within an answer");
            raw.extend_from_slice(&buffer[..read]);
            if raw.windows(4).any(|four| four == b"\r\n\r\n") {
                let answer = parse(&raw);
                let length = answer.header("content-length").expect("a length");
                if answer.body.len() == length.parse::<usize>().unwrap() {
                    return answer;
                }
            }
        }
    })
    .await
    .expect("an answer in time")
}
