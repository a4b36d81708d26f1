//! The one table of calls: names, methods, permissions, and which dialect has them.
//!
//! Names and methods are the platform's; which answer a call gets is `calls`' business.

use super::dialect::Dialect;

/// A call of the platform; the simulator's own name for an endpoint, also in fault strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "ROWS says what each one is")]
pub enum Call {
    Token,
    Statuses,
    RoutingState,
    Users,
    User,
    Queues,
    Members,
    RoutingStatus,
    Presence,
    PresenceBulk,
    UserQueues,
    Definitions,
    SystemPresences,
    Details,
    AgentStatus,
    Conversations,
    Channels,
    Channel,
    Subscriptions,
    AvailableTopics,
}

/// Which dialects have a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoken {
    Always,
    Status,
    Platform,
}

/// A row of the table of calls.
struct Row {
    call: Call,
    name: &'static str,
    /// The path; `*` stands for an id.
    path: &'static str,
    methods: &'static [&'static str],
    permission: &'static str,
    spoken: Spoken,
}

const fn row(
    call: Call,
    name: &'static str,
    path: &'static str,
    methods: &'static [&'static str],
    permission: &'static str,
    spoken: Spoken,
) -> Row {
    Row {
        call,
        name,
        path,
        methods,
        permission,
        spoken,
    }
}

const GET: &[&str] = &["GET"];
const POST: &[&str] = &["POST"];

/// Every call in the order of the enum. Of two rows that fit a path the first wins.
/// Permissions: status-api.md for the first seven, platform-api.md §2 for the others; where
/// the platform needs none, a token of a client without any role is what would be refused.
const ROWS: [Row; 20] = {
    use Call as C;
    use Spoken as S;
    [
        row(
            C::Token,
            "token",
            "oauth/token",
            POST,
            "routing:queue:view",
            S::Always,
        ),
        row(
            C::Statuses,
            "statuses",
            "api/v2/users/statuses",
            GET,
            "UserStatus:Read",
            S::Status,
        ),
        row(
            C::RoutingState,
            "routing-state",
            "api/v2/routing/users/*/state",
            GET,
            "Routing:View",
            S::Status,
        ),
        row(
            C::Users,
            "users",
            "api/v2/users",
            GET,
            "User:Read",
            S::Always,
        ),
        row(
            C::User,
            "user",
            "api/v2/users/*",
            GET,
            "User:Read",
            S::Always,
        ),
        row(
            C::Queues,
            "queues",
            "api/v2/routing/queues",
            GET,
            "routing:queue:view",
            S::Always,
        ),
        row(
            C::Members,
            "members",
            "api/v2/routing/queues/*/members",
            GET,
            "routing:queue:view",
            S::Always,
        ),
        row(
            C::RoutingStatus,
            "routing-status",
            "api/v2/users/*/routingstatus",
            GET,
            "directory:user:view",
            S::Platform,
        ),
        row(
            C::Presence,
            "presence",
            "api/v2/users/*/presences/purecloud",
            GET,
            "directory:user:view",
            S::Platform,
        ),
        row(
            C::PresenceBulk,
            "presence-bulk",
            "api/v2/users/presences/purecloud/bulk",
            GET,
            "directory:user:view",
            S::Platform,
        ),
        row(
            C::UserQueues,
            "user-queues",
            "api/v2/users/*/queues",
            GET,
            "routing:queue:view",
            S::Platform,
        ),
        row(
            C::Definitions,
            "definitions",
            "api/v2/presence/definitions",
            GET,
            "presence:presenceDefinition:view",
            S::Platform,
        ),
        row(
            C::SystemPresences,
            "system-presences",
            "api/v2/systempresences",
            GET,
            "directory:user:view",
            S::Platform,
        ),
        row(
            C::Details,
            "details",
            "api/v2/analytics/users/details/query",
            POST,
            "analytics:userDetail:view",
            S::Platform,
        ),
        row(
            C::AgentStatus,
            "agent-status",
            "api/v2/analytics/agents/*/status",
            GET,
            "analytics:agentState:view",
            S::Platform,
        ),
        row(
            C::Conversations,
            "conversations",
            "api/v2/conversations",
            GET,
            "conversation:communication:view",
            S::Platform,
        ),
        row(
            C::Channels,
            "channels",
            "api/v2/notifications/channels",
            &["GET", "POST"],
            "directory:user:view",
            S::Platform,
        ),
        row(
            C::Channel,
            "channel",
            "api/v2/notifications/channels/*",
            &["HEAD"],
            "directory:user:view",
            S::Platform,
        ),
        row(
            C::Subscriptions,
            "subscriptions",
            "api/v2/notifications/channels/*/subscriptions",
            &["GET", "POST", "PUT", "DELETE"],
            "directory:user:view",
            S::Platform,
        ),
        row(
            C::AvailableTopics,
            "available-topics",
            "api/v2/notifications/availabletopics",
            GET,
            "directory:user:view",
            S::Platform,
        ),
    ]
};

impl Call {
    /// Every call.
    pub const ALL: [Self; ROWS.len()] = {
        let mut all = [Self::Token; ROWS.len()];
        let mut at = 0;
        while at < all.len() {
            all[at] = ROWS[at].call;
            at += 1;
        }
        all
    };

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Its name in fault strings and statistics.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether it takes a method.
    pub fn takes(self, method: &str) -> bool {
        self.row().methods.contains(&method)
    }

    /// The permission that a refusal names.
    pub(super) fn permission(self) -> &'static str {
        self.row().permission
    }

    /// Whether a platform that speaks a dialect has it.
    pub fn is_spoken(self, dialect: Dialect) -> bool {
        match self.row().spoken {
            Spoken::Always => true,
            Spoken::Status => dialect.has_status(),
            Spoken::Platform => dialect.has_platform(),
        }
    }

    /// The call that a path is, with the id in it (empty if it has none).
    pub fn of_path(path: &str) -> Option<(Self, &str)> {
        let path = path.strip_prefix('/')?;
        ROWS.iter()
            .filter_map(|row| Some((row, fits(row.path, path)?)))
            // Words before ids: `users/statuses` is no user, nor is `presences` of one.
            .max_by_key(|(row, id)| (id.is_empty(), std::cmp::Reverse(row.call)))
            .map(|(row, id)| (row.call, id))
    }
}

/// The id of a path that has a form; empty if the form has none, `None` if it does not fit.
fn fits<'a>(form: &str, path: &'a str) -> Option<&'a str> {
    let mut id = "";
    let mut words = path.split('/');
    for wanted in form.split('/') {
        let given = words.next()?;
        match wanted {
            "*" if !given.is_empty() => id = given,
            "*" => return None,
            word if word == given => {}
            _ => return None,
        }
    }
    words.next().is_none().then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_the_position_of_its_row_and_names_are_unique() {
        for (position, row) in ROWS.iter().enumerate() {
            assert_eq!(row.call as usize, position, "{}", row.name);
        }
        let names: std::collections::BTreeSet<_> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
    }

    #[test]
    fn paths_are_calls() {
        for (path, call) in [
            ("/api/v2/users/statuses", Some((Call::Statuses, ""))),
            ("/api/v2/users/a-1", Some((Call::User, "a-1"))),
            (
                "/api/v2/routing/queues/q/members",
                Some((Call::Members, "q")),
            ),
            (
                "/api/v2/routing/users/u/state",
                Some((Call::RoutingState, "u")),
            ),
            (
                "/api/v2/users/presences/purecloud/bulk",
                Some((Call::PresenceBulk, "")),
            ),
            (
                "/api/v2/users/u/presences/purecloud",
                Some((Call::Presence, "u")),
            ),
            (
                "/api/v2/notifications/channels/c/subscriptions",
                Some((Call::Subscriptions, "c")),
            ),
            ("/api/v2/notifications/channels", Some((Call::Channels, ""))),
            ("/api/v2/users/a/b", None),
            ("/api/v2/users/", None),
            ("", None),
        ] {
            assert_eq!(Call::of_path(path), call, "{path}");
        }
    }

    #[test]
    fn each_dialect_has_calls_that_the_other_lacks() {
        let spoken = |dialect| {
            Call::ALL
                .into_iter()
                .filter(|call| call.is_spoken(dialect))
                .count()
        };
        assert_eq!(spoken(Dialect::Both), Call::ALL.len());
        assert!(!Call::Statuses.is_spoken(Dialect::Platform));
        assert!(!Call::Channels.is_spoken(Dialect::Status));
        assert_eq!(
            spoken(Dialect::Status) + spoken(Dialect::Platform),
            Call::ALL.len() + 5
        );
    }
}
