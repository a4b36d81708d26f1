//! From a request to the simulator's bytes and back to an answer, and what of it the auditor
//! sees: the bytes as they came, which the exporter's own code has not touched.

use bytes::Bytes;
use genesys_cloud_exporter::history::wire;
use genesys_cloud_exporter::model::time::Millis;
use genesys_cloud_exporter::simulator::exchange::SimResponse;
use genesys_cloud_exporter::upstream::request::Endpoint;
use genesys_cloud_exporter::upstream::response::{Response, TransportFailure};

use super::observe::Raw;

pub(crate) use genesys_cloud_exporter::history::wire::written;

/// What comes back, and how long it takes beyond the way itself. A login's token is taken out.
pub(crate) struct Arrival {
    pub(crate) result: Result<Response, TransportFailure>,
    pub(crate) raw: Raw,
    pub(crate) takes: i64,
    pub(crate) token: Option<String>,
}

/// No answer.
pub(crate) fn nothing(failure: TransportFailure, takes: i64) -> Arrival {
    seen(wire::nothing(failure, Millis(takes)), None)
}

/// What the client makes of an answer that has `patience` left.
pub(crate) fn arrive(endpoint: Endpoint, response: &SimResponse, patience: i64) -> Arrival {
    let arrival = wire::arrive(endpoint, response, Millis(patience));
    let came = arrival.result.is_ok().then_some(response);
    seen(arrival, came)
}

fn seen(arrival: wire::Arrival, came: Option<&SimResponse>) -> Arrival {
    let header = |name: &str| came?.header(name).map(str::to_owned);
    Arrival {
        result: arrival.result,
        raw: Raw {
            status: came.map(|response| response.status),
            retry_after: header("Retry-After"),
            body: came.map_or_else(Bytes::new, |response| response.body.clone()),
        },
        takes: arrival.takes.0,
        token: arrival.token,
    }
}
