//! Takes batches from the stream, and tells the broker what became of them.

use std::future::Future;
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message, consumer::PullConsumer};
use futures_util::StreamExt;

use super::error::NatsError;
use super::link::{ACK_WAIT, NatsLink};
use super::wire::Delivery;

/// The broker is waited for this long if there is nothing to give; then it is asked again.
const WAIT_FOR_MESSAGES: Duration = Duration::from_secs(1);

/// An answer that is later than asked for by this much is not waited for any more.
const ANSWER_LATE: Duration = Duration::from_secs(4);

/// The broker is not told more often that a batch is worked on, however impatient it is.
const IN_PROGRESS_LEAST: Duration = Duration::from_millis(100);

/// Where batches come from; aggregators share one consumer, and each has an inbox.
#[derive(Debug)]
pub struct Inbox {
    link: NatsLink,
    consumer: Option<PullConsumer>,
}

/// A batch, not acknowledged yet.
#[derive(Debug)]
pub struct Parcel {
    /// What it holds.
    pub deliveries: Vec<Delivery>,
    messages: Vec<Message>,
    /// While it is worked on, the broker hears of it this often.
    in_progress_every: Duration,
}

impl Inbox {
    /// Asks for nothing yet.
    pub fn new(link: NatsLink) -> Self {
        Self {
            link,
            consumer: None,
        }
    }

    /// At most `limit` messages; an empty parcel if there is none for a while.
    ///
    /// # Errors
    /// If the broker does not answer; then the consumer is looked for anew.
    pub async fn next(&mut self, limit: usize) -> Result<Parcel, NatsError> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => self.link.consumer().await?,
        };
        let parcel = pull(&self.link, &consumer, limit).await?;
        self.consumer = Some(consumer);
        Ok(parcel)
    }

    /// Messages that no aggregator has stored yet; `None` while there is no consumer.
    ///
    /// # Errors
    /// If the broker does not answer.
    pub async fn backlog(&mut self) -> Result<Option<u64>, NatsError> {
        let Some(consumer) = &mut self.consumer else {
            return Ok(None);
        };
        match consumer.info().await {
            Ok(info) => Ok(Some(info.num_pending + info.num_ack_pending as u64)),
            Err(error) => {
                let refused = self.link.refused("ask for the backlog")(error);
                self.consumer = None;
                Err(refused)
            }
        }
    }
}

async fn pull(link: &NatsLink, consumer: &PullConsumer, limit: usize) -> Result<Parcel, NatsError> {
    const WHAT: &str = "take a batch from the stream";
    let in_progress_every = in_progress_every(consumer);
    // The first to come wait here for the others, and nobody tells the broker of them.
    let asked = consumer
        .batch()
        .max_messages(limit)
        .expires(WAIT_FOR_MESSAGES.min(in_progress_every));
    let mut batch = asked.messages().await.map_err(link.refused(WHAT))?;
    let mut messages = Vec::with_capacity(limit);
    loop {
        let next = tokio::time::timeout(WAIT_FOR_MESSAGES + ANSWER_LATE, batch.next()).await;
        match next {
            Ok(Some(Ok(message))) => messages.push(message),
            Ok(None) => break,
            // What came before the failure is good.
            Ok(Some(Err(_))) | Err(_) if !messages.is_empty() => break,
            Ok(Some(Err(error))) => return Err(link.refused(WHAT)(error)),
            Err(late) => return Err(link.refused(WHAT)(late)),
        }
    }
    Ok(Parcel {
        deliveries: messages.iter().map(|message| link.read(message)).collect(),
        messages,
        in_progress_every,
    })
}

/// A third of the time after which the broker gives a batch to another: ours, or what somebody has
/// set who made the consumer before us.
fn in_progress_every(consumer: &PullConsumer) -> Duration {
    let patience = consumer.cached_info().config.ack_wait;
    let patience = if patience.is_zero() {
        ACK_WAIT
    } else {
        patience
    };
    (patience / 3).max(IN_PROGRESS_LEAST)
}

impl Parcel {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Waits for `work`, and tells the broker meanwhile that the batch is worked on, so that nobody
    /// else is given it.
    pub async fn while_working<R>(&self, work: impl Future<Output = R>) -> R {
        let mut work = std::pin::pin!(work);
        let mut tick = tokio::time::interval(self.in_progress_every);
        tick.tick().await;
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = tick.tick() => {
                    for message in &self.messages {
                        // Without the word it comes twice, which does no harm.
                        let _ = message.ack_with(AckKind::Progress).await;
                    }
                }
            }
        }
    }

    /// It is stored: the broker may forget it. An acknowledgement that is lost brings the message
    /// again, which does no harm.
    ///
    /// # Errors
    /// If nothing can be sent.
    pub async fn acknowledge(self, link: &NatsLink) -> Result<(), NatsError> {
        for message in &self.messages {
            let acknowledged = message.ack().await;
            acknowledged.map_err(link.refused("acknowledge a batch"))?;
        }
        link.flush().await
    }
}
