//! A response body of shared pieces: nothing is copied, and what it holds on to (a permit, the
//! mark of a busy connection) is let go when the reader has taken nearly all of it. More pieces may
//! follow as they come; then its length is not known.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::connection::Busy;

/// A frame at most: hyper takes a frame whole into its write queue, so a small one makes the
/// body last as long as the reader needs.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Pieces that are there, and perhaps more that come.
#[derive(Default)]
pub(super) struct Pieces {
    left: VecDeque<Bytes>,
    more: Option<Pin<Box<dyn Stream<Item = Bytes> + Send>>>,
    permit: Option<OwnedSemaphorePermit>,
    busy: Option<Busy>,
}

impl Pieces {
    pub(super) fn new(pieces: Vec<Bytes>) -> Self {
        let mut left = VecDeque::from(pieces);
        left.retain(|piece| !piece.is_empty());
        Self {
            left,
            ..Self::default()
        }
    }

    /// Pieces as they come.
    pub(super) fn following(more: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self {
            more: Some(Box::pin(more)),
            ..Self::default()
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

    /// Bytes in all; `None` if more may come.
    pub(super) fn len(&self) -> Option<u64> {
        let left = self.left.iter().map(|piece| piece.len() as u64);
        self.more.is_none().then(|| left.sum())
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
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while self.left.is_empty() {
            let Some(more) = &mut self.more else {
                return Poll::Ready(None);
            };
            match ready!(more.as_mut().poll_next(cx)) {
                Some(piece) if piece.is_empty() => {}
                Some(piece) => self.left.push_back(piece),
                None => self.more = None,
            }
        }
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
        self.left.is_empty() && self.more.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.len()
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
