//! The readers that take no page that is not right to the letter.

use std::path::Path;
use std::process::Command;

/// promtool and the strict parsers of prometheus_client take a page in both formats, which say the
/// same.
pub(crate) fn take(text: &str, openmetrics: &str) {
    let directory = tempfile::tempdir().unwrap();
    let (classic, open) = (
        directory.path().join("classic.txt"),
        directory.path().join("openmetrics.txt"),
    );
    std::fs::write(&classic, text).unwrap();
    std::fs::write(&open, openmetrics).unwrap();
    promtool(&classic);
    parse(&classic, &open);
}

/// `promtool check metrics` is silent.
fn promtool(page: &Path) {
    let output = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(page).unwrap())
        .output()
        .expect("this test needs promtool, which comes with Prometheus, in PATH");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.is_empty(),
        "promtool: {said}"
    );
}

/// The strict parsers of prometheus_client read both pages, and they say the same.
fn parse(classic: &Path, open: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/parse_exposition.py");
    let output = Command::new("python3")
        .arg(script)
        .args([classic, open])
        .output()
        .expect("this test needs python3 with the package prometheus_client, in PATH");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "prometheus_client: {said}");
    assert!(said.contains("samples agree"), "{said}");
}
