//! A PostgreSQL of a test's own: a fresh cluster in a temporary directory, reached by a Unix
//! socket in it (so there is no port to collide on), run as the user `postgres` where the test is
//! root, and ended by its own process id. Uses nothing of the crate, so unit tests share it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Looks at a start before it has failed: at least a minute, where a second or two is usual.
const LOOKS_MAX: u32 = 1_200;

/// Between two looks at whether the server is up or gone.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A running server, or one that is stopped for a while.
#[derive(Debug)]
pub(crate) struct Cluster {
    directory: tempfile::TempDir,
    programs: PathBuf,
    settings: Vec<String>,
    port: u16,
    server: Option<Child>,
}

impl Cluster {
    /// A fresh cluster, started. Processes are killed in tests, machines are not: so it need not
    /// wait for the disk.
    pub(crate) fn start() -> Self {
        let mut cluster = Self::prepare(&["fsync=off"]);
        cluster.resume();
        cluster
    }

    /// The same, waiting for the disk as servers do.
    pub(crate) fn start_durable() -> Self {
        let mut cluster = Self::prepare(&[]);
        cluster.resume();
        cluster
    }

    /// A fresh cluster with settings of its own, not started yet.
    pub(crate) fn prepare(settings: &[&str]) -> Self {
        let programs = programs();
        let directory = tempfile::tempdir().unwrap();
        let cluster = Self {
            directory,
            programs,
            settings: settings.iter().map(ToString::to_string).collect(),
            port: 5432,
            server: None,
        };
        let path = cluster.path();
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(path));
        }
        let data = path.join("data");
        run(cluster
            .command("initdb")
            .args(["--no-sync", "--auth=trust", "--username=postgres"])
            .args(["--encoding=UTF8", "--locale=C.UTF-8", "--pgdata"])
            .arg(data));
        cluster
    }

    /// Has it listen on a port of loopback too, from its next start on.
    pub(crate) fn listen(&mut self, port: u16) {
        self.settings.push("listen_addresses=127.0.0.1".to_owned());
        self.settings.push(format!("port={port}"));
        self.port = port;
    }

    /// A file in its data directory that only the server may read.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let path = self.path().join("data").join(name);
        std::fs::write(&path, text).unwrap();
        run(Command::new("chmod").arg("0600").arg(&path));
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(&path));
        }
    }

    /// Starts it, for the first time or again.
    pub(crate) fn resume(&mut self) {
        assert!(self.server.is_none(), "it runs");
        let mut looks = 0;
        loop {
            let mut server = self.spawn();
            loop {
                if self.is_ready(&server) {
                    self.server = Some(server);
                    return;
                }
                looks += 1;
                assert!(looks < LOOKS_MAX, "PostgreSQL does not start");
                // Processes of one that was killed may hold its memory for a moment still.
                if server.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::park_timeout(LOOK_EVERY);
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    fn spawn(&self) -> Child {
        let path = self.path();
        let mut command = self.command("postgres");
        command.arg("-D").arg(path.join("data"));
        command.arg("-k").arg(path);
        let usual = [
            "listen_addresses=",
            "max_connections=40",
            "shared_buffers=32MB",
            "unix_socket_permissions=0777",
        ];
        for setting in usual
            .iter()
            .copied()
            .chain(self.settings.iter().map(String::as_str))
        {
            command.arg("-c").arg(setting);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Its own word for it: the last line of the file that names its process.
    fn is_ready(&self, server: &Child) -> bool {
        let note = std::fs::read_to_string(self.path().join("data/postmaster.pid"));
        note.is_ok_and(|note| {
            let lines: Vec<&str> = note.lines().map(str::trim).collect();
            lines.first() == Some(&server.id().to_string().as_str())
                && lines.get(7) == Some(&"ready")
        })
    }

    /// Ends it as an operator does: connections are cut, all is written.
    pub(crate) fn stop(&mut self) {
        self.end("INT");
    }

    /// The server, which runs, and what serves its connections.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let server = self.server.as_ref().expect("it runs").id();
        std::iter::once(server).chain(children(server)).collect()
    }

    /// Kills it on the spot, and with it who serves its connections: each of these notices the
    /// end only between two statements, and would take one more.
    pub(crate) fn kill(&mut self) {
        let ids = self.processes();
        let mut server = self.server.take().expect("it runs");
        let ids = ids.iter().map(ToString::to_string);
        // One of them may be gone by itself already.
        let _ = Command::new("kill")
            .arg("-KILL")
            .args(ids)
            .output()
            .unwrap();
        server.wait().unwrap();
    }

    fn end(&mut self, signal: &str) {
        let mut server = self.server.take().expect("it runs");
        let id = server.id().to_string();
        run(Command::new("kill").arg(format!("-{signal}")).arg(id));
        server.wait().unwrap();
    }

    /// What `store.url_file` holds for a database of it.
    pub(crate) fn url(&self, database: &str) -> String {
        let socket: String =
            url::form_urlencoded::byte_serialize(self.path().to_str().unwrap().as_bytes())
                .collect();
        format!("postgresql://postgres@localhost/{database}?host={socket}&sslmode=disable")
    }

    /// What `psql` prints: a line a row, columns between bars.
    pub(crate) fn ask(&self, database: &str, sql: &str) -> String {
        let output = Command::new(self.programs.join("psql"))
            .args([
                "-X",
                "-A",
                "-t",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "postgres",
            ])
            .arg("-h")
            .arg(self.path())
            .args(["-p", &self.port.to_string(), "-d", database, "-c", sql])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {told}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// Has another program hold a table until it is dropped, so that whoever writes to it waits.
    pub(crate) fn hold(&self, database: &str, table: &str) -> Holder {
        // The server looks whether the program is still there, or it would sleep to the end.
        let sql = format!(
            "SET client_connection_check_interval = '100ms'; \
             BEGIN; LOCK TABLE {table}; SELECT pg_sleep(300)"
        );
        let program = Command::new(self.programs.join("psql"))
            .args(["-X", "-q", "-U", "postgres", "-h"])
            .arg(self.path())
            .args(["-p", &self.port.to_string(), "-d", database, "-c", &sql])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let held = format!(
            "SELECT count(*) FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' \
             AND relation = '{table}'::regclass"
        );
        let mut looks = 0;
        while self.ask(database, &held) == "0" {
            looks += 1;
            assert!(looks < LOOKS_MAX, "nobody holds {table}");
            std::thread::park_timeout(LOOK_EVERY);
        }
        Holder(program)
    }

    /// Where it lives.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A program of PostgreSQL, which refuses to be root.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        if !is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
            .arg(program)
            .current_dir("/");
        command
    }
}

/// Another program that holds a table until this is dropped.
#[derive(Debug)]
pub(crate) struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let id = server.id().to_string();
            // At once, and its children with it.
            let _ = Command::new("kill").arg("-QUIT").arg(id).status();
            let _ = server.wait();
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
}

/// Processes that this one started, as they stand in the fourth field behind their names.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap();
    let child = |entry: std::io::Result<std::fs::DirEntry>| {
        let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let of = status.rsplit_once(')')?.1.split_whitespace().nth(1)?;
        (of == parent.to_string()).then_some(id)
    };
    processes.filter_map(child).collect()
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

/// Where Debian keeps the newest version's programs.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let newest = versions
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            let programs = path.join("bin");
            programs
                .join("postgres")
                .is_file()
                .then_some((version, programs))
        })
        .max();
    newest
        .expect("this test needs PostgreSQL: apt-get install postgresql-15")
        .1
}
