//! The audit takes rows that are true, and notices each kind of row that is not.

use std::collections::BTreeMap;

use genesys_cloud_exporter::clock::SystemClock;
use genesys_cloud_exporter::simulator::org::OrgSpec;
use serde_json::json;

use super::audit::{Judged, Row, audit};
use super::exporter::WINDOW_MS;
use super::organisation::{Organisation, Truth};

const WINDOWS: i64 = 30;

fn true_rows(start: i64, truth: &BTreeMap<String, Truth>) -> Vec<Row> {
    let of = |(user, truth): (&String, &Truth)| Row {
        user: user.clone(),
        start,
        end: start + WINDOW_MS,
        states: truth.states,
        unknown: 0,
        transitions: truth.starts,
        covered: WINDOW_MS,
        estimated: 0,
        volatile: false,
    };
    truth.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_notices_what_is_wrong() {
    let spec = OrgSpec {
        tempo: 20.0,
        ..OrgSpec::new(10, 3, 5)
    };
    let organisation = Organisation::serve(spec, |_| {}).await;
    let to = SystemClock::new().now().wall.0 / WINDOW_MS * WINDOW_MS;
    let from = to - WINDOWS * WINDOW_MS;
    let mut rows = Vec::new();
    for start in (from..to).step_by(WINDOW_MS as usize) {
        let truth = organisation.truth(start, start + WINDOW_MS).await;
        rows.extend(true_rows(start, &truth));
    }
    let wrong = async |rows: &[Row], judged| {
        let findings = audit(&organisation, rows, (from, to), judged).await;
        (findings.compared, findings.wrong.len())
    };
    assert_eq!(rows.len(), 300);
    assert_eq!(wrong(&rows, Judged::Exact).await, (300, 0));

    let busy = rows
        .iter()
        .position(|row| row.states[0] > 1 && row.states[2] > 1);
    let busy = busy.expect("somebody answers a call in five minutes");
    let altered = |change: &dyn Fn(&mut Row)| {
        let mut rows = rows.clone();
        change(&mut rows[busy]);
        rows
    };
    let shifted = altered(&|row| {
        row.states[0] += 1;
        row.states[2] -= 1;
    });
    assert_eq!(wrong(&shifted, Judged::Exact).await, (300, 1));
    let miscounted = altered(&|row| row.transitions += 1);
    assert_eq!(wrong(&miscounted, Judged::Exact).await, (300, 1));
    let too_long = altered(&|row| row.unknown = 1);
    assert_eq!(wrong(&too_long, Judged::Exact).await, (299, 1));
    let estimated = altered(&|row| {
        row.states.swap(0, 2);
        row.states[0] += 1;
        row.states[2] -= 1;
        row.estimated = 1;
    });
    assert_eq!(wrong(&estimated, Judged::Exact).await, (299, 0));
    assert_eq!(wrong(&estimated, Judged::Known).await, (300, 1));
    let mut twice = rows.clone();
    twice.push(rows[busy].clone());
    assert_eq!(wrong(&twice, Judged::Exact).await, (301, 1));
    let mut missing = rows.clone();
    missing.remove(busy);
    assert_eq!(wrong(&missing, Judged::Exact).await, (299, 1));
}

#[test]
fn rows_are_read_to_the_millisecond() {
    let row = json!({
        "userId": "u", "windowStart": "2024-05-14T08:30:00.000Z",
        "windowEnd": "2024-05-14T08:30:10.000Z",
        "metrics": {"availableSeconds": 4.001, "notReadySeconds": 0, "onCallSeconds": 3.999,
            "wrapUpSeconds": 1.25, "unknownSeconds": 0.75, "stateTransitions": 3},
        "quality": {"coveredSeconds": 10, "estimatedSeconds": 0.002, "volatile": true, "revision": 2},
    });
    let row = Row::parse(&row);
    assert_eq!(row.states, [4_001, 0, 3_999, 1_250]);
    assert_eq!((row.unknown, row.covered, row.estimated), (750, 10_000, 2));
    assert_eq!(row.end - row.start, WINDOW_MS);
    assert!(row.volatile && !row.is_exact());
}
