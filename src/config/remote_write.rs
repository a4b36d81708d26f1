//! `store.remote_write`: a database that takes closed windows as samples.

use std::collections::BTreeMap;

use secrecy::SecretString;
use url::Url;

use super::finding::Refusal;
use super::otlp::headers_of_file;
use super::reader::Reader;
use super::values;
use crate::model::time::Millis;

/// Where closed windows are sent, and how.
#[derive(Debug, Clone)]
pub struct RemoteWriteConfig {
    /// The URL that requests go to.
    pub url: Url,
    /// Headers by lower-case name; values are secrets.
    pub headers: BTreeMap<String, SecretString>,
    /// Longest time for a request.
    pub timeout: Millis,
}

/// Judges the section; `None` if nothing is sent, or if it was refused.
pub(super) fn remote_write(reader: &mut Reader<'_>) -> Option<RemoteWriteConfig> {
    let timeout = reader.duration("store.remote_write.timeout");
    let text = reader.given("store.remote_write.url");
    if text.is_empty() {
        return None;
    }
    let headers = headers_of_file(reader, "store.remote_write.headers_file");
    let url = match values::receiver_url(text) {
        Ok(url) => url,
        Err(refusal) => {
            reader.refuse_key("store.remote_write.url", refusal);
            return None;
        }
    };
    if url.scheme() == "http" && !values::is_loopback(&url) {
        let refusal = Refusal::new("sends states of people in clear text", "use https");
        let place = reader.place("store.remote_write.url");
        reader.warn("store.remote_write.url", place, refusal);
    }
    Some(RemoteWriteConfig {
        url,
        headers,
        timeout,
    })
}
