//! What came from producers: records, and whose numbers they have.

use std::sync::Arc;

use crate::journal::{Content, Delivery};
use crate::model::event::JournalRecord;

/// A batch of deliveries, sorted out.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// Records by their producers' numbers.
    pub(super) records: Vec<(u64, JournalRecord)>,
    /// (producer, number) of everything that has one, rising, each once: whoever writes rows of
    /// others at the same time writes them in the same order.
    pub(super) taken: Vec<(Arc<str>, u64)>,
    /// What nobody can read.
    pub(super) poison: Vec<Poison>,
}

/// A dead letter that never was a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Poison {
    pub(super) seq: u64,
    pub(super) reason: &'static str,
    pub(super) payload: String,
}

impl From<Vec<Delivery>> for Arrivals {
    fn from(deliveries: Vec<Delivery>) -> Self {
        let mut arrivals = Self::default();
        for delivery in deliveries {
            let Delivery {
                producer,
                seq,
                content,
            } = delivery;
            match content {
                Content::Record(record) => arrivals.records.push((seq, record)),
                Content::Poison { reason, payload } => arrivals.poison.push(Poison {
                    seq,
                    reason,
                    payload,
                }),
            }
            if !producer.is_empty() {
                arrivals.taken.push((producer, seq));
            }
        }
        arrivals.taken.sort_unstable();
        arrivals.taken.dedup();
        arrivals
    }
}

/// How far the store is with a producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The producer.
    pub producer: String,
    /// Everything up to this number is committed.
    pub floor: u64,
    /// The least number after it that is committed; what lies between is lacking.
    pub next: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_producer_is_kept_and_not_counted() {
        let record = JournalRecord::Marks(Vec::new());
        let delivery = |producer: &str, seq, content| Delivery {
            producer: Arc::from(producer),
            seq,
            content,
        };
        let poison = Content::Poison {
            reason: "unnamed",
            payload: "x".to_owned(),
        };
        let arrivals = Arrivals::from(vec![
            delivery("b", 2, Content::Record(record.clone())),
            delivery("", 9, poison.clone()),
            delivery("b", 2, Content::Record(record.clone())),
            delivery("a", 3, poison),
        ]);
        assert_eq!(arrivals.records, [(2, record.clone()), (2, record)]);
        assert_eq!(arrivals.taken, [(Arc::from("a"), 3), (Arc::from("b"), 2)]);
        let seqs: Vec<u64> = arrivals.poison.iter().map(|poison| poison.seq).collect();
        assert_eq!(seqs, [9, 3]);
    }
}
