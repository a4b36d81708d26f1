//! What happens to the disk below the databases.

use std::time::Duration;

use crate::support::exporter::{Page, Setup};
use crate::support::organisation::Organisation;
use crate::support::process::{BINARY, Process, START_BOUND};
use crate::support::wait::wait_for;

/// The files are looked at every ten seconds; the rest is for a busy machine.
const NOTICED_BOUND: Duration = Duration::from_secs(40);

/// Long enough for what several polls of a second ask, on a busy machine.
const POLLS_BOUND: Duration = Duration::from_secs(60);

async fn small() -> Organisation {
    // Lively, so that there soon is something to keep.
    let arguments = [
        "--agents",
        "20",
        "--queues",
        "3",
        "--tempo",
        "12",
        "--cache-refresh",
        "1s",
    ];
    Organisation::simulate(&arguments).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_file_was_deleted_ends_the_exporter() {
    let organisation = small().await;
    for name in ["journal.db", "store.db"] {
        let setup = Setup::new(&organisation);
        let exporter = setup.start().await;
        exporter.wait_ready().await;
        std::fs::remove_file(setup.data().join(name)).unwrap();
        let (code, log) = exporter.process.exit(NOTICED_BOUND).await;
        assert_eq!(code, Some(1), "{log}");
        let says = format!("{name} was deleted or replaced while it was open");
        assert!(log.contains(&says), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// The mount is made in a namespace of its own, which needs no rights where the kernel lets users
/// have them.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_is_mounted_read_only_is_refused() {
    let organisation = small().await;
    let setup = Setup::new(&organisation);
    setup.write();
    std::fs::create_dir(setup.data()).unwrap();
    let mounted = "mount -t tmpfs -o ro none data && exec \"$0\" run --config.file config.yml";
    let arguments = ["-rm", "sh", "-c", mounted, BINARY];
    let directory = setup.directory.path();
    let process = Process::start_program("exporter", "unshare", directory, &arguments, &[]);
    let (code, log) = process.exit(START_BOUND).await;
    assert_eq!(code, Some(1), "{log}");
    for words in [
        "cannot write in the data directory",
        "Read-only",
        "store.path",
    ] {
        assert!(log.contains(words), "{words:?} is not in\n{log}");
    }
    assert_eq!(organisation.logins().await, 0, "it asked nothing");
}

/// A commit that hangs, as it does while a disk syncs: the lock of another connection makes both
/// databases' threads wait for longer than a poll.
#[tokio::test(flavor = "multi_thread")]
async fn polling_goes_on_while_commits_hang() {
    let organisation = small().await;
    let setup = Setup::new(&organisation);
    let exporter = setup.start().await;
    exporter.wait_ready().await;
    let locks = ["journal.db", "store.db"].map(|name| {
        let other = rusqlite::Connection::open(setup.data().join(name)).unwrap();
        other.busy_timeout(POLLS_BOUND).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        other
    });
    let asked = |page: &Page| {
        let labels = [("endpoint", "/api/v2/users/statuses"), ("code", "200")];
        page.sum("genesyscloud_api_requests_total", &labels)
    };
    let before = exporter.page().await;
    let enough = |page: &Page| asked(page) >= asked(&before) + 6.0;
    let what = "six polls are answered though nothing can be committed";
    let during = exporter.wait_page(what, POLLS_BOUND, enough).await;
    // Kept before it is shown: at most an append that was under way came through.
    assert!(during.accepted() <= before.accepted() + 1.0);
    assert_eq!(exporter.get("/-/healthy").await.status, 200);
    let stored = || -> i64 {
        let store = rusqlite::Connection::open(setup.data().join("store.db")).unwrap();
        store
            .query_row("SELECT count(*) FROM agent_event", [], |row| row.get(0))
            .unwrap()
    };
    // A lock of writers lets readers in.
    let at_release = stored();
    for other in locks {
        other.execute_batch("ROLLBACK").unwrap();
    }
    let caught_up = |page: &Page| page.accepted() >= before.accepted() + 6.0;
    let what = "what was asked meanwhile is shown";
    exporter.wait_page(what, POLLS_BOUND, caught_up).await;
    wait_for("events are stored again", POLLS_BOUND, async || {
        (stored() > at_release).then_some(())
    })
    .await;
    let log = exporter.process.output();
    assert!(!log.contains("panicked"), "{log}");
    exporter.stop().await;
    organisation.assert_polite().await;
}
