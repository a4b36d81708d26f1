//! The compose stack, as far as it can be checked without a Docker engine: the files are valid,
//! what they mount exists, images are pinned, and Prometheus takes its configuration.

use std::path::Path;

use super::files::{paths, yaml};
use super::queries::in_repository;
use super::tools::run;

const COMPOSE: &str = "deploy/compose/compose.yml";

#[test]
fn docker_compose_takes_the_file() {
    let arguments = ["config", "--quiet"];
    let file = in_repository(COMPOSE);
    let program = "docker-compose";
    let flagged = [&["-f", file.to_str().unwrap()], &arguments[..]].concat();
    let (content, said) = run(program, "docker-compose", &flagged, &[] as &[&Path]);
    assert!(content, "{said}");
}

#[test]
fn images_are_pinned_and_what_is_mounted_exists() {
    let compose = yaml(&in_repository(COMPOSE));
    let folder = in_repository("deploy/compose");
    let services = compose["services"].as_object().unwrap();
    assert_eq!(services.len(), 4);
    let mut mounted = 0;
    for (name, service) in services {
        let image = service["image"].as_str().unwrap();
        let tag = image
            .rsplit_once(':')
            .unwrap_or_else(|| panic!("{name}: {image} has no tag"))
            .1;
        assert!(
            tag.matches('.').count() == 2,
            "{name}: {image} is not pinned"
        );
        for port in service["ports"].as_array().unwrap() {
            let port = port.as_str().unwrap();
            assert!(
                port.starts_with("127.0.0.1:"),
                "{name}: {port} is open to others"
            );
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            if source.starts_with('.') {
                assert!(folder.join(source).exists(), "{name}: {source}");
                mounted += 1;
            }
        }
    }
    assert!(mounted >= 6);
    let build = &services["exporter"]["build"];
    let context = folder.join(build["context"].as_str().unwrap());
    assert!(context.join("Cargo.toml").is_file());
    assert!(
        context
            .join(build["dockerfile"].as_str().unwrap())
            .is_file()
    );
}

/// Inside the container the rules stand elsewhere; here the same text reads them where they are.
#[test]
fn promtool_takes_the_configuration_with_the_shipped_rules() {
    let text = std::fs::read_to_string(in_repository("deploy/compose/prometheus.yml")).unwrap();
    let rules = in_repository("alerts");
    assert!(text.contains("/etc/prometheus/alerts/"));
    let text = text.replace("/etc/prometheus/alerts", rules.to_str().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("prometheus.yml");
    std::fs::write(&file, text).unwrap();
    let (content, said) = run("promtool", "prometheus", &["check", "config"], &[file]);
    assert!(content, "{said}");
    let read = paths("alerts", ".rules.yml").len();
    assert!(said.contains(&format!("{read} rule files found")), "{said}");
}

#[test]
fn grafana_finds_its_data_source_and_the_dashboards() {
    let source = yaml(&in_repository(
        "deploy/compose/grafana/datasources/prometheus.yml",
    ));
    assert_eq!(source["datasources"].as_array().unwrap().len(), 1);
    assert_eq!(source["datasources"][0]["type"], "prometheus");
    let provider = yaml(&in_repository(
        "deploy/compose/grafana/dashboards/genesys-cloud.yml",
    ));
    let path = provider["providers"][0]["options"]["path"]
        .as_str()
        .unwrap();
    let compose = yaml(&in_repository(COMPOSE));
    let volumes = compose["services"]["grafana"]["volumes"].to_string();
    assert!(
        volumes.contains(&format!("../../dashboards:{path}:ro")),
        "{volumes}"
    );
}
