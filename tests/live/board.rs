//! The board in a real browser: it loads, follows, filters, warns, and survives a restart.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::queue::{aggregator, organisation, part};
use crate::support::broker::Broker;
use crate::support::cluster::Cluster;
use crate::support::exporter::{STOP_BOUND, Setup};
use crate::support::organisation::Organisation;

/// The script's own waits are shorter; a browser starts slowly on a busy machine.
const BOUND: Duration = Duration::from_secs(120);

/// A script that drives a browser.
fn script(name: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/board");
    assert!(
        folder
            .join("node_modules/playwright-core/package.json")
            .is_file(),
        "the test needs playwright-core: run `npm ci --prefix tests/live/board`"
    );
    let mut script = Command::new("node");
    script.arg(folder.join(name)).kill_on_drop(true);
    script
}

/// Runs one to its end; it must say that it passed.
pub(crate) async fn run_script(name: &str, arguments: &[String]) {
    let output = script(name).args(arguments).output();
    let output = timeout(BOUND, output).await.expect("it ends");
    let output = output.expect("the test needs Node: install Debian's package nodejs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("passed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_boards_of_an_aggregator_and_of_a_standby_say_where_agents_are_shown() {
    let organisation = organisation("82").await;
    let (broker, cluster) = (Broker::start().await, Cluster::start());
    let poller = part(&organisation, &broker, "poller").start().await;
    poller.wait_joined().await;
    let standby = part(&organisation, &broker, "poller").start().await;
    let aggregator = aggregator(&organisation, &broker, &cluster).start().await;
    aggregator.wait_ready().await;
    let boards = [&aggregator, &standby].map(|exporter| format!("{}/", exporter.url));
    run_script("elsewhere.mjs", &boards).await;
    for exporter in [aggregator, standby, poller] {
        exporter.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_board_in_a_browser() {
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

    let mut script = script("check.mjs")
        .arg(format!("{}/", exporter.url))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
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
