//! The REST calls of notifications: channels, subscriptions, available topics.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::calls::not_found;
use super::super::chance;
use super::super::exchange::SimResponse;
use super::super::faults::{Active, FaultKind};
use super::super::platform::{Asked, SimulatedPlatform};
use super::topic::{self, FORMS, Kind, Topic};

/// Salts of channel ids, and of the choice of topics that are rejected.
const CHANNEL: u64 = 60;
const REJECTED: u64 = 61;
/// Where the platform is if a request does not say: a virtual client has no host.
const NO_HOST: &str = "simulator.invalid";

#[derive(Debug, Deserialize)]
struct TopicId {
    id: String,
}

impl SimulatedPlatform {
    /// `POST` makes a channel, `GET` lists them.
    pub(in crate::simulator) fn channels(&mut self, asked: &Asked<'_>) -> SimResponse {
        self.pump(asked.now);
        if asked.request.method == "POST" {
            let number = self.switchboard.statistics().channels;
            let id = chance::uuid(&[self.roster.spec().seed, CHANNEL, number]);
            let id = format!("streaming-0-{id}");
            if let Some(evicted) = self.switchboard.open_channel(id.clone(), asked.now) {
                self.evict(&evicted);
            }
            return SimResponse::json(200, &self.channel_body(asked, &id));
        }
        let ids: Vec<String> = self.switchboard.channels.keys().cloned().collect();
        let entities: Vec<Value> = ids.iter().map(|id| self.channel_body(asked, id)).collect();
        SimResponse::json(200, &json!({"entities": entities}))
    }

    fn channel_body(&self, asked: &Asked<'_>, id: &str) -> Value {
        let host = asked.request.host.as_deref().unwrap_or(NO_HOST);
        let left = self.switchboard.channels[id].expires - asked.now;
        json!({
            "connectUri": format!("ws://{host}/channels/{id}"),
            "id": id,
            "expires": asked.platform_now + left,
        })
    }

    /// `HEAD`: whether a channel is there.
    pub(in crate::simulator) fn channel(&mut self, asked: &Asked<'_>, id: &str) -> SimResponse {
        self.pump(asked.now);
        if self.switchboard.channels.contains_key(id) {
            SimResponse::json(200, &json!({}))
        } else {
            not_found(asked)
        }
    }

    /// `PUT` replaces the topics of a channel, `POST` adds some, `DELETE` drops them, `GET` lists.
    pub(in crate::simulator) fn subscriptions(
        &mut self,
        asked: &Asked<'_>,
        id: &str,
    ) -> SimResponse {
        self.pump(asked.now);
        let Some(channel) = self.switchboard.channels.get_mut(id) else {
            return not_found(asked);
        };
        channel.used = asked.now;
        match &*asked.request.method {
            "GET" => {
                let permitted = channel
                    .topics
                    .keys()
                    .map(|topic| permitted(topic))
                    .collect();
                SimResponse::json(200, &json!({"entities": Value::Array(permitted)}))
            }
            "DELETE" => {
                channel.topics.clear();
                self.watch(id, asked.platform_now);
                SimResponse::raw(204, "application/json", bytes::Bytes::new())
            }
            method => self.subscribe(asked, id, method == "POST"),
        }
    }

    fn subscribe(&mut self, asked: &Asked<'_>, id: &str, add: bool) -> SimResponse {
        let wanted: Vec<TopicId> = match serde_json::from_slice(&asked.request.body) {
            Ok(wanted) => wanted,
            Err(error) => {
                let message = format!("the body must be an array of topics with ids: {error}");
                return asked.error(400, "bad.request", &message);
            }
        };
        let forgiving = asked.request.query("ignoreErrors").as_deref() == Some("true");
        let mut topics = if add {
            self.switchboard.channels[id].topics.clone()
        } else {
            BTreeMap::new()
        };
        let mut entities = Vec::new();
        for TopicId { id: name } in wanted {
            match self.permit(asked, &name) {
                Ok(parts) => {
                    entities.push(permitted(&name));
                    topics.insert(name, parts);
                }
                Err(reason) if forgiving => entities.push(json!({
                    "id": name, "state": "Rejected", "rejectionReason": reason,
                })),
                Err(reason) => {
                    let message = format!("Unable to subscribe to {name}: {reason}");
                    return asked.error(403, "not.authorized", &message);
                }
            }
        }
        let count: usize = topics.values().map(Vec::len).sum();
        let most = self.switchboard.options.topics_max;
        if count > most {
            return asked.error(
                400,
                "notification.subscription.too.many.subscriptions",
                &format!("{count} topics are too many for a channel: at most {most}"),
            );
        }
        let lifetime = self.switchboard.options.channel_lifetime;
        if let Some(channel) = self.switchboard.channels.get_mut(id) {
            channel.topics = topics;
            channel.expires = asked.now + lifetime;
        }
        self.watch(id, asked.platform_now);
        SimResponse::json(200, &json!({"entities": entities}))
    }

    /// The topics of a topic id, or why it is rejected.
    fn permit(&self, asked: &Asked<'_>, name: &str) -> Result<Vec<Topic>, &'static str> {
        let topics = topic::parse(name).ok_or("no such topic")?;
        let known = |topic: &Topic| {
            if topic.of_queue {
                self.roster.find_queue(&topic.id).is_some()
            } else {
                self.roster.find(&topic.id).is_some()
            }
        };
        if !topics.iter().all(known) {
            return Err("no such user or queue");
        }
        let percent = self
            .fault(FaultKind::RejectedTopics, None, asked.now)
            .map_or(0, Active::percent);
        // By the topic, so that asking again does not help.
        let salt = name
            .bytes()
            .fold(REJECTED, |salt, byte| chance::mix(&[salt, u64::from(byte)]));
        if chance::strikes(percent, &[self.roster.spec().seed, salt]) {
            return Err("missing permission");
        }
        Ok(topics)
    }

    /// `availabletopics`.
    pub(in crate::simulator) fn available_topics() -> SimResponse {
        let topic = |form: &topic::TopicForm| {
            let id = format!("{}{{id}}.{}", form.prefix, form.suffix);
            json!({
                "id": id,
                "description": form.description,
                "permissionDetails": [],
                "requiresPermissions": [],
                "requiresDivisionPermissions": false,
                "requiresAnyValidator": false,
                "enforced": true,
                "visibility": "Public",
                "schema": {"type": "object"},
                "requiresCurrentUser": false,
                "requiresCurrentUserOrPermission": false,
                "transports": if form.kind == Kind::Silent { vec!["Websocket"] } else { vec!["Websocket", "EventBridge"] },
                "publicApiTemplateUriPaths": [],
                "topicParameters": ["id"],
            })
        };
        let entities: Vec<Value> = FORMS.iter().map(topic).collect();
        SimResponse::json(200, &json!({"entities": entities}))
    }
}

fn permitted(topic: &str) -> Value {
    json!({
        "id": topic,
        "state": "Permitted",
        "selfUri": format!("/api/v2/notifications/availabletopics/{topic}"),
    })
}
