//! What a board is told, over real sockets.

use std::sync::Arc;

use genesys_cloud_exporter::expose::Limits;
use genesys_cloud_exporter::model::state::RoutingState;
use genesys_cloud_exporter::model::time::UnixMillis;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{BOUND, Server, start};
use crate::view;

/// A reader of the stream; it must undo chunks, which an endless answer comes in.
struct Board {
    stream: BufReader<TcpStream>,
    /// What has come and is no whole event yet.
    text: String,
}

impl Board {
    async fn open(server: &Server) -> Self {
        let mut stream = server.connect().await;
        stream
            .write_all(b"GET /api/v1/stream HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = timeout(BOUND, stream.read_line(&mut head)).await;
            assert!(read.expect("a head in time").unwrap() > 0, "{head}");
        }
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        assert!(!head.contains("content-length"), "{head}");
        let text = String::new();
        Self { stream, text }
    }

    /// The next piece; `None` when the answer has ended.
    async fn chunk(&mut self) -> Option<String> {
        let mut size = String::new();
        let read = timeout(BOUND, self.stream.read_line(&mut size)).await;
        if read.expect("a chunk in time").unwrap_or(0) == 0 {
            return None;
        }
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut bytes = vec![0; size + 2];
        self.stream.read_exact(&mut bytes).await.unwrap();
        bytes.truncate(size);
        (size > 0).then(|| String::from_utf8(bytes).unwrap())
    }

    /// The next update; `None` when the answer has ended.
    async fn update(&mut self) -> Option<Value> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                if let Some(data) = event.strip_prefix("data: ") {
                    return Some(serde_json::from_str(data).unwrap());
                }
            }
            let chunk = self.chunk().await?;
            self.text.push_str(&chunk);
        }
    }

    async fn told(&mut self) -> Value {
        self.update().await.expect("the stream goes on")
    }
}

fn ids(rows: &Value) -> Vec<&str> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_whole_once_then_what_changed() {
    let server = start(Limits::default()).await;
    let mut now = view::small();
    server.pages.publish(Arc::new(now.clone()));
    let mut board = Board::open(&server).await;
    let first = board.told().await;
    assert_eq!(first["whole"], true);
    assert_eq!(first["agents"].as_array().unwrap().len(), now.agents.len());
    assert_eq!(first["queues"].as_array().unwrap().len(), now.queues.len());
    assert_eq!(first["status"], server.get("/api/v1/status").await.json());
    assert_eq!(
        first["organisation"]["agents"],
        json!(now.organisation.agents)
    );

    let changed = now.agents[1].user_id.as_str().to_owned();
    now.agents[1].state = RoutingState::WrapUp;
    now.agents[1].entered_at = Some(view::NOW);
    let gone = now.agents.remove(0).user_id.as_str().to_owned();
    server.pages.publish(Arc::new(now.clone()));
    let second = board.told().await;
    assert_eq!(second["whole"], false);
    assert_eq!(ids(&second["agents"]), [&changed]);
    assert_eq!(second["agents"][0]["state"], "wrap_up");
    assert_eq!(second["agents"][0]["since"], json!(view::NOW));
    assert_eq!(second["agentsGone"], json!([gone]));
    assert_eq!(second["queues"], json!([]));

    now.queues[0].phantom += 1;
    server.pages.publish(Arc::new(now));
    let third = board.told().await;
    assert_eq!(third["agents"], json!([]));
    assert_eq!(third["queues"][0]["phantom"], 2);
    // A page that comes anew is told everything.
    assert_eq!(Board::open(&server).await.told().await["whole"], true);
}

#[tokio::test]
async fn a_view_that_stays_is_confirmed_with_a_fresh_clock() {
    let server = start(Limits::default()).await;
    server.pages.publish(Arc::new(view::small()));
    let mut board = Board::open(&server).await;
    let first = board.told().await;
    let second = board.told().await;
    let at = |update: &Value| UnixMillis::parse(update["at"].as_str().unwrap()).unwrap();
    assert!(at(&second) > at(&first));
    assert_eq!(second["agents"], json!([]));
    assert_eq!(second["whole"], false);
}

#[tokio::test]
async fn boards_have_a_limit_and_give_their_place_back() {
    let limits = Limits {
        streams: 1,
        ..Limits::default()
    };
    let server = start(limits).await;
    let mut board = Board::open(&server).await;
    board.told().await;
    let refused = server.get("/api/v1/stream").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    drop(board);
    // The place is free once the server has seen that the reader is gone.
    timeout(BOUND, async {
        while server.ask("HEAD", "/api/v1/stream", "").await.status != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the place is given back");
}

#[tokio::test]
async fn the_stream_ends_with_the_server() {
    let server = start(Limits::default()).await;
    let mut board = Board::open(&server).await;
    board.told().await;
    server.stop.send(true).unwrap();
    timeout(BOUND, async { while board.update().await.is_some() {} })
        .await
        .expect("the stream ends");
    timeout(BOUND, server.task)
        .await
        .expect("so does the server")
        .unwrap();
}
