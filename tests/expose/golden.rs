//! Golden pages, and what must hold for every page.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use genesys_cloud_exporter::catalog::{EventResult, Metric, Origin};
use genesys_cloud_exporter::config::PerAgent;
use genesys_cloud_exporter::expose::{Format, Pages, SeriesNames, of_registry, of_view, render};
use genesys_cloud_exporter::model::ids::UserId;
use genesys_cloud_exporter::model::state::RoutingState;
use genesys_cloud_exporter::model::time::{Millis, Monotonic, UnixMillis};
use genesys_cloud_exporter::model::view::View;
use genesys_cloud_exporter::telemetry::{BuildInfo, Telemetry};
use genesys_cloud_exporter::upstream::request::Endpoint;

use crate::parse::{families, samples};
use crate::view;

fn telemetry() -> Telemetry {
    let telemetry = Telemetry::new(BuildInfo {
        version: "1.2.3",
        revision: "0123abc",
        rust_version: "1.95.0",
    });
    telemetry.request(Endpoint::Statuses, Ok(200), Millis(120));
    telemetry.events(EventResult::Published, 31);
    telemetry.event_queue(2, Some(UnixMillis(view::NOW.0 + 250)));
    telemetry.config_accepted(view::NOW);
    telemetry.batch(0.003);
    telemetry
}

/// A whole page but for what differs from process to process.
fn page(view: &View, format: Format, per_agent: bool) -> String {
    let per_agent = if per_agent {
        PerAgent::Id
    } else {
        PerAgent::Off
    };
    let names = SeriesNames::of(view, &per_agent);
    let mut out = String::new();
    render(&of_view(view, &names), format, &mut out);
    let gathered = telemetry().gather();
    let mut own = of_registry(&gathered);
    own.retain(|family| family.metric.spec().origin != Origin::Process);
    render(&own, format, &mut out);
    out.push_str(format.end());
    out
}

/// Compares with the golden file; with `UPDATE_GOLDEN` set, rewrites it.
fn assert_golden(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (golden, actual)) in golden.lines().zip(actual.lines()).enumerate() {
        assert_eq!(actual, golden, "{name}, line {}", number + 1);
    }
    assert_eq!(actual.len(), golden.len(), "{name}: one page goes on");
}

#[test]
fn pages_are_golden() {
    let view = view::small();
    assert_golden("page.txt", &page(&view, Format::Text, true));
    assert_golden("page.om", &page(&view, Format::OpenMetrics, true));
    assert_golden(
        "before_first_snapshot.txt",
        &page(&View::default(), Format::Text, true),
    );
}

/// A page as it is written when nothing is kept.
fn written_anew(view: &View, telemetry: &Telemetry, format: Format) -> String {
    let names = SeriesNames::of(view, &PerAgent::Off);
    let mut out = String::new();
    render(&of_view(view, &names), format, &mut out);
    render(&of_registry(&telemetry.gather()), format, &mut out);
    out.push_str(format.end());
    out
}

const NOW: Monotonic = Monotonic(0);

#[test]
fn what_the_system_tells_is_a_second_old_at_most() {
    let telemetry = Telemetry::new(BuildInfo::current());
    let pages = Pages::new(PerAgent::Off);
    let at = |millis: i64| {
        let now = Monotonic(millis);
        let page = pages.page(telemetry.shelves(), Format::Text, false, now);
        page.last().expect("it comes last").clone()
    };
    let first = at(5_000);
    assert!(first.starts_with(b"# HELP process_cpu_seconds_total "));
    assert_eq!(first.as_ptr(), at(5_999).as_ptr(), "the same text");
    let second = at(6_000);
    assert_ne!(first.as_ptr(), second.as_ptr(), "written anew");
    assert_eq!(second.as_ptr(), at(6_500).as_ptr());
    assert_ne!(second.as_ptr(), at(0).as_ptr(), "of another clock");
}

#[test]
fn what_is_kept_of_a_page_is_what_would_be_written_anew() {
    let telemetry = Telemetry::without_process(BuildInfo::current());
    let pages = Pages::new(PerAgent::Off);
    let view = Arc::new(view::small());
    pages.publish(Arc::clone(&view));
    let changes: [&dyn Fn(); 7] = [
        &|| {},
        &|| telemetry.request(Endpoint::Statuses, Ok(200), Millis(120)),
        &|| telemetry.request(Endpoint::Token, Ok(503), Millis(7)),
        &|| telemetry.event_queue(2, Some(view::NOW)),
        &|| telemetry.event_queue(0, None),
        &|| telemetry.batch(0.003),
        &|| telemetry.config_accepted(view::NOW),
    ];
    for change in changes {
        change();
        // Twice: the second time everything is at hand.
        for format in [Format::Text, Format::OpenMetrics].repeat(2) {
            let expected = written_anew(&view, &telemetry, format);
            let plain = pages.page(telemetry.shelves(), format, false, NOW).concat();
            assert_eq!(String::from_utf8(plain).unwrap(), expected);
            let packed = pages.page(telemetry.shelves(), format, true, NOW).concat();
            let mut unpacked = String::new();
            flate2::read::GzDecoder::new(&packed[..])
                .read_to_string(&mut unpacked)
                .unwrap();
            assert_eq!(unpacked, expected);
        }
    }
}

#[test]
fn both_formats_give_the_same_series() {
    let view = view::small();
    let text = samples(&page(&view, Format::Text, true));
    let open_metrics = samples(&page(&view, Format::OpenMetrics, true));
    assert!(!text.is_empty());
    assert_eq!(text, open_metrics);
    let le: BTreeSet<_> = text
        .keys()
        .filter_map(|(_, labels)| labels.get("le"))
        .collect();
    assert!(
        le.iter().all(|le| *le == "+Inf" || le.contains('.')),
        "{le:?}"
    );
}

#[test]
fn openmetrics_keeps_its_rules() {
    let page = page(&view::small(), Format::OpenMetrics, true);
    assert!(page.ends_with("\n# EOF\n") && page.matches("# EOF").count() == 1);
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').unwrap();
            assert!(name.ends_with(&format!("_{unit}")), "{line}");
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(!rest.contains("_total "), "{line}");
            let kind = rest.split(' ').nth(1).unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
        }
    }
}

#[test]
fn no_family_appears_twice() {
    for format in [Format::Text, Format::OpenMetrics] {
        let families = families(&page(&view::small(), format, true));
        let distinct: BTreeSet<_> = families.iter().collect();
        assert_eq!(distinct.len(), families.len());
    }
}

#[test]
fn before_the_first_snapshot_nobody_is_counted() {
    let page = page(&View::default(), Format::Text, true);
    assert!(page.contains("\ngenesyscloud_up 0\n"));
    assert!(page.contains("genesyscloud_exporter_build_info{"));
    for (name, _) in samples(&page).keys() {
        let metric = ["_bucket", "_sum", "_count"]
            .iter()
            .fold(name.as_str(), |name, suffix| {
                name.strip_suffix(suffix).unwrap_or(name)
            });
        let metric = Metric::by_name(metric).expect("in the catalog");
        let spec = metric.spec();
        let counts_agents = spec.unit.ucum() == "{agent}";
        assert!(spec.origin != Origin::View || !counts_agents, "{name}");
    }
}

#[test]
fn agents_have_series_only_when_asked_for() {
    let without = page(&view::small(), Format::Text, false);
    assert!(!without.contains("agent-0001"));
    let with = samples(&page(&view::small(), Format::Text, true));
    let in_state: f64 = with
        .iter()
        .filter(|((name, _), _)| name == "genesyscloud_agent_state")
        .map(|(_, value)| value)
        .sum();
    assert!(
        (in_state - 3.0).abs() < f64::EPSILON,
        "each agent is in one state"
    );
}

#[test]
fn a_view_is_rendered_and_compressed_once() {
    let pages = Pages::new(PerAgent::Id);
    pages.publish(Arc::new(view::small()));
    for (gzip, shared) in [(false, 0), (true, 1)] {
        let (first, second) = (
            pages.page(&[], Format::Text, gzip, NOW),
            pages.page(&[], Format::Text, gzip, NOW),
        );
        assert_eq!(first[shared].as_ptr(), second[shared].as_ptr());
    }
    let text = pages.page(&[], Format::Text, false, NOW).concat();
    assert!(
        String::from_utf8(text)
            .unwrap()
            .contains("agent=\"agent-0001\"")
    );
}

#[test]
fn a_queue_that_is_gone_has_no_series_left() {
    let pages = Pages::new(PerAgent::Off);
    let text = |pages: &Pages| {
        String::from_utf8(pages.page(&[], Format::Text, false, NOW).concat()).unwrap()
    };
    pages.publish(Arc::new(view::small()));
    assert!(text(&pages).contains("Sales_US"));
    let mut view = view::small();
    view.queues.remove(0);
    pages.publish(Arc::new(view));
    assert!(!text(&pages).contains("Sales_US"));
    assert!(text(&pages).contains("Support"));
}

#[test]
fn queue_names_cannot_inject() {
    let nasty = [
        "\"} 1\ngenesyscloud_up 7\n# EOF\n",
        "a\\",
        "a\\\"",
        "{x=\"y\"}",
        "\u{202E}reversed",
        "\0\r\n\t",
        "",
        "le=\"5\"",
    ];
    let mut hostile = view::small();
    let named = nasty.iter().enumerate();
    hostile.queues = named
        .map(|(n, name)| view::queue(&format!("id-{n}"), name))
        .collect();
    // Two queues that look alike once cleaned, and two that do not differ at all.
    hostile.queues.push(view::queue("id-8", "\0\r\n\n"));
    hostile.queues.push(view::queue("id-9", "a\\"));
    for format in [Format::Text, Format::OpenMetrics] {
        let samples = samples(&page(&hostile, format, false));
        let queues: BTreeSet<&String> = samples
            .keys()
            .filter(|(name, _)| name == "genesyscloud_queue_info")
            .map(|(_, labels)| &labels["queue"])
            .collect();
        assert_eq!(queues.len(), hostile.queues.len());
        assert!(queues.contains(&"a\\\"".to_owned()) && queues.contains(&"{x=\"y\"}".to_owned()));
        assert!(
            queues
                .iter()
                .all(|queue| !queue.contains(['\n', '\u{202E}', '\0']))
        );
        let up = (
            "genesyscloud_up".to_owned(),
            std::collections::BTreeMap::new(),
        );
        assert!((samples[&up] - 1.0).abs() < f64::EPSILON);
    }
}

proptest::proptest! {
    #[test]
    fn any_names_read_back_as_distinct_series(
        names in proptest::collection::vec("(?s).{0,150}", 1..6),
    ) {
        let mut any = view::small();
        let numbered = names.iter().enumerate();
        any.queues = numbered.map(|(n, name)| view::queue(&format!("id-{n}"), name)).collect();
        let labels = SeriesNames::of(&any, &PerAgent::Off);
        let expected: BTreeSet<&str> = labels.queues.iter().map(|name| &**name).collect();
        for format in [Format::Text, Format::OpenMetrics] {
            let mut out = String::new();
            render(&of_view(&any, &labels), format, &mut out);
            let samples = samples(&out);
            let info = samples.keys().filter(|(name, _)| name == "genesyscloud_queue_info");
            let queues: BTreeSet<&str> = info.map(|(_, labels)| &*labels["queue"]).collect();
            proptest::prop_assert_eq!(queues.len(), names.len());
            proptest::prop_assert_eq!(&queues, &expected);
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_names_of_agents_read_back_as_distinct_series(
        names in proptest::collection::vec("(?s)(Anna|Ben \\(a-0\\)|.{0,150})", 1..8),
    ) {
        let mut any = view::small();
        let id = |n: usize| format!("a-{n}");
        any.agents = (0..names.len())
            .map(|n| view::agent(&id(n), RoutingState::Available, &[]))
            .collect();
        let named = names.iter().enumerate();
        let named = named.map(|(n, name)| (UserId::new(&id(n)), Arc::from(name.as_str())));
        any.names = Some(Arc::new(named.collect()));
        let labels = SeriesNames::of(&any, &PerAgent::Name);
        let mut out = String::new();
        render(&of_view(&any, &labels), Format::Text, &mut out);
        let samples = samples(&out);
        let entered = "genesyscloud_agent_state_entered_timestamp_seconds";
        let entered = samples.keys().filter(|(name, _)| name == entered);
        let agents: BTreeSet<&str> = entered.map(|(_, labels)| &*labels["agent"]).collect();
        let expected: BTreeSet<&str> = labels.agents.iter().map(|name| &**name).collect();
        proptest::prop_assert_eq!(agents.len(), names.len());
        proptest::prop_assert_eq!(agents, expected);
        any.names = None;
        proptest::prop_assert!(SeriesNames::of(&any, &PerAgent::Name).agents.is_empty());
    }
}

#[test]
fn states_of_a_queue_add_up_and_stay_in_order() {
    let page = page(&view::small(), Format::Text, false);
    let states: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("genesyscloud_queue_agents{queue=\"Sales_US\""))
        .collect();
    assert_eq!(states.len(), RoutingState::COUNT);
    for (line, state) in states.iter().zip(RoutingState::ALL) {
        assert!(line.contains(&format!("state=\"{state}\"")), "{line}");
    }
}
