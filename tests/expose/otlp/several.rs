//! The push of an exporter of several organisations.

use std::sync::Arc;

use genesys_cloud_exporter::catalog::{EventResult, Metric};
use genesys_cloud_exporter::config::PerAgent;
use genesys_cloud_exporter::expose::Pages;
use genesys_cloud_exporter::expose::otlp::{Push, Source};
use genesys_cloud_exporter::telemetry::{BuildInfo, Telemetry};
use tokio::sync::watch;

use super::config;
use super::sink::{Sink, points};
use super::translation::translated_all;
use crate::view;

const ORGS: [&str; 2] = ["north", "south"];

#[tokio::test(flavor = "multi_thread")]
async fn every_point_says_whose_it_is_but_those_of_the_process() {
    for temporality in ["cumulative", "delta"] {
        let sink = Sink::start().await;
        let text = format!(
            "otlp: {{ endpoint: \"http://{}\", interval: 300ms, temporality: {temporality} }}\n",
            sink.http
        );
        let otlp = config(&text, &[]).otlp.unwrap();
        let mut push = Push::new(&otlp, 10_095, &[None, Some("north"), Some("south")]).unwrap();
        let build = BuildInfo::current();
        let mut sources = vec![Source {
            pages: None,
            telemetry: Arc::new(Telemetry::of_process(build)),
        }];
        // The same view for both: queues of the same name, told apart by nothing else.
        let view = Arc::new(view::small());
        for (org, at) in ORGS.into_iter().zip(1..) {
            let meter = push.meter(at);
            let telemetry = Arc::new(Telemetry::of_organisation(build, Some(&meter), org));
            telemetry.events(EventResult::Stored, at as u64 * 10);
            telemetry.batch(0.25);
            push.count_from(at, &view);
            let pages = Arc::new(Pages::new(PerAgent::Off));
            pages.publish(Arc::clone(&view));
            sources.push(Source {
                pages: Some(pages),
                telemetry,
            });
        }
        let (stop, stopped) = watch::channel(false);
        let running = push.start(sources, stopped).unwrap();
        // The last push is one, too.
        stop.send_replace(true);
        running.ended().await;

        let pushed = translated_all(&points(&sink.take()));
        for (name, labels) in pushed.keys() {
            let parts = ["", "_bucket", "_sum", "_count"];
            let mut stems = parts.iter().filter_map(|part| name.strip_suffix(part));
            let metric = stems.find_map(Metric::by_name).unwrap();
            let org = labels.get("org").map(String::as_str);
            let fits = match org {
                None => metric.spec().is_of_process(),
                Some(org) => ORGS.contains(&org) && !metric.spec().is_of_process(),
            };
            assert!(fits, "{name} {labels:?}");
        }
        let value = |name: &str, org: &str| {
            let of_org = pushed
                .iter()
                .filter(|((found, labels), _)| found == name && labels["org"] == org);
            of_org.map(|(_, value)| value).sum::<f64>()
        };
        for (org, count) in ORGS.into_iter().zip([10.0, 20.0]) {
            assert_eq!(value("genesyscloud_events_total", org), count);
            assert_eq!(value("genesyscloud_batch_duration_seconds_count", org), 1.0);
            let agents = view.organisation.agents.iter().sum::<u64>() as f64;
            assert_eq!(value("genesyscloud_agents", org), agents);
        }
        assert!(
            pushed
                .keys()
                .any(|(name, _)| name == "genesyscloud_exporter_build_info")
        );
    }
}
