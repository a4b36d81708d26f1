//! rotel, a real OpenTelemetry collector: another implementation decodes what the exporter sends.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::process::{Process, START_BOUND};
use super::wait::wait_for;

/// It takes no port 0, so a free port is looked for; another process may be quicker.
const STARTS_MAX: usize = 5;

/// A collector that forwards every request, as it is, to another one.
#[derive(Debug)]
pub(crate) struct Rotel {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    process: Process,
    _directory: TempDir,
}

impl Rotel {
    /// Starts it and waits until it takes connections.
    pub(crate) async fn start(next: SocketAddr) -> Self {
        let program = program();
        for _ in 0..STARTS_MAX {
            if let Some(rotel) = Self::try_start(&program, next).await {
                return rotel;
            }
        }
        panic!("rotel found no free port in {STARTS_MAX} starts");
    }

    async fn try_start(program: &str, next: SocketAddr) -> Option<Self> {
        let (http, grpc) = (free_address(), free_address());
        let texts = [http.to_string(), grpc.to_string(), format!("http://{next}")];
        let arguments = [
            "start",
            "--otlp-http-endpoint",
            &texts[0],
            "--otlp-grpc-endpoint",
            &texts[1],
            "--exporter",
            "otlp",
            "--otlp-exporter-endpoint",
            &texts[2],
            "--otlp-exporter-protocol",
            "http",
            "--disable-batching",
        ];
        let directory = tempfile::tempdir().unwrap();
        let process = Process::start_program("rotel", program, directory.path(), &arguments, &[]);
        let mut rotel = Self {
            http,
            grpc,
            process,
            _directory: directory,
        };
        let started = wait_for("rotel takes connections", START_BOUND, async || {
            if !rotel.process.runs() {
                let output = rotel.process.output();
                assert!(
                    output.contains("Address already in use"),
                    "rotel ended:\n{output}"
                );
                return Some(false);
            }
            let (http, grpc) = (
                TcpStream::connect(http).await,
                TcpStream::connect(grpc).await,
            );
            (http.is_ok() && grpc.is_ok()).then_some(true)
        });
        started.await.then_some(rotel)
    }

    /// Ends it (SIGTERM); it must have passed everything on.
    pub(crate) async fn stop(self) {
        self.process.signal("TERM");
        let (code, output) = self.process.exit(START_BOUND).await;
        assert_eq!(code, Some(0), "{output}");
    }
}

/// The package brings the program, and no command for it.
fn program() -> String {
    let script = "import importlib.util, os\n\
                  found = importlib.util.find_spec('rotel')\n\
                  print(os.path.join(os.path.dirname(found.origin), 'rotel-agent') if found else '')";
    let output = Command::new("python3").args(["-c", script]).output();
    let output = output.expect("this test needs python3 in PATH");
    let program = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(
        output.status.success() && std::path::Path::new(&program).is_file(),
        "this test needs rotel: pip install rotel==0.0.1a15 (and libpython3.11, which it links)"
    );
    program
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
