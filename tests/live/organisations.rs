//! Several organisations in one process: each has all to itself, and shares only the front.

use std::collections::BTreeSet;
use std::time::Duration;

use genesys_cloud_exporter::clock::SystemClock;

use crate::board::run_script;
use crate::postgres::keep_in;
use crate::support::broker::Broker;
use crate::support::cluster::Cluster;
use crate::support::exporter::{Exporter, Page, Setup};
use crate::support::http::rfc3339;
use crate::support::organisation::{CLIENT_ID, CLIENT_SECRET, Organisation};
use crate::support::process::{Process, START_BOUND};
use crate::support::strict;
use crate::support::wait::wait_for;

const BOUND: Duration = Duration::from_secs(60);

/// Agents of the two.
const NORTH: f64 = 30.0;
const SOUTH: f64 = 50.0;

const JOINED: &str = "genesyscloud_routing_join_coverage_ratio";

async fn organisation(agents: f64, seed: &str) -> Organisation {
    let agents = agents.to_string();
    let arguments = [
        "--agents",
        &agents,
        "--queues",
        "4",
        "--seed",
        seed,
        "--cache-refresh",
        "1s",
    ];
    Organisation::simulate(&arguments).await
}

fn setup(north: &Organisation, south: &Organisation) -> Setup {
    let mut setup = Setup::new(north);
    for path in ["api_url", "login_url", "client_id", "client_secret_file"] {
        setup.unset(&format!("source.{path}"));
    }
    let item = |name: &str, of: &Organisation| {
        let url = &of.url;
        format!("{{ name: {name}, client_id: {CLIENT_ID}, api_url: '{url}', login_url: '{url}' }}")
    };
    let (north, south) = (item("north", north), item("south", south));
    setup
        .set("sources", &format!("[{north}, {south}]"))
        .set("web.enable_lifecycle", "true")
        .set_variable("GENESYSCLOUD_CLIENT_SECRET_NORTH", CLIENT_SECRET)
        .set_variable("GENESYSCLOUD_CLIENT_SECRET_SOUTH", CLIENT_SECRET);
    setup
}

async fn wait_joined(exporter: &Exporter) -> Page {
    exporter
        .wait_page("both are joined", START_BOUND, |page| {
            ["north", "south"]
                .iter()
                .all(|org| page.get(JOINED, &[("org", org)]) == Some(1.0))
        })
        .await
}

fn agents(page: &Page, org: &str) -> f64 {
    page.sum("genesyscloud_agents", &[("org", org)])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_has_series_rows_and_files_of_its_own() {
    let (north, south) = (
        organisation(NORTH, "1").await,
        organisation(SOUTH, "2").await,
    );
    let setup = setup(&north, &south);
    let exporter = setup.start().await;
    let page = wait_joined(&exporter).await;
    series(&exporter, &page).await;
    board(&exporter).await;
    lists(&exporter).await;
    windows(&exporter).await;
    for org in ["north", "south"] {
        assert!(setup.data().join(org).join("store.db").exists(), "{org}");
    }
    exporter.assert_no_loss().await;
    let output = exporter.stop().await;
    for org in ["north", "south"] {
        assert!(output.contains(&format!("org={org}")), "{output}");
    }
    north.assert_polite().await;
    south.assert_polite().await;

    // Counters go on where they were.
    let counted =
        |page: &Page, org: &str| page.sum("genesyscloud_state_time_seconds_total", &[("org", org)]);
    let exporter = setup.start().await;
    let again = wait_joined(&exporter).await;
    for org in ["north", "south"] {
        assert!(counted(&again, org) >= counted(&page, org), "{org}");
    }
    exporter.stop().await;
    exported(&setup).await;
}

/// What is about the process stands on the page once, everything else says whose it is.
async fn series(exporter: &Exporter, page: &Page) {
    assert_eq!(
        (agents(page, "north"), agents(page, "south")),
        (NORTH, SOUTH)
    );
    for (name, labels) in page.0.keys() {
        let of_process = name.starts_with("process_")
            || name.contains("_config_")
            || name.contains("_otlp_")
            || name.ends_with("_build_info");
        assert_eq!(labels.contains_key("org"), !of_process, "{name} {labels:?}");
    }
    let (text, openmetrics) = wait_for("two pages of the same views", BOUND, async || {
        let built = async || {
            let status = exporter.status().await;
            ["north", "south"].map(|org| status["organisations"][org]["viewBuiltAt"].clone())
        };
        let before = built().await;
        let text = exporter.get("/metrics").await;
        let accept = "application/openmetrics-text;version=1.0.0";
        let url = format!("{}/metrics", exporter.url);
        let openmetrics = exporter.http.get_as(&url, accept).await;
        (built().await == before).then_some((text.text, openmetrics.text))
    })
    .await;
    strict::take(&text, &openmetrics);
}

/// The board shows one at a time, and which one is the reader's choice.
async fn board(exporter: &Exporter) {
    let arguments = [
        format!("{}/", exporter.url),
        format!("north={NORTH}"),
        format!("south={SOUTH}"),
    ];
    run_script("organisations.mjs", &arguments).await;
}

async fn lists(exporter: &Exporter) {
    let orgs = async |path: &str, key: &str| {
        let body = exporter.get(path).await.json();
        let items = body[key].as_array().unwrap().iter();
        let orgs = items.map(|item| item["org"].as_str().unwrap().to_owned());
        orgs.collect::<Vec<_>>()
    };
    let all = orgs("/api/v1/agents", "agents").await;
    let of = |org: &str| all.iter().filter(|found| *found == org).count() as f64;
    assert_eq!((of("north"), of("south")), (NORTH, SOUTH));
    let some = orgs("/api/v1/agents?org=south", "agents").await;
    assert!(some.iter().all(|org| org == "south") && some.len() as f64 == SOUTH);
    assert_eq!(orgs("/api/v1/queues", "queues").await.len(), 8);
    assert_eq!(exporter.get("/api/v1/queues?org=west").await.status, 404);
    let status = exporter.status().await;
    assert_eq!(status["ready"], true, "{status}");
    let agents = &status["organisations"]["north"]["snapshots"]["agents"];
    assert_eq!(agents, NORTH as u64, "{status}");
    let one = exporter.get("/api/v1/status?org=south").await.json();
    assert_eq!(one["snapshots"]["agents"], SOUTH as u64, "{one}");
}

/// However pages are cut, they hold what there is of each, one after the other.
async fn windows(exporter: &Exporter) {
    let rows = wait_for("windows of both", BOUND, async || {
        let rows = window_rows(exporter, "").await;
        (rows.last()?.0 == "south" && rows[0].0 == "north").then_some(rows)
    })
    .await;
    let mut each = Vec::new();
    for org in ["north", "south"] {
        let of_one = window_rows(exporter, &format!("&org={org}")).await;
        assert!(of_one.iter().all(|(found, ..)| found == org), "{of_one:?}");
        each.extend(of_one);
    }
    // More may have closed meanwhile, but no row of the first window is missing or there twice.
    let start = rows.iter().map(|(_, _, start)| start.clone()).min();
    let first = |rows: &[Row]| {
        let of_first = rows.iter().filter(|row| Some(&row.2) == start.as_ref());
        of_first.cloned().collect::<Vec<_>>()
    };
    assert_eq!(first(&rows), first(&each));
    let unique: BTreeSet<_> = rows.iter().collect();
    assert_eq!(unique.len(), rows.len());
}

/// A poller and an aggregator of both: what travels over the same broker into the same database is
/// never taken for the other's.
#[tokio::test(flavor = "multi_thread")]
async fn one_broker_and_one_database_keep_them_apart() {
    let (north, south) = (
        organisation(NORTH, "3").await,
        organisation(SOUTH, "4").await,
    );
    let (broker, cluster) = (Broker::start().await, Cluster::start());
    let part = |role: &str| {
        let mut setup = setup(&north, &south);
        setup
            .set("queue.kind", "nats")
            .set("queue.url", &broker.url())
            .set("role", role);
        setup
    };
    let poller = part("poller");
    let mut aggregator = part("aggregator");
    keep_in(&mut aggregator, &cluster.url("postgres"));
    let poller = poller.start().await;
    let aggregator = aggregator.start().await;
    let page = wait_joined(&poller).await;
    for (org, agents) in [("north", NORTH), ("south", SOUTH)] {
        assert_eq!(page.value("genesyscloud_leader", &[("org", org)]), 1.0);
        assert_eq!(self::agents(&page, org), agents);
    }
    let rows = wait_for("windows of both", BOUND, async || {
        let rows = window_rows(&aggregator, "").await;
        (rows.last()?.0 == "south" && rows[0].0 == "north").then_some(rows)
    })
    .await;
    let now = SystemClock::new().now().wall.0;
    for (org, organisation) in [("north", &north), ("south", &south)] {
        let truth = organisation.truth(now - 1_000, now).await;
        let mut of_org = rows.iter().filter(|row| row.0 == org);
        assert!(of_org.all(|row| truth.contains_key(&row.1)), "{rows:?}");
    }
    aggregator.assert_no_loss().await;
    poller.stop().await;
    aggregator.stop().await;
}

/// An export is of one organisation, and says so if none is named.
async fn exported(setup: &Setup) {
    let run = async |org: &[&str]| {
        let mut arguments = vec!["export", "windows", "--from", "2026-01-01"];
        arguments.extend(["--format", "csv", "--output", "-"]);
        arguments.extend(["--config.file", "config.yml"]);
        arguments.extend(org);
        let directory = setup.directory.path();
        Process::start("export", directory, &arguments, &[])
            .exit(BOUND)
            .await
    };
    let (code, output) = run(&["--org", "south"]).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("south,") && !output.contains("north,"));
    for org in [&[][..], &["--org", "west"]] {
        let (code, output) = run(org).await;
        assert_eq!(code, Some(2), "{output}");
        assert!(output.contains("north, south"), "{output}");
    }
}

/// Organisation, agent and start of a window.
type Row = (String, String, String);

/// All rows of the last hour, in the order of the pages.
async fn window_rows(exporter: &Exporter, filter: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    let to = rfc3339(SystemClock::new().now().wall.0);
    loop {
        let path = format!("/api/v1/windows?limit=7&to={to}{filter}{cursor}");
        let body = exporter.get(&path).await.json();
        let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
        let page = body["windows"].as_array().unwrap().iter();
        rows.extend(page.map(|row| {
            let start = text(row, "windowStart");
            (text(row, "org"), text(row, "userId"), start)
        }));
        let Some(next) = body["nextCursor"].as_str() else {
            return rows;
        };
        let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_one_touches_no_other() {
    let (north, south) = (
        organisation(NORTH, "1").await,
        organisation(SOUTH, "2").await,
    );
    let mut setup = setup(&north, &south);
    let exporter = setup.start().await;
    wait_joined(&exporter).await;

    north.faults("http-503=100").await;
    let open = [("org", "north"), ("state", "open")];
    let page = exporter
        .wait_page("the breaker of the one opens", BOUND, |page| {
            page.get("genesyscloud_breaker_state", &open) == Some(1.0)
        })
        .await;
    assert_eq!(page.value("genesyscloud_up", &[("org", "north")]), 0.0);
    assert_eq!(page.value("genesyscloud_up", &[("org", "south")]), 1.0);
    let accepted = |page: &Page| {
        let of = [("org", "south"), ("result", "accepted")];
        page.sum("genesyscloud_snapshots_total", &of)
    };
    let before = accepted(&page);
    exporter
        .wait_page("the other goes on", BOUND, |page| {
            accepted(page) > before + 2.0
        })
        .await;

    // A setting that all share reaches all; which organisations there are stays.
    setup.set("poll.interval", "2s").write();
    let reload = async || {
        let url = format!("{}/-/reload", exporter.url);
        let answer = exporter.http.send("POST", &url, "").await;
        (answer.status, answer.text)
    };
    let (status, text) = reload().await;
    assert_eq!(status, 200, "{text}");
    exporter
        .wait_page("both poll at the new pace", BOUND, |page| {
            let interval = "genesyscloud_poll_interval_seconds";
            ["north", "south"]
                .iter()
                .all(|org| page.get(interval, &[("org", org)]) == Some(2.0))
        })
        .await;
    let text = setup.write().replace("name: south", "name: west");
    std::fs::write(setup.directory.path().join("config.yml"), text).unwrap();
    let (status, text) = reload().await;
    assert_eq!(status, 500, "{text}");
    assert!(
        text.contains("SECRET_WEST") || text.contains("sources"),
        "{text}"
    );
    exporter.stop().await;
}
