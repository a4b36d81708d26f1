//! The Grafana dashboards: this target makes them, and checks what is committed.
//!
//! `dashboards/*.json` is generated from the modules below. Write it anew after a change with
//! `UPDATE_DASHBOARDS=1 cargo test --test dashboards`. Whether each query returns data is seen in
//! `tests/live/dashboards.rs`; here is what can be said without a server.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod agents; //       Agent detail
mod availability; // Availability
mod dashboard; //    rows, variables, links
mod lint; //         what every dashboard keeps to
mod panel; //        panels as data
mod pipeline; //     Pipeline health
#[allow(
    dead_code,
    reason = "shared with the live tests and those of the rules"
)]
mod queries; //      what is asked, read from the files

use serde_json::Value;

use queries::in_repository;

/// File names and what belongs in them.
fn generated() -> [(&'static str, Value); 3] {
    [
        ("availability.json", availability::build()),
        ("pipeline-health.json", pipeline::build()),
        ("agent-detail.json", agents::build()),
    ]
}

#[test]
fn the_committed_dashboards_are_the_generated_ones() {
    let update = std::env::var_os("UPDATE_DASHBOARDS").is_some();
    for (name, dashboard) in generated() {
        let path = in_repository("dashboards").join(name);
        let text = serde_json::to_string_pretty(&dashboard).unwrap() + "\n";
        if update {
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "dashboards/{name} is not what tests/dashboards makes: UPDATE_DASHBOARDS=1 cargo test --test dashboards"
        );
    }
    let files = queries::dashboards();
    assert_eq!(
        files.len(),
        generated().len(),
        "no other JSON in dashboards/"
    );
}
