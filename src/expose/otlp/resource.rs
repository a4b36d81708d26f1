//! Who pushes: the attributes of the resource.
//!
//! In Prometheus they become `job` (`service.name`) and `instance` (`service.instance.id`).

use std::collections::BTreeMap;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;

/// Where Linux tells the host's name; in a container, the container's.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// The resource; what the environment gives wins over what we say of ourselves.
pub(super) fn resource(given: &BTreeMap<String, String>, instance: String) -> Resource {
    let own = [
        ("service.name", "genesys-cloud-exporter".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", instance),
    ];
    let mut attributes: BTreeMap<String, String> = own
        .map(|(key, value)| (key.to_owned(), value))
        .into_iter()
        .collect();
    attributes.extend(given.clone());
    let attributes = attributes
        .into_iter()
        .map(|(key, value)| KeyValue::new(key, value));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes)
        .build()
}

/// Names this instance as Prometheus would: host and port. It stays the same over restarts, so
/// that counters which go on counting stay the same series; two exporters on a host listen on
/// different ports. Without a fixed port the process id tells them apart.
pub(super) fn instance(port: u16) -> String {
    let host = std::fs::read_to_string(HOST_NAME).unwrap_or_default();
    let host = match host.trim() {
        "" => "localhost",
        name => name,
    };
    match port {
        0 => format!("{host}:{}", std::process::id()),
        port => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_wins_over_what_we_say() {
        let given = BTreeMap::from([
            ("service.name".to_owned(), "agents".to_owned()),
            ("deployment.environment.name".to_owned(), "test".to_owned()),
        ]);
        let resource = resource(&given, "host:1".to_owned());
        let get = |key: &'static str| {
            let value = resource.get(&opentelemetry::Key::from_static_str(key));
            value.map(|value| value.to_string()).unwrap_or_default()
        };
        assert_eq!(get("service.name"), "agents");
        assert_eq!(get("service.version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(get("service.instance.id"), "host:1");
        assert_eq!(get("deployment.environment.name"), "test");
        assert_eq!(get("telemetry.sdk.language"), "rust");
    }

    #[test]
    fn an_instance_is_named_by_host_and_port() {
        assert!(instance(10_095).ends_with(":10095"));
        assert!(!instance(0).ends_with(":0"));
        assert!(!instance(0).contains(char::is_whitespace));
    }
}
