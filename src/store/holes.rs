//! What producers have sent and the store lacks: when to ask for it, and when to give it up.

use std::collections::BTreeMap;

use super::arrivals::Progress;
use crate::journal::ReplayAsk;
use crate::model::time::{Millis, Monotonic};

/// A number that is missing for less may be in another aggregator's hands.
const PATIENCE: Millis = Millis::from_secs(10);

/// A hole is asked for this often.
const ASK_EVERY: Millis = Millis::from_secs(10);

/// A producer that has not answered for this long is not waited for any more. Should it come back
/// with what is missing, it is stored all the same.
const GIVEN_UP_AFTER: Millis = Millis::from_secs(600);

/// Most numbers given up in one go.
const GIVEN_UP_AT_ONCE: u64 = 10_000;

/// The holes that are known.
#[derive(Debug, Default)]
pub(super) struct Holes(BTreeMap<String, Hole>);

#[derive(Debug)]
struct Hole {
    floor: u64,
    ask_at: Monotonic,
    /// Since when nobody answers.
    silent_since: Option<Monotonic>,
}

impl Holes {
    /// Takes how far the store is; says what to ask for now.
    pub(super) fn look(
        &mut self,
        progress: &[Progress],
        now: Monotonic,
    ) -> Vec<(String, ReplayAsk)> {
        let mut asks = Vec::new();
        let mut open = BTreeMap::new();
        for (producer, ask) in progress.iter().filter_map(hole) {
            let floor = ask.from - 1;
            let known = self
                .0
                .remove(&producer)
                .filter(|known| known.floor == floor);
            let mut known = known.unwrap_or(Hole {
                floor,
                ask_at: now + PATIENCE,
                silent_since: None,
            });
            if now >= known.ask_at {
                known.ask_at = now + ASK_EVERY;
                asks.push((producer.clone(), ask));
            }
            open.insert(producer, known);
        }
        self.0 = open;
        asks
    }

    /// Somebody answered.
    pub(super) fn heard(&mut self, producer: &str) {
        if let Some(hole) = self.0.get_mut(producer) {
            hole.silent_since = None;
        }
    }

    /// Nobody answered; says which numbers to give up.
    pub(super) fn unheard(&mut self, producer: &str, ask: ReplayAsk, now: Monotonic) -> Vec<u64> {
        let Some(hole) = self.0.get_mut(producer) else {
            return Vec::new();
        };
        let since = *hole.silent_since.get_or_insert(now);
        if now - since < GIVEN_UP_AFTER {
            return Vec::new();
        }
        (ask.from..=ask.to.min(ask.from + (GIVEN_UP_AT_ONCE - 1))).collect()
    }
}

fn hole(progress: &Progress) -> Option<(String, ReplayAsk)> {
    let next = progress.next?;
    let ask = ReplayAsk {
        from: progress.floor + 1,
        to: next.checked_sub(1)?,
    };
    (ask.from <= ask.to).then(|| (progress.producer.clone(), ask))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(floor: u64, next: Option<u64>) -> Vec<Progress> {
        let producer = "p".to_owned();
        vec![Progress {
            producer,
            floor,
            next,
        }]
    }

    const ASK: ReplayAsk = ReplayAsk { from: 6, to: 8 };

    fn at(seconds: i64) -> Monotonic {
        Monotonic(seconds * 1_000)
    }

    #[test]
    fn a_hole_is_asked_for_once_it_has_lasted_and_then_again() {
        let mut holes = Holes::default();
        let lacking = progress(5, Some(9));
        assert!(holes.look(&lacking, at(0)).is_empty());
        assert!(holes.look(&lacking, at(9)).is_empty());
        assert_eq!(holes.look(&lacking, at(10)), [("p".to_owned(), ASK)]);
        assert!(holes.look(&lacking, at(11)).is_empty());
        assert_eq!(holes.look(&lacking, at(20)).len(), 1);
        // One that moves is being filled, and has its patience anew.
        assert!(holes.look(&progress(6, Some(9)), at(30)).is_empty());
        assert!(holes.look(&progress(9, None), at(60)).is_empty());
        assert!(holes.look(&lacking, at(61)).is_empty());
    }

    #[test]
    fn what_nobody_has_is_given_up_after_a_while_of_silence() {
        let mut holes = Holes::default();
        let lacking = progress(5, Some(9));
        holes.look(&lacking, at(0));
        assert!(holes.unheard("p", ASK, at(10)).is_empty());
        assert!(holes.unheard("p", ASK, at(609)).is_empty());
        holes.heard("p");
        assert!(holes.unheard("p", ASK, at(611)).is_empty());
        assert_eq!(holes.unheard("p", ASK, at(1_211)), [6, 7, 8]);
        assert!(holes.unheard("q", ASK, at(1_211)).is_empty());
    }
}
