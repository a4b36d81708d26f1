//! One request and one answer as values, and which call a path is.
//!
//! Knows nothing of sockets; `serve` translates to and from HTTP, a virtual clock needs no
//! translation.

use bytes::Bytes;
use serde_json::Value;
use url::form_urlencoded;

use crate::model::time::Millis;

/// A request as it reaches the platform.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SimRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path, and query after `?`.
    pub path_and_query: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The body.
    pub body: Bytes,
}

impl SimRequest {
    /// A GET with a bearer token.
    pub fn get(path_and_query: &str, token: &str) -> Self {
        Self {
            method: "GET".to_owned(),
            path_and_query: path_and_query.to_owned(),
            authorization: Some(format!("Bearer {token}")),
            body: Bytes::new(),
        }
    }

    /// A login with client credentials in the form.
    pub fn login(client_id: &str, client_secret: &str) -> Self {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", client_id)
            .append_pair("client_secret", client_secret)
            .finish();
        Self {
            method: "POST".to_owned(),
            path_and_query: "/oauth/token".to_owned(),
            authorization: None,
            body: Bytes::from(form),
        }
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.path_and_query
            .split_once('?')
            .map_or(&*self.path_and_query, |(path, _)| path)
    }

    /// The first value of a query parameter, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.path_and_query.split_once('?')?;
        form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

/// An answer, and how it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimResponse {
    /// Status code.
    pub status: u16,
    /// Headers, `Date` and `Content-Type` included; names in the platform's spelling.
    pub headers: Vec<(&'static str, String)>,
    /// The body, not compressed.
    pub body: Bytes,
    /// How it travels.
    pub delivery: Delivery,
}

impl SimResponse {
    /// A JSON answer without further headers.
    pub fn json(status: u16, body: &impl serde::Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("the simulator's bodies have text keys only");
        Self::raw(status, "application/json", Bytes::from(body))
    }

    /// An answer of any type without further headers.
    pub fn raw(status: u16, content_type: &str, body: Bytes) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", content_type.to_owned())],
            body,
            delivery: Delivery::Normal,
        }
    }

    /// A header's value; letter case does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| &**value)
    }

    /// The body as JSON; `null` if it is none. For tests and harnesses.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// How an answer travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// At once.
    Normal,
    /// After a silence.
    Delayed(Millis),
    /// The head at once, then the body in drips.
    SlowBody,
    /// Half the body, then the connection closes.
    CutBody,
}

/// A call of the platform; the simulator's own name for an endpoint, also in fault strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// `POST /oauth/token`.
    Token,
    /// `GET /api/v2/users/statuses`.
    Statuses,
    /// `GET /api/v2/routing/users/{userId}/state`.
    RoutingState,
    /// `GET /api/v2/users`.
    Users,
    /// `GET /api/v2/users/{userId}`.
    User,
    /// `GET /api/v2/routing/queues`.
    Queues,
    /// `GET /api/v2/routing/queues/{queueId}/members`.
    Members,
}

impl Call {
    /// Every call.
    pub const ALL: [Self; 7] = [
        Self::Token,
        Self::Statuses,
        Self::RoutingState,
        Self::Users,
        Self::User,
        Self::Queues,
        Self::Members,
    ];

    /// Its name in fault strings and statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Statuses => "statuses",
            Self::RoutingState => "routing-state",
            Self::Users => "users",
            Self::User => "user",
            Self::Queues => "queues",
            Self::Members => "members",
        }
    }

    /// The method it takes.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Token => "POST",
            _ => "GET",
        }
    }

    /// The call that a path is, with the id in it (empty if it has none).
    pub fn of_path(path: &str) -> Option<(Self, &str)> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        match segments[..] {
            ["oauth", "token"] => Some((Self::Token, "")),
            ["api", "v2", "users", "statuses"] => Some((Self::Statuses, "")),
            ["api", "v2", "users"] => Some((Self::Users, "")),
            ["api", "v2", "users", id] => Some((Self::User, id)),
            ["api", "v2", "routing", "users", id, "state"] => Some((Self::RoutingState, id)),
            ["api", "v2", "routing", "queues"] => Some((Self::Queues, "")),
            ["api", "v2", "routing", "queues", id, "members"] => Some((Self::Members, id)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_calls() {
        assert_eq!(
            Call::of_path("/api/v2/users/statuses"),
            Some((Call::Statuses, ""))
        );
        assert_eq!(
            Call::of_path("/api/v2/users/a-1"),
            Some((Call::User, "a-1"))
        );
        assert_eq!(
            Call::of_path("/api/v2/routing/queues/q/members"),
            Some((Call::Members, "q"))
        );
        assert_eq!(
            Call::of_path("/api/v2/routing/users/u/state"),
            Some((Call::RoutingState, "u"))
        );
        assert_eq!(Call::of_path("/api/v2/users/a/b"), None);
        assert_eq!(Call::of_path(""), None);
    }

    #[test]
    fn a_query_is_decoded() {
        let request = SimRequest::get("/p?from=2024-05-14T08%3A30%3A00Z&x=1+2&x=3", "t");
        assert_eq!(request.path(), "/p");
        assert_eq!(
            request.query("from").as_deref(),
            Some("2024-05-14T08:30:00Z")
        );
        assert_eq!(request.query("x").as_deref(), Some("1 2"));
        assert_eq!(request.query("y"), None);
    }
}
