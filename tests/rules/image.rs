//! The image, without an engine: what its Dockerfile copies is there, it runs as nobody special,
//! and what it would hold is the program with its libraries, and no shell.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::queries::in_repository;
use super::tools::run;

const DOCKERFILE: &str = "deploy/Dockerfile";
const PROGRAM: &str = env!("CARGO_BIN_EXE_genesys-cloud-exporter");

/// Instructions and their arguments; lines that end in \ go on.
fn instructions() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(in_repository(DOCKERFILE)).unwrap();
    let plain = text.lines().filter(|line| !line.starts_with('#'));
    let joined = plain.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let (name, rest) = line.split_once(' ').unwrap();
            (name.to_owned(), rest.trim().to_owned())
        })
        .collect()
}

/// The only arguments of an instruction in the last stage.
fn of_image(name: &str) -> String {
    let all = instructions();
    let last = all.iter().rposition(|(name, _)| name == "FROM").unwrap();
    let found: Vec<_> = all[last..].iter().filter(|(n, _)| n == name).collect();
    assert_eq!(found.len(), 1, "{name}");
    found[0].1.clone()
}

#[test]
fn hadolint_takes_the_dockerfile() {
    let arguments = ["--no-color"];
    let file = in_repository(DOCKERFILE);
    let package = "see tests/requirements.txt";
    let (content, said) = run("hadolint", package, &arguments, &[file]);
    assert!(content && said.is_empty(), "{said}");
}

#[test]
fn what_is_copied_and_run_is_there() {
    let mut copied = 0;
    for (name, arguments) in instructions() {
        match name.as_str() {
            "COPY" if !arguments.starts_with("--from=") => {
                let mut words: Vec<_> = arguments.split_whitespace().collect();
                words.pop();
                for source in words {
                    assert!(in_repository(source).exists(), "COPY {source}");
                    copied += 1;
                }
            }
            "FROM" => {
                let image = arguments.split_whitespace().next().unwrap();
                let pinned = image
                    .split_once(':')
                    .is_some_and(|(_, tag)| tag != "latest");
                assert!(image == "scratch" || pinned, "{image}");
            }
            "RUN" => {
                for script in arguments.split_whitespace() {
                    if script.starts_with("deploy/") {
                        assert!(in_repository(script).is_file(), "RUN {script}");
                        copied += 1;
                    }
                }
            }
            _ => {}
        }
    }
    assert_eq!(
        copied, 2,
        "the sources, and the script that lays the image out"
    );
}

#[test]
fn it_runs_as_a_user_without_rights_and_without_a_shell() {
    let user = of_image("USER");
    let ids: Vec<u32> = user.split(':').map(|id| id.parse().unwrap()).collect();
    assert!(ids.len() == 2 && ids.iter().all(|id| *id > 0), "{user}");
    let words: Vec<String> = serde_json::from_str(&of_image("ENTRYPOINT")).unwrap();
    let more: Vec<String> = serde_json::from_str(&of_image("CMD")).unwrap();
    assert_eq!(words, ["/usr/local/bin/genesys-cloud-exporter"]);
    assert_eq!(more[0], "run");
    assert_eq!(of_image("WORKDIR"), of_image("VOLUME"));
    let port = genesys_cloud_exporter::config::DEFAULT_LISTEN
        .rsplit(':')
        .next();
    assert_eq!(Some(of_image("EXPOSE").as_str()), port);
}

/// Files and links below a directory, relative to it.
fn files(below: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![below.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            } else {
                let name = path.strip_prefix(below).unwrap();
                found.insert(name.display().to_string());
            }
        }
    }
    found
}

#[test]
fn the_image_holds_the_program_with_its_libraries_and_certificates() {
    let directory = tempfile::tempdir().unwrap();
    let laid = directory.path().join("root");
    let script = in_repository("deploy/rootfs");
    let status = Command::new(script).arg(PROGRAM).arg(&laid).status();
    assert!(status.unwrap().success());
    let (libraries, others): (BTreeSet<_>, BTreeSet<_>) = files(&laid)
        .into_iter()
        .partition(|name| name.contains(".so."));
    let expected = [
        "etc/group",
        "etc/passwd",
        "etc/ssl/certs/ca-certificates.crt",
        "usr/local/bin/genesys-cloud-exporter",
    ];
    assert_eq!(others, expected.map(str::to_owned).into());
    // The loader too is named by the program, and found by its name.
    let (content, needed) = run("ldd", "libc-bin", &[], &[PROGRAM]);
    assert!(content, "{needed}");
    let paths = needed
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    let paths: BTreeSet<_> = paths.map(|path| path[1..].to_owned()).collect();
    assert_eq!(libraries, paths);
    assert!(paths.len() > 2, "{paths:?}");
}
