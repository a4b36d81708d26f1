//! The official SDKs of the platform against the simulated organisation: our wire format is theirs.
//!
//! Each SDK runs in a script of its own (`sdk/check.py`, `sdk/check.js`) with a home of its own,
//! because both read settings from there and one of them watches all that is in it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::organisation::{CLIENT_ID, CLIENT_SECRET, Organisation};

/// Python with the SDK: this variable, or `python3`.
const PYTHON: (&str, &str) = ("SDK_PYTHON", "python3");
/// What it must have.
const PYTHON_PACKAGES: &str = "PureCloudPlatformClientV2==269.0.0 websockets==17.4";

/// `node_modules` with the SDK: this variable, or this folder of the repository.
const NODE_MODULES: (&str, &str) = ("SDK_NODE_MODULES", "target/ci/node/node_modules");
/// What must be in it.
const NODE_PACKAGES: &str = "purecloud-platform-client-v2@262.0.0 ws@8.23.0";

const AGENTS: &str = "60";

/// An organisation in which everybody does something within seconds.
async fn lively(faults: &str) -> Organisation {
    Organisation::simulate(&[
        "--agents",
        AGENTS,
        "--queues",
        "5",
        "--tempo",
        "60",
        "--dialect",
        "platform",
        "--faults",
        faults,
    ])
    .await
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn python() -> OsString {
    let python = variable(PYTHON.0).unwrap_or_else(|| PYTHON.1.into());
    let imports = "import importlib.util as u, sys; \
        sys.exit(not all(map(u.find_spec, ('PureCloudPlatformClientV2', 'websockets'))))";
    let found = Command::new(&python).args(["-c", imports]).status();
    assert!(
        found.is_ok_and(|status| status.success()),
        "the test needs a Python with the official SDK: run `python3 -m pip install {PYTHON_PACKAGES}`, \
         or name one that has it in {}",
        PYTHON.0
    );
    python
}

fn node_modules() -> PathBuf {
    let modules =
        variable(NODE_MODULES.0).map_or_else(|| root().join(NODE_MODULES.1), PathBuf::from);
    let there = |package: &str| modules.join(package).join("package.json").is_file();
    assert!(
        there("purecloud-platform-client-v2") && there("ws"),
        "the test needs Node with the official SDK: run `npm install --prefix target/ci/node {NODE_PACKAGES}`, \
         or name a node_modules that has it in {}",
        NODE_MODULES.0
    );
    modules
}

/// Runs a script against an organisation; all but `environment` is withheld.
async fn run(
    program: OsString,
    script: &str,
    organisation: &Organisation,
    environment: &[(&str, &OsStr)],
) -> Output {
    let home = tempfile::tempdir().unwrap();
    for settings in [".genesyscloudpython", ".genesyscloudjavascript"] {
        std::fs::create_dir(home.path().join(settings)).unwrap();
    }
    let mut command = Command::new(&program);
    command
        .arg(root().join("tests/live/sdk").join(script))
        .args([&organisation.url, CLIENT_ID, CLIENT_SECRET, AGENTS])
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", variable("PATH").unwrap_or_default())
        .envs(environment.iter().copied());
    // Both scripts have bounds of their own for all that they wait for.
    let output = tokio::task::spawn_blocking(move || command.output());
    output
        .await
        .unwrap()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

async fn run_python(organisation: &Organisation) -> Output {
    run(python(), "check.py", organisation, &[]).await
}

async fn run_node(organisation: &Organisation) -> Output {
    let modules = node_modules();
    run(
        "node".into(),
        "check.js",
        organisation,
        &[("NODE_PATH", modules.as_os_str())],
    )
    .await
}

fn assert_parsed(output: &Output) {
    let told = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{complaint}");
    assert!(told.ends_with("all calls parsed\n"), "{told}\n{complaint}");
}

fn assert_refused(output: &Output, what: &str) {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains(what), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_parses_every_answer() {
    let organisation = lively("none").await;
    assert_parsed(&run_python(&organisation).await);
    organisation.assert_polite().await;
    // The check is one: it notices what the SDK itself passes over in silence.
    organisation.faults("unknown-state=100").await;
    assert_refused(
        &run_python(&organisation).await,
        "an enum that the SDK does not know",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_sdk_gets_every_answer() {
    let organisation = lively("none").await;
    assert_parsed(&run_node(&organisation).await);
    organisation.assert_polite().await;
    organisation.faults("expand-missing=100").await;
    assert_refused(
        &run_node(&organisation).await,
        "entities.*.routingStatus.startTime is missing",
    );
}
