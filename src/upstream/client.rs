//! Carries one request to the platform and its answer back: the only file that speaks HTTP to it.
//!
//! One attempt a call. Whether to repeat, to log in again or to wait is the pipeline's business;
//! so are status codes and what bodies mean. What is fixed here is what no decision may change:
//! no redirect is followed, no proxy of the environment used, nothing exceeds its size or
//! deadline, and no secret leaves by any other way than its header.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::oauth::Credentials;
use super::request::{ApiRequest, Endpoint, Method, RequestId};
use super::response::{Answer, Headers, Response, TransportFailure};
use crate::clock::SystemClock;
use crate::config::SourceConfig;
use crate::model::time::Millis;

#[cfg(test)]
mod tests;

/// Connecting, TLS included; a healthy region answers in a tenth (reliability.md M1).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Idle connections are dropped before servers and middle boxes drop them (reliability.md M2);
/// just longer than a poll interval, so that the next poll still finds one.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Of an answer without success only this much is read: its status must not be lost because a
/// gateway sends a picture with it.
const ERROR_BODY_MAX: usize = 64 * 1024;
/// Hears of every attempt: endpoint, status code or failure label, and how long it took.
pub trait RequestObserver: Send + Sync + 'static {
    /// Called once an attempt, after its last byte.
    fn observe(&self, endpoint: Endpoint, code: &str, took: Duration);
}

impl<F: Fn(Endpoint, &str, Duration) + Send + Sync + 'static> RequestObserver for F {
    fn observe(&self, endpoint: Endpoint, code: &str, took: Duration) {
        self(endpoint, code, took);
    }
}

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not `http` or `https`.
    #[error("{key} must begin with https:// (or http:// on loopback)")]
    Scheme {
        /// The setting.
        key: &'static str,
    },
    /// The URL carries a user or a password, which logs and proxies would show.
    #[error("{key} must not contain a user name or password; use client_id and client_secret_file")]
    Userinfo {
        /// The setting.
        key: &'static str,
    },
    /// The HTTP library refused, mostly because it found no CA certificates.
    #[error("cannot set up the HTTP client; are the system's CA certificates installed?")]
    Build(#[source] reqwest::Error),
}

/// The client of one organisation. Share it by reference or `Arc`; calls run side by side.
pub struct Client {
    http: reqwest::Client,
    api_url: Url,
    login_url: Url,
    credentials: Arc<Credentials>,
    observer: Option<Box<dyn RequestObserver>>,
    /// Bytes of the last snapshot. The next one gets so much room at once: growing to it would have
    /// both halves of the way in memory.
    snapshot_bytes: AtomicUsize,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("api_url", &self.api_url.as_str())
            .field("login_url", &self.login_url.as_str())
            .finish_non_exhaustive()
    }
}

/// What every HTTP client of ours is made from: it follows nobody, repeats nothing by itself,
/// leaves no trace of where it comes from, and speaks TLS by ring.
pub(crate) fn plain_client() -> reqwest::ClientBuilder {
    // The process may have installed one already; either way there is one, and it is ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .no_proxy()
        // One stalled HTTP/2 connection would stall every request (reliability.md M3); one of
        // HTTP/1.1 goes with the request that gets no answer.
        .http1_only()
        .tls_version_min(reqwest::tls::Version::TLS_1_2)
}

/// The client for an organisation's URLs.
fn builder(source: &SourceConfig, version: &str) -> reqwest::ClientBuilder {
    let is_https = |url: &Url| url.scheme() == "https";
    let builder = plain_client()
        .user_agent(format!("genesys-cloud-exporter/{version}"))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .https_only(is_https(&source.api_url) && is_https(&source.login_url));
    if is_https(&source.api_url) || is_https(&source.login_url) {
        builder
    } else {
        // No certificate will be checked, so an image without any must not stop the demo.
        builder.tls_certs_only([])
    }
}

impl Client {
    /// Sets up connections, but opens none. `version` is the exporter's, for the user agent.
    ///
    /// # Errors
    /// [`ClientError`] if a URL cannot be used or the system has no CA certificates.
    pub fn new(source: &SourceConfig, version: &str) -> Result<Self, ClientError> {
        usable(&source.api_url, "api_url")?;
        usable(&source.login_url, "login_url")?;
        Ok(Self {
            http: builder(source, version)
                .build()
                .map_err(ClientError::Build)?,
            api_url: source.api_url.clone(),
            login_url: source.login_url.clone(),
            credentials: Arc::new(Credentials::new(source)),
            observer: None,
            snapshot_bytes: AtomicUsize::new(0),
        })
    }

    /// The same client, telling `observer` of every attempt.
    #[must_use]
    pub fn with_observer(mut self, observer: impl RequestObserver) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Sends `request` once and waits for its answer, or for the reason why there is none, at
    /// most `timeout` all in all.
    ///
    /// A successful login leaves the token inside; its answer holds only `expires_in`
    /// (see [`super::wire_status::login`]). Every other request carries the current token.
    pub async fn send(
        &self,
        id: RequestId,
        request: &ApiRequest,
        timeout: Duration,
        clock: &SystemClock,
    ) -> Answer {
        let sent_at = clock.now();
        let deadline = clock.instant(sent_at.mono + Millis::from(timeout));
        let result = self.exchange(request, deadline).await;
        let received_at = clock.now();
        if let Some(observer) = &self.observer {
            let took = (received_at.mono - sent_at.mono).to_duration();
            match &result {
                Ok(response) => {
                    observer.observe(request.endpoint(), &response.status.to_string(), took);
                }
                Err(failure) => observer.observe(request.endpoint(), failure.label(), took),
            }
        }
        Answer {
            id,
            sent_at,
            received_at,
            result,
        }
    }

    async fn exchange(
        &self,
        request: &ApiRequest,
        deadline: Instant,
    ) -> Result<Response, TransportFailure> {
        let base = match request {
            ApiRequest::Login => &self.login_url,
            _ => &self.api_url,
        };
        // Without an address there is nothing to connect to.
        let address = address(base, &request.path_and_query()).ok_or(TransportFailure::Connect)?;
        let call = match request {
            ApiRequest::Login => {
                let credentials = Arc::clone(&self.credentials);
                // It can only fail by a panic; then the secret of before is used.
                let _ = tokio::task::spawn_blocking(move || credentials.reread()).await;
                Some(self.credentials.login(self.http.post(address)))
            }
            _ => self.credentials.authorise(match request.method() {
                Method::Get => self.http.get(address),
                Method::Post => self.http.post(address),
                Method::Put => self.http.put(address),
            }),
        };
        let call = call.ok_or(TransportFailure::NoToken)?;
        let mut call = call.header(ACCEPT, "application/json");
        if let Some(body) = request.body() {
            call = call.header(CONTENT_TYPE, "application/json").body(body);
        }
        let answer = timeout_at(deadline, call.send())
            .await
            .map_err(|_| TransportFailure::Timeout)?
            .map_err(|error| failure(&error, base.scheme() == "https"))?;

        let status = answer.status();
        let headers = Headers::read(answer.headers());
        let body = if status.is_success() {
            let limit = request.endpoint().body_max();
            let snapshot = request.endpoint() == Endpoint::Statuses;
            let last = self.snapshot_bytes.load(Ordering::Relaxed);
            let room = if snapshot { last + last / 16 } else { 0 };
            match read_body(answer, Vec::with_capacity(room.min(limit)), limit, deadline).await {
                (body, None) => {
                    if snapshot {
                        self.snapshot_bytes.store(body.len(), Ordering::Relaxed);
                    }
                    body
                }
                (_, Some(failure)) => return Err(failure),
            }
        } else {
            // Whatever becomes of the body: the status has been told.
            read_body(answer, Vec::new(), ERROR_BODY_MAX, deadline)
                .await
                .0
        };
        let body = match request {
            ApiRequest::Login if status.is_success() => self.credentials.accept(&body),
            _ => Bytes::from(body),
        };
        Ok(Response {
            status: status.as_u16(),
            headers,
            body,
        })
    }
}

/// Refuses URLs that the client could only misunderstand.
fn usable(url: &Url, key: &'static str) -> Result<(), ClientError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ClientError::Scheme { key });
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ClientError::Userinfo { key });
    }
    Ok(())
}

/// `path_and_query` below `base`. `None` if URL rules would make another path of it, as they do
/// with an id that is `..`, percent-encoded or not.
fn address(base: &Url, path_and_query: &str) -> Option<Url> {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let path = format!("{}{path}", base.path().trim_end_matches('/'));
    let mut url = base.clone();
    url.set_path(&path);
    url.set_query(query);
    url.set_fragment(None);
    (url.path() == path).then_some(url)
}

/// Reads at most `limit` decompressed bytes into the room of `body`; beside them, why there are not
/// all of them. Counted while they come, so that a compressed bomb costs no more than the limit
/// (reliability.md M26).
async fn read_body(
    mut answer: reqwest::Response,
    mut body: Vec<u8>,
    limit: usize,
    deadline: Instant,
) -> (Vec<u8>, Option<TransportFailure>) {
    loop {
        match timeout_at(deadline, answer.chunk()).await {
            Err(_) => return (body, Some(TransportFailure::Timeout)),
            Ok(Err(error)) => return (body, Some(failure(&error, false))),
            Ok(Ok(None)) => return (body, None),
            Ok(Ok(Some(chunk))) => {
                let room = limit - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    return (body, Some(TransportFailure::TooLarge));
                }
            }
        }
    }
}

/// Which failure an error of the HTTP library is. Its text is dropped: it names the URL.
fn failure(error: &reqwest::Error, https: bool) -> TransportFailure {
    if error.is_timeout() {
        return TransportFailure::Timeout;
    }
    if causes(error).any(<dyn StdError>::is::<rustls::Error>) {
        return TransportFailure::Tls;
    }
    if !error.is_connect() {
        return TransportFailure::Broken;
    }
    // A peer that hangs up after TCP is up has hung up on the TLS handshake.
    let hung_up = causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|io| {
            matches!(
                io.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
            )
        });
    if https && hung_up {
        TransportFailure::Tls
    } else {
        TransportFailure::Connect
    }
}

/// The error and all that lies behind it. An I/O error hides what it wraps from `source`, so
/// that is looked at too.
fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |cause| {
        let cause: &'e (dyn StdError + 'static) = *cause;
        let wrapped = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .map(|inner| inner as &(dyn StdError + 'static));
        wrapped.or_else(|| cause.source())
    })
}
