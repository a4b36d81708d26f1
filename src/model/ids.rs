//! Identities: shared text that is cheap to clone and ordered by value.
//!
//! Every table of agents and queues is ordered by these, so comparing them decides what a cycle
//! costs. The head of the text stands beside the pointer to it: UUIDs nearly always differ in their
//! first eight bytes, and then no comparison leaves the table's own memory.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of a text that are compared before the text itself is looked at.
const HEAD_BYTES: usize = 8;

/// The first bytes of a text as a number that is ordered as they are; a shorter text is filled up
/// with zeros, so that equal heads decide nothing and different ones decide as the texts would.
fn head(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut head = [0; HEAD_BYTES];
    let length = bytes.len().min(HEAD_BYTES);
    head[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(head)
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            head: u64,
            text: Arc<str>,
        }

        impl $name {
            /// Takes the text as it is; whether it is acceptable is the parser's business.
            pub fn new(text: &str) -> Self {
                Self {
                    head: head(text),
                    text: Arc::from(text),
                }
            }

            /// [`Self::new`], or the one of `held` that is equal to it: each answer brings the
            /// same texts again, and one of each is enough to keep.
            pub fn of(text: &str, held: &BTreeSet<Self>) -> Self {
                held.get(text).cloned().unwrap_or_else(|| Self::new(text))
            }

            /// The one of `held` that is equal to this one, if there is one.
            pub fn as_in(self, held: &BTreeSet<Self>) -> Self {
                held.get(&self).cloned().unwrap_or(self)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.text
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.head == other.head && self.text == other.text
            }
        }

        impl Eq for $name {}

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.head.cmp(&other.head).then_with(|| {
                    if Arc::ptr_eq(&self.text, &other.text) {
                        Ordering::Equal
                    } else {
                        self.text.cmp(&other.text)
                    }
                })
            }
        }

        // As texts hash, which `Borrow` promises.
        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.text.hash(state);
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Arc::<str>::deserialize(deserializer)?;
                Ok(Self {
                    head: head(&text),
                    text,
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.text, f)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.text
            }
        }
    };
}

text_id!(
    /// An agent: the platform's user id.
    UserId
);
text_id!(
    /// A queue: the platform's queue id. Names may repeat and change; this does not.
    QueueId
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_that_is_held_already_shares_its_text() {
        let held = UserId::new("agent-0001");
        let all = BTreeSet::from([held.clone(), UserId::new("agent-0002")]);
        let again = [
            UserId::of("agent-0001", &all),
            UserId::new("agent-0001").as_in(&all),
        ];
        for id in again {
            assert!(Arc::ptr_eq(&id.text, &held.text));
        }
        assert_eq!(UserId::of("agent-0003", &all).as_str(), "agent-0003");
        assert_eq!(UserId::new("agent-0003").as_in(&all).as_str(), "agent-0003");
    }

    proptest! {
        /// Tables may be searched by the text, so both must agree on every pair, those included
        /// that differ only behind the head, in length, or by a zero byte.
        #[test]
        fn ids_are_ordered_and_equal_as_their_texts_are(
            one in "[ab\u{0}\u{e9}]{0,12}",
            other in "[ab\u{0}\u{e9}]{0,12}",
        ) {
            let (a, b) = (UserId::new(&one), UserId::new(&other));
            prop_assert_eq!(a.cmp(&b), one.cmp(&other));
            prop_assert_eq!(a == b, one == other);
            prop_assert_eq!(a.cmp(&a.clone()), Ordering::Equal);
        }
    }
}
