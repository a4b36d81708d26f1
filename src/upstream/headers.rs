//! Rate and retry headers, judged: pure, total, bounded.
//!
//! Between the client, which keeps these headers as texts, and the poller, which waits by them.
//! Whatever a server writes, no value from here is negative or longer than [`WAIT_MAX`]: other
//! vendors put an epoch where the platform puts seconds, and a client that believes it sleeps
//! for decades (reliability.md §3.1).

use chrono::NaiveDateTime;

use super::response::Headers;
use crate::model::time::{Millis, UnixMillis};

/// Longest wait that a header can ask for; what asks for more is cut and flagged, so that an
/// operator hears of it instead of finding a silent exporter.
pub const WAIT_MAX: Millis = Millis::from_secs(15 * 60);

/// The wait after a 429 that says nothing usable: the length of the platform's rate window.
pub const WAIT_DEFAULT: Millis = Millis::from_secs(60);

/// Added to what the platform says, which is rounded to whole seconds.
const ROUNDING: Millis = Millis::from_secs(1);

/// Largest believable number of requests a window; a greater one is taken for garbage.
const REQUESTS_MAX: u32 = 1_000_000;

/// From here on a number of seconds is an instant instead (2001 and later).
const EPOCH_SECONDS_FROM: i64 = 1_000_000_000;
/// From here on it is an instant in milliseconds.
const EPOCH_MILLIS_FROM: i64 = 1_000_000_000_000;

/// Longest header text looked at.
const TEXT_MAX: usize = 64;

/// The running rate window, as the platform describes it on every answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateHeaders {
    /// Requests counted in this window, ours included.
    pub count: Option<u32>,
    /// Requests allowed a window; never zero.
    pub allowed: Option<u32>,
    /// Time to the window's end; 0 to [`WAIT_MAX`].
    pub reset: Option<Millis>,
}

impl RateHeaders {
    /// Reads them; an unusable one is `None`. `now` is our wall clock on arrival, for servers
    /// that write an instant where a span belongs.
    pub fn read(headers: &Headers, now: UnixMillis) -> Self {
        let number = |text: &Option<String>| {
            text.as_deref()
                .and_then(whole_number)
                .and_then(|value| u32::try_from(value).ok())
                .filter(|value| *value <= REQUESTS_MAX)
        };
        Self {
            count: number(&headers.rate_count),
            allowed: number(&headers.rate_allowed).filter(|allowed| *allowed > 0),
            reset: headers
                .rate_reset
                .as_deref()
                .and_then(whole_number)
                .map(|value| until(value, reference(headers, now)).min(WAIT_MAX)),
        }
    }
}

/// What a wait rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitBasis {
    /// `Retry-After` could be read.
    RetryAfter,
    /// It could not; the end of the rate window stands in.
    Reset,
    /// Neither could be read; [`WAIT_DEFAULT`].
    Default,
}

/// How long to leave the platform alone after a 429 (or a 503 that says so), without jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter {
    /// The whole wait, from 1 s to [`WAIT_MAX`].
    pub wait: Millis,
    /// `Retry-After` by itself, 0 to [`WAIT_MAX`]; `None` if missing or unreadable. A negative
    /// number and a date in the past are 0.
    pub told: Option<Millis>,
    /// What `wait` rests on.
    pub basis: WaitBasis,
    /// `Retry-After` was there and could not be read.
    pub invalid: bool,
    /// More than [`WAIT_MAX`] was asked for: worth an alarm.
    pub capped: bool,
}

/// Reads `Retry-After` by the table of reliability.md §3.3: the later of it and the end of the
/// rate window, and one second more. `now` is our wall clock on arrival; the answer's own `Date`
/// is preferred to it where it is fresh, so that a wrong clock here does not change the wait.
pub fn retry_after(headers: &Headers, now: UnixMillis) -> RetryAfter {
    let reference = reference(headers, now);
    let text = headers.retry_after.as_deref().map(str::trim);
    let asked = text.and_then(|text| {
        whole_number(text)
            .map(|value| until(value, reference))
            .or_else(|| http_date(text).map(|at| span(at.0, reference.0)))
    });
    let reset = RateHeaders::read(headers, now).reset;
    let basis = match (asked, reset) {
        (Some(_), _) => WaitBasis::RetryAfter,
        (None, Some(_)) => WaitBasis::Reset,
        (None, None) => WaitBasis::Default,
    };
    let wait = match basis {
        WaitBasis::Default => WAIT_DEFAULT,
        WaitBasis::RetryAfter | WaitBasis::Reset => {
            let longest = asked.max(reset).unwrap_or(WAIT_DEFAULT);
            longest.min(WAIT_MAX) + ROUNDING
        }
    };
    RetryAfter {
        wait: wait.min(WAIT_MAX),
        told: asked.map(|asked| asked.min(WAIT_MAX)),
        basis,
        invalid: text.is_some() && asked.is_none(),
        capped: asked.is_some_and(|asked| asked > WAIT_MAX),
    }
}

/// Reads an HTTP date (RFC 9110 §5.6.7): the fixed form that servers must send, and the two
/// obsolete ones that clients must accept. The name of the day is not checked.
pub fn http_date(text: &str) -> Option<UnixMillis> {
    let text = text.trim();
    if text.len() > TEXT_MAX || !text.is_ascii() {
        return None;
    }
    let parsed = if let Some((_, date)) = text.split_once(", ") {
        NaiveDateTime::parse_from_str(date, "%d %b %Y %H:%M:%S GMT")
            .or_else(|_| NaiveDateTime::parse_from_str(date, "%d-%b-%y %H:%M:%S GMT"))
    } else {
        let (_, date) = text.split_once(' ')?;
        NaiveDateTime::parse_from_str(date, "%b %e %H:%M:%S %Y")
    };
    let seconds = parsed.ok()?.and_utc().timestamp();
    (0..=YEAR_9999_END)
        .contains(&seconds)
        .then_some(UnixMillis(seconds * 1_000))
}

/// 9999-12-31T23:59:59Z.
const YEAR_9999_END: i64 = 253_402_300_799;

/// The instant to count from: the answer's own date if it did not pass a cache, else our clock.
fn reference(headers: &Headers, now: UnixMillis) -> UnixMillis {
    headers.date.filter(|_| !headers.aged).unwrap_or(now)
}

/// A whole number with an optional sign; too many digits read as the largest number.
fn whole_number(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || digits.len() > TEXT_MAX || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    Some(digits.parse::<i64>().unwrap_or(i64::MAX) * sign)
}

/// The wait that a number means: seconds, or an instant where only an instant makes sense.
fn until(value: i64, reference: UnixMillis) -> Millis {
    if value >= EPOCH_MILLIS_FROM {
        span(value, reference.0)
    } else if value >= EPOCH_SECONDS_FROM {
        span(value * 1_000, reference.0)
    } else {
        Millis(value.max(0) * 1_000)
    }
}

/// `to − from`, not below zero, for any two numbers.
fn span(to: i64, from: i64) -> Millis {
    Millis(to.saturating_sub(from).max(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: &str = "2024-05-14T08:30:00.000Z";

    fn now() -> UnixMillis {
        UnixMillis::parse(NOW).unwrap()
    }

    fn after(retry: Option<&str>, reset: Option<&str>) -> RetryAfter {
        let headers = Headers {
            retry_after: retry.map(str::to_owned),
            rate_reset: reset.map(str::to_owned),
            ..Headers::default()
        };
        retry_after(&headers, now())
    }

    fn wait_secs(retry: &str) -> i64 {
        after(Some(retry), None).wait.0 / 1_000
    }

    #[test]
    fn seconds_and_dates_become_waits_with_a_second_for_rounding() {
        assert_eq!(wait_secs("30"), 31);
        assert_eq!(wait_secs(" 30 "), 31);
        assert_eq!(wait_secs("Tue, 14 May 2024 08:31:00 GMT"), 61);
        assert_eq!(wait_secs("Tuesday, 14-May-24 08:31:00 GMT"), 61);
        assert_eq!(wait_secs("Tue May 14 08:31:00 2024"), 61);
    }

    #[test]
    fn what_has_passed_is_no_wait() {
        for past in ["0", "-5", "Tue, 14 May 2024 08:00:00 GMT", "1700000000"] {
            let read = after(Some(past), None);
            assert_eq!(read.told, Some(Millis::ZERO), "{past}");
            assert_eq!(read.wait, ROUNDING, "{past}");
            assert!(!read.invalid && !read.capped, "{past}");
        }
    }

    #[test]
    fn an_epoch_is_an_instant_not_a_span() {
        let at = now() + Millis::from_secs(20);
        assert_eq!(wait_secs(&(at.0 / 1_000).to_string()), 21);
        assert_eq!(wait_secs(&at.0.to_string()), 21);
    }

    #[test]
    fn garbage_falls_back_to_the_window_then_to_a_minute() {
        for garbage in ["", "soon", "1.5", "12 s", "Tue, 99 Foo 2024", "\u{663}"] {
            let reset = after(Some(garbage), Some("7"));
            assert_eq!(
                (reset.wait, reset.basis),
                (Millis::from_secs(8), WaitBasis::Reset)
            );
            assert!(reset.invalid);
            let blind = after(Some(garbage), None);
            assert_eq!(
                (blind.wait, blind.basis),
                (WAIT_DEFAULT, WaitBasis::Default)
            );
        }
        assert!(!after(None, None).invalid);
    }

    #[test]
    fn the_later_of_both_wins() {
        assert_eq!(after(Some("5"), Some("40")).wait, Millis::from_secs(41));
        assert_eq!(after(Some("40"), Some("5")).wait, Millis::from_secs(41));
    }

    #[test]
    fn a_day_is_cut_to_a_quarter_of_an_hour_and_flagged() {
        for long in [
            "86400",
            "99999999999999999999",
            "Fri, 31 Dec 9999 23:59:59 GMT",
        ] {
            let read = after(Some(long), None);
            assert_eq!(read.wait, WAIT_MAX, "{long}");
            assert!(read.capped, "{long}");
        }
        assert!(!after(Some("900"), None).capped);
    }

    #[test]
    fn dates_are_measured_by_the_servers_clock_unless_the_answer_is_old() {
        let headers = Headers {
            date: Some(now() + Millis::from_secs(300)),
            retry_after: Some("Tue, 14 May 2024 08:36:00 GMT".to_owned()),
            ..Headers::default()
        };
        assert_eq!(
            retry_after(&headers, now()).told,
            Some(Millis::from_secs(60))
        );
        let aged = Headers {
            aged: true,
            ..headers
        };
        assert_eq!(retry_after(&aged, now()).told, Some(Millis::from_secs(360)));
    }

    #[test]
    fn rate_headers_are_read_or_dropped() {
        let read = |count: &str, allowed: &str, reset: &str| {
            let headers = Headers {
                rate_count: Some(count.to_owned()),
                rate_allowed: Some(allowed.to_owned()),
                rate_reset: Some(reset.to_owned()),
                ..Headers::default()
            };
            RateHeaders::read(&headers, now())
        };
        let good = read("17", "300", "42");
        assert_eq!((good.count, good.allowed), (Some(17), Some(300)));
        assert_eq!(good.reset, Some(Millis::from_secs(42)));
        assert_eq!(read("-1", "0", "x"), RateHeaders::default());
        assert_eq!(read("9999999999", "1e3", ""), RateHeaders::default());
        assert_eq!(read("", "", "31536000").reset, Some(WAIT_MAX));
    }

    #[test]
    fn http_dates_of_all_three_forms() {
        let at = UnixMillis(784_111_777_000);
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(http_date(text), Some(at), "{text}");
        }
        for text in [
            "",
            "06 Nov 1994",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1900 08:49:37 GMT",
        ] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }

    fn header_text() -> impl Strategy<Value = String> {
        prop_oneof![
            ".*",
            "[-+]?[0-9]{0,30}",
            "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{1,6} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
            any::<i64>().prop_map(|value| value.to_string()),
        ]
    }

    proptest! {
        #[test]
        fn nothing_panics_and_nothing_exceeds_the_cap(
            retry in proptest::option::of(header_text()),
            rate in proptest::option::of(header_text()),
            date in proptest::option::of(any::<i64>()),
            aged in any::<bool>(),
            now in any::<i64>(),
        ) {
            let headers = Headers {
                date: date.map(UnixMillis),
                aged,
                retry_after: retry,
                rate_count: rate.clone(),
                rate_allowed: rate.clone(),
                rate_reset: rate,
                ..Headers::default()
            };
            let read = retry_after(&headers, UnixMillis(now));
            prop_assert!(read.wait >= ROUNDING && read.wait <= WAIT_MAX);
            prop_assert!(read.told.is_none_or(|told| told >= Millis::ZERO && told <= WAIT_MAX));
            let rate = RateHeaders::read(&headers, UnixMillis(now));
            prop_assert!(rate.reset.is_none_or(|reset| reset >= Millis::ZERO && reset <= WAIT_MAX));
            prop_assert!(rate.allowed != Some(0));
        }

        #[test]
        fn dates_written_by_the_rule_read_back(seconds in 0..=YEAR_9999_END) {
            let text = chrono::DateTime::from_timestamp(seconds, 0)
                .unwrap()
                .format("%a, %d %b %Y %H:%M:%S GMT")
                .to_string();
            prop_assert_eq!(http_date(&text), Some(UnixMillis(seconds * 1_000)));
        }
    }
}
