//! Who may read: TLS, users, extra headers, a rate limit, as the web configuration says; and
//! reading that again when its files change.
//!
//! Rules are swapped whole: a connection or request is judged by one reading of the file. What
//! cannot be read leaves the rules before it in force.

mod passwords;
mod tls;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use rustls::ServerConfig;

use self::passwords::{Credential, Desk, Verdict, stranger};
pub use self::tls::TlsError;
use crate::config::web_file::{self, PasswordHash, RateLimit, WebFile};
use crate::config::{ConfigError, Finding};
use crate::model::time::{Millis, Monotonic, UnixMillis};

/// A certificate that ends sooner is warned of whenever it is read.
const CERTIFICATE_AGE_LEFT_MIN: Millis = Millis::from_secs(7 * 86_400);

/// Why the web configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Mistakes in the file.
    #[error("the web configuration cannot be used")]
    File(#[source] ConfigError),
    /// Certificates or keys.
    #[error("{file}: TLS cannot be set up")]
    Tls {
        /// The web configuration file.
        file: String,
        /// Why.
        #[source]
        source: TlsError,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// What one reading of the file said.
#[derive(Default)]
pub(super) struct Rules {
    tls: Option<Arc<ServerConfig>>,
    certificate_ends: Option<UnixMillis>,
    users: BTreeMap<String, PasswordHash>,
    stranger: Option<PasswordHash>,
    headers: Vec<(HeaderName, HeaderValue)>,
    rate: Option<RateLimit>,
}

/// What may be changed by a reload: where the file is, and how its files looked when read.
struct Origin {
    path: Option<PathBuf>,
    files: Vec<PathBuf>,
    prints: Vec<Print>,
}

/// How a file looks from outside: device, inode, size, and when it last changed, to the
/// nanosecond. `None`: it is not there.
type Print = Option<(u64, u64, u64, i64, i64)>;

/// A judgement on a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    /// Answer it.
    Granted,
    /// Ask who it is.
    Unknown,
    /// Come again later: too many passwords are being compared.
    Flooded,
    /// Come again later: the rate limit.
    TooOften,
}

/// Who may read. One for all listeners.
pub struct Access {
    listen: Vec<SocketAddr>,
    rules: ArcSwap<Rules>,
    origin: Mutex<Origin>,
    desk: Desk,
    bucket: Mutex<Bucket>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

impl Access {
    /// Reads the web configuration for these addresses; without a file everybody may read, in
    /// clear text. Gives warnings beside it.
    ///
    /// # Errors
    /// [`AccessError`] with every mistake of the file, or what is wrong with its certificates.
    pub fn open(
        path: Option<&Path>,
        listen: &[SocketAddr],
        now: UnixMillis,
    ) -> Result<(Self, Vec<Finding>), AccessError> {
        let mut warnings = Vec::new();
        let (origin, rules) = load(path, listen, now, &mut warnings);
        let access = Self {
            listen: listen.to_vec(),
            rules: ArcSwap::from_pointee(rules?),
            origin: Mutex::new(origin),
            desk: Desk::new().ok_or(AccessError::Random)?,
            bucket: Mutex::default(),
        };
        Ok((access, warnings))
    }

    /// Reads the file at `path` and lets it hold from now on; warnings beside it. Blocks.
    ///
    /// # Errors
    /// As [`Access::open`]; what held before holds on.
    pub fn reload(
        &self,
        path: Option<&Path>,
        now: UnixMillis,
    ) -> Result<Vec<Finding>, AccessError> {
        let mut warnings = Vec::new();
        let (seen, rules) = load(path, &self.listen, now, &mut warnings);
        let mut origin = self.origin();
        // A file that cannot be used is not tried again before it, or what it names, changes.
        if rules.is_ok() || origin.path.as_deref() == path {
            *origin = seen;
        }
        self.rules.store(Arc::new(rules?));
        Ok(warnings)
    }

    /// If a file has changed since it was last read or tried, tries it. `None`: none has. Blocks
    /// for as long as looking at a few files takes.
    pub fn refresh(&self, now: UnixMillis) -> Option<Result<Vec<Finding>, AccessError>> {
        let path = {
            let origin = self.origin();
            if prints(&origin.files) == origin.prints {
                return None;
            }
            origin.path.clone()
        };
        Some(self.reload(path.as_deref(), now))
    }

    fn origin(&self) -> std::sync::MutexGuard<'_, Origin> {
        // Replaced whole: a panic elsewhere leaves it as it was.
        self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// TLS for a new connection; `None`: clear text.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.rules.load().tls.clone()
    }

    /// When the certificate that is served with ends; `None`: there is none, or it does not say.
    pub fn certificate_ends(&self) -> Option<UnixMillis> {
        self.rules.load().certificate_ends
    }

    /// Whether a request with this head may be answered.
    pub(super) async fn judge(&self, headers: &HeaderMap, now: Monotonic) -> Permit {
        let rules = self.rules.load_full();
        if let Some(rate) = rules.rate
            && !self.take(rate, now)
        {
            return Permit::TooOften;
        }
        let Some(stranger) = &rules.stranger else {
            return Permit::Granted;
        };
        let credential = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| Credential::read(value.as_bytes()));
        let Some(credential) = credential else {
            return Permit::Unknown;
        };
        match self.desk.judge(&rules.users, stranger, &credential).await {
            Verdict::Good => Permit::Granted,
            Verdict::Bad => Permit::Unknown,
            Verdict::Busy => Permit::Flooded,
        }
    }

    fn take(&self, rate: RateLimit, now: Monotonic) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(rate, now)
    }

    /// Puts the file's headers on an answer that has not got them.
    pub(super) fn dress(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.rules.load().headers {
            headers.entry(name).or_insert_with(|| value.clone());
        }
    }
}

/// How the files looked before they were read, and what they say.
fn load(
    path: Option<&Path>,
    listen: &[SocketAddr],
    now: UnixMillis,
    warnings: &mut Vec<Finding>,
) -> (Origin, Result<Rules, AccessError>) {
    let mut origin = Origin {
        path: path.map(Path::to_owned),
        files: Vec::new(),
        prints: Vec::new(),
    };
    let Some(path) = path else {
        return (origin, Ok(Rules::default()));
    };
    // Only reading tells which files there are. So it is read once for their names and once
    // more after looking at them: what changes in between is not missed.
    let names = web_file::read(path, listen, &mut Vec::new(), &mut origin.files);
    drop(names);
    origin.prints = prints(&origin.files);
    let file = web_file::read(path, listen, warnings, &mut Vec::new());
    let rules = file.map_err(AccessError::File).and_then(|file| {
        let name = path.display().to_string();
        rules(&file, &name, now).map_err(|source| AccessError::Tls { file: name, source })
    });
    (origin, rules)
}

fn rules(file: &WebFile, name: &str, now: UnixMillis) -> Result<Rules, TlsError> {
    let tls = file.tls.as_ref().map(tls::tls).transpose()?;
    let certificate_ends = tls.as_ref().and_then(|tls| tls.not_after);
    if let Some(end) = certificate_ends
        && end < now + CERTIFICATE_AGE_LEFT_MIN
    {
        let verb = if end <= now { "ended" } else { "ends" };
        tracing::warn!(
            kind = "web_certificate",
            file = name,
            "the server's certificate {verb} at {end}; put a new one in its place"
        );
    }
    let headers = file.headers.iter().filter_map(|(name, value)| {
        // Both were judged when the file was read.
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value).ok()?))
    });
    Ok(Rules {
        tls: tls.map(|tls| tls.server),
        certificate_ends,
        stranger: (!file.users.is_empty()).then(|| stranger(&file.users)),
        users: file.users.clone(),
        headers: headers.collect(),
        rate: file.rate_limit,
    })
}

fn prints(files: &[PathBuf]) -> Vec<Print> {
    let print = |path: &PathBuf| {
        let seen = fs::metadata(path).ok()?;
        Some((
            seen.dev(),
            seen.ino(),
            seen.size(),
            seen.ctime(),
            seen.ctime_nsec(),
        ))
    };
    files.iter().map(print).collect()
}

/// Tokens: a request takes one.
#[derive(Debug, Default)]
struct Bucket {
    /// When the bucket will be full again; `None`: it is.
    full_at: Option<Monotonic>,
}

impl Bucket {
    fn take(&mut self, rate: RateLimit, now: Monotonic) -> bool {
        let full_at = self.full_at.unwrap_or(now).max(now);
        let after = full_at + rate.interval;
        if after - now > Millis(rate.interval.0.saturating_mul(i64::from(rate.burst))) {
            return false;
        }
        self.full_at = Some(after);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_an_interval() {
        let rate = RateLimit {
            interval: Millis(1_000),
            burst: 3,
        };
        let mut bucket = Bucket::default();
        let mut taken = |at| bucket.take(rate, Monotonic(at));
        assert_eq!([0, 0, 0, 0].map(&mut taken), [true, true, true, false]);
        assert_eq!([999, 1_000, 1_001].map(&mut taken), [false, true, false]);
        assert_eq!(
            [9_000, 9_000, 9_000, 9_000].map(&mut taken),
            [true, true, true, false]
        );
    }
}
