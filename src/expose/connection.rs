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
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Sleep;

use super::state::Limits;
use crate::clock::SystemClock;
use crate::model::time::Monotonic;

/// Open connections.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    most_per_address: usize,
    grace: Duration,
    clock: SystemClock,
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
#[derive(Debug)]
struct Shared {
    busy: AtomicBool,
    /// Requests begun.
    requests: AtomicU64,
    /// Since when no request has been in progress, by the monotonic clock.
    waiting_since: AtomicI64,
    close: Notify,
    clock: SystemClock,
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

/// What becomes of a new connection.
#[derive(Debug)]
pub(super) enum Admission {
    /// It may stay.
    Admitted(Place),
    /// Nobody has waited long enough to be sent away; ask again after this.
    Later(Duration),
    /// Every place has a request in progress, or its own address has too many.
    Refused,
}

impl Connections {
    pub(super) fn new(limits: &Limits, clock: SystemClock) -> Self {
        Self {
            most: limits.connections,
            most_per_address: limits.connections_per_address,
            grace: limits.eviction_grace,
            clock,
            open: Mutex::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // The table is consistent between any two statements: a panic elsewhere does not spoil it.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection, if need be that of the one which has waited longest without
    /// a request. Loopback has no limit of its own: behind a local proxy everybody has that
    /// address.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Admission {
        let address = address.to_canonical();
        let now = self.clock.now().mono;
        let mut open = self.open();
        let of_address = |entry: &Entry| entry.address == address;
        let count = open.entries.values().filter(|e| of_address(e)).count();
        let room = if count >= self.most_per_address && !address.is_loopback() {
            // Nobody else waits for the sake of one address that wants too much.
            open.evict(now, self.grace, of_address).map_err(|_| None)
        } else if open.entries.len() >= self.most {
            open.evict(now, self.grace, |_| true)
        } else {
            Ok(())
        };
        match room {
            Ok(()) => Admission::Admitted(self.place(&mut open, address)),
            Err(Some(wait)) => Admission::Later(wait),
            Err(None) => Admission::Refused,
        }
    }

    fn place(self: &Arc<Self>, open: &mut Open, address: IpAddr) -> Place {
        let number = open.next;
        open.next += 1;
        let shared = Arc::new(Shared {
            busy: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            waiting_since: AtomicI64::new(self.clock.now().mono.0),
            close: Notify::new(),
            clock: self.clock,
        });
        let entry = Entry {
            address,
            shared: shared.clone(),
        };
        open.entries.insert(number, entry);
        Place {
            number,
            shared,
            connections: self.clone(),
        }
    }
}

impl Open {
    /// Tells the connection that has waited longest to close and takes it off the table. `Err`:
    /// how long until one has waited for `grace`, if any waits at all.
    fn evict(
        &mut self,
        now: Monotonic,
        grace: Duration,
        of_those: impl Fn(&Entry) -> bool,
    ) -> Result<(), Option<Duration>> {
        let longest = self
            .entries
            .iter()
            .filter(|(_, entry)| of_those(entry) && !entry.shared.busy.load(Ordering::Acquire))
            .map(|(&number, entry)| (entry.shared.waiting_since.load(Ordering::Relaxed), number))
            .min();
        let (since, number) = longest.ok_or(None)?;
        let waited = (now - Monotonic(since)).to_duration();
        if waited < grace {
            // Never zero, so that asking again is not a busy loop.
            return Err(Some(
                grace.saturating_sub(waited).max(Duration::from_millis(1)),
            ));
        }
        if let Some(entry) = self.entries.remove(&number) {
            entry.shared.close.notify_one();
        }
        Ok(())
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
        let now = self.0.clock.now().mono;
        self.0.waiting_since.store(now.0, Ordering::Relaxed);
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
        self.stalled(cx, written)
    }

    /// Lets what is ready pass; what is not for `write_stall` fails.
    fn stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.write_deadline = None;
            return polled;
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
        // TLS holds back what the socket does not take, so a stalled reader shows here.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.stalled(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.stalled(cx, closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REMOTE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn connections(most: usize, most_per_address: usize, grace: Duration) -> Arc<Connections> {
        let limits = Limits {
            connections: most,
            connections_per_address: most_per_address,
            eviction_grace: grace,
            ..Limits::default()
        };
        Arc::new(Connections::new(&limits, SystemClock::new()))
    }

    fn admitted(connections: &Arc<Connections>, address: IpAddr) -> Place {
        match connections.admit(address) {
            Admission::Admitted(place) => place,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_full_table_gives_up_the_one_that_waits() {
        let connections = connections(3, 2, Duration::ZERO);
        let first = admitted(&connections, REMOTE);
        let _busy = first.begin();
        let second = admitted(&connections, REMOTE);
        let third = admitted(&connections, REMOTE);
        tokio::time::timeout(Duration::from_secs(5), second.evicted())
            .await
            .expect("the one that waits gives way");
        let _busy = third.begin();
        assert!(matches!(connections.admit(REMOTE), Admission::Refused));
        let _other = admitted(&connections, OTHER);
        let _another = admitted(&connections, OTHER);
        assert_eq!(connections.open().entries.len(), 3);
    }

    #[test]
    fn who_has_just_come_is_not_sent_away() {
        let connections = connections(1, 1, Duration::from_secs(60));
        let first = admitted(&connections, REMOTE);
        assert!(
            matches!(connections.admit(OTHER), Admission::Later(wait) if wait > Duration::ZERO)
        );
        drop(first.begin());
        assert!(matches!(connections.admit(OTHER), Admission::Later(_)));
        drop(first);
        assert!(connections.open().entries.is_empty());
        let _second = admitted(&connections, OTHER);
    }

    #[test]
    fn an_address_that_wants_too_much_keeps_nobody_else_waiting() {
        let connections = connections(4, 2, Duration::from_secs(60));
        let _places = [(); 2].map(|()| admitted(&connections, REMOTE));
        assert!(matches!(connections.admit(REMOTE), Admission::Refused));
        let _other = admitted(&connections, OTHER);
    }

    #[test]
    fn loopback_is_bounded_by_the_total_alone() {
        let connections = connections(3, 1, Duration::from_secs(60));
        let _places = [(); 3].map(|()| admitted(&connections, LOCAL));
        assert!(matches!(connections.admit(LOCAL), Admission::Later(_)));
    }
}
