//! The public platform's JSON about one agent: shapes as in platform-api.md §2.2, §2.6, §3.
//!
//! Only shapes; which agents and which instants is decided by the callers.

use serde_json::{Value, json};

use super::chance;
use super::org::Agent;
use super::standing::{Conversation, Standing};

/// A routing status that no version of anything knows.
pub(super) const UNKNOWN_STATUS: &str = "LEVITATING";

/// Media of a conversation summary, in the platform's order.
const MEDIA: [&str; 7] = [
    "call",
    "callback",
    "email",
    "message",
    "chat",
    "socialExpression",
    "video",
];

/// Salts of ids.
const CONVERSATION_ID: u64 = 50;
const SESSION_ID: u64 = 51;

/// A routing status; `unknown` replaces it by one that nobody knows.
pub(super) fn routing_status(agent: &Agent, standing: &Standing, unknown: bool) -> Value {
    json!({
        "userId": agent.id,
        "status": status_text(standing, unknown),
        "startTime": standing.status_since,
    })
}

fn status_text(standing: &Standing, unknown: bool) -> &'static str {
    if unknown {
        UNKNOWN_STATUS
    } else {
        standing.status.wire()
    }
}

fn definition(standing: &Standing) -> Value {
    json!({
        "id": standing.definition,
        "systemPresence": standing.presence.rest,
        "selfUri": format!("/api/v2/presencedefinitions/{}", standing.definition),
    })
}

/// The presence of a user.
pub(super) fn presence(agent: &Agent, standing: &Standing) -> Value {
    json!({
        "source": "PURECLOUD",
        "primary": true,
        "presenceDefinition": definition(standing),
        "message": format!("{} is back at three", agent.name),
        "modifiedDate": standing.presence_since,
        "selfUri": format!("/api/v2/users/{}/presences/PURECLOUD", agent.id),
    })
}

/// A presence of the bulk call.
pub(super) fn bulk_presence(agent: &Agent, standing: &Standing) -> Value {
    json!({
        "userId": agent.id,
        "source": "PURECLOUD",
        "presenceDefinition": definition(standing),
        "message": format!("{} is back at three", agent.name),
        "modifiedDate": standing.presence_since,
        "selfUri": format!("/api/v2/users/{}/presences", agent.id),
    })
}

/// Open interactions by medium.
pub(super) fn conversation_summary(agent: &Agent, open: Option<Conversation>) -> Value {
    let mut summary = json!({"userId": agent.id});
    for medium in MEDIA {
        let here = open.filter(|open| open.medium.summary == medium);
        let counts = |contact_center: bool| {
            let here = here.filter(|open| open.contact_center == contact_center);
            json!({
                "active": u8::from(here.is_some_and(|open| !open.after_call)),
                "acw": u8::from(here.is_some_and(|open| open.after_call)),
            })
        };
        summary[medium] = json!({"contactCenter": counts(true), "enterprise": counts(false)});
    }
    summary
}

/// Nobody of the simulation is ever out of office.
pub(super) fn out_of_office(agent: &Agent) -> Value {
    json!({
        "user": {"id": agent.id, "selfUri": format!("/api/v2/users/{}", agent.id)},
        "active": false,
        "indefinite": false,
        "selfUri": format!("/api/v2/users/{}/outofoffice", agent.id),
    })
}

/// What an agent does this moment, with its sessions. `queue`: where its interaction came from.
pub(super) fn agent_status(
    agent: &Agent,
    standing: &Standing,
    queue: Option<&str>,
    unknown: bool,
) -> Value {
    let sessions: Vec<Value> = standing
        .conversation
        .iter()
        .map(|open| session(open, queue))
        .collect();
    json!({
        "userId": agent.id,
        "userName": agent.name,
        "divisionId": super::bodies::DIVISION,
        "sessionCount": sessions.len(),
        "sessions": sessions,
        "systemPresence": standing.presence.event,
        "organizationPresenceId": standing.definition,
        "presenceDate": standing.presence_since,
        "routingStatus": status_text(standing, unknown),
        "routingStatusDate": standing.status_since,
        "isOutOfOffice": false,
    })
}

fn session(open: &Conversation, queue: Option<&str>) -> Value {
    let mut session = json!({
        "conversationId": chance::uuid(&[CONVERSATION_ID, open.key]),
        "sessionId": chance::uuid(&[SESSION_ID, open.key]),
        "sessionStart": open.began,
        "segmentStart": open.segment_began,
        "segmentType": if open.after_call { "wrapup" } else { "interact" },
        "originatingDirection": if open.contact_center { "inbound" } else { "outbound" },
        "mediaType": open.medium.analytics,
    });
    if let (true, Some(queue)) = (open.contact_center, queue) {
        session["routedQueueId"] = json!(queue);
    }
    session
}
