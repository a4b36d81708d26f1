//! Durations as people write them (`15s`, `10m`, `1h30m`, `500ms`, `7d`) and milliseconds.
//!
//! Used by the configuration and by flags. Pure text; it refuses bare numbers and decimals,
//! because a unit that is guessed is a unit that is wrong.

// Writing to a String cannot fail, so its result is dropped.
use std::fmt::Write;

use crate::model::time::Millis;

use super::finding::Refusal;

/// Units from the largest to the smallest; a text names each at most once, in this order.
const UNITS: [(&str, i64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Ten years: far beyond every use, and far below where sums of milliseconds could overflow.
pub const DURATION_MAX: Millis = Millis(3_650 * 86_400_000);

/// Longest text looked at: five units with their greatest numbers fit easily.
const TEXT_BYTES_MAX: usize = 40;

/// Reads a duration of zero or more.
///
/// # Errors
/// A [`Refusal`] that says what is wrong with the text and how to write it.
pub fn parse(text: &str) -> Result<Millis, Refusal> {
    let refuse = |why: &str| {
        Err(Refusal::value(
            text,
            &format!("is not a duration: {why}"),
            "write a number with a unit, for example 500ms, 15s, 10m, 1h30m or 7d",
        ))
    };
    if text.is_empty() {
        return refuse("it is empty");
    }
    if text.len() > TEXT_BYTES_MAX {
        return refuse("it is too long");
    }
    let mut rest = text;
    let mut total: i64 = 0;
    let mut units_left = &UNITS[..];
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Ok(number) = rest[..digits].parse::<i64>() else {
            return refuse("a number is missing or too large");
        };
        rest = &rest[digits..];
        let letters = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_lowercase())
                .len();
        let unit = &rest[..letters];
        rest = &rest[letters..];
        if unit.is_empty() {
            return refuse(match rest.chars().next() {
                None => "it has no unit",
                Some('.' | ',') => "decimals are not accepted",
                Some(_) => "the units are d, h, m, s and ms",
            });
        }
        let Some(at) = units_left.iter().position(|(name, _)| *name == unit) else {
            return refuse(if UNITS.iter().any(|(name, _)| *name == unit) {
                "units go from large to small, each once"
            } else {
                "the units are d, h, m, s and ms"
            });
        };
        let span = number.checked_mul(units_left[at].1);
        match span.and_then(|span| total.checked_add(span)) {
            Some(sum) if sum <= DURATION_MAX.0 => total = sum,
            _ => return refuse("it is longer than 3650d"),
        }
        units_left = &units_left[at + 1..];
    }
    Ok(Millis(total))
}

/// Writes a duration so that [`parse`] reads it back; a negative one is written as zero.
pub fn text(duration: Millis) -> String {
    let mut left = duration.0.max(0);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (name, millis) in UNITS {
        if left >= millis {
            let _ = write!(out, "{}{name}", left / millis);
            left %= millis;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_texts_are_read() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("15s", 15_000),
            ("10m", 600_000),
            ("90m", 5_400_000),
            ("1h30m", 5_400_000),
            ("1m500ms", 60_500),
            ("7d", 604_800_000),
            ("3650d", DURATION_MAX.0),
        ] {
            assert_eq!(parse(text).unwrap(), Millis(millis), "{text}");
        }
    }

    #[test]
    fn every_refusal_says_why() {
        for (text, why) in [
            ("", "is empty"),
            ("15", "has no unit"),
            ("1.5h", "decimals"),
            ("15 s", "units are"),
            ("15S", "units are"),
            ("2w", "units are"),
            ("s", "number is missing"),
            ("-5s", "number is missing"),
            ("5m5h", "large to small"),
            ("5m5m", "large to small"),
            ("3651d", "longer than 3650d"),
            ("9223372036854775807d", "longer than 3650d"),
            ("99999999999999999999s", "too large"),
            ("1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s", "too long"),
            ("١s", "number is missing"),
        ] {
            let refusal = parse(text).unwrap_err();
            assert!(refusal.what.contains(why), "{text}: {}", refusal.what);
            assert!(refusal.hint.contains("1h30m"));
        }
    }

    #[test]
    fn texts_and_milliseconds_are_inverse() {
        for millis in [0, 1, 999, 1_000, 60_500, 5_400_000, 90_061_001, 604_800_000] {
            assert_eq!(parse(&text(Millis(millis))).unwrap(), Millis(millis));
        }
        assert_eq!(text(Millis(5_400_000)), "1h30m");
        assert_eq!(text(Millis(-1)), "0s");
    }
}
