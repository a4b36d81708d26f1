//! From a request to the simulator's bytes and back to an answer: what the client does, without
//! sockets. Paths come from the client's own builder, headers and limits from its own code.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use genesys_cloud_exporter::simulator::exchange::{Delivery, SimRequest, SimResponse};
use genesys_cloud_exporter::upstream::request::{ApiRequest, Endpoint, Method};
use genesys_cloud_exporter::upstream::response::{Headers, Response, TransportFailure};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::observe::Raw;

/// How the simulator's server drips a slow body.
const DRIP_BYTES: i64 = 64;
const DRIP_PAUSE: i64 = 500;

/// A request as the client would write it; `None` without a token.
pub(crate) fn written(request: &ApiRequest, token: Option<&str>) -> Option<SimRequest> {
    let path_and_query = request.path_and_query();
    if matches!(request, ApiRequest::Login) {
        return Some(SimRequest {
            method: "POST".to_owned(),
            path_and_query,
            authorization: Some(format!("Basic {}", STANDARD.encode("demo:demo"))),
            body: Bytes::from_static(b"grant_type=client_credentials"),
            ..SimRequest::default()
        });
    }
    let method = match request.method() {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
    };
    Some(SimRequest {
        method: method.to_owned(),
        path_and_query,
        authorization: Some(format!("Bearer {}", token?)),
        body: request.body().unwrap_or_default().into(),
        ..SimRequest::default()
    })
}

/// What comes back, and how long it takes beyond the way itself. A login's token is taken out.
pub(crate) struct Arrival {
    pub(crate) result: Result<Response, TransportFailure>,
    pub(crate) raw: Raw,
    pub(crate) takes: i64,
    pub(crate) token: Option<String>,
}

/// No answer.
pub(crate) fn nothing(failure: TransportFailure, takes: i64) -> Arrival {
    Arrival {
        result: Err(failure),
        raw: Raw {
            status: None,
            retry_after: None,
            body: Bytes::new(),
        },
        takes,
        token: None,
    }
}

/// What the client makes of an answer that has `patience` left.
pub(crate) fn arrive(endpoint: Endpoint, response: &SimResponse, patience: i64) -> Arrival {
    let success = (200..300).contains(&response.status);
    let drips = response.body.len() as i64 / DRIP_BYTES * DRIP_PAUSE;
    let takes = match response.delivery {
        Delivery::Normal | Delivery::CutBody => 0,
        Delivery::Delayed(by) => by.0,
        Delivery::SlowBody => drips,
    };
    // Of an answer without success the status counts, whatever becomes of its body.
    let headless = matches!(response.delivery, Delivery::Delayed(_));
    if takes > patience && (success || headless) {
        return nothing(TransportFailure::Timeout, patience);
    }
    let takes = takes.min(patience);
    if success && response.delivery == Delivery::CutBody {
        return nothing(TransportFailure::Broken, takes);
    }
    if success && response.body.len() > endpoint.body_max() {
        return nothing(TransportFailure::TooLarge, takes);
    }
    let raw = Raw {
        status: Some(response.status),
        retry_after: response.header("Retry-After").map(str::to_owned),
        body: response.body.clone(),
    };
    let (token, body) = match endpoint {
        Endpoint::Token if success => login(&response.body),
        _ => (None, response.body.clone()),
    };
    let result = Ok(Response {
        status: response.status,
        headers: Headers::read(&headers(response)),
        body,
    });
    Arrival {
        result,
        raw,
        takes,
        token,
    }
}

fn headers(response: &SimResponse) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in &response.headers {
        let name: HeaderName = name.parse().unwrap();
        map.insert(name, HeaderValue::from_str(value).unwrap());
    }
    map
}

/// The token, and what the client passes on of a login: only how long it is good.
fn login(body: &Bytes) -> (Option<String>, Bytes) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    match (body["access_token"].as_str(), body["expires_in"].as_i64()) {
        (Some(token), Some(seconds)) => (
            Some(token.to_owned()),
            Bytes::from(format!(r#"{{"expires_in":{seconds}}}"#)),
        ),
        _ => (None, Bytes::from_static(br#"{"error":"no_token"}"#)),
    }
}
