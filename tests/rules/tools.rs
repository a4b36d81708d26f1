//! What promtool and amtool say: the files are valid, every case holds, and the cases would
//! notice an alert that never fires and one that always does.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::files::{alerts, paths, yaml};
use super::queries::in_repository;

/// Runs a tool; whether it was content, and what it said.
pub(crate) fn run(
    program: &str,
    package: &str,
    arguments: &[&str],
    files: &[impl AsRef<Path>],
) -> (bool, String) {
    let mut command = Command::new(program);
    command.args(arguments);
    command.args(files.iter().map(AsRef::as_ref));
    let output = command.output().unwrap_or_else(|error| {
        panic!("{error}: this test needs {program} in PATH: apt-get install {package}")
    });
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn promtool(arguments: &[&str], files: &[impl AsRef<Path>]) -> (bool, String) {
    run("promtool", "prometheus", arguments, files)
}

#[test]
fn promtool_takes_the_rules() {
    let (content, said) = promtool(&["check", "rules"], &paths("alerts", ".rules.yml"));
    assert!(content && !said.contains("WARNING"), "{said}");
}

#[test]
fn every_case_of_the_rules_tests_holds() {
    let (content, said) = promtool(&["test", "rules"], &paths("alerts/tests", ".test.yml"));
    assert!(content, "{said}");
}

#[test]
fn amtool_takes_the_example() {
    let example = in_repository("alerts/alertmanager.example.yml");
    let (content, said) = run(
        "amtool",
        "prometheus-alertmanager",
        &["check-config"],
        &[example],
    );
    assert!(content, "{said}");
}

/// A case that lists nothing asserts nothing, and reports success.
#[test]
fn every_alert_has_a_firing_and_a_silent_case_that_assert() {
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for path in paths("alerts/tests", ".test.yml") {
        for test in yaml(&path)["tests"].as_array().unwrap() {
            let cases = test["alert_rule_test"].as_array().unwrap();
            assert!(!cases.is_empty(), "{}: {test}", path.display());
            for case in cases {
                let name = case["alertname"].as_str().unwrap().to_owned();
                assert!(case["eval_time"].is_string(), "{case}");
                let expected = case["exp_alerts"].as_array().unwrap();
                if expected.is_empty() {
                    &mut silent
                } else {
                    &mut fires
                }
                .insert(name);
            }
        }
    }
    let all: BTreeSet<_> = alerts()
        .iter()
        .map(|alert| alert.text("/alert").to_owned())
        .collect();
    assert_eq!(fires, all);
    assert_eq!(silent, all);
}

/// The cases against rules that are all wrong in the same way: each alert must be noticed.
fn noticed(wrong: &str) -> BTreeSet<String> {
    let directory = tempfile::tempdir().unwrap();
    let tests = directory.path().join("tests");
    std::fs::create_dir(&tests).unwrap();
    for path in paths("alerts", ".rules.yml") {
        let mut rules = yaml(&path);
        for group in rules["groups"].as_array_mut().unwrap() {
            for rule in group["rules"].as_array_mut().unwrap() {
                rule["expr"] = wrong.into();
                rule.as_object_mut().unwrap().remove("for");
            }
        }
        // JSON is YAML.
        std::fs::write(
            directory.path().join(path.file_name().unwrap()),
            rules.to_string(),
        )
        .unwrap();
    }
    for path in paths("alerts/tests", ".test.yml") {
        std::fs::copy(&path, tests.join(path.file_name().unwrap())).unwrap();
    }
    let copies: Vec<_> = paths("alerts/tests", ".test.yml")
        .iter()
        .map(|path| tests.join(path.file_name().unwrap()))
        .collect();
    let (content, said) = promtool(&["test", "rules"], &copies);
    assert!(!content, "{said}");
    let names = said
        .lines()
        .filter_map(|line| line.trim().strip_prefix("alertname: "));
    names
        .map(|line| line.split(',').next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_cases_notice_an_alert_that_never_fires_and_one_that_always_does() {
    let all: BTreeSet<_> = alerts()
        .iter()
        .map(|alert| alert.text("/alert").to_owned())
        .collect();
    let never = std::thread::spawn(|| noticed("vector(0) > 1"));
    assert_eq!(noticed("vector(1) > 0"), all, "always");
    assert_eq!(never.join().unwrap(), all, "never");
}
