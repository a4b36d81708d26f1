//! Client credentials and the token they buy. The token lives here and nowhere else: it is put
//! on requests by the client, and the pipeline learns only for how long it is good.
//!
//! When to log in, and what to do about a refusal, is decided by the pipeline.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use secrecy::{ExposeSecret as _, SecretString};

use super::wire_status::grant;

/// Who we are to the login service, and the current token.
///
/// `Debug` shows neither secret: both are [`SecretString`]s.
#[derive(Debug)]
pub(super) struct Credentials {
    client_id: String,
    client_secret: SecretString,
    token: ArcSwapOption<SecretString>,
}

impl Credentials {
    pub(super) fn new(client_id: String, client_secret: SecretString) -> Self {
        Self {
            client_id,
            client_secret,
            token: ArcSwapOption::empty(),
        }
    }

    /// Makes the login of this request: Basic authorisation and the grant type as a form.
    /// The header is marked sensitive by reqwest.
    pub(super) fn login(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request
            .basic_auth(&self.client_id, Some(self.client_secret.expose_secret()))
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
