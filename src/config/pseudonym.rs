//! Pseudonyms: agents' series under a name that nobody can turn back without the key.
//!
//! HMAC-SHA-256 of the user id, cut to 64 bits. A plain hash would be no protection: whoever
//! knows the ids of an organisation could hash them all. A new key makes new series.

use std::fmt;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use ring::hmac;
use secrecy::ExposeSecret as _;

use super::PerAgent;
use super::finding::Refusal;
use super::reader::Reader;
use super::secret::read_file;

const PATH: &str = "metrics.pseudonym_key_file";

/// A shorter key could be tried out.
const KEY_BYTES_MIN: usize = 32;

/// A longer file is the wrong file.
const KEY_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a pseudonym, written as twice as many digits: among 100,000 agents two share one
/// with a chance of one in three thousand million.
const PSEUDONYM_BYTES: usize = 8;

/// Makes pseudonyms.
#[derive(Clone)]
pub struct PseudonymKey(Arc<hmac::Key>);

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PseudonymKey(<redacted>)")
    }
}

impl PseudonymKey {
    /// A key of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// The pseudonym of an id: 16 hexadecimal digits.
    pub fn pseudonym(&self, id: &str) -> String {
        let tag = hmac::sign(&self.0, id.as_bytes());
        let mut text = String::with_capacity(2 * PSEUDONYM_BYTES);
        for byte in &tag.as_ref()[..PSEUDONYM_BYTES] {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// `metrics.per_agent`, with its key if it needs one.
pub(super) fn per_agent(reader: &mut Reader<'_>) -> PerAgent {
    match reader.word("metrics.per_agent") {
        "id" => PerAgent::Id,
        "name" => PerAgent::Name,
        "pseudonym" => match key(reader) {
            Ok(key) => PerAgent::Pseudonym(key),
            Err(refusal) => {
                reader.refuse_key(PATH, refusal);
                PerAgent::Off
            }
        },
        _ => PerAgent::Off,
    }
}

fn key(reader: &mut Reader<'_>) -> Result<PseudonymKey, Refusal> {
    let hint = "name a file with a random text of at least 32 characters, \
                for example made by: openssl rand -hex 32";
    let path = reader.given(PATH);
    if path.is_empty() {
        return Err(Refusal::new("pseudonyms need a key", hint));
    }
    let (text, loose) = read_file(Path::new(path), KEY_BYTES_MAX, hint)?;
    let text = text.expose_secret();
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.len() < KEY_BYTES_MIN {
        let what = format!("the key has {} characters", text.len());
        return Err(Refusal::new(what, hint));
    }
    if loose {
        let refusal = Refusal::new("can be read by others than its owner", "chmod 0400 it");
        reader.warn(PATH, reader.place(PATH), refusal);
    }
    Ok(PseudonymKey::new(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_what_openssl_makes_of_key_and_id() {
        // printf %s a1b2c3d4 | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
        let key = PseudonymKey::new(b"0123456789abcdef0123456789abcdef");
        assert_eq!(key.pseudonym("a1b2c3d4"), OPENSSL);
        assert_ne!(key.pseudonym("a1b2c3d5"), OPENSSL);
        let other = PseudonymKey::new(b"0123456789abcdef0123456789abcdeF");
        assert_ne!(other.pseudonym("a1b2c3d4"), OPENSSL);
        assert!(!format!("{key:?}").contains("0123"));
    }

    const OPENSSL: &str = "10d49805be75cae2";
}
