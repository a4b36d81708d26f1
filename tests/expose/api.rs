//! What each path answers.

use std::io::Read as _;
use std::sync::Arc;

use genesys_cloud_exporter::expose::Limits;
use genesys_cloud_exporter::model::ids::UserId;
use genesys_cloud_exporter::model::time::{Millis, Monotonic, UnixMillis};
use genesys_cloud_exporter::model::window::{WindowMetrics, WindowQuality, WindowRow};
use genesys_cloud_exporter::store::{ReadError, WindowPage};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::client::{Server, one_answer, start, start_with};
use crate::view;

async fn with_view() -> Server {
    let server = start(Limits::default()).await;
    server.pages.publish(Arc::new(view::small()));
    server
}

/// Lines that do not change from scrape to scrape.
fn steady(page: &str) -> Vec<&str> {
    page.lines()
        .filter(|line| !line.starts_with("process_"))
        .collect()
}

#[tokio::test]
async fn paths_methods_and_types() {
    let server = with_view().await;
    let (html, plain, json) = (
        "text/html; charset=utf-8",
        "text/plain; charset=utf-8",
        "application/json; charset=utf-8",
    );
    for (method, path, status, content_type) in [
        ("GET", "/", 200, html),
        ("GET", "/board.css", 200, "text/css; charset=utf-8"),
        ("GET", "/board.js", 200, "text/javascript; charset=utf-8"),
        ("GET", "/board.svg", 200, "image/svg+xml"),
        (
            "HEAD",
            "/api/v1/stream",
            200,
            "text/event-stream; charset=utf-8",
        ),
        (
            "GET",
            "/metrics",
            200,
            "text/plain; version=0.0.4; charset=utf-8",
        ),
        (
            "GET",
            "/metrics?x=y",
            200,
            "text/plain; version=0.0.4; charset=utf-8",
        ),
        ("GET", "/-/healthy", 200, plain),
        ("GET", "/-/ready", 200, plain),
        ("GET", "/api/v1/agents", 200, json),
        ("GET", "/api/v1/queues", 200, json),
        ("GET", "/api/v1/windows", 200, json),
        ("GET", "/api/v1/status", 200, json),
        ("GET", "/api/v1/agents/agent-0001", 200, json),
        ("GET", "/api/v1/agents/agent-9999", 404, json),
        ("GET", "/api/v1/agents?colour=red", 400, json),
        ("GET", "/metrics/", 404, json),
        ("GET", "/%2e%2e/etc/passwd", 404, json),
        ("POST", "/metrics", 405, json),
        ("DELETE", "/api/v1/agents/agent-0001", 405, json),
        ("OPTIONS", "/", 405, json),
        ("BREW", "/metrics", 405, json),
        ("POST", "/nowhere", 404, json),
    ] {
        let answer = server.ask(method, path, "").await;
        let place = format!("{method} {path}");
        assert_eq!(answer.status, status, "{place}");
        assert_eq!(answer.header("content-type"), Some(content_type), "{place}");
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{place}"
        );
        assert_eq!(
            answer.header("allow"),
            (status == 405).then_some("GET, HEAD"),
            "{place}"
        );
        if status >= 400 {
            let error = &answer.json()["error"];
            assert!(
                error["code"].is_string() && error["message"].is_string(),
                "{place}"
            );
            assert!(!answer.text().contains("etc/passwd"), "errors echo nothing");
        }
    }
}

#[tokio::test]
async fn gzip_and_plain_pages_are_the_same_page() {
    let server = with_view().await;
    for accept in [
        "Accept: */*\r\n",
        "Accept: application/openmetrics-text\r\n",
    ] {
        let plain = server.ask("GET", "/metrics", accept).await;
        let zipped = server
            .ask(
                "GET",
                "/metrics",
                &format!("{accept}Accept-Encoding: gzip\r\n"),
            )
            .await;
        assert_eq!(plain.header("content-encoding"), None);
        assert_eq!(zipped.header("content-encoding"), Some("gzip"));
        assert_eq!(zipped.header("vary"), Some("Accept, Accept-Encoding"));
        assert_eq!(zipped.header("content-type"), plain.header("content-type"));
        assert!(zipped.body.len() * 2 < plain.body.len());
        let mut unzipped = String::new();
        flate2::read::GzDecoder::new(&zipped.body[..])
            .read_to_string(&mut unzipped)
            .unwrap();
        assert_eq!(steady(&unzipped), steady(&plain.text()));
        assert!(steady(&unzipped).len() > 200);
    }
}

#[tokio::test]
async fn openmetrics_when_asked_for() {
    let server = with_view().await;
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let answer = server.ask("GET", "/metrics", accept).await;
    let content_type = answer.header("content-type").unwrap();
    assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(answer.text().ends_with("# EOF\n"));
    let garbage = server
        .ask("GET", "/metrics", "Accept: \u{1}\u{80}\r\nAccept: ;q=\r\n")
        .await;
    assert!([200, 400].contains(&garbage.status));
}

#[tokio::test]
async fn head_has_the_head_only() {
    let server = with_view().await;
    for path in ["/metrics", "/api/v1/agents", "/nowhere"] {
        let (get, head) = (server.get(path).await, server.ask("HEAD", path, "").await);
        assert_eq!(head.status, get.status, "{path}");
        assert!(head.body.is_empty(), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
        let length: usize = head.header("content-length").unwrap().parse().unwrap();
        assert!(length > 0, "{path}");
    }
}

#[tokio::test]
async fn readiness_and_health_follow_the_pipeline() {
    let server = start(Limits::default()).await;
    let ready = server.get("/-/ready").await;
    assert_eq!(
        (ready.status, ready.text().as_str()),
        (503, "no snapshot was accepted yet\n")
    );
    let page = server.get("/metrics").await;
    assert_eq!(page.status, 200);
    assert!(
        page.text().contains("genesyscloud_up 0\n")
            && !page.text().contains("genesyscloud_agents{")
    );
    server.pages.publish(Arc::new(view::small()));
    assert_eq!(server.get("/-/ready").await.status, 200);
    assert_eq!(server.get("/-/healthy").await.text(), "healthy\n");
    server.pulse.beat(Monotonic(-100_000));
    let unhealthy = server.get("/-/healthy").await;
    assert_eq!(unhealthy.status, 503);
    assert!(
        unhealthy
            .text()
            .starts_with("the pipeline has not moved for 100 s")
    );
}

#[tokio::test]
async fn agents_are_normalised_records() {
    let server = with_view().await;
    let one = server.get("/api/v1/agents/agent-0001").await.json();
    assert_eq!(
        one,
        json!({
            "userId": "agent-0001", "timestamp": "2024-05-14T08:30:00.000Z",
            "uiPresence": "On Queue", "routingAvailability": "Available", "wrapupCode": null,
            "queueAssignments": ["Sales_US", "Support \"Tier\\2\"\né"],
            "stateDurationSeconds": 1420.25,
            "stateEnteredTimestamp": "2024-05-14T08:06:19.750Z",
            "ingestedAt": "2024-05-14T08:30:00.040Z", "source": "routing", "volatile": false,
        })
    );
    for (query, ids) in [
        ("", vec!["agent-0001", "agent-0002", "agent-0003"]),
        ("?queue=Sales_US", vec!["agent-0001", "agent-0002"]),
        ("?queue=q-2", vec!["agent-0001"]),
        ("?state=not_ready", vec!["agent-0002"]),
        ("?state=Unknown", vec!["agent-0003"]),
        ("?queue=Sales_US&state=on_call", vec![]),
        ("?queue=nobody", vec![]),
    ] {
        let answer = server.get(&format!("/api/v1/agents{query}")).await.json();
        let found: Vec<_> = answer["agents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| &a["userId"])
            .collect();
        assert_eq!(found, ids, "{query}");
    }
    let never_joined = server.get("/api/v1/agents/agent-0003").await.json();
    assert_eq!(never_joined["stateDurationSeconds"], json!(null));
    assert_eq!(never_joined["timestamp"], never_joined["ingestedAt"]);
}

#[tokio::test]
async fn queues_and_status() {
    let server = with_view().await;
    let queues = server.get("/api/v1/queues").await.json();
    assert_eq!(
        queues["queues"][0],
        json!({
            "queueId": "q-1", "name": "Sales_US", "phantomAvailable": 1, "volatile": 0,
            "members": {"available": 3, "not_ready": 1, "on_call": 2, "wrap_up": 0, "unknown": 0},
            "oldestStateEntered": {
                "available": "2024-05-14T08:06:19.750Z", "not_ready": "2024-05-14T08:29:59.995Z",
                "on_call": "2024-05-14T08:29:00.000Z", "wrap_up": null, "unknown": null,
            },
        })
    );
    server.telemetry.event_queue(7, Some(UnixMillis(1_000)));
    let status = server.get("/api/v1/status").await.json();
    for (pointer, expected) in [
        ("/version", json!(env!("CARGO_PKG_VERSION"))),
        ("/ready", json!(true)),
        ("/breaker/state", json!("closed")),
        ("/pollIntervalSeconds", json!(15.0)),
        ("/snapshots/acceptedAt", json!("2024-05-14T08:30:00.040Z")),
        ("/budget/remainingRequests", json!(281)),
        ("/divergence/compared", json!(2)),
        ("/join/coverage", json!(0.8)),
        ("/queue/depth", json!(7)),
        ("/queue/oldestAt", json!("1970-01-01T00:00:01.000Z")),
        ("/store/sizeBytes", json!(null)),
    ] {
        assert_eq!(status.pointer(pointer), Some(&expected), "{pointer}");
    }
}

#[tokio::test]
async fn windows_are_read_as_asked_and_failures_are_said() {
    let row = WindowRow {
        user_id: UserId::new("agent-0001"),
        window_start: UnixMillis(view::NOW.0),
        window_end: UnixMillis(view::NOW.0 + 300_000),
        metrics: WindowMetrics::from_states([150_000, 0, 120_000, 30_000, 0].map(Millis), 3),
        quality: WindowQuality {
            covered_seconds: Millis(300_000),
            estimated_seconds: Millis::ZERO,
            volatile: false,
            revision: 1,
        },
    };
    let server = start_with(Limits::default(), move |query| {
        match query.cursor.as_deref() {
            None => {
                assert_eq!(query.from, view::NOW);
                assert_eq!(
                    (query.limit, query.user.clone()),
                    (2, Some(UserId::new("agent-0001")))
                );
                Ok(WindowPage {
                    rows: vec![row.clone()],
                    next: Some("more".to_owned()),
                })
            }
            Some("broken") => Err(ReadError::Store("disk on fire".into())),
            Some(_) => Err(ReadError::Cursor),
        }
    })
    .await;
    let base = "/api/v1/windows?from=2024-05-14T08:30:00Z&to=2024-05-14T09:00:00Z&limit=2&userId=agent-0001";
    let page = server.get(base).await.json();
    assert_eq!(page["nextCursor"], "more");
    assert_eq!(page["windows"][0]["windowEnd"], "2024-05-14T08:35:00.000Z");
    assert_eq!(
        page["windows"][0]["metrics"]["availableSeconds"],
        json!(150)
    );
    assert_eq!(page["windows"][0]["quality"]["coveredSeconds"], json!(300));
    let bad = server.get(&format!("{base}&cursor=x")).await;
    assert_eq!(
        (bad.status, &bad.json()["error"]["code"]),
        (400, &json!("bad_parameter"))
    );
    let broken = server.get(&format!("{base}&cursor=broken")).await;
    assert_eq!(
        (broken.status, &broken.json()["error"]["code"]),
        (503, &json!("store_unavailable"))
    );
    assert!(!broken.text().contains("fire"), "causes are for the log");
    assert_eq!(server.telemetry.store_errors(), 1);
}

#[tokio::test]
async fn the_board_holds_no_figure_and_lets_nothing_foreign_run() {
    let server = with_view().await;
    let page = server.get("/").await;
    assert!(
        page.text()
            .contains("<script type=\"module\" src=\"board.js\">")
    );
    assert!(
        !page.text().contains("agent-0001"),
        "what is shown comes by the stream"
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[tokio::test]
async fn a_small_body_of_a_refused_request_leaves_the_connection_usable() {
    let server = with_view().await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        .await
        .unwrap();
    assert_eq!(one_answer(&mut stream).await.status, 405);
    stream
        .write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(one_answer(&mut stream).await.text(), "healthy\n");
}
