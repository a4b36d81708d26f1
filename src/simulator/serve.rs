//! The simulated platform over HTTP/1.1; with `socket`, all of the simulator that does I/O.
//!
//! Translates requests and answers, and enacts how an answer travels. It decides nothing: the
//! bytes are [`SimulatedPlatform::handle`]'s.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HOST};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::exchange::{Delivery, SimRequest, SimResponse};
use super::platform::SimulatedPlatform;
use super::socket::{Sockets, lock};
use crate::clock::SystemClock;

/// The topics of a channel have some hundred kilobytes; more is not for us.
const BODY_MAX: usize = 256 * 1_024;
/// A client that takes longer for its head has gone.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers under way may end within this when the simulator stops; the rest is cut off.
const DRAIN: Duration = Duration::from_secs(1);
/// Pause after a failed accept (too many open files, mostly), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A slow body comes in pieces of this size …
const DRIP_BYTES: usize = 64;
/// … one in this time: 100 kB take a quarter of an hour.
const DRIP_PAUSE: Duration = Duration::from_millis(500);
/// Before a body is cut: hyper discards what it has not sent when a body fails.
const CUT_PAUSE: Duration = Duration::from_millis(50);

type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

/// Serves until `stop` is done.
pub async fn serve(
    listener: TcpListener,
    platform: Arc<Mutex<SimulatedPlatform>>,
    clock: SystemClock,
    stop: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    let (drain, draining) = watch::channel(false);
    let sockets = Sockets::new(Arc::clone(&platform), clock);
    // Dropped at the end: what has not drained by then is cut off.
    let mut connections = JoinSet::new();
    let pump = sockets.pump();
    tokio::pin!(stop, pump);
    loop {
        tokio::select! {
            () = &mut stop => break,
            () = &mut pump => {}
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    let platform = Arc::clone(&platform);
                    let sockets = Arc::clone(&sockets);
                    let service = service_fn(move |request| {
                        answer(Arc::clone(&platform), Arc::clone(&sockets), clock, request)
                    });
                    let connection = http
                        .serve_connection(TokioIo::new(socket), service)
                        .with_upgrades();
                    connections.spawn(carry(connection, draining.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the simulator cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    sockets.end();
    // Every receiver is held by a connection: without any there is nobody to tell.
    drain.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    drop(tokio::time::timeout(DRAIN, drained).await);
}

/// Serves a connection until it ends or, when draining, until its answer under way has.
async fn carry<S>(
    connection: http1::UpgradeableConnection<TokioIo<TcpStream>, S>,
    mut draining: watch::Receiver<bool>,
) where
    S: HttpService<Incoming, ResBody = AnswerBody> + Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    tokio::pin!(connection);
    let told = async { drop(draining.wait_for(|&draining| draining).await) };
    // A connection that breaks is the client's affair, and with some faults the aim.
    tokio::select! {
        ended = connection.as_mut() => drop(ended),
        () = told => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
}

async fn answer(
    platform: Arc<Mutex<SimulatedPlatform>>,
    sockets: Arc<Sockets>,
    clock: SystemClock,
    mut request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    if let Some(response) = sockets.answer(&mut request) {
        return Ok(response.map(|()| full(Bytes::new())));
    }
    let gzip = accepts_gzip(&request);
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let request = SimRequest {
        method: head.method.as_str().to_owned(),
        path_and_query: head
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned(),
        authorization: head
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
        host: head
            .headers
            .get(HOST)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
        body: body.to_bytes(),
    };
    let response = lock(&platform).handle(&request, clock.now().wall);
    sockets.wake();
    if let Delivery::Delayed(delay) = response.delivery {
        tokio::time::sleep(delay.to_duration()).await;
    }
    Ok(translate(response, gzip))
}

fn accepts_gzip(request: &Request<Incoming>) -> bool {
    request
        .headers()
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            name.trim().eq_ignore_ascii_case("gzip")
                && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
        })
}

fn translate(response: SimResponse, gzip: bool) -> Response<AnswerBody> {
    let SimResponse {
        status,
        headers,
        mut body,
        delivery,
    } = response;
    let mut out = plain(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::try_from(name),
            HeaderValue::try_from(value),
        ) {
            out.headers_mut().insert(name, value);
        }
    }
    if gzip && !body.is_empty() {
        body = compress(&body);
        out.headers_mut()
            .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    // Stated for every delivery, so that a body that is cut is shorter than it was said to be.
    out.headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    *out.body_mut() = match delivery {
        Delivery::Normal | Delivery::Delayed(_) => full(body),
        Delivery::SlowBody => drip(body),
        Delivery::CutBody => cut(&body),
    };
    out
}

fn plain(status: StatusCode) -> Response<AnswerBody> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}

fn full(body: Bytes) -> AnswerBody {
    Full::new(body)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// The body in pieces with pauses between.
fn drip(body: Bytes) -> AnswerBody {
    let pieces = stream::unfold((body, false), |(mut left, pause)| async move {
        if left.is_empty() {
            return None;
        }
        if pause {
            tokio::time::sleep(DRIP_PAUSE).await;
        }
        let piece = left.split_to(DRIP_BYTES.min(left.len()));
        Some((Ok(Frame::data(piece)), (left, true)))
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// Half of the body, then an error, upon which hyper closes the connection.
fn cut(body: &Bytes) -> AnswerBody {
    let half = body.slice(..body.len() / 2);
    let pieces = stream::unfold(Some(half), |half| async move {
        match half {
            Some(half) if !half.is_empty() => Some((Ok(Frame::data(half)), Some(Bytes::new()))),
            Some(_) => {
                tokio::time::sleep(CUT_PAUSE).await;
                Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), None))
            }
            None => None,
        }
    });
    StreamBody::new(pieces).boxed_unsync()
}

fn compress(body: &Bytes) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder
        .write_all(body)
        .expect("writing to a vector cannot fail");
    Bytes::from(encoder.finish().expect("writing to a vector cannot fail"))
}
