//! The configurations that the Kubernetes manifests bring: what they name is mounted, and the
//! program takes them.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::kubernetes::{built, workloads};

const PROGRAM: &str = env!("CARGO_BIN_EXE_genesys-cloud-exporter");

/// What stands in a secret, by its key.
fn secret(key: &str) -> &'static str {
    match key {
        "client_secret" => "not-a-secret\n",
        "url" => "postgresql://exporter:not-a-secret@db.example:5432/genesys\n",
        other => panic!("no idea what {other} holds"),
    }
}

/// Lays out below `root` what a pod mounts. Where each mount stands in the pod.
fn lay_out(root: &Path, all: &[Value], pod: &Value) -> Vec<String> {
    let volumes = pod["volumes"].as_array().unwrap();
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let mut places = Vec::new();
    for mount in mounts {
        let place = mount["mountPath"].as_str().unwrap();
        let folder = root.join(&place[1..]);
        std::fs::create_dir_all(&folder).unwrap();
        places.push(place.to_owned());
        let named = |volume: &&Value| volume["name"] == mount["name"];
        // Of a claim there is nothing to lay out.
        let Some(volume) = volumes.iter().find(named) else {
            continue;
        };
        for item in volume["secret"]["items"].as_array().into_iter().flatten() {
            let path = folder.join(item["path"].as_str().unwrap());
            let mut options = std::fs::OpenOptions::new();
            let file = options.create_new(true).write(true).mode(0o400).open(path);
            let text = secret(item["key"].as_str().unwrap());
            file.unwrap().write_all(text.as_bytes()).unwrap();
        }
        let wanted = &volume["configMap"]["name"];
        let map = all
            .iter()
            .find(|one| one["kind"] == "ConfigMap" && one["metadata"]["name"] == *wanted);
        for (name, text) in map.iter().flat_map(|map| map["data"].as_object().unwrap()) {
            std::fs::write(folder.join(name), text.as_str().unwrap()).unwrap();
        }
    }
    places
}

/// Paths in the configuration are those in the pod, so they are put below `root` first.
#[test]
fn the_program_takes_the_configurations() {
    let all = built();
    for workload in workloads(&all) {
        let pod = &workload["spec"]["template"]["spec"];
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let places = lay_out(root, &all, pod);
        let arguments = pod["containers"][0]["args"].as_array().unwrap();
        let file = root.join(&arguments[2].as_str().unwrap()[1..]);
        let mut text = std::fs::read_to_string(&file).unwrap();
        for place in &places {
            text = text.replace(place, root.join(&place[1..]).to_str().unwrap());
        }
        std::fs::write(&file, text).unwrap();
        let output = Command::new(PROGRAM)
            .args(["check", "config"])
            .arg(&file)
            .env_clear()
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let effective = String::from_utf8_lossy(&output.stdout);
        let effective: Value = serde_saphyr::from_str(&effective).unwrap();
        let labels = &workload["metadata"]["labels"];
        assert_eq!(effective["role"], labels["app.kubernetes.io/component"]);
        let port = &pod["containers"][0]["ports"][0]["containerPort"];
        assert_eq!(effective["web"]["listen"][0], format!("0.0.0.0:{port}"));
    }
}
