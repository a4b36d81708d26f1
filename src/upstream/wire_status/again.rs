//! Reads the rows of a listing beside those of the last time: a row whose bytes are the same means
//! the same, and is not parsed again. In a quiet organisation that is nearly every row of a cycle.
//!
//! Of the last time's bytes only a digest a row is kept: the bytes of 10,000 users take more memory
//! than all else that is known of them.
//!
//! Gives what the plain parser gives or nothing at all: whatever is not a well-formed array of
//! rows, it leaves to that parser, which knows how to refuse it.

use std::hash::{BuildHasher as _, Hasher as _};

use bytes::Bytes;
use foldhash::quality::FixedState;
use serde::Deserialize;

use super::document::{Listing, Maybe, Object, Page, Rows, listing, take_paging};
use super::error::WireError;
use super::scalar::Scalar;
use crate::upstream::wire::{Paging, RefusalReason};

/// How far a row may have moved, in rows, to be found again after others came or went. Beyond it
/// each row is parsed until the next page is read beside this one.
const MOVED_MAX: usize = 64;

/// Bytes of pages whose rows are remembered in all: more than twice the largest snapshot of dialect
/// `status` that a request budget can follow (100,000 agents, 19 MB). Pages beyond it are parsed
/// each time.
const REMEMBERED_BYTES_MAX: usize = 48 * 1024 * 1024;

/// A row by its length and digest, and what it meant.
#[derive(Debug)]
struct Row<T> {
    bytes: usize,
    digest: u64,
    read: Result<Option<T>, RefusalReason>,
}

/// Of 64 bits, well mixed: at a million changed rows a day one is taken for unchanged by accident
/// every 50,000 million years, until it changes again. Nobody gains by bringing it about, for the
/// rows are the platform's own.
fn digest(text: &[u8]) -> u64 {
    let mut hasher = FixedState::with_seed(0).build_hasher();
    hasher.write(text);
    hasher.finish()
}

/// A page as it was read last.
#[derive(Debug)]
struct LastRead<T> {
    /// Its length.
    bytes: usize,
    rows: Vec<Row<T>>,
}

impl<T> Default for LastRead<T> {
    fn default() -> Self {
        Self {
            bytes: 0,
            rows: Vec::new(),
        }
    }
}

/// The pages of a listing as they were read last, by number.
#[derive(Debug)]
pub(in crate::upstream) struct LastPages<T>(Vec<LastRead<T>>);

impl<T> Default for LastPages<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> LastPages<T> {
    /// Reads page `number` (from 1) as [`listing`] does. `same`: whether two rows are about the
    /// same thing.
    pub(in crate::upstream) fn read<'de, R, F>(
        &mut self,
        number: u32,
        body: &'de Bytes,
        spec: Listing,
        same: fn(&T, &T) -> bool,
        mut accept: F,
    ) -> Result<Page<T>, WireError>
    where
        R: Object<'de>,
        F: FnMut(R) -> Result<Option<T>, RefusalReason>,
    {
        let index = (number as usize).saturating_sub(1);
        if let Some(last) = self.remembered(index, body.len())
            && let Some(page) = last.page(body, spec, same, &mut accept)
        {
            return Ok(page);
        }
        listing(body, spec, accept)
    }

    /// Where page `index` is remembered; `None` if there is no room for it.
    fn remembered(&mut self, index: usize, bytes: usize) -> Option<&mut LastRead<T>> {
        let others = self.0.iter().enumerate().filter(|(n, _)| *n != index);
        let held: usize = others.map(|(_, page)| page.bytes).sum();
        if held + bytes > REMEMBERED_BYTES_MAX {
            return None;
        }
        if index >= self.0.len() {
            if index > self.0.len() {
                // Its neighbours had no room.
                return None;
            }
            self.0.push(LastRead::default());
        }
        self.0.get_mut(index)
    }
}

impl<T: Clone> LastRead<T> {
    /// Reads a whole page: a bare array, or an object with `entities`.
    fn page<'de, R, F>(
        &mut self,
        body: &'de Bytes,
        spec: Listing,
        same: fn(&T, &T) -> bool,
        accept: &mut F,
    ) -> Option<Page<T>>
    where
        R: Object<'de>,
        F: FnMut(R) -> Result<Option<T>, RefusalReason>,
    {
        let begin = after_space(body, 0);
        let (rows, paging, end) = if spec.bare && body.get(begin) == Some(&b'[') {
            let (rows, end) = self.rows(body, begin, spec.rows_max, same, accept)?;
            (rows, None, end)
        } else {
            let mut rows = None;
            let mut paging = Paging::default();
            let mut place = expect(body, begin, b'{')?;
            loop {
                let (key, behind) = value::<Scalar<'_>>(body, place)?;
                let Scalar::Text(key) = key else {
                    return None;
                };
                place = after_space(body, expect(body, after_space(body, behind), b':')?);
                if key == "entities" {
                    if rows.is_some() {
                        return None;
                    }
                    let (told, end) = self.rows(body, place, spec.rows_max, same, accept)?;
                    (rows, place) = (Some(told), end);
                } else {
                    let (scalar, end) = value::<Scalar<'_>>(body, place)?;
                    take_paging(&mut paging, &key, &scalar);
                    place = end;
                }
                place = after_space(body, place);
                match body.get(place)? {
                    b',' => place += 1,
                    b'}' => break,
                    _ => return None,
                }
            }
            (rows?, Some(paging), place + 1)
        };
        let paging = paging.map(|paging| Paging {
            rows: rows.seen,
            ..paging
        });
        (after_space(body, end) == body.len()).then_some((rows, paging))
    }

    /// Reads the array that begins at `at`, and remembers it in place of the last one. Gives the
    /// rows and where the array ends. `None`: read `body` with the plain parser; nothing is
    /// remembered.
    fn rows<'de, R, F>(
        &mut self,
        body: &'de Bytes,
        at: usize,
        rows_max: usize,
        same: fn(&T, &T) -> bool,
        accept: &mut F,
    ) -> Option<(Rows<T>, usize)>
    where
        R: Object<'de>,
        F: FnMut(R) -> Result<Option<T>, RefusalReason>,
    {
        let last = std::mem::take(self);
        let mut rows: Vec<Row<T>> = Vec::with_capacity(last.rows.len());
        // Row `n` stood at `n + moved` the last time.
        let mut moved = 0_isize;
        let mut place = after_space(body, expect(body, at, b'[')?);
        if body.get(place) != Some(&b']') {
            loop {
                if rows.len() == rows_max {
                    return None;
                }
                let before = rows.len().checked_add_signed(moved);
                let known = before.and_then(|n| last.unchanged(n, body, place));
                let row = match known {
                    Some(row) => row,
                    None => {
                        let row = parse(body, place, accept)?;
                        moved += last.shift(before, &row, same);
                        row
                    }
                };
                place = after_space(body, place + row.bytes);
                rows.push(row);
                match body.get(place)? {
                    b',' => place = after_space(body, place + 1),
                    b']' => break,
                    _ => return None,
                }
            }
        }
        // The records below need its room.
        drop(last);
        let mut told = Rows {
            seen: rows.len(),
            kept: Vec::with_capacity(rows.len()),
            ..Rows::default()
        };
        for row in &rows {
            match &row.read {
                Ok(kept) => told.kept.extend(kept.clone()),
                Err(reason) => told.refused.push(*reason),
            }
        }
        self.bytes = body.len();
        self.rows = rows;
        Some((told, place + 1))
    }

    /// Row `n` of the last time, if the same text stands at `place` now.
    fn unchanged(&self, n: usize, body: &[u8], place: usize) -> Option<Row<T>> {
        let row = self.rows.get(n)?;
        let text = body.get(place..place + row.bytes)?;
        // An object ends where it ends; a number might go on.
        (text.ends_with(b"}") && digest(text) == row.digest).then(|| Row {
            bytes: row.bytes,
            digest: row.digest,
            read: row.read.clone(),
        })
    }

    /// How many rows further on the thing of `row` stood the last time than `expected`.
    fn shift(&self, expected: Option<usize>, row: &Row<T>, same: fn(&T, &T) -> bool) -> isize {
        let (Some(expected), Ok(Some(of))) = (expected, &row.read) else {
            return 0;
        };
        let from = expected.saturating_sub(MOVED_MAX).min(self.rows.len());
        let to = (expected + MOVED_MAX + 1).min(self.rows.len());
        let is_it = |n: &usize| matches!(&self.rows[*n].read, Ok(Some(was)) if same(was, of));
        let stood = (expected..to).chain(from..expected.min(to)).find(is_it);
        match stood {
            Some(stood) => stood as isize - expected as isize,
            // It is new: those behind it have moved one row on.
            None => -1,
        }
    }
}

/// Parses one row.
fn parse<'de, R, T, F>(body: &'de [u8], place: usize, accept: &mut F) -> Option<Row<T>>
where
    R: Object<'de>,
    F: FnMut(R) -> Result<Option<T>, RefusalReason>,
{
    let (Maybe(row), end) = value::<Maybe<R>>(body, place)?;
    Some(Row {
        bytes: end - place,
        digest: digest(&body[place..end]),
        read: row.map_or(Err(RefusalReason::Shape), accept),
    })
}

/// Parses the value that begins at `place`, or behind white space there, and tells where it ends.
fn value<'de, V: Deserialize<'de>>(body: &'de [u8], place: usize) -> Option<(V, usize)> {
    let mut values = serde_json::Deserializer::from_slice(body.get(place..)?).into_iter::<V>();
    let value = values.next()?.ok()?;
    Some((value, place + values.byte_offset()))
}

/// The first place from `at` on that is no white space.
fn after_space(body: &[u8], at: usize) -> usize {
    let space = |byte: &&u8| matches!(byte, b' ' | b'\n' | b'\t' | b'\r');
    at + body[at..].iter().take_while(space).count()
}

/// The place behind `byte`, if that stands at `at`.
fn expect(body: &[u8], at: usize, byte: u8) -> Option<usize> {
    (body.get(at) == Some(&byte)).then_some(at + 1)
}
