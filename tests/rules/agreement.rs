//! Rules agree with the catalog, the runbooks, the dashboards and the Alertmanager example.

use std::collections::BTreeSet;

use genesys_cloud_exporter::catalog::{LabelValues, Metric};

use super::files::{alerts, paths, recordings, yaml};
use super::queries::{dashboards, in_repository, metrics, recorded};

const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];
const TEAMS: [&str; 2] = ["telemetry", "contact-centre"];

/// A duration of a rule in seconds.
fn seconds(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number
        .parse()
        .unwrap_or_else(|_| panic!("{text:?} is no duration"));
    number
        * match unit {
            "m" => 60,
            "h" => 3_600,
            _ => panic!("{text}: minutes and hours only, which the live test can hurry"),
        }
}

#[test]
fn every_alert_has_what_whoever_is_woken_needs() {
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = alert.text("/alert").to_owned();
        assert!(name.starts_with("GenesysCloud"), "{name}");
        assert!(names.insert(name.clone()), "{name} is there twice");
        let severity = alert.text("/labels/severity");
        assert!(SEVERITIES.contains(&severity), "{name}: severity");
        assert!(TEAMS.contains(&alert.text("/labels/team")), "{name}: team");
        let summary = alert.text("/annotations/summary");
        assert!(
            summary.ends_with('.') && !summary.contains("{{"),
            "{name}: a fixed sentence: {summary}"
        );
        let description = alert.text("/annotations/description");
        assert!(
            description.contains("{{ $"),
            "{name}: a description with values: {description}"
        );
        assert!(description.ends_with('.'), "{name}: {description}");
        // Nothing fires for one bad poll: a minute is four of them.
        assert!(seconds(alert.text("/for")) >= 60, "{name}: for");
        assert!(
            seconds(alert.text("/keep_firing_for")) >= 60,
            "{name}: keep_firing_for"
        );
        let expr = alert.text("/expr");
        let compares = ["> ", "< ", "== "]
            .iter()
            .any(|comparison| expr.contains(comparison));
        assert!(compares || expr.starts_with("absent("), "{name}: {expr}");
        // Every alert stands below a comment that says why its threshold is what it is.
        let texts: String = paths("alerts", ".rules.yml")
            .iter()
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        let before = texts.split(&format!("- alert: {name}\n")).next().unwrap();
        let above = before.trim_end().lines().last().unwrap().trim();
        assert!(above.starts_with('#'), "{name}: no comment above it");
    }
    assert!(names.len() >= 23, "{}", names.len());
}

#[test]
fn every_alert_has_its_runbook_and_the_reverse() {
    let named = alerts().into_iter().map(|alert| {
        let name = alert.text("/alert").to_owned();
        let url = alert.text("/annotations/runbook_url");
        assert!(
            url.ends_with(&format!("/alerts/runbooks/{name}.md")),
            "{name}: {url}"
        );
        name
    });
    let named: BTreeSet<_> = named.collect();
    let written: BTreeSet<_> = paths("alerts/runbooks", ".md")
        .iter()
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(named, written);
    for name in &named {
        let path = in_repository("alerts/runbooks").join(format!("{name}.md"));
        let text = std::fs::read_to_string(&path).unwrap();
        let headings: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
        let expected = [
            &*format!("# {name}"),
            "## What it means for the contact centre",
            "## How to confirm",
            "## What to do",
            "## When to escalate",
        ];
        assert_eq!(headings, expected);
        for metric in text.split('`').flat_map(metrics).chain(recorded(&text)) {
            let known = Metric::by_name(&metric).is_some()
                || recordings()
                    .iter()
                    .any(|rule| rule.text("/record") == metric);
            assert!(known, "{name}.md: {metric}");
        }
        for link in text.split("](").skip(1) {
            let page = link.split(')').next().unwrap();
            assert!(path.with_file_name(page).is_file(), "{name}.md: {page}");
        }
    }
}

#[test]
fn the_readme_lists_every_alert_with_its_runbook() {
    let readme = std::fs::read_to_string(in_repository("README.md")).unwrap();
    for alert in alerts() {
        let name = alert.text("/alert");
        let row = format!(
            "| [{name}](alerts/runbooks/{name}.md) | {} | {} | {} |",
            alert.text("/labels/severity"),
            alert.text("/for"),
            alert.text("/annotations/summary"),
        );
        assert!(readme.contains(&row), "README.md lacks the row\n{row}");
    }
    let listed = readme.matches("](alerts/runbooks/").count();
    assert_eq!(listed, alerts().len(), "and no other");
}

#[test]
fn every_link_to_a_dashboard_leads_to_one_with_those_variables() {
    let dashboards = dashboards();
    for alert in alerts() {
        let name = alert.text("/alert");
        let url = alert.text("/annotations/dashboard_url");
        let path = url
            .strip_prefix("http://localhost:3000/d/")
            .unwrap_or_else(|| panic!("{name}: {url}"));
        let (uid, query) = path.split_once('?').unwrap();
        let found = dashboards
            .iter()
            .find(|(_, dashboard)| dashboard["uid"] == uid);
        let (_, dashboard) = found.unwrap_or_else(|| panic!("{name}: no dashboard {uid}"));
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        for pair in query.split('&') {
            let variable = pair
                .split('=')
                .next()
                .unwrap()
                .strip_prefix("var-")
                .unwrap();
            assert!(
                variables.iter().any(|known| known["name"] == variable),
                "{name}: {variable}"
            );
        }
    }
}

#[test]
fn every_metric_and_label_is_in_the_catalog_and_every_recorded_name_is_recorded() {
    let written: BTreeSet<_> = recordings()
        .iter()
        .map(|rule| rule.text("/record").to_owned())
        .collect();
    assert_eq!(
        written.len(),
        recordings().len(),
        "a name is recorded twice"
    );
    for rule in alerts().iter().chain(&recordings()) {
        let expr = rule.text("/expr");
        for name in recorded(expr) {
            assert!(
                written.contains(&name),
                "{}: nobody records {name}",
                rule.group
            );
        }
        for name in metrics(expr) {
            let metric = Metric::by_name(&name)
                .unwrap_or_else(|| panic!("{}: {name} is not in the catalog", rule.group));
            for selector in expr.split(&format!("{name}{{")).skip(1) {
                check_selector(metric, selector.split('}').next().unwrap());
            }
        }
    }
}

/// Matchers name labels of the metric, and values that they can have.
fn check_selector(metric: Metric, selector: &str) {
    for matcher in selector.split(", ").flat_map(|matcher| matcher.split(',')) {
        let (label, rest) = matcher.split_once(['=', '!']).unwrap();
        let spec = metric
            .spec()
            .labels
            .iter()
            .find(|spec| spec.name == label.trim());
        let spec = spec.unwrap_or_else(|| panic!("{metric:?} has no label {label}"));
        let values = rest.split('"').nth(1).unwrap();
        if let LabelValues::Closed(known) = spec.values {
            for value in values.split('|').filter(|value| !value.contains('.')) {
                assert!(known.contains(&value), "{metric:?}: {label}=\"{value}\"");
            }
        }
    }
}

#[test]
fn the_alertmanager_example_speaks_of_alerts_teams_and_severities_that_exist() {
    let names: BTreeSet<_> = alerts()
        .iter()
        .map(|alert| alert.text("/alert").to_owned())
        .collect();
    let example = yaml(&in_repository("alerts/alertmanager.example.yml"));
    let text = example.to_string();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let plain: BTreeSet<_> = words
        .filter(|word| word.starts_with("GenesysCloud") && word.len() > 12)
        .collect();
    assert!(plain.len() > 5);
    for name in plain {
        assert!(names.contains(name), "no alert {name}");
    }
    // Alternatives in parentheses: GenesysCloud(One|Other).
    let mut alternatives = 0;
    for group in text.split("GenesysCloud(").skip(1) {
        for name in group.split(')').next().unwrap().split('|') {
            assert!(
                names.contains(&format!("GenesysCloud{name}")),
                "no alert GenesysCloud{name}"
            );
            alternatives += 1;
        }
    }
    assert!(alternatives > 10);
    let route = example["route"].to_string();
    for label in TEAMS.iter().chain(&SEVERITIES) {
        assert!(route.contains(label), "{label} is not routed");
    }
}
