//! What travels: subjects, message ids, bodies, and what is asked and said beside the stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::event::{Event, JournalRecord, Mark};

/// Who published a record: a random name, one for the life of an outbox.
pub(super) const PRODUCER_HEADER: &str = "Genesyscloud-Producer";

/// The record's number among the producer's, without holes.
pub(super) const SEQUENCE_HEADER: &str = "Genesyscloud-Sequence";

/// Longest producer taken: what [`super::Standing`] makes has 32 characters.
const PRODUCER_BYTES_MAX: usize = 64;

/// Longest payload kept of a message that is none of ours.
const POISON_BYTES_KEPT: usize = 16 * 1024;

/// Subjects of one organisation.
#[derive(Debug, Clone)]
pub(super) struct Subjects {
    prefix: String,
    org: String,
}

impl Subjects {
    pub(super) fn new(prefix: &str, org: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            org: org.to_owned(),
        }
    }

    fn of(&self, what: &str) -> String {
        format!("{}.{what}.{}", self.prefix, self.org)
    }

    /// State changes.
    pub(super) fn events(&self) -> String {
        self.of("events")
    }

    /// Confirmation marks.
    pub(super) fn confirmed(&self) -> String {
        self.of("confirmed")
    }

    /// What windows need beside them: who is on the roster, and presence.
    pub(super) fn facts(&self) -> String {
        self.of("facts")
    }

    /// Everything that the stream keeps, of every organisation. A consumer's filter must lie
    /// within one subject of its stream, so it is one.
    pub(super) fn stream(&self) -> String {
        format!("{}.*.*", self.prefix)
    }

    /// All that the stream keeps of this organisation.
    pub(super) fn filter(&self) -> String {
        self.of("*")
    }

    /// How far stores are. Not kept: it has a token more than what the stream takes.
    pub(super) fn stored(&self) -> String {
        format!("{}.floors", self.of("stored"))
    }

    /// Asks a producer for what was lost on the way; not kept either.
    pub(super) fn replay(&self, producer: &str) -> String {
        format!("{}.{producer}", self.of("replay"))
    }

    fn record(&self, record: &JournalRecord) -> String {
        match record {
            JournalRecord::Event(_) => self.events(),
            JournalRecord::Marks(_) => self.confirmed(),
            JournalRecord::Roster(_) | JournalRecord::Presence(_) => self.facts(),
        }
    }
}

/// A record as a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) subject: String,
    /// By it the broker knows a message that comes twice.
    pub(super) id: String,
    pub(super) body: Vec<u8>,
}

/// An event is sent bare, as the normalised record; what has no key of its own is named by who
/// sent it.
pub(super) fn encode(
    subjects: &Subjects,
    producer: &str,
    seq: u64,
    record: &JournalRecord,
) -> Message {
    let json = |body: Result<Vec<u8>, serde_json::Error>| {
        body.expect("records have only string keys and finite numbers")
    };
    let (id, body) = match record {
        JournalRecord::Event(event) => {
            let id = match event.revision {
                0 | 1 => event.key(),
                revision => format!("{}#{revision}", event.key()),
            };
            (id, json(serde_json::to_vec(event)))
        }
        JournalRecord::Marks(marks) => (place(producer, seq), json(serde_json::to_vec(marks))),
        fact => (place(producer, seq), json(serde_json::to_vec(fact))),
    };
    Message {
        subject: subjects.record(record),
        id,
        body,
    }
}

/// Names a record by who sent it.
fn place(producer: &str, seq: u64) -> String {
    format!("{producer}/{seq}")
}

/// Another id for a message whose first one the broker has seen: was it this record, one that is
/// there twice does no harm; was it another of the same key, this one must arrive too.
pub(super) fn second_id(id: &str, producer: &str, seq: u64) -> String {
    format!("{id}~{}", place(producer, seq))
}

/// And for one that a store asks for again, so that the broker does not think it has it.
pub(super) fn replay_id(id: &str, producer: &str, seq: u64, attempt: u64) -> String {
    format!("{}~{attempt}", second_id(id, producer, seq))
}

/// A record as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Who published it; empty: somebody who is none of us.
    pub producer: Arc<str>,
    /// Its number among the producer's.
    pub seq: u64,
    /// What it says.
    pub content: Content,
}

/// What a delivery says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A record.
    Record(JournalRecord),
    /// Nothing that this version can read; the text is kept as a dead letter.
    Poison {
        /// Why.
        reason: &'static str,
        /// As it came, what is no UTF-8 replaced, and cut.
        payload: String,
    },
}

/// Reads a message. `seq_in_stream` names one that does not say its number.
pub(super) fn decode(
    subjects: &Subjects,
    subject: &str,
    producer: Option<&str>,
    seq: Option<&str>,
    body: &[u8],
    seq_in_stream: u64,
) -> Delivery {
    let fits = |producer: &&str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric();
        (1..=PRODUCER_BYTES_MAX).contains(&producer.len()) && producer.bytes().all(fits)
    };
    let named = producer.filter(fits).zip(seq.and_then(number));
    let content = match named {
        Some(_) => read(subjects, subject, body),
        None => Err("unnamed"),
    };
    let (producer, seq) = named.map_or((Arc::from(""), seq_in_stream), |(producer, seq)| {
        (Arc::from(producer), seq)
    });
    let content = match content {
        Ok(record) => Content::Record(record),
        Err(reason) => {
            let kept = &body[..body.len().min(POISON_BYTES_KEPT)];
            // PostgreSQL takes no NUL in a text.
            let payload = String::from_utf8_lossy(kept).replace('\0', "\u{fffd}");
            Content::Poison { reason, payload }
        }
    };
    Delivery {
        producer,
        seq,
        content,
    }
}

/// A number from 1 that a database can keep.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number >= 1 && i64::try_from(number).is_ok()).then_some(number)
}

fn read(subjects: &Subjects, subject: &str, body: &[u8]) -> Result<JournalRecord, &'static str> {
    let read = if subject == subjects.events() {
        serde_json::from_slice::<Event>(body).map(JournalRecord::from)
    } else if subject == subjects.confirmed() {
        serde_json::from_slice::<Vec<Mark>>(body).map(JournalRecord::Marks)
    } else if subject == subjects.facts() {
        serde_json::from_slice(body)
    } else {
        return Err("unknown_subject");
    };
    read.map_err(|_| "undecodable")
}

/// How far a store is with each producer: everything up to the number is committed.
pub type Floors = BTreeMap<String, u64>;

/// A store lacks these records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayAsk {
    /// First number.
    pub from: u64,
    /// Last number.
    pub to: u64,
}

/// What the producer says to it: how many it has sent again, and which will never come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayAnswer {
    /// Records sent again.
    pub sent: u64,
    /// Numbers that it does not have any more.
    pub gone: Vec<u64>,
    /// Numbers that it has told of already: dead letters of its own.
    pub buried: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{PresenceChange, RosterSpan};
    use crate::model::ids::UserId;
    use crate::model::state::Presence;
    use crate::model::time::UnixMillis;

    fn subjects() -> Subjects {
        Subjects::new("genesyscloud", "acme")
    }

    fn roster() -> JournalRecord {
        JournalRecord::Roster(RosterSpan {
            user_id: UserId::new("u1"),
            from: UnixMillis(1),
            until: None,
        })
    }

    fn back(message: &Message) -> Delivery {
        let (producer, seq) = (Some("p1"), Some("7"));
        decode(
            &subjects(),
            &message.subject,
            producer,
            seq,
            &message.body,
            99,
        )
    }

    #[test]
    fn what_is_sent_is_read_back() {
        let presence = JournalRecord::Presence(PresenceChange {
            user_id: UserId::new("u1"),
            at: UnixMillis(5),
            presence: Presence::parse("Available"),
        });
        let marks = JournalRecord::Marks(Vec::new());
        for record in [roster(), presence, marks] {
            let message = encode(&subjects(), "p1", 7, &record);
            assert_eq!(message.id, "p1/7");
            let delivery = back(&message);
            assert_eq!((&*delivery.producer, delivery.seq), ("p1", 7));
            assert_eq!(delivery.content, Content::Record(record));
        }
    }

    #[test]
    fn subjects_are_those_of_the_contract() {
        assert_eq!(subjects().events(), "genesyscloud.events.acme");
        assert_eq!(subjects().confirmed(), "genesyscloud.confirmed.acme");
        assert_eq!(subjects().filter(), "genesyscloud.*.acme");
        assert_eq!(subjects().stream(), "genesyscloud.*.*");
        let tokens = |subject: String| subject.split('.').count();
        assert!(tokens(subjects().stored()) > 3 && tokens(subjects().replay("p1")) > 3);
    }

    #[test]
    fn what_is_none_of_ours_is_kept_as_it_came() {
        let message = encode(&subjects(), "p1", 7, &roster());
        let poison = |subject: &str, producer: Option<&str>, seq: Option<&str>, body: &[u8]| {
            let read = decode(&subjects(), subject, producer, seq, body, 99);
            match read.content {
                Content::Poison { reason, payload } => (reason, payload, read.producer, read.seq),
                Content::Record(_) => panic!("read as a record"),
            }
        };
        let (reason, _, producer, seq) = poison(&message.subject, None, Some("7"), &message.body);
        assert_eq!((reason, &*producer, seq), ("unnamed", "", 99));
        for seq in ["0", "-1", "x", "9223372036854775808"] {
            let (reason, ..) = poison(&message.subject, Some("p1"), Some(seq), &message.body);
            assert_eq!(reason, "unnamed", "{seq}");
        }
        let (reason, payload, _, seq) = poison(&message.subject, Some("p1"), Some("7"), b"{\xff\0");
        assert_eq!(
            (reason, payload.as_str(), seq),
            ("undecodable", "{\u{fffd}\u{fffd}", 7)
        );
        let (reason, ..) = poison("genesyscloud.other.acme", Some("p1"), Some("7"), b"{}");
        assert_eq!(reason, "unknown_subject");
        let (_, payload, ..) = poison(&message.subject, Some("p1"), Some("7"), &vec![b'x'; 50_000]);
        assert_eq!(payload.len(), POISON_BYTES_KEPT);
    }

    #[test]
    fn ids_of_a_record_never_meet_those_of_another() {
        let id = encode(&subjects(), "p1", 7, &roster()).id;
        let ids = [
            id.clone(),
            second_id(&id, "p1", 7),
            second_id(&id, "p1", 8),
            replay_id(&id, "p1", 7, 1),
            replay_id(&id, "p1", 7, 2),
        ];
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }
}
