//! The shipped rules and their tests, parsed.

use std::path::PathBuf;

use serde_json::Value;

use super::queries::in_repository;

/// A rule: an alert, or a recording.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) group: String,
    pub(crate) json: Value,
}

impl Rule {
    /// Text of a field; empty if it is not there.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.json
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// Files of `alerts/` or below whose names end like this.
pub(crate) fn paths(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(in_repository(folder)).unwrap();
    let mut found: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no {ending} in {folder}");
    found
}

/// A YAML file.
pub(crate) fn yaml(path: &std::path::Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rules() -> Vec<Rule> {
    let mut found = Vec::new();
    for path in paths("alerts", ".rules.yml") {
        for group in yaml(&path)["groups"].as_array().unwrap() {
            let name = group["name"].as_str().unwrap();
            found.extend(group["rules"].as_array().unwrap().iter().map(|rule| Rule {
                group: name.to_owned(),
                json: rule.clone(),
            }));
        }
    }
    found
}

/// Every alert.
pub(crate) fn alerts() -> Vec<Rule> {
    let rules = rules().into_iter();
    rules
        .filter(|rule| !rule.text("/alert").is_empty())
        .collect()
}

/// Every recording rule.
pub(crate) fn recordings() -> Vec<Rule> {
    let rules = rules().into_iter();
    rules
        .filter(|rule| !rule.text("/record").is_empty())
        .collect()
}
