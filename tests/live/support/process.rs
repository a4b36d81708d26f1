//! A child process: its output, its signals, its end. It cannot outlive its test.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::wait::wait_for;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_genesys-cloud-exporter");

/// A start takes a fraction of a second; on a machine that does other things, longer.
pub(crate) const START_BOUND: Duration = Duration::from_secs(30);

/// Lines of output shown when a test fails.
const TAIL_LINES: usize = 60;

/// Variables that a process may need from its surroundings; all others are withheld, so that
/// the settings of whoever runs the tests are no settings of the exporter.
const INHERITED: [&str; 2] = ["PATH", "TMPDIR"];

/// A running binary. Dropping it kills it, by its own id.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts the binary in `directory`.
    pub(crate) fn start(
        name: &'static str,
        directory: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        Self::start_program(name, BINARY, directory, arguments, environment)
    }

    /// Starts a program that a Debian package of this name brings.
    pub(crate) fn tool(
        program: &'static str,
        package: &str,
        directory: &Path,
        arguments: &[&str],
    ) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
        assert!(
            found,
            "this test needs {program} in PATH: apt-get install {package}"
        );
        Self::start_program(program, program, directory, arguments, &[])
    }

    /// Starts another program in `directory`.
    pub(crate) fn start_program(
        name: &'static str,
        program: &str,
        directory: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory).env_clear();
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let mut child = command
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let readers = vec![
            read(child.stdout.take().unwrap(), &lines),
            read(child.stderr.take().unwrap(), &lines),
        ];
        Self {
            name,
            child,
            lines,
            readers,
        }
    }

    /// Everything written so far, on either stream.
    pub(crate) fn output(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The `position`-th address that it says it listens on, counted from 0.
    pub(crate) async fn listening(&mut self, position: usize) -> SocketAddr {
        let what = format!("{} says where it listens", self.name);
        wait_for(&what, START_BOUND, async || {
            let found = addresses(&self.output()).get(position).copied();
            assert!(
                found.is_some() || self.runs(),
                "{} ended before it listened:\n{}",
                self.name,
                self.output()
            );
            found
        })
        .await
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, `INT` or `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let line = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &line]).status().unwrap();
        assert!(status.success(), "{line}");
    }

    /// Waits for its end and gives back its exit code (`None`: killed) and all it wrote.
    pub(crate) async fn exit(mut self, bound: Duration) -> (Option<i32>, String) {
        let what = format!("{} ends", self.name);
        let status: ExitStatus =
            wait_for(&what, bound, async || self.child.try_wait().unwrap()).await;
        self.join();
        (status.code(), self.output())
    }

    /// Kills it on the spot (SIGKILL) and gives back all it wrote.
    pub(crate) fn kill(mut self) -> String {
        self.end();
        self.output()
    }

    fn end(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.join();
    }

    fn join(&mut self) {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let lines = self.lines.lock().unwrap();
            let tail = lines.len().saturating_sub(TAIL_LINES);
            eprintln!(
                "--- {} wrote last:\n{}",
                self.name,
                lines[tail..].join("\n")
            );
        }
    }
}

fn read(stream: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).into_owned();
            lines.lock().unwrap().push(line);
        }
    })
}

/// Addresses on lines that say `listening` (or `Listening`, as Prometheus does once it knows its
/// port), logfmt or JSON. Port 0 is a wish, not an address.
fn addresses(output: &str) -> Vec<SocketAddr> {
    let field = |line: &str| {
        let after = line
            .split_once("address=")
            .or_else(|| line.split_once("\"address\":"))?
            .1;
        let end = |c: char| c == ' ' || c == ',' || c == '}' || c == '"';
        let value = after.trim_start_matches('"').split(end).next()?;
        let address: Option<SocketAddr> = value.parse().ok();
        address.filter(|address| address.port() != 0)
    };
    output
        .lines()
        .filter(|line| line.contains("listening") || line.contains("Listening"))
        .filter_map(field)
        .collect()
}

#[test]
fn addresses_are_read_from_both_formats() {
    let output = "ts=2024-05-14T08:30:00.000Z level=info msg=listening address=127.0.0.1:4711\n\
                  address=127.0.0.1:1\n\
                  msg=\"Start listening for connections\" address=127.0.0.1:0\n\
                  msg=\"Listening on\" address=127.0.0.1:4713\n\
                  {\"level\":\"info\",\"msg\":\"listening\",\"address\":\"[::1]:4712\"}\n";
    let found: Vec<String> = addresses(output).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["127.0.0.1:4711", "127.0.0.1:4713", "[::1]:4712"]);
}
