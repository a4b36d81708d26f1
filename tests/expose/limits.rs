//! Readers that misbehave: slow, silent, many, endless.

use std::sync::Arc;
use std::time::Duration;

use genesys_cloud_exporter::expose::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::client::{BOUND, Server, one_answer, parse, start, to_end};
use crate::view;

const SHORT: Duration = Duration::from_millis(150);

/// A page of some 16 MB: more than the kernel buffers for a reader that does not read.
const QUEUES: usize = 8_000;

#[tokio::test]
async fn silent_and_half_spoken_connections_are_closed() {
    let limits = Limits {
        head_wait: SHORT,
        ..Limits::default()
    };
    let server = start(limits).await;
    for begin in ["", "G", "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow:"] {
        let mut stream = server.connect().await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        assert!(to_end(&mut stream).await.is_empty(), "{begin:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_outlives_the_head_wait_but_its_next_head_does_not() {
    let limits = Limits {
        head_wait: SHORT,
        ..Limits::default()
    };
    let server = start(limits).await;
    let mut stream = server.connect().await;
    let request = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    assert_eq!(one_answer(&mut stream).await.status, 200);
    let mut byte = [0];
    let still_open = timeout(SHORT * 3, stream.read(&mut byte)).await.is_err();
    assert!(still_open, "idle is not slow");
    stream.write_all(request).await.unwrap();
    assert_eq!(one_answer(&mut stream).await.status, 200);
    stream.write_all(b"GET /-/hea").await.unwrap();
    assert!(to_end(&mut stream).await.is_empty());
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_the_end() {
    let limits = Limits {
        idle: SHORT,
        ..Limits::default()
    };
    let server = start(limits).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(one_answer(&mut stream).await.status, 200);
    assert!(to_end(&mut stream).await.is_empty());
}

#[tokio::test]
async fn heads_too_large_are_refused() {
    let server = start(Limits::default()).await;
    let large = format!("X-Large: {}\r\n", "x".repeat(17 * 1024));
    assert_eq!(server.ask("GET", "/metrics", &large).await.status, 431);
    let many = "X-Many: x\r\n".repeat(65);
    assert_eq!(server.ask("GET", "/metrics", &many).await.status, 431);
    let mut stream = server.connect().await;
    stream
        .write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(parse(&to_end(&mut stream).await).status, 400);
    assert_eq!(server.get("/-/healthy").await.status, 200);
}

#[tokio::test]
async fn a_body_without_end_is_not_read() {
    let server = start(Limits::default()).await;
    let mut stream = server.connect().await;
    let head = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nabc";
    stream.write_all(head).await.unwrap();
    let answer = parse(&to_end(&mut stream).await);
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
}

#[tokio::test]
async fn a_crowd_of_slow_connections_keeps_no_scrape_out() {
    let limits = Limits {
        connections: 8,
        eviction_grace: Duration::from_millis(5),
        // Longer than the test may take: only the crowd itself can push anybody out.
        head_wait: BOUND * 2,
        ..Limits::default()
    };
    let server = start(limits).await;
    let mut crowd = Vec::new();
    for _ in 0..50 {
        let mut stream = server.connect().await;
        // The server may have closed it already: that is the point.
        drop(stream.write_all(b"GET /metrics HTTP/1.1\r\n").await);
        crowd.push(stream);
    }
    assert_eq!(server.get("/metrics").await.status, 200);
    for stream in &mut crowd[..42] {
        assert!(to_end(stream).await.is_empty(), "the oldest had to go");
    }
}

#[tokio::test]
async fn a_burst_of_scrapes_is_answered_one_way_or_the_other() {
    let limits = Limits {
        connections: 16,
        scrapes: 4,
        ..Limits::default()
    };
    let server = start(limits).await;
    server.pages.publish(Arc::new(view::large(100)));
    let burst = (0..100).map(|_| server.get("/metrics"));
    let answers = futures_util::future::join_all(burst).await;
    let of = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!(of(200) + of(503), 100);
    assert!(of(200) >= 4);
}

async fn slow_scrape(server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // So that the page does not fit into what the kernel buffers.
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    // The answer has begun, and is not read on.
    let mut begin = [0; 15];
    timeout(BOUND, stream.read_exact(&mut begin))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200 OK");
    stream
}

#[tokio::test]
async fn scrapes_at_once_are_limited_and_a_reader_that_stalls_is_cut() {
    let limits = Limits {
        scrapes: 1,
        write_stall: Duration::from_millis(500),
        ..Limits::default()
    };
    let server = start(limits).await;
    server.pages.publish(Arc::new(view::large(QUEUES)));
    let mut slow = slow_scrape(&server).await;
    let refused = server.get("/metrics").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.json()["error"]["code"], "busy");
    assert_eq!(
        server.get("/-/healthy").await.status,
        200,
        "others are answered"
    );
    let whole = timeout(BOUND, async {
        loop {
            let answer = server.get("/metrics").await;
            if answer.status == 200 {
                return answer.body.len();
            }
        }
    })
    .await
    .expect("the place is given back once the slow reader is cut");
    assert!(
        to_end(&mut slow).await.len() < whole,
        "the slow reader was cut"
    );
}

#[tokio::test]
async fn a_scraper_that_hangs_up_in_the_middle_leaves_nothing_behind() {
    let limits = Limits {
        connections: 2,
        scrapes: 1,
        // Longer than the test may take: only the hanging up itself can free the place.
        write_stall: BOUND * 2,
        eviction_grace: BOUND * 2,
        ..Limits::default()
    };
    let server = start(limits).await;
    server.pages.publish(Arc::new(view::large(QUEUES)));
    for _ in 0..5 {
        let slow = slow_scrape(&server).await;
        drop(slow);
        timeout(BOUND, async {
            while server.get("/metrics").await.status != 200 {}
        })
        .await
        .expect("the place of who hung up is free again");
    }
}

#[tokio::test]
async fn shutdown_ends_in_time_whoever_is_connected() {
    let limits = Limits {
        drain: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = start(limits).await;
    server.pages.publish(Arc::new(view::large(QUEUES)));
    let _silent = server.connect().await;
    let mut half = server.connect().await;
    half.write_all(b"GET /met").await.unwrap();
    let _slow = slow_scrape(&server).await;
    server.stop.send(true).unwrap();
    timeout(BOUND, server.task)
        .await
        .expect("bounded")
        .expect("no panic");
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_request_in_progress_is_finished_at_shutdown() {
    let server = start(Limits {
        drain: BOUND,
        ..Limits::default()
    })
    .await;
    server.pages.publish(Arc::new(view::large(QUEUES)));
    let mut scrape = slow_scrape(&server).await;
    server.stop.send(true).unwrap();
    let rest = to_end(&mut scrape).await;
    assert!(
        rest.ends_with(b"\n") && rest.len() > 8_000_000,
        "{} bytes",
        rest.len()
    );
    timeout(BOUND, server.task)
        .await
        .expect("bounded")
        .expect("no panic");
}
