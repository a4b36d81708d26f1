//! Connections: how many there may be, and how long each may dawdle.
//!
//! hyper has no connection cap and no write timeout, and its header timeout is the idle timeout
//! too (conventions.md §6.1). So a table counts connections and, when full, closes the one that
//! has waited longest without a request; a wrapper around the socket times request heads and
//! slow readers.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Sleep;

/// Open connections, by age.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    most_per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    shared: Arc<Shared>,
}

/// What a connection's task, its requests and the table know of each other.
#[derive(Debug, Default)]
struct Shared {
    busy: AtomicBool,
    requests: AtomicU64,
    close: Notify,
}

/// An open connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    shared: Arc<Shared>,
    connections: Arc<Connections>,
}

/// While this lives, a request is in progress.
#[derive(Debug)]
pub(super) struct Busy(Arc<Shared>);

impl Connections {
    pub(super) fn new(most: usize, most_per_address: usize) -> Self {
        Self {
            most,
            most_per_address,
            open: Mutex::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // The table is consistent between any two statements: a panic elsewhere does not spoil it.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection, if need be that of an older one which has no request in
    /// progress; `None` if all are busy.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut open = self.open();
        let of_address = |entry: &Entry| entry.address == address;
        let count = open.entries.values().filter(|e| of_address(e)).count();
        if count >= self.most_per_address {
            open.evict(of_address)?;
        } else if open.entries.len() >= self.most {
            open.evict(|_| true)?;
        }
        let number = open.next;
        open.next += 1;
        let shared = Arc::<Shared>::default();
        let entry = Entry {
            address,
            shared: shared.clone(),
        };
        open.entries.insert(number, entry);
        Some(Place {
            number,
            shared,
            connections: self.clone(),
        })
    }
}

impl Open {
    /// Tells the oldest waiting connection of those to close and takes it off the table.
    fn evict(&mut self, of_those: impl Fn(&Entry) -> bool) -> Option<()> {
        let waiting = |entry: &Entry| !entry.shared.busy.load(Ordering::Acquire);
        let (&number, _) = self
            .entries
            .iter()
            .find(|(_, entry)| of_those(entry) && waiting(entry))?;
        self.entries.remove(&number)?.shared.close.notify_one();
        Some(())
    }
}

impl Place {
    /// Marks the connection as busy with a request.
    pub(super) fn begin(&self) -> Busy {
        self.shared.requests.fetch_add(1, Ordering::AcqRel);
        self.shared.busy.store(true, Ordering::Release);
        Busy(self.shared.clone())
    }

    /// Ends when somebody else needs the place.
    pub(super) async fn evicted(&self) {
        self.shared.close.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().entries.remove(&self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

/// A socket with deadlines.
pub(super) struct TimedStream<S> {
    stream: S,
    shared: Arc<Shared>,
    head_wait: Duration,
    write_stall: Duration,
    /// Requests whose head was complete when the head's deadline was last looked at.
    requests_seen: u64,
    head_deadline: Option<Pin<Box<Sleep>>>,
    write_deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> TimedStream<S> {
    pub(super) fn new(
        stream: S,
        place: &Place,
        head_wait: Duration,
        write_stall: Duration,
    ) -> Self {
        Self {
            stream,
            shared: place.shared.clone(),
            head_wait,
            write_stall,
            requests_seen: 0,
            // A new connection has something to say.
            head_deadline: Some(Box::pin(tokio::time::sleep(head_wait))),
            write_deadline: None,
        }
    }

    /// Whether a head under way has taken too long.
    fn poll_head_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match &mut self.head_deadline {
            Some(deadline) => {
                ready!(deadline.as_mut().poll(cx));
                Poll::Ready(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "request head too slow",
                ))
            }
            None => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let requests = this.shared.requests.load(Ordering::Acquire);
        if requests != this.requests_seen {
            this.requests_seen = requests;
            this.head_deadline = None;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        let busy = this.shared.busy.load(Ordering::Acquire);
        if busy {
            return read;
        }
        if read.is_ready() {
            if buf.filled().len() > before && this.head_deadline.is_none() {
                this.head_deadline = Some(Box::pin(tokio::time::sleep(this.head_wait)));
            }
            return read;
        }
        this.poll_head_deadline(cx).map(Err)
    }
}

impl<S: AsyncWrite + Unpin> TimedStream<S> {
    /// Passes a write on; without progress for `write_stall` it fails.
    fn timed_write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = write(Pin::new(&mut self.stream), cx);
        if written.is_ready() {
            self.write_deadline = None;
            return written;
        }
        let stall = self.write_stall;
        let deadline = self
            .write_deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "reader too slow",
        )))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.timed_write(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.timed_write(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    #[tokio::test]
    async fn a_full_table_gives_up_the_oldest_that_waits() {
        let connections = Arc::new(Connections::new(3, 2));
        let first = connections.admit(address(1)).unwrap();
        let busy = first.begin();
        let second = connections.admit(address(1)).unwrap();
        let _third = connections.admit(address(1)).unwrap();
        tokio::time::timeout(Duration::from_secs(5), second.evicted())
            .await
            .expect("the one that waits gives way");
        assert!(busy.0.busy.load(Ordering::Acquire));
        drop(second);
        let _fourth = connections.admit(address(2)).unwrap();
        assert_eq!(connections.open().entries.len(), 3);
        let _fifth = connections.admit(address(3)).unwrap();
        assert_eq!(connections.open().entries.len(), 3);
    }

    #[test]
    fn when_all_are_busy_a_new_connection_is_refused() {
        let connections = Arc::new(Connections::new(1, 1));
        let first = connections.admit(address(1)).unwrap();
        let busy = first.begin();
        assert!(connections.admit(address(1)).is_none());
        assert!(connections.admit(address(2)).is_none());
        drop(busy);
        assert!(connections.admit(address(2)).is_some());
        drop(first);
        assert!(connections.open().entries.is_empty());
    }
}
