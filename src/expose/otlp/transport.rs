//! The client of the collector, by either protocol, set up from our configuration alone.
//!
//! The OTLP client would read variables of the environment by itself; whatever it could read is
//! said explicitly here, so that one place (`config`) decides what wins. Headers are put on last
//! for the same reason. They never appear in a log or an error.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    Compression, MetricExporter, Protocol, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::metrics::Temporality;
use secrecy::{ExposeSecret, SecretString};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::pump::OtlpError;
use crate::config::{OtlpConfig, OtlpProtocol};
use crate::upstream::plain_client;

/// While a request is under way the connection is tried this often, and given up if nothing
/// comes back for this long: otherwise every push would run into a dead connection
/// until the system gives it up, which takes a quarter of an hour.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_WAIT: Duration = Duration::from_secs(3);

/// Why the last request got no answer. The OTLP client only says that there was a network error.
#[derive(Debug, Clone, Default)]
pub(super) struct Cause(Arc<Mutex<Option<String>>>);

impl Cause {
    /// The cause, once.
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, cause: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }
}

/// Sets up the client; opens no connection. Must be called within a runtime.
pub(super) fn exporter(
    config: &OtlpConfig,
    temporality: Temporality,
    cause: &Cause,
) -> Result<MetricExporter, OtlpError> {
    // The process may have installed one already; either way there is one, and it is ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let headers = headers(&config.headers);
    let compression = config.gzip.then_some(Compression::Gzip);
    let timeout = config.timeout.to_duration();
    let builder = MetricExporter::builder().with_temporality(temporality);
    match config.protocol {
        OtlpProtocol::HttpProtobuf => {
            let transport = Transport {
                client: client(config)?,
                headers,
                cause: cause.clone(),
            };
            let mut builder = builder
                .with_http()
                .with_http_client(transport)
                .with_endpoint(config.endpoint.as_str())
                .with_protocol(Protocol::HttpBinary)
                .with_timeout(timeout);
            if let Some(compression) = compression {
                builder = builder.with_compression(compression);
            }
            builder.build()
        }
        OtlpProtocol::Grpc => {
            let mut builder = builder
                .with_tonic()
                .with_interceptor(Stamp(headers))
                .with_channel(channel(config)?)
                .with_timeout(timeout);
            if let Some(compression) = compression {
                builder = builder.with_compression(compression);
            }
            builder.build()
        }
    }
    .map_err(OtlpError::Exporter)
}

fn client(config: &OtlpConfig) -> Result<reqwest::Client, OtlpError> {
    let mut builder = plain_client().timeout(config.timeout.to_duration());
    if config.endpoint.scheme() == "http" {
        // No certificate will be checked, so an image without any can push too.
        builder = builder.tls_certs_only([]);
    } else if let Some(pem) = &config.certificate {
        let bundle = reqwest::Certificate::from_pem_bundle(pem.as_bytes());
        builder = builder.tls_certs_merge(bundle.map_err(OtlpError::Certificate)?);
    }
    if let Some((certificate, key)) = &config.identity {
        let pem = format!("{certificate}\n{}", key.expose_secret());
        let identity = reqwest::Identity::from_pem(pem.as_bytes());
        builder = builder.identity(identity.map_err(OtlpError::Certificate)?);
    }
    builder.build().map_err(OtlpError::Client)
}

/// A connection of gRPC outlives its requests: pings notice when the other side is gone.
fn channel(config: &OtlpConfig) -> Result<Channel, OtlpError> {
    let mut endpoint = Endpoint::from_shared(config.endpoint.to_string())
        .map_err(OtlpError::Channel)?
        .timeout(config.timeout.to_duration())
        .connect_timeout(config.timeout.to_duration())
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WAIT)
        .keep_alive_while_idle(false);
    if config.endpoint.scheme() == "https" {
        endpoint = endpoint
            .tls_config(tls(config))
            .map_err(OtlpError::Channel)?;
    }
    Ok(endpoint.connect_lazy())
}

fn tls(config: &OtlpConfig) -> ClientTlsConfig {
    let mut tls = ClientTlsConfig::new().with_enabled_roots();
    if let Some(pem) = &config.certificate {
        tls = tls.ca_certificate(Certificate::from_pem(pem));
    }
    if let Some((certificate, key)) = &config.identity {
        tls = tls.identity(Identity::from_pem(certificate, key.expose_secret()));
    }
    tls
}

fn headers(given: &BTreeMap<String, SecretString>) -> HeaderMap {
    given
        .iter()
        .map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes());
            let mut value = HeaderValue::from_str(value.expose_secret())
                .expect("the configuration has judged the value");
            value.set_sensitive(true);
            (name.expect("the configuration has judged the name"), value)
        })
        .collect()
}

/// Sends requests over HTTP with our headers, and remembers why one got no answer.
struct Transport {
    client: reqwest::Client,
    headers: HeaderMap,
    cause: Cause,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

// What `async_trait` makes of the trait's method, written out.
impl HttpClient for Transport {
    fn send_bytes<'a, 'b>(
        &'a self,
        mut request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            stamp(&self.headers, request.headers_mut());
            let answer = self.client.send_bytes(request).await;
            self.cause
                .set(answer.as_ref().err().map(|error| causes(&**error)));
            answer
        })
    }
}

/// Puts our headers on gRPC requests.
#[derive(Clone)]
struct Stamp(HeaderMap);

impl tonic::service::Interceptor for Stamp {
    fn call(&mut self, request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        let (metadata, extensions, message) = request.into_parts();
        let mut headers = metadata.into_headers();
        stamp(&self.0, &mut headers);
        let metadata = tonic::metadata::MetadataMap::from_headers(headers);
        Ok(tonic::Request::from_parts(metadata, extensions, message))
    }
}

/// Ours replace whatever stands there under the same name.
fn stamp(ours: &HeaderMap, headers: &mut HeaderMap) {
    for (name, value) in ours {
        headers.insert(name.clone(), value.clone());
    }
}

/// An error's causes, innermost last, without the first: that one names the URL.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    match error.downcast_ref::<reqwest::Error>() {
        Some(error) if error.is_timeout() => "no answer in time".to_owned(),
        _ if causes.is_empty() => "the connection failed".to_owned(),
        _ => causes.join(": "),
    }
}
