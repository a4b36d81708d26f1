//! What happens to the disk below the databases.

use std::time::Duration;

use crate::support::exporter::Setup;
use crate::support::organisation::Organisation;

/// The files are looked at every ten seconds; the rest is for a busy machine.
const NOTICED_BOUND: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_file_was_deleted_ends_the_exporter() {
    let arguments = ["--agents", "20", "--queues", "3", "--cache-refresh", "1s"];
    let organisation = Organisation::simulate(&arguments).await;
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
