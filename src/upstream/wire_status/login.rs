//! The token endpoint's answer, read twice: by the client, which alone sees the token, and by
//! the pipeline, which learns for how long it is good.

use std::borrow::Cow;

use serde::de::MapAccess;

use super::document::{Object, object, skip};
use super::error::WireError;
use super::scalar::Scalar;
use crate::model::time::Millis;

/// Shortest life of a token that is believed (faults.md F77); a shorter one would make logins a
/// hammer.
pub const TOKEN_LIFETIME_MIN: Millis = Millis::from_secs(60);
/// Longest life of a token that is believed: the platform's own maximum.
pub const TOKEN_LIFETIME_MAX: Millis = Millis::from_secs(48 * 3_600);

/// For how long a token is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLifetime {
    /// From the instant the login was sent; within the two bounds.
    pub lifetime: Millis,
    /// The platform named none, or one outside the bounds: worth a warning.
    pub adjusted: bool,
}

/// Reads the lifetime from the body that the client passes on after a login.
///
/// # Errors
/// If the login gave no token although its status was a success.
pub fn login(body: &[u8]) -> Result<TokenLifetime, WireError> {
    let document: Document<'_> = object(body, EXPECTED)?;
    if !matches!(document.error, Scalar::Null) {
        return Err(WireError::LoginRefused);
    }
    let told = document.expires_in.and_then(|value| seconds(&value));
    let bounded = told.map_or(TOKEN_LIFETIME_MIN, |seconds| {
        Millis(seconds.saturating_mul(1_000)).clamp(TOKEN_LIFETIME_MIN, TOKEN_LIFETIME_MAX)
    });
    Ok(TokenLifetime {
        lifetime: bounded,
        adjusted: told.is_none_or(|seconds| seconds.saturating_mul(1_000) != bounded.0),
    })
}

/// What the client takes from a login. No `Debug`: it holds the token.
pub(in crate::upstream) struct Grant<'a> {
    /// The token.
    pub(in crate::upstream) token: Cow<'a, str>,
    /// `expires_in` as it came, in seconds.
    pub(in crate::upstream) expires_in: Option<i64>,
}

/// Why a login under a status of success gave no usable token; passed on in place of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum GrantRefusal {
    /// Not a JSON object.
    Unreadable,
    /// The object names an error.
    Error,
    /// No token, or one that cannot stand in a header.
    NoToken,
    /// A token of a type that this client cannot use.
    TokenType,
}

impl GrantRefusal {
    /// The `error` of the body that replaces the answer.
    pub(in crate::upstream) const fn label(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable_answer",
            Self::Error => "error_in_answer",
            Self::NoToken => "no_access_token",
            Self::TokenType => "unsupported_token_type",
        }
    }
}

/// Longest token; opaque ones have under 100 bytes, signed ones a few thousand. Servers refuse
/// heads over 16 KiB.
const TOKEN_LENGTH_MAX: usize = 8 * 1_024;

/// Reads the token endpoint's own answer.
pub(in crate::upstream) fn grant(body: &[u8]) -> Result<Grant<'_>, GrantRefusal> {
    let document: Document<'_> = object(body, EXPECTED).map_err(|_| GrantRefusal::Unreadable)?;
    if document.error.text().is_some() {
        return Err(GrantRefusal::Error);
    }
    let bearer = match &document.token_type {
        Scalar::Null => true,
        other => other
            .text()
            .is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")),
    };
    if !bearer {
        return Err(GrantRefusal::TokenType);
    }
    match document.access_token {
        Scalar::Text(token)
            if (1..=TOKEN_LENGTH_MAX).contains(&token.len())
                && token.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(Grant {
                token,
                expires_in: document.expires_in.and_then(|value| seconds(&value)),
            })
        }
        _ => Err(GrantRefusal::NoToken),
    }
}

const EXPECTED: &str = "an object with expires_in";

#[derive(Default)]
struct Document<'a> {
    access_token: Scalar<'a>,
    token_type: Scalar<'a>,
    expires_in: Option<Scalar<'a>>,
    error: Scalar<'a>,
}

impl<'de> Object<'de> for Document<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        match key {
            "access_token" => self.access_token = fields.next_value()?,
            "token_type" => self.token_type = fields.next_value()?,
            "expires_in" => self.expires_in = Some(fields.next_value()?),
            "error" => self.error = fields.next_value()?,
            _ => skip(fields)?,
        }
        Ok(())
    }
}

/// Whole seconds; some servers write them as a decimal number or as a text.
fn seconds(value: &Scalar<'_>) -> Option<i64> {
    match value {
        Scalar::Int(seconds) => Some(*seconds),
        // The cast saturates, and the bounds above cut what is left.
        Scalar::Float(seconds) => Some(*seconds as i64),
        Scalar::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}
