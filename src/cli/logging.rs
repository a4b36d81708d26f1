//! The log: events become lines on standard error, logfmt or JSON.
//!
//! Ours at the configured level; libraries only from warnings up, because their debug lines may
//! hold headers. Repeated warnings of one kind are written once a minute. Nothing here formats
//! a time or a value in a way that could begin a second line.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::SystemClock;
use crate::config::{LogConfig, LogFormat, LogLevel};
use crate::model::time::Now;

mod line; //    one event as one line
mod repeats; // which repetitions are written

pub use line::{Line, MESSAGE_BYTES_MAX, VALUE_BYTES_MAX, Value};
pub use repeats::{Admission, QUIET, Repeats};

/// Kinds that are written however often they come: each answers something that somebody did.
const ANSWERS: [&str; 2] = ["reload", "web_config"];

/// Prefix of the targets of this crate's own events.
const OWN_TARGET: &str = "genesys_cloud_exporter";

/// Another subscriber was installed before.
#[derive(Debug, thiserror::Error)]
#[error("a log is already installed in this process")]
pub struct LogError(#[source] tracing::subscriber::SetGlobalDefaultError);

/// Installs the log of the process, to standard error.
///
/// # Errors
/// If there already is one.
pub fn init(config: LogConfig, clock: SystemClock) -> Result<LogHandle, LogError> {
    let layer = LogLayer::new(config, io::stderr(), move || clock.now());
    let handle = layer.handle();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))
        .map_err(LogError)?;
    Ok(handle)
}

/// Changes the log of the process while it runs.
#[derive(Debug, Clone)]
pub struct LogHandle(Arc<ArcSwap<LogConfig>>);

impl LogHandle {
    /// Level and format from now on.
    pub fn set(&self, config: LogConfig) {
        self.0.store(Arc::new(config));
        // Who asked before whether to speak asks again.
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Writes events as lines. `W` gets each line in one write, so that lines do not mix.
pub struct LogLayer<W, N> {
    config: Arc<ArcSwap<LogConfig>>,
    now: N,
    state: Mutex<State<W>>,
}

struct State<W> {
    out: W,
    repeats: Repeats,
}

impl<W: Write, N: Fn() -> Now> LogLayer<W, N> {
    /// A log that writes to `out` and stamps lines by `now`.
    pub fn new(config: LogConfig, out: W, now: N) -> Self {
        let repeats = Repeats::default();
        let state = Mutex::new(State { out, repeats });
        let config = Arc::new(ArcSwap::from_pointee(config));
        Self { config, now, state }
    }

    /// Changes it later.
    pub fn handle(&self) -> LogHandle {
        LogHandle(Arc::clone(&self.config))
    }

    /// `org`: the organisation among several that the event is about.
    fn write(&self, event: &Event<'_>, org: Option<&str>) {
        let metadata = event.metadata();
        let mut line = Line::default();
        event.record(&mut Recorder(&mut line));
        if let Some(org) = org {
            line.put(ORG, Value::text(org));
        }
        let now = (self.now)();
        // A line is whole or not there, so a panic elsewhere leaves nothing half done.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut suppressed = 0;
        let answer = line.kind().is_some_and(|kind| ANSWERS.contains(&kind));
        if *metadata.level() <= tracing::Level::WARN && !answer {
            // Events without a kind are told apart by where they are written.
            let kind = match line.kind() {
                Some(kind) => kind.to_owned(),
                None => format!(
                    "{}:{}",
                    metadata.target(),
                    metadata.line().unwrap_or_default()
                ),
            };
            // What one organisation repeats keeps no other silent.
            let kind = match org {
                Some(org) => format!("{org} {kind}"),
                None => kind,
            };
            match state.repeats.admit(&kind, now.mono) {
                Admission::Suppress => return,
                Admission::Write { suppressed: count } => suppressed = count,
            }
        }
        let level = metadata.level().as_str().to_ascii_lowercase();
        // The target of a library says who speaks; our own is noise.
        let target = Some(metadata.target()).filter(|target| !is_own(target));
        let mut text = match self.config.load().format {
            LogFormat::Logfmt => line.logfmt(now.wall, &level, target, suppressed),
            LogFormat::Json => line.json(now.wall, &level, target, suppressed),
        };
        text.push('\n');
        // There is nobody left to tell if standard error is gone.
        let _ = state.out.write_all(text.as_bytes());
    }
}

impl<S, W, N> Layer<S> for LogLayer<W, N>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: Write + Send + 'static,
    N: Fn() -> Now + Send + Sync + 'static,
{
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let own = filter(self.config.load().level);
        let allowed = if is_own(metadata.target()) {
            own
        } else {
            own.min(LevelFilter::WARN)
        };
        *metadata.level() <= allowed
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(filter(self.config.load().level))
    }

    fn on_new_span(&self, span: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut org = Organisation::default();
        span.record(&mut org);
        if let (Some(span), Organisation(Some(_))) = (context.span(id), &org) {
            span.extensions_mut().insert(org);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let org = context.event_scope(event).and_then(|mut scope| {
            scope.find_map(|span| span.extensions().get::<Organisation>()?.0.clone())
        });
        self.write(event, org.as_deref());
    }
}

/// The field of spans that says which organisation all within is about.
const ORG: &str = "org";

/// Its value, if a span has it.
#[derive(Default)]
struct Organisation(Option<String>);

impl Visit for Organisation {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == ORG {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

fn is_own(target: &str) -> bool {
    target
        .strip_prefix(OWN_TARGET)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

struct Recorder<'a>(&'a mut Line);

impl Visit for Recorder<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.put(field.name(), Value::debug(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.put(field.name(), Value::text(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.put(field.name(), Value::Bare(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.put(field.name(), Value::Bare(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.put(field.name(), Value::Bare(value.to_string()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let text = value.to_string();
        // JSON has no word for what is not a number.
        let value = if value.is_finite() {
            Value::Bare(text)
        } else {
            Value::text(&text)
        };
        self.0.put(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, error: &(dyn std::error::Error + 'static)) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        self.0.put(field.name(), Value::text(&text));
    }
}

#[cfg(test)]
mod tests;
