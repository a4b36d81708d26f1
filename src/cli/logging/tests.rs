//! The whole log: events in, lines out.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::model::time::{Monotonic, UnixMillis};

use super::*;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `body` with a log; it may set the time in milliseconds. Returns the lines.
fn lines(level: LogLevel, format: LogFormat, body: impl FnOnce(&AtomicI64)) -> Vec<String> {
    let sink = Sink::default();
    let clock = Arc::new(AtomicI64::new(0));
    let reading = Arc::clone(&clock);
    let now = move || {
        let millis = reading.load(Ordering::Relaxed);
        Now {
            mono: Monotonic(millis),
            wall: UnixMillis(1_715_675_400_000 + millis),
        }
    };
    let layer = LogLayer::new(LogConfig { level, format }, sink.clone(), now);
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || body(&clock));
    let bytes = sink.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn an_event_is_a_line_with_its_fields() {
    let lines = lines(LogLevel::Info, LogFormat::Logfmt, |_| {
        let error = io::Error::other("gone\naway");
        let error: &(dyn std::error::Error + 'static) = &error;
        tracing::info!(
            agents = 5,
            ratio = 0.5,
            ok = true,
            nan = f64::NAN,
            "accepted"
        );
        tracing::warn!(kind = "login", error, "login failed");
    });
    assert_eq!(
        lines,
        [
            "ts=2024-05-14T08:30:00.000Z level=info msg=accepted agents=5 ratio=0.5 ok=true nan=NaN",
            "ts=2024-05-14T08:30:00.000Z level=warn msg=\"login failed\" kind=login error=\"gone\\naway\"",
        ]
    );
}

#[test]
fn levels_are_ours_and_libraries_speak_from_warnings_up() {
    let events = |_: &AtomicI64| {
        tracing::debug!("own debug");
        tracing::info!("own info");
        tracing::error!("own error");
        tracing::info!(target: "hyper::proto", "lib info");
        tracing::warn!(target: "reqwest", "lib warn");
        tracing::debug!(target: "genesys_cloud_exporter_other", "not ours");
    };
    let messages = |level| {
        lines(level, LogFormat::Json, events)
            .iter()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                line["msg"].as_str().unwrap().to_owned()
            })
            .collect::<Vec<_>>()
    };
    let debug = messages(LogLevel::Debug);
    assert_eq!(debug, ["own debug", "own info", "own error", "lib warn"]);
    assert_eq!(messages(LogLevel::Warn), ["own error", "lib warn"]);
    assert_eq!(messages(LogLevel::Error), ["own error"]);
}

#[test]
fn a_storm_of_warnings_is_counted_and_news_is_not_held_back() {
    let lines = lines(LogLevel::Info, LogFormat::Logfmt, |clock| {
        for second in 0..=60 {
            clock.store(second * 1_000, Ordering::Relaxed);
            tracing::warn!(kind = "store", "the store does not answer");
            tracing::error!("no kind");
            if second == 1 {
                tracing::warn!(kind = "login", "login failed");
                tracing::info!("info is not limited");
                tracing::info!("info is not limited");
            }
        }
    });
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("the store does not answer"), 2);
    assert_eq!(count("no kind"), 2);
    assert_eq!(count("login failed"), 1);
    assert_eq!(count("info is not limited"), 2);
    assert_eq!(count("suppressed=59"), 2, "{lines:?}");
}

#[test]
fn lines_say_which_organisation_and_what_one_repeats_keeps_no_other_silent() {
    let fails = |org: Option<&'static str>| {
        let span = org.map_or_else(tracing::Span::none, |org| {
            tracing::error_span!("organisation", org)
        });
        span.in_scope(|| tracing::warn!(kind = "poll", "failed"));
    };
    let lines = lines(LogLevel::Warn, LogFormat::Logfmt, |_| {
        for org in [Some("north"), Some("north"), Some("south"), None, None] {
            fails(org);
        }
    });
    let line =
        |more: &str| format!("ts=2024-05-14T08:30:00.000Z level=warn msg=failed kind=poll{more}");
    assert_eq!(lines, [line(" org=north"), line(" org=south"), line("")]);
}
