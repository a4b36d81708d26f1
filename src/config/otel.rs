//! The standard variables of OpenTelemetry (`OTEL_…`), as far as a push of metrics goes.
//!
//! They stand between the file and the defaults: flag over `GENESYSCLOUD_…` over file over
//! `OTEL_…` over default. Those that have a setting of their own become a layer below the file;
//! the others are read by `otlp` through [`signal`]. They are looked at only when there is
//! somewhere to push to: a machine may hold them for other programs.

use std::collections::BTreeMap;

use super::finding::{Finding, Place, Refusal};
use super::layers::{Environment, merge, variable};
use super::raw::{Layer, Raw, RawValue};

/// The setting that turns pushing on.
const ENDPOINT: &str = "otlp.endpoint";

/// A base URL to which the signal's path is appended.
pub(super) const GENERIC_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The URL for metrics, taken as it is.
pub(super) const SIGNAL_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";

/// Settings and the variables that give them, the stronger first.
const SETTINGS: [(&str, &[&str]); 4] = [
    (ENDPOINT, &[SIGNAL_ENDPOINT, GENERIC_ENDPOINT]),
    (
        "otlp.protocol",
        &[
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
        ],
    ),
    (
        "otlp.temporality",
        &["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"],
    ),
    ("otlp.interval", &["OTEL_METRIC_EXPORT_INTERVAL"]),
];

/// Puts what the standard variables give below `layer`.
pub(super) fn beneath(
    mut layer: Layer,
    environment: &Environment,
    warnings: &mut Vec<Finding>,
) -> Layer {
    // An empty endpoint is one that is not given, as in the shipped example.
    if layer.get(ENDPOINT).is_some_and(is_empty) {
        layer.remove(ENDPOINT);
    }
    let standard = from_variables(environment);
    let own = layer.contains_key(ENDPOINT);
    if !own && (!standard.contains_key(ENDPOINT) || is_disabled(environment)) {
        return layer;
    }
    for (path, below) in &standard {
        let Some(above) = layer.get(path).filter(|above| above.value != below.value) else {
            continue;
        };
        let what = format!("has no effect: {path} is given ({})", above.place);
        let refusal = Refusal::new(what, "remove one of the two");
        warnings.push(Finding::new(below.place.clone(), "", refusal));
    }
    merge(standard, layer)
}

/// The value of `OTEL_EXPORTER_OTLP_METRICS_<suffix>`, or else of `OTEL_EXPORTER_OTLP_<suffix>`,
/// with its place.
pub(super) fn signal<'a>(environment: &'a Environment, suffix: &str) -> Option<(Place, &'a str)> {
    ["OTEL_EXPORTER_OTLP_METRICS_", "OTEL_EXPORTER_OTLP_"]
        .into_iter()
        .find_map(|prefix| {
            let name = format!("{prefix}{suffix}");
            variable(environment, &name).map(|value| (Place::Environment(name), value))
        })
}

/// Attributes of the resource: `OTEL_RESOURCE_ATTRIBUTES`, and `OTEL_SERVICE_NAME` over it.
pub(super) fn resource(
    environment: &Environment,
    mistakes: &mut Vec<Finding>,
) -> BTreeMap<String, String> {
    let attributes = "OTEL_RESOURCE_ATTRIBUTES";
    let mut resource = BTreeMap::new();
    if let Some(text) = variable(environment, attributes) {
        match pairs(text) {
            Ok(pairs) => resource.extend(pairs),
            Err(refusal) => {
                let place = Place::Environment(attributes.to_owned());
                mistakes.push(Finding::new(place, "", refusal));
            }
        }
    }
    if let Some(name) = variable(environment, "OTEL_SERVICE_NAME") {
        resource.insert("service.name".to_owned(), name.to_owned());
    }
    resource
}

/// `key=value,key=value`, values percent-encoded (W3C Baggage). The text is not repeated in a
/// refusal: headers are written like this too.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let hint = "write key1=value1,key2=value2, with %2C for a comma in a value";
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .enumerate()
        .map(|(index, pair)| {
            let refuse = |why: &str| Refusal::new(format!("pair {} {why}", index + 1), hint);
            let (key, value) = pair.split_once('=').ok_or_else(|| refuse("has no \"=\""))?;
            let (key, value) = (percent_decoded(key.trim()), percent_decoded(value.trim()));
            match (key, value) {
                (Some(key), Some(value)) if !key.is_empty() => Ok((key, value)),
                (Some(_), Some(_)) => Err(refuse("has no key")),
                _ => Err(refuse("is not percent-encoded UTF-8")),
            }
        })
        .collect()
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).ok()
}

fn from_variables(environment: &Environment) -> Layer {
    let mut layer = Layer::new();
    for (path, names) in SETTINGS {
        let given = names
            .iter()
            .find_map(|name| variable(environment, name).map(|value| (*name, value)));
        let Some((name, text)) = given else { continue };
        let text = match path {
            // The specification takes words in any case, and counts milliseconds.
            "otlp.temporality" | "otlp.protocol" => text.to_ascii_lowercase(),
            "otlp.interval" if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("{text}ms")
            }
            _ => text.to_owned(),
        };
        let place = Place::Environment(name.to_owned());
        let value = RawValue::One(text);
        layer.insert(path, Raw { value, place });
    }
    layer
}

/// Whether the standard variables themselves say that nothing is to be pushed.
fn is_disabled(environment: &Environment) -> bool {
    let is = |name, word: &str| {
        variable(environment, name).is_some_and(|value| value.eq_ignore_ascii_case(word))
    };
    is("OTEL_SDK_DISABLED", "true") || is("OTEL_METRICS_EXPORTER", "none")
}

fn is_empty(raw: &Raw) -> bool {
    matches!(&raw.value, RawValue::One(text) if text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_never_repeated() {
        let read = pairs(" a = 1 ,b=x%2Cy%3D,,c=").unwrap();
        let read: Vec<(&str, &str)> = read.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(read, [("a", "1"), ("b", "x,y="), ("c", "")]);
        for (text, why) in [
            ("hunter2", "pair 1 has no \"=\""),
            ("a=1,=hunter2", "pair 2 has no key"),
            ("a=hunter2%f", "pair 1 is not percent-encoded UTF-8"),
            ("a=%ffhunter2", "pair 1 is not percent-encoded UTF-8"),
        ] {
            let refusal = pairs(text).unwrap_err();
            assert_eq!(refusal.what, why);
            assert!(!refusal.hint.contains("hunter2"));
        }
    }

    #[test]
    fn the_signal_beats_the_general_and_the_name_beats_the_attributes() {
        let environment: Environment = [
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "2"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=x,deployment.environment.name=a%20b",
            ),
            ("OTEL_SERVICE_NAME", "y"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let (place, value) = signal(&environment, "TIMEOUT").unwrap();
        assert_eq!(value, "2");
        assert_eq!(
            place.to_string(),
            "environment OTEL_EXPORTER_OTLP_METRICS_TIMEOUT"
        );
        assert_eq!(signal(&environment, "HEADERS").unwrap().1, "a=b");
        assert_eq!(signal(&environment, "COMPRESSION"), None);
        let resource = resource(&environment, &mut Vec::new());
        assert_eq!(resource["service.name"], "y");
        assert_eq!(resource["deployment.environment.name"], "a b");
    }
}
