//! Reading a page beside the last one gives what reading it alone gives, and parses what changed.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;
use serde::de::MapAccess;

use super::super::again::LastPages;
use super::super::document::{Listing, Object, skip};
use super::super::scalar::Scalar;
use super::*;

/// A row that tells only its id.
#[derive(Default)]
struct Named<'a>(Scalar<'a>);

impl<'de> Object<'de> for Named<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        match key {
            "id" => self.0 = fields.next_value()?,
            _ => skip(fields)?,
        }
        Ok(())
    }
}

const LISTING: Listing = Listing {
    what: "rows",
    expected: "rows",
    rows_max: 100,
    bare: true,
};

/// The ids on a page, and how many rows were parsed for it.
fn read(last: &mut LastPages<String>, body: &str) -> (Vec<String>, usize) {
    let mut parsed = 0;
    let accept = |row: Named<'_>| {
        parsed += 1;
        row.0.id().map(|id| Some(id.to_owned()))
    };
    let body = Bytes::from(body.to_owned());
    let same = |a: &String, b: &String| a == b;
    let (rows, _) = last.read(1, &body, LISTING, same, accept).unwrap();
    (rows.kept, parsed)
}

fn page(rows: &[(char, u32)]) -> String {
    let rows = rows.iter();
    let rows: Vec<_> = rows
        .map(|(id, value)| format!(r#"{{"id":"{id}","v":{value}}}"#))
        .collect();
    format!("[{}]", rows.join(", "))
}

#[test]
fn only_what_changed_is_parsed() {
    let mut last = LastPages::default();
    let mut parsed = |rows: &[(char, u32)]| {
        let (ids, parsed) = read(&mut last, &page(rows));
        let expected: Vec<_> = rows.iter().map(|(id, _)| id.to_string()).collect();
        assert_eq!(ids, expected);
        parsed
    };
    let before = [('a', 1), ('b', 1), ('c', 1), ('d', 1), ('e', 1), ('f', 1)];
    assert_eq!(parsed(&before), 6);
    assert_eq!(parsed(&before), 0);
    let changed = [('a', 1), ('b', 2), ('c', 2), ('d', 1), ('e', 1), ('f', 1)];
    assert_eq!(parsed(&changed), 2);
    let without = [('a', 1), ('d', 1), ('e', 1), ('f', 1)];
    assert_eq!(
        parsed(&without),
        1,
        "the first behind the gap tells how wide it is"
    );
    let with = [('a', 1), ('x', 1), ('y', 1), ('d', 1), ('e', 1), ('f', 1)];
    assert_eq!(parsed(&with), 2);
    assert_eq!(parsed(&[]), 0);
    assert_eq!(parsed(&with), 6);
}

#[test]
fn a_longer_number_is_not_the_number_that_it_begins_with() {
    let mut last = LastPages::default();
    for body in ["[1]", "[12]", "[null]", "[nullable]", "[{}]", "[{}1]"] {
        let body = Bytes::from_static(body.as_bytes());
        let accept = |row: Named<'_>| row.0.id().map(|id| Some(id.to_owned()));
        let told = last.read(1, &body, LISTING, |a, b| a == b, accept);
        let alone = document::listing(&body, LISTING, accept);
        assert_eq!(told.is_ok(), alone.is_ok(), "{body:?}");
    }
}

/// Rows of every kind: good ones, refused ones, and what is no row at all.
fn row() -> impl Strategy<Value = String> {
    let good = (0..12_u32, 0..4_u32, 0..3_usize).prop_map(|(user, minute, state)| {
        let state = RoutingState::ALL[state].wire();
        format!(
            r#"{{"userId":"u{user}","presence":"Away","availability":"{state}","lastModified":"2024-05-14T08:0{minute}:00Z"}}"#
        )
    });
    prop_oneof![
        12 => good,
        1 => Just(r#"{"userId":"","presence":{"a":[1,2]}}"#.to_owned()),
        1 => Just(r#"{"userId":"\u0075\ud83d\ude00","presence":"A","availability":"OnCall","lastModified":1}"#.to_owned()),
        1 => prop_oneof![Just("null"), Just("17"), Just("[{}]"), Just("\"}\"")].prop_map(str::to_owned),
    ]
}

fn rows() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(row(), 0..16)
}

/// A body of these rows, well formed but for `damage`.
fn body(rows: &[String], shape: usize, damage: Option<(usize, u8)>) -> Vec<u8> {
    let rows = match shape {
        0 => format!("[{}]", rows.join(",")),
        1 => format!(" [\n{}\r\n] ", rows.join(" ,\t")),
        2 => format!(
            r#"{{"total":{},"entities":[{}]}}"#,
            rows.len(),
            rows.join(",")
        ),
        3 => format!(
            r#"{{"entities" : [{}] , "nextUri":"","x":[{{}}]}}"#,
            rows.join(", ")
        ),
        4 => r#"{"entities":null}"#.to_owned(),
        _ => format!("\u{FEFF}[{}]", rows.join(",")),
    };
    let mut body = rows.into_bytes();
    if let Some((place, byte)) = damage {
        let place = place % body.len();
        body[place] = byte;
    }
    body
}

proptest! {
    #[test]
    fn a_page_means_the_same_beside_any_other(
        first in rows(),
        edits in proptest::collection::vec(
            (any::<prop::sample::Index>(), 0..4_usize, row(), 0..6_usize,
             proptest::option::weighted(0.2, (0..400_usize, any::<u8>()))),
            1..8,
        ),
    ) {
        let (mut reader, nobody) = (StatusesReader::default(), BTreeSet::new());
        let mut rows = first;
        for (place, edit, new, shape, damage) in edits {
            let at = place.index(rows.len() + 1);
            match edit {
                0 => rows.insert(at, new),
                1 if at < rows.len() => rows[at] = new,
                2 if at < rows.len() => drop(rows.remove(at)),
                3 if at < rows.len() => rows.swap(at, 0),
                _ => {}
            }
            let body = Bytes::from(body(&rows, shape, damage));
            prop_assert_eq!(
                format!("{:?}", reader.read(1, &body, &nobody)),
                format!("{:?}", statuses(&body))
            );
        }
    }
}
