//! `30s`, `5m`: spans as fault strings write them. Whole numbers, one unit.

use crate::model::time::Millis;

/// Units with their milliseconds, longest suffix first where one ends another.
const UNITS: [(&str, i64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
/// A year: longer spans are mistakes, and shorter ones cannot overflow.
const SPAN_MAX_MS: i64 = 365 * 86_400_000;

/// Reads a span; `None` for any other text.
pub fn parse(text: &str) -> Option<Millis> {
    let (digits, unit) = UNITS
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let span = digits.parse::<i64>().ok()?.checked_mul(*unit)?;
    (span <= SPAN_MAX_MS).then_some(Millis(span))
}

/// Reads a span that must have a sign.
pub fn parse_signed(text: &str) -> Option<Millis> {
    match text.split_at_checked(1)? {
        ("+", span) => parse(span),
        ("-", span) => parse(span).map(|span| Millis(-span.0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_anything_else_is_not() {
        assert_eq!(parse("250ms"), Some(Millis(250)));
        assert_eq!(parse("30s"), Some(Millis(30_000)));
        assert_eq!(parse("5m"), Some(Millis(300_000)));
        assert_eq!(parse("2h"), Some(Millis(7_200_000)));
        for text in [
            "",
            "s",
            "5",
            "-5s",
            "+5s",
            "5 s",
            "5d",
            "1.5s",
            "99999999999999999999h",
            "9000h",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse_signed("-5m"), Some(Millis(-300_000)));
        assert_eq!(parse_signed("+1s"), Some(Millis(1_000)));
        for text in ["", "5m", "±5m", "--5m"] {
            assert_eq!(parse_signed(text), None, "{text}");
        }
    }
}
