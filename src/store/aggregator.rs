//! Moves batches from the stream to the store: take, commit, acknowledge, in this order.
//!
//! Any number of aggregators do so at once. What is committed is noted by its producer and number
//! in the same transaction, so that holes are seen whoever has filled the rest; producers are told
//! up to where nothing is lacking, and only then forget.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::watch;

use super::consumer::{ConsumeError, ConsumerObserver, Fetched};
use super::error::StoreError;
use super::handle::StoreHandle;
use super::holes::Holes;
use super::report::CommitReport;
use crate::clock::SystemClock;
use crate::crash::{CrashPoint, passing};
use crate::journal::{
    Content, Delivery, Floors, Inbox, JournalStatus, NatsError, NatsLink, Parcel, ReplayAsk,
    is_stopped, overdue, stopped,
};
use crate::model::time::{Millis, Monotonic};

/// Producers are told how far the store is this often.
const SETTLE_EVERY: Millis = Millis::from_secs(1);

/// The broker is asked how much waits this often.
const BACKLOG_EVERY: Millis = Millis::from_secs(10);

/// First wait after an error; doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);

/// Longest wait after errors.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Why the dead letter of a record that the database does not take.
const REFUSED: &str = "refused_by_store";

/// Hears what the aggregator does, as the consumer's does.
pub trait AggregatorObserver: ConsumerObserver {
    /// Records were published and will never arrive.
    fn lost(&mut self, records: u64);
}

/// Aggregates until `stop` turns true or its sender is gone, over as many connections as the store
/// can use at once: a commit mostly waits for the server. `observers` makes one for each of them.
///
/// # Errors
/// Only if the store's thread is gone; every other failure is told to the observer and tried again.
pub async fn aggregate<O: AggregatorObserver>(
    link: NatsLink,
    store: StoreHandle,
    batch_size: usize,
    clock: SystemClock,
    stop: watch::Receiver<bool>,
    observers: impl Fn() -> O,
) -> Result<(), ConsumeError> {
    let lanes = store.lanes().into_iter().enumerate().map(|(at, store)| {
        let aggregator = Aggregator {
            inbox: Inbox::new(link.clone()),
            link: link.clone(),
            store,
            batch_size,
            clock,
            observer: observers(),
            holes: Holes::default(),
            // One of them looks after what is to be done once.
            settle_at: (at == 0).then_some(Monotonic(i64::MIN)),
            backlog_at: Monotonic(i64::MIN),
        };
        // Boxed, or whoever waits would carry the state of all.
        Box::pin(aggregator.run(stop.clone()))
    });
    try_join_all(lanes).await?;
    Ok(())
}

impl<O: AggregatorObserver> Aggregator<O> {
    async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), ConsumeError> {
        let (leaving, clock) = (self.store.clone(), self.clock);
        let mut backoff = BACKOFF_FIRST;
        let mut halt = stop.clone();
        while !is_stopped(&stop) {
            // A batch under way may end; what is cut off comes again, here or to another.
            let done = tokio::select! {
                done = self.round() => done,
                () = overdue(&mut stop, clock, None) => {
                    leaving.give_up();
                    return Ok(());
                }
            };
            match done {
                Ok(()) => backoff = BACKOFF_FIRST,
                Err(RoundError::Final(error)) => return Err(error),
                Err(RoundError::Nats(error)) => {
                    self.observer.store_error("fetch", &error);
                    tokio::select! {
                        () = tokio::time::sleep(backoff) => {}
                        () = stopped(&mut halt) => {}
                    }
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
        if self.settle_at.is_none() {
            return Ok(());
        }
        // Producers need not keep, over our absence, what was committed last.
        tokio::select! {
            told = self.settle() => told.or_else(|error| match error {
                RoundError::Final(error) => Err(error),
                RoundError::Nats(_) => Ok(()),
            }),
            () = overdue(&mut stop, clock, None) => Ok(()),
        }
    }
}

struct Aggregator<O> {
    inbox: Inbox,
    link: NatsLink,
    store: StoreHandle,
    batch_size: usize,
    clock: SystemClock,
    observer: O,
    holes: Holes,
    /// `None`: another looks after it.
    settle_at: Option<Monotonic>,
    backlog_at: Monotonic,
}

enum RoundError {
    Nats(NatsError),
    Final(ConsumeError),
}

impl From<NatsError> for RoundError {
    fn from(error: NatsError) -> Self {
        Self::Nats(error)
    }
}

impl<O: AggregatorObserver> Aggregator<O> {
    /// One batch at most, and what is due beside.
    async fn round(&mut self) -> Result<(), RoundError> {
        let mut parcel = self.inbox.next(self.batch_size).await?;
        let began = self.clock.now().mono;
        if !parcel.is_empty() {
            passing(CrashPoint::Received);
            let deliveries = std::mem::take(&mut parcel.deliveries);
            let records = deliveries.len();
            let committed = commit(&self.store, deliveries, &parcel, &mut self.observer);
            // Boxed, or the loop would carry all of a commit's state.
            let committed = Box::pin(committed).await.map_err(RoundError::Final)?;
            passing(CrashPoint::Committed);
            let brought = Fetched {
                records,
                ..Fetched::default()
            };
            let took = self.clock.now().mono - began;
            // Stored is stored, whether the broker hears of it or not.
            self.observer.batch(took, brought, &committed);
            parcel.acknowledge(&self.link).await?;
        }
        let now = self.clock.now().mono;
        let Some(settle_at) = self.settle_at else {
            return Ok(());
        };
        if now >= settle_at {
            self.settle_at = Some(now + SETTLE_EVERY);
            self.settle().await?;
        }
        if now >= self.backlog_at {
            self.backlog_at = now + BACKLOG_EVERY;
            if let Some(depth) = self.inbox.backlog().await? {
                self.observer.depth(JournalStatus {
                    depth,
                    ..JournalStatus::default()
                });
            }
        }
        Ok(())
    }

    /// Tells producers how far the store is, and asks for what it lacks.
    async fn settle(&mut self) -> Result<(), RoundError> {
        let progress = match self.store.settle().await {
            Ok(progress) => progress,
            Err(error @ StoreError::Gone(_)) => {
                return Err(RoundError::Final(ConsumeError::Store(error)));
            }
            Err(error) => {
                self.observer.store_error("commit", &error);
                return Ok(());
            }
        };
        let floors: Floors = progress
            .iter()
            .map(|progress| (progress.producer.clone(), progress.floor))
            .collect();
        if !floors.is_empty() {
            self.link.tell_stored(&floors).await?;
        }
        let now = self.clock.now().mono;
        for (producer, ask) in self.holes.look(&progress, now) {
            self.fill(&producer, ask).await?;
        }
        Ok(())
    }

    /// Asks a producer for what is lacking, and gives up what it does not have.
    async fn fill(&mut self, producer: &str, ask: ReplayAsk) -> Result<(), RoundError> {
        let (mut buried, mut gone) = match self.link.ask_replay(producer, ask).await? {
            Some(answer) => {
                self.holes.heard(producer);
                tracing::warn!(
                    kind = "replay",
                    producer,
                    "records {} to {} did not arrive; {} are sent again, {} are gone",
                    ask.from,
                    ask.to,
                    answer.sent,
                    answer.gone.len() + answer.buried.len()
                );
                (answer.buried, answer.gone)
            }
            None => {
                let now = self.clock.now().mono;
                (Vec::new(), self.holes.unheard(producer, ask, now))
            }
        };
        // Whoever answers can only speak of what it was asked for.
        for seqs in [&mut buried, &mut gone] {
            seqs.retain(|seq| (ask.from..=ask.to).contains(seq));
        }
        // Its producer has told of these.
        self.forgo(producer, buried).await?;
        let lost = self.forgo(producer, gone).await?;
        self.observer.lost(lost);
        Ok(())
    }

    /// Gives numbers up; says how many that were.
    async fn forgo(&mut self, producer: &str, seqs: Vec<u64>) -> Result<u64, RoundError> {
        if seqs.is_empty() {
            return Ok(0);
        }
        match self.store.forgo(producer, seqs).await {
            Ok(count) => Ok(count),
            Err(error @ StoreError::Gone(_)) => Err(RoundError::Final(ConsumeError::Store(error))),
            Err(error) => {
                self.observer.store_error("commit", &error);
                Ok(0)
            }
        }
    }
}

/// Commits until it is done. A record that the database refuses for what it says becomes a dead
/// letter; it would stand in the way of all others.
async fn commit(
    store: &StoreHandle,
    deliveries: Vec<Delivery>,
    parcel: &Parcel,
    observer: &mut impl AggregatorObserver,
) -> Result<CommitReport, ConsumeError> {
    let mut sum = CommitReport::default();
    let mut waiting = vec![deliveries];
    let mut backoff = BACKOFF_FIRST;
    while let Some(batch) = waiting.pop() {
        let committed = Box::pin(store.commit_deliveries(batch.clone()));
        match parcel.while_working(committed).await {
            Ok(report) => {
                sum.add(&report);
                backoff = BACKOFF_FIRST;
            }
            Err(error @ StoreError::Gone(_)) => return Err(ConsumeError::Store(error)),
            Err(error) if error.is_about_data() => {
                observer.store_error("commit", &error);
                match <[Delivery; 1]>::try_from(batch) {
                    Ok([alone]) => waiting.push(vec![refused(alone)]),
                    Err(mut batch) => {
                        let rest = batch.split_off(batch.len() / 2);
                        waiting.extend([rest, batch]);
                    }
                }
            }
            Err(error) => {
                observer.store_error("commit", &error);
                waiting.push(batch);
                parcel.while_working(tokio::time::sleep(backoff)).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
    Ok(sum)
}

/// The same delivery as a dead letter.
fn refused(delivery: Delivery) -> Delivery {
    let content = match delivery.content {
        Content::Record(record) => {
            let payload = serde_json::to_string(&record).expect("plain data has a JSON form");
            Content::Poison {
                reason: REFUSED,
                payload: payload.replace("\\u0000", "\u{fffd}"),
            }
        }
        // A dead letter that is refused too is kept by its name alone.
        Content::Poison { reason, .. } => Content::Poison {
            reason,
            payload: String::new(),
        },
    };
    Delivery {
        content,
        ..delivery
    }
}
