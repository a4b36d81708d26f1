//! The platform's JSON: shapes as in status-api.md and platform-api.md, values from the roster.
//!
//! Only shapes; which agents and which instants is decided by the callers.

use serde::Serialize;
use serde_json::{Value, json};

use super::behaviour::{PresenceStart, RoutingStart};
use super::chance;
use super::org::{Agent, Membership};
use super::roster::Roster;
use crate::model::time::UnixMillis;

/// A state that no version of anything knows.
pub(super) const UNKNOWN_STATE: &str = "Levitating";

/// Id of the one division.
pub(super) const DIVISION: &str = "00000000-0000-4000-8000-000000000001";

/// A record of the bulk snapshot.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusRecord {
    id: String,
    user_id: String,
    presence: &'static str,
    availability: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_presence: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_presence: Option<Vec<Value>>,
    last_modified: UnixMillis,
}

impl StatusRecord {
    /// The record of an agent from what was in force at one instant.
    pub(super) fn new(
        seed: u64,
        agent: &Agent,
        routing: RoutingStart,
        presence: PresenceStart,
        unknown: bool,
    ) -> Self {
        let last_modified = routing.entered_at.max(presence.at);
        let salt = chance::mix(&[seed, 6, u64::from(agent.index), last_modified.0 as u64]);
        Self {
            id: chance::uuid(&[seed, 3, u64::from(agent.index)]),
            user_id: agent.id.as_str().to_owned(),
            presence: presence.presence,
            availability: if unknown {
                UNKNOWN_STATE
            } else {
                routing.state.wire()
            },
            // What an agent asked for and what an organisation calls it: sometimes there.
            target_presence: (salt.is_multiple_of(10))
                .then_some(["Meal", "Available", "Meeting"][(salt >> 8) as usize % 3]),
            custom_presence: (salt % 8 == 1).then(|| vec![json!({"id": "x", "label": "Lunch"})]),
            last_modified,
        }
    }

    pub(super) fn last_modified(&self) -> UnixMillis {
        self.last_modified
    }

    /// The record as JSON.
    pub(super) fn value(&self) -> Value {
        serde_json::to_value(self).expect("a status record is plain data")
    }
}

/// An entry of `routingStates`.
pub(super) fn routing_entry(start: &RoutingStart, unknown: bool) -> Value {
    json!({
        "interactionState": if unknown { UNKNOWN_STATE } else { start.state.wire() },
        "wrapState": start.wrapup_code,
        "stateEnteredTimestamp": start.entered_at,
    })
}

fn division() -> Value {
    let path = format!("/api/v2/authorization/divisions/{DIVISION}");
    json!({"id": DIVISION, "name": "Home", "selfUri": path})
}

/// A user, without expands.
pub(super) fn user(agent: &Agent, registered: bool) -> Value {
    let address = format!("{}@example.org", agent.name);
    json!({
        "id": agent.id,
        "name": agent.name,
        "division": division(),
        "department": agent.team,
        "email": address,
        "username": address,
        "state": if registered { "active" } else { "deleted" },
        "version": 1,
        "acdAutoAnswer": false,
        "selfUri": format!("/api/v2/users/{}", agent.id),
    })
}

/// How many members a queue has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MemberCount {
    pub(super) all: usize,
    pub(super) joined: usize,
}

/// A queue with its number of members.
pub(super) fn queue(roster: &Roster, position: usize, members: MemberCount) -> Value {
    let queue = &roster.queues()[position];
    json!({
        "id": queue.id,
        "name": &*queue.name,
        "division": division(),
        "memberCount": members.all,
        "userMemberCount": members.all,
        "joinedMemberCount": members.joined,
        "selfUri": format!("/api/v2/routing/queues/{}", queue.id),
    })
}

/// A member of a queue.
pub(super) fn member(agent: &Agent, membership: Membership) -> Value {
    json!({
        "id": agent.id,
        "name": agent.name,
        "user": {"id": agent.id, "name": agent.name, "selfUri": format!("/api/v2/users/{}", agent.id)},
        "ringNumber": 1,
        "joined": membership.joined,
        "memberBy": "user",
        "selfUri": format!("/api/v2/users/{}", agent.id),
    })
}

/// The platform's error body.
pub(super) fn error(status: u16, code: &str, message: &str, correlation: &str) -> Value {
    json!({
        "message": message,
        "code": code,
        "status": status,
        "messageParams": {},
        "contextId": correlation,
        "details": [],
        "errors": [],
    })
}

/// What a gateway in front of the platform serves when it should not.
pub(super) const GATEWAY_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Maintenance</title></head>\
<body><h1>We will be right back</h1></body></html>\n";
