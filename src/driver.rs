//! Executes the pipeline's effects in order, and tells it what happened. Decides nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::Instrument as _;
use url::Url;

use crate::catalog::{EventResult, StoreOperation};
use crate::clock::SystemClock;
use crate::config::PipelineConfig;
use crate::effect::{Append, Effect, Level, Notice};
use crate::expose::{Pages, Pulse};
use crate::journal::{JournalHandle, Permit};
use crate::model::error::chain;
use crate::model::event::JournalRecord;
use crate::model::time::Millis;
use crate::pipeline::Pipeline;
use crate::telemetry::Telemetry;
use crate::upstream::Client;
use crate::upstream::request::{ApiRequest, Endpoint, RequestId};
use crate::upstream::response::{Answer, TransportFailure};
use crate::upstream::socket::{EVENTS_MAX, Sockets};

/// The loop turns at least this often, so that the pulse shows that it is alive.
const PULSE_EVERY: Millis = Millis::from_secs(5);

/// What came over sockets is taken together, so much a turn, so that a storm does not keep answers
/// waiting.
const ARRIVALS_A_TURN: usize = 512;

/// Pause after a failed append; doubles up to the longest.
const APPEND_PAUSE_FIRST: Duration = Duration::from_millis(200);
const APPEND_PAUSE_MAX: Duration = Duration::from_secs(10);

/// The last append of a run may take this long.
const LAST_APPEND_MAX: Duration = Duration::from_secs(2);

/// Everything that effects are executed with.
pub struct Driver {
    /// The state machine.
    pub pipeline: Pipeline,
    /// Sends requests.
    pub client: Arc<Client>,
    /// Where the API is: sockets are held to what it is held to.
    pub api_url: Url,
    /// Keeps records.
    pub journal: JournalHandle,
    /// Notified after each append.
    pub wake: Arc<Notify>,
    /// Shows views.
    pub pages: Arc<Pages>,
    /// Counts.
    pub telemetry: Arc<Telemetry>,
    /// Shows that the loop is alive.
    pub pulse: Arc<Pulse>,
    /// Both clocks.
    pub clock: SystemClock,
    /// New configurations, each answered once it holds.
    pub configurations: mpsc::Receiver<(PipelineConfig, oneshot::Sender<()>)>,
    /// Where several instances could poll: until when this one may, and where it says what it has
    /// spent.
    pub permit: Option<(Arc<Permit>, watch::Sender<String>)>,
}

/// What the world reports.
enum Event {
    Answer(Endpoint, Box<Answer>),
    Appended(u64),
    /// Something came over sockets.
    Arrived,
    /// Another configuration.
    Configured(Box<PipelineConfig>, oneshot::Sender<()>),
}

impl Driver {
    /// Runs until `stop` turns true or its sender is gone; then makes durable what is held.
    pub async fn run(&mut self, mut stop: watch::Receiver<bool>) {
        // Unbounded on purpose: its senders are the requests in flight, which the budget bounds,
        // and one append.
        let (sender, mut events) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let (sockets, mut arrivals) = mpsc::channel(EVENTS_MAX);
        let mut sockets = Sockets::new(&self.api_url, sockets, self.clock);
        let mut arrived = Vec::with_capacity(ARRIVALS_A_TURN);
        loop {
            let now = self.clock.now();
            self.pulse.beat(now.mono);
            let deadline = self.pipeline.next_deadline(now).min(now.mono + PULSE_EVERY);
            let event = tokio::select! {
                biased;
                _ = stop.wait_for(|stopped| *stopped) => break,
                event = events.recv() => event,
                _ = arrivals.recv_many(&mut arrived, ARRIVALS_A_TURN) => Some(Event::Arrived),
                Some((config, done)) = self.configurations.recv() => {
                    Some(Event::Configured(Box::new(config), done))
                }
                () = tokio::time::sleep_until(self.clock.instant(deadline)) => None,
            };
            while tasks.try_join_next().is_some() {}
            let now = self.clock.now();
            let effects = match event {
                Some(Event::Answer(endpoint, answer)) => {
                    self.count(endpoint, &answer);
                    self.pipeline.on_answer(*answer, now)
                }
                Some(Event::Appended(sequence)) => self.pipeline.on_appended(sequence),
                Some(Event::Arrived) => {
                    let effects = self.pipeline.on_sockets(&arrived, now);
                    arrived.clear();
                    effects
                }
                Some(Event::Configured(config, done)) => {
                    let effects = self.pipeline.on_reconfigured(*config, now);
                    // Whoever asked may have gone.
                    let _ = done.send(());
                    effects
                }
                None => self.pipeline.on_due(now),
            };
            if effects
                .iter()
                .any(|effect| matches!(effect, Effect::Request { .. }))
            {
                self.tell_spent();
            }
            self.execute(effects, &mut tasks, &sender, Some(&mut sockets));
        }
        drop(sockets);
        let last = self.finish(&mut tasks, &sender, &mut events);
        if tokio::time::timeout(LAST_APPEND_MAX, last).await.is_err() {
            tracing::warn!("the last append did not end in time; the next start asks again");
        }
    }

    /// Commits what is held: waits for an append under way, then for one more.
    async fn finish(
        &mut self,
        tasks: &mut JoinSet<()>,
        sender: &mpsc::UnboundedSender<Event>,
        events: &mut mpsc::UnboundedReceiver<Event>,
    ) {
        let mut stopping = false;
        loop {
            if !self.pipeline.is_appending() {
                if stopping {
                    return;
                }
                stopping = true;
                let effects = self.pipeline.on_stop(self.clock.now());
                self.execute(effects, tasks, sender, None);
            }
            match events.recv().await {
                Some(Event::Appended(sequence)) => {
                    let effects = self.pipeline.on_appended(sequence);
                    self.execute(effects, tasks, sender, None);
                    if stopping {
                        return;
                    }
                }
                Some(Event::Answer(..) | Event::Arrived | Event::Configured(..)) => {}
                None => return,
            }
        }
    }

    /// Whether no other instance may be polling.
    fn may_ask(&self) -> bool {
        let held = |(permit, _): &(Arc<Permit>, _)| permit.holds(self.clock.now());
        self.permit.as_ref().is_none_or(held)
    }

    /// The answer to a request that was not sent.
    fn unasked(&self, id: RequestId, request: &ApiRequest) -> Event {
        let now = self.clock.now();
        let answer = Answer {
            id,
            sent_at: now,
            received_at: now,
            result: Err(TransportFailure::Connect),
        };
        Event::Answer(request.endpoint(), Box::new(answer))
    }

    /// Says what was spent, for whoever polls after us.
    pub(crate) fn tell_spent(&self) {
        if let Some((_, spent)) = &self.permit {
            spent.send_replace(self.pipeline.spent(self.clock.now()));
        }
    }

    fn count(&self, endpoint: Endpoint, answer: &Answer) {
        let outcome = match &answer.result {
            Ok(response) => Ok(response.status),
            Err(failure) => Err(*failure),
        };
        let took = answer.received_at.mono - answer.sent_at.mono;
        self.telemetry.request(endpoint, outcome, took);
    }

    fn execute(
        &self,
        effects: Vec<Effect>,
        tasks: &mut JoinSet<()>,
        sender: &mpsc::UnboundedSender<Event>,
        mut sockets: Option<&mut Sockets>,
    ) {
        for effect in effects {
            match effect {
                Effect::OpenSocket { socket, uri } => {
                    if let Some(sockets) = &mut sockets {
                        sockets.connect(socket, uri);
                    }
                }
                Effect::PingSocket(socket) => {
                    if let Some(sockets) = &mut sockets {
                        sockets.ping(socket);
                    }
                }
                Effect::CloseSocket(socket) => {
                    if let Some(sockets) = &mut sockets {
                        sockets.close(socket);
                    }
                }
                Effect::Request {
                    id,
                    request,
                    timeout,
                } => {
                    let (client, clock) = (Arc::clone(&self.client), self.clock);
                    let sender = sender.clone();
                    if !self.may_ask() {
                        // The lease is lost, and this run is about to be told.
                        let _ = sender.send(self.unasked(id, &request));
                        continue;
                    }
                    tasks.spawn(async move {
                        let answer = client
                            .send(id, &request, timeout.to_duration(), &clock)
                            .await;
                        // The receiver is gone only when the exporter stops.
                        let _ = sender.send(Event::Answer(request.endpoint(), Box::new(answer)));
                    });
                }
                Effect::Append(append) => {
                    let kept = keep(
                        append,
                        self.journal.clone(),
                        Arc::clone(&self.wake),
                        Arc::clone(&self.telemetry),
                        sender.clone(),
                    );
                    tasks.spawn(kept.in_current_span());
                }
                Effect::Publish(view) => {
                    self.pages.publish(view);
                    self.pulse.has_shown();
                }
                Effect::Measure(measurement) => self.telemetry.measure(measurement),
                Effect::Notice(notice) => say(&notice),
            }
        }
    }
}

/// Appends until it is durable: what the pipeline holds for kept is never dropped.
async fn keep(
    append: Append,
    journal: JournalHandle,
    wake: Arc<Notify>,
    telemetry: Arc<Telemetry>,
    sender: mpsc::UnboundedSender<Event>,
) {
    let events = append
        .records
        .iter()
        .filter(|record| matches!(record, JournalRecord::Event(_)))
        .count();
    // Shared with the journal's thread, in case it has to be tried again.
    let append = Arc::new(append);
    let mut pause = APPEND_PAUSE_FIRST;
    loop {
        match journal.append(Arc::clone(&append)).await {
            Ok(_) => break,
            Err(error) => {
                telemetry.store_error(StoreOperation::Append);
                tracing::error!(
                    kind = "append",
                    error = %chain(&error),
                    "cannot append to the journal; nothing new is shown until it can be kept"
                );
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(APPEND_PAUSE_MAX);
            }
        }
    }
    telemetry.events(EventResult::Published, events as u64);
    wake.notify_one();
    let _ = sender.send(Event::Appended(append.sequence));
}

fn say(notice: &Notice) {
    let Notice {
        level,
        kind,
        message,
    } = notice;
    match level {
        Level::Debug => tracing::debug!(kind, "{message}"),
        Level::Info => tracing::info!(kind, "{message}"),
        Level::Warn => tracing::warn!(kind, "{message}"),
        Level::Error => tracing::error!(kind, "{message}"),
    }
}
