//! `otlp`: where metrics are pushed to, and how.
//!
//! Judged whole or not at all: without an endpoint nothing is pushed, and what the standard
//! variables say is nobody's business. Header values are secrets and never quoted.

use std::collections::BTreeMap;
use std::path::Path;

use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::finding::{Finding, Place, Refusal, quoted};
use super::layers::Environment;
use super::otel::{self, GENERIC_ENDPOINT, SIGNAL_ENDPOINT};
use super::reader::Reader;
use super::{secret, values};
use crate::model::time::Millis;

/// The default of the specification for one request.
const TIMEOUT: Millis = Millis::from_secs(10);

/// Where OTLP over HTTP takes metrics.
const PATH: &str = "/v1/metrics";

/// Longest file of headers or certificates. A bundle of certificates has some 250 KiB.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Most headers: servers refuse requests with more than about a hundred.
const HEADERS_MAX: usize = 32;

/// Fewest series a metric may have in a request: more than any metric without queues or agents
/// has, of which requests by endpoint and code are the most. A test of the push holds it.
pub const CARDINALITY_LIMIT_MIN: u32 = 1_000;

/// Where metrics are pushed to, and how.
#[derive(Debug, Clone)]
pub struct OtlpConfig {
    /// The URL that requests go to; of gRPC, the server's.
    pub endpoint: Url,
    /// How requests travel.
    pub protocol: OtlpProtocol,
    /// A push each.
    pub interval: Millis,
    /// Longest time for a request, retries included; never longer than the interval.
    pub timeout: Millis,
    /// What counters and histograms count from.
    pub temporality: OtlpTemporality,
    /// Most series of one metric in a request: the SDK's cardinality limit.
    pub cardinality_limit: usize,
    /// Headers by lower-case name; values are secrets.
    pub headers: BTreeMap<String, SecretString>,
    /// Whether bodies are compressed.
    pub gzip: bool,
    /// Attributes of the resource that the environment gives.
    pub resource: BTreeMap<String, String>,
    /// Certificates in PEM to trust beside the system's.
    pub certificate: Option<String>,
    /// Our own certificate and key in PEM.
    pub identity: Option<(String, SecretString)>,
}

/// `otlp.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// Protobuf in HTTP requests.
    HttpProtobuf,
    /// gRPC.
    Grpc,
}

/// `otlp.temporality`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpTemporality {
    /// Counts since counting began.
    Cumulative,
    /// Counts since the last push.
    Delta,
    /// Counters cumulative, histograms delta: the SDK remembers least.
    LowMemory,
}

/// Judges the section.
pub(super) fn otlp(reader: &mut Reader<'_>, environment: &Environment) -> Option<OtlpConfig> {
    let interval = reader.duration("otlp.interval");
    let cardinality_limit =
        reader.count("otlp.cardinality_limit", CARDINALITY_LIMIT_MIN, 1_000_000) as usize;
    if reader.given("otlp.endpoint").is_empty() {
        return None;
    }
    let protocol = match reader.word("otlp.protocol") {
        "grpc" => OtlpProtocol::Grpc,
        _ => OtlpProtocol::HttpProtobuf,
    };
    let headers = headers(reader, environment);
    let endpoint = endpoint(reader, environment, protocol, !headers.is_empty());
    let timeout = timeout(reader, environment);
    let gzip = gzip(reader, environment);
    let resource = otel::resource(environment, reader.mistakes);
    let (certificate, identity) = certificates(reader, environment);
    Some(OtlpConfig {
        endpoint: endpoint?,
        protocol,
        interval,
        timeout: timeout.min(interval),
        temporality: match reader.word("otlp.temporality") {
            "delta" => OtlpTemporality::Delta,
            "lowmemory" => OtlpTemporality::LowMemory,
            _ => OtlpTemporality::Cumulative,
        },
        cardinality_limit,
        headers,
        gzip,
        resource,
        certificate,
        identity,
    })
}

fn endpoint(
    reader: &mut Reader<'_>,
    environment: &Environment,
    protocol: OtlpProtocol,
    with_headers: bool,
) -> Option<Url> {
    let place = reader.place("otlp.endpoint");
    let from = |name: &str| place == Place::Environment(name.to_owned());
    let (generic, signal) = (from(GENERIC_ENDPOINT), from(SIGNAL_ENDPOINT));
    let mut text = reader.given("otlp.endpoint").to_owned();
    if protocol == OtlpProtocol::Grpc && (generic || signal) && !text.contains("://") {
        // The specification knows gRPC targets without a scheme.
        let insecure = otel::signal(environment, "INSECURE")
            .is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
        let scheme = if insecure { "http" } else { "https" };
        text = format!("{scheme}://{text}");
    }
    let mut url = match values::collector_url(&text) {
        Ok(url) => url,
        Err(refusal) => {
            reader.refuse_key("otlp.endpoint", refusal);
            return None;
        }
    };
    let path = url.path().trim_end_matches('/').to_owned();
    match protocol {
        OtlpProtocol::Grpc if !path.is_empty() => {
            let what = "the URL has a path, which gRPC does not take";
            let refusal =
                Refusal::new(what, "remove the path, or set otlp.protocol: http/protobuf");
            reader.refuse_key("otlp.endpoint", refusal);
            return None;
        }
        OtlpProtocol::HttpProtobuf if generic => url.set_path(&format!("{path}{PATH}")),
        OtlpProtocol::HttpProtobuf if path.is_empty() && !signal => url.set_path(PATH),
        OtlpProtocol::HttpProtobuf | OtlpProtocol::Grpc => {}
    }
    if with_headers && url.scheme() == "http" && !values::is_loopback(&url) {
        let refusal = Refusal::new("sends headers in clear text", "use https");
        reader.warn("otlp.endpoint", place, refusal);
    }
    Some(url)
}

fn timeout(reader: &mut Reader<'_>, environment: &Environment) -> Millis {
    let Some((place, text)) = otel::signal(environment, "TIMEOUT") else {
        return TIMEOUT;
    };
    match values::count(text, 1..=600_000) {
        Ok(millis) => Millis(i64::from(millis)),
        Err(refusal) => {
            let hint = format!("{} milliseconds", refusal.hint);
            reader.refuse_place(place, Refusal::new(refusal.what, hint));
            TIMEOUT
        }
    }
}

fn gzip(reader: &mut Reader<'_>, environment: &Environment) -> bool {
    match otel::signal(environment, "COMPRESSION") {
        Some((_, text)) if text.eq_ignore_ascii_case("gzip") => true,
        Some((place, text)) if !text.eq_ignore_ascii_case("none") => {
            let what = "is not supported";
            reader.refuse_place(place, Refusal::value(text, what, "write gzip or none"));
            false
        }
        _ => false,
    }
}

/// Headers of the variable, and those of the file over them.
fn headers(reader: &mut Reader<'_>, environment: &Environment) -> BTreeMap<String, SecretString> {
    let mut headers = BTreeMap::new();
    if let Some((place, text)) = otel::signal(environment, "HEADERS") {
        match otel::pairs(text).and_then(judged) {
            Ok(given) => headers.extend(given),
            Err(refusal) => reader.refuse_place(place, refusal),
        }
    }
    headers.extend(headers_of_file(reader, "otlp.headers_file"));
    headers
}

/// Headers of the file that a setting names, if it names one.
pub(super) fn headers_of_file(
    reader: &mut Reader<'_>,
    key: &'static str,
) -> BTreeMap<String, SecretString> {
    let path = reader.given(key);
    if path.is_empty() {
        return BTreeMap::new();
    }
    let place = reader.place(key);
    let hint = "name a readable file of \"name: value\" lines";
    match read(reader, path, &place, key, hint).map(|text| judged(lines(&text)?)) {
        Some(Ok(given)) => given.into_iter().collect(),
        Some(Err(refusal)) => {
            reader.refuse_key(key, refusal);
            BTreeMap::new()
        }
        None => BTreeMap::new(),
    }
}

/// `name: value` lines; blank lines and those that begin with `#` are left out.
fn lines(text: &SecretString) -> Result<Vec<(String, String)>, Refusal> {
    text.expose_secret()
        .lines()
        .enumerate()
        .map(|(index, line)| (index, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            let (name, value) = line.split_once(':').ok_or_else(|| {
                let what = format!("line {} of the file has no \":\"", index + 1);
                Refusal::new(what, "write one \"name: value\" a line")
            })?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}

/// Headers that can be sent. Values are not repeated.
fn judged(pairs: Vec<(String, String)>) -> Result<Vec<(String, SecretString)>, Refusal> {
    if pairs.len() > HEADERS_MAX {
        let what = format!("there are {} headers", pairs.len());
        return Err(Refusal::new(what, format!("give at most {HEADERS_MAX}")));
    }
    let pairs = pairs.into_iter().enumerate();
    pairs
        .map(|(index, (name, value))| {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                let what = format!("header {} has a name that HTTP does not allow", index + 1);
                Refusal::new(what, "use letters, digits and -")
            })?;
            if HeaderValue::from_str(&value).is_err() {
                let what = format!("the value of the header {name} holds control characters");
                return Err(Refusal::new(what, "give each value on one line"));
            }
            Ok((name.as_str().to_owned(), SecretString::from(value)))
        })
        .collect()
}

/// A file's text; a refusal or warning is told at `place`.
fn read(
    reader: &mut Reader<'_>,
    path: &str,
    place: &Place,
    key: &'static str,
    hint: &str,
) -> Option<SecretString> {
    match secret::read_file(Path::new(path), FILE_BYTES_MAX, hint) {
        Ok((text, loose)) => {
            if loose {
                let what = format!("{} can be read by others than its owner", quoted(path));
                reader.warn(key, place.clone(), Refusal::new(what, "chmod 0400 it"));
            }
            Some(text)
        }
        Err(refusal) => {
            let mistake = Finding::new(place.clone(), key, refusal);
            reader.mistakes.push(mistake);
            None
        }
    }
}

type Identity = (String, SecretString);

/// The collector's certificate authority and our own certificate, by the standard variables.
fn certificates(
    reader: &mut Reader<'_>,
    environment: &Environment,
) -> (Option<String>, Option<Identity>) {
    let hint = "name a readable file in PEM form";
    let mut public = |suffix| {
        let (place, path) = otel::signal(environment, suffix)?;
        match secret::read_file(Path::new(path), FILE_BYTES_MAX, hint) {
            Ok((text, _)) => Some(text.expose_secret().to_owned()),
            Err(refusal) => {
                reader.refuse_place(place, refusal);
                None
            }
        }
    };
    let (authority, own) = (public("CERTIFICATE"), public("CLIENT_CERTIFICATE"));
    let key = otel::signal(environment, "CLIENT_KEY")
        .and_then(|(place, path)| read(reader, path, &place, "", hint));
    (authority, own.zip(key))
}
