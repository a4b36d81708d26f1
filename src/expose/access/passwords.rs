//! Passwords against bcrypt hashes: off the reactor, one at a time, good ones remembered.
//!
//! bcrypt is slow on purpose, so a flood of guesses is a flood of work: it gets one core, a
//! short queue, and then 429 (faults.md F133). A credential that was good is known by a keyed
//! hash and costs nothing, so scrapers are not kept out by the flood.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use ring::hmac;
use ring::rand::SystemRandom;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

use crate::config::web_file::PasswordHash;

/// Comparisons that wait for the one in progress; at some 70 ms each the last waits half a
/// second. More are refused.
const WAITING_MAX: usize = 8;

/// Good credentials remembered: readers of one exporter are few, and each may have several
/// passwords over its life.
const KNOWN_MAX: usize = 128;

/// bcrypt looks at no more of a password.
const PASSWORD_BYTES_MAX: usize = 1_024;

/// What becomes of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Right.
    Good,
    /// Wrong, or of nobody.
    Bad,
    /// Too many are being compared.
    Busy,
}

type Known = [u8; 32];

/// Compares passwords.
pub(super) struct Desk {
    key: hmac::Key,
    known: Mutex<VecDeque<Known>>,
    computing: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl Desk {
    /// `None` if the system gives no randomness.
    pub(super) fn new() -> Option<Self> {
        Some(Self {
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok()?,
            known: Mutex::default(),
            computing: Arc::new(Semaphore::new(1)),
            admitted: Arc::new(Semaphore::new(1 + WAITING_MAX)),
        })
    }

    /// Judges a credential. An unknown user costs as much as a known one: his password is
    /// compared with `stranger`.
    pub(super) async fn judge(
        &self,
        users: &BTreeMap<String, PasswordHash>,
        stranger: &PasswordHash,
        credential: &Credential,
    ) -> Verdict {
        let user = users.get(&credential.user);
        let known = user.map(|hash| self.recognise(credential, hash));
        if known.is_some_and(|known| self.remembers(&known)) {
            return Verdict::Good;
        }
        let hash = user.unwrap_or(stranger).clone();
        let Some(matches) = self.compare(credential.password.clone(), hash).await else {
            return Verdict::Busy;
        };
        match known.filter(|_| matches) {
            Some(known) => {
                self.remember(known);
                Verdict::Good
            }
            None => Verdict::Bad,
        }
    }

    /// `None` if too many wait.
    async fn compare(&self, password: SecretString, hash: PasswordHash) -> Option<bool> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().ok()?;
        let turn = Arc::clone(&self.computing).acquire_owned().await.ok()?;
        let compared = tokio::task::spawn_blocking(move || {
            // Held until the work is done, even if the client has gone meanwhile.
            let _held = (admitted, turn);
            // A password that bcrypt cannot take is a wrong one.
            bcrypt::verify(password.expose_secret(), hash.expose()).unwrap_or(false)
        });
        compared.await.ok()
    }

    /// What a credential is remembered by: it holds the hash, so that a changed password is
    /// never recognised, and an unchanged one still is.
    fn recognise(&self, credential: &Credential, hash: &PasswordHash) -> Known {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [
            credential.user.as_str(),
            credential.password.expose_secret(),
            hash.expose(),
        ] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut known = Known::default();
        known.copy_from_slice(context.sign().as_ref());
        known
    }

    fn remembers(&self, known: &Known) -> bool {
        let list = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        list.contains(known)
    }

    fn remember(&self, known: Known) {
        let mut list = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if list.contains(&known) {
            return;
        }
        if list.len() >= KNOWN_MAX {
            list.pop_front();
        }
        list.push_back(known);
    }
}

/// A hash of nobody's password, as costly as the costliest of `users`.
pub(super) fn stranger(users: &BTreeMap<String, PasswordHash>) -> PasswordHash {
    let cost = users.values().map(PasswordHash::cost).max().unwrap_or(10);
    let nobody = format!("$2b${cost:02}${}", ".".repeat(53));
    PasswordHash::parse(&nobody).expect("53 letters of the alphabet make a hash of a valid cost")
}

/// What a client says who it is.
pub(super) struct Credential {
    user: String,
    password: SecretString,
}

impl Credential {
    /// Reads an `Authorization` header; `None` unless it is basic authentication.
    pub(super) fn read(header: &[u8]) -> Option<Self> {
        use base64::Engine as _;
        let text = std::str::from_utf8(header).ok()?;
        let (scheme, encoded) = text.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(encoded.trim())
            .ok()?;
        let text = SecretString::from(String::from_utf8(bytes).ok()?);
        let (user, password) = text.expose_secret().split_once(':')?;
        if password.len() > PASSWORD_BYTES_MAX {
            return None;
        }
        Some(Self {
            user: user.to_owned(),
            password: SecretString::from(password),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `secret` and `other`, at bcrypt's lowest cost.
    fn users() -> BTreeMap<String, PasswordHash> {
        let hash = |password: &str| {
            let text = bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap();
            PasswordHash::parse(&text.to_string()).unwrap()
        };
        [
            ("alice".to_owned(), hash("secret")),
            ("bob".to_owned(), hash("other")),
        ]
        .into()
    }

    fn credential(text: &str) -> Credential {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        Credential::read(format!("Basic {encoded}").as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn only_the_right_password_of_the_right_user_is_good() {
        let (desk, users) = (Desk::new().unwrap(), users());
        let stranger = stranger(&users);
        for (text, verdict) in [
            ("alice:secret", Verdict::Good),
            ("alice:secret", Verdict::Good),
            ("alice:other", Verdict::Bad),
            ("bob:secret", Verdict::Bad),
            ("bob:other", Verdict::Good),
            ("carol:secret", Verdict::Bad),
            ("carol:", Verdict::Bad),
            (":", Verdict::Bad),
            ("alice:sec\0ret", Verdict::Bad),
        ] {
            let found = desk.judge(&users, &stranger, &credential(text)).await;
            assert_eq!(found, verdict, "{text:?}");
        }
        assert_eq!(desk.known.lock().unwrap().len(), 2, "only good ones");
    }

    #[tokio::test]
    async fn a_flood_is_refused_and_who_is_known_passes() {
        let (desk, users) = (Desk::new().unwrap(), users());
        let stranger = stranger(&users);
        let alice = credential("alice:secret");
        assert_eq!(desk.judge(&users, &stranger, &alice).await, Verdict::Good);
        let turn = Arc::clone(&desk.computing).acquire_owned().await.unwrap();
        let guess = credential("alice:guess");
        let mut crowd: Vec<_> = (0..WAITING_MAX + 5)
            .map(|_| Box::pin(desk.judge(&users, &stranger, &guess)))
            .collect();
        let mut busy = 0;
        for waiting in &mut crowd {
            match futures_util::poll!(waiting) {
                std::task::Poll::Ready(verdict) => {
                    assert_eq!(verdict, Verdict::Busy);
                    busy += 1;
                }
                std::task::Poll::Pending => {}
            }
        }
        assert_eq!(busy, 4, "one computes, eight wait");
        assert_eq!(desk.judge(&users, &stranger, &alice).await, Verdict::Good);
        drop(turn);
    }

    #[test]
    fn a_stranger_costs_as_much_as_the_costliest_user() {
        let mut users = users();
        let text = format!("$2y$12${}", ".".repeat(53));
        users.insert("dave".to_owned(), PasswordHash::parse(&text).unwrap());
        let stranger = stranger(&users);
        assert_eq!(stranger.cost(), 12);
        // A hash that cannot be compared would answer at once.
        let cheap = stranger.expose().replace("$12$", "$04$");
        assert!(matches!(bcrypt::verify("x", &cheap), Ok(false)));
    }

    #[test]
    fn headers_that_are_no_credential_are_none() {
        for header in [
            "",
            "Basic",
            "Basic !!",
            "Bearer YTpi",
            "Basic YQ==",
            "Basic /w==",
        ] {
            assert!(Credential::read(header.as_bytes()).is_none(), "{header}");
        }
        assert!(Credential::read(b"basic YTpi").is_some());
    }
}
