//! Carries frames from the platform: the only file that opens WebSockets to it.
//!
//! One task a socket, told to ping or to hang up, and telling what came. When to connect, what a
//! silence means and what a frame says is the notifier's business. What is fixed here is what no
//! decision may change: sizes and deadlines, TLS wherever the API is asked over TLS, no redirect,
//! and that the address, which is a secret, goes nowhere but to the peer. Errors of the library
//! are dropped for that reason: their texts may name it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use url::Url;

use super::channel::{ConnectUri, SocketEnd, SocketEvent, SocketId};
use super::wire_platform::FRAME_BYTES_MAX;
use crate::clock::SystemClock;
use crate::model::time::Now;

/// Connecting, TLS and the handshake; a healthy region answers in a tenth.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A ping or a farewell that the peer does not take in this time tells enough.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// What is sent to ask whether the other side is there (platform-api.md §3).
const PING: &str = r#"{"message":"ping"}"#;
/// Events that wait for the pipeline. When it is behind, sockets are not read, and the platform
/// feels it: nothing piles up here.
pub const EVENTS_MAX: usize = 4_096;
/// Orders to a socket that wait: it is pinged twice a minute at most.
const ORDERS_MAX: usize = 4;

/// What came, over which socket, and when.
pub type Arrival = (SocketId, Now, SocketEvent);

/// What a socket is told; that it is to hang up it learns from the end of its orders.
enum Order {
    Ping,
}

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The sockets that are open or being opened. Dropping it ends them all.
pub struct Sockets {
    events: mpsc::Sender<Arrival>,
    clock: SystemClock,
    /// Only TLS: the API itself is asked over TLS.
    secure: bool,
    orders: BTreeMap<SocketId, mpsc::Sender<Order>>,
    tasks: JoinSet<()>,
}

impl Sockets {
    /// None yet. `api_url` decides whether sockets without TLS are allowed.
    pub fn new(api_url: &Url, events: mpsc::Sender<Arrival>, clock: SystemClock) -> Self {
        Self {
            events,
            clock,
            secure: api_url.scheme() == "https",
            orders: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Connects; what becomes of it arrives as events, [`SocketEvent::Ended`] the last.
    pub fn connect(&mut self, id: SocketId, uri: ConnectUri) {
        while self.tasks.try_join_next().is_some() {}
        self.orders.retain(|_, orders| !orders.is_closed());
        let (orders, told) = mpsc::channel(ORDERS_MAX);
        self.orders.insert(id, orders);
        let carrier = Carrier {
            id,
            events: self.events.clone(),
            clock: self.clock,
        };
        let secure = self.secure;
        self.tasks.spawn(async move {
            let end = carrier.carry(&uri, secure, told).await;
            carrier.tell(SocketEvent::Ended(end)).await;
        });
    }

    /// Asks the peer for a sign of life.
    pub fn ping(&mut self, id: SocketId) {
        if let Some(orders) = self.orders.get(&id) {
            // A socket with orders waiting is stuck in sending already.
            let _ = orders.try_send(Order::Ping);
        }
    }

    /// Hangs up.
    pub fn close(&mut self, id: SocketId) {
        self.orders.remove(&id);
    }
}

/// One socket's task.
struct Carrier {
    id: SocketId,
    events: mpsc::Sender<Arrival>,
    clock: SystemClock,
}

impl Carrier {
    async fn tell(&self, event: SocketEvent) {
        // The receiver is gone only when the exporter stops.
        let _ = self.events.send((self.id, self.clock.now(), event)).await;
    }

    /// Until the end of the socket, or of the orders.
    async fn carry(
        &self,
        uri: &ConnectUri,
        secure: bool,
        mut orders: mpsc::Receiver<Order>,
    ) -> SocketEnd {
        let connected = tokio::select! {
            connected = connect(uri, secure) => connected,
            // Nobody pings before the handshake is done.
            _ = orders.recv() => return SocketEnd::Closed,
        };
        let mut stream = match connected {
            Ok(stream) => stream,
            Err(end) => return end,
        };
        self.tell(SocketEvent::Opened).await;
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let sent = match order {
                        Some(Order::Ping) => in_time(stream.send(Message::text(PING))).await,
                        None => {
                            let _ = in_time(stream.close(None)).await;
                            return SocketEnd::Closed;
                        }
                    };
                    if let Err(end) = sent {
                        return end;
                    }
                }
                message = stream.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        self.tell(SocketEvent::Text(text.as_str().to_owned())).await;
                    }
                    Some(Ok(Message::Close(_))) | None => return SocketEnd::Closed,
                    // Pings are answered by the library; binary messages mean nothing.
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return end_of(&error),
                },
            }
        }
    }
}

async fn in_time(sending: impl Future<Output = Result<(), Error>>) -> Result<(), SocketEnd> {
    match tokio::time::timeout(SEND_TIMEOUT, sending).await {
        Ok(sent) => sent.map_err(|error| end_of(&error)),
        Err(_) => Err(SocketEnd::Broken),
    }
}

async fn connect(uri: &ConnectUri, secure: bool) -> Result<Stream, SocketEnd> {
    let scheme = uri.expose().split_once("://").map(|(scheme, _)| scheme);
    if !matches!((scheme, secure), (Some("wss"), _) | (Some("ws"), false)) {
        return Err(SocketEnd::Address);
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    let connecting = connect_async_with_config(uri.expose(), Some(config), true);
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Err(_) => Err(SocketEnd::Timeout),
        Ok(Ok((stream, _))) => Ok(stream),
        Ok(Err(error)) => Err(match error {
            Error::Http(answer) => SocketEnd::Refused(answer.status().as_u16()),
            Error::Url(_) | Error::HttpFormat(_) => SocketEnd::Address,
            Error::Io(_) | Error::Tls(_) => SocketEnd::Connect,
            error => end_of(&error),
        }),
    }
}

/// Which end an error of an open socket is. Its text is dropped.
fn end_of(error: &Error) -> SocketEnd {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => SocketEnd::Closed,
        Error::Capacity(_) => SocketEnd::TooLarge,
        _ => SocketEnd::Broken,
    }
}

#[cfg(test)]
mod tests;
