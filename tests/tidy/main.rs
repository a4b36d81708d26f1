//! What a machine can check of the house style, with a test of each check.
//!
//! | rule | where it is stated |
//! |---|---|
//! | a module imports only modules above it in `src/lib.rs` | `src/lib.rs` |
//! | only the files of `EDGES` do I/O, read clocks or are asynchronous | `src/lib.rs` |
//! | a file opens with `//!` and has at most 500 lines | here |
//! | clippy counts a function's lines, and nobody lifts that limit | `.clippy.toml` |
//! | no test is ignored or hopes for a panic, nobody sleeps in place of a condition | here |
//! | every fault of the matrix has a test, or a reason why not | `tests/faults.md` |
//! | licences, sources and banned crates | `deny.toml` |
//! | the README's metric reference is the catalog's, and it names no metric beside it | README |
//!
//! The sources are read with `syn`, so that a word in a comment or a text is no finding.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod faults;
mod source;
mod supply;

use std::collections::{BTreeMap, BTreeSet};

use genesys_cloud_exporter::catalog::{CATALOG, reference};
use genesys_cloud_exporter::store::REMOTE_WRITE_METRICS;

use source::{Source, root, sources};

/// Longer files are two files.
const FILE_LINES_MAX: usize = 500;

/// Files that are longer, for a reason that stands beside them. The list may only shrink: a file
/// that has come below the limit must leave it.
const LONGER_FILES: [(&str, usize); 0] = [];

/// The files that do I/O, read clocks, start threads or are asynchronous. All others are pure.
const EDGES: &[&str] = &[
    "src/app.rs",
    "src/app/databases.rs",
    "src/app/file_system.rs",
    "src/app/polling.rs",
    "src/app/queue.rs",
    "src/app/reload.rs",
    "src/app/rows.rs",
    "src/app/unit.rs",
    "src/app/unlinked.rs",
    "src/app/upkeep.rs",
    "src/app/windows.rs",
    "src/cli/demo.rs",
    "src/cli/doctor.rs",
    "src/cli/doctor/platform.rs",
    "src/cli/export.rs",
    "src/cli/history.rs",
    "src/cli/mod.rs",
    "src/cli/run.rs",
    "src/cli/service.rs",
    "src/cli/simulate.rs",
    "src/cli/unfinished.rs",
    "src/clock.rs",
    "src/crash.rs",
    "src/config/load.rs",
    "src/config/secret.rs",
    "src/driver.rs",
    "src/expose/access.rs",
    "src/expose/access/passwords.rs",
    "src/expose/ahead.rs",
    "src/expose/api.rs",
    "src/expose/body.rs",
    "src/expose/connection.rs",
    "src/expose/gate.rs",
    "src/expose/otlp/pump.rs",
    "src/expose/otlp/resource.rs",
    "src/expose/otlp/transport.rs",
    "src/expose/routes.rs",
    "src/expose/server.rs",
    "src/expose/state.rs",
    "src/expose/stream.rs",
    "src/journal/data_dir.rs",
    "src/journal/database.rs",
    "src/journal/drain.rs",
    "src/journal/embedded.rs",
    "src/journal/nats/error.rs",
    "src/journal/nats/inbox.rs",
    "src/journal/nats/leadership.rs",
    "src/journal/nats/link.rs",
    "src/journal/nats/relay.rs",
    "src/journal/rows.rs",
    "src/journal/worker.rs",
    "src/journal/writer.rs",
    "src/main.rs",
    "src/simulator/serve.rs",
    "src/simulator/socket.rs",
    "src/store/aggregator.rs",
    "src/store/columns.rs",
    "src/store/consumer.rs",
    "src/store/deliveries.rs",
    "src/store/error.rs",
    "src/store/event_rows.rs",
    "src/store/fact_rows.rs",
    "src/store/handle.rs",
    "src/store/postgres/error.rs",
    "src/store/postgres/facts.rs",
    "src/store/postgres/link.rs",
    "src/store/postgres/migrate.rs",
    "src/store/postgres/partitions.rs",
    "src/store/postgres/reader.rs",
    "src/store/postgres/statements.rs",
    "src/store/postgres/scan.rs",
    "src/store/postgres/store.rs",
    "src/store/postgres/transaction.rs",
    "src/store/postgres/values.rs",
    "src/store/prune.rs",
    "src/store/reader.rs",
    "src/store/remote_write/sender.rs",
    "src/store/scan.rs",
    "src/store/sent.rs",
    "src/store/sqlite.rs",
    "src/store/window_rows.rs",
    "src/telemetry/process.rs",
    "src/upstream/client.rs",
    "src/upstream/oauth.rs",
    "src/upstream/socket.rs",
];

/// What only an edge may name: paths by their heads.
const IMPURE: [&str; 19] = [
    "async_nats",
    "hyper",
    "hyper_util",
    "opentelemetry_otlp",
    "reqwest",
    "rusqlite",
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
    "tokio_postgres",
    "tokio_postgres_rustls",
    "tokio_tungstenite",
];

/// The modules of `src/lib.rs`, from the top down.
fn order(lib: &Source) -> BTreeMap<String, usize> {
    let modules = lib.syntax.items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) => Some(module.ident.to_string()),
        _ => None,
    });
    modules.enumerate().map(|(at, name)| (name, at)).collect()
}

/// Imports that point down the page.
fn layer_findings(order: &BTreeMap<String, usize>, source: &Source) -> Vec<String> {
    let Some(own) = source.module().filter(|_| !source.is_test()) else {
        return Vec::new();
    };
    let Some(own_at) = order.get(own) else {
        return vec![format!("{}: {own} is not in src/lib.rs", source.path)];
    };
    let facts = source.facts();
    let imported = facts.paths.iter().filter_map(|path| {
        let name = path.strip_prefix("crate::")?;
        Some(name.split("::").next().unwrap_or(name).to_owned())
    });
    imported
        .collect::<BTreeSet<_>>()
        .into_iter()
        .filter(|name| order.get(name).is_some_and(|at| at > own_at))
        .map(|name| format!("{}: imports {name}, which stands below it", source.path))
        .collect()
}

/// What makes a file an edge, if anything does.
fn impurity(source: &Source) -> Option<String> {
    let facts = source.facts();
    if facts.asynchronous {
        return Some("asynchronous code".to_owned());
    }
    let named = |head: &&str| {
        facts.paths.iter().any(|path| {
            path.strip_prefix(*head)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        })
    };
    IMPURE
        .iter()
        .find(|head| named(head))
        .map(ToString::to_string)
}

fn purity_findings(edges: &[&str], sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    let code = || {
        sources
            .iter()
            .filter(|s| s.path.starts_with("src/") && !s.is_test())
    };
    for source in code() {
        let listed = edges.contains(&source.path.as_str());
        match (impurity(source), listed) {
            (Some(what), false) => findings.push(format!("{}: names {what}", source.path)),
            (None, true) => findings.push(format!("{}: is pure, and listed", source.path)),
            _ => {}
        }
    }
    for edge in edges {
        if !code().any(|source| source.path == *edge) {
            findings.push(format!("{edge}: is listed, and gone"));
        }
    }
    findings
}

fn size_findings(longer: &[(&str, usize)], source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    let listed = longer.iter().find(|(path, _)| *path == source.path);
    let most = listed.map_or(FILE_LINES_MAX, |(_, most)| *most);
    if lines > most {
        findings.push(format!("{}: {lines} lines, at most {most}", source.path));
    }
    if listed.is_some() && lines <= FILE_LINES_MAX {
        findings.push(format!("{}: short enough, and listed", source.path));
    }
    findings
}

fn style_findings(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    if !source.text.starts_with("//!") {
        findings.push(format!("{}: does not open with //!", source.path));
    }
    let facts = source.facts();
    for attribute in ["ignore", "should_panic", "too_many_lines"] {
        if facts.attributes.contains(attribute) {
            findings.push(format!("{}: #[{attribute}]", source.path));
        }
    }
    let sleeps = |path: &String| path.ends_with("thread::sleep");
    if facts.paths.iter().any(sleeps) {
        findings.push(format!("{}: thread::sleep", source.path));
    }
    findings
}

#[track_caller]
fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n  {}", findings.join("\n  "));
}

#[test]
fn imports_point_up_the_page() {
    let sources = sources();
    let lib = sources.iter().find(|s| s.path == "src/lib.rs").unwrap();
    let order = order(lib);
    assert!(order["model"] < order["pipeline"] && order["pipeline"] < order["app"]);
    let findings: Vec<String> = sources
        .iter()
        .flat_map(|source| layer_findings(&order, source))
        .collect();
    assert_none(&findings);
}

#[test]
fn only_edges_touch_the_world() {
    assert_none(&purity_findings(EDGES, &sources()));
}

#[test]
fn files_are_short() {
    let findings: Vec<String> = sources()
        .iter()
        .flat_map(|source| size_findings(&LONGER_FILES, source))
        .collect();
    assert_none(&findings);
}

#[test]
fn the_house_style_holds() {
    let findings: Vec<String> = sources().iter().flat_map(style_findings).collect();
    assert_none(&findings);
    let clippy = std::fs::read_to_string(root().join(".clippy.toml")).unwrap();
    assert!(clippy.contains("too-many-lines-threshold = 70"));
}

const METRICS_BEGIN: &str = "<!-- metrics:begin -->\n";
const METRICS_END: &str = "<!-- metrics:end -->\n";

/// The reference, one level of headings deeper, without its title.
fn reference_section() -> String {
    let reference = reference();
    let (_, areas) = reference.split_once('\n').unwrap();
    areas.replace("\n## ", "\n### ").trim_start().to_owned()
}

/// Compares with the catalog; with `UPDATE_GOLDEN` set, rewrites the README.
#[test]
fn the_readme_has_the_catalog() {
    let path = root().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(METRICS_BEGIN).expect("a begin mark");
    let (section, after) = rest.split_once(METRICS_END).expect("an end mark");
    let wanted = reference_section();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let text = [before, METRICS_BEGIN, &wanted, METRICS_END, after].concat();
        std::fs::write(&path, text).unwrap();
    } else {
        for (actual, wanted) in section.lines().zip(wanted.lines()) {
            assert_eq!(actual, wanted, "run the tests with UPDATE_GOLDEN=1");
        }
        assert_eq!(section.len(), wanted.len(), "run with UPDATE_GOLDEN=1");
    }
}

/// Words of a text that look like metrics of ours.
fn metrics_named(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("genesyscloud_"))
        .collect()
}

fn is_series_of_catalog(name: &str) -> bool {
    let heads = ["_bucket", "_sum", "_count"];
    let bare = heads.iter().find_map(|tail| name.strip_suffix(tail));
    // Sent to databases, and on no page.
    REMOTE_WRITE_METRICS.contains(&name)
        || CATALOG
            .iter()
            .any(|spec| spec.prometheus_name == name || Some(spec.prometheus_name) == bare)
}

#[test]
fn the_readme_names_only_metrics_of_the_catalog() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let named = metrics_named(&readme);
    assert!(named.len() > CATALOG.len() / 2, "{named:?}");
    let strange: Vec<_> = named
        .into_iter()
        .filter(|n| !is_series_of_catalog(n))
        .collect();
    assert!(strange.is_empty(), "not in the catalog: {strange:?}");
}

/// Each check finds what it is there for.
#[test]
fn the_checks_can_fail() {
    let lib = Source::new("src/lib.rs", "//! M.\npub mod model;\npub mod store;\n");
    let order = order(&lib);
    let upward =
        "//! X.\nuse crate::model::time;\n#[cfg(test)]\nmod tests { use crate::store::X; }\n";
    let downward = "//! X.\nfn f() { crate::store::open(); }\n";
    let in_macro = "//! X.\nfn f() { say!(error = %crate::store::chain(1), \"x\"); }\n";
    let grouped = "//! X.\nuse crate::{model::time, store::Store};\n";
    let found = |path, text| layer_findings(&order, &Source::new(path, text)).len();
    assert_eq!(found("src/store/a.rs", grouped), 0);
    assert_eq!(found("src/model/a.rs", upward), 0);
    assert_eq!(found("src/model/a.rs", downward), 1);
    assert_eq!(found("src/model/a.rs", in_macro), 1);
    assert_eq!(found("src/model/a.rs", grouped), 1);
    assert_eq!(found("src/model/tests.rs", grouped), 0);
    assert_eq!(found("src/stray.rs", upward), 1);

    let pure = Source::new("src/model/a.rs", "//! Says tokio::spawn.\nfn f() {}\n");
    let impure = Source::new("src/model/b.rs", "//! X.\nuse std::{fs, fmt};\n");
    let waits = Source::new("src/model/c.rs", "//! X.\nfn f() { g(async {}); }\n");
    let all = [pure, impure, waits];
    let edges = ["src/model/a.rs", "src/model/b.rs", "src/model/d.rs"];
    assert_eq!(purity_findings(&[], &all).len(), 2);
    assert_eq!(
        purity_findings(&edges, &all),
        [
            "src/model/a.rs: is pure, and listed",
            "src/model/c.rs: names asynchronous code",
            "src/model/d.rs: is listed, and gone",
        ]
    );

    let long = format!("//! X.\n{}", "// y\n".repeat(FILE_LINES_MAX));
    let long = Source::new("src/a.rs", &long);
    assert_eq!(size_findings(&[], &long).len(), 1);
    assert_eq!(size_findings(&[("src/a.rs", 600)], &long).len(), 0);
    let short = Source::new("src/a.rs", "//! X.\n");
    assert_eq!(size_findings(&[("src/a.rs", 600)], &short).len(), 1);

    let bad = "#[test]\n#[ignore]\nfn f() { std::thread::sleep(D); }\n";
    assert_eq!(style_findings(&Source::new("tests/a.rs", bad)).len(), 3);
    let lifted = "//! X.\n#[allow(clippy::too_many_lines)]\nfn f() {}\n";
    assert_eq!(style_findings(&Source::new("src/a.rs", lifted)).len(), 1);
    assert_eq!(style_findings(&short).len(), 0);

    let text = "rate(genesyscloud_up[5m]), genesyscloud_nothing_total";
    let names: Vec<_> = metrics_named(text).into_iter().collect();
    assert_eq!(names, ["genesyscloud_nothing_total", "genesyscloud_up"]);
    assert!(is_series_of_catalog("genesyscloud_up"));
    assert!(is_series_of_catalog(
        "genesyscloud_batch_duration_seconds_bucket"
    ));
    assert!(!is_series_of_catalog("genesyscloud_nothing_total"));
}
