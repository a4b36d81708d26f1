//! What can be asked of the platform: pure descriptions, turned into HTTP by the client.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::channel::{ChannelId, Topic};
use crate::model::ids::{QueueId, UserId};
use crate::model::time::UnixMillis;

/// Names a request between the pipeline and the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// A call (status-api.md). Every variant is one HTTP request. Not serialisable: some hold the id
/// of a channel, which is a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiRequest {
    /// `POST {login}/oauth/token`: client credentials.
    Login,
    /// `GET /api/v2/users/statuses`: the bulk snapshot; pages count from 1, and only an answer
    /// that is an object with `entities` has more than one.
    Statuses {
        /// Page number.
        page: u32,
    },
    /// `GET /api/v2/routing/users/{userId}/state`.
    RoutingState {
        /// Whose.
        user: UserId,
    },
    /// `GET /api/v2/users?state=active&pageSize=…&pageNumber=…`: the registry.
    Users {
        /// Page number.
        page: u32,
    },
    /// `GET /api/v2/users?state=active&expand=…&pageSize=…&pageNumber=…`: users with presence,
    /// routing status and open work, the scan of dialect `platform`.
    UsersScan {
        /// Page number.
        page: u32,
        /// Users a page.
        size: u32,
    },
    /// `GET /api/v2/users/{userId}?expand=…`: one of them.
    UserStatus {
        /// Whose.
        user: UserId,
    },
    /// `GET /api/v2/users/{userId}?expand=conversationSummary`: open interactions.
    ConversationSummary {
        /// Whose.
        user: UserId,
    },
    /// `GET /api/v2/routing/queues?pageSize=…&pageNumber=…`.
    Queues {
        /// Page number.
        page: u32,
    },
    /// `GET /api/v2/routing/queues/{queueId}/members?pageSize=…&pageNumber=…`.
    QueueMembers {
        /// Of which queue.
        queue: QueueId,
        /// Page number.
        page: u32,
    },
    /// `POST /api/v2/analytics/users/details/query`: routing statuses of the past.
    UserDetails(DetailsQuery),
    /// `GET /api/v2/analytics/agents/{userId}/status`: what one user works on this moment.
    AgentStatus {
        /// Whose.
        user: UserId,
    },
    /// `POST /api/v2/notifications/channels`: a channel for notifications.
    OpenChannel,
    /// `PUT /api/v2/notifications/channels/{channelId}/subscriptions?ignoreErrors=true`: its topics,
    /// in place of those that it has. One topic that is refused does not cost the others.
    Subscribe {
        /// Which channel.
        channel: ChannelId,
        /// All its topics.
        topics: Arc<[Topic]>,
    },
}

/// Whose past is asked for, and which part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DetailsQuery {
    /// From here on.
    pub from: UnixMillis,
    /// Up to here.
    pub to: UnixMillis,
    /// Whose; at most [`DETAILS_USERS_MAX`], never empty: a query about nobody would be one about
    /// everybody.
    pub users: Arc<[UserId]>,
    /// Page number.
    pub page: u32,
}

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
}

/// Users a page: the platform takes up to 500 (platform-api.md §2).
pub const USERS_PAGE_SIZE: u32 = 500;
/// Queues a page: 500 works (platform-api.md §2).
pub const QUEUES_PAGE_SIZE: u32 = 500;
/// Queue members a page: the platform refuses more than 100 (platform-api.md §2).
pub const MEMBERS_PAGE_SIZE: u32 = 100;
/// Users that a query of details may name, and users a page of its answer: 100 is the limit of
/// predicates on users in the sibling query of aggregates, and the largest page that is known to
/// work (platform-api.md §2), so that an answer mostly is one page.
pub const DETAILS_USERS_MAX: usize = 100;

/// What is expanded of a user, joined by commas as the platform's own SDKs do.
const EXPANDS: &str = "presence,routingStatus,conversationSummary";

/// An endpoint as a template: the value of the label `endpoint`, never a raw path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// The token endpoint.
    Token,
    /// The bulk snapshot.
    Statuses,
    /// One user's routing state.
    RoutingState,
    /// The registry.
    Users,
    /// One user with open interactions.
    User,
    /// Queues.
    Queues,
    /// Members of a queue.
    QueueMembers,
    /// The past of users.
    UserDetails,
    /// What one user works on.
    AgentStatus,
    /// Channels of notifications.
    Channels,
    /// Topics of a channel.
    Subscriptions,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 11] = [
        Self::Token,
        Self::Statuses,
        Self::RoutingState,
        Self::Users,
        Self::User,
        Self::Queues,
        Self::QueueMembers,
        Self::UserDetails,
        Self::AgentStatus,
        Self::Channels,
        Self::Subscriptions,
    ];

    /// The label value.
    pub const fn template(self) -> &'static str {
        match self {
            Self::Token => "/oauth/token",
            Self::Statuses => "/api/v2/users/statuses",
            Self::RoutingState => "/api/v2/routing/users/{userId}/state",
            Self::Users => "/api/v2/users",
            Self::User => "/api/v2/users/{userId}",
            Self::Queues => "/api/v2/routing/queues",
            Self::QueueMembers => "/api/v2/routing/queues/{queueId}/members",
            Self::UserDetails => "/api/v2/analytics/users/details/query",
            Self::AgentStatus => "/api/v2/analytics/agents/{userId}/status",
            Self::Channels => "/api/v2/notifications/channels",
            Self::Subscriptions => "/api/v2/notifications/channels/{channelId}/subscriptions",
        }
    }
}

/// Whether a status answers `/api/v2/users/statuses` by saying that there is no such thing: not
/// found, or bad, because the public platform reads the path as `/api/v2/users/{userId}` and
/// `statuses` cannot be an id.
pub const fn tells_no_snapshot(status: u16) -> bool {
    matches!(status, 400 | 404)
}

/// Largest bulk answer, decompressed: 200,000 records of 300 bytes. A larger one is no answer.
const SNAPSHOT_BODY_MAX: usize = 64 * 1024 * 1024;
/// Largest page of a listing, decompressed: 500 users of 30 KiB.
const LISTING_BODY_MAX: usize = 16 * 1024 * 1024;
/// Largest answer about one user, and to a login.
pub(super) const SINGLE_BODY_MAX: usize = 1024 * 1024;

impl Endpoint {
    /// Largest successful answer, decompressed, in bytes; a larger one is no answer.
    pub const fn body_max(self) -> usize {
        match self {
            Self::Statuses => SNAPSHOT_BODY_MAX,
            Self::Users | Self::Queues | Self::QueueMembers | Self::UserDetails => LISTING_BODY_MAX,
            Self::Token
            | Self::RoutingState
            | Self::User
            | Self::AgentStatus
            | Self::Channels
            | Self::Subscriptions => SINGLE_BODY_MAX,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.template())
    }
}

impl ApiRequest {
    /// The endpoint asked.
    pub const fn endpoint(&self) -> Endpoint {
        match self {
            Self::Login => Endpoint::Token,
            Self::Statuses { .. } => Endpoint::Statuses,
            Self::RoutingState { .. } => Endpoint::RoutingState,
            Self::Users { .. } | Self::UsersScan { .. } => Endpoint::Users,
            Self::ConversationSummary { .. } | Self::UserStatus { .. } => Endpoint::User,
            Self::Queues { .. } => Endpoint::Queues,
            Self::QueueMembers { .. } => Endpoint::QueueMembers,
            Self::UserDetails(_) => Endpoint::UserDetails,
            Self::AgentStatus { .. } => Endpoint::AgentStatus,
            Self::OpenChannel => Endpoint::Channels,
            Self::Subscribe { .. } => Endpoint::Subscriptions,
        }
    }

    /// How it is sent.
    pub const fn method(&self) -> Method {
        match self {
            Self::Login | Self::UserDetails(_) | Self::OpenChannel => Method::Post,
            Self::Subscribe { .. } => Method::Put,
            _ => Method::Get,
        }
    }

    /// The JSON that goes with it, if any does. The form of a login is the client's business.
    pub fn body(&self) -> Option<String> {
        let topics = match self {
            Self::Subscribe { topics, .. } => topics,
            Self::UserDetails(query) => return Some(query.body()),
            _ => return None,
        };
        let topics: Vec<_> = topics
            .iter()
            .map(|topic| serde_json::json!({"id": topic.name()}))
            .collect();
        Some(serde_json::Value::from(topics).to_string())
    }

    /// Path and query below the API's base URL; for [`Self::Login`] the path below the login URL.
    /// Ids are percent-encoded. With [`Self::Subscribe`] it contains a secret.
    pub fn path_and_query(&self) -> String {
        match self {
            Self::Login => "/oauth/token".to_owned(),
            Self::Statuses { page: 1 } => "/api/v2/users/statuses".to_owned(),
            Self::Statuses { page } => format!("/api/v2/users/statuses?pageNumber={page}"),
            Self::RoutingState { user } => {
                format!("/api/v2/routing/users/{}/state", encode(user.as_str()))
            }
            Self::Users { page } => {
                format!("/api/v2/users?state=active&pageSize={USERS_PAGE_SIZE}&pageNumber={page}")
            }
            Self::UsersScan { page, size } => format!(
                "/api/v2/users?state=active&expand={EXPANDS}&pageSize={size}&pageNumber={page}"
            ),
            Self::UserStatus { user } => {
                format!("/api/v2/users/{}?expand={EXPANDS}", encode(user.as_str()))
            }
            Self::ConversationSummary { user } => {
                format!(
                    "/api/v2/users/{}?expand=conversationSummary",
                    encode(user.as_str())
                )
            }
            Self::Queues { page } => {
                format!("/api/v2/routing/queues?pageSize={QUEUES_PAGE_SIZE}&pageNumber={page}")
            }
            Self::QueueMembers { queue, page } => format!(
                "/api/v2/routing/queues/{}/members?pageSize={MEMBERS_PAGE_SIZE}&pageNumber={page}",
                encode(queue.as_str())
            ),
            Self::UserDetails(_) => "/api/v2/analytics/users/details/query".to_owned(),
            Self::AgentStatus { user } => {
                format!("/api/v2/analytics/agents/{}/status", encode(user.as_str()))
            }
            Self::OpenChannel => "/api/v2/notifications/channels".to_owned(),
            Self::Subscribe { channel, .. } => format!(
                "/api/v2/notifications/channels/{}/subscriptions?ignoreErrors=true",
                encode(channel.expose())
            ),
        }
    }
}

impl DetailsQuery {
    /// The query as the platform reads it.
    fn body(&self) -> String {
        let predicates: Vec<_> = self
            .users
            .iter()
            .map(|user| serde_json::json!({"dimension": "userId", "value": user.as_str()}))
            .collect();
        serde_json::json!({
            "interval": format!("{}/{}", self.from, self.to),
            "order": "asc",
            "userFilters": [{"type": "or", "predicates": predicates}],
            "paging": {"pageSize": DETAILS_USERS_MAX, "pageNumber": self.page},
        })
        .to_string()
    }
}

/// Percent-encodes all but RFC 3986 unreserved characters, so that no id leaves its path segment.
fn encode(segment: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_its_path_segment() {
        let request = ApiRequest::RoutingState {
            user: UserId::new("../a?b=c&é"),
        };
        assert_eq!(
            request.path_and_query(),
            "/api/v2/routing/users/%2E%2E%2Fa%3Fb%3Dc%26%C3%A9/state"
        );
    }

    #[test]
    fn a_subscription_names_its_topics_and_hides_its_channel() {
        let request = ApiRequest::Subscribe {
            channel: ChannelId::new("streaming-0-s3cr3t"),
            topics: Arc::from([Topic::Activity(UserId::new("u-1"))]),
        };
        assert_eq!(
            request.path_and_query(),
            "/api/v2/notifications/channels/streaming-0-s3cr3t/subscriptions?ignoreErrors=true"
        );
        assert_eq!(request.method(), Method::Put);
        assert_eq!(
            request.body().as_deref(),
            Some(r#"[{"id":"v2.users.u-1.activity"}]"#)
        );
        assert!(!format!("{request:?}").contains("s3cr3t"));
        assert_eq!(ApiRequest::OpenChannel.method(), Method::Post);
        assert_eq!(ApiRequest::OpenChannel.body(), None);
    }

    #[test]
    fn a_query_of_details_names_its_users_and_its_interval() {
        let request = ApiRequest::UserDetails(DetailsQuery {
            from: UnixMillis::parse("2026-05-04T08:00:00.000Z").unwrap(),
            to: UnixMillis::parse("2026-05-04T08:20:00.000Z").unwrap(),
            users: Arc::from([UserId::new("u-1"), UserId::new("u-\"2")]),
            page: 3,
        });
        assert_eq!(request.method(), Method::Post);
        let body: serde_json::Value = serde_json::from_str(&request.body().unwrap()).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "interval": "2026-05-04T08:00:00.000Z/2026-05-04T08:20:00.000Z",
                "order": "asc",
                "userFilters": [{"type": "or", "predicates": [
                    {"dimension": "userId", "value": "u-1"},
                    {"dimension": "userId", "value": "u-\"2"},
                ]}],
                "paging": {"pageSize": 100, "pageNumber": 3},
            })
        );
    }

    #[test]
    fn templates_are_unique() {
        let mut templates: Vec<_> = Endpoint::ALL.iter().map(|e| e.template()).collect();
        templates.sort_unstable();
        templates.dedup();
        assert_eq!(templates.len(), Endpoint::ALL.len());
    }
}
