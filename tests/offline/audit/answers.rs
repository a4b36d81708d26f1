//! Answers, read by the auditor's own eyes.

use chrono::DateTime;
use serde::Deserialize;
use serde_json::Value;

use super::truth::numbered;

/// A state that this auditor has no number for.
pub(crate) const UNRECOGNISED: usize = 4;

/// An entry of `routingStates`: start, state.
pub(crate) type Entry = (i64, usize);

/// An instant in RFC 3339 as milliseconds.
pub(crate) fn instant(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|at| at.timestamp_millis())
}

/// The agent of a routing-state path.
pub(crate) fn asked_about(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/api/v2/routing/users/")?;
    rest.strip_suffix("/state")
}

/// The page of a snapshot path, in either dialect.
pub(crate) fn snapshot_page(path: &str) -> Option<u32> {
    if let Some(query) = path.strip_prefix("/api/v2/users?") {
        let page = query.split('&').find_map(|p| p.strip_prefix("pageNumber="));
        return page.filter(|_| query.contains("expand="))?.parse().ok();
    }
    let rest = path.strip_prefix("/api/v2/users/statuses")?;
    match rest.strip_prefix("?pageNumber=") {
        Some(page) => page.parse().ok(),
        None => rest.is_empty().then_some(1),
    }
}

/// The entries that a routing-state body tells, whichever can be read.
pub(crate) fn entries(body: &[u8]) -> Vec<Entry> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let told = body["routingStates"].as_array();
    let read = |entry: &Value| {
        let state = entry["interactionState"].as_str()?;
        let at = instant(entry["stateEnteredTimestamp"].as_str()?)?;
        Some((at, numbered(state).unwrap_or(UNRECOGNISED)))
    };
    told.into_iter().flatten().filter_map(read).collect()
}

/// A record of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) user: String,
    pub(crate) presence: String,
    pub(crate) state: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape<'a> {
    user_id: &'a str,
    presence: &'a str,
    availability: &'a str,
    last_modified: &'a str,
}

impl Shape<'_> {
    fn read(&self) -> Option<Record> {
        let usable = !self.user_id.is_empty() && self.last_modified.ends_with('Z');
        usable.then(|| Record {
            user: self.user_id.to_owned(),
            presence: self.presence.to_owned(),
            state: numbered(self.availability).unwrap_or(UNRECOGNISED),
        })
    }
}

/// The records of a page that can be read, and how many all pages have; `None`: not a page.
pub(crate) fn records(body: &[u8]) -> Option<(Vec<Record>, usize, Option<usize>)> {
    // Nearly always every record is whole.
    if let Ok(shapes) = serde_json::from_slice::<Vec<Shape<'_>>>(body) {
        let all = shapes.len();
        return Some((
            shapes.iter().filter_map(Shape::read).collect(),
            all,
            Some(all),
        ));
    }
    let body: Value = serde_json::from_slice(body).ok()?;
    let (rows, total) = match &body {
        Value::Array(rows) => (rows, Some(rows.len())),
        page => {
            let total = page["total"].as_u64().map(|total| total as usize);
            (page["entities"].as_array()?, total)
        }
    };
    let read = |row: &Value| {
        let shape = Shape {
            user_id: row["userId"].as_str()?,
            presence: row["presence"].as_str()?,
            availability: row["availability"].as_str()?,
            last_modified: row["lastModified"].as_str()?,
        };
        shape.read()
    };
    let records = rows.iter().filter_map(read).collect();
    Some((records, rows.len(), total))
}
