//! The Kubernetes manifests, as kustomize builds them: valid by the schemas of two versions, careful
//! with rights, in agreement with each other and with `alerts/`.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::files::{paths, yaml};
use super::queries::in_repository;
use super::tools::run;

const FOLDER: &str = "deploy/kubernetes";
const RULES: &str = "deploy/kubernetes/prometheusrule.yml";
const NAMESPACE: &str = "genesys-cloud";

/// The oldest version that has all that is used and that somebody may still run, and the newest one
/// that the schemas know.
const VERSIONS: [&str; 2] = ["1.29", "1.37"];

/// Kinds of the Prometheus operator: `tests/rules/operator` holds them against its types.
const OF_OPERATOR: [&str; 2] = ["PrometheusRule", "ServiceMonitor"];

/// What kustomize makes of the folder, as text.
fn built_text() -> String {
    let folder = in_repository(FOLDER);
    let (content, said) = run("kubectl", "kubernetes-client", &["kustomize"], &[folder]);
    assert!(content, "{said}");
    said
}

/// The same, parsed.
pub(crate) fn built() -> Vec<Value> {
    let text = built_text();
    let found: Vec<Value> = text
        .split("\n---\n")
        .map(|one| serde_saphyr::from_str(one).unwrap())
        .collect();
    assert!(found.len() > 10, "{}", found.len());
    found
}

fn kind(one: &Value) -> &str {
    one["kind"].as_str().unwrap()
}

fn of_kind<'a>(all: &'a [Value], wanted: &str) -> Vec<&'a Value> {
    let found: Vec<_> = all.iter().filter(|one| kind(one) == wanted).collect();
    assert!(!found.is_empty(), "no {wanted}");
    found
}

/// StatefulSets and Deployments.
pub(crate) fn workloads(all: &[Value]) -> Vec<&Value> {
    let found = [of_kind(all, "StatefulSet"), of_kind(all, "Deployment")].concat();
    assert_eq!(found.len(), 2);
    found
}

fn validate(version: &str, text: &str) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("built.yml");
    std::fs::write(&file, text).unwrap();
    let arguments = ["--strict", "--kubernetes-version", version];
    let package = "see tests/requirements.txt";
    run("kubernetes-validate", package, &arguments, &[file])
}

#[test]
fn every_object_is_valid_by_the_schemas() {
    let text = built_text();
    let all = built();
    for version in VERSIONS {
        let (content, said) = validate(version, &text);
        assert!(content, "{said}");
        // A kind without a schema is only a warning.
        let passed = said.lines().filter(|line| line.starts_with("INFO")).count();
        assert_eq!(passed + OF_OPERATOR.len(), all.len(), "{version}: {said}");
        for kind in OF_OPERATOR {
            assert!(said.contains(&format!("kind {kind} ")), "{said}");
        }
    }
    for (good, bad) in [
        ("maxUnavailable: 1", "maxUnavailible: 1"),
        ("periodSeconds: 10", "periodSeconds: often"),
    ] {
        assert!(text.contains(good));
        let (content, said) = validate(VERSIONS[0], &text.replace(good, bad));
        assert!(!content, "{bad}: {said}");
    }
}

#[test]
fn everything_is_in_one_namespace_and_no_secret_among_it() {
    for one in built() {
        assert_ne!(kind(&one), "Secret");
        let own = if kind(&one) == "Namespace" {
            "name"
        } else {
            "namespace"
        };
        assert_eq!(one["metadata"][own], NAMESPACE, "{one}");
    }
}

#[test]
fn pods_have_no_right_that_they_do_not_need() {
    let all = built();
    let account = of_kind(&all, "ServiceAccount")[0];
    assert_eq!(account["automountServiceAccountToken"], false);
    let namespace = of_kind(&all, "Namespace")[0];
    let enforced = &namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(enforced, "restricted");
    for workload in workloads(&all) {
        let pod = &workload["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["serviceAccountName"], account["metadata"]["name"]);
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true);
        assert!(security["runAsUser"].as_u64().unwrap() > 0);
        assert_eq!(
            security["seccompProfile"],
            json!({ "type": "RuntimeDefault" })
        );
        let containers = pod["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 1);
        let expected = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        });
        assert_eq!(containers[0]["securityContext"], expected);
        let resources = &containers[0]["resources"];
        assert!(resources["requests"]["cpu"].is_string());
        assert_eq!(
            resources["requests"]["memory"],
            resources["limits"]["memory"]
        );
    }
}

#[test]
fn pods_run_this_version_and_are_asked_whether_they_are_healthy() {
    let all = built();
    let image = concat!("genesys-cloud-exporter:", env!("CARGO_PKG_VERSION"));
    for workload in workloads(&all) {
        let container = &workload["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], image);
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let expected = json!({ "path": "/-/healthy", "port": "http" });
            assert_eq!(container[probe]["httpGet"], expected, "{probe}");
        }
        let port = genesys_cloud_exporter::config::DEFAULT_LISTEN
            .rsplit(':')
            .next()
            .unwrap();
        let number: u64 = port.parse().unwrap();
        assert_eq!(
            container["ports"],
            json!([{ "name": "http", "containerPort": number }])
        );
    }
}

/// Whether all of `wanted` stands in `labels`.
fn selects(wanted: &Value, labels: &Value) -> bool {
    let wanted = wanted.as_object().unwrap();
    assert!(!wanted.is_empty());
    wanted.iter().all(|(key, value)| labels[key] == *value)
}

#[test]
fn what_selects_pods_finds_those_it_is_named_after() {
    let all = built();
    let pods: Vec<_> = workloads(&all)
        .into_iter()
        .map(|one| {
            (
                &one["metadata"]["name"],
                &one["spec"]["template"]["metadata"]["labels"],
            )
        })
        .collect();
    let found = |wanted: &Value| -> Vec<&Value> {
        let chosen = pods.iter().filter(|(_, labels)| selects(wanted, labels));
        chosen.map(|(name, _)| *name).collect()
    };
    for service in of_kind(&all, "Service") {
        assert_eq!(
            found(&service["spec"]["selector"]),
            [&service["metadata"]["name"]]
        );
        assert_eq!(service["spec"]["ports"][0]["targetPort"], "http");
    }
    for budget in of_kind(&all, "PodDisruptionBudget") {
        let wanted = &budget["spec"]["selector"]["matchLabels"];
        assert_eq!(found(wanted), [&budget["metadata"]["name"]]);
    }
    for workload in workloads(&all) {
        let wanted = &workload["spec"]["selector"]["matchLabels"];
        assert_eq!(found(wanted), [&workload["metadata"]["name"]]);
    }
    // The monitor selects services, and those are all of ours.
    let monitor = of_kind(&all, "ServiceMonitor")[0];
    let services = of_kind(&all, "Service");
    for service in &services {
        let labels = &service["metadata"]["labels"];
        assert!(selects(&monitor["spec"]["selector"]["matchLabels"], labels));
        let endpoint = &monitor["spec"]["endpoints"][0];
        assert_eq!(endpoint["port"], service["spec"]["ports"][0]["name"]);
    }
    assert_eq!(services.len(), pods.len());
}

#[test]
fn the_autoscaler_and_nobody_else_says_how_many_aggregators_there_are() {
    let all = built();
    let scaler = &of_kind(&all, "HorizontalPodAutoscaler")[0]["spec"];
    let target = of_kind(&all, "Deployment")[0];
    assert_eq!(scaler["scaleTargetRef"]["name"], target["metadata"]["name"]);
    assert!(target["spec"].get("replicas").is_none());
    assert!(scaler["minReplicas"].as_u64().unwrap() >= 2);
    let pollers = of_kind(&all, "StatefulSet")[0];
    assert_eq!(pollers["spec"]["replicas"], 2);
}

/// Ports of all rules in one direction of the policies that hold for these pods.
fn ports(all: &[Value], labels: &Value, direction: &str) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    for policy in of_kind(all, "NetworkPolicy") {
        if selects(&policy["spec"]["podSelector"]["matchLabels"], labels) {
            for rule in policy["spec"][direction].as_array().into_iter().flatten() {
                let ports = rule["ports"]
                    .as_array()
                    .expect("a rule without ports is any port");
                found.extend(ports.iter().map(|port| port["port"].as_u64().unwrap()));
            }
        }
    }
    found
}

#[test]
fn the_network_lets_through_what_is_needed() {
    let all = built();
    for workload in workloads(&all) {
        let labels = &workload["spec"]["template"]["metadata"]["labels"];
        let container = &workload["spec"]["template"]["spec"]["containers"][0];
        let own = container["ports"][0]["containerPort"].as_u64().unwrap();
        assert_eq!(ports(&all, labels, "ingress"), [own].into());
        let expected: BTreeSet<u64> = match kind(workload) {
            "StatefulSet" => [53, 443, 4222].into(),
            _ => [53, 4222, 5432].into(),
        };
        assert_eq!(ports(&all, labels, "egress"), expected);
    }
    let from: Vec<_> = of_kind(&all, "NetworkPolicy")
        .into_iter()
        .flat_map(|policy| policy["spec"]["ingress"].as_array().into_iter().flatten())
        .map(|rule| &rule["from"])
        .collect();
    let monitoring = json!([{ "namespaceSelector": {
        "matchLabels": { "kubernetes.io/metadata.name": "monitoring" } } }]);
    assert_eq!(from, [&monitoring]);
}

/// The manifest of the rules: their text below `groups:`, two columns further in.
fn rules_manifest() -> String {
    let mut text = "\
# Made from alerts/*.rules.yml: UPDATE_GOLDEN=1 cargo test --test rules kubernetes
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: genesys-cloud
spec:
  groups:
"
    .to_owned();
    for path in paths("alerts", ".rules.yml") {
        let rules = std::fs::read_to_string(&path).unwrap();
        let (_, groups) = rules.split_once("\ngroups:\n").unwrap();
        for line in groups.lines() {
            if !line.is_empty() {
                text.push_str("  ");
            }
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// With `UPDATE_GOLDEN` set, writes the manifest anew.
#[test]
fn the_rules_are_those_of_alerts() {
    let manifest = in_repository(RULES);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&manifest, rules_manifest()).unwrap();
    }
    let text = std::fs::read_to_string(&manifest).unwrap();
    assert!(
        text == rules_manifest(),
        "run the tests with UPDATE_GOLDEN=1"
    );
    let groups: Vec<Value> = paths("alerts", ".rules.yml")
        .iter()
        .flat_map(|path| yaml(Path::new(path))["groups"].as_array().unwrap().clone())
        .collect();
    assert!(groups.len() >= 3, "{}", groups.len());
    let all = built();
    assert_eq!(
        of_kind(&all, "PrometheusRule")[0]["spec"]["groups"],
        json!(groups)
    );
}

/// The job that rules and dashboards name.
#[test]
fn the_monitor_names_the_job_as_the_alerts_do() {
    let all = built();
    let endpoint = &of_kind(&all, "ServiceMonitor")[0]["spec"]["endpoints"][0];
    let relabelings = endpoint["relabelings"].as_array().unwrap();
    let job = relabelings
        .iter()
        .find(|one| one["targetLabel"] == "job")
        .unwrap();
    let absent = format!("absent(up{{job={}}})", job["replacement"]);
    let rules = of_kind(&all, "PrometheusRule")[0].to_string();
    assert!(rules.contains(&absent.replace('"', "\\\"")), "{absent}");
}
