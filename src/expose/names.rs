//! Label values that cannot hurt a reader: bounded, printable, unique. Pure.
//!
//! Queue names come from the platform's administrators and may hold anything. Escaping is the
//! renderer's business; here control and bidirectional characters go, length is cut, and two
//! entities never share a series (a duplicate would cost the whole scrape).

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::config::{PerAgent, PseudonymKey};
use crate::model::label::{LABEL_BYTES_MAX, clean_label, cut};
use crate::model::view::View;

/// Characters of an id appended to tell two equal names apart: a head of a UUID.
const ID_HEAD: usize = 8;

/// Label values of a view's queues and agents: cleaned, and each used once.
#[derive(Debug)]
pub struct SeriesNames<'a> {
    /// By position in `View::queues`.
    pub queues: Vec<Cow<'a, str>>,
    /// By position in `View::agents`; empty unless asked for.
    pub agents: Vec<Cow<'a, str>>,
}

impl<'a> SeriesNames<'a> {
    /// Names everything in `view`; agents only if they have series of their own.
    pub fn of(view: &'a View, per_agent: &PerAgent) -> Self {
        let queues = view
            .queues
            .iter()
            .map(|queue| (&*queue.name, queue.queue_id.as_str()));
        let ids = view.agents.iter().map(|agent| agent.user_id.as_str());
        let agents = match per_agent {
            PerAgent::Off => Vec::new(),
            PerAgent::Id => unique(ids.map(|id| (id, id))),
            PerAgent::Pseudonym(key) => pseudonyms(ids, key),
        };
        Self {
            queues: unique(queues),
            agents,
        }
    }
}

/// Two ids of one pseudonym are told apart by a number, never by their ids.
fn pseudonyms<'a>(ids: impl Iterator<Item = &'a str>, key: &PseudonymKey) -> Vec<Cow<'a, str>> {
    let made: Vec<String> = ids.map(|id| key.pseudonym(id)).collect();
    let named = made.iter().map(|name| (name.as_str(), "2"));
    let unique = unique(named).into_iter();
    unique.map(|name| Cow::Owned(name.into_owned())).collect()
}

/// The view already tells equal names apart; this catches what cleaning made equal.
fn unique<'a>(named: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Cow<'a, str>> {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    named
        .map(|(name, id)| {
            let mut label = clean_label(name);
            if taken.contains(&*label) {
                label = Cow::Owned(suffixed(&label, cut(&clean_label(id), ID_HEAD)));
            }
            let mut count = 2_u64;
            while taken.contains(&*label) {
                label = Cow::Owned(suffixed(&clean_label(name), &count.to_string()));
                count += 1;
            }
            taken.insert(label.clone().into_owned());
            label
        })
        .collect()
}

fn suffixed(name: &str, suffix: &str) -> String {
    let room = LABEL_BYTES_MAX.saturating_sub(suffix.len() + 3);
    format!("{} ({suffix})", cut(name, room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cleaning_made_equal_are_told_apart() {
        let long = "q".repeat(200);
        let named = [
            ("a\nb", "11111111-1"),
            ("a\u{FFFD}b", "22222222-2"),
            ("a\tb", "22222222-3"),
            (long.as_str(), "4"),
            (long.as_str(), "5"),
        ];
        let labels = unique(named.into_iter());
        let distinct: BTreeSet<_> = labels.iter().collect();
        assert_eq!(distinct.len(), labels.len(), "{labels:?}");
        assert!(labels.iter().all(|label| label.len() <= LABEL_BYTES_MAX));
        assert_eq!(labels[1], "a\u{FFFD}b (22222222)");
        assert_eq!(labels[2], "a\u{FFFD}b (2)");
    }
}
