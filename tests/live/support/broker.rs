//! A NATS server of a test's own: with JetStream in a temporary directory, on a port that the
//! system chose, and ended by its own process id.

use std::path::{Path, PathBuf};

use super::process::{Process, START_BOUND};
use super::wait::wait_for;

/// A running server, or one that is away for a while.
#[derive(Debug)]
pub(crate) struct Broker {
    directory: tempfile::TempDir,
    port: u16,
    server: Option<Process>,
}

impl Broker {
    /// A fresh server.
    pub(crate) async fn start() -> Self {
        let mut broker = Self {
            directory: tempfile::tempdir().unwrap(),
            port: 0,
            server: None,
        };
        broker.resume().await;
        broker
    }

    /// Starts it again, on the same port and with what it has kept.
    pub(crate) async fn resume(&mut self) {
        assert!(self.server.is_none(), "it runs");
        // -1 lets it choose, and it tells by a file.
        let port = match self.port {
            0 => "-1".to_owned(),
            port => port.to_string(),
        };
        let path = self.path().to_owned();
        let ports = path.to_str().unwrap();
        let arguments = [
            "-a",
            "127.0.0.1",
            "-p",
            &port,
            "-js",
            "-sd",
            "kept",
            "--ports_file_dir",
            ports,
        ];
        let server = Process::tool("nats-server", "nats-server", &path, &arguments);
        self.port = wait_for("NATS listens", START_BOUND, async || {
            let said = server.output();
            said.contains("Server is ready").then_some(())?;
            port_told(&path)
        })
        .await;
        self.server = Some(server);
    }

    /// Kills it on the spot.
    pub(crate) fn kill(&mut self) {
        self.server.take().expect("it runs").kill();
        for file in port_files(self.path()) {
            std::fs::remove_file(file).unwrap();
        }
    }

    /// Forgets all that it has kept. It must not run.
    pub(crate) fn wipe(&mut self) {
        assert!(self.server.is_none(), "it runs");
        std::fs::remove_dir_all(self.path().join("kept")).unwrap();
    }

    /// What `queue.url` says.
    pub(crate) fn url(&self) -> String {
        format!("\"nats://127.0.0.1:{}\"", self.port)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

fn port_files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "ports"))
        .collect()
}

fn port_told(directory: &Path) -> Option<u16> {
    let text = std::fs::read_to_string(port_files(directory).first()?).ok()?;
    let told: serde_json::Value = serde_json::from_str(&text).ok()?;
    let url = url::Url::parse(told["nats"][0].as_str()?).ok()?;
    url.port()
}
