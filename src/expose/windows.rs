//! `/api/v1/windows`: rows of the stores, page by page. Blocks.
//!
//! Rows of several organisations come one organisation after the other, each by time; then a cursor
//! says first whose row was the last.

use serde::Serialize;

use super::api::{ApiError, encode};
use super::served::{Chosen, Served};
use crate::catalog::StoreOperation;
use crate::model::window::WindowRow;
use crate::store::{ReadError, WindowPage, WindowQuery};

/// Stands between an organisation's name, which has none of it, and the cursor of its store.
const SEPARATOR: char = ':';

/// A page of the answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Windows<'a> {
    windows: Vec<Row<'a>>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<&'a str>,
    #[serde(flatten)]
    row: WindowRow,
}

/// `{"windows":[…],"nextCursor":…}`.
pub(super) fn read(of: Chosen<'_>, mut query: WindowQuery) -> Result<Vec<u8>, ApiError> {
    let all: Vec<_> = of.each().collect();
    let mut at = 0;
    if let (Some((Some(_), _)), Some(cursor)) = (all.first(), &query.cursor) {
        let begun = cursor.split_once(SEPARATOR).and_then(|(org, inner)| {
            let begun = all.iter().position(|(name, _)| *name == Some(org))?;
            Some((begun, inner.to_owned()))
        });
        let (begun, inner) = begun.ok_or_else(|| refusal(&ReadError::Cursor))?;
        at = begun;
        query.cursor = Some(inner).filter(|inner| !inner.is_empty());
    }
    let mut answer = Windows {
        windows: Vec::new(),
        next_cursor: None,
    };
    while let Some((org, served)) = all.get(at) {
        let page = page(served, &query)?;
        query.limit -= page.rows.len().min(query.limit);
        query.cursor = None;
        let rows = page.rows.into_iter();
        answer
            .windows
            .extend(rows.map(|row| Row { org: *org, row }));
        at += 1;
        let next = match (page.next, all.get(at)) {
            (Some(inner), _) => Some((*org, inner)),
            (None, Some((following, _))) if query.limit == 0 => Some((*following, String::new())),
            (None, _) => None,
        };
        if let Some((org, inner)) = next {
            let cursor = org.map(|org| format!("{org}{SEPARATOR}{inner}"));
            answer.next_cursor = Some(cursor.unwrap_or(inner));
            break;
        }
    }
    Ok(encode(&answer))
}

fn page(served: &Served, query: &WindowQuery) -> Result<WindowPage, ApiError> {
    served.windows.windows(query).map_err(|error| {
        if let ReadError::Store(cause) = &error {
            served.telemetry.store_error(StoreOperation::Query);
            tracing::warn!(%cause, "cannot read windows from the store");
        }
        refusal(&error)
    })
}

fn refusal(error: &ReadError) -> ApiError {
    match error {
        ReadError::Cursor => ApiError::bad_parameter(format!("cursor: {error}")),
        ReadError::Elsewhere => ApiError::not_found(&error.to_string()),
        ReadError::Store(_) => {
            ApiError::unavailable("store_unavailable", "the store does not answer; try again")
        }
    }
}
