//! The simulator's own endpoints below `/simulator/`: truth, statistics, faults, registry, and a
//! shift change at once.
//!
//! Clearly not of the platform: no token, no rate, no faults. Instants are by the platform's
//! clock; the future is not told.

use serde::Deserialize;
use serde_json::{Value, json};

use super::chance;
use super::exchange::{SimRequest, SimResponse};
use super::faults::FaultPlan;
use super::platform::SimulatedPlatform;
use super::span;
use super::truth;
use crate::model::time::{Millis, UnixMillis};

/// Agents that one request may add.
const ADD_MAX: u32 = 1_000;
/// The longest time that a shift change may take.
const TURN_MAX: Millis = Millis::from_secs(3_600);
/// Salt of the instants at which agents turn.
const TURN: u64 = 70;

/// What a request may do to the registry.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum RegistryChange {
    Add(u32),
    Remove(String),
}

/// Everybody turns within so long.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShiftChange {
    within: String,
}

type Outcome = Result<SimResponse, (u16, String)>;

/// Answers a request below `/simulator/`.
pub(super) fn answer(
    platform: &mut SimulatedPlatform,
    request: &SimRequest,
    now: UnixMillis,
) -> SimResponse {
    let path = request.path().trim_start_matches("/simulator/");
    let outcome = match (&*request.method, path) {
        ("GET", "truth") => truth_of(platform, request, now),
        ("GET", "segments") => segments_of(platform, request, now),
        ("GET", "statistics") => Ok(statistics(platform)),
        ("GET", "faults") => Ok(faults(platform, now)),
        ("PUT", "faults") => set_faults(platform, request, now),
        ("POST", "registry") => change_registry(platform, request, now),
        ("POST", "shift-change") => change_shift(platform, request, now),
        ("DELETE", "tokens") => Ok(SimResponse::json(200, &json!({"revoked": platform.revoke_tokens(now)}))),
        _ => Err((
            404,
            "the simulator has GET truth, GET segments, GET statistics, GET and PUT faults, POST registry, POST shift-change, DELETE tokens".to_owned(),
        )),
    };
    outcome.unwrap_or_else(|(status, message)| {
        SimResponse::json(
            status,
            &json!({"error": {"code": status, "message": message}}),
        )
    })
}

/// `from` and `to` of a query.
fn interval(
    platform: &SimulatedPlatform,
    request: &SimRequest,
    now: UnixMillis,
) -> Result<(UnixMillis, UnixMillis), (u16, String)> {
    let instant = |name: &str| {
        let text = request.query(name).ok_or((
            400,
            format!("parameter {name} is missing: give an RFC 3339 timestamp"),
        ))?;
        UnixMillis::parse(&text).map_err(|error| (400, format!("parameter {name}: {error}")))
    };
    let (from, to) = (instant("from")?, instant("to")?);
    let latest = platform.platform_now(now);
    if to > latest {
        return Err((
            400,
            format!("parameter to: {to} is in the future: it is {latest}"),
        ));
    }
    if from > to {
        return Err((400, format!("parameter from: {from} is after {to}")));
    }
    Ok((from, to))
}

/// Positions that a query names: one agent, or all.
fn agents(platform: &SimulatedPlatform, request: &SimRequest) -> Result<Vec<usize>, (u16, String)> {
    match request.query("userId") {
        None => Ok((0..platform.roster.entries().len()).collect()),
        Some(id) => match platform.roster.find(&id) {
            Some(position) => Ok(vec![position]),
            None => Err((404, format!("no agent has the id {id:?}"))),
        },
    }
}

fn remembered(
    platform: &SimulatedPlatform,
    position: usize,
    from: UnixMillis,
) -> Result<(), (u16, String)> {
    let since = platform.roster.entries()[position].timeline.known_from();
    if from < since {
        return Err((
            410,
            format!("parameter from: {from} is forgotten: the truth is known from {since}"),
        ));
    }
    Ok(())
}

fn truth_of(platform: &mut SimulatedPlatform, request: &SimRequest, now: UnixMillis) -> Outcome {
    let (from, to) = interval(platform, request, now)?;
    let mut rows = Vec::new();
    for position in agents(platform, request)? {
        remembered(platform, position, from)?;
        let queues: Vec<Value> = platform
            .roster
            .queue_ids(position)
            .iter()
            .map(|id| json!(id))
            .collect();
        let entry = platform.roster.entry_mut(position);
        let mut row = serde_json::to_value(truth::time_in_state(&mut entry.timeline, from, to))
            .expect("time in state is plain data");
        row["userId"] = json!(entry.agent.id);
        row["queueIds"] = json!(queues);
        row["joined"] = json!(entry.joined);
        row["left"] = json!(entry.left);
        rows.push(row);
    }
    Ok(SimResponse::json(
        200,
        &json!({"from": from, "to": to, "agents": rows}),
    ))
}

fn segments_of(platform: &mut SimulatedPlatform, request: &SimRequest, now: UnixMillis) -> Outcome {
    let (from, to) = interval(platform, request, now)?;
    let id = request
        .query("userId")
        .ok_or((400, "parameter userId is missing".to_owned()))?;
    let mut segments = Vec::new();
    for position in agents(platform, request)? {
        remembered(platform, position, from)?;
        segments = truth::segments(&mut platform.roster.entry_mut(position).timeline, from, to);
    }
    Ok(SimResponse::json(
        200,
        &json!({"userId": id, "from": from, "to": to, "segments": segments}),
    ))
}

fn statistics(platform: &SimulatedPlatform) -> SimResponse {
    let mut body = serde_json::to_value(platform.statistics()).expect("statistics are plain data");
    body["notifications"] = json!(platform.notification_statistics());
    SimResponse::json(200, &body)
}

fn faults(platform: &SimulatedPlatform, now: UnixMillis) -> SimResponse {
    let elapsed = now - platform.faults_since;
    let active: Vec<&str> = platform
        .faults
        .faults()
        .iter()
        .filter(|fault| fault.is_active(elapsed))
        .map(|fault| fault.kind.row().name)
        .collect();
    SimResponse::json(
        200,
        &json!({"faults": platform.faults.to_string(), "since": platform.faults_since, "active": active}),
    )
}

fn set_faults(platform: &mut SimulatedPlatform, request: &SimRequest, now: UnixMillis) -> Outcome {
    let text = std::str::from_utf8(&request.body)
        .map_err(|_| (400, "the body is not UTF-8".to_owned()))?;
    let plan = FaultPlan::parse(text).map_err(|error| (400, error.to_string()))?;
    platform.set_faults(plan, now);
    Ok(faults(platform, now))
}

fn change_registry(
    platform: &mut SimulatedPlatform,
    request: &SimRequest,
    now: UnixMillis,
) -> Outcome {
    let change = serde_json::from_slice(&request.body).map_err(|error| {
        (
            400,
            format!("the body must be {{\"add\":1}} or {{\"remove\":\"id\"}}: {error}"),
        )
    })?;
    let at = platform.platform_now(now);
    match change {
        RegistryChange::Add(count) if count > ADD_MAX => Err((
            400,
            format!("{count} agents are too many at once: at most {ADD_MAX}"),
        )),
        RegistryChange::Add(count) => {
            let added: Vec<_> = (0..count).map_while(|_| platform.roster.add(at)).collect();
            for id in &added {
                platform.tell_membership(id.as_str(), true, now);
            }
            Ok(SimResponse::json(200, &json!({"added": added})))
        }
        RegistryChange::Remove(id) if platform.roster.remove(&id, at) => {
            platform.tell_membership(&id, false, now);
            Ok(SimResponse::json(200, &json!({"removed": id})))
        }
        RegistryChange::Remove(id) => {
            Err((404, format!("no agent in the registry has the id {id:?}")))
        }
    }
}

/// Each agent turns at an instant of its own: who works goes home, who does not begins a shift.
fn change_shift(
    platform: &mut SimulatedPlatform,
    request: &SimRequest,
    now: UnixMillis,
) -> Outcome {
    let change: ShiftChange = serde_json::from_slice(&request.body).map_err(|error| {
        (
            400,
            format!("the body must be {{\"within\":\"1m\"}}: {error}"),
        )
    })?;
    let within = span::parse(&change.within)
        .filter(|within| (Millis(1)..=TURN_MAX).contains(within))
        .ok_or_else(|| {
            let text = &change.within;
            (
                400,
                format!("within: {text:?} is not a duration like 1s or 5m, up to 1h"),
            )
        })?;
    platform.pump(now);
    let at = platform.platform_now(now);
    let seed = platform.roster.spec().seed;
    let present = platform.roster.registered_at(at);
    for &position in &present {
        let draw = chance::mix(&[seed, TURN, at.0 as u64, position as u64]);
        let after = Millis(1 + (draw % within.0 as u64) as i64);
        let timeline = &mut platform.roster.entry_mut(position).timeline;
        timeline.turn(at + after);
        platform.future_changed(position, at);
    }
    Ok(SimResponse::json(
        200,
        &json!({"agents": present.len(), "until": at + within}),
    ))
}
