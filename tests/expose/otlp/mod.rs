//! The push against a collector of the test's own: what it tells, and what disturbs it.

mod faults;
mod same;
mod several;
mod sink;
mod tls;
mod translation;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use genesys_cloud_exporter::catalog::ExportResult;
use genesys_cloud_exporter::config::{Config, PerAgent};
use genesys_cloud_exporter::expose::otlp::{Push, Running, Source};
use genesys_cloud_exporter::expose::{Format, Pages};
use genesys_cloud_exporter::model::time::Monotonic;
use genesys_cloud_exporter::model::view::View;
use genesys_cloud_exporter::telemetry::{BuildInfo, Telemetry};
use tokio::sync::watch;

use self::sink::{Series, Sink};
use crate::parse::samples;

const PROTOCOLS: [&str; 2] = ["http/protobuf", "grpc"];

/// Between two looks at a counter.
const PAUSE: Duration = Duration::from_millis(20);

/// Nothing that is waited for takes longer.
const BOUND: Duration = Duration::from_secs(60);

/// What is pushed.
pub(crate) struct Sources {
    pub(crate) pages: Arc<Pages>,
    pub(crate) telemetry: Arc<Telemetry>,
}

pub(crate) struct Pushing {
    pub(crate) sources: Sources,
    stop: watch::Sender<bool>,
    running: Running,
}

impl Pushing {
    /// Pushes `view` to the sink, with more settings of `otlp` and variables.
    pub(crate) fn start(
        sink: &Sink,
        protocol: &str,
        view: View,
        settings: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let address = if protocol == "grpc" {
            sink.grpc
        } else {
            sink.http
        };
        Self::to(
            &format!("http://{address}"),
            protocol,
            view,
            settings,
            variables,
        )
    }

    pub(crate) fn to(
        endpoint: &str,
        protocol: &str,
        view: View,
        settings: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let text = format!(
            "otlp: {{ endpoint: \"{endpoint}\", protocol: {protocol}, {settings} }}\n\
             metrics: {{ per_agent: id }}\n"
        );
        let config = config(&text, variables);
        let mut push = Push::new(&config.otlp.unwrap(), 10_095, &[None]).unwrap();
        push.count_from(0, &view);
        let telemetry = Telemetry::recording(BuildInfo::current(), Some(&push.meter(0)));
        let sources = Sources {
            pages: Arc::new(Pages::new(PerAgent::Id)),
            telemetry: Arc::new(telemetry),
        };
        sources.pages.publish(Arc::new(view));
        let (stop, stopped) = watch::channel(false);
        let source = Source {
            pages: Some(Arc::clone(&sources.pages)),
            telemetry: Arc::clone(&sources.telemetry),
        };
        let running = push.start(vec![source], stopped).unwrap();
        Self {
            sources,
            stop,
            running,
        }
    }

    pub(crate) fn exports(&self, result: ExportResult) -> f64 {
        let labels = BTreeMap::from([("result".to_owned(), result.label().to_owned())]);
        self.page()[&("genesyscloud_otlp_exports_total".to_owned(), labels)]
    }

    /// Waits until so many pushes have had this result.
    pub(crate) async fn exported(&self, result: ExportResult, count: f64) {
        let counted = async {
            while self.exports(result) < count {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(BOUND, counted)
            .await
            .unwrap_or_else(|_| panic!("waited {BOUND:?} in vain for {count} of {result:?}"));
    }

    /// Samples of the page; empty labels are none.
    pub(crate) fn page(&self) -> BTreeMap<Series, f64> {
        let own = self.sources.telemetry.shelves();
        let pages = &self.sources.pages;
        let page = pages.page(own, Format::Text, false, Monotonic(0));
        let page = page.concat();
        samples(std::str::from_utf8(&page).unwrap())
            .into_iter()
            .map(|((name, mut labels), value)| {
                labels.retain(|_, value| !value.is_empty());
                ((name, labels), value)
            })
            .collect()
    }

    /// Ends it and says how long that took.
    pub(crate) async fn end(self) -> Duration {
        let begun = begun();
        self.stop.send(true).unwrap();
        self.running.ended().await;
        begun.elapsed()
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "how long an end takes is real time"
)]
fn begun() -> Instant {
    Instant::now()
}

fn config(text: &str, variables: &[(&str, &str)]) -> Config {
    let required = [
        ("GENESYSCLOUD_SOURCE_CLIENT_ID", "demo"),
        ("GENESYSCLOUD_CLIENT_SECRET", "demo"),
    ];
    let environment = required
        .iter()
        .chain(variables)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let loaded = genesys_cloud_exporter::config::parse(&"c.yml".into(), text, &environment, &[]);
    loaded.unwrap().config
}
