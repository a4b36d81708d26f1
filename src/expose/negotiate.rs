//! Content negotiation: which format and encoding a reader gets. Pure and total: a header that
//! makes no sense yields text, uncompressed.

use super::page::Format;

/// Longest header looked at; Prometheus sends about 250 bytes.
const HEADER_BYTES_MAX: usize = 4_096;

/// Quality in thousandths, so that comparing is exact.
type Quality = u32;

/// OpenMetrics only if it is named and ranks at least as high as text.
pub(super) fn format(accept: Option<&str>) -> Format {
    let (mut open_metrics, mut text) = (0, None::<(u8, Quality)>);
    for (range, parameters, quality) in ranges(accept) {
        match range.as_str() {
            "application/openmetrics-text" if version_in(&parameters, &["1.0.0", "0.0.1"]) => {
                open_metrics = open_metrics.max(quality);
            }
            "text/plain" if version_in(&parameters, &["0.0.4", "1.0.0"]) => {
                raise(&mut text, 2, quality);
            }
            "text/*" => raise(&mut text, 1, quality),
            "*/*" => raise(&mut text, 0, quality),
            _ => {}
        }
    }
    if open_metrics > 0 && open_metrics >= text.map_or(0, |(_, quality)| quality) {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

/// The most specific range decides; among equals the best.
fn raise(best: &mut Option<(u8, Quality)>, specificity: u8, quality: Quality) {
    *best = (*best).max(Some((specificity, quality)));
}

/// Whether the reader takes gzip and does not prefer the plain page.
pub(super) fn gzip(accept_encoding: Option<&str>) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for (coding, _, quality) in ranges(accept_encoding) {
        match coding.as_str() {
            "gzip" | "x-gzip" => gzip = gzip.max(Some(quality)),
            "identity" => identity = identity.max(Some(quality)),
            "*" => any = any.max(Some(quality)),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// (range, parameters, quality) of a header's elements; elements that cannot be read are skipped.
fn ranges(header: Option<&str>) -> impl Iterator<Item = (String, Vec<(String, String)>, Quality)> {
    header
        .filter(|header| header.len() <= HEADER_BYTES_MAX)
        .unwrap_or_default()
        .split(',')
        .filter_map(|element| {
            let mut parts = element.split(';').map(str::trim);
            let range = parts.next()?.to_ascii_lowercase();
            let mut quality = 1_000;
            let mut parameters = Vec::new();
            for parameter in parts {
                let (name, value) = parameter.split_once('=')?;
                let (name, value) = (
                    name.trim().to_ascii_lowercase(),
                    value.trim().trim_matches('"'),
                );
                if name == "q" {
                    quality = parse_quality(value)?;
                } else {
                    parameters.push((name, value.to_owned()));
                }
            }
            Some((range, parameters, quality))
        })
}

fn parse_quality(text: &str) -> Option<Quality> {
    let quality: f64 = text.parse().ok()?;
    (0.0..=1.0)
        .contains(&quality)
        .then(|| (quality * 1_000.0).round() as Quality)
}

/// No version asked for is any version.
fn version_in(parameters: &[(String, String)], known: &[&str]) -> bool {
    parameters
        .iter()
        .find(|(name, _)| name == "version")
        .is_none_or(|(_, version)| known.contains(&version.as_str()))
}

#[cfg(test)]
mod tests {
    use super::Format::{OpenMetrics, Text};
    use super::*;

    #[test]
    fn formats() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let text_first =
            "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5";
        let long = format!("application/openmetrics-text{}", ",a/b".repeat(2_000));
        for (accept, expected) in [
            (None, Text),
            (Some(""), Text),
            (Some("*/*"), Text),
            (Some("application/*"), Text),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Text),
            (Some("application/openmetrics-text"), OpenMetrics),
            (
                Some("APPLICATION/OpenMetrics-Text; version=\"1.0.0\""),
                OpenMetrics,
            ),
            (Some("application/openmetrics-text,*/*"), OpenMetrics),
            (
                Some("application/openmetrics-text;q=0.5,text/plain;q=0.5"),
                OpenMetrics,
            ),
            (
                Some("application/openmetrics-text;q=0.4,text/plain;q=0.5"),
                Text,
            ),
            (Some("application/openmetrics-text;q=0.5,*/*"), Text),
            (
                Some("application/openmetrics-text;q=0.5,text/plain;q=0.1,*/*"),
                OpenMetrics,
            ),
            (Some("application/openmetrics-text;q=0"), Text),
            (Some("application/openmetrics-text;version=2.0.0"), Text),
            (Some("application/openmetrics-text;q=banana"), Text),
            (Some("application/openmetrics-text;q=7"), Text),
            (Some(";;;,,,=;q"), Text),
            (Some("application/json"), Text),
            (Some(prometheus), OpenMetrics),
            (Some(text_first), Text),
            (Some(&long), Text),
        ] {
            assert_eq!(format(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn encodings() {
        for (accept, expected) in [
            (None, false),
            (Some(""), false),
            (Some("gzip"), true),
            (Some("GZIP;q=0.2"), true),
            (Some("gzip;q=0"), false),
            (Some("deflate, br"), false),
            (Some("zstd, gzip;q=0.8"), true),
            (Some("*"), true),
            (Some("*;q=0"), false),
            (Some("gzip;q=0, *"), false),
            (Some("identity, gzip;q=0.5"), false),
            (Some("identity;q=0.5, gzip"), true),
            (Some("gzip;q=x"), false),
        ] {
            assert_eq!(gzip(accept), expected, "{accept:?}");
        }
    }
}
