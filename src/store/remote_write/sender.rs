//! Sends closed windows, one at a time and in order, and keeps what is refused.
//!
//! The same bytes are sent again until they are taken or refused for good. It ends when told to.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use secrecy::ExposeSecret;
use tokio::sync::watch;

use crate::config::RemoteWriteConfig;
use crate::crash::{CrashPoint, passing};
use crate::model::time::{Millis, UnixMillis};
use crate::model::window::WindowSpec;
use crate::upstream::plain_client;

use super::super::error::StoreError;
use super::super::handle::StoreHandle;
use super::super::{ReadError, WindowQuery, WindowReader};
use super::message::body;

/// Between two looks at what is closed: short beside a window.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// First wait after a failure; doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// Longest wait of our own; and of what a receiver asks for.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Rows a request: some 4,500 samples, and about 50 KiB compressed. Receivers take megabytes.
const ROWS_A_REQUEST: usize = 500;

/// Bytes of a refusal that are kept: enough for its first sentence.
const REASON_BYTES_MAX: usize = 1_024;

/// Hears what the sender does; counts and logs are its business.
pub trait RemoteWriteObserver: Send {
    /// A window was taken, or there was nothing of it to send.
    fn sent(&mut self, window_end: UnixMillis);
    /// A request was refused for good; it is kept as a dead letter.
    fn refused(&mut self, letter: &DeadSamples);
    /// Something failed and is tried again.
    fn failed(&mut self, error: &(dyn Error + 'static));
}

/// A request that was refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadSamples {
    /// End of the window.
    pub window_end: UnixMillis,
    /// The status that it was refused with.
    pub status: u16,
    /// What the receiver said.
    pub reason: String,
    /// The request's body.
    pub body: Vec<u8>,
}

/// Why samples were not sent.
#[derive(Debug, thiserror::Error)]
pub enum RemoteWriteError {
    /// The client cannot be set up.
    #[error("cannot set up the client of remote write")]
    Client(#[source] reqwest::Error),
    /// No answer.
    #[error("cannot reach the receiver of remote write at {place}")]
    Send {
        /// Its host and port.
        place: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It answered, and not that it took them.
    #[error("the receiver of remote write at {place} answered {status}: {reason}")]
    Status {
        /// Its host and port.
        place: String,
        /// The status.
        status: StatusCode,
        /// The beginning of what it said.
        reason: String,
    },
    /// The store cannot be asked.
    #[error("cannot read closed windows")]
    Read(#[source] ReadError),
    /// The store cannot be asked, or told.
    #[error("cannot note how far remote write has come")]
    Store(#[source] StoreError),
}

/// Sends what is closed.
pub struct RemoteWrite {
    client: reqwest::Client,
    url: url::Url,
    place: String,
    headers: HeaderMap,
    org: String,
    window: WindowSpec,
    store: StoreHandle,
    windows: Arc<dyn WindowReader>,
}

/// What became of a request in the end.
enum Delivery {
    Taken,
    Refused(DeadSamples),
    /// We were told to stop.
    Stopped,
}

/// What a request was answered.
enum Answer {
    Taken,
    Refused(DeadSamples),
    Again(RemoteWriteError, Option<Duration>),
}

impl RemoteWrite {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// If the client cannot be set up.
    pub fn new(
        config: &RemoteWriteConfig,
        org: &str,
        window: WindowSpec,
        store: StoreHandle,
        windows: Arc<dyn WindowReader>,
    ) -> Result<Self, RemoteWriteError> {
        let mut builder = plain_client().timeout(config.timeout.to_duration());
        if config.url.scheme() == "http" {
            // No certificate will be checked, so an image without any can send too.
            builder = builder.tls_certs_only([]);
        }
        let host = config.url.host_str().unwrap_or_default();
        let port = config.url.port_or_known_default().unwrap_or_default();
        Ok(Self {
            client: builder.build().map_err(RemoteWriteError::Client)?,
            url: config.url.clone(),
            place: format!("{host}:{port}"),
            headers: headers(config),
            org: org.to_owned(),
            window,
            store,
            windows,
        })
    }

    /// Sends until `stop` turns true or its sender is gone.
    pub async fn run(
        self,
        mut stop: watch::Receiver<bool>,
        mut observer: impl RemoteWriteObserver,
    ) {
        let mut backoff = BACKOFF_FIRST;
        while !*stop.borrow() {
            let wait = match self.step(&mut stop, &mut observer).await {
                Ok(true) => {
                    backoff = BACKOFF_FIRST;
                    continue;
                }
                Ok(false) => {
                    backoff = BACKOFF_FIRST;
                    LOOK_EVERY
                }
                Err(error) => {
                    observer.failed(&error);
                    let wait = backoff;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                    wait
                }
            };
            if stopped(&mut stop, wait).await {
                return;
            }
        }
    }

    /// The next window that is closed for every agent; says whether there was one.
    async fn step(
        &self,
        stop: &mut watch::Receiver<bool>,
        observer: &mut impl RemoteWriteObserver,
    ) -> Result<bool, RemoteWriteError> {
        let alone = self.store.sends_alone().await;
        if !alone.map_err(RemoteWriteError::Store)? {
            return Ok(false);
        }
        let closed = self.store.window_closed_until().await;
        let Some(closed) = closed.map_err(RemoteWriteError::Store)? else {
            return Ok(false);
        };
        let sent = self
            .store
            .sent_until()
            .await
            .map_err(RemoteWriteError::Store)?;
        let Some(sent) = sent else {
            // The first time: what is closed already is the past, and not sent.
            self.note(closed, Vec::new()).await?;
            return Ok(false);
        };
        let end = self.window.next_end(sent);
        if end > closed {
            return Ok(false);
        }
        let mut dead = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.page(end, cursor).await?;
            if !page.rows.is_empty() {
                let body = body(&self.org, &page.rows);
                match self.deliver(end, body, stop, observer).await {
                    Delivery::Taken => passing(CrashPoint::Sent),
                    Delivery::Refused(letter) => dead.push(letter),
                    Delivery::Stopped => return Ok(false),
                }
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        self.note(end, dead).await?;
        observer.sent(end);
        Ok(true)
    }

    /// Sends until it is taken or refused for good, or we are told to stop.
    async fn deliver(
        &self,
        end: UnixMillis,
        body: Vec<u8>,
        stop: &mut watch::Receiver<bool>,
        observer: &mut impl RemoteWriteObserver,
    ) -> Delivery {
        let body = bytes::Bytes::from(body);
        let mut backoff = BACKOFF_FIRST;
        loop {
            match self.post(end, body.clone()).await {
                Answer::Taken => return Delivery::Taken,
                Answer::Refused(letter) => {
                    observer.refused(&letter);
                    return Delivery::Refused(letter);
                }
                Answer::Again(error, asked) => {
                    observer.failed(&error);
                    if stopped(stop, asked.unwrap_or(backoff)).await {
                        return Delivery::Stopped;
                    }
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    async fn post(&self, window_end: UnixMillis, body: bytes::Bytes) -> Answer {
        let request = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone());
        let mut answer = match request.body(body.clone()).send().await {
            Ok(answer) => answer,
            Err(source) => {
                let (place, source) = (self.place.clone(), source.without_url());
                return Answer::Again(RemoteWriteError::Send { place, source }, None);
            }
        };
        let status = answer.status();
        if status.is_success() {
            return Answer::Taken;
        }
        let asked = retry_after(answer.headers());
        let reason = reason(&mut answer).await;
        if is_refusal(status) {
            return Answer::Refused(DeadSamples {
                window_end,
                status: status.as_u16(),
                reason,
                body: body.to_vec(),
            });
        }
        let place = self.place.clone();
        let error = RemoteWriteError::Status {
            place,
            status,
            reason,
        };
        Answer::Again(error, asked)
    }

    /// Rows of the window that ends at `end`.
    async fn page(
        &self,
        end: UnixMillis,
        cursor: Option<String>,
    ) -> Result<super::super::WindowPage, RemoteWriteError> {
        let start = end - self.window.length;
        let query = WindowQuery {
            from: start,
            to: start + Millis(1),
            user: None,
            cursor,
            limit: ROWS_A_REQUEST,
        };
        let windows = Arc::clone(&self.windows);
        tokio::task::spawn_blocking(move || windows.windows(&query))
            .await
            .unwrap_or_else(|died| Err(ReadError::Store(Box::new(died))))
            .map_err(RemoteWriteError::Read)
    }

    async fn note(
        &self,
        until: UnixMillis,
        dead: Vec<DeadSamples>,
    ) -> Result<(), RemoteWriteError> {
        let noted = self.store.note_sent(until, dead).await;
        noted.map_err(RemoteWriteError::Store)
    }
}

/// Whether the samples themselves are refused. What is wrong with the address or with who we are
/// can be mended, and nothing is lost until then: that is tried again, as are 429 and 5xx.
fn is_refusal(status: StatusCode) -> bool {
    let mendable = [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
        StatusCode::METHOD_NOT_ALLOWED,
        StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    status.is_client_error() && !mendable.contains(&status)
}

/// What the specification asks for, and the user's own over it.
fn headers(config: &RemoteWriteConfig) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let own = concat!("genesys-cloud-exporter/", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        (CONTENT_TYPE, "application/x-protobuf"),
        (CONTENT_ENCODING, "snappy"),
        (USER_AGENT, own),
        (
            HeaderName::from_static("x-prometheus-remote-write-version"),
            "0.1.0",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in &config.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_str(value.expose_secret());
        let (Ok(name), Ok(mut value)) = (name, value) else {
            continue; // The configuration has refused such.
        };
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    headers
}

/// Seconds that the receiver asks us to wait; a date is not heeded.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds: u64 = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// The beginning of what it said, on one line.
async fn reason(answer: &mut reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < REASON_BYTES_MAX {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            _ => break,
        }
    }
    bytes.truncate(REASON_BYTES_MAX);
    let text = String::from_utf8_lossy(&bytes);
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(plain).collect()
}

/// Waits; whether we were told to stop meanwhile.
async fn stopped(stop: &mut watch::Receiver<bool>, wait: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(wait) => false,
        // An error means that the sender is gone, which is a stop too.
        _ = stop.wait_for(|stop| *stop) => true,
    }
}
