//! A thread that owns a value, and a handle that runs work on it from async code.
//!
//! SQLite blocks; the reactor must not. Journal and store each live on a thread of their own. If
//! the thread ends, by a panic or because it was told to, every caller gets an error at once:
//! nobody waits for an answer that will not come.

use std::io;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

/// Calls that may wait. The driver appends one batch at a time and the consumer fetches one, so
/// this is never full; were it, callers would wait.
const CALLS_QUEUED_MAX: usize = 32;

type Call<T> = Box<dyn FnOnce(&mut T) + Send>;

/// A handle to the value's thread. The thread ends when the last handle is gone.
#[derive(Debug)]
pub struct Worker<T> {
    name: &'static str,
    calls: mpsc::Sender<Call<T>>,
}

impl<T> Clone for Worker<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            calls: self.calls.clone(),
        }
    }
}

/// The thread has ended; whether the call had an effect is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {name} thread has ended; the exporter must be restarted")]
pub struct WorkerGone {
    /// The thread's name.
    pub name: &'static str,
}

impl<T: Send + 'static> Worker<T> {
    /// Moves `value` to a thread of its own. Joining the second part waits for the thread's end
    /// and tells a panic.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn spawn(name: &'static str, mut value: T) -> io::Result<(Self, JoinHandle<()>)> {
        let (calls, mut queue) = mpsc::channel::<Call<T>>(CALLS_QUEUED_MAX);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(call) = queue.blocking_recv() {
                    call(&mut value);
                }
            })?;
        Ok((Self { name, calls }, thread))
    }

    /// Runs `work` on the value, after the calls that came before.
    ///
    /// # Errors
    /// If the thread has ended or ends meanwhile.
    pub async fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, WorkerGone> {
        let gone = WorkerGone { name: self.name };
        let (reply, answer) = oneshot::channel();
        let call: Call<T> = Box::new(move |value| {
            // A caller that no longer waits does not mind.
            let _ = reply.send(work(value));
        });
        self.calls.send(call).await.map_err(|_| gone)?;
        answer.await.map_err(|_| gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_run_in_order_on_one_value() {
        let (worker, thread) = Worker::spawn("counter", 0_u64).unwrap();
        for expected in 1..=100 {
            let counted = worker
                .call(|value| {
                    *value += 1;
                    *value
                })
                .await;
            assert_eq!(counted, Ok(expected));
        }
        drop(worker);
        thread.join().unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_an_error_for_its_caller_and_for_all_after_it() {
        let (worker, thread) = Worker::spawn("doomed", ()).unwrap();
        let gone = WorkerGone { name: "doomed" };
        let failed = worker.call(|()| panic!("as the test wants")).await;
        assert_eq!(failed, Err::<(), _>(gone));
        assert!(thread.join().is_err());
        assert_eq!(worker.call(|()| ()).await, Err(gone));
    }
}
