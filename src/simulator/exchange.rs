//! One request and one answer as values.
//!
//! Knows nothing of sockets; `serve` translates to and from HTTP, a virtual clock needs no
//! translation.

use bytes::Bytes;
use serde_json::Value;
use url::form_urlencoded;

pub use super::call::Call;
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
    /// The `Host` header: where the platform is, as the client sees it.
    pub host: Option<String>,
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
            ..Self::default()
        }
    }

    /// A request of any method with a bearer token and a JSON body.
    pub fn json(method: &str, path_and_query: &str, token: &str, body: &Value) -> Self {
        Self {
            method: method.to_owned(),
            body: Bytes::from(body.to_string()),
            ..Self::get(path_and_query, token)
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
            body: Bytes::from(form),
            ..Self::default()
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

    /// The items of a list parameter: joined by commas, as the official SDKs send them, or the
    /// parameter repeated.
    pub fn query_list(&self, name: &str) -> Vec<String> {
        let (_, query) = self.path_and_query.split_once('?').unwrap_or_default();
        form_urlencoded::parse(query.as_bytes())
            .filter(|(key, _)| key == name)
            .flat_map(|(_, value)| value.split(',').map(str::to_owned).collect::<Vec<_>>())
            .filter(|item| !item.is_empty())
            .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let request = SimRequest::get("/p?id=a%2Cb,c&id=d&id=", "t");
        assert_eq!(request.query_list("id"), ["a", "b", "c", "d"]);
        assert!(request.query_list("x").is_empty());
    }
}
