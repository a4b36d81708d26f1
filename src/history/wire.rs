//! From a request to the simulator's bytes and back to an answer: what the client does, without
//! sockets. Pure. Paths come from the client's own builder, headers and limits from its own code.
//!
//! The virtual-time harness of the tests uses it too; it decides nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::model::time::{Millis, Now, UnixMillis};
use crate::simulator::exchange::{Delivery, SimRequest, SimResponse};
use crate::simulator::platform::SimulatedPlatform;
use crate::upstream::request::{ApiRequest, Endpoint, Method, RequestId};
use crate::upstream::response::{Answer, Headers, Response, TransportFailure};

/// How the simulator's server drips a slow body.
const DRIP_BYTES: i64 = 64;
const DRIP_PAUSE: Millis = Millis(500);

/// A request as the client would write it; `None` without a token. The client is `demo` with the
/// secret `demo`, which opens nothing but a simulation.
pub fn written(request: &ApiRequest, token: Option<&str>) -> Option<SimRequest> {
    let authorization = match request {
        ApiRequest::Login => format!("Basic {}", STANDARD.encode("demo:demo")),
        _ => format!("Bearer {}", token?),
    };
    let method = match request.method() {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
    };
    let body = match request {
        ApiRequest::Login => Bytes::from_static(b"grant_type=client_credentials"),
        _ => request.body().map(Bytes::from).unwrap_or_default(),
    };
    Some(SimRequest {
        method: method.to_owned(),
        path_and_query: request.path_and_query(),
        authorization: Some(authorization),
        body,
        ..SimRequest::default()
    })
}

/// A request on its way.
#[derive(Debug)]
pub struct Flight {
    /// Its number.
    pub id: RequestId,
    /// What it asks.
    pub request: ApiRequest,
    /// Both clocks of whoever sent it.
    pub sent_at: Now,
    /// How long its answer is waited for.
    pub timeout: Millis,
    /// What it was sent with.
    pub token: Option<String>,
}

impl Flight {
    /// It reaches the platform: what will come back.
    pub fn reach(&self, platform: &mut SimulatedPlatform, now: UnixMillis) -> Arrival {
        let patience = (self.timeout - (now - self.sent_at.wall)).max(Millis::ZERO);
        let Some(request) = written(&self.request, self.token.as_deref()) else {
            return nothing(TransportFailure::NoToken, Millis::ZERO);
        };
        let response = platform.handle(&request, now);
        arrive(self.request.endpoint(), &response, patience)
    }

    /// What the pipeline is told.
    pub fn answered(&self, result: Result<Response, TransportFailure>, received_at: Now) -> Answer {
        Answer {
            id: self.id,
            sent_at: self.sent_at,
            received_at,
            result,
        }
    }
}

/// What comes back.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// An answer, or why there is none.
    pub result: Result<Response, TransportFailure>,
    /// How long it takes beyond the way itself.
    pub takes: Millis,
    /// The token of a login, which is not in the answer.
    pub token: Option<String>,
}

/// No answer, for this reason, after so long.
pub fn nothing(failure: TransportFailure, takes: Millis) -> Arrival {
    Arrival {
        result: Err(failure),
        takes,
        token: None,
    }
}

/// What the client makes of an answer that has `patience` left.
pub fn arrive(endpoint: Endpoint, response: &SimResponse, patience: Millis) -> Arrival {
    let success = (200..300).contains(&response.status);
    let drips = Millis(response.body.len() as i64 / DRIP_BYTES * DRIP_PAUSE.0);
    let takes = match response.delivery {
        Delivery::Normal | Delivery::CutBody => Millis::ZERO,
        Delivery::Delayed(by) => by,
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
        takes,
        token,
    }
}

fn headers(response: &SimResponse) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in &response.headers {
        let name: HeaderName = name.parse().expect("the simulator's names are constants");
        let value = HeaderValue::from_str(value).expect("the simulator writes plain ASCII");
        map.insert(name, value);
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
