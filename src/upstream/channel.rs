//! The nouns of notifications: channels, topics, and what a frame says (platform-api.md §3).
//!
//! A channel has no other guard than its name: who knows the id or the address reads the
//! organisation's events. So both are types that show nothing of themselves, and cannot be
//! serialised.

use std::fmt;
use std::sync::Arc;

use crate::model::ids::{QueueId, UserId};
use crate::model::state::Presence;
use crate::model::time::UnixMillis;

macro_rules! bearer {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it is; whether it is acceptable is the parser's business.
            pub fn new(text: &str) -> Self {
                Self(Arc::from(text))
            }

            /// The secret itself: for the request or the connection that needs it, never for a
            /// log line, a metric or an error.
            pub fn expose(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    };
}

bearer!(
    /// The id of a channel.
    ChannelId
);
bearer!(
    /// The address of a channel's socket; the id is a part of it.
    ConnectUri
);

/// A channel as the platform made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its id.
    pub id: ChannelId,
    /// Where to connect.
    pub connect_uri: ConnectUri,
    /// When it ends, by the platform's clock; `None` if that was not said or cannot be read.
    pub expires_at: Option<UnixMillis>,
}

/// Something that can be subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Routing status, presence and active queues of a user.
    Activity(UserId),
    /// Open interactions of a user by medium: what tells after-call work from a call.
    ConversationSummary(UserId),
    /// Who joins and leaves a queue.
    QueueUsers(QueueId),
}

impl Topic {
    /// The topic's id on the wire.
    pub fn name(&self) -> String {
        match self {
            Self::Activity(user) => format!("v2.users.{user}.activity"),
            Self::ConversationSummary(user) => format!("v2.users.{user}.conversationsummary"),
            Self::QueueUsers(queue) => format!("v2.routing.queues.{queue}.users"),
        }
    }
}

/// Classes of topics: the values of the label `topic`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicClass {
    /// [`Topic::Activity`].
    Activity,
    /// [`Topic::ConversationSummary`].
    ConversationSummary,
    /// [`Topic::QueueUsers`].
    QueueUsers,
    /// Heartbeats and the answers to our pings.
    Metadata,
    /// What the platform says about the channel itself.
    System,
    /// A topic that this version does not know.
    Unknown,
    /// A frame that cannot be read.
    Invalid,
}

impl TopicClass {
    /// Every class, in label order.
    pub const ALL: [Self; 7] = [
        Self::Activity,
        Self::ConversationSummary,
        Self::QueueUsers,
        Self::Metadata,
        Self::System,
        Self::Unknown,
        Self::Invalid,
    ];

    /// The label value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Activity => "activity",
            Self::ConversationSummary => "conversationsummary",
            Self::QueueUsers => "queue_users",
            Self::Metadata => "metadata",
            Self::System => "system",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
        }
    }
}

/// Why the platform refuses a topic: the values of the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectionReason {
    /// The OAuth client's role lacks something.
    Permission,
    /// No such user, queue or topic.
    NotFound,
    /// Anything else.
    Other,
}

impl RejectionReason {
    /// Every reason, in label order.
    pub const ALL: [Self; 3] = [Self::Permission, Self::NotFound, Self::Other];

    /// The label value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Permission => "permission",
            Self::NotFound => "not_found",
            Self::Other => "other",
        }
    }
}

/// What became of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscription {
    /// Topics that were permitted.
    pub permitted: usize,
    /// Ids of topics that were not, in lower case, and why.
    pub rejected: Vec<(String, RejectionReason)>,
    /// What the role lacks, as the platform names it; at most a few, for a log line.
    pub missing_permissions: Vec<String>,
}

/// A routing status and its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedStatus {
    /// The platform's own word.
    pub status: Arc<str>,
    /// When it was entered, by the platform's clock.
    pub since: UnixMillis,
}

/// A presence and its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedPresence {
    /// The presence.
    pub presence: Presence,
    /// When it was last modified, by the platform's clock.
    pub since: UnixMillis,
}

/// Open interactions of a user, summed over media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenInteractions {
    /// Contact-centre interactions under way.
    pub active: u64,
    /// Contact-centre interactions in after-call work.
    pub after_call: u64,
    /// Interactions outside the contact centre, in after-call work or not.
    pub enterprise: u64,
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A user's status or presence changed; what is missing was not said.
    Activity {
        /// Whose.
        user: UserId,
        /// Routing status.
        status: Option<PushedStatus>,
        /// UI presence.
        presence: Option<PushedPresence>,
    },
    /// A user's open interactions changed.
    Interactions {
        /// Whose.
        user: UserId,
        /// How many there are now.
        open: OpenInteractions,
    },
    /// Somebody joined or left a queue.
    Membership {
        /// The queue.
        queue: QueueId,
    },
    /// The channel lives.
    Heartbeat,
    /// The answer to our ping.
    Pong,
    /// The socket will be closed for maintenance in about a minute; the channel stays.
    SocketClosing,
    /// The channel lost its topics to another one.
    NoLongerSubscribed,
    /// The token that made the channel is no longer good, nor is the channel.
    TokenRevoked,
    /// The channel's topics were changed: the echo of what we asked for.
    SubscriptionChanged,
    /// A topic that this version does not know.
    Unknown,
}

impl Frame {
    /// The class of its topic.
    pub const fn class(&self) -> TopicClass {
        match self {
            Self::Activity { .. } => TopicClass::Activity,
            Self::Interactions { .. } => TopicClass::ConversationSummary,
            Self::Membership { .. } => TopicClass::QueueUsers,
            Self::Heartbeat | Self::Pong => TopicClass::Metadata,
            Self::SocketClosing
            | Self::NoLongerSubscribed
            | Self::TokenRevoked
            | Self::SubscriptionChanged => TopicClass::System,
            Self::Unknown => TopicClass::Unknown,
        }
    }
}

/// Names a connection between the pipeline and the driver; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// Why a socket is no more, or never was: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SocketEnd {
    /// The address cannot be connected to: it is none, or leads elsewhere than to a socket.
    Address,
    /// No connection: refused, unreachable, name not found, TLS.
    Connect,
    /// The platform answered the handshake with this status.
    Refused(u16),
    /// The handshake did not end in time.
    Timeout,
    /// The platform closed it.
    Closed,
    /// It broke, or the other side spoke no WebSocket.
    Broken,
    /// A message over the size limit.
    TooLarge,
}

/// What becomes of a socket, as the pipeline receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketEvent {
    /// The handshake is done.
    Opened,
    /// A text came.
    Text(String),
    /// It is no more. Nothing comes after this.
    Ended(SocketEnd),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secrets_show_nothing_of_themselves() {
        let channel = Channel {
            id: ChannelId::new("streaming-0-s3cr3t"),
            connect_uri: ConnectUri::new("wss://streaming.example/channels/streaming-0-s3cr3t"),
            expires_at: None,
        };
        let shown = format!("{channel:?} {channel:#?}");
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert!(shown.contains("ChannelId(secret)"));
        assert_eq!(channel.id.expose(), "streaming-0-s3cr3t");
    }

    #[test]
    fn topics_are_named_as_the_platform_names_them() {
        let user = UserId::new("u-1");
        let names = [
            Topic::Activity(user.clone()),
            Topic::ConversationSummary(user),
            Topic::QueueUsers(QueueId::new("q-1")),
        ]
        .map(|topic| topic.name());
        assert_eq!(
            names,
            [
                "v2.users.u-1.activity",
                "v2.users.u-1.conversationsummary",
                "v2.routing.queues.q-1.users"
            ]
        );
    }
}
