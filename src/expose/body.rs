//! A response body of shared pieces: nothing is copied, and what it holds on to (a permit, the
//! mark of a busy connection) is let go when the reader has taken nearly all of it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::connection::Busy;

/// A frame at most: hyper takes a frame whole into its write queue, so a small one makes the
/// body last as long as the reader needs.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// A body of known length.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    left: VecDeque<Bytes>,
    permit: Option<OwnedSemaphorePermit>,
    busy: Option<Busy>,
}

impl Pieces {
    pub(super) fn new(pieces: Vec<Bytes>) -> Self {
        let mut left = VecDeque::from(pieces);
        left.retain(|piece| !piece.is_empty());
        Self {
            left,
            permit: None,
            busy: None,
        }
    }

    /// Keeps a place among the requests at once until the body is gone.
    pub(super) fn holding(mut self, permit: OwnedSemaphorePermit) -> Self {
        self.permit = Some(permit);
        self
    }

    /// Keeps the connection marked as busy until the body is gone.
    pub(super) fn keeping(mut self, busy: Busy) -> Self {
        self.busy = Some(busy);
        self
    }

    pub(super) fn len(&self) -> u64 {
        self.left.iter().map(|piece| piece.len() as u64).sum()
    }
}

impl From<Bytes> for Pieces {
    fn from(piece: Bytes) -> Self {
        Self::new(vec![piece])
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(first) = self.left.front_mut() else {
            return Poll::Ready(None);
        };
        let frame = first.split_to(first.len().min(FRAME_BYTES_MAX));
        if first.is_empty() {
            self.left.pop_front();
        }
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}
