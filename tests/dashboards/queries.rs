//! What the shipped dashboards and rules ask: read from the files, as their users do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Metrics that an exporter of the status dialect without TLS does not have: live tests, which run
/// one, ask their queries to be well-formed and no more.
pub(crate) const ELSEWHERE: &[&str] = &[
    "genesyscloud_notification_agents",
    "genesyscloud_notification_channels",
    "genesyscloud_notification_disagreements_total",
    "genesyscloud_notification_events_total",
    "genesyscloud_notification_reconnects_total",
    "genesyscloud_notification_rejections_total",
    "genesyscloud_platform_status_agents",
    "genesyscloud_web_certificate_expiry_timestamp_seconds",
];

/// A query of a dashboard.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) dashboard: String,
    pub(crate) panel: String,
    pub(crate) expr: String,
    pub(crate) instant: bool,
}

/// A file or folder of the repository.
pub(crate) fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The shipped dashboards, by file name.
pub(crate) fn dashboards() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(in_repository("dashboards")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            found.push((
                name,
                serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap(),
            ));
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert!(!found.is_empty(), "there are dashboards in dashboards/");
    found
}

/// Every query of a dashboard: of its panels and of its annotations.
pub(crate) fn queries(dashboard: &Value) -> Vec<Query> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let title = text(&dashboard["title"]);
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push(Query {
                dashboard: title.clone(),
                panel: text(&panel["title"]),
                expr: text(&target["expr"]),
                instant: target["instant"] == true,
            });
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        found.push(Query {
            dashboard: title.clone(),
            panel: text(&annotation["name"]),
            expr: text(&annotation["expr"]),
            instant: false,
        });
    }
    assert!(
        found.iter().all(|query| !query.expr.is_empty()),
        "{title}: a query without text"
    );
    found
}

/// Names in an expression that are metrics of ours: `genesyscloud_…` and `process_…`, without a
/// histogram's endings and without what rules record.
pub(crate) fn metrics(expr: &str) -> BTreeSet<String> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let ours = |name: &&str| {
        !name.contains(':') && (name.starts_with("genesyscloud_") || name.starts_with("process_"))
    };
    let without_ending = |name: &str| {
        let stem = ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|ending| name.strip_suffix(ending));
        stem.unwrap_or(name).to_owned()
    };
    expr.split(|c| !part(c))
        .filter(ours)
        .map(without_ending)
        .collect()
}

/// Names in an expression that a rule records: `level:genesyscloud_…`.
pub(crate) fn recorded(expr: &str) -> BTreeSet<String> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let names = expr.split(|c| !part(c));
    let names = names.filter(|name| name.contains(":genesyscloud_"));
    names.map(str::to_owned).collect()
}

#[test]
fn names_are_found_in_expressions() {
    let expr = r#"sum by (le) (rate(genesyscloud_batch_duration_seconds_bucket{job="process_x"}[5m])) / queue:genesyscloud_a:ratio + process_open_fds"#;
    let names: Vec<_> = metrics(expr).into_iter().collect();
    assert_eq!(
        names,
        [
            "genesyscloud_batch_duration_seconds",
            "process_open_fds",
            "process_x"
        ]
    );
    let recorded: Vec<_> = recorded(expr).into_iter().collect();
    assert_eq!(recorded, ["queue:genesyscloud_a:ratio"]);
}
