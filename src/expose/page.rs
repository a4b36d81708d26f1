//! The one renderer of families: text 0.0.4 and OpenMetrics 1.0. Pure.
//!
//! Our own because the prometheus crate took about ten times as long and has no OpenMetrics
//! (conventions.md §5). Both formats give the same series: `le` is written `1.0`-style in both,
//! and no type is used that only one of them knows.

use std::fmt::Write as _;

use super::families::{Distribution, Family, Sample, Value};
use crate::catalog::{LABELS_MAX, MetricSpec};

/// An exposition format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The header `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
            }
        }
    }

    /// What a whole page ends with.
    pub const fn end(self) -> &'static str {
        match self {
            Self::Text => "",
            Self::OpenMetrics => "# EOF\n",
        }
    }
}

/// Exponents are used from here on, where writing a float out would take dozens of digits. No
/// count of milliseconds and no count of ours comes near it.
const PLAIN_BELOW: f64 = 1e17;

/// 2^53: below it every whole number has a float of its own, and its digits are those of the float.
const WHOLE_BELOW: f64 = 9_007_199_254_740_992.0;

/// Appends families to a page. A family without samples is left out. The caller ends the page
/// with [`Format::end`].
pub fn render(families: &[Family<'_>], format: Format, out: &mut String) {
    let mut bounds = Bounds::default();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let spec = family.metric.spec();
        write_head(spec, format, out);
        for sample in &family.samples {
            write_sample(spec, sample, &mut bounds, out);
        }
    }
}

/// The texts of a histogram's upper bounds: all series of a family have the same ones, and writing
/// a float takes longer than all else on its line.
#[derive(Default)]
struct Bounds(Vec<(u64, String)>);

impl Bounds {
    /// The text of the bound at `index`.
    fn text(&mut self, index: usize, upper: f64) -> &str {
        let bits = upper.to_bits();
        if self.0.get(index).is_none_or(|(known, _)| *known != bits) {
            self.0.truncate(index);
            // Debug writes `1.0` where Display writes `1`; both round-trip.
            self.0.push((bits, format!("{upper:?}")));
        }
        &self.0[index].1
    }
}

fn write_head(spec: &MetricSpec, format: Format, out: &mut String) {
    let name = match format {
        Format::Text => spec.prometheus_name,
        Format::OpenMetrics => spec.family_name(),
    };
    put(out, &["# HELP ", name, " "]);
    escape(spec.help, format == Format::OpenMetrics, out);
    put(out, &["\n# TYPE ", name, " ", spec.kind.word(), "\n"]);
    if let (Format::OpenMetrics, Some(unit)) = (format, spec.unit_suffix()) {
        put(out, &["# UNIT ", name, " ", unit, "\n"]);
    }
}

fn write_sample(spec: &MetricSpec, sample: &Sample<'_>, bounds: &mut Bounds, out: &mut String) {
    if let Value::Histogram(distribution) = &sample.value {
        write_histogram(spec, sample, distribution, bounds, out);
        return;
    }
    put(out, &[spec.prometheus_name]);
    write_labels(spec, &sample.labels, None, out);
    out.push(' ');
    match &sample.value {
        Value::Count(count) => write_count(*count, out),
        Value::Millis(millis) => write_millis(*millis, out),
        Value::Float(value) => write_float(*value, out),
        Value::Histogram(_) => unreachable!("written above"),
    }
    out.push('\n');
}

fn write_histogram(
    spec: &MetricSpec,
    sample: &Sample<'_>,
    distribution: &Distribution,
    bounds: &mut Bounds,
    out: &mut String,
) {
    let name = spec.prometheus_name;
    // The labels of all buckets but for the bound, which comes last.
    let mut head = String::new();
    put(&mut head, &[name, "_bucket"]);
    write_labels(spec, &sample.labels, Some(""), &mut head);
    let head = head.strip_suffix("\"}").expect("labels end so");
    for (index, (upper, count)) in distribution.buckets.iter().enumerate() {
        put(out, &[head, bounds.text(index, *upper), "\"} "]);
        write_count(*count, out);
        out.push('\n');
    }
    put(out, &[head, "+Inf\"} "]);
    write_count(distribution.count, out);
    put(out, &["\n", name, "_sum"]);
    write_labels(spec, &sample.labels, None, out);
    out.push(' ');
    write_float(distribution.sum, out);
    put(out, &["\n", name, "_count"]);
    write_labels(spec, &sample.labels, None, out);
    out.push(' ');
    write_count(distribution.count, out);
    out.push('\n');
}

const INFALLIBLE: &str = "writing to a string cannot fail";

fn write_labels(
    spec: &MetricSpec,
    values: &[&str; LABELS_MAX],
    le: Option<&str>,
    out: &mut String,
) {
    if spec.labels.is_empty() && le.is_none() {
        return;
    }
    let own = spec
        .labels
        .iter()
        .map(|label| label.name)
        .zip(values.iter().copied());
    let mut before = '{';
    for (name, value) in own.chain(le.map(|bound| ("le", bound))) {
        out.push(before);
        put(out, &[name, "=\""]);
        escape(value, true, out);
        out.push('"');
        before = ',';
    }
    out.push('}');
}

/// Escapes backslash and newline, and the quote where the format wants it.
fn escape(text: &str, quotes: bool, out: &mut String) {
    let special = |b: u8| b == b'\\' || b == b'\n' || (quotes && b == b'"');
    // Without a way out of the loop the compiler looks at many bytes at once.
    if !text.bytes().fold(false, |found, b| found | special(b)) {
        out.push_str(text);
        return;
    }
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

fn write_count(count: u64, out: &mut String) {
    out.push_str(itoa::Buffer::new().format(count));
}

/// Milliseconds as exact decimal seconds, no exponent, no trailing zeros: `1715675400.25`.
fn write_millis(millis: i64, out: &mut String) {
    if millis < 0 {
        out.push('-');
    }
    let magnitude = millis.unsigned_abs();
    write_count(magnitude / 1_000, out);
    let mut fraction = magnitude % 1_000;
    if fraction == 0 {
        return;
    }
    out.push('.');
    let mut place = 100;
    while fraction > 0 {
        // One decimal digit.
        out.push(char::from(b'0' + (fraction / place) as u8));
        fraction %= place;
        place /= 10;
    }
}

/// A float in the shortest form that reads back as the same float.
fn write_float(value: f64, out: &mut String) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if value.fract() == 0.0 && value.is_sign_positive() && value < WHOLE_BELOW {
        // Most are counts, and a count is written in a fraction of the time.
        write_count(value as u64, out);
    } else if value.abs() < PLAIN_BELOW {
        write!(out, "{value}").expect(INFALLIBLE);
    } else {
        write!(out, "{value:e}").expect(INFALLIBLE);
    }
}

fn put(out: &mut String, parts: &[&str]) {
    for part in parts {
        out.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(value: i64) -> String {
        let mut out = String::new();
        write_millis(value, &mut out);
        out
    }

    fn float(value: f64) -> String {
        let mut out = String::new();
        write_float(value, &mut out);
        out
    }

    #[test]
    fn milliseconds_are_exact_decimals() {
        assert_eq!(millis(1_715_675_400_250), "1715675400.25");
        assert_eq!(millis(1_715_675_400_000), "1715675400");
        assert_eq!(millis(7), "0.007");
        assert_eq!(millis(1_070), "1.07");
        assert_eq!(millis(999), "0.999");
        assert_eq!(millis(-1_500), "-1.5");
        assert_eq!(millis(i64::MAX), "9223372036854775.807");
        assert_eq!(millis(i64::MIN), "-9223372036854775.808");
    }

    #[test]
    fn floats_read_back_as_themselves() {
        for value in [
            0.0,
            1.0,
            0.1,
            0.941_176_470_588_235_3,
            1e-9,
            1e16,
            1e300,
            -2.5,
            f64::MAX,
        ] {
            assert_eq!(
                float(value).parse::<f64>().unwrap().to_bits(),
                value.to_bits()
            );
        }
        assert_eq!(float(5.0), "5");
        assert_eq!(float(-0.0), "-0");
        assert_eq!(float(9_007_199_254_740_991.0), "9007199254740991");
        assert_eq!(float(99_999_999_999_999_984.0), "99999999999999980");
        assert_eq!(float(1e300), "1e300");
        assert_eq!(float(f64::INFINITY), "+Inf");
        assert_eq!(float(f64::NEG_INFINITY), "-Inf");
        assert_eq!(float(f64::NAN), "NaN");
    }
}
