//! Client credentials and the token they buy. The token lives here and nowhere else: it is put
//! on requests by the client, and the pipeline learns only for how long it is good.
//!
//! When to log in, and what to do about a refusal, is decided by the pipeline.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use secrecy::{ExposeSecret as _, SecretString};

use super::wire_status::grant;
use crate::config::{SourceConfig, read_secret_again};

/// Who we are to the login service, and the current token.
///
/// `Debug` shows neither secret: both are [`SecretString`]s.
#[derive(Debug)]
pub(super) struct Credentials {
    client_id: String,
    client_secret: ArcSwap<SecretString>,
    /// Where the secret is read again before each login.
    client_secret_file: Option<PathBuf>,
    token: ArcSwapOption<SecretString>,
}

impl Credentials {
    pub(super) fn new(source: &SourceConfig) -> Self {
        Self {
            client_id: source.client_id.clone(),
            client_secret: ArcSwap::from_pointee(source.client_secret.clone()),
            client_secret_file: source.client_secret_file.clone(),
            token: ArcSwapOption::empty(),
        }
    }

    /// Takes a secret that was replaced on disk, so that it is used at the next login without a
    /// restart (faults.md F76). Reads a file of a few bytes: call it off the reactor.
    pub(super) fn reread(&self) {
        let Some(path) = &self.client_secret_file else {
            return;
        };
        match read_secret_again(path) {
            Ok(secret) => {
                let known = self.client_secret.load();
                if known.expose_secret() != secret.expose_secret() {
                    self.client_secret.store(Arc::new(secret));
                    tracing::info!("the client secret was replaced on disk; the new one is used");
                }
            }
            Err(refusal) => tracing::warn!(
                kind = "client_secret",
                "{}; the secret read before is used; {}",
                refusal.what,
                refusal.hint
            ),
        }
    }

    /// Makes the login of this request: Basic authorisation and the grant type as a form.
    /// The header is marked sensitive by reqwest.
    pub(super) fn login(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request
            .basic_auth(
                &self.client_id,
                Some(self.client_secret.load().expose_secret()),
            )
            .form(&[("grant_type", "client_credentials")])
    }

    /// Puts the current token on a request, marked sensitive; `None` if there is no token.
    pub(super) fn authorise(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Option<reqwest::RequestBuilder> {
        let token = self.token.load();
        Some(request.bearer_auth(token.as_ref()?.expose_secret()))
    }

    /// Takes the token from the answer to a login, and gives the body that may be passed on.
    ///
    /// An answer without a usable token never replaces a token that works (faults.md F76), and
    /// none of its text is passed on: who knows where in it a secret stands.
    pub(super) fn accept(&self, body: &[u8]) -> Bytes {
        match grant(body) {
            Ok(grant) => {
                let token = SecretString::from(grant.token.into_owned());
                self.token.store(Some(Arc::new(token)));
                let expires_in = grant
                    .expires_in
                    .map_or_else(|| "null".to_owned(), |seconds| seconds.to_string());
                Bytes::from(format!(r#"{{"expires_in":{expires_in}}}"#))
            }
            Err(refusal) => Bytes::from(format!(r#"{{"error":"{}"}}"#, refusal.label())),
        }
    }
}
