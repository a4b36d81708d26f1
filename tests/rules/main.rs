//! Rules, their tests, runbooks and the Alertmanager example, and what is deployed: what the tools
//! of each say, and what they do not look at.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod agreement; // with the catalog, the runbooks, the dashboards, each other
mod compose; //   the compose stack, without an engine
mod files; //     the shipped files, parsed
mod image; //     the image, without an engine
mod kubernetes; // the manifests, as kustomize builds them
#[path = "../dashboards/queries.rs"]
#[allow(dead_code, reason = "shared with the tests of the dashboards")]
mod queries; //   names in expressions
mod roles; //     the configurations in the manifests
mod systemd; //   the unit
mod tools; //     promtool and amtool
