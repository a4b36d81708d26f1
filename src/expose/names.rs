//! Label values that cannot hurt a reader: bounded, printable, unique. Pure.
//!
//! Queue names come from the platform's administrators and may hold anything. Escaping is the
//! renderer's business; here control and bidirectional characters go, length is cut, and two
//! entities never share a series (a duplicate would cost the whole scrape).

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::model::view::View;

/// Longest label value in bytes: far above any real queue name, and a page stays bounded.
pub const LABEL_BYTES_MAX: usize = 128;

/// Characters of an id appended to tell two equal names apart: a head of a UUID.
const ID_HEAD: usize = 8;

/// The text with control and bidirectional characters replaced by U+FFFD, cut at
/// [`LABEL_BYTES_MAX`] on a character's boundary.
pub fn clean_label(text: &str) -> Cow<'_, str> {
    let cut = cut(text, LABEL_BYTES_MAX);
    if cut.chars().any(is_unsafe) {
        let replaced: String = cut
            .chars()
            .map(|c| {
                if is_unsafe(c) {
                    char::REPLACEMENT_CHARACTER
                } else {
                    c
                }
            })
            .collect();
        // A replacement has three bytes, a control character one: the length may have grown.
        Cow::Owned(self::cut(&replaced, LABEL_BYTES_MAX).to_owned())
    } else {
        Cow::Borrowed(cut)
    }
}

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Control characters, line and paragraph separators, and those that reorder or hide text.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061C}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}'
        )
}

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
    pub fn of(view: &'a View, with_agents: bool) -> Self {
        let queues = view
            .queues
            .iter()
            .map(|queue| (&*queue.name, queue.queue_id.as_str()));
        let agents = view
            .agents
            .iter()
            .filter(|_| with_agents)
            .map(|agent| (agent.user_id.as_str(), agent.user_id.as_str()));
        Self {
            queues: unique(queues),
            agents: unique(agents),
        }
    }
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
    fn harmless_names_stay_as_they_are() {
        for name in ["Sales_US", "Vertrieb Süd", "支持", "a\"b\\c", ""] {
            assert_eq!(clean_label(name), name);
        }
    }

    #[test]
    fn control_and_bidirectional_characters_are_replaced() {
        assert_eq!(clean_label("a\nb\0c"), "a\u{FFFD}b\u{FFFD}c");
        assert_eq!(clean_label("\u{202E}gro.live"), "\u{FFFD}gro.live");
    }

    #[test]
    fn length_is_cut_on_a_character_boundary() {
        let long = "é".repeat(100);
        assert_eq!(clean_label(&long).len(), 128);
        let odd = format!("x{}", "é".repeat(100));
        assert_eq!(clean_label(&odd).len(), 127);
        assert!(clean_label(&"\n".repeat(500)).len() <= LABEL_BYTES_MAX);
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
