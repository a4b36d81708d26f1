//! What comes back: one HTTP answer or the reason why there is none, with the headers that matter.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{AGE, CONTENT_TYPE, DATE, RETRY_AFTER};

use super::headers::http_date;
use super::request::RequestId;
use crate::model::time::{Now, UnixMillis};

/// The outcome of one request, as the pipeline receives it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Which request.
    pub id: RequestId,
    /// When it was sent: an answer cannot describe the platform at an instant before this.
    pub sent_at: Now,
    /// When the last byte arrived: ingestion time.
    pub received_at: Now,
    /// The answer.
    pub result: Result<Response, TransportFailure>,
}

impl Answer {
    /// The body of an answer that came, which whoever reads it may let go of before all else.
    pub fn take_body(&mut self) -> Bytes {
        match &mut self.result {
            Ok(response) => std::mem::take(&mut response.body),
            Err(_) => Bytes::new(),
        }
    }
}

/// An HTTP answer, whole, decompressed, within the size limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers that matter.
    pub headers: Headers,
    /// The body. Of a successful login it holds only `expires_in`: the token stays in the client.
    pub body: Bytes,
}

/// Headers that matter, as texts; judged by pure code ([`super::headers`]).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    /// `Date`, in whole seconds; `None` if absent or unreadable.
    pub date: Option<UnixMillis>,
    /// `Age` was present and above zero: the answer passed a cache, its date is not now.
    pub aged: bool,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Retry-After`.
    pub retry_after: Option<String>,
    /// `inin-ratelimit-count`.
    pub rate_count: Option<String>,
    /// `inin-ratelimit-allowed`.
    pub rate_allowed: Option<String>,
    /// `inin-ratelimit-reset`.
    pub rate_reset: Option<String>,
}

/// Longest header value kept, in bytes; a longer one counts as absent.
pub(super) const HEADER_MAX: usize = 256;

impl Headers {
    /// The headers that matter of all that came, bounded.
    pub fn read(map: &HeaderMap) -> Self {
        let text = |name: &str| {
            map.get(name)
                .filter(|value| value.len() <= HEADER_MAX)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        Self {
            date: text(DATE.as_str()).as_deref().and_then(http_date),
            // An age that cannot be read says at least that a cache was in the way.
            aged: map
                .get(AGE)
                .is_some_and(|age| age.as_bytes().iter().any(|byte| *byte != b'0')),
            content_type: text(CONTENT_TYPE.as_str()),
            retry_after: text(RETRY_AFTER.as_str()),
            rate_count: text("inin-ratelimit-count"),
            rate_allowed: text("inin-ratelimit-allowed"),
            rate_reset: text("inin-ratelimit-reset"),
        }
    }
}

/// Why there is no answer: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransportFailure {
    /// No connection: refused, unreachable, name not found.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// Not in time.
    Timeout,
    /// The connection broke in the middle, or was not HTTP.
    Broken,
    /// The body exceeded the size limit.
    TooLarge,
    /// The client had no token to send.
    NoToken,
}

impl TransportFailure {
    /// Every failure.
    pub const ALL: [Self; 6] = [
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Broken,
        Self::TooLarge,
        Self::NoToken,
    ];

    /// The value of the label `code` where a status code would stand.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::TooLarge => "too_large",
            Self::NoToken => "no_token",
        }
    }
}
