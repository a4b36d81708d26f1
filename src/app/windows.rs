//! Sends closed windows by remote write, if there is somewhere to send them to.

use std::error::Error;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::AppError;
use super::databases::Databases;
use crate::catalog::{DataLoss, StoreOperation};
use crate::config::Config;
use crate::model::error::chain;
use crate::model::time::UnixMillis;
use crate::store::{DeadSamples, RemoteWrite, RemoteWriteObserver};
use crate::telemetry::Telemetry;

/// Sets it up; sends nothing yet.
pub(super) fn remote_write(
    config: &Config,
    databases: &Databases,
) -> Result<Option<RemoteWrite>, AppError> {
    let (Some(receiver), Some(store)) = (&config.store.remote_write, &databases.store) else {
        return Ok(None);
    };
    let (org, window) = (&config.source.name, config.pipeline.window);
    let (store, windows) = (store.clone(), Arc::clone(&databases.windows));
    let sender = RemoteWrite::new(receiver, org, window, store, windows);
    let sender = sender.map_err(AppError::RemoteWrite)?;
    tracing::info!(url = %receiver.url, "sending closed windows by remote write");
    Ok(Some(sender))
}

/// Starts it, if there is one.
pub(super) fn start(
    sender: Option<RemoteWrite>,
    telemetry: &Arc<Telemetry>,
    stop: &watch::Receiver<bool>,
) -> Option<JoinHandle<()>> {
    let observer = Observer {
        telemetry: Arc::clone(telemetry),
    };
    sender.map(|sender| tokio::spawn(sender.run(stop.clone(), observer).in_current_span()))
}

/// Ends it. What it was about, it does again at the next start.
pub(super) async fn end(sending: Option<JoinHandle<()>>) {
    if let Some(sending) = sending {
        sending.abort();
        // It was told to, so that it did not end by itself is no news.
        let _ = sending.await;
    }
}

/// Counts what the sender does.
struct Observer {
    telemetry: Arc<Telemetry>,
}

impl RemoteWriteObserver for Observer {
    fn sent(&mut self, window_end: UnixMillis) {
        tracing::debug!(%window_end, "a window was sent by remote write");
    }

    fn refused(&mut self, letter: &DeadSamples) {
        self.telemetry.data_loss(DataLoss::DeadLetter, 1);
        tracing::error!(
            kind = "data_loss",
            window_end = %letter.window_end,
            status = letter.status,
            reason = letter.reason,
            "the receiver of remote write refused a window; its request is kept as a dead letter"
        );
    }

    fn failed(&mut self, error: &(dyn Error + 'static)) {
        self.telemetry.store_error(StoreOperation::RemoteWrite);
        tracing::error!(
            kind = "remote_write",
            error = %chain(error),
            "closed windows could not be sent; they are tried again"
        );
    }
}
