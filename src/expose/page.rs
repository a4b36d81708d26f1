//! The one renderer of families: text 0.0.4 and OpenMetrics 1.0. Pure.
//!
//! Our own because the prometheus crate took about ten times as long and has no OpenMetrics
//! (conventions.md §5). Both formats give the same series: `le` is written `1.0`-style in both,
//! and no type is used that only one of them knows.

use std::fmt::Write as _;

use super::families::{Distribution, Family, Sample, Value};
use crate::catalog::{CATALOG, LABELS_MAX, Metric, MetricSpec, ORG_LABEL};
use crate::model::time::UnixMillis;

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

/// What a sample has in a file of the past and not on a page: the labels that a scrape adds, and
/// its instant.
#[derive(Debug, Clone, Copy)]
pub struct Past<'a> {
    /// Names and values, written after the sample's own.
    pub labels: &'a [(&'a str, &'a str)],
    /// When it was scraped; written in seconds.
    pub at: UnixMillis,
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
            write_sample(spec, sample, Added::NONE, &mut bounds, out);
        }
    }
}

/// Appends families of several organisations to a page, each beside the value of its label `org`;
/// without one it is about the process. All samples of a metric stand together, as both formats want
/// it.
pub fn render_together(
    parts: &[(Option<&str>, Vec<Family<'_>>)],
    format: Format,
    out: &mut String,
) {
    let mut bounds = Bounds::default();
    for spec in &CATALOG {
        let of_metric =
            |family: &&Family<'_>| family.metric == spec.id && !family.samples.is_empty();
        let mut begun = false;
        for (org, families) in parts {
            let label = org.map(|org| (ORG_LABEL, org));
            let added = Added {
                labels: label.as_slice(),
                at: None,
            };
            for family in families.iter().filter(of_metric) {
                if !begun {
                    write_head(spec, format, out);
                    begun = true;
                }
                for sample in &family.samples {
                    write_sample(spec, sample, added, &mut bounds, out);
                }
            }
        }
    }
}

/// Appends what stands before the samples of a family. The caller sees to it that there are some.
pub fn render_head(metric: Metric, format: Format, out: &mut String) {
    write_head(metric.spec(), format, out);
}

/// Appends a sample of the past. OpenMetrics wants all samples of a series together, times rising.
pub fn render_past(metric: Metric, sample: &Sample<'_>, past: &Past<'_>, out: &mut String) {
    let added = Added {
        labels: past.labels,
        at: Some(past.at),
    };
    write_sample(metric.spec(), sample, added, &mut Bounds::default(), out);
}

/// What a sample has beside its own labels and value.
#[derive(Debug, Clone, Copy)]
struct Added<'a> {
    /// Written after its own.
    labels: &'a [(&'a str, &'a str)],
    /// A page has no instants: what is on it is now.
    at: Option<UnixMillis>,
}

impl Added<'_> {
    const NONE: Self = Added {
        labels: &[],
        at: None,
    };
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

fn write_sample(
    spec: &MetricSpec,
    sample: &Sample<'_>,
    added: Added<'_>,
    bounds: &mut Bounds,
    out: &mut String,
) {
    if let Value::Histogram(distribution) = &sample.value {
        write_histogram(spec, sample, distribution, added, bounds, out);
        return;
    }
    put(out, &[spec.prometheus_name]);
    write_labels(spec, &sample.labels, added, None, out);
    out.push(' ');
    match &sample.value {
        Value::Count(count) => write_count(*count, out),
        Value::Millis(millis) => write_millis(*millis, out),
        Value::Float(value) => write_float(*value, out),
        Value::Histogram(_) => unreachable!("written above"),
    }
    end_line(added.at, out);
}

fn write_histogram(
    spec: &MetricSpec,
    sample: &Sample<'_>,
    distribution: &Distribution,
    added: Added<'_>,
    bounds: &mut Bounds,
    out: &mut String,
) {
    let name = spec.prometheus_name;
    // The labels of all buckets but for the bound, which comes last.
    let mut head = String::new();
    put(&mut head, &[name, "_bucket"]);
    write_labels(spec, &sample.labels, added, Some(""), &mut head);
    let head = head.strip_suffix("\"}").expect("labels end so");
    for (index, (upper, count)) in distribution.buckets.iter().enumerate() {
        put(out, &[head, bounds.text(index, *upper), "\"} "]);
        write_count(*count, out);
        end_line(added.at, out);
    }
    put(out, &[head, "+Inf\"} "]);
    write_count(distribution.count, out);
    end_line(added.at, out);
    put(out, &[name, "_sum"]);
    write_labels(spec, &sample.labels, added, None, out);
    out.push(' ');
    write_float(distribution.sum, out);
    end_line(added.at, out);
    put(out, &[name, "_count"]);
    write_labels(spec, &sample.labels, added, None, out);
    out.push(' ');
    write_count(distribution.count, out);
    end_line(added.at, out);
}

fn end_line(at: Option<UnixMillis>, out: &mut String) {
    if let Some(at) = at {
        out.push(' ');
        write_millis(at.0, out);
    }
    out.push('\n');
}

const INFALLIBLE: &str = "writing to a string cannot fail";

fn write_labels(
    spec: &MetricSpec,
    values: &[&str; LABELS_MAX],
    added: Added<'_>,
    le: Option<&str>,
    out: &mut String,
) {
    if spec.labels.is_empty() && added.labels.is_empty() && le.is_none() {
        return;
    }
    let own = spec
        .labels
        .iter()
        .map(|label| label.name)
        .zip(values.iter().copied());
    let mut before = '{';
    let added = added.labels.iter().copied();
    for (name, value) in own.chain(added).chain(le.map(|bound| ("le", bound))) {
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
    fn a_sample_of_the_past_has_what_a_scrape_adds_and_its_instant() {
        let past = Past {
            labels: &[("job", "j"), ("instance", "i:1")],
            at: UnixMillis(1_715_675_400_000),
        };
        let mut out = String::new();
        let up = Sample {
            labels: ["", "", ""],
            value: Value::Count(1),
        };
        render_past(Metric::Up, &up, &past, &mut out);
        let batch = Sample {
            labels: ["", "", ""],
            value: Value::Histogram(Box::new(Distribution {
                buckets: vec![(0.5, 2)],
                sum: 1.25,
                count: 3,
            })),
        };
        render_past(Metric::BatchDuration, &batch, &past, &mut out);
        assert_eq!(
            out,
            "genesyscloud_up{job=\"j\",instance=\"i:1\"} 1 1715675400\n\
             genesyscloud_batch_duration_seconds_bucket{job=\"j\",instance=\"i:1\",le=\"0.5\"} 2 1715675400\n\
             genesyscloud_batch_duration_seconds_bucket{job=\"j\",instance=\"i:1\",le=\"+Inf\"} 3 1715675400\n\
             genesyscloud_batch_duration_seconds_sum{job=\"j\",instance=\"i:1\"} 1.25 1715675400\n\
             genesyscloud_batch_duration_seconds_count{job=\"j\",instance=\"i:1\"} 3 1715675400\n"
        );
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
