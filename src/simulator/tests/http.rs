//! The same over real sockets: encoding, dates, and how answers travel.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;
use crate::clock::SystemClock;

/// No answer of a sound simulator takes longer.
const BOUND: Duration = Duration::from_secs(20);

pub(super) struct Served {
    pub(super) base: String,
    pub(super) client: reqwest::Client,
    pub(super) platform: Arc<Mutex<SimulatedPlatform>>,
    stop: oneshot::Sender<()>,
    server: tokio::task::JoinHandle<()>,
    pub(super) token: String,
}

impl Served {
    async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    pub(super) async fn start_with(adjust: impl FnOnce(&mut SimulatorOptions)) -> Self {
        // A second test of this process finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = SystemClock::new();
        let mut options = SimulatorOptions {
            origin: clock.now().wall,
            ..options(50)
        };
        adjust(&mut options);
        let platform = Arc::new(Mutex::new(SimulatedPlatform::new(options).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(super::super::serve::serve(
            listener,
            Arc::clone(&platform),
            clock,
            async {
                let _ = stopped.await;
            },
        ));
        let client = reqwest::Client::builder().timeout(BOUND).build().unwrap();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "demo"),
            ("client_secret", "demo"),
        ];
        let login = client
            .post(format!("{base}/oauth/token"))
            .form(&form)
            .send()
            .await
            .unwrap();
        let body: Value = serde_json::from_slice(&login.bytes().await.unwrap()).unwrap();
        let token = text(&body["access_token"]).to_owned();
        Self {
            base,
            client,
            platform,
            stop,
            server,
            token,
        }
    }

    async fn get(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        self.client
            .get(format!("{}{path}", self.base))
            .bearer_auth(&self.token)
            .send()
            .await
    }

    pub(super) async fn faults(&self, plan: &str) {
        let url = format!("{}/simulator/faults", self.base);
        let answer = self
            .client
            .put(url)
            .body(plan.to_owned())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }

    pub(super) async fn end(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(BOUND, self.server)
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn a_client_over_http_sees_what_a_virtual_one_sees() {
    let served = Served::start().await;
    let answer = served.get("/api/v2/users/statuses").await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["inin-ratelimit-allowed"], "300");
    assert!(answer.headers().contains_key("inin-correlation-id"));
    let date = answer.headers()["date"].to_str().unwrap().to_owned();
    assert!(date.ends_with(" GMT"), "{date}");
    // reqwest asks for gzip and unpacks it.
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(body.as_array().unwrap().len(), 50);
    let raw = reqwest::Client::builder()
        .no_gzip()
        .timeout(BOUND)
        .build()
        .unwrap();
    let url = format!("{}/api/v2/users", served.base);
    let packed = raw
        .get(&url)
        .bearer_auth(&served.token)
        .header("Accept-Encoding", "gzip");
    let packed = packed.send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert!(packed.bytes().await.unwrap().starts_with(&[0x1f, 0x8b]));
    let plain = raw
        .get(&url)
        .bearer_auth(&served.token)
        .header("Accept-Encoding", "gzip;q=0");
    assert!(
        plain
            .send()
            .await
            .unwrap()
            .headers()
            .get("content-encoding")
            .is_none()
    );
    assert_eq!(served.platform.lock().unwrap().statistics().requests, 4);
    served.end().await;
}

#[tokio::test]
async fn a_cut_body_is_shorter_than_it_was_said_to_be() {
    let served = Served::start().await;
    served.faults("cut-body").await;
    let answer = served.get("/api/v2/users/statuses").await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err());
    served.faults("none").await;
    assert!(
        served
            .get("/api/v2/users/statuses")
            .await
            .unwrap()
            .bytes()
            .await
            .is_ok()
    );
    served.end().await;
}

#[tokio::test]
async fn a_slow_body_begins_and_does_not_end() {
    let served = Served::start().await;
    served.faults("slow-body").await;
    let mut answer = served.get("/api/v2/users/statuses").await.unwrap();
    let first = answer.chunk().await.unwrap().unwrap();
    assert!(!first.is_empty());
    // The server ends although the body has not.
    served.end().await;
    let mut rest = Ok(Some(first));
    while let Ok(Some(_)) = rest {
        rest = answer.chunk().await;
    }
    assert!(rest.is_err(), "the rest never came");
}

#[tokio::test]
async fn a_slow_answer_outlasts_a_short_patience() {
    let served = Served::start().await;
    served.faults("slow:users=1h").await;
    let url = format!("{}/api/v2/users", served.base);
    let impatient = served
        .client
        .get(url)
        .bearer_auth(&served.token)
        .timeout(Duration::from_millis(100));
    assert!(impatient.send().await.unwrap_err().is_timeout());
    assert_eq!(
        served.get("/api/v2/routing/queues").await.unwrap().status(),
        200
    );
    served.end().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let served = Served::start().await;
    let url = format!("{}/simulator/faults", served.base);
    let answer = served
        .client
        .put(url)
        .body(vec![b'x'; 256 * 1_024 + 1])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 413);
    served.end().await;
}
