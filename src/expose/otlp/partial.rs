//! Hears what the OTLP client says about points that a collector refused.
//!
//! A collector may take a request and refuse some of its points. The client does not return
//! that: it writes a warning and reports success. So its events are listened to while it sends,
//! on this thread alone; the log of the process gets one line of ours instead.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};

/// What the client's event is called, over HTTP and over gRPC.
const EVENT: &str = "PartialSuccess";

/// Longest text of a collector that is passed on.
const TEXT_CHARS_MAX: usize = 200;

/// Points that a collector refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Refused {
    pub(super) points: i64,
    pub(super) why: String,
}

/// Listens until it is asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Listener(Arc<Mutex<Option<Refused>>>);

impl Listener {
    /// The subscriber that hears for this listener.
    pub(super) fn dispatch(&self) -> Dispatch {
        Dispatch::new(self.clone())
    }

    /// What was heard since it was last asked. A bare text without refused points is a remark
    /// of the collector's (the specification calls it a warning), not a loss.
    pub(super) fn heard(&self) -> Option<Refused> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        heard.filter(|refused| refused.points > 0)
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.name().ends_with(EVENT)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        // Spans are not enabled; the trait wants an answer all the same.
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut refused = Refused::default();
        event.record(&mut refused);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Refused {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "rejected_data_points" {
            self.points = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "error_message" {
            self.why = value.chars().take(TEXT_CHARS_MAX).collect();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
