//! Before every path, and on every answer: who may read, and the headers that the web
//! configuration adds. Nothing behind it can be reached without it.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};

use super::access::Permit;
use super::api::ApiError;
use super::body::Pieces;
use super::routes::{error, finish, respond, set};
use super::state::ServerState;

/// What browsers show when they ask for a password.
const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"genesys-cloud-exporter\", charset=\"UTF-8\"");

/// Seconds after which who was turned away may come again: a comparison takes a tenth.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Answers a request, or says why not; never fails.
pub(super) async fn guarded(
    state: &Arc<ServerState>,
    request: Request<Incoming>,
    peer: IpAddr,
) -> Response<Pieces> {
    let now = state.clock.now().mono;
    let mut response = match state.access.judge(request.headers(), now).await {
        Permit::Granted => respond(state, request).await,
        Permit::Unknown => {
            if request.headers().contains_key(header::AUTHORIZATION) {
                tracing::warn!(kind = "web_password", %peer, "a request with a wrong user or password was refused");
            }
            let mut refusal = turned_away(&request, &ApiError::unauthorised());
            set(&mut refusal, header::WWW_AUTHENTICATE, CHALLENGE);
            refusal
        }
        Permit::Flooded => {
            tracing::warn!(kind = "web_flood", %peer, "too many passwords at once; a request was refused");
            later(&request, "too many passwords are being compared")
        }
        Permit::TooOften => later(&request, "requests come more often than rate_limit allows"),
    };
    state.access.dress(response.headers_mut());
    response
}

fn later(request: &Request<Incoming>, why: &str) -> Response<Pieces> {
    let mut refusal = turned_away(request, &ApiError::too_many(why));
    set(&mut refusal, header::RETRY_AFTER, RETRY_AFTER);
    refusal
}

/// Its body is not worth reading.
fn turned_away(request: &Request<Incoming>, why: &ApiError) -> Response<Pieces> {
    use hyper::body::Body as _;
    let unread = !request.body().is_end_stream();
    finish(error(why), !unread)
}
