//! What `doctor` says: a row a check, with a verdict and a remedy. Pure.

use std::fmt::Write as _;

use crate::model::time::Millis;
use crate::upstream::request::ApiRequest;
use crate::upstream::response::Response;
use crate::upstream::response::TransportFailure;
use crate::upstream::wire_status::error_body;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warn,
    /// It does not work.
    Fail,
    /// Could not be asked, because a check before it failed.
    Skipped,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
            Self::Skipped => "-",
        }
    }
}

/// A check and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// What was checked.
    pub(super) check: &'static str,
    /// How it ended.
    pub(super) verdict: Verdict,
    /// What was found; no secret, nothing of a person.
    pub(super) found: String,
    /// What to do; empty if nothing is.
    pub(super) remedy: String,
}

/// All rows so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a row.
    pub(super) fn add(
        &mut self,
        check: &'static str,
        verdict: Verdict,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.rows.push(Row {
            check,
            verdict,
            found: found.into(),
            remedy: remedy.into(),
        });
    }

    /// Whether a check failed.
    pub(super) fn failed(&self) -> bool {
        self.rows.iter().any(|row| row.verdict == Verdict::Fail)
    }

    /// The table: columns as wide as they must be, the remedy last.
    pub(super) fn table(&self) -> String {
        let head = ["check", "verdict", "found", "remedy"].map(str::to_owned);
        let rows = self.rows.iter().map(|row| {
            [
                row.check.to_owned(),
                row.verdict.word().to_owned(),
                row.found.clone(),
                row.remedy.clone(),
            ]
        });
        let cells: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
        let width = |column: usize| {
            let of = cells.iter().map(|row| row[column].chars().count());
            of.max().unwrap_or(0)
        };
        let widths = [width(0), width(1), width(2)];
        let mut text = String::new();
        for row in &cells {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                let _ = write!(line, "{cell:<width$}  ");
            }
            line.push_str(&row[3]);
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text.trim_end().to_owned()
    }
}

/// Why a call has no usable answer, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What was found.
    pub(super) found: String,
    /// What to do.
    pub(super) remedy: String,
}

/// What an answer that is no success means for the call that it answers; `None` for a success.
pub(super) fn refusal(
    request: &ApiRequest,
    result: &Result<Response, TransportFailure>,
) -> Option<Refusal> {
    let response = match result {
        Ok(response) if (200..300).contains(&response.status) => return None,
        Ok(response) => response,
        Err(failure) => {
            return Some(Refusal {
                found: format!("no answer: {}", failure.label().replace('_', " ")),
                remedy: unreachable(*failure).to_owned(),
            });
        }
    };
    let body = error_body(&response.body);
    let code = body.as_ref().map_or("", |error| error.code.as_str());
    let permissions = body
        .as_ref()
        .map(|error| error.missing_permissions.join(", "));
    let found = match code {
        "" => format!("{} answered {}", request.endpoint(), response.status),
        code => format!(
            "{} answered {}, {code}",
            request.endpoint(),
            response.status
        ),
    };
    let remedy = match (response.status, permissions) {
        (400..=403, _) if *request == ApiRequest::Login => {
            "check source.client_id, the client secret and source.region".to_owned()
        }
        (401, _) => {
            "the token is not accepted; check that source.region is the client's".to_owned()
        }
        (403, Some(missing)) if !missing.is_empty() => {
            format!("give the OAuth client's role the permission {missing}")
        }
        (403, _) => "give the OAuth client's role the permission for it".to_owned(),
        (404, _) => "check source.api_url and source.dialect".to_owned(),
        (429, _) => "wait a minute; something else uses this client's budget".to_owned(),
        (500.., _) => "the platform has trouble; try again later".to_owned(),
        _ => "check source.api_url".to_owned(),
    };
    Some(Refusal { found, remedy })
}

const fn unreachable(failure: TransportFailure) -> &'static str {
    match failure {
        TransportFailure::Connect => "check source.region or the URLs, DNS and the firewall",
        TransportFailure::Tls => "check the system's CA certificates and what inspects TLS",
        TransportFailure::Timeout => "raise poll.timeout, or look at the network",
        TransportFailure::Broken | TransportFailure::TooLarge => {
            "check that source.api_url is the platform and no portal"
        }
        TransportFailure::NoToken => "log in first",
    }
}

/// Requests that a run makes in a minute, as far as they can be foreseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    /// Pages of a scan.
    pub(super) scan_pages: u64,
    /// Pages of registry, queues and members, where they are asked for apart.
    pub(super) upkeep_pages: u64,
}

impl Load {
    /// Requests a minute: scans at the poll interval, upkeep at its own; rounded up.
    pub(super) fn a_minute(self, poll: Millis, upkeep: Millis) -> u64 {
        let per_minute = |pages: u64, interval: Millis| {
            (pages * 60_000).div_ceil(interval.0.max(1).unsigned_abs())
        };
        per_minute(self.scan_pages, poll) + per_minute(self.upkeep_pages, upkeep)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn answer(status: u16, body: &'static str) -> Result<Response, TransportFailure> {
        Ok(Response {
            status,
            headers: crate::upstream::response::Headers::default(),
            body: Bytes::from_static(body.as_bytes()),
        })
    }

    #[test]
    fn a_403_names_the_permission() {
        let body = r#"{"message":"You are missing the following permission(s): routing:queue:view","code":"missing.permissions","status":403}"#;
        let refusal = refusal(&ApiRequest::Queues { page: 1 }, &answer(403, body)).unwrap();
        assert_eq!(
            refusal.found,
            "/api/v2/routing/queues answered 403, missing.permissions"
        );
        assert_eq!(
            refusal.remedy,
            "give the OAuth client's role the permission routing:queue:view"
        );
    }

    #[test]
    fn a_refused_login_points_to_the_credentials() {
        for status in [400, 401] {
            let body = r#"{"error":"invalid_client"}"#;
            let refusal = refusal(&ApiRequest::Login, &answer(status, body)).unwrap();
            assert!(refusal.remedy.contains("client secret"), "{refusal:?}");
            assert!(refusal.found.ends_with("invalid_client"), "{refusal:?}");
        }
        assert_eq!(refusal(&ApiRequest::Login, &answer(200, "{}")), None);
        let silent = refusal(&ApiRequest::Login, &Err(TransportFailure::Connect)).unwrap();
        assert!(silent.remedy.contains("source.region"));
    }

    #[test]
    fn the_table_is_aligned_and_only_a_failure_fails() {
        let mut report = Report::default();
        report.add("login", Verdict::Ok, "a token for 1 d", "");
        report.add(
            "queues",
            Verdict::Warn,
            "none",
            "look at the role's divisions",
        );
        assert!(!report.failed());
        report.add("members", Verdict::Skipped, "", "");
        report.add("users", Verdict::Fail, "403", "give it the permission");
        assert!(report.failed());
        let lines = [
            "check    verdict  found            remedy",
            "login    ok       a token for 1 d",
            "queues   WARN     none             look at the role's divisions",
            "members  -",
            "users    FAIL     403              give it the permission",
        ];
        assert_eq!(report.table(), lines.join("\n"));
    }

    #[test]
    fn load_is_counted_by_interval() {
        let load = Load {
            scan_pages: 20,
            upkeep_pages: 25,
        };
        let (poll, upkeep) = (Millis::from_secs(15), Millis::from_secs(600));
        assert_eq!(load.a_minute(poll, upkeep), 80 + 3);
    }
}
