//! The unit of systemd: valid, hardened, and in agreement with the program.

use std::path::PathBuf;

use genesys_cloud_exporter::cli::{Command, Exit, parse};
use genesys_cloud_exporter::config::Environment;

use super::queries::in_repository;
use super::tools::run;

const UNIT: &str = "deploy/systemd/genesys-cloud-exporter.service";

/// Where packages put the program, and where it stands here.
const INSTALLED: &str = "/usr/bin/genesys-cloud-exporter";
const BUILT: &str = env!("CARGO_BIN_EXE_genesys-cloud-exporter");

/// What `systemd-analyze security` may say; 10 is a service without any restriction. 1.1 are left of
/// one that opens connections and may change its own files.
const EXPOSURE_MAX: f64 = 1.2;

fn unit() -> String {
    std::fs::read_to_string(in_repository(UNIT)).unwrap()
}

/// Values of a key, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .collect()
}

fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    let found = values(unit, key);
    assert_eq!(found.len(), 1, "{key}");
    found[0]
}

/// Writes a unit into a directory of its own.
fn written(unit: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("genesys-cloud-exporter.service");
    std::fs::write(&file, unit).unwrap();
    (directory, file)
}

/// What `systemd-analyze security` says of a unit.
fn exposure(unit: &str) -> f64 {
    let (_directory, file) = written(unit);
    let arguments = ["security", "--offline=true", "--no-pager"];
    let (content, said) = run("systemd-analyze", "systemd", &arguments, &[file]);
    assert!(content, "{said}");
    let figure = said
        .lines()
        .find_map(|line| line.split_once("Overall exposure level for "))
        .and_then(|(_, rest)| rest.split_whitespace().nth(1));
    let figure = figure.unwrap_or_else(|| panic!("no figure in {said}"));
    figure.parse().unwrap()
}

#[test]
fn the_unit_is_hardened() {
    let unit = unit();
    let own = exposure(&unit);
    assert!(own <= EXPOSURE_MAX, "{own}");
    // The figure notices what is taken away.
    let soft: Vec<_> = unit
        .lines()
        .filter(|line| !line.starts_with("Protect") && !line.starts_with("SystemCall"))
        .collect();
    assert!(exposure(&soft.join("\n")) > EXPOSURE_MAX + 1.0);
}

/// As installed, but for the place of the program.
#[test]
fn systemd_takes_the_unit() {
    let verify = |unit: &str| {
        let (_directory, file) = written(unit);
        run(
            "systemd-analyze",
            "systemd",
            &["verify", "--man=no"],
            &[file],
        )
    };
    let here = unit().replace(INSTALLED, BUILT);
    let (content, said) = verify(&here);
    assert!(content && said.is_empty(), "{said}");
    // A misspelt key is only a warning.
    let (_, said) = verify(&here.replace("ProtectHome=", "ProtectHouse="));
    assert!(said.contains("ProtectHouse"), "{said}");
}

#[test]
fn the_unit_agrees_with_the_program() {
    let unit = unit();
    let start: Vec<_> = value(&unit, "ExecStart").split_whitespace().collect();
    assert_eq!(start[0], INSTALLED);
    match parse(&start, &Environment::new()) {
        Ok(Command::Run(args)) => assert_eq!(
            args.file,
            Some("/etc/genesys-cloud-exporter/config.yml".into())
        ),
        other => panic!("{other:?}"),
    }
    // A wrong configuration is not tried again, and everything else that fails is.
    assert_eq!(value(&unit, "Restart"), "on-failure");
    let given_up = value(&unit, "RestartPreventExitStatus");
    assert_eq!(given_up, (Exit::Usage as u8).to_string());
    assert!(value(&unit, "ExecReload").ends_with("'kill -HUP $MAINPID'"));
    // The default of store.path counts from the state directory.
    let state = value(&unit, "StateDirectory");
    assert_eq!(value(&unit, "WorkingDirectory"), format!("%S/{state}"));
    // The name that the program looks for, from a file that is not in the repository.
    let credentials = values(&unit, "LoadCredential");
    assert_eq!(
        credentials,
        ["client_secret:/etc/genesys-cloud-exporter/client_secret"]
    );
    assert!(!unit.contains("GENESYSCLOUD_CLIENT_SECRET"));
}
