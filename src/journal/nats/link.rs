//! The connection to NATS, the stream, and what is said beside it.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::{self, consumer, context, kv, stream};
use async_nats::{Client, ConnectOptions, Event, HeaderMap, Subscriber};
use bytes::Bytes;
use secrecy::ExposeSecret;

use super::error::NatsError;
use super::wire::{
    self, Floors, Message, PRODUCER_HEADER, ReplayAnswer, ReplayAsk, SEQUENCE_HEADER, Subjects,
};
use crate::config::{NatsConfig, NatsCredentials};

/// An answer of the broker may take this long.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Publishes that may wait for their acknowledgement; the relay sends fewer at a time.
const UNACKNOWLEDGED_MAX: usize = 1_024;

/// A stream that we make forgets messages after this long. What a store has not taken by then it
/// gets from the outbox, which forgets nothing.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3_600);

/// The broker knows a message that comes twice for this long; after it the store does.
const DUPLICATES_KNOWN_FOR: Duration = Duration::from_secs(120);

/// A batch that is not acknowledged after this long is given to another aggregator.
pub(super) const ACK_WAIT: Duration = Duration::from_secs(30);

/// Messages that all aggregators of an organisation together may hold.
const HELD_MAX: i64 = 20_000;

/// The connection; clones share it. It is made again for ever.
#[derive(Debug, Clone)]
pub struct NatsLink {
    client: Client,
    context: context::Context,
    pub(super) subjects: Subjects,
    stream: String,
    pub(super) org: String,
    place: String,
}

impl NatsLink {
    /// Begins to connect; a server that is away is waited for.
    ///
    /// # Errors
    /// [`NatsError::Options`] and [`NatsError::Servers`].
    pub async fn connect(config: &NatsConfig, org: &str) -> Result<Self, NatsError> {
        // For servers with TLS; the client takes the process's provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let place = config.servers.join(",");
        let tls = config.servers.iter().any(|url| url.starts_with("tls://"));
        let mut options = ConnectOptions::new()
            .name(format!("genesys-cloud-exporter/{org}"))
            .retry_on_initial_connect()
            .require_tls(tls)
            .ping_interval(Duration::from_secs(10))
            .request_timeout(Some(ANSWER_MAX))
            .event_callback(|event| async move { tell(&event) });
        options = match &config.credentials {
            None => options,
            Some(NatsCredentials::Jwt(text)) => options
                .credentials(text.expose_secret())
                .map_err(NatsError::Options)?,
            Some(NatsCredentials::User(user, password)) => {
                options.user_and_password(user.clone(), password.expose_secret().to_owned())
            }
        };
        let client = options.connect(&config.servers).await.map_err(|source| {
            let place = place.clone();
            NatsError::Servers { place, source }
        })?;
        let context = context::ContextBuilder::new()
            .timeout(ANSWER_MAX)
            .ack_timeout(ANSWER_MAX)
            .max_ack_inflight(UNACKNOWLEDGED_MAX)
            .build(client.clone());
        Ok(Self {
            client,
            context,
            subjects: Subjects::new(&config.subject, org),
            stream: config.stream.clone(),
            org: org.to_owned(),
            place,
        })
    }

    /// Whether a server is there now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Puts what was attempted on an error.
    pub(super) fn refused<E>(&self, what: &'static str) -> impl Fn(E) -> NatsError + '_
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| NatsError::Refused {
            what,
            place: self.place.clone(),
            source: source.into(),
        }
    }

    /// The stream, made if it is not there. One that is there is left as somebody made it.
    pub(super) async fn stream(&self) -> Result<stream::Stream, NatsError> {
        let config = stream::Config {
            name: self.stream.clone(),
            subjects: vec![self.subjects.stream()],
            max_age: KEPT_FOR,
            duplicate_window: DUPLICATES_KNOWN_FOR,
            // A full stream refuses, and the outbox keeps; the other way would lose the oldest.
            discard: stream::DiscardPolicy::New,
            storage: stream::StorageType::File,
            ..stream::Config::default()
        };
        let stream = self.context.get_or_create_stream(config).await;
        stream.map_err(self.refused("make the stream"))
    }

    /// The consumer that all aggregators of the organisation share, made if it is not there.
    pub(super) async fn consumer(&self) -> Result<consumer::PullConsumer, NatsError> {
        let name = format!("aggregator-{}", self.org);
        let config = pull::Config {
            durable_name: Some(name.clone()),
            description: Some("keeps windows of time in state".to_owned()),
            ack_wait: ACK_WAIT,
            filter_subject: self.subjects.filter(),
            max_ack_pending: HELD_MAX,
            ..pull::Config::default()
        };
        let consumer = self.stream().await?;
        let consumer = consumer.get_or_create_consumer(&name, config).await;
        consumer.map_err(self.refused("make the consumer"))
    }

    /// Where pollers keep their lease, made if it is not there.
    pub(super) async fn lease_bucket(&self) -> Result<kv::Store, NatsError> {
        let bucket = format!("{}-LEASE", self.stream);
        if let Ok(store) = self.context.get_key_value(&bucket).await {
            return Ok(store);
        }
        // The stream that every client of NATS knows as this bucket. The client's own way asks for
        // the account first, and does not read what servers before 2.10 answer to that.
        let config = stream::Config {
            name: format!("KV_{bucket}"),
            subjects: vec![format!("$KV.{bucket}.>")],
            description: Some("which poller polls".to_owned()),
            max_messages_per_subject: 1,
            discard: stream::DiscardPolicy::New,
            storage: stream::StorageType::File,
            allow_rollup: true,
            deny_delete: true,
            ..stream::Config::default()
        };
        let made = self.context.get_or_create_stream(config).await;
        made.map_err(self.refused("make the bucket of the lease"))?;
        let store = self.context.get_key_value(&bucket).await;
        store.map_err(self.refused("make the bucket of the lease"))
    }

    /// Sends a message to the stream. It is on its way when this returns; the second wait is for
    /// the broker's word that it is kept.
    pub(super) async fn publish(
        &self,
        message: &Message,
        id: &str,
        producer: &str,
        seq: u64,
    ) -> Result<context::PublishAckFuture, context::PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
        headers.insert(PRODUCER_HEADER, producer);
        headers.insert(SEQUENCE_HEADER, seq.to_string().as_str());
        let body = Bytes::copy_from_slice(&message.body);
        self.context
            .publish_with_headers(message.subject.clone(), headers, body)
            .await
    }

    /// Says how far the store is.
    ///
    /// # Errors
    /// If the connection's task has ended.
    pub async fn tell_stored(&self, floors: &Floors) -> Result<(), NatsError> {
        let body = serde_json::to_vec(floors).expect("a map of texts has a JSON form");
        let told = self
            .client
            .publish(self.subjects.stored(), body.into())
            .await;
        told.map_err(self.refused("say what is stored"))
    }

    /// Hears how far stores are.
    pub(super) async fn hear_stored(&self) -> Result<Subscriber, NatsError> {
        let heard = self.client.subscribe(self.subjects.stored()).await;
        heard.map_err(self.refused("listen to stores"))
    }

    /// Hears what stores lack of a producer's.
    pub(super) async fn hear_replays(&self, producer: &str) -> Result<Subscriber, NatsError> {
        let heard = self.client.subscribe(self.subjects.replay(producer)).await;
        heard.map_err(self.refused("listen to stores"))
    }

    /// Asks a producer to send again; `None`: it is not there.
    ///
    /// # Errors
    /// If it does not answer in time, or not as it should.
    pub async fn ask_replay(
        &self,
        producer: &str,
        ask: ReplayAsk,
    ) -> Result<Option<ReplayAnswer>, NatsError> {
        let body = serde_json::to_vec(&ask).expect("two numbers have a JSON form");
        let asked = self
            .client
            .request(self.subjects.replay(producer), body.into());
        match asked.await {
            Ok(answer) => serde_json::from_slice(&answer.payload)
                .map(Some)
                .map_err(self.refused("ask for a replay")),
            Err(error) if error.kind() == async_nats::RequestErrorKind::NoResponders => Ok(None),
            Err(error) => Err(self.refused("ask for a replay")(error)),
        }
    }

    /// Answers.
    pub(super) async fn answer(
        &self,
        reply: async_nats::Subject,
        answer: &ReplayAnswer,
    ) -> Result<(), NatsError> {
        let body = serde_json::to_vec(answer).expect("numbers have a JSON form");
        let told = self.client.publish(reply, body.into()).await;
        told.map_err(self.refused("answer a store"))
    }

    /// What was sent without waiting is on its way when this returns.
    pub(super) async fn flush(&self) -> Result<(), NatsError> {
        let flushed = tokio::time::timeout(ANSWER_MAX, self.client.flush()).await;
        match flushed {
            Ok(done) => done.map_err(self.refused("send what waits")),
            Err(late) => Err(self.refused("send what waits")(late)),
        }
    }

    pub(super) fn read(&self, message: &jetstream::Message) -> wire::Delivery {
        let header = |name: &str| {
            let headers = message.headers.as_ref()?;
            headers.get(name).map(async_nats::HeaderValue::as_str)
        };
        let in_stream = message.info().map_or(0, |info| info.stream_sequence);
        wire::decode(
            &self.subjects,
            &message.subject,
            header(PRODUCER_HEADER),
            header(SEQUENCE_HEADER),
            &message.payload,
            in_stream,
        )
    }
}

/// One line a change of the connection.
fn tell(event: &Event) {
    match event {
        Event::Connected => tracing::info!(kind = "nats", "connected to NATS"),
        Event::Disconnected => {
            tracing::warn!(
                kind = "nats",
                "the connection to NATS is gone; it is made again"
            );
        }
        Event::ClientError(_) | Event::ServerError(_) | Event::SlowConsumer(_) => {
            tracing::warn!(kind = "nats", "NATS: {event}");
        }
        Event::LameDuckMode | Event::Draining | Event::Closed => {
            tracing::info!(kind = "nats", "NATS: {event}");
        }
    }
}
