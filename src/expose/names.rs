//! Label values that cannot hurt a reader: bounded, printable, unique. Pure.
//!
//! Names of queues and people come from the platform's administrators and may hold anything. Escaping is the
//! renderer's business; here control and bidirectional characters go, length is cut, and two
//! entities never share a series (a duplicate would cost the whole scrape).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::config::{PerAgent, PseudonymKey};
use crate::model::label::{LABEL_BYTES_MAX, clean_label, cut};
use crate::model::view::{AgentNames, View};

/// Characters of an id appended to tell two equal names apart: a head of a UUID.
const ID_HEAD: usize = 8;

/// Bytes of an id appended to a name that several agents have: a whole UUID, and room for the name.
const ID_BYTES_MAX: usize = 64;

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
            // Until names are known there are no series: they would be others a moment later.
            PerAgent::Name => match &view.names {
                Some(names) => by_name(ids, names),
                None => Vec::new(),
            },
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

/// Names, and ids of those that have none. Where several have one name each of them has the id
/// too, so that no series of one becomes another's when somebody joins or leaves.
fn by_name<'a>(ids: impl Iterator<Item = &'a str>, names: &'a AgentNames) -> Vec<Cow<'a, str>> {
    let labelled = ids.map(|id| {
        let name = names.get(id).map_or("", |name| name.trim());
        (clean_label(if name.is_empty() { id } else { name }), id)
    });
    let labelled: Vec<(Cow<'a, str>, &'a str)> = labelled.collect();
    let mut bearers: BTreeMap<&str, u32> = BTreeMap::new();
    for (label, _) in &labelled {
        *bearers.entry(label).or_default() += 1;
    }
    let told_apart = labelled.iter().map(|(label, id)| match bearers[&**label] {
        1 => label.to_string(),
        _ => suffixed(label, cut(&clean_label(id), ID_BYTES_MAX)),
    });
    let labels: Vec<String> = told_apart.collect();
    let labels = labels.iter().map(String::as_str);
    let unique = unique(labels.zip(labelled.iter().map(|(_, id)| *id)));
    let owned = |label: Cow<'_, str>| Cow::Owned(label.into_owned());
    unique.into_iter().map(owned).collect()
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
    use std::sync::Arc;

    use super::*;
    use crate::model::ids::UserId;

    #[test]
    fn agents_of_one_name_have_their_ids_too_and_who_has_none_has_only_that() {
        let long = "x".repeat(200);
        let people = [
            ("1a", "Anna"),
            ("2b", "Anna\n"),
            ("3c", "Anna (1a)"),
            ("4d", " "),
            ("5e", "Ben\u{202E}"),
            ("6f", long.as_str()),
            ("7g", long.as_str()),
        ];
        let people = people.map(|(id, name)| (UserId::new(id), Arc::from(name)));
        let names: AgentNames = people.into_iter().collect();
        let ids = ["1a", "2b", "3c", "4d", "5e", "6f", "7g", "8h"];
        let labels = by_name(ids.into_iter(), &names);
        assert_eq!(labels[0], "Anna (1a)");
        assert_eq!(labels[1], "Anna (2b)");
        assert_eq!(labels[2], "Anna (1a) (3c)", "nobody takes another's");
        assert_eq!((&*labels[3], &*labels[7]), ("4d", "8h"));
        assert_eq!(labels[4], "Ben\u{FFFD}");
        assert!(labels[5].ends_with("x (6f)") && labels[6].ends_with("x (7g)"));
        assert!(labels.iter().all(|label| label.len() <= LABEL_BYTES_MAX));
        let distinct: BTreeSet<_> = labels.iter().collect();
        assert_eq!(distinct.len(), labels.len(), "{labels:?}");
        let alone = by_name(["1a", "3c"].into_iter(), &names);
        assert_eq!(alone, ["Anna", "Anna (1a)"]);
    }

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
