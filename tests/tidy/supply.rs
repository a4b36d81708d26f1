//! What is linked in, held against `deny.toml`: licences, banned crates, sources.
//!
//! cargo-deny reads the same file and knows advisories too, but takes minutes to build. This asks
//! Cargo alone, and needs no network once the crates are there.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use spdx::{Expression, Licensee, ParseMode};

use super::source::root;

/// A crate that nobody would take from elsewhere: where it is from, all others must be from.
const KNOWN: &str = "serde";

/// What `deny.toml` says.
struct Rules {
    targets: Vec<String>,
    licences: Vec<Licensee>,
    banned: Vec<String>,
    /// Whether another registry or a repository is refused, and no exception is named.
    closed: bool,
}

fn rules() -> Rules {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let file: toml::Table = text.parse().unwrap();
    let texts = |list: &toml::Value, key: Option<&str>| -> Vec<String> {
        let entries = list.as_array().unwrap().iter();
        entries
            .map(|entry| key.map_or(entry, |key| &entry[key]))
            .map(|text| text.as_str().unwrap().to_owned())
            .collect()
    };
    let licences = texts(&file["licenses"]["allow"], None);
    let sources = file["sources"].as_table().unwrap();
    let closed = ["unknown-registry", "unknown-git"]
        .iter()
        .all(|key| sources[*key].as_str() == Some("deny"));
    Rules {
        targets: texts(&file["graph"]["targets"], None),
        licences: licences
            .iter()
            .map(|name| Licensee::parse(name).unwrap())
            .collect(),
        banned: texts(&file["bans"]["deny"], Some("crate")),
        closed: closed && sources.len() == 2,
    }
}

/// Every crate that is built for a target, with its licence and source.
fn crates(target: &str) -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", target])
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().clone();
    assert!(packages.len() > 100, "{}", packages.len());
    packages
}

/// Whether one of the alternatives of a crate's licence is made of these alone.
fn allows(licences: &[Licensee], expression: &str) -> bool {
    // Old crates write MIT/Apache-2.0.
    Expression::parse_mode(expression, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|asked| licences.iter().any(|licence| licence.satisfies(asked)))
    })
}

/// The registry that crates come from.
fn registry(packages: &[Value]) -> String {
    let known = packages.iter().find(|package| package["name"] == KNOWN);
    let source = known.unwrap()["source"].as_str().unwrap();
    assert!(source.starts_with("registry+"), "{source}");
    source.to_owned()
}

/// What is wrong with a crate.
fn finding(rules: &Rules, registry: &str, package: &Value) -> Option<String> {
    let name = package["name"].as_str().unwrap();
    let licence = package["license"].as_str().unwrap_or("none");
    if !allows(&rules.licences, licence) {
        return Some(format!("{name}: licence {licence}"));
    }
    if rules.banned.iter().any(|banned| banned == name) {
        return Some(format!("{name}: banned"));
    }
    match package["source"].as_str() {
        // Of this repository.
        None => None,
        Some(source) if source == registry => None,
        Some(source) => Some(format!("{name}: from {source}")),
    }
}

#[test]
fn every_crate_is_let_in_by_deny_toml() {
    let rules = rules();
    assert!(rules.closed, "sources: other registries must be denied");
    assert!(!rules.targets.is_empty() && !rules.banned.is_empty());
    for target in &rules.targets {
        let packages = crates(target);
        let registry = registry(&packages);
        let found: Vec<_> = packages
            .iter()
            .filter_map(|package| finding(&rules, &registry, package))
            .collect();
        assert_eq!(found, Vec::<String>::new(), "{target}");
    }
}

/// So the one registry is the one that Cargo uses unless told otherwise.
#[test]
fn nothing_tells_cargo_of_another_registry() {
    let folder = root().join(".cargo");
    let inside = std::fs::read_dir(&folder).unwrap();
    let inside: Vec<_> = inside.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(inside, ["config.toml"]);
    let text = std::fs::read_to_string(folder.join("config.toml")).unwrap();
    let config: toml::Table = text.parse().unwrap();
    assert!(config.keys().eq(["env"]), "{text}");
    let set = config["env"].as_table().unwrap();
    assert!(set.keys().eq(["JEMALLOC_SYS_WITH_MALLOC_CONF"]), "{text}");
    let text = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    for section in ["dependencies", "dev-dependencies"] {
        for (name, dependency) in manifest[section].as_table().unwrap() {
            let keys = dependency
                .as_table()
                .into_iter()
                .flat_map(|table| table.keys());
            for key in keys {
                // The crate itself, for its tests alone.
                if name == env!("CARGO_PKG_NAME") && key == "path" {
                    continue;
                }
                let plain = ["version", "features", "default-features"];
                assert!(plain.contains(&key.as_str()), "{name}: {key}");
            }
        }
    }
    assert!(!manifest.contains_key("patch") && !manifest.contains_key("replace"));
}

/// Features of this crate in a build of these kinds of edges.
fn own_features(edges: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--depth=0", "--format={f}"])
        .args(["--edges", edges])
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // The crate's own line is the first.
    let told = String::from_utf8(output.stdout).unwrap();
    told.lines().next().unwrap_or_default().to_owned()
}

/// Where tests end the process, no build but theirs can.
#[test]
fn only_builds_of_tests_have_crash_points() {
    assert_eq!(own_features("all"), "crash-points");
    assert_eq!(own_features("no-dev"), "");
}

/// The list may only hold what some crate needs.
#[test]
fn every_licence_that_is_let_in_is_needed() {
    let rules = rules();
    let packages = crates(&rules.targets[0]);
    for left_out in &rules.licences {
        let others: Vec<_> = rules
            .licences
            .iter()
            .filter(|licence| *licence != left_out)
            .cloned()
            .collect();
        let refused = packages
            .iter()
            .filter_map(|package| package["license"].as_str())
            .any(|licence| !allows(&others, licence));
        assert!(refused, "no crate needs {left_out:?}");
    }
}

#[test]
fn what_is_not_let_in_is_found() {
    let rules = rules();
    let index = "registry+https://host/index";
    let other = "registry+https://elsewhere/index";
    let git = "git+https://host/index";
    let package = |name: &str, licence: Option<&str>, source: &str| serde_json::json!({ "name": name, "license": licence, "source": source });
    let found: BTreeSet<_> = [
        package("good", Some("MIT/Apache-2.0"), index),
        package("either", Some("GPL-3.0-only OR MIT"), index),
        package("copyleft", Some("GPL-3.0-only AND MIT"), index),
        package("silent", None, index),
        package("openssl", Some("MIT"), index),
        package("elsewhere", Some("MIT"), other),
        package("repository", Some("MIT"), git),
    ]
    .iter()
    .filter_map(|package| finding(&rules, index, package))
    .collect();
    let expected = [
        "copyleft: licence GPL-3.0-only AND MIT".to_owned(),
        format!("elsewhere: from {other}"),
        "openssl: banned".to_owned(),
        format!("repository: from {git}"),
        "silent: licence none".to_owned(),
    ];
    assert_eq!(found, BTreeSet::from(expected));
}
