//! Bodies of error answers (4xx, 5xx): the code, and which permission is missing.
//!
//! Best effort: an error answer may come from a gateway and be anything, so there is `None`
//! rather than an error, and everything kept is short and without control characters.

use serde::de::MapAccess;

use super::document::{Object, object, skip};
use super::scalar::{Scalar, bounded};

/// What an error answer says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlatformError {
    /// The platform's code, like `missing.permissions` or `invalid_client`; may be empty.
    pub code: String,
    /// Its words, for an operator who asks (`doctor`); may be empty. Not for metrics.
    pub message: String,
    /// Permissions that the message names as missing, like `routing:queue:view`.
    pub missing_permissions: Vec<String>,
}

/// Longest code kept, in characters; known ones have under 40.
const CODE_MAX: usize = 64;
/// Longest message kept, in characters.
const MESSAGE_MAX: usize = 256;
/// Characters of the message searched for permissions: a whole list of them is longer than what
/// is shown.
const PERMISSIONS_TEXT_MAX: usize = 4 * 1_024;
/// Longest name of a permission.
const PERMISSION_MAX: usize = 96;
/// Permissions kept of one message.
const PERMISSIONS_MAX: usize = 16;

/// Reads an error body: the platform's, or the login service's. `None` if it is neither.
pub fn error_body(body: &[u8]) -> Option<PlatformError> {
    let document: Document<'_> = object(body, "an error").ok()?;
    let code = document.code.text().or(document.error.text());
    let message = document
        .message
        .text()
        .or(document.error_description.text())
        .or(document.description.text());
    if code.is_none() && message.is_none() {
        return None;
    }
    Some(PlatformError {
        code: bounded(code.unwrap_or_default(), CODE_MAX),
        message: bounded(message.unwrap_or_default(), MESSAGE_MAX),
        missing_permissions: permissions(message.unwrap_or_default()),
    })
}

#[derive(Default)]
struct Document<'a> {
    message: Scalar<'a>,
    code: Scalar<'a>,
    error: Scalar<'a>,
    description: Scalar<'a>,
    error_description: Scalar<'a>,
}

impl<'de> Object<'de> for Document<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        match key {
            "message" => self.message = fields.next_value()?,
            "code" => self.code = fields.next_value()?,
            "error" => self.error = fields.next_value()?,
            "description" => self.description = fields.next_value()?,
            "error_description" => self.error_description = fields.next_value()?,
            _ => skip(fields)?,
        }
        Ok(())
    }
}

/// Words behind `permission…:` that look like a permission: parts of letters joined by colons
/// (`routing:queue:view`, `UserStatus:Read`).
fn permissions(message: &str) -> Vec<String> {
    let text = bounded(message, PERMISSIONS_TEXT_MAX);
    // Without its first letter, so that "Permission" at the head of a sentence counts too.
    let Some((_, behind)) = text.split_once("ermission") else {
        return Vec::new();
    };
    let mut found: Vec<String> = Vec::new();
    for word in behind.split(|c: char| !c.is_ascii_alphanumeric() && !":_-*".contains(c)) {
        let named = word.len() <= PERMISSION_MAX
            && word.contains(':')
            && word.split(':').all(|part| !part.is_empty());
        if named && found.len() < PERMISSIONS_MAX && !found.iter().any(|known| known == word) {
            found.push(word.to_owned());
        }
    }
    found
}
