//! Which path gets which answer. Only GET and HEAD but for the reload, exact paths, fixed content types, no echo of
//! the request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{Semaphore, oneshot};

use super::api::{self, ApiError};
use super::board::{self, Asset};
use super::body::Pieces;
use super::negotiate;
use super::page::Format;
use super::served::Chosen;
use super::state::ServerState;
use super::{stream, windows};
use crate::model::time::Monotonic;

/// A request body is read only to leave the connection usable, up to this size…
const BODY_BYTES_MAX: usize = 16 * 1024;
/// …and for this long; then the connection is closed instead.
const BODY_WAIT: Duration = Duration::from_secs(1);
/// Seconds after which a reader turned away should come again: a scrape takes far less.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// By what browsers tell who is behind a request.
const FETCH_SITE: &str = "sec-fetch-site";

pub(super) const JSON: &str = "application/json; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    Metrics,
    Board,
    BoardAsset(Asset),
    Healthy,
    Ready,
    Status,
    Agents,
    Agent(String),
    Queues,
    Windows,
    Stream,
    Reload,
}

fn route(path: &str, telemetry_path: &str) -> Option<Route> {
    if path == telemetry_path {
        return Some(Route::Metrics);
    }
    Some(match path {
        "/" => Route::Board,
        "/-/healthy" => Route::Healthy,
        "/-/ready" => Route::Ready,
        "/-/reload" => Route::Reload,
        "/api/v1/status" => Route::Status,
        "/api/v1/agents" => Route::Agents,
        "/api/v1/queues" => Route::Queues,
        "/api/v1/windows" => Route::Windows,
        "/api/v1/stream" => Route::Stream,
        _ if board::asset(path).is_some() => Route::BoardAsset(board::asset(path)?),
        _ => {
            let id = path.strip_prefix("/api/v1/agents/")?;
            Route::Agent(api::decode_segment(id)?)
        }
    })
}

/// Answers a request; never fails.
pub(super) async fn respond(
    state: &Arc<ServerState>,
    request: Request<Incoming>,
) -> Response<Pieces> {
    let (head, body) = request.into_parts();
    let drained = drain(body).await;
    let response = match route(head.uri.path(), &state.telemetry_path) {
        None => error(&ApiError::not_found("there is nothing at this path")),
        Some(Route::Reload) => reload(state, &head.method, &head.headers).await,
        Some(_) if head.method != Method::GET && head.method != Method::HEAD => {
            let mut refusal = error(&ApiError::method_not_allowed());
            set(
                &mut refusal,
                header::ALLOW,
                HeaderValue::from_static("GET, HEAD"),
            );
            refusal
        }
        Some(route) => {
            let query = head.uri.query().unwrap_or_default();
            answer(state, route, &head.headers, query).await
        }
    };
    finish(response, drained)
}

/// What every answer has; without `reusable` the connection is closed after it.
pub(super) fn finish(mut response: Response<Pieces>, reusable: bool) -> Response<Pieces> {
    set(
        &mut response,
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    set(
        &mut response,
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    );
    if !reusable {
        set(
            &mut response,
            header::CONNECTION,
            HeaderValue::from_static("close"),
        );
    }
    if let Some(length) = response.body().len() {
        set(
            &mut response,
            header::CONTENT_LENGTH,
            HeaderValue::from(length),
        );
    }
    response
}

/// Reads and forgets a small request body; false if it was not small, or slow.
async fn drain(body: Incoming) -> bool {
    if body.is_end_stream() {
        return true;
    }
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return false;
    }
    let whole = Limited::new(body, BODY_BYTES_MAX).collect();
    matches!(tokio::time::timeout(BODY_WAIT, whole).await, Ok(Ok(_)))
}

async fn answer(
    state: &Arc<ServerState>,
    route: Route,
    headers: &HeaderMap,
    query: &str,
) -> Response<Pieces> {
    match route {
        Route::Metrics => metrics(state, headers).await,
        Route::Board => board(state),
        Route::BoardAsset(asset) => of(
            StatusCode::OK,
            asset.content_type,
            Bytes::from_static(asset.content.as_bytes()).into(),
        ),
        Route::Healthy => line(api::healthy(state.all(), state.clock.now().mono)),
        Route::Ready => line(api::ready(state.all())),
        Route::Reload => reload(state, &Method::GET, headers).await,
        Route::Status => json(status(state, query)),
        Route::Agents => {
            let query = api::AgentQuery::parse(query);
            in_background(state, move |state| {
                let query = query?;
                Ok(api::agents(chosen(state, query.org.as_deref())?, &query))
            })
            .await
        }
        Route::Agent(id) => json(api::agent(state.all(), &id)),
        Route::Queues => {
            let org = api::org(query);
            in_background(state, move |state| {
                Ok(api::queues(chosen(state, org?.as_deref())?))
            })
            .await
        }
        Route::Stream => follow(state, query),
        Route::Windows => {
            let query = api::window_query(query, state.clock.now().wall);
            in_background(state, move |state| {
                let (org, query) = query?;
                windows::read(chosen(state, org.as_deref())?, query)
            })
            .await
        }
    }
}

fn status(state: &ServerState, query: &str) -> Result<Vec<u8>, ApiError> {
    let chosen = chosen(state, api::org(query)?.as_deref())?;
    Ok(api::encode(&api::status(chosen)))
}

fn chosen<'s>(state: &'s ServerState, org: Option<&str>) -> Result<Chosen<'s>, ApiError> {
    let chosen = state.chosen(org);
    chosen.ok_or_else(|| ApiError::not_found("no organisation has this name"))
}

/// Reads the configuration again, if that may be asked for; a browser on another site's behalf
/// may not.
async fn reload(state: &ServerState, method: &Method, headers: &HeaderMap) -> Response<Pieces> {
    if method != Method::POST && method != Method::PUT {
        let mut refusal = error(&ApiError::only_post());
        set(
            &mut refusal,
            header::ALLOW,
            HeaderValue::from_static("POST, PUT"),
        );
        return refusal;
    }
    let Some(asks) = &state.reload else {
        return error(&ApiError::forbidden(
            "reloading over HTTP is off; start with --web.enable-lifecycle, or send SIGHUP",
        ));
    };
    let site = headers.get(FETCH_SITE).map(HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return error(&ApiError::forbidden("a page of another site asked for it"));
    }
    let (ask, answer) = oneshot::channel();
    if asks.try_send(ask).is_err() {
        return busy("another reload is under way");
    }
    match answer.await {
        Ok(Ok(text)) => of(StatusCode::OK, PLAIN, Bytes::from(text + "\n").into()),
        Ok(Err(why)) => error(&ApiError::refused_reload(why)),
        Err(_) => error(&ApiError::unavailable(
            "stopping",
            "the exporter is stopping",
        )),
    }
}

/// The metrics page; the view's part of it is shared by all scrapes.
async fn metrics(state: &Arc<ServerState>, headers: &HeaderMap) -> Response<Pieces> {
    let format = negotiate::format(joined(headers, &header::ACCEPT).as_deref());
    let gzip = negotiate::gzip(joined(headers, &header::ACCEPT_ENCODING).as_deref());
    let Ok(permit) = Arc::clone(&state.scrapes).try_acquire_owned() else {
        return busy("too many scrapes at once");
    };
    let now = state.clock.now().mono;
    let page = if let Some(page) = at_hand(state, format, gzip, now) {
        page
    } else {
        let shared = Arc::clone(state);
        let make = move || page(&shared, format, gzip, now);
        match tokio::task::spawn_blocking(make).await {
            Ok(page) => page,
            Err(_) => return error(&ApiError::internal()),
        }
    };
    let mut response = of(
        StatusCode::OK,
        format.content_type(),
        Pieces::new(page).holding(permit),
    );
    set(
        &mut response,
        header::VARY,
        HeaderValue::from_static("Accept, Accept-Encoding"),
    );
    if gzip {
        set(
            &mut response,
            header::CONTENT_ENCODING,
            HeaderValue::from_static("gzip"),
        );
    }
    response
}

/// The page, if nothing that takes long is left to do: going to another thread and back would take
/// longer.
fn at_hand(state: &ServerState, format: Format, gzip: bool, now: Monotonic) -> Option<Vec<Bytes>> {
    let served = state.all().only()?;
    let own = served.telemetry.shelves();
    let at_hand = served.pages.at_hand(own, format, gzip);
    at_hand.then(|| served.pages.page(own, format, gzip, now))
}

fn page(state: &ServerState, format: Format, gzip: bool, now: Monotonic) -> Vec<Bytes> {
    let ServerState {
        served,
        process,
        together,
        ..
    } = state;
    match state.all().only() {
        Some(only) => only.pages.page(only.telemetry.shelves(), format, gzip, now),
        None => together.page(served, process, format, gzip, now),
    }
}

/// All values of a header that may be repeated; one that is not ASCII counts as absent.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Makes a JSON answer off the reactor, a few at once.
async fn in_background(
    state: &Arc<ServerState>,
    make: impl FnOnce(&ServerState) -> Result<Vec<u8>, ApiError> + Send + 'static,
) -> Response<Pieces> {
    let Ok(permit) = Semaphore::try_acquire_owned(state.api_requests.clone()) else {
        return busy("too many API requests at once");
    };
    let shared = state.clone();
    let answer = tokio::task::spawn_blocking(move || (make(&shared), permit)).await;
    match answer {
        Ok((body, permit)) => json(body).map(|body| body.holding(permit)),
        Err(_) => error(&ApiError::internal()),
    }
}

/// What keeps a board up to date.
fn follow(state: &Arc<ServerState>, query: &str) -> Response<Pieces> {
    let org = match api::org(query) {
        Ok(org) => org,
        Err(refusal) => return error(&refusal),
    };
    // A board shows one at a time.
    let at = org.map_or(Some(0), |org| {
        state.served.iter().position(|of| *of.name == org)
    });
    let Some(at) = at else {
        return error(&ApiError::not_found("no organisation has this name"));
    };
    let Ok(permit) = Semaphore::try_acquire_owned(state.streams.clone()) else {
        return busy("too many boards at once");
    };
    let events = Pieces::following(stream::events(Arc::clone(state), at));
    let mut response = of(StatusCode::OK, stream::EVENT_STREAM, events.holding(permit));
    // A proxy that collects answers would show each update when the next one comes.
    set(
        &mut response,
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

fn board(state: &ServerState) -> Response<Pieces> {
    let page = board::page(state.process.build(), &state.telemetry_path);
    let mut response = of(
        StatusCode::OK,
        "text/html; charset=utf-8",
        Bytes::from(page).into(),
    );
    set(
        &mut response,
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(board::SECURITY_POLICY),
    );
    set(
        &mut response,
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    response
}

/// One line why: 200 if all is well, else 503.
fn line(verdict: Result<&'static str, String>) -> Response<Pieces> {
    let (status, text) = match verdict {
        Ok(text) => (StatusCode::OK, text.to_owned()),
        Err(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
    };
    of(status, PLAIN, Bytes::from(text + "\n").into())
}

fn json(made: Result<Vec<u8>, ApiError>) -> Response<Pieces> {
    match made {
        Ok(body) => of(StatusCode::OK, JSON, Bytes::from(body).into()),
        Err(refusal) => error(&refusal),
    }
}

pub(super) fn error(refusal: &ApiError) -> Response<Pieces> {
    of(refusal.status, JSON, Bytes::from(refusal.body()).into())
}

fn busy(why: &str) -> Response<Pieces> {
    let mut response = error(&ApiError::unavailable("busy", why));
    set(&mut response, header::RETRY_AFTER, RETRY_AFTER);
    response
}

fn of(status: StatusCode, content_type: &'static str, body: Pieces) -> Response<Pieces> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    set(
        &mut response,
        header::CONTENT_TYPE,
        HeaderValue::from_static(content_type),
    );
    response
}

pub(super) fn set(response: &mut Response<Pieces>, name: HeaderName, value: HeaderValue) {
    response.headers_mut().insert(name, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_exact() {
        let at = |path| route(path, "/metrics");
        assert_eq!(at("/metrics"), Some(Route::Metrics));
        assert_eq!(at("/"), Some(Route::Board));
        assert_eq!(
            at("/api/v1/agents/a%20b"),
            Some(Route::Agent("a b".to_owned()))
        );
        for path in [
            "",
            "/metrics/",
            "/Metrics",
            "//",
            "/api/v1/agents/",
            "/api/v1/agents/a/b",
            "/api/v1/agents/%",
            "/api/v1/agents/%FF",
            "/api/v1",
            "/-/healthy/",
        ] {
            assert_eq!(at(path), None, "{path}");
        }
        assert_eq!(route("/metrics", "/m"), None);
        assert_eq!(route("/", "/"), Some(Route::Metrics));
    }
}
