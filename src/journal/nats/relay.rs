//! From the outbox to the stream.
//!
//! Publishes what the journal holds, in order, and forgets a record only when a store has said
//! that everything up to it is committed. What a store lacks it sends again. Nothing of its
//! progress is durable: at a start it begins at what stores have said, and what then comes twice
//! counts once.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::{Message as Told, Subscriber};
use futures_util::{FutureExt as _, StreamExt};
use rand::RngCore;
use tokio::sync::{Notify, watch};

use super::error::NatsError;
use super::link::NatsLink;
use super::wire::{Floors, ReplayAnswer, ReplayAsk, encode, replay_id, second_id};
use crate::clock::SystemClock;
use crate::crash::{CrashPoint, passing};
use crate::effect::Append;
use crate::journal::drain::{DRAIN_MAX, is_stopped, overdue, stopped};
use crate::journal::embedded::JournalError;
use crate::journal::writer::{JournalHandle, JournalStatus};
use crate::model::event::JournalRecord;
use crate::model::time::{Millis, Monotonic};

/// Records sent before the first acknowledgement is waited for.
const RECORDS_AT_ONCE: usize = 200;

/// Records looked at for one ask, and how long; a store asks again for the rest, and waits for the
/// answer only so long.
const REPLAYED_AT_ONCE: u64 = 5_000;
const REPLAYED_WITHIN: Millis = Millis::from_secs(2);

/// First wait after an error; doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);

/// Longest wait after errors: a broker that is back is seen soon.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Key of our name in the journal's checkpoint.
const PRODUCER_KEY: &str = "producer";

/// Who we are to stores, and from where we count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    producer: String,
    /// The journal's number before our first.
    base: u64,
}

impl Standing {
    /// What the checkpoint says; a new name if it says nothing, made durable before it is used.
    ///
    /// # Errors
    /// If the journal refuses.
    pub async fn of(
        journal: &JournalHandle,
        checkpoint: &[(String, String)],
    ) -> Result<Self, JournalError> {
        let kept = checkpoint.iter().find(|(key, _)| key == PRODUCER_KEY);
        if let Some(standing) = kept.and_then(|(_, value)| Self::read(value)) {
            return Ok(standing);
        }
        let mut name = [0; 16];
        rand::rng().fill_bytes(&mut name);
        let standing = Self {
            producer: format!("{:032x}", u128::from_be_bytes(name)),
            base: journal.fetch(0, 0).await?.acknowledged,
        };
        let entry = (PRODUCER_KEY.to_owned(), Some(standing.write()));
        let append = Append {
            checkpoint: vec![entry],
            ..Append::default()
        };
        journal.append(Arc::new(append)).await?;
        Ok(standing)
    }

    /// The name; the same for the life of the outbox, which one process owns at a time.
    pub fn name(&self) -> &str {
        &self.producer
    }

    fn write(&self) -> String {
        format!("{} {}", self.producer, self.base)
    }

    fn read(text: &str) -> Option<Self> {
        let (producer, base) = text.split_once(' ')?;
        Some(Self {
            producer: producer.to_owned(),
            base: base.parse().ok()?,
        })
    }
}

/// Hears what the relay does; counts and logs are its business.
pub trait RelayObserver: Send {
    /// Records of the journal that were not as written (`dead`), that the broker takes in no way
    /// (`refused`), or that were given and are gone (`missing`).
    fn lost(&mut self, dead: u64, refused: u64, missing: u64);
    /// A step failed; it is tried again.
    fn failed(&mut self, error: &(dyn Error + 'static));
    /// What waits in the outbox.
    fn depth(&mut self, status: JournalStatus);
}

/// Moves records from the outbox to the stream.
pub struct Relay<O> {
    journal: JournalHandle,
    link: NatsLink,
    standing: Standing,
    clock: SystemClock,
    observer: O,
    /// Last number of the journal that the broker has.
    published: u64,
    /// Last number that a store has.
    stored: u64,
    /// Numbers of ours that will never come, and that were told of.
    buried: BTreeSet<u64>,
    replays: u64,
    has_stream: bool,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("cannot read the outbox")]
    Journal(#[from] JournalError),
    #[error("cannot publish")]
    Nats(#[from] NatsError),
}

impl<O: RelayObserver> Relay<O> {
    /// Sends nothing yet.
    pub fn new(
        journal: JournalHandle,
        link: NatsLink,
        standing: Standing,
        clock: SystemClock,
        observer: O,
    ) -> Self {
        Self {
            published: standing.base,
            stored: standing.base,
            journal,
            link,
            standing,
            clock,
            observer,
            buried: BTreeSet::new(),
            replays: 0,
            has_stream: false,
        }
    }

    /// Runs until `stop` turns true or its sender is gone, and what waits is sent or it takes too
    /// long. `wake` is notified after each append.
    ///
    /// # Errors
    /// Only if the journal's thread is gone; every other failure is told and tried again.
    pub async fn run(
        mut self,
        wake: Arc<Notify>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), JournalError> {
        let mut backoff = BACKOFF_FIRST;
        let mut ears = None;
        let mut drain_until = None;
        loop {
            if drain_until.is_none() && is_stopped(&stop) {
                drain_until = Some(self.clock.now().mono + DRAIN_MAX);
            }
            if drain_until.is_some_and(|until| self.clock.now().mono >= until) {
                return Ok(());
            }
            let clock = self.clock;
            let done = tokio::select! {
                done = self.step(&mut ears) => done,
                () = overdue(&mut stop, clock, drain_until) => return Ok(()),
            };
            let pause = match done {
                // Whoever says something is heard, however much there is to send.
                Ok(true) => {
                    let heard = hear(&mut ears).now_or_never().flatten();
                    self.heed(heard).await?;
                    continue;
                }
                Ok(false) if drain_until.is_some() => return Ok(()),
                Ok(false) => {
                    backoff = BACKOFF_FIRST;
                    None
                }
                Err(StepError::Journal(gone @ JournalError::Gone(_))) => return Err(gone),
                Err(error) => {
                    self.observer.failed(&error);
                    self.has_stream = false;
                    let pause = backoff;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                    Some(pause)
                }
            };
            let heard = tokio::select! {
                () = wake.notified(), if pause.is_none() => None,
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => None,
                heard = hear(&mut ears) => heard,
                () = turn(&mut stop, clock, drain_until) => None,
            };
            self.heed(heard).await?;
        }
    }

    /// Sends some; says whether there may be more.
    async fn step(&mut self, ears: &mut Option<Ears>) -> Result<bool, StepError> {
        if ears.is_none() {
            *ears = Some(Ears {
                stored: self.link.hear_stored().await?,
                replays: self.link.hear_replays(&self.standing.producer).await?,
            });
        }
        if !self.has_stream {
            self.link.stream().await?;
            self.has_stream = true;
        }
        let fetched = self.journal.fetch(self.published, RECORDS_AT_ONCE).await?;
        let after = self.published.max(fetched.acknowledged);
        if fetched.through <= after {
            self.published = after;
            return Ok(false);
        }
        if fetched.dead + fetched.missing > 0 {
            self.observer.lost(fetched.dead, 0, fetched.missing);
            let present: BTreeSet<u64> = fetched.records.iter().map(|(seq, _)| *seq).collect();
            let gone = (after + 1..=fetched.through).filter(|seq| !present.contains(seq));
            self.buried.extend(gone);
        }
        self.send(&fetched.records, None).await?;
        passing(CrashPoint::Published);
        self.published = fetched.through;
        Ok(true)
    }

    /// Sends records, and waits until the broker has them.
    async fn send(
        &mut self,
        records: &[(u64, JournalRecord)],
        replay: Option<u64>,
    ) -> Result<u64, NatsError> {
        let (link, producer) = (&self.link, self.standing.producer.as_str());
        let refused = link.refused::<async_nats::jetstream::context::PublishError>("publish");
        let mut under_way = Vec::with_capacity(records.len());
        let mut too_large = Vec::new();
        for (at, record) in records {
            let seq = at - self.standing.base;
            let message = encode(&link.subjects, producer, seq, record);
            let id = match replay {
                Some(attempt) => replay_id(&message.id, producer, seq, attempt),
                None => message.id.clone(),
            };
            match link.publish(&message, &id, producer, seq).await {
                Ok(word) => under_way.push((message, seq, word)),
                Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                    too_large.push(*at);
                }
                Err(error) => return Err(refused(error)),
            }
        }
        let mut sent = 0;
        for (message, seq, word) in under_way {
            sent += 1;
            let known = word.await.map_err(&refused)?.duplicate;
            if known && replay.is_none() {
                let id = second_id(&message.id, producer, seq);
                let word = link.publish(&message, &id, producer, seq).await;
                word.map_err(&refused)?.await.map_err(&refused)?;
            }
        }
        let new = too_large.into_iter().filter(|at| self.buried.insert(*at));
        let new = new.count() as u64;
        if new > 0 {
            self.observer.lost(0, new, 0);
        }
        Ok(sent)
    }

    /// Fails only if the journal's thread is gone.
    async fn heed(&mut self, heard: Option<Heard>) -> Result<(), JournalError> {
        let done = match heard {
            None => Ok(()),
            Some(Heard::Stored(told)) => self.forget(&told).await,
            Some(Heard::Replay(told)) => self.replay(told).await,
        };
        match done {
            Err(StepError::Journal(gone @ JournalError::Gone(_))) => Err(gone),
            Err(error) => {
                self.observer.failed(&error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// What a store has, the outbox need not keep.
    async fn forget(&mut self, told: &Told) -> Result<(), StepError> {
        let Ok(floors) = serde_json::from_slice::<Floors>(&told.payload) else {
            return Ok(());
        };
        let floor = floors.get(&self.standing.producer).copied().unwrap_or(0);
        // Never beyond what was sent, whoever says so.
        let stored = self.standing.base.saturating_add(floor).min(self.published);
        if stored <= self.stored {
            return Ok(());
        }
        self.journal.acknowledge(stored).await?;
        self.stored = stored;
        self.buried = self.buried.split_off(&(stored + 1));
        self.observer.depth(self.journal.status().await?);
        Ok(())
    }

    /// Sends again what a store lacks, and says what will never come.
    async fn replay(&mut self, told: Told) -> Result<(), StepError> {
        let Ok(ask) = serde_json::from_slice::<ReplayAsk>(&told.payload) else {
            return Ok(());
        };
        let Some(reply) = told.reply else {
            return Ok(());
        };
        let base = self.standing.base;
        let from = base.saturating_add(ask.from.max(1));
        let to = base.saturating_add(ask.to);
        // What was not sent yet comes by itself.
        let through = to
            .min(self.published)
            .min(from.saturating_add(REPLAYED_AT_ONCE - 1));
        self.replays += 1;
        // Of this run: a restart counts anew, long after the broker has forgotten.
        let attempt = self.clock.now().wall.0 as u64 + self.replays;
        let until = self.clock.now().mono + REPLAYED_WITHIN;
        let mut answer = ReplayAnswer::default();
        let mut next = from;
        while next <= through && self.clock.now().mono < until {
            let last = through.min(next.saturating_add(RECORDS_AT_ONCE as u64 - 1));
            let mut records = self.journal.fetch(next - 1, RECORDS_AT_ONCE).await?.records;
            records.retain(|(seq, _)| *seq <= last);
            answer.sent += self.send(&records, Some(attempt)).await?;
            let present: BTreeSet<u64> = records.iter().map(|(seq, _)| *seq).collect();
            for seq in next..=last {
                if self.buried.contains(&seq) {
                    answer.buried.push(seq - base);
                } else if !present.contains(&seq) {
                    answer.gone.push(seq - base);
                }
            }
            next = last + 1;
        }
        tracing::info!(
            kind = "replay",
            "a store lacked records {} to {}; {} were sent again",
            ask.from,
            ask.to,
            answer.sent
        );
        self.link.answer(reply, &answer).await?;
        Ok(())
    }
}

/// Ends with the next thing that an ending relay must look at: the wish to end, then the end.
async fn turn(
    stop: &mut watch::Receiver<bool>,
    clock: SystemClock,
    drain_until: Option<Monotonic>,
) {
    match drain_until {
        None => stopped(stop).await,
        Some(until) => tokio::time::sleep_until(clock.instant(until)).await,
    }
}

/// What stores say.
struct Ears {
    stored: Subscriber,
    replays: Subscriber,
}

enum Heard {
    Stored(Told),
    Replay(Told),
}

/// The next that a store says; never, while nobody listens.
async fn hear(ears: &mut Option<Ears>) -> Option<Heard> {
    let Some(open) = ears else {
        return std::future::pending().await;
    };
    let heard = tokio::select! {
        told = open.stored.next() => told.map(Heard::Stored),
        told = open.replays.next() => told.map(Heard::Replay),
    };
    if heard.is_none() {
        // The connection's task has ended; the next step listens anew.
        *ears = None;
    }
    heard
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_reads_what_it_writes_and_nothing_else() {
        let standing = Standing {
            producer: "0a".to_owned(),
            base: 12,
        };
        assert_eq!(Standing::read(&standing.write()), Some(standing));
        for other in ["", "0a", "0a x", "0a -1"] {
            assert_eq!(Standing::read(other), None, "{other}");
        }
    }
}
