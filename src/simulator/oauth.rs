//! Tokens: client credentials in, opaque expiring tokens out (platform-api.md §1).
//!
//! Tokens follow from the seed. They protect nothing: the organisation is made up.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::chance;
use super::exchange::SimRequest;
use crate::model::time::{Millis, UnixMillis};

/// Tokens remembered; a client that logs in more often loses its oldest ones.
const TOKENS_MAX: usize = 1_000;

/// Why an API call is refused with 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denial {
    /// No bearer token.
    Missing,
    /// Unknown, revoked or expired.
    Bad,
}

/// Why a login is refused: a status and a body.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Refusal {
    fn new(status: u16, error: &str, description: &str) -> Self {
        Self {
            status,
            body: json!({"error": error, "description": description, "error_description": description}),
        }
    }

    /// The refusal of a client that is not known: 401 if it used the header, else 400 (RFC 6749 §5.2).
    pub(super) fn invalid_client(used_header: bool) -> Self {
        let status = if used_header { 401 } else { 400 };
        Self::new(status, "invalid_client", "authentication failed")
    }
}

/// Issues and checks tokens.
pub(super) struct TokenOffice {
    client_id: String,
    client_secret: String,
    lifetime: Millis,
    seed: u64,
    issued: u64,
    /// Token -> (number, first instant at which it is no longer valid).
    tokens: BTreeMap<String, (u64, UnixMillis)>,
}

impl TokenOffice {
    pub(super) fn new(
        client_id: String,
        client_secret: String,
        lifetime: Millis,
        seed: u64,
    ) -> Self {
        Self {
            client_id,
            client_secret,
            lifetime,
            seed,
            issued: 0,
            tokens: BTreeMap::new(),
        }
    }

    /// A new token's body, or why there is none.
    pub(super) fn login(
        &mut self,
        request: &SimRequest,
        now: UnixMillis,
    ) -> Result<Value, Refusal> {
        let form: BTreeMap<_, _> = form_urlencoded::parse(&request.body).into_owned().collect();
        let basic = request.authorization.as_deref().and_then(basic_credentials);
        let used_header = request.authorization.is_some();
        let given = basic.or_else(|| {
            Some((
                form.get("client_id")?.clone(),
                form.get("client_secret")?.clone(),
            ))
        });
        if given != Some((self.client_id.clone(), self.client_secret.clone())) {
            return Err(Refusal::invalid_client(used_header));
        }
        if form.get("grant_type").map(String::as_str) != Some("client_credentials") {
            let wanted = "grant_type must be client_credentials";
            return Err(Refusal::new(400, "unsupported_grant_type", wanted));
        }
        Ok(json!({
            "access_token": self.issue(now),
            "token_type": "bearer",
            "expires_in": self.lifetime.0 / 1_000,
        }))
    }

    fn issue(&mut self, now: UnixMillis) -> String {
        self.tokens.retain(|_, (_, until)| *until > now);
        if self.tokens.len() >= TOKENS_MAX
            && let Some(oldest) = self.tokens.iter().min_by_key(|(_, (number, _))| *number)
        {
            let oldest = oldest.0.clone();
            self.tokens.remove(&oldest);
        }
        self.issued += 1;
        let token = format!("sim-{}", chance::uuid(&[self.seed, 5, self.issued]));
        self.tokens
            .insert(token.clone(), (self.issued, now + self.lifetime));
        token
    }

    /// The token of a valid `Authorization` header.
    pub(super) fn check<'a>(
        &self,
        authorization: Option<&'a str>,
        now: UnixMillis,
    ) -> Result<&'a str, Denial> {
        let token = authorization
            .and_then(|header| strip_scheme(header, "bearer"))
            .ok_or(Denial::Missing)?;
        match self.tokens.get(token) {
            Some((_, until)) if now < *until => Ok(token),
            _ => Err(Denial::Bad),
        }
    }

    /// The client that may log in.
    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Makes every token invalid; how many there were.
    pub(super) fn revoke_all(&mut self) -> usize {
        std::mem::take(&mut self.tokens).len()
    }
}

fn strip_scheme<'a>(header: &'a str, scheme: &str) -> Option<&'a str> {
    let (given, rest) = header.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

fn basic_credentials(header: &str) -> Option<(String, String)> {
    let decoded = STANDARD.decode(strip_scheme(header, "basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}
