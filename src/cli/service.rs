//! What every long-running command needs: a runtime, sockets, signals, and one way to end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Exit, complain};
use crate::expose::ReloadAsk;
use crate::model::error::chain;

/// Blocking work that is still going on at the end (a name look-up, a fsync) is left behind after
/// this long.
const LEAVE_BEHIND_AFTER: Duration = Duration::from_secs(2);

/// Why a command could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}; choose a free address with {flag}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        #[source]
        /// Why.
        source: io::Error,
    },
    /// The operating system refused something that every process needs.
    #[error("cannot set up the process: {what}")]
    Process {
        /// What it was.
        what: &'static str,
        #[source]
        /// Why.
        source: io::Error,
    },
    /// The exporter failed.
    #[error("the exporter cannot run")]
    App(#[source] crate::app::AppError),
    /// The simulated organisation cannot be made.
    #[error("cannot make the simulated organisation")]
    Organisation(#[source] crate::simulator::org::OrgError),
}

/// Runs `work` on a runtime of its own and ends as it says; an error is said in one line and ends in
/// [`Exit::Failed`].
pub fn run<F>(work: F) -> Exit
where
    F: Future<Output = Result<Exit, ServiceError>>,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(source) => {
            let what = "the asynchronous runtime";
            complain(&chain(&ServiceError::Process { what, source }));
            return Exit::Failed;
        }
    };
    let ended = runtime.block_on(work);
    runtime.shutdown_timeout(LEAVE_BEHIND_AFTER);
    match ended {
        Ok(exit) => exit,
        Err(error) => {
            complain(&format_args!("error: {}", chain(&error)));
            Exit::Failed
        }
    }
}

/// Listens on every address.
///
/// # Errors
/// Names the address that could not be had, and the flag to change it.
pub async fn listen(
    addresses: &[SocketAddr],
    flag: &'static str,
) -> Result<Vec<TcpListener>, ServiceError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for &address in addresses {
        let bound = TcpListener::bind(address).await;
        listeners.push(bound.map_err(|source| ServiceError::Listen {
            address,
            flag,
            source,
        })?);
    }
    Ok(listeners)
}

/// The address that a listener really has, port 0 resolved.
///
/// # Errors
/// If the system does not tell.
pub fn address(listener: &TcpListener) -> Result<SocketAddr, ServiceError> {
    listener
        .local_addr()
        .map_err(|source| ServiceError::Process {
            what: "the address of a socket",
            source,
        })
}

/// Passes each SIGHUP on as the wish to reload; what becomes of it is logged there.
///
/// # Errors
/// If the handler cannot be installed.
pub fn reload_signal(reloads: mpsc::Sender<ReloadAsk>) -> Result<(), ServiceError> {
    let mut hangup = signal(SignalKind::hangup()).map_err(|source| ServiceError::Process {
        what: "signal handlers",
        source,
    })?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let (ask, answered) = oneshot::channel();
            if reloads.send(ask).await.is_err() {
                return;
            }
            // One after the other.
            let _ = answered.await;
        }
    });
    Ok(())
}

/// A signal that turns true with the first SIGINT or SIGTERM; the second ends the process at once.
///
/// # Errors
/// If handlers cannot be installed.
pub fn stop_signal() -> Result<watch::Receiver<bool>, ServiceError> {
    let install = |kind| {
        signal(kind).map_err(|source| ServiceError::Process {
            what: "signal handlers",
            source,
        })
    };
    let mut interrupt = install(SignalKind::interrupt())?;
    let mut terminate = install(SignalKind::terminate())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        for count in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if count > 0 {
                std::process::exit(i32::from(Exit::Failed as u8));
            }
            tracing::info!("stopping; a second signal stops at once");
            // Nobody listens any more only when everything has ended.
            let _ = stop.send(true);
        }
    });
    Ok(stopped)
}

/// A data directory that goes with its command.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new(command: &str) -> Self {
        let name = format!("genesys-cloud-exporter-{command}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left over in the temporary directory at worst.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
