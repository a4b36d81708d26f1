//! The JSON API: queries judged, answers made. Pure but for the reader of windows, which blocks.
//!
//! A query that cannot be meant as written is refused by name; it is never half understood.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::records::{QueueRecord, Spellings};
use super::served::{Chosen, Served};
use super::state::Duty;
use crate::catalog::{EventResult, WindowResult};
use crate::model::ids::UserId;
use crate::model::record::NormalisedRecord;
use crate::model::state::RoutingState;
use crate::model::time::{Millis, Monotonic, UnixMillis};
use crate::model::view::{AgentView, SnapshotOutcome, UnknownCause, View};
use crate::store::WindowQuery;
use crate::telemetry::Telemetry;

/// Rows a page unless asked otherwise.
const ROWS_DEFAULT: usize = 1_000;
/// Most rows a page: some 4 MB of JSON.
const ROWS_MAX: usize = 10_000;
/// What `from` and `to` span when they do not say.
const SPAN_DEFAULT: Millis = Millis::from_secs(3_600);
/// Longest value of a query parameter; ids, names and cursors are far shorter.
const PARAMETER_BYTES_MAX: usize = 512;

/// Why a request is not answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub(super) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "only GET and HEAD are answered",
        )
    }

    pub(super) fn only_post() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "a reload is asked for by POST or PUT",
        )
    }

    pub(super) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub(super) fn refused_reload(message: String) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "configuration_refused",
            message,
        )
    }

    pub(super) fn unauthorised() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "a user and a password are needed",
        )
    }

    pub(super) fn too_many(message: &str) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message)
    }

    pub(super) fn unavailable(code: &'static str, message: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }

    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the answer could not be made; the log says more",
        )
    }

    pub(super) fn bad_parameter(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_parameter", message)
    }

    /// The body, `{"error":{"code","message"}}`.
    pub(super) fn body(&self) -> Vec<u8> {
        encode(&json!({"error": {"code": self.code, "message": self.message}}))
    }
}

pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own types have only text keys")
}

/// Whether every pipeline lives.
pub(super) fn healthy(all: Chosen<'_>, now: Monotonic) -> Result<&'static str, String> {
    all.each().try_fold("healthy", |fine, (org, served)| {
        let Some(silence) = served.pulse.silence(now) else {
            return Ok(fine);
        };
        let seconds = silence.0 / 1_000;
        let why = format!("the pipeline has not moved for {seconds} s");
        Err(about(org, why))
    })
}

/// A sentence about one organisation, which says which one if there are several.
fn about(org: Option<&str>, text: String) -> String {
    match org {
        Some(org) => format!("{org}: {text}"),
        None => text,
    }
}

/// Whether the instance does for every organisation what it is there for.
pub(super) fn ready(all: Chosen<'_>) -> Result<&'static str, String> {
    all.each().try_fold("ready", |_, (org, served)| {
        let (view, duty) = (served.pages.view(), served.pulse.duty());
        ready_for(&view, duty).map_err(|why| about(org, why))
    })
}

/// Whether the instance does what it is there for: of one that polls, whether a snapshot was
/// accepted since start.
pub(super) fn ready_for(view: &View, duty: Duty) -> Result<&'static str, String> {
    match duty {
        Duty::Polls => {}
        Duty::StandsBy => return Err("standing by: another instance polls".to_owned()),
        Duty::WillStore => return Err("the queue or the store was not reached yet".to_owned()),
        Duty::Stores => return Ok("ready"),
    }
    let health = &view.health;
    if health.accepted_at.is_some() {
        return Ok("ready");
    }
    let last = SnapshotOutcome::ALL.into_iter().find(|outcome| {
        *outcome != SnapshotOutcome::Accepted && health.snapshots.get(outcome) > Some(&0)
    });
    Err(match (health.authenticated, last) {
        (Some(false), _) => "the platform refuses the credentials".to_owned(),
        (_, Some(outcome)) => {
            let (result, reason) = outcome.labels();
            format!("no snapshot was accepted yet; one was {result} ({reason})")
        }
        (_, None) => "no snapshot was accepted yet".to_owned(),
    })
}

/// The parameters of a query, each at most once and known.
fn parameters<const N: usize>(
    query: &str,
    known: [&str; N],
) -> Result<[Option<String>; N], ApiError> {
    let mut values = [const { None }; N];
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let Some(place) = known.iter().position(|known| *known == name) else {
            return Err(ApiError::bad_parameter(format!(
                "unknown parameter; known here are {}",
                known.join(", ")
            )));
        };
        if value.len() > PARAMETER_BYTES_MAX {
            return Err(ApiError::bad_parameter(format!("{name} is too long")));
        }
        if values[place].replace(value.into_owned()).is_some() {
            return Err(ApiError::bad_parameter(format!("{name} is given twice")));
        }
    }
    Ok(values)
}

/// Which agents to list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AgentQuery {
    /// An organisation's name.
    pub(super) org: Option<String>,
    /// A queue's name or id.
    queue: Option<String>,
    state: Option<RoutingState>,
}

impl AgentQuery {
    pub(super) fn parse(query: &str) -> Result<Self, ApiError> {
        let [queue, state, org] = parameters(query, ["queue", "state", "org"])?;
        let state = state.map(|text| parse_state(&text)).transpose()?;
        Ok(Self { org, queue, state })
    }

    fn takes(&self, agent: &AgentView) -> bool {
        let in_queue = |queue: &str| {
            agent.queue_names.iter().any(|name| &**name == queue)
                || agent.queues.iter().any(|id| id.as_str() == queue)
        };
        self.state.is_none_or(|state| agent.state == state)
            && self.queue.as_deref().is_none_or(in_queue)
    }
}

/// The only parameter of a query: which organisation.
pub(super) fn org(query: &str) -> Result<Option<String>, ApiError> {
    let [org] = parameters(query, ["org"])?;
    Ok(org)
}

/// A record, and whose it is if there are several organisations.
#[derive(Serialize)]
struct Of<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<&'a str>,
    #[serde(flatten)]
    record: T,
}

fn parse_state(text: &str) -> Result<RoutingState, ApiError> {
    RoutingState::ALL
        .into_iter()
        .find(|state| text == state.label() || text == state.wire())
        .ok_or_else(|| {
            let labels = RoutingState::ALL.map(RoutingState::label).join(", ");
            ApiError::bad_parameter(format!("state is none of {labels}"))
        })
}

/// `{"agents":[…]}`, by organisation ordered by id.
pub(super) fn agents(of: Chosen<'_>, query: &AgentQuery) -> Vec<u8> {
    #[derive(Serialize)]
    struct Agents<'a> {
        agents: Vec<Of<'a, NormalisedRecord>>,
    }
    let spellings = Spellings::new();
    let mut agents = Vec::new();
    for (org, served) in of.each() {
        let view = served.pages.view();
        let wanted = view.agents.iter().filter(|agent| query.takes(agent));
        agents.extend(wanted.map(|agent| Of {
            org,
            record: spellings.record(agent),
        }));
    }
    encode(&Agents { agents })
}

/// One agent's record.
pub(super) fn agent(all: Chosen<'_>, id: &str) -> Result<Vec<u8>, ApiError> {
    let found = all.each().find_map(|(org, served)| {
        let view = served.pages.view();
        let at = view
            .agents
            .binary_search_by(|agent| agent.user_id.as_str().cmp(id))
            .ok()?;
        let record = Spellings::new().record(&view.agents[at]);
        Some(encode(&Of { org, record }))
    });
    found.ok_or_else(|| ApiError::not_found("no active agent has this id"))
}

/// `{"queues":[…]}`, by organisation ordered by id.
pub(super) fn queues(of: Chosen<'_>) -> Vec<u8> {
    let views: Vec<_> = of
        .each()
        .map(|(org, served)| (org, served.pages.view()))
        .collect();
    let queues: Vec<_> = views
        .iter()
        .flat_map(|(org, view)| {
            view.queues.iter().map(move |queue| Of {
                org: *org,
                record: QueueRecord::from(queue),
            })
        })
        .collect();
    encode(&json!({ "queues": queues }))
}

/// Whose rows to read and which; of the last hour unless it says otherwise.
pub(super) fn window_query(
    query: &str,
    now: UnixMillis,
) -> Result<(Option<String>, WindowQuery), ApiError> {
    let known = ["from", "to", "userId", "cursor", "limit", "org"];
    let [from, to, user, cursor, limit, org] = parameters(query, known)?;
    let to = instant("to", to)?.unwrap_or(now);
    let from = instant("from", from)?.unwrap_or(UnixMillis((to - SPAN_DEFAULT).0.max(0)));
    if from >= to {
        return Err(ApiError::bad_parameter(format!(
            "from ({from}) must be before to ({to})"
        )));
    }
    let limit = match limit {
        None => ROWS_DEFAULT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=ROWS_MAX).contains(limit))
            .ok_or_else(|| {
                ApiError::bad_parameter(format!("limit is not a number from 1 to {ROWS_MAX}"))
            })?,
    };
    let query = WindowQuery {
        from,
        to,
        user: user.map(|id| UserId::new(&id)),
        cursor,
        limit,
    };
    Ok((org, query))
}

fn instant(name: &str, text: Option<String>) -> Result<Option<UnixMillis>, ApiError> {
    // In a query an unescaped `+` of an offset means a space.
    text.map(|text| UnixMillis::parse(&text.replace(' ', "+")))
        .transpose()
        .map_err(|_| {
            ApiError::bad_parameter(format!(
                "{name} is not an RFC 3339 timestamp such as 2024-05-14T08:30:00Z"
            ))
        })
}

/// Pipeline health; of several organisations by name.
pub(super) fn status(of: Chosen<'_>) -> Value {
    if let Some(served) = of.only() {
        return status_of(served, &served.pages.view());
    }
    let each = of.each().map(|(_, served)| {
        let status = status_of(served, &served.pages.view());
        (served.name.to_string(), status)
    });
    json!({ "ready": ready(of).is_ok(), "organisations": each.collect::<Map<_, _>>() })
}

/// Pipeline health of one organisation.
pub(super) fn status_of(served: &Served, view: &View) -> Value {
    let (telemetry, duty) = (&served.telemetry, served.pulse.duty());
    let health = &view.health;
    let build = telemetry.build();
    let outcomes: Vec<Value> = SnapshotOutcome::ALL
        .into_iter()
        .map(|outcome| {
            let (result, reason) = outcome.labels();
            let count = health.snapshots.get(&outcome).copied().unwrap_or(0);
            json!({"result": result, "reason": reason, "count": count})
        })
        .collect();
    let unknown: BTreeMap<&str, f64> = UnknownCause::ALL
        .into_iter()
        .map(|cause| {
            let time = health.unknown_time.get(&cause).copied().unwrap_or_default();
            (cause.label(), time.as_secs_f64())
        })
        .collect();
    json!({
        "version": build.version,
        "revision": build.revision,
        "rustVersion": build.rust_version,
        "viewBuiltAt": (view.built_at > UnixMillis(0)).then_some(view.built_at),
        "ready": ready_for(view, duty).is_ok(),
        "duty": duty.label(),
        "up": health.up,
        "authenticated": health.authenticated,
        "pollIntervalSeconds": health.poll_interval.as_secs_f64(),
        "clockSkewSeconds": health.clock_skew_seconds,
        "breaker": {"state": health.breaker.label(), "trips": health.breaker_trips},
        "snapshots": {
            "acceptedAt": health.accepted_at,
            "coverage": health.coverage,
            "agents": health.snapshot_agents,
            "registryAgents": health.registry_agents,
            "missingAgents": health.agents_missing,
            "queuesLeftOut": health.queues_left_out,
            "staleAgents": health.agents_stale,
            "outcomes": outcomes,
        },
        "records": health.records,
        "budget": {
            "remainingRequests": health.budget_remaining,
            "throttled": health.throttled,
        },
        "join": {
            "coverage": health.join_coverage,
            "pending": health.joins_pending,
            "oldestConfirmation": health.oldest_confirmation,
        },
        "divergence": health.divergence,
        "time": {
            "unknownSeconds": unknown,
            "debtSeconds": health.debt.as_secs_f64(),
            "volatileHeldSeconds": health.volatile_held.as_secs_f64(),
            "hiddenTransitions": health.hidden_transitions,
        },
        "push": health.push,
        "windows": {
            "closedUntil": health.window_closed_until,
            "written": telemetry.windows_seen(WindowResult::Written),
            "revised": telemetry.windows_seen(WindowResult::Revised),
        },
        "queue": {
            "depth": telemetry.queue_depth(),
            "oldestAt": telemetry.queue_oldest(),
        },
        "store": stored(telemetry),
    })
}

/// What became of events, and where.
fn stored(telemetry: &Telemetry) -> Value {
    json!({
        "events": telemetry.events_seen(EventResult::Stored),
        "sizeBytes": telemetry.store_bytes(),
        "errors": telemetry.store_errors(),
        "dataLoss": telemetry.losses(),
    })
}

/// Decodes a path segment; `None` if it is empty, has a slash or is not percent-encoded UTF-8.
pub(super) fn decode_segment(segment: &str) -> Option<String> {
    if segment.is_empty() || segment.contains('/') {
        return None;
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push((digit()? * 16 + digit()?) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}
