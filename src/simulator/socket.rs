//! Notifications over WebSocket, on the listener of the REST calls: moves frames, decides nothing.
//!
//! One task pumps the platform and hands each socket its frames; each socket has a task that
//! sends them and listens. What is sent, and when, is [`SimulatedPlatform::take_frames`]'s.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use super::notifications::{Frame, Outgoing, SocketId};
use super::platform::SimulatedPlatform;
use crate::clock::SystemClock;

/// Where channels are connected to.
const PATH: &str = "/channels/";
/// Frames that wait for a slow reader; one that is further behind is cut off. A channel of a
/// thousand agents has some hundred events a second at the highest tempo.
const WAITING_MAX: usize = 16_384;
/// A client says little: a ping.
const MESSAGE_MAX: usize = 64 * 1_024;
/// A reader that takes nothing for so long is cut off.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// The pump looks this often at the latest, because faults begin by the clock …
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// … and this often at most, so that bursts are taken together.
const PAUSE_MIN: Duration = Duration::from_millis(2);

/// The sockets of one listener.
pub(super) struct Sockets {
    platform: Arc<Mutex<SimulatedPlatform>>,
    clock: SystemClock,
    open: Mutex<BTreeMap<SocketId, mpsc::Sender<Frame>>>,
    tasks: Mutex<JoinSet<()>>,
    wake: Notify,
}

/// A panic elsewhere leaves figures that are still whole: each call ends before the next.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sockets {
    pub(super) fn new(platform: Arc<Mutex<SimulatedPlatform>>, clock: SystemClock) -> Arc<Self> {
        Arc::new(Self {
            platform,
            clock,
            open: Mutex::default(),
            tasks: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// Something has happened that may have made frames due.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Hands out frames as they fall due; never ends.
    pub(super) async fn pump(&self) {
        loop {
            let now = self.clock.now().wall;
            let (frames, next) = {
                let mut platform = lock(&self.platform);
                (platform.take_frames(now), platform.next_frame_at(now))
            };
            self.hand_out(frames);
            let pause = next.map(|at| (at - now).to_duration().clamp(PAUSE_MIN, PAUSE_MAX));
            tokio::select! {
                () = self.wake.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    fn hand_out(&self, frames: Vec<Outgoing>) {
        let mut open = lock(&self.open);
        for Outgoing { socket, frame } in frames {
            let last = !matches!(frame, Frame::Text(_));
            let kept = open
                .get(&socket)
                .is_some_and(|sender| sender.try_send(frame).is_ok());
            if last || !kept {
                // The socket's task sends what it has and ends.
                open.remove(&socket);
            }
        }
    }

    /// Answers a request for a socket; `None` if it is for something else.
    pub(super) fn answer<B>(self: &Arc<Self>, request: &mut Request<B>) -> Option<Response<()>> {
        let channel = request.uri().path().strip_prefix(PATH)?.to_owned();
        let wants = |name| request.headers().get(name).cloned();
        let upgrade = wants(UPGRADE)?;
        if !upgrade.as_bytes().eq_ignore_ascii_case(b"websocket") {
            return None;
        }
        let mut response = Response::new(());
        let Some(key) = wants(SEC_WEBSOCKET_KEY) else {
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return Some(response);
        };
        let upgraded = hyper::upgrade::on(request);
        match self.connect(&channel, upgraded) {
            Ok(()) => {
                let accept = derive_accept_key(key.as_bytes());
                let headers = response.headers_mut();
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                if let Ok(accept) = HeaderValue::try_from(accept) {
                    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
                }
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            }
            Err(status) => *response.status_mut() = status,
        }
        Some(response)
    }

    fn connect(self: &Arc<Self>, channel: &str, upgraded: OnUpgrade) -> Result<(), StatusCode> {
        let (sender, frames) = mpsc::channel(WAITING_MAX);
        let socket = {
            // Held until the socket can be handed frames: the pump takes them under this lock.
            let mut platform = lock(&self.platform);
            let socket = platform
                .connect(channel, self.clock.now().wall)
                .map_err(|refused| {
                    StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::NOT_FOUND)
                })?;
            lock(&self.open).insert(socket, sender);
            socket
        };
        let sockets = Arc::clone(self);
        let mut tasks = lock(&self.tasks);
        // Those that have ended are forgotten here, so that their number stays small.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            // An upgrade that fails is a client that has gone.
            if let Ok(upgraded) = upgraded.await {
                sockets.carry(socket, upgraded, frames).await;
            }
            lock(&sockets.open).remove(&socket);
            let now = sockets.clock.now().wall;
            lock(&sockets.platform).disconnect(socket, now);
        });
        self.wake();
        Ok(())
    }

    /// Sends frames and listens until either side ends.
    async fn carry(&self, id: SocketId, upgraded: Upgraded, mut frames: mpsc::Receiver<Frame>) {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX));
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        loop {
            tokio::select! {
                frame = frames.recv() => match frame {
                    Some(Frame::Text(text)) => {
                        let sending = socket.send(Message::text(text));
                        if !matches!(tokio::time::timeout(SEND_TIMEOUT, sending).await, Ok(Ok(()))) {
                            return;
                        }
                    }
                    Some(Frame::Close(code, reason)) => {
                        let frame = CloseFrame { code: code.into(), reason: reason.into() };
                        // The other side may have gone first.
                        drop(tokio::time::timeout(SEND_TIMEOUT, socket.close(Some(frame))).await);
                        return;
                    }
                    Some(Frame::Cut) | None => return,
                },
                heard = socket.next() => match heard {
                    Some(Ok(Message::Text(text))) => {
                        lock(&self.platform).hear(id, &text, self.clock.now().wall);
                        self.wake();
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    // Pings are answered by the library.
                    Some(Ok(_)) => {}
                },
            }
        }
    }

    /// Cuts every socket.
    pub(super) fn end(&self) {
        lock(&self.tasks).abort_all();
    }
}

/// `None`: until something else happens.
async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
