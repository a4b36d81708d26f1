//! What every dashboard keeps to: the rules of Grafana's dashboard-linter that matter here, and
//! agreement with the catalog and the runbooks.

use std::collections::BTreeSet;

use genesys_cloud_exporter::catalog::{CATALOG, Kind, Metric};
use serde_json::Value;

use super::panel::matchers;
use super::queries::{dashboards, in_repository, metrics, queries};

/// Units that the panels use, from Grafana's list (getValueFormats of @grafana/data 13.2.2).
const UNITS: &[&str] = &["short", "s", "dthms", "percentunit", "bytes", "none"];

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row")
}

fn variable<'a>(dashboard: &'a Value, name: &str) -> &'a Value {
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let found = variables.iter().find(|variable| variable["name"] == name);
    found.unwrap_or_else(|| panic!("{}: no variable {name}", dashboard["title"]))
}

#[test]
fn dashboards_have_variables_and_no_hard_coded_data_source() {
    let mut uids = BTreeSet::new();
    for (file, dashboard) in dashboards() {
        assert!(uids.insert(dashboard["uid"].to_string()), "{file}: uid");
        assert_eq!(dashboard["editable"], true, "{file}");
        assert_eq!(
            variable(&dashboard, "datasource")["type"],
            "datasource",
            "{file}"
        );
        for name in ["job", "instance"] {
            let variable = variable(&dashboard, name);
            assert_eq!(variable["multi"], true, "{file}: {name}");
            assert_eq!(variable["allValue"], ".+", "{file}: {name}");
            assert_eq!(
                variable["refresh"], 2,
                "{file}: {name} follows the time range"
            );
        }
        // What has no such label belongs to all.
        assert_eq!(variable(&dashboard, "org")["allValue"], ".*", "{file}");
        let text = dashboard.to_string();
        assert!(text.matches("\"uid\"").count() > 10);
        for (at, _) in text.match_indices("\"datasource\":{") {
            let source = text[at..].split('}').next().unwrap();
            assert!(source.contains("${datasource"), "{file}: {source}");
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    for (file, dashboard) in dashboards() {
        let mut ids = BTreeSet::new();
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap();
            assert!(
                ids.insert(panel["id"].as_u64().unwrap()),
                "{file}: id of {title}"
            );
            assert!(!title.is_empty(), "{file}: a panel without a title");
            let description = panel["description"].as_str().unwrap();
            assert!(
                description.len() > 20 && description.ends_with('.'),
                "{file}: {title}: {description}"
            );
            let defaults = &panel["fieldConfig"]["defaults"];
            let unit = defaults["unit"].as_str().unwrap();
            assert!(UNITS.contains(&unit), "{file}: {title}: unit {unit}");
            let worded = defaults["mappings"]
                .as_array()
                .is_some_and(|words| !words.is_empty());
            let table = panel["type"] == "table";
            assert!(
                unit != "none" || worded || table,
                "{file}: {title}: neither unit nor words"
            );
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{file}: {title} asks nothing");
            let first = &defaults["thresholds"]["steps"][0];
            assert!(
                first["value"].is_null(),
                "{file}: {title}: the first step has no bound"
            );
        }
        assert!(ids.len() > 5, "{file}");
    }
}

#[test]
fn panels_lie_on_the_grid_and_do_not_overlap() {
    for (file, dashboard) in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let number = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(
                number("x") + number("w") <= 24,
                "{file}: {}",
                panel["title"]
            );
            for x in number("x")..number("x") + number("w") {
                for y in number("y")..number("y") + number("h") {
                    assert!(taken.insert((x, y)), "{file}: {} overlaps", panel["title"]);
                }
            }
        }
    }
}

#[test]
fn every_query_names_job_instance_and_organisation_and_only_variables_that_exist() {
    for (file, dashboard) in dashboards() {
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let mut known: Vec<_> = variables
            .iter()
            .map(|variable| variable["name"].as_str().unwrap())
            .collect();
        known.extend(["__rate_interval", "__range"]);
        for query in queries(&dashboard) {
            let place = format!("{file}: {}: {}", query.panel, query.expr);
            let parts: Vec<_> = query.expr.split('{').collect();
            assert!(parts.len() > 1, "{place}");
            for pair in parts.windows(2) {
                let rest = pair[1].strip_prefix(matchers(pair[0]));
                assert!(
                    rest.is_some_and(|rest| rest.starts_with([',', '}'])),
                    "{place}"
                );
            }
            for used in query.expr.split('$').skip(1) {
                let name: String = used
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                assert!(known.contains(&&*name), "{place}: ${name}");
            }
            for range in query.expr.split('[').skip(1) {
                let range = range.split(']').next().unwrap();
                assert!(
                    ["$__rate_interval", "$__range"].contains(&range),
                    "{place}: [{range}]"
                );
            }
        }
    }
}

#[test]
fn every_metric_is_in_the_catalog_and_counters_are_rated() {
    for (file, dashboard) in dashboards() {
        for query in queries(&dashboard) {
            let place = format!("{file}: {}: {}", query.panel, query.expr);
            let names = metrics(&query.expr);
            assert!(!names.is_empty(), "{place}");
            for name in names {
                let metric = Metric::by_name(&name)
                    .unwrap_or_else(|| panic!("{place}: {name} is not in the catalog"));
                if metric.spec().kind == Kind::Counter {
                    let rated = ["rate(", "increase("]
                        .iter()
                        .any(|function| query.expr.contains(&format!("{function}{name}")));
                    assert!(rated, "{place}: a counter's value means nothing");
                }
            }
        }
    }
}

/// Every metric is on a panel, but for those named here.
#[test]
fn every_metric_that_matters_is_on_a_panel() {
    let not_shown = [
        // Joins a queue's name to its id, for queries of other products.
        "genesyscloud_queue_info",
        // Absent where one instance does it all; an alert looks at it.
        "genesyscloud_leader",
        // Unlimited on nearly every machine, and then absent.
        "process_virtual_memory_max_bytes",
    ];
    let shown: BTreeSet<String> = dashboards()
        .iter()
        .flat_map(|(_, dashboard)| queries(dashboard))
        .flat_map(|query| metrics(&query.expr))
        .collect();
    for spec in &CATALOG {
        let name = spec.prometheus_name;
        assert_ne!(
            shown.contains(name),
            not_shown.contains(&name),
            "{name}: on a panel, or named here with the reason"
        );
    }
}

#[test]
fn links_to_runbooks_lead_somewhere() {
    let mut links = 0;
    for (file, dashboard) in dashboards() {
        let base = variable(&dashboard, "runbooks")["query"].as_str().unwrap();
        assert!(base.ends_with("/alerts/runbooks"), "{file}: {base}");
        for panel in panels(&dashboard) {
            for link in panel["links"].as_array().into_iter().flatten() {
                let page = link["url"]
                    .as_str()
                    .unwrap()
                    .strip_prefix("${runbooks}/")
                    .unwrap();
                assert!(
                    in_repository("alerts/runbooks").join(page).is_file(),
                    "{file}: {page}"
                );
                links += 1;
            }
        }
    }
    assert!(links > 20, "{links}");
}

#[test]
fn the_readme_shows_a_picture_of_every_dashboard() {
    let readme = std::fs::read_to_string(in_repository("README.md")).unwrap();
    for (file, _) in dashboards() {
        let picture = format!("dashboards/images/{}", file.replace(".json", ".png"));
        assert!(readme.contains(&format!("]({picture})")), "{picture}");
        let bytes = std::fs::read(in_repository(&picture)).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"), "{picture}");
        assert!(bytes.len() < 300_000, "{picture}: {} bytes", bytes.len());
    }
}
