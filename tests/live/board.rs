//! The board in a real browser: it loads, follows, filters, warns, and survives a restart.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::exporter::{STOP_BOUND, Setup};
use crate::support::organisation::Organisation;

/// The script's own waits are shorter; a browser starts slowly on a busy machine.
const BOUND: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn the_board_in_a_browser() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/board");
    assert!(
        folder
            .join("node_modules/playwright-core/package.json")
            .is_file(),
        "the test needs playwright-core: run `npm ci --prefix tests/live/board`"
    );
    // Few agents work at night, and the browser shall not have to wait for one of them.
    let organisation = Organisation::simulate(&[
        "--agents",
        "60",
        "--queues",
        "5",
        "--cache-refresh",
        "1s",
        "--tempo",
        "8",
    ])
    .await;
    let mut setup = Setup::new(&organisation);
    let exporter = setup.start().await;
    exporter.wait_joined().await;
    // The same address again after the restart.
    let address = exporter.url.trim_start_matches("http://").to_owned();
    setup.set("web.listen", &format!("[\"{address}\"]"));

    let mut script = Command::new("node")
        .arg(folder.join("check.mjs"))
        .arg(format!("{}/", exporter.url))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .expect("the test needs Node: install Debian's package nodejs");
    let mut answers = script.stdin.take().unwrap();
    let mut asked = BufReader::new(script.stdout.take().unwrap()).lines();
    let mut running = Some(exporter);
    let mut passed = false;
    while let Some(line) = timeout(BOUND, asked.next_line())
        .await
        .expect("the script goes on")
        .unwrap()
    {
        match &*line {
            "break" => organisation.faults("partial=50").await,
            "mend" => organisation.faults("none").await,
            "kill" => drop(running.take().expect("it runs").process.kill()),
            "start" => running = Some(setup.start().await),
            "passed" => {
                passed = true;
                continue;
            }
            other => panic!("the script says {other:?}"),
        }
        answers.write_all(b"done\n").await.unwrap();
    }
    let status = timeout(STOP_BOUND, script.wait())
        .await
        .expect("it ends")
        .unwrap();
    assert!(status.success() && passed, "the script failed: {status}");
    running.expect("it was started again").stop().await;
    organisation.assert_polite().await;
}
