//! Which dialect is spoken, and how large its pages are: whole pipelines, answered by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::config::{self, PipelineConfig};
use crate::model::ids::QueueId;
use crate::model::time::UnixMillis;
use crate::upstream::request::RequestId;
use crate::upstream::response::{Answer, Headers, Response};

/// A pipeline, and who answers it.
struct Run {
    pipeline: Pipeline,
    now: i64,
    open: Vec<(RequestId, ApiRequest)>,
}

impl Run {
    fn new(dialect: &str) -> Self {
        let text = format!(
            "source: {{ dialect: {dialect}, client_id: demo, api_url: 'http://127.0.0.1:1', \
             login_url: 'http://127.0.0.1:1' }}\n"
        );
        let environment: BTreeMap<String, String> =
            [("GENESYSCLOUD_CLIENT_SECRET".to_owned(), "demo".to_owned())].into();
        let loaded = config::parse(&Arc::from("dialect.yml"), &text, &environment, &[]).unwrap();
        let pipeline = Pipeline::new(loaded.config.pipeline, Vec::new(), now(0)).unwrap();
        let mut run = Self {
            pipeline,
            now: 0,
            open: Vec::new(),
        };
        run.pass(0);
        run.answer(&ApiRequest::Login, 200, "{\"expires_in\":86400}");
        run
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::Request { id, request, .. } = effect {
                self.open.push((id, request));
            }
        }
    }

    fn pass(&mut self, millis: i64) {
        self.now += millis;
        let effects = self.pipeline.on_due(now(self.now));
        self.take(effects);
    }

    /// Answers a request that must be open.
    fn answer(&mut self, request: &ApiRequest, status: u16, body: &'static str) {
        let position = self.open.iter().position(|(_, open)| open == request);
        let position = position.unwrap_or_else(|| panic!("no {request:?} in {:?}", self.open));
        let (id, _) = self.open.remove(position);
        let sent_at = now(self.now);
        self.now += 20;
        let answer = Answer {
            id,
            sent_at,
            received_at: now(self.now),
            result: Ok(Response {
                status,
                headers: Headers::default(),
                body: Bytes::from_static(body.as_bytes()),
            }),
        };
        let effects = self.pipeline.on_answer(answer, now(self.now));
        self.take(effects);
    }

    fn scans(&self) -> Vec<&ApiRequest> {
        let scan = |request: &ApiRequest| {
            matches!(
                request,
                ApiRequest::UsersScan { .. } | ApiRequest::Statuses { .. }
            )
        };
        let open = self.open.iter().map(|(_, request)| request);
        open.filter(|request| scan(request)).collect()
    }
}

fn now(millis: i64) -> Now {
    Now {
        wall: UnixMillis(1_715_675_400_000 + millis),
        mono: Monotonic(millis),
    }
}

const PROBE: ApiRequest = ApiRequest::Statuses { page: 1 };

fn scan(size: u32) -> ApiRequest {
    ApiRequest::UsersScan { page: 1, size }
}

#[test]
fn a_404_or_a_400_means_platform_and_a_snapshot_means_status() {
    let mut run = Run::new("auto");
    assert_eq!(run.scans(), [&PROBE]);
    run.answer(&PROBE, 404, "{\"code\":\"not.found\",\"status\":404}");
    assert_eq!(run.scans(), [&scan(500)], "{:?}", run.open);

    // It may read the path as a user whose id cannot be one.
    let mut run = Run::new("auto");
    run.answer(&PROBE, 400, "{\"code\":\"bad.request\",\"status\":400}");
    assert_eq!(run.scans(), [&scan(500)], "{:?}", run.open);
    let failed = run.pipeline.health.snapshots.values().sum::<u64>();
    assert_eq!(failed, 0, "it is an answer, no failure");

    let mut run = Run::new("auto");
    run.answer(&PROBE, 200, "[]");
    assert!(
        run.scans().is_empty(),
        "without a registry nothing is judged"
    );
    let users = ApiRequest::Users { page: 1 };
    assert!(
        run.open.iter().any(|(_, open)| *open == users),
        "{:?}",
        run.open
    );

    let mut run = Run::new("auto");
    run.answer(
        &PROBE,
        403,
        "{\"code\":\"missing.permissions\",\"status\":403}",
    );
    assert!(run.pipeline.spoken == Some(Spoken::Status));
}

#[test]
fn an_answer_that_tells_nothing_is_asked_for_again() {
    let mut run = Run::new("auto");
    run.answer(&PROBE, 200, "<html>maintenance</html>");
    assert!(run.scans().is_empty());
    run.pass(9_000);
    assert!(run.scans().is_empty(), "not at once");
    run.pass(2_000);
    assert_eq!(run.scans(), [&PROBE]);
    run.answer(&PROBE, 404, "");
    assert_eq!(run.scans(), [&scan(500)]);
    let parse = run.pipeline.health.snapshots[&SnapshotOutcome::FailedParse];
    assert_eq!(parse, 1, "it counts as a snapshot");
}

#[test]
fn a_dialect_that_is_configured_is_not_asked_for() {
    let run = Run::new("platform");
    assert_eq!(run.scans(), [&scan(500)]);
    assert_eq!(run.pipeline.config.cache_age, Millis::ZERO);
    let run = Run::new("status");
    assert!(run.scans().is_empty());
}

#[test]
fn pages_shrink_until_the_platform_takes_them() {
    let mut run = Run::new("platform");
    for (refused, then) in [(500, 200), (200, 100), (100, 25)] {
        run.answer(&scan(refused), 400, "{\"code\":\"bad.request\"}");
        run.pass(1);
        assert_eq!(run.scans(), [&scan(then)], "{:?}", run.open);
    }
    let failed = |run: &Run| run.pipeline.breaker.trips();
    assert_eq!(failed(&run), 0);
    // The platform's own default is refused too: that is not for the size of the page.
    run.answer(&scan(25), 400, "{\"code\":\"bad.request\"}");
    run.pass(1);
    assert!(run.scans().is_empty(), "{:?}", run.open);
}

const USERS: ApiRequest = ApiRequest::Users { page: 1 };

fn names(run: &Run) -> Option<Vec<(String, String)>> {
    let names = run.pipeline.view(now(run.now)).names?;
    let name = |(id, name): (&UserId, &Arc<str>)| (id.to_string(), name.to_string());
    Some(names.iter().map(name).collect())
}

fn pair(id: &str, name: &str) -> (String, String) {
    (id.to_owned(), name.to_owned())
}

fn reconfigure(run: &mut Run, change: impl FnOnce(&mut PipelineConfig)) {
    let mut config = run.pipeline.config.clone();
    change(&mut config);
    let effects = run.pipeline.on_reconfigured(config, now(run.now));
    run.take(effects);
}

/// With or without `metrics.per_agent: name`.
fn reload(run: &mut Run, names: bool) {
    reconfigure(run, |config| config.names = names);
}

#[test]
fn queues_beyond_the_limit_are_counted_and_a_reload_brings_them() {
    let listing = "{\"entities\":[{\"id\":\"1\",\"name\":\"One\"},{\"id\":\"2\",\"name\":\"Two\"},\
        {\"id\":\"3\",\"name\":\"Three\"}],\"pageCount\":1}";
    let queues = ApiRequest::Queues { page: 1 };
    let shown = |run: &Run| {
        let view = run.pipeline.view(now(run.now));
        let names = view.queues.iter().map(|queue| queue.name.to_string());
        (names.collect::<Vec<_>>(), view.health.queues_left_out)
    };
    let mut run = Run::new("status");
    reconfigure(&mut run, |config| config.queues_max = 1);
    run.answer(&queues, 200, listing);
    assert_eq!(shown(&run), (vec!["One".to_owned()], 2));
    let members = ApiRequest::QueueMembers {
        queue: QueueId::new("1"),
        page: 1,
    };
    run.answer(&members, 200, "{\"entities\":[],\"pageCount\":1}");
    reconfigure(&mut run, |config| config.queues_max = 3);
    run.pass(1_000);
    run.answer(&queues, 200, listing);
    let (names, left_out) = shown(&run);
    assert_eq!((names.len(), left_out), (3, 0), "{names:?}");
}

#[test]
fn names_are_kept_where_they_are_wanted_and_told_once_all_are_known() {
    let listing = "{\"entities\":[{\"id\":\"1\",\"name\":\"Anna\"},{\"id\":\"2\",\"name\":\"Ben\\n\"},\
        {\"id\":\"3\"},{\"id\":\"4\",\"name\":\"Gone\",\"state\":\"inactive\"}],\"pageCount\":1}";
    let mut run = Run::new("status");
    run.answer(&USERS, 200, listing);
    assert_eq!(names(&run), None, "nobody asked for them");
    reload(&mut run, true);
    assert_eq!(names(&run), None);
    // What is asked for goes out once a minute at most.
    run.pass(61_000);
    run.answer(&USERS, 200, listing);
    let told = vec![pair("1", "Anna"), pair("2", "Ben\u{FFFD}")];
    assert_eq!(names(&run), Some(told));
    let saved = serde_json::to_string(&run.pipeline.view(now(run.now))).unwrap();
    assert!(!saved.contains("Anna"), "{saved}");
    reload(&mut run, false);
    assert_eq!(names(&run), None);
}

#[test]
fn a_scan_tells_names_and_only_changed_rows_tell_them_again() {
    let page = |name: &str| -> &'static str {
        let user = |id: &str, name: &str| {
            format!(
                "{{\"id\":\"{id}\",\"name\":\"{name}\",\"presence\":{{\"presenceDefinition\":\
                 {{\"systemPresence\":\"Available\"}},\"modifiedDate\":\"2024-05-14T08:00:00Z\"}},\
                 \"routingStatus\":{{\"status\":\"OFF_QUEUE\",\"startTime\":\
                 \"2024-05-14T08:00:00Z\"}}}}"
            )
        };
        let (one, two) = (user("1", "Anna"), user("2", name));
        format!("{{\"entities\":[{one},{two}],\"pageCount\":1,\"total\":2}}").leak()
    };
    let mut run = Run::new("platform");
    run.answer(&scan(500), 200, page("Ben"));
    assert_eq!(names(&run), None);
    reload(&mut run, true);
    for name in ["Ben", "Ben", "Benedetta"] {
        while run.scans().is_empty() {
            run.pass(1_000);
            assert!(run.now < 120_000, "no scan: {:?}", run.open);
        }
        run.answer(&scan(500), 200, page(name));
        let told = vec![pair("1", "Anna"), pair("2", name)];
        assert_eq!(names(&run), Some(told));
    }
}
