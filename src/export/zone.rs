//! A time zone of the IANA database: how an instant is written there, and when a day begins.
//!
//! The database is compiled in, so that the same command prints the same on every machine.

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, TimeZone as _};
use chrono_tz::{TZ_VARIANTS, Tz};

use crate::config::finding::nearest;
use crate::model::time::UnixMillis;

/// The longest hole in a zone's local time: Samoa went without the 30th of December 2011.
const HOLE_SECONDS_MAX: i64 = 24 * 3_600;

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(Tz);

impl Zone {
    /// The one that all else is in.
    pub const UTC: Self = Self(Tz::UTC);

    /// By its name, such as `Europe/Rome`.
    ///
    /// # Errors
    /// What is wrong with the name, and perhaps which one was meant.
    pub fn parse(name: &str) -> Result<Self, String> {
        if let Ok(zone) = name.parse() {
            return Ok(Self(zone));
        }
        let known = TZ_VARIANTS.iter().map(|zone| zone.name());
        Err(match nearest(name, known) {
            Some(near) => format!("no zone has this name; did you mean {near}?"),
            None => "give a name of the IANA database, such as Europe/Rome".to_owned(),
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// An instant as RFC 3339 with milliseconds and the zone's offset; `Z` in UTC.
    pub fn text(self, at: UnixMillis) -> String {
        match DateTime::from_timestamp_millis(at.0) {
            Some(instant) if self != Self::UTC => instant
                .with_timezone(&self.0)
                .to_rfc3339_opts(SecondsFormat::Millis, false),
            _ => at.to_string(),
        }
    }

    /// The first instant of a day; `None` outside 1970 to 9999.
    pub fn start_of(self, day: NaiveDate) -> Option<UnixMillis> {
        let midnight = day.and_hms_opt(0, 0, 0)?;
        // Where clocks are put forward at midnight, the day begins later.
        let start = (0..=HOLE_SECONDS_MAX).find_map(|second| {
            let local = midnight.checked_add_signed(TimeDelta::seconds(second))?;
            self.0.from_local_datetime(&local).earliest()
        })?;
        UnixMillis::parse(&start.to_rfc3339()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(zone: &str, day: &str) -> String {
        let zone = Zone::parse(zone).unwrap();
        let start = zone.start_of(day.parse().unwrap()).unwrap();
        format!("{start} {}", zone.text(start))
    }

    #[test]
    fn an_instant_is_written_with_the_offset_of_its_zone_at_that_time() {
        let rome = Zone::parse("Europe/Rome").unwrap();
        for (utc, there) in [
            ("2024-05-14T08:30:00.250Z", "2024-05-14T10:30:00.250+02:00"),
            ("2024-01-14T08:30:00.000Z", "2024-01-14T09:30:00.000+01:00"),
            // The hour that comes twice keeps two names.
            ("2024-10-27T00:30:00.000Z", "2024-10-27T02:30:00.000+02:00"),
            ("2024-10-27T01:30:00.000Z", "2024-10-27T02:30:00.000+01:00"),
        ] {
            let at = UnixMillis::parse(utc).unwrap();
            assert_eq!(rome.text(at), there);
            assert_eq!(Zone::UTC.text(at), utc);
            assert_eq!(UnixMillis::parse(there), Ok(at));
        }
        let kathmandu = Zone::parse("Asia/Kathmandu").unwrap();
        assert!(
            kathmandu
                .text(UnixMillis(0))
                .ends_with("T05:30:00.000+05:30")
        );
    }

    #[test]
    fn a_day_begins_at_midnight_or_as_soon_as_there_is_a_time() {
        for (zone, day, start) in [
            (
                "UTC",
                "2024-05-14",
                "2024-05-14T00:00:00.000Z 2024-05-14T00:00:00.000Z",
            ),
            (
                "Europe/Rome",
                "2024-05-14",
                "2024-05-13T22:00:00.000Z 2024-05-14T00:00:00.000+02:00",
            ),
            // Clocks went from 0:00 to 1:00.
            (
                "America/Sao_Paulo",
                "2018-11-04",
                "2018-11-04T03:00:00.000Z 2018-11-04T01:00:00.000-02:00",
            ),
            // Midnight came twice; the day begins with the first.
            (
                "America/Havana",
                "2024-11-03",
                "2024-11-03T04:00:00.000Z 2024-11-03T00:00:00.000-04:00",
            ),
            // There was no such day.
            (
                "Pacific/Apia",
                "2011-12-30",
                "2011-12-30T10:00:00.000Z 2011-12-31T00:00:00.000+14:00",
            ),
        ] {
            assert_eq!(starts(zone, day), start, "{zone}");
        }
        let far = "1969-12-31".parse().unwrap();
        assert_eq!(Zone::UTC.start_of(far), None);
    }

    #[test]
    fn a_name_that_is_none_is_refused_with_the_one_that_was_meant() {
        assert_eq!(Zone::parse("Europe/Rome").unwrap().name(), "Europe/Rome");
        assert_eq!(
            Zone::parse("Europe/Roma").unwrap_err(),
            "no zone has this name; did you mean Europe/Rome?"
        );
        assert!(Zone::parse("here").unwrap_err().contains("IANA"));
    }
}
