//! In which forms readers ask for the page: those are worth making before anybody asks again.

use std::sync::atomic::{AtomicI64, Ordering};

use super::page::Format;
use crate::model::time::{Millis, Monotonic};

/// Whoever scrapes comes back within this; the form in which nobody has asked for so long is left to
/// the reader who does.
const LATELY: Millis = Millis::from_secs(120);

/// Forms of the page: format, and whether it is compressed.
const FORMS: [(Format, bool); 4] = [
    (Format::Text, false),
    (Format::Text, true),
    (Format::OpenMetrics, false),
    (Format::OpenMetrics, true),
];

/// When readers last asked for the page, by form.
#[derive(Debug)]
pub(super) struct Asked([AtomicI64; FORMS.len()]);

impl Default for Asked {
    fn default() -> Self {
        // Before any reading of the clock, yet so that the span to one can be computed.
        Self(std::array::from_fn(|_| AtomicI64::new(i64::MIN / 4)))
    }
}

impl Asked {
    pub(super) fn note(&self, format: Format, gzip: bool, now: Monotonic) {
        for (form, at) in FORMS.iter().zip(&self.0) {
            if *form == (format, gzip) {
                at.store(now.0, Ordering::Relaxed);
            }
        }
    }

    /// The forms in which readers have asked for it lately.
    pub(super) fn lately(&self, now: Monotonic) -> impl Iterator<Item = (Format, bool)> {
        let is_recent = move |at: &AtomicI64| now - Monotonic(at.load(Ordering::Relaxed)) <= LATELY;
        let forms = FORMS.into_iter().zip(&self.0);
        forms.filter_map(move |(form, at)| is_recent(at).then_some(form))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_made_ahead_while_readers_ask_for_it() {
        let asked = Asked::default();
        let forms = |at| asked.lately(Monotonic(at)).collect::<Vec<_>>();
        assert_eq!(forms(0), []);
        asked.note(Format::Text, true, Monotonic(5));
        asked.note(Format::OpenMetrics, true, Monotonic(100_000));
        let both = [(Format::Text, true), (Format::OpenMetrics, true)];
        assert_eq!(forms(120_005), both);
        assert_eq!(forms(120_006), both[1..]);
    }
}
