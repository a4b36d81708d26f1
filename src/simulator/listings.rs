//! Paged answers: the platform's `entities` with its paging fields (platform-api.md §5).

use serde::Serialize;
use serde_json::{Value, json};

use super::exchange::SimRequest;

/// Page size where none is asked for.
const PAGE_SIZE_DEFAULT: usize = 25;

/// Which page of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageRequest {
    pub(super) size: usize,
    pub(super) number: usize,
}

impl PageRequest {
    /// Reads `pageSize` and `pageNumber`.
    ///
    /// # Errors
    /// The message of a 400.
    pub(super) fn read(request: &SimRequest, size_max: usize) -> Result<Self, String> {
        let number = |name: &str, default: usize| match request.query(name) {
            None => Ok(default),
            Some(text) => text
                .parse::<usize>()
                .ok()
                .filter(|&number| number > 0)
                .ok_or_else(|| format!("{name} {text:?} is not a positive number")),
        };
        let size = number("pageSize", PAGE_SIZE_DEFAULT)?;
        if size > size_max {
            return Err(format!("pageSize {size} is too large: at most {size_max}"));
        }
        Ok(Self {
            size,
            number: number("pageNumber", 1)?,
        })
    }

    /// The rows of this page.
    pub(super) fn slice<'a, T>(&self, rows: &'a [T]) -> &'a [T] {
        let from = (self.number - 1).saturating_mul(self.size).min(rows.len());
        let to = from.saturating_add(self.size).min(rows.len());
        &rows[from..to]
    }

    fn pages(&self, total: usize) -> usize {
        total.div_ceil(self.size)
    }
}

/// A page with everything that the platform says about it; `path` is the listing's, with those
/// query parameters that are not of paging.
pub(super) fn page(
    path: &str,
    entities: &[impl Serialize],
    request: PageRequest,
    total: usize,
) -> Value {
    let mut body = page_without_total(path, entities, request, total);
    let pages = request.pages(total);
    body["total"] = json!(total);
    body["pageCount"] = json!(pages);
    body["lastUri"] = json!(uri(path, request.size, pages.max(1)));
    body
}

/// A page of a listing that keeps its total to itself, as that of queue members does.
pub(super) fn page_without_total(
    path: &str,
    entities: &[impl Serialize],
    request: PageRequest,
    total: usize,
) -> Value {
    let PageRequest { size, number } = request;
    let mut body = json!({
        "entities": entities,
        "pageSize": size,
        "pageNumber": number,
        "firstUri": uri(path, size, 1),
        "selfUri": uri(path, size, number),
    });
    if number < request.pages(total) {
        body["nextUri"] = json!(uri(path, size, number + 1));
    }
    if number > 1 {
        body["previousUri"] = json!(uri(path, size, number - 1));
    }
    body
}

fn uri(path: &str, size: usize, number: usize) -> String {
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}pageSize={size}&pageNumber={number}")
}
