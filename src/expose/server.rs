//! The accept loop: sockets in, hyper on top, limits all around.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::connection::{Admission, Place, TimedStream};
use super::gate::guarded;
use super::state::ServerState;

/// Longest request head: browsers and scrapers send one or two KiB.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most header lines; more get 431.
const HEADERS_MAX: usize = 64;
/// Pause after a failed accept: out of file descriptors, it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` becomes true or its sender is gone, then lets requests in progress end
/// within [`Limits::drain`](super::Limits::drain). Errors of single connections end that
/// connection only.
pub async fn serve(
    listener: TcpListener,
    state: Arc<ServerState>,
    mut stop: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stopped| *stopped) => break,
            accepted = listener.accept() => accepted,
        };
        while tasks.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                // A refused connection is closed by dropping its socket.
                if let Some(place) = place_for(&state, peer.ip()).await {
                    let watcher = graceful.watcher();
                    let client = (peer.ip(), place);
                    tasks.spawn(serve_connection(stream, client, state.clone(), watcher));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    state.closing.send_replace(true);
    // A connection that will not end is cut: dropping the set aborts its task.
    if tokio::time::timeout(state.limits.drain, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::debug!("connections were cut at shutdown");
    }
}

/// Waits, if need be, until one of the others has waited long enough to give way.
async fn place_for(state: &ServerState, address: IpAddr) -> Option<Place> {
    loop {
        match state.connections.admit(address) {
            Admission::Admitted(place) => return Some(place),
            Admission::Later(wait) => tokio::time::sleep(wait).await,
            Admission::Refused => return None,
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    client: (IpAddr, Place),
    state: Arc<ServerState>,
    watcher: Watcher,
) {
    // Answers are written whole; waiting to fill packets only delays the last one.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let Some(tls) = state.access.tls() else {
        return serve_stream(stream, client, state, watcher).await;
    };
    let handshake = TlsAcceptor::from(tls).accept(stream);
    let ended = tokio::select! {
        ended = tokio::time::timeout(state.limits.handshake, handshake) => ended,
        () = client.1.evicted() => return,
    };
    match ended {
        Ok(Ok(stream)) => serve_stream(stream, client, state, watcher).await,
        // A scanner, a wrong certificate or clear text: the client's affair.
        Ok(Err(error)) => tracing::debug!(peer = %client.0, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(peer = %client.0, "TLS handshake too slow"),
    }
}

async fn serve_stream<S>(
    stream: S,
    (peer, place): (IpAddr, Place),
    state: Arc<ServerState>,
    watcher: Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = state.limits;
    let timed = TimedStream::new(stream, &place, limits.head_wait, limits.write_stall);
    let service = service_fn(|request| {
        let busy = place.begin();
        let state = state.clone();
        async move {
            let response = guarded(&state, request, peer).await;
            Ok::<_, Infallible>(response.map(|body| body.keeping(busy)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(timed), service);
    tokio::select! {
        ended = watcher.watch(connection) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "connection ended early");
            }
        }
        () = place.evicted() => {}
    }
}
