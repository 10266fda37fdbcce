//! What a connection is busy with, and when its patience with the client ends.
//!
//! The library's own timers know neither an idle HTTP/2 connection nor a client that stops taking
//! an answer, so the connection is watched from outside: bytes read, requests begun, pieces of
//! answers taken. States: waiting for a request (first byte of its head not seen, or seen), a
//! handler at work (bounded by its own times), an answer on its way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ConnectionTimes;
use crate::clock::{Clock, Wait};

/// Why a connection is not waited for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quiet {
    /// No request came.
    Idle,
    /// The head of a request was begun and not finished.
    Head,
    /// The client does not take its answer.
    Answer,
}

/// Whether bytes between requests are the head of the next one; in HTTP/2 they are mostly not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heads {
    Timed,
    Untimed,
}

/// What one connection is busy with. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    times: ConnectionTimes,
    heads: Heads,
    handlers: AtomicUsize,
    answers: AtomicUsize,
    /// When something last began, moved or ended: milliseconds of the clock.
    changed: AtomicU64,
    /// When the head of a request began, plus one; 0 for no head.
    head: AtomicU64,
}

impl Activity {
    /// Of a connection that begins now.
    pub(super) fn new(clock: Clock, times: ConnectionTimes, heads: Heads) -> Self {
        let now = millis(&clock);
        Self(Arc::new(Shared {
            clock,
            times,
            heads,
            handlers: AtomicUsize::new(0),
            answers: AtomicUsize::new(0),
            changed: AtomicU64::new(now),
            head: AtomicU64::new(if heads == Heads::Timed { now + 1 } else { 0 }),
        }))
    }

    /// A request was read whole; it is being answered while the returned value lives.
    pub(super) fn begin(&self) -> Handling {
        self.0.handlers.fetch_add(1, Ordering::Relaxed);
        self.0.head.store(0, Ordering::Relaxed);
        self.touch();
        Handling(self.clone())
    }

    /// Completes when the client has been quiet for too long.
    pub(super) fn quiet(&self) -> Watch {
        Watch {
            activity: self.clone(),
            alarm: None,
        }
    }

    fn touch(&self) {
        self.0
            .changed
            .store(millis(&self.0.clock), Ordering::Relaxed);
    }

    fn received(&self) {
        let shared = &*self.0;
        if shared.heads == Heads::Timed && self.between_requests() {
            let now = millis(&shared.clock) + 1;
            // Only the first byte of a head counts; the rest may not buy time.
            let _ = shared
                .head
                .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    pub(super) fn between_requests(&self) -> bool {
        self.0.handlers.load(Ordering::Relaxed) == 0 && self.0.answers.load(Ordering::Relaxed) == 0
    }

    /// When patience ends if nothing changes; `None` while a handler works.
    fn due(&self) -> Option<(Duration, Quiet)> {
        let shared = &*self.0;
        let changed = Duration::from_millis(shared.changed.load(Ordering::Relaxed));
        if shared.handlers.load(Ordering::Relaxed) > 0 {
            return None;
        }
        if shared.answers.load(Ordering::Relaxed) > 0 {
            return Some((changed + shared.times.write, Quiet::Answer));
        }
        match shared.head.load(Ordering::Relaxed) {
            0 => Some((changed + shared.times.idle, Quiet::Idle)),
            head => Some((
                Duration::from_millis(head - 1) + shared.times.head,
                Quiet::Head,
            )),
        }
    }
}

fn millis(clock: &Clock) -> u64 {
    u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX)
}

/// A handler at work.
#[derive(Debug)]
pub(super) struct Handling(Activity);

impl Handling {
    /// The handler is done; `body` is what the client has to take.
    pub(super) fn answer(self, body: Body) -> Answer {
        self.0.0.answers.fetch_add(1, Ordering::Relaxed);
        Answer {
            body,
            activity: self.0.clone(),
        }
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.0.0.handlers.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}

/// The body of an answer on its way.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    activity: Activity,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.activity.touch();
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.activity.0.answers.fetch_sub(1, Ordering::Relaxed);
        self.activity.touch();
    }
}

/// Waits for the client to be quiet for too long.
///
/// It runs in the connection's own task, so it looks anew whenever the connection moves, and arms
/// its alarm again only when that must ring earlier: one timer an idle period, not one a request.
pub(super) struct Watch {
    activity: Activity,
    alarm: Option<(Duration, Wait)>,
}

impl Future for Watch {
    type Output = Quiet;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Quiet> {
        loop {
            let clock = self.activity.0.clock.clone();
            let now = clock.monotonic();
            let due = match self.activity.due() {
                Some((due, quiet)) if due <= now => return Poll::Ready(quiet),
                Some((due, _)) => due,
                // The end of a handler may go unseen (a reset stream), so look again in a while.
                None => now + self.activity.0.times.idle,
            };
            if self.alarm.as_ref().is_none_or(|(armed, _)| due < *armed) {
                let wait: Wait = Box::pin(async move { clock.wait(due - now).await });
                self.alarm = Some((due, wait));
            }
            let (_, wait) = self.alarm.as_mut().expect("armed above");
            ready!(wait.as_mut().poll(context));
            self.alarm = None;
        }
    }
}

/// The byte stream of a connection, seen by its activity.
#[derive(Debug)]
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) activity: Activity,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.activity.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http_body::Body as _;

    use super::*;
    use crate::clock::TestClock;
    use crate::protocol::Timestamp;

    const TIMES: ConnectionTimes = ConnectionTimes {
        handshake: Duration::from_secs(1),
        head: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        write: Duration::from_secs(20),
        ping: Duration::from_secs(1),
        grace: Duration::from_secs(1),
    };

    struct Bench {
        test: Arc<TestClock>,
        activity: Activity,
        watch: Watch,
    }

    fn bench(heads: Heads) -> Bench {
        let test = TestClock::at(Timestamp::from_millis(0));
        let activity = Activity::new(Clock::over(test.clone()), TIMES, heads);
        let watch = activity.quiet();
        Bench {
            test,
            activity,
            watch,
        }
    }

    impl Bench {
        fn after(&mut self, seconds: u64) -> Option<Quiet> {
            let mut context = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut self.watch).poll(&mut context).is_pending());
            self.test.advance(Duration::from_secs(seconds));
            match Pin::new(&mut self.watch).poll(&mut context) {
                Poll::Ready(quiet) => Some(quiet),
                Poll::Pending => None,
            }
        }
    }

    #[test]
    fn a_new_connection_has_the_time_of_a_head() {
        let mut bench = bench(Heads::Timed);
        assert_eq!(bench.after(9), None);
        bench.activity.received();
        assert_eq!(bench.after(1), Some(Quiet::Head), "a byte buys no time");
    }

    #[test]
    fn between_requests_the_idle_time_holds_until_a_head_begins() {
        let mut bench = bench(Heads::Timed);
        drop(bench.activity.begin());
        assert_eq!(bench.after(59), None);
        bench.activity.received();
        assert_eq!(bench.after(9), None);
        assert_eq!(bench.after(1), Some(Quiet::Head));
    }

    #[test]
    fn an_http_2_connection_is_idle_whatever_frames_come() {
        let mut bench = bench(Heads::Untimed);
        bench.activity.received();
        assert_eq!(bench.after(59), None);
        bench.activity.received();
        assert_eq!(bench.after(1), Some(Quiet::Idle));
    }

    #[test]
    fn a_handler_at_work_is_waited_for() {
        let mut bench = bench(Heads::Untimed);
        let handling = bench.activity.begin();
        assert_eq!(bench.after(1_000), None);
        drop(handling);
        assert_eq!(bench.after(59), None);
        assert_eq!(bench.after(1), Some(Quiet::Idle));
    }

    #[test]
    fn an_answer_must_be_taken_piece_by_piece() {
        let mut bench = bench(Heads::Timed);
        let mut answer = bench.activity.begin().answer(Body::from("piece"));
        assert_eq!(bench.after(19), None);
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut answer).poll_frame(&mut context).is_ready());
        assert_eq!(bench.after(19), None);
        assert_eq!(bench.after(1), Some(Quiet::Answer));
        drop(answer);
        assert_eq!(bench.after(59), None);
        assert_eq!(bench.after(1), Some(Quiet::Idle));
    }
}
