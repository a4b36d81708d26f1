//! An aggregator that dies at each point, one life after the other, and sends windows on.

use std::collections::BTreeSet;

use super::embedded::measure;
use super::life::{DEADLINE, assert_died};
use super::parts::Line;
use super::tables::Feed;
use crate::remote_write::scripted;
use crate::support::broker::Broker;
use crate::support::cluster::Cluster;
use crate::support::wait::wait_for;

/// Where the poller waits until remote write knows what it is to send: all that closes from here.
const SENDS_FROM: i64 = 45;

/// Lives before that: in the second of two migrations of an empty database, then over batches.
const DEATHS: [&str; 5] = ["p9:1", "p9:2", "p5:4", "p6:5", "p7:3"];

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_that_dies_at_any_point_leaves_the_same_tables() {
    let (broker, cluster) = (Broker::start().await, Cluster::start());
    let line = Line::new("points", &broker, &cluster);
    let (url, script) = scripted(&[]).await;
    let sends = format!(", remote_write: {{ url: \"{url}\" }}");
    let disturbed = async {
        let poller = line.poller(&[SENDS_FROM]);
        for at in DEATHS {
            let aggregator = line.aggregator(Some(at), "");
            assert_died(aggregator.process.exit(DEADLINE).await, at);
        }
        // Nothing moves any more when remote write looks for the first time.
        let records = poller.reached(SENDS_FROM).await;
        let aggregator = line.aggregator(None, "");
        wait_for("all is stored so far", DEADLINE, async || {
            let floor = line.ask("SELECT coalesce(sum(floor), 0) FROM producer");
            (floor.parse::<u64>().unwrap() >= records).then_some(())
        })
        .await;
        aggregator.done().await;
        let at = "p8:3";
        let aggregator = line.aggregator(Some(at), &sends);
        wait_for("remote write has begun", DEADLINE, async || {
            (line.ask("SELECT count(*) FROM remote_write") == "1").then_some(())
        })
        .await;
        let from = line.ask("SELECT sent_until FROM remote_write");
        poller.go_on(SENDS_FROM);
        assert_died(aggregator.process.exit(DEADLINE).await, at);
        let before = script.lock().unwrap().bodies.clone();
        let aggregator = line.aggregator(None, &sends);
        poller.done().await;
        let windows = format!(
            "SELECT count(DISTINCT window_end) FROM agent_window \
             WHERE extract(epoch FROM window_end) * 1000 > {from}"
        );
        let windows: usize = line.ask(&windows).parse().unwrap();
        wait_for("every window is sent", DEADLINE, async || {
            let bodies = &script.lock().unwrap().bodies;
            (bodies.len() > windows).then_some(())
        })
        .await;
        aggregator.done().await;
        (before, windows)
    };
    let (measure, (before, windows)) = tokio::join!(measure(), disturbed);
    let bodies = script.lock().unwrap().bodies.clone();
    // The third was taken and not noted, so it came again as it was; all others came once.
    assert_eq!(before.len(), 3);
    assert_eq!(bodies[3], before[2], "the same again");
    let distinct: BTreeSet<_> = bodies.iter().map(|(_, body)| body.clone()).collect();
    assert_eq!((bodies.len(), distinct.len()), (windows + 1, windows));
    line.tables().assert_same(&measure, Feed::Same, line.name);
}
