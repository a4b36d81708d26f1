//! The JSON of frames (platform-api.md §3).

use serde_json::{Value, json};

use super::super::org::Agent;
use super::super::standing::Standing;
use super::super::user_bodies;
use crate::model::time::UnixMillis;

/// What the parts of an activity are made of.
pub(super) struct Activity<'a> {
    pub(super) agent: &'a Agent,
    pub(super) standing: &'a Standing,
    /// In a status that nobody knows.
    pub(super) unknown: bool,
    /// Queues joined.
    pub(super) queues: Vec<String>,
    /// Since when.
    pub(super) queues_since: UnixMillis,
}

/// An event in its envelope.
pub(super) fn envelope(topic: &str, body: &Value, correlation: &str) -> String {
    json!({
        "topicName": topic,
        "version": "2",
        "eventBody": body,
        "metadata": {"CorrelationId": correlation},
    })
    .to_string()
}

/// A message of the channel itself.
pub(super) fn channel_message(message: &str) -> String {
    json!({"topicName": "channel.metadata", "eventBody": {"message": message}}).to_string()
}

/// A message of the platform about the channel. `reason` as the platform knows them.
pub(super) fn system_message(
    topic: &str,
    kind: Option<&str>,
    channel: &str,
    client: &str,
    reason: Option<&str>,
    message: &str,
) -> String {
    let mut body = json!({"channelId": channel, "oauthClientId": client, "message": message});
    if let Some(kind) = kind {
        body["systemTopicType"] = json!(kind);
    }
    if let Some(reason) = reason {
        body["reason"] = json!(reason);
    }
    json!({"topicName": topic, "version": "2", "eventBody": body}).to_string()
}

fn definition(standing: &Standing) -> Value {
    json!({"id": standing.definition, "systemPresence": standing.presence.event})
}

fn status(activity: &Activity<'_>) -> Value {
    let status = user_bodies::routing_status(activity.agent, activity.standing, activity.unknown);
    json!({"status": status["status"], "startTime": status["startTime"]})
}

/// `v2.users.{id}.activity`.
pub(super) fn activity(activity: &Activity<'_>) -> Value {
    json!({
        "id": activity.agent.id,
        "routingStatus": status(activity),
        "presence": {
            "presenceDefinition": definition(activity.standing),
            "presenceMessage": "",
            "modifiedDate": activity.standing.presence_since,
        },
        "outOfOffice": {"active": false, "modifiedDate": activity.queues_since},
        "activeQueueIds": activity.queues,
        "dateActiveQueuesChanged": activity.queues_since,
    })
}

/// `v2.users.{id}.presence`: the body does not say whose.
pub(super) fn presence(standing: &Standing) -> Value {
    json!({
        "source": "PURECLOUD",
        "presenceDefinition": definition(standing),
        "primary": true,
        "message": "",
        "modifiedDate": standing.presence_since,
    })
}

/// `v2.users.{id}.routingStatus`.
pub(super) fn routing_status(activity: &Activity<'_>) -> Value {
    json!({"id": activity.agent.id, "routingStatus": status(activity)})
}

/// `v2.routing.queues.{id}.users`.
pub(super) fn membership(agent: &str, queue: &str, joined: bool) -> Value {
    json!({
        "id": agent,
        "user": {"id": agent},
        "queueId": queue,
        "joined": joined,
        "additionalProperties": {},
    })
}
