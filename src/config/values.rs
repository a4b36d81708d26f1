//! Single values: text into numbers, URLs, addresses, patterns and paths.
//!
//! Pure; each function refuses with what is wrong and how to write it right. Rules that tie
//! several settings together are in `resolve`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use regex::{Regex, RegexBuilder};
use url::Url;

use crate::model::time::Millis;

use super::duration;
use super::finding::{Refusal, quoted};

/// Memory that one compiled pattern may take; a hostile pattern is refused beyond it.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Longest free text: names, ids, paths, URLs.
const TEXT_BYTES_MAX: usize = 1_024;

/// A duration above zero.
pub(super) fn duration_above_zero(text: &str) -> Result<Millis, Refusal> {
    match duration::parse(text)? {
        Millis(0) => Err(Refusal::value(
            text,
            "is zero",
            "give a duration greater than zero",
        )),
        duration => Ok(duration),
    }
}

/// `auto`, or a duration above zero.
pub(super) fn auto_or_duration(text: &str) -> Result<Option<Millis>, Refusal> {
    if text == "auto" {
        return Ok(None);
    }
    duration_above_zero(text)
        .map(Some)
        .map_err(|refusal| Refusal::new(refusal.what, format!("{}, or auto", refusal.hint)))
}

/// A whole number within `range`.
pub(super) fn count(text: &str, range: RangeInclusive<u32>) -> Result<u32, Refusal> {
    let hint = format!(
        "give a whole number from {} to {}",
        range.start(),
        range.end()
    );
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(Refusal::value(text, "is not a whole number", &hint));
    }
    match text.parse::<u32>() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(Refusal::value(text, "is out of range", &hint)),
    }
}

/// A number from 0 to 1.
pub(super) fn ratio(text: &str) -> Result<f64, Refusal> {
    let hint = "give a number from 0 to 1, for example 0.20";
    // Rust also reads "inf", "nan" and "infinity" as numbers.
    let numeric = text
        .bytes()
        .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    match text.parse::<f64>() {
        Ok(number) if numeric && (0.0..=1.0).contains(&number) => Ok(number),
        Ok(_) if numeric => Err(Refusal::value(text, "is not between 0 and 1", hint)),
        _ => Err(Refusal::value(text, "is not a number", hint)),
    }
}

/// A number from 0 to 1 in exact thousandths.
pub(super) fn per_mille(text: &str) -> Result<u32, Refusal> {
    ratio(text)?;
    let hint = "give at most three decimals, for example 0.90 or 0.925";
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let decimals = decimals.trim_end_matches('0');
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if decimals.len() > 3 || !plain(whole) || !plain(decimals) {
        let what = "is not a number of whole thousandths";
        return Err(Refusal::value(text, what, hint));
    }
    let thousandths = format!("{decimals:0<3}").parse::<u32>().unwrap_or(0);
    // `ratio` has shown that the whole part is 0 or 1.
    let whole = whole.parse::<u32>().unwrap_or(0);
    Ok(whole * 1_000 + thousandths)
}

/// `true` or `false`.
pub(super) fn switch(text: &str) -> Result<bool, Refusal> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Refusal::value(
            text,
            "is neither true nor false",
            "write true or false",
        )),
    }
}

/// The organisation's name: part of keys and of message subjects.
pub(super) fn name(text: &str) -> Result<String, Refusal> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if (1..=64).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(Refusal::value(
        text,
        "cannot name an organisation",
        "use 1 to 64 letters, digits, _ and -",
    ))
}

/// An OAuth client id. RFC 7617 sends it before a colon.
pub(super) fn client_id(text: &str) -> Result<String, Refusal> {
    if text.is_empty() {
        return Err(Refusal::new(
            "the client id is missing",
            "set source.client_id, or GENESYSCLOUD_SOURCE_CLIENT_ID",
        ));
    }
    if text.len() <= 256 && text.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
        return Ok(text.to_owned());
    }
    Err(Refusal::new(
        "the client id holds a blank, a colon or another character that no id has",
        "copy it again from the OAuth client's page",
    ))
}

/// A path of the file system.
pub(super) fn path(text: &str) -> Result<String, Refusal> {
    if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.contains('\0') {
        return Err(Refusal::value(
            text,
            "is not a path",
            "name a directory, for example ./data",
        ));
    }
    Ok(text.to_owned())
}

/// A base URL: http or https, a host, no credentials, no query, no trailing slash.
pub(super) fn base_url(text: &str) -> Result<Url, Refusal> {
    let credentials = "remove them; the client id and secret have settings of their own";
    let mut url = bare_url(
        text,
        "write for example https://api.mypurecloud.com",
        credentials,
    )?;
    let trimmed = url.path().trim_end_matches('/').to_owned();
    url.set_path(&trimmed);
    Ok(url)
}

/// The URL of a collector: the same, its path as it is.
pub(super) fn collector_url(text: &str) -> Result<Url, Refusal> {
    let credentials = "remove them, and give an authorization header in otlp.headers_file";
    bare_url(text, "write for example http://127.0.0.1:4318", credentials)
}

/// Where windows are sent to.
pub(super) fn receiver_url(text: &str) -> Result<Url, Refusal> {
    let credentials =
        "remove them, and give an authorization header in store.remote_write.headers_file";
    bare_url(
        text,
        "write for example http://127.0.0.1:9090/api/v1/write",
        credentials,
    )
}

fn bare_url(text: &str, hint: &str, credentials: &str) -> Result<Url, Refusal> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Refusal::new("the URL is too long", hint));
    }
    // Not quoted: what cannot be read as a URL may hold credentials all the same.
    let Ok(url) = Url::parse(text) else {
        return Err(Refusal::new("this is not a URL", hint));
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(Refusal::new("the URL is not http or https", hint));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::new("the URL holds credentials", credentials));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Refusal::new("the URL has a query or a fragment", hint));
    }
    Ok(url)
}

/// Whether the URL names this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// An address to listen on. Names are not looked up: reading a configuration has no effects.
pub(super) fn address(text: &str) -> Result<SocketAddr, Refusal> {
    text.parse().map_err(|_| {
        let hint = match text.strip_prefix(':') {
            Some(port) if port.parse::<u16>().is_ok() => format!(
                "write 0.0.0.0:{port} or [::]:{port} for every address, 127.0.0.1:{port} for this machine alone"
            ),
            _ => "write an IP address and a port, for example 127.0.0.1:10095 or [::1]:10095"
                .to_owned(),
        };
        Refusal::new(format!("{} is not an address", quoted(text)), hint)
    })
}

/// A pattern, anchored at both ends.
pub(super) fn pattern(text: &str) -> Result<Regex, Refusal> {
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            .size_limit(PATTERN_BYTES_MAX)
            .build()
    };
    let hint = "write a regular expression that matches the whole name, for example Sales_.*";
    // Alone first: `a)|(b` must not escape from the group.
    build(text)
        .and_then(|_| build(&format!("^(?:{text})$")))
        .map_err(|error| {
            // The last line says what is wrong; those before draw the pattern.
            let rendered = error.to_string();
            let why = rendered.lines().last().unwrap_or_default();
            let why = why.trim_start_matches("error: ");
            let what = format!("is not a regular expression: {why}");
            Refusal::value(text, what.trim_end_matches('.'), hint)
        })
}

/// The path of the metrics page.
pub(super) fn telemetry_path(text: &str) -> Result<String, Refusal> {
    let hint = "write for example /metrics";
    let fits = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if text.len() > TEXT_BYTES_MAX || !text.starts_with('/') || !text.chars().all(fits) {
        let what = "is not a path of letters, digits and /-._~ that starts with a slash";
        return Err(Refusal::value(text, what, hint));
    }
    let first = text.split('/').nth(1).unwrap_or_default();
    if text == "/" {
        return Err(Refusal::value(text, "is the page of the board", hint));
    }
    if matches!(first, "-" | "api") {
        let what = "is within /-/ or /api/, which serve other things";
        return Err(Refusal::value(text, what, hint));
    }
    if text.ends_with('/')
        || text.contains("//")
        || text.split('/').any(|part| part.starts_with(".."))
    {
        let what = "has an empty part or goes upwards";
        return Err(Refusal::value(text, what, hint));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousandths_are_exact() {
        for (text, expected) in [
            ("0.90", 900),
            ("0.9", 900),
            (".5", 500),
            ("1", 1_000),
            ("1.000", 1_000),
            ("0", 0),
            ("0.925", 925),
            ("0.029", 29),
            ("0.9000000", 900),
        ] {
            assert_eq!(per_mille(text).unwrap(), expected, "{text}");
        }
        for text in ["0.9005", "9e-1", "1.001", "-0.1", "nan", "90%", "", "+0.5"] {
            assert!(per_mille(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ratios_and_counts_keep_their_ranges() {
        assert!((ratio("2e-1").unwrap() - 0.2).abs() < f64::EPSILON);
        for text in ["inf", "NaN", "1.1", "-1", "a", ""] {
            assert!(ratio(text).is_err(), "{text}");
        }
        assert_eq!(count("4", 4..=10).unwrap(), 4);
        for text in ["3", "11", "+5", "5.0", "", "99999999999", "0x5"] {
            assert!(count(text, 4..=10).is_err(), "{text}");
        }
    }

    #[test]
    fn urls_are_bare_and_never_quoted() {
        let url = base_url("https://gw.example/genesys//").unwrap();
        assert_eq!(url.as_str(), "https://gw.example/genesys");
        for text in [
            "https://me:hunter2@gw.example/",
            "https://gw.example/?token=hunter2",
            "https://gw.example/#hunter2",
            "ftp://hunter2",
            "hunter2",
            "https://:hunter2@",
            "data:hunter2",
        ] {
            let refusal = base_url(text).unwrap_err();
            assert!(!format!("{refusal:?}").contains("hunter2"), "{refusal:?}");
        }
    }

    #[test]
    fn patterns_match_whole_names() {
        let sales = pattern("Sales|Support").unwrap();
        assert!(sales.is_match("Support") && !sales.is_match("Support_2"));
        for text in ["a)|(b", "(", "(?x)a # b", "(?:a{500}){500}"] {
            let refusal = pattern(text).unwrap_err();
            assert!(!refusal.what.contains('\n') && !refusal.what.ends_with('.'));
        }
    }

    #[test]
    fn the_metrics_page_has_a_path_of_its_own() {
        for text in ["/metrics", "/a/b-c", "/api-metrics", "/-metrics"] {
            assert_eq!(telemetry_path(text).unwrap(), text);
        }
        for text in [
            "/",
            "",
            "metrics",
            "/-/healthy",
            "/-",
            "/api",
            "/api/v1",
            "/a b",
            "/a?b",
            "//",
            "/a/",
            "/a/../-/ready",
            "/é",
            "//api/v1",
        ] {
            assert!(telemetry_path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_numbers() {
        assert_eq!(address("[::1]:0").unwrap().port(), 0);
        assert!(
            address(":10095")
                .unwrap_err()
                .hint
                .contains("0.0.0.0:10095")
        );
        assert!(
            address("localhost:10095")
                .unwrap_err()
                .hint
                .contains("127.0.0.1")
        );
    }
}
