//! Instants and spans as integers of milliseconds.
//!
//! Two clocks that never mix: [`UnixMillis`] stamps facts, [`Monotonic`] waits and
//! ages. The only text form is RFC 3339 in UTC with milliseconds and `Z`
//! (semantics.md §11); any offset is accepted on input and its instant kept.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use chrono::{DateTime, Datelike as _, NaiveDate, SecondsFormat, Timelike as _, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A span in milliseconds; may be negative (a difference of two instants).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of whole seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds * 1_000)
    }

    /// The span in seconds, milliseconds as decimals.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1_000.0
    }

    /// The span as a [`Duration`]; a negative span becomes zero.
    pub fn to_duration(self) -> Duration {
        Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }
}

impl From<Duration> for Millis {
    /// Rounds down to whole milliseconds; saturates at `i64::MAX`.
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
    }
}

impl Add for Millis {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Millis {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

/// A wall-clock instant: milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub i64);

/// Why a text is not an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an RFC 3339 timestamp between years 1970 and 9999")]
pub struct TimeError {
    /// The refused text, cut to a bounded length.
    pub text: String,
}

/// The form in which instants are written: RFC 3339 in UTC with milliseconds, which sorts as text.
const FORM: &[u8; TEXT_BYTES] = b"0000-00-00T00:00:00.000Z";
const TEXT_BYTES: usize = 24;

/// Longest timestamp text looked at; RFC 3339 with nanoseconds and offset has 35 characters.
const TIMESTAMP_TEXT_MAX: usize = 64;

/// 9999-12-31T23:59:59.999Z, the last instant that RFC 3339 can write with four digits of year.
pub const UNIX_MILLIS_MAX: i64 = 253_402_300_799_999;

impl UnixMillis {
    /// Parses RFC 3339 with any offset; a fraction finer than milliseconds is cut, not rounded;
    /// a leap second `:60` becomes the last millisecond of its minute.
    ///
    /// # Errors
    /// [`TimeError`] for any other text and for instants outside 1970 to 9999.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let refuse = || TimeError {
            text: text.chars().take(TIMESTAMP_TEXT_MAX).collect(),
        };
        if let Some(instant) = Self::of_our_form(text) {
            return Ok(instant);
        }
        if text.len() > TIMESTAMP_TEXT_MAX {
            return Err(refuse());
        }
        let parsed = DateTime::parse_from_rfc3339(text).map_err(|_| refuse())?;
        // chrono writes the leap second as second 59 plus 1,000 to 1,999 ms.
        let leap = parsed.timestamp_subsec_millis() >= 1_000;
        let millis = if leap {
            parsed.timestamp() * 1_000 + 999
        } else {
            parsed.timestamp_millis()
        };
        if (0..=UNIX_MILLIS_MAX).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(refuse())
        }
    }

    /// The instant of a text of the form in which we write instants. Nearly every text that is read
    /// is one: rows, records and the platform's answers. `None` says only that it is another form.
    fn of_our_form(text: &str) -> Option<Self> {
        let text: &[u8; TEXT_BYTES] = text.as_bytes().try_into().ok()?;
        let shaped = |(&byte, &form): (&u8, &u8)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == form,
        };
        if !text.iter().zip(FORM).all(shaped) {
            return None;
        }
        let number = |from: usize, to: usize| {
            let digits = text[from..to].iter();
            digits.fold(0, |sum, &digit| sum * 10 + u32::from(digit - b'0'))
        };
        // Four digits always fit.
        let date = NaiveDate::from_ymd_opt(number(0, 4) as i32, number(5, 7), number(8, 10))?;
        let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
        let instant = date.and_hms_milli_opt(hour, minute, second, number(20, 23))?;
        let millis = instant.and_utc().timestamp_millis();
        (0..=UNIX_MILLIS_MAX)
            .contains(&millis)
            .then_some(Self(millis))
    }

    /// The text of an instant between 1970 and 9999. The calendar is chrono's; its formatter, which
    /// interprets a pattern, takes ten times as long as putting the digits where they belong.
    fn written(self) -> Option<[u8; TEXT_BYTES]> {
        if !(0..=UNIX_MILLIS_MAX).contains(&self.0) {
            return None;
        }
        let instant = DateTime::<Utc>::from_timestamp_millis(self.0)?;
        let (date, time) = (instant.date_naive(), instant.time());
        let mut text = *FORM;
        let mut put = |from: usize, to: usize, mut number: u32| {
            for place in text[from..to].iter_mut().rev() {
                *place = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        put(0, 4, date.year().unsigned_abs());
        put(5, 7, date.month());
        put(8, 10, date.day());
        put(11, 13, time.hour());
        put(14, 16, time.minute());
        put(17, 19, time.second());
        put(20, 23, self.0.rem_euclid(1_000) as u32);
        Some(text)
    }

    /// The greatest multiple of `step` (aligned to the Unix epoch) that is not after `self`.
    ///
    /// # Panics
    /// If `step` is not positive.
    pub fn floor(self, step: Millis) -> Self {
        assert!(step.0 > 0, "a step is positive");
        Self(self.0 - self.0.rem_euclid(step.0))
    }

    /// Seconds since the epoch, milliseconds as decimals: the form of `*_timestamp_seconds`.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1_000.0
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.written() {
            return f.write_str(ascii(&text));
        }
        match DateTime::<Utc>::from_timestamp_millis(self.0) {
            Some(instant) => f.write_str(&instant.to_rfc3339_opts(SecondsFormat::Millis, true)),
            None => write!(f, "{} ms", self.0),
        }
    }
}

impl fmt::Debug for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for UnixMillis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.written() {
            Some(text) => serializer.serialize_str(ascii(&text)),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for UnixMillis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

/// Reads an instant's text where it lies.
struct Text;

impl de::Visitor<'_> for Text {
    type Value = UnixMillis;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<UnixMillis, E> {
        UnixMillis::parse(text).map_err(E::custom)
    }
}

fn ascii(text: &[u8]) -> &str {
    std::str::from_utf8(text).expect("digits and marks are ASCII")
}

impl Add<Millis> for UnixMillis {
    type Output = Self;
    fn add(self, span: Millis) -> Self {
        Self(self.0 + span.0)
    }
}

impl Sub<Millis> for UnixMillis {
    type Output = Self;
    fn sub(self, span: Millis) -> Self {
        Self(self.0 - span.0)
    }
}

impl Sub for UnixMillis {
    type Output = Millis;
    fn sub(self, other: Self) -> Millis {
        Millis(self.0 - other.0)
    }
}

/// A reading of the monotonic clock: milliseconds since some fixed point of this process.
/// Only differences mean anything; never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(pub i64);

impl Add<Millis> for Monotonic {
    type Output = Self;
    fn add(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub for Monotonic {
    type Output = Millis;
    fn sub(self, other: Self) -> Millis {
        Millis(self.0 - other.0)
    }
}

/// Both clocks, read at one moment: the `now` that every core function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// For waiting and ageing.
    pub mono: Monotonic,
    /// For stamps.
    pub wall: UnixMillis,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn any_offset_is_the_same_instant_and_is_written_as_z() {
        let utc = UnixMillis::parse("2024-05-14T08:30:00.000Z").unwrap();
        assert_eq!(utc, UnixMillis::parse("2024-05-14T10:30:00+02:00").unwrap());
        assert_eq!(utc.to_string(), "2024-05-14T08:30:00.000Z");
    }

    proptest! {
        #[test]
        fn our_form_is_what_chrono_writes_and_reads(millis in 0..=UNIX_MILLIS_MAX) {
            let instant = DateTime::<Utc>::from_timestamp_millis(millis).unwrap();
            let text = instant.to_rfc3339_opts(SecondsFormat::Millis, true);
            prop_assert_eq!(UnixMillis(millis).to_string(), &*text);
            prop_assert_eq!(serde_json::to_string(&UnixMillis(millis)).unwrap(), format!("{text:?}"));
            prop_assert_eq!(UnixMillis::of_our_form(&text), Some(UnixMillis(millis)));
            prop_assert_eq!(DateTime::parse_from_rfc3339(&text).unwrap().timestamp_millis(), millis);
        }

        /// One place of a right text is another: both readers agree on what it is now.
        #[test]
        fn what_is_read_fast_is_read_alike_by_chrono(
            millis in 0..=UNIX_MILLIS_MAX,
            place in 0..TEXT_BYTES,
            other in "[0-9:TtZz. +-]",
        ) {
            let mut text = UnixMillis(millis).to_string();
            text.replace_range(place..=place, &other);
            if let Some(read) = UnixMillis::of_our_form(&text) {
                let chrono = DateTime::parse_from_rfc3339(&text).unwrap();
                prop_assert_eq!(read.0, chrono.timestamp_millis());
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_are_written_and_read() {
        for millis in [0, 1, UNIX_MILLIS_MAX] {
            let text = UnixMillis(millis).to_string();
            assert_eq!(UnixMillis::of_our_form(&text), Some(UnixMillis(millis)));
        }
        assert_eq!(UnixMillis(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(UnixMillis::of_our_form("1969-12-31T23:59:59.999Z"), None);
        assert_eq!(UnixMillis::of_our_form("2024-02-30T00:00:00.000Z"), None);
    }

    #[test]
    fn fractions_are_cut_and_a_leap_second_ends_its_minute() {
        let fine = UnixMillis::parse("2024-05-14T08:30:00.1239999Z").unwrap();
        assert_eq!(fine.to_string(), "2024-05-14T08:30:00.123Z");
        let leap = UnixMillis::parse("2016-12-31T23:59:60Z").unwrap();
        assert_eq!(leap.to_string(), "2016-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_is_not_an_instant_is_refused_by_name() {
        for text in [
            "",
            "yesterday",
            "2024-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(UnixMillis::parse(text).unwrap_err().text, text);
        }
        assert!(
            UnixMillis::parse(&"9".repeat(10_000))
                .unwrap_err()
                .text
                .len()
                <= 64
        );
    }

    #[test]
    fn windows_are_aligned_to_the_epoch() {
        let step = Millis::from_secs(300);
        let at = UnixMillis::parse("2024-05-14T08:34:59.999Z").unwrap();
        assert_eq!(at.floor(step).to_string(), "2024-05-14T08:30:00.000Z");
        assert_eq!(UnixMillis(0).floor(step), UnixMillis(0));
    }
}
