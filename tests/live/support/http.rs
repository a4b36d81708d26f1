//! A client without opinions: no redirects, no proxies, a bound on each request.

use std::sync::Once;
use std::time::Duration;

use serde_json::Value;

/// An answer on loopback takes milliseconds; a busy machine gets time.
const REQUEST_BOUND: Duration = Duration::from_secs(10);

static PROVIDER: Once = Once::new();

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON; panics unless the status is 200.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        serde_json::from_str(&self.text).unwrap()
    }
}

/// A client.
#[derive(Debug, Clone)]
pub(crate) struct Http(reqwest::Client);

impl Http {
    pub(crate) fn new() -> Self {
        Self::with_headers(reqwest::header::HeaderMap::new())
    }

    /// The same, telling a user and a password with each request.
    pub(crate) fn signed_in(user: &str, password: &str) -> Self {
        use base64::Engine as _;
        let encoded =
            base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let value = format!("Basic {encoded}").parse().unwrap();
        Self::with_headers(
            [(reqwest::header::AUTHORIZATION, value)]
                .into_iter()
                .collect(),
        )
    }

    fn with_headers(headers: reqwest::header::HeaderMap) -> Self {
        PROVIDER.call_once(|| {
            // Another one cannot have been installed: this is the only place that does.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let client = reqwest::Client::builder()
            .no_proxy()
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(REQUEST_BOUND)
            .build();
        Self(client.unwrap())
    }

    /// GET; `None` if there is no answer.
    pub(crate) async fn try_get(&self, url: &str, accept: &str) -> Option<Answer> {
        let request = self.0.get(url).header("Accept", accept);
        answer(request).await.ok()
    }

    /// GET.
    pub(crate) async fn get(&self, url: &str) -> Answer {
        self.get_as(url, "*/*").await
    }

    /// GET with an `Accept` header.
    pub(crate) async fn get_as(&self, url: &str, accept: &str) -> Answer {
        let request = self.0.get(url).header("Accept", accept);
        answer(request)
            .await
            .unwrap_or_else(|error| panic!("GET {url}: {error:?}"))
    }

    /// PUT, POST or DELETE.
    pub(crate) async fn send(&self, method: &str, url: &str, body: &str) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let form = "application/x-www-form-urlencoded";
        let request = self.0.request(method, url).header("Content-Type", form);
        answer(request.body(body.to_owned()))
            .await
            .unwrap_or_else(|error| panic!("{url}: {error:?}"))
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    Ok(Answer {
        status: response.status().as_u16(),
        text: response.text().await?,
    })
}

/// An RFC 3339 timestamp as milliseconds since the Unix epoch.
pub(crate) fn millis(value: &Value) -> i64 {
    let text = value
        .as_str()
        .unwrap_or_else(|| panic!("no instant: {value}"));
    chrono::DateTime::parse_from_rfc3339(text)
        .unwrap()
        .timestamp_millis()
}

/// Milliseconds since the Unix epoch as an RFC 3339 timestamp.
pub(crate) fn rfc3339(millis: i64) -> String {
    chrono::DateTime::from_timestamp_millis(millis)
        .unwrap()
        .format("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}
