//! Notifications (platform-api.md §3): the answers about channels and subscriptions, and the
//! frames of a socket.
//!
//! A frame is a record: one that cannot be read is refused alone and counted. The body's own id
//! decides whom it is about; topic names are compared without regard to case, as the platform's
//! own samples do.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::model::ids::{QueueId, UserId};
use crate::model::state::Presence;
use crate::model::time::UnixMillis;
use crate::upstream::channel::{
    Channel, ChannelId, ConnectUri, Frame, OpenInteractions, PushedPresence, PushedStatus,
    RejectionReason, Subscription,
};
use crate::upstream::wire_status::{ID_LENGTH_MAX, WireError};

/// Longest frame read, in bytes: an activity of an agent in some thousand queues.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
/// Longest id and address of a channel; real ones have some hundred bytes.
const CHANNEL_TEXT_MAX: usize = 2_048;
/// Missing permissions that are passed on for a log line.
const PERMISSIONS_MAX: usize = 5;
/// Longest name of a permission that is passed on.
const PERMISSION_LENGTH_MAX: usize = 100;
/// Longest routing status kept, in bytes; the platform's have 14 at most.
const STATUS_LENGTH_MAX: usize = 64;

/// Why a frame cannot be read. Nothing of it is quoted: it may hold free words of people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Over [`FRAME_BYTES_MAX`].
    #[error("the frame is longer than {FRAME_BYTES_MAX} bytes")]
    TooLong,
    /// Not JSON, or not an event in its envelope.
    #[error("the frame is no event in its envelope")]
    Shape,
    /// It does not say whom it is about.
    #[error("the frame has no usable id")]
    Id,
    /// A start that is missing or no timestamp.
    #[error("the frame has a state without a readable start")]
    Time,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChannelBody<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    connect_uri: Option<Cow<'a, str>>,
    #[serde(borrow)]
    expires: Option<Cow<'a, str>>,
}

/// Reads the answer to making a channel.
///
/// # Errors
/// [`WireError`] if it is no JSON object, or has no id or no address.
pub fn channel(body: &[u8]) -> Result<Channel, WireError> {
    let document: ChannelBody<'_> =
        serde_json::from_slice(body).map_err(|error| WireError::from_json(&error, "a channel"))?;
    Ok(Channel {
        id: ChannelId::new(usable(document.id.as_deref(), "id")?),
        connect_uri: ConnectUri::new(usable(document.connect_uri.as_deref(), "connectUri")?),
        expires_at: document
            .expires
            .and_then(|text| UnixMillis::parse(&text).ok()),
    })
}

#[derive(Deserialize)]
struct SubscriptionBody<'a> {
    #[serde(borrow)]
    entities: Vec<TopicBody<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TopicBody<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    state: Option<Cow<'a, str>>,
    #[serde(borrow)]
    rejection_reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    missing_permissions: Option<Vec<Cow<'a, str>>>,
}

/// Reads the answer to a subscription. A topic without a state counts as permitted: older
/// answers have none.
///
/// # Errors
/// [`WireError`] if it is no JSON object with `entities`.
pub fn subscription(body: &[u8]) -> Result<Subscription, WireError> {
    let document: SubscriptionBody<'_> = serde_json::from_slice(body)
        .map_err(|error| WireError::from_json(&error, "a list of topics"))?;
    let mut result = Subscription::default();
    for topic in document.entities {
        let refused = topic
            .state
            .as_deref()
            .is_some_and(|state| state.eq_ignore_ascii_case("rejected"));
        if !refused {
            result.permitted += 1;
            continue;
        }
        let missing = topic.missing_permissions.unwrap_or_default();
        let reason = reason(topic.rejection_reason.as_deref(), &missing);
        for permission in missing {
            let known = result.missing_permissions.iter().any(|p| *p == permission);
            let printable = permission.len() <= PERMISSION_LENGTH_MAX
                && permission.bytes().all(|byte| byte.is_ascii_graphic());
            if !known && printable && result.missing_permissions.len() < PERMISSIONS_MAX {
                result.missing_permissions.push(permission.into_owned());
            }
        }
        let id = topic.id.unwrap_or_default().to_ascii_lowercase();
        result.rejected.push((id, reason));
    }
    Ok(result)
}

/// The platform's reasons are words for people; only their gist makes a label.
fn reason(text: Option<&str>, missing: &[Cow<'_, str>]) -> RejectionReason {
    let text = text.unwrap_or_default().to_ascii_lowercase();
    if !missing.is_empty() || text.contains("permission") || text.contains("authorized") {
        RejectionReason::Permission
    } else if text.contains("no such") || text.contains("not found") || text.contains("invalid") {
        RejectionReason::NotFound
    } else {
        RejectionReason::Other
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    topic_name: Cow<'a, str>,
    #[serde(borrow, default)]
    event_body: Option<&'a serde_json::value::RawValue>,
}

/// Reads a frame.
///
/// # Errors
/// [`FrameError`] if it cannot be read; the socket is none the worse for it.
pub fn frame(text: &str) -> Result<Frame, FrameError> {
    if text.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong);
    }
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|_| FrameError::Shape)?;
    let name = envelope.topic_name.to_ascii_lowercase();
    let body = envelope.event_body.map_or("{}", |body| body.get());
    if let Some(frame) = system(&name, body) {
        return Ok(frame);
    }
    if let Some(rest) = name.strip_prefix("v2.users.") {
        return match rest.rsplit_once('.') {
            Some((_, "activity")) => activity(body),
            Some((_, "conversationsummary")) => interactions(body),
            _ => Ok(Frame::Unknown),
        };
    }
    match name.strip_prefix("v2.routing.queues.") {
        Some(rest)
            if rest
                .rsplit_once('.')
                .is_some_and(|(_, kind)| kind == "users") =>
        {
            membership(body)
        }
        _ => Ok(Frame::Unknown),
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct SystemBody<'a> {
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
}

/// What the platform says about the channel itself, if it does.
fn system(name: &str, body: &str) -> Option<Frame> {
    if name == "channel.metadata" {
        let body: SystemBody<'_> = serde_json::from_str(body).unwrap_or_default();
        let pong = body
            .message
            .is_some_and(|message| message.eq_ignore_ascii_case("pong"));
        return Some(if pong { Frame::Pong } else { Frame::Heartbeat });
    }
    if name == "v2.subscription.updated" {
        return Some(Frame::SubscriptionChanged);
    }
    let kind = name.strip_prefix("v2.system.")?;
    let kind = kind.split('.').next().unwrap_or(kind);
    Some(match kind {
        "socket_closing" => Frame::SocketClosing,
        "no_longer_subscribed" => Frame::NoLongerSubscribed,
        "token_revoked" => Frame::TokenRevoked,
        "subscription_changed" => Frame::SubscriptionChanged,
        _ => Frame::Unknown,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActivityBody<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    routing_status: Option<StatusBody<'a>>,
    #[serde(borrow)]
    presence: Option<PresenceBody<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusBody<'a> {
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    start_time: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PresenceBody<'a> {
    #[serde(borrow)]
    presence_definition: Option<DefinitionBody<'a>>,
    #[serde(borrow)]
    modified_date: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DefinitionBody<'a> {
    #[serde(borrow)]
    system_presence: Option<Cow<'a, str>>,
}

/// A text of a channel, if it is usable.
fn usable<'a>(text: Option<&'a str>, field: &'static str) -> Result<&'a str, WireError> {
    text.filter(|text| !text.is_empty() && text.len() <= CHANNEL_TEXT_MAX)
        .ok_or(WireError::Missing { field })
}

fn body<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, FrameError> {
    serde_json::from_str(text).map_err(|_| FrameError::Shape)
}

fn id(text: Option<&str>) -> Result<&str, FrameError> {
    text.filter(|id| !id.is_empty() && id.len() <= ID_LENGTH_MAX)
        .ok_or(FrameError::Id)
}

fn time(text: Option<&str>) -> Result<UnixMillis, FrameError> {
    text.and_then(|text| UnixMillis::parse(text).ok())
        .ok_or(FrameError::Time)
}

fn activity(text: &str) -> Result<Frame, FrameError> {
    let body: ActivityBody<'_> = body(text)?;
    let user = UserId::new(id(body.id.as_deref())?);
    let status = match body.routing_status {
        Some(StatusBody {
            status: Some(status),
            start_time,
        }) if status.len() <= STATUS_LENGTH_MAX => Some(PushedStatus {
            status: Arc::from(&*status),
            since: time(start_time.as_deref())?,
        }),
        _ => None,
    };
    let presence = match body.presence {
        Some(PresenceBody {
            presence_definition:
                Some(DefinitionBody {
                    system_presence: Some(presence),
                }),
            modified_date: Some(date),
        }) => Some(PushedPresence {
            presence: Presence::parse(&presence),
            since: time(Some(&date))?,
        }),
        // The official sample of a presence has no date: then it cannot be ordered.
        _ => None,
    };
    Ok(Frame::Activity {
        user,
        status,
        presence,
    })
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Counts {
    active: u64,
    acw: u64,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Medium {
    contact_center: Option<Counts>,
    enterprise: Option<Counts>,
}

fn interactions(text: &str) -> Result<Frame, FrameError> {
    // The media are whatever keys hold counts, so that a new medium is counted too.
    let fields: BTreeMap<Cow<'_, str>, &serde_json::value::RawValue> = body(text)?;
    let user: Option<String> = fields
        .get("userId")
        .and_then(|value| serde_json::from_str(value.get()).ok());
    let user = UserId::new(id(user.as_deref())?);
    let mut open = OpenInteractions::default();
    for (key, value) in fields {
        if key == "userId" || !value.get().starts_with('{') {
            continue;
        }
        let medium: Medium = body(value.get())?;
        let centre = medium.contact_center.unwrap_or_default();
        let enterprise = medium.enterprise.unwrap_or_default();
        open.active = open.active.saturating_add(centre.active);
        open.after_call = open.after_call.saturating_add(centre.acw);
        open.enterprise = open
            .enterprise
            .saturating_add(enterprise.active)
            .saturating_add(enterprise.acw);
    }
    Ok(Frame::Interactions { user, open })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MembershipBody<'a> {
    #[serde(borrow)]
    queue_id: Option<Cow<'a, str>>,
}

fn membership(text: &str) -> Result<Frame, FrameError> {
    let body: MembershipBody<'_> = body(text)?;
    let queue = QueueId::new(id(body.queue_id.as_deref())?);
    Ok(Frame::Membership { queue })
}

#[cfg(test)]
mod tests;
