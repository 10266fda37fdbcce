//! Reading request bodies within limits of size and time.
//!
//! - A declared length over the limit is refused before a byte is read; otherwise the bytes
//!   received are counted and reading stops with the first one too many.
//! - A body must make progress, and must be complete within a total time.
//! - All bodies together take a bounded amount of memory, counted as bytes arrive and until the
//!   last handle to them is dropped. Nobody is authenticated yet when a body is read. A body that
//!   comes in crumbs counts for what the crumbs take.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;

/// What a further piece of a body takes beside its bytes.
const PIECE: usize = 64;

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// It has, or says it has, more bytes than allowed.
    #[error("the body has more than {limit} bytes")]
    TooLarge {
        /// How many bytes are allowed.
        limit: usize,
    },
    /// No byte came for too long.
    #[error("the body stopped arriving")]
    Stalled,
    /// It was not complete in time.
    #[error("the body took too long to arrive")]
    TooSlow,
    /// The bodies being handled take all the memory there is for them.
    #[error("too many bodies at a time")]
    Busy,
    /// It ended early or broke the rules of HTTP.
    #[error("the body broke off: {0}")]
    Broken(String),
}

/// How long a body may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyTimes {
    /// Between two pieces.
    pub progress: Duration,
    /// For all of it.
    pub total: Duration,
}

impl Default for BodyTimes {
    fn default() -> Self {
        Self {
            progress: Duration::from_secs(10),
            total: Duration::from_secs(60),
        }
    }
}

/// Reads the bodies of one process. Cloning is cheap; all clones share the memory.
#[derive(Debug, Clone)]
pub struct BodyReader {
    times: BodyTimes,
    memory: Arc<Semaphore>,
    clock: Clock,
}

impl BodyReader {
    /// A reader that keeps at most `memory` bytes of bodies at a time.
    #[must_use]
    pub fn new(times: BodyTimes, memory: usize, clock: Clock) -> Self {
        let memory = Arc::new(Semaphore::new(memory.min(Semaphore::MAX_PERMITS)));
        Self {
            times,
            memory,
            clock,
        }
    }

    /// Reads the body of `request`, at most `limit` bytes.
    ///
    /// # Errors
    /// See [`BodyFault`].
    pub async fn read(&self, request: Request, limit: usize) -> Result<Bytes, BodyFault> {
        let body = request.into_body();
        let declared = body.size_hint().lower();
        if usize::try_from(declared).map_or(true, |declared| declared > limit) {
            return Err(BodyFault::TooLarge { limit });
        }
        let whole = self
            .clock
            .within(self.times.total, self.pieces(body, limit))
            .await;
        whole.unwrap_or(Err(BodyFault::TooSlow))
    }

    async fn pieces(&self, mut body: Body, limit: usize) -> Result<Bytes, BodyFault> {
        let mut pieces = Pieces::default();
        loop {
            let frame = self.clock.within(self.times.progress, body.frame()).await;
            let Some(frame) = frame.ok_or(BodyFault::Stalled)? else {
                break;
            };
            let frame = frame.map_err(|fault| BodyFault::Broken(fault.to_string()))?;
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            if piece.len() > limit - pieces.length {
                return Err(BodyFault::TooLarge { limit });
            }
            let crumb = if pieces.pieces.is_empty() { 0 } else { PIECE };
            let permit = self.take(piece.len() + crumb)?;
            pieces.add(piece, permit);
        }
        Ok(pieces.join())
    }

    /// Counts bytes that were made of a body, such as what it unpacks to.
    ///
    /// # Errors
    /// [`BodyFault::Busy`].
    pub fn hold(&self, bytes: Bytes) -> Result<Bytes, BodyFault> {
        let memory = Some(self.take(bytes.len())?);
        Ok(Bytes::from_owner(Held {
            bytes,
            _memory: memory,
        }))
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyFault> {
        let taken = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permit = self.memory.clone().try_acquire_many_owned(taken);
        permit.map_err(|_| BodyFault::Busy)
    }
}

/// What has arrived, with the memory it takes.
#[derive(Default)]
struct Pieces {
    pieces: Vec<Bytes>,
    length: usize,
    memory: Option<OwnedSemaphorePermit>,
}

impl Pieces {
    fn add(&mut self, piece: Bytes, permit: OwnedSemaphorePermit) {
        self.length += piece.len();
        self.pieces.push(piece);
        match &mut self.memory {
            Some(memory) => memory.merge(permit),
            None => self.memory = Some(permit),
        }
    }

    /// A body that came in one piece is not copied.
    fn join(self) -> Bytes {
        let bytes = match <[Bytes; 1]>::try_from(self.pieces) {
            Ok([whole]) => whole,
            Err(pieces) => pieces.concat().into(),
        };
        Bytes::from_owner(Held {
            bytes,
            _memory: self.memory,
        })
    }
}

/// Bytes that give their memory back when the last handle goes.
struct Held {
    bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;

    use super::*;
    use crate::clock::TestClock;
    use crate::protocol::Timestamp;

    #[derive(Clone, Copy)]
    enum Step {
        Piece(&'static [u8]),
        /// Waits, then lets this many seconds pass.
        Pause(u64),
    }

    struct Scripted {
        steps: VecDeque<Step>,
        waiting: bool,
        clock: Arc<TestClock>,
    }

    impl http_body::Body for Scripted {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            if let Some(&Step::Pause(seconds)) = self.steps.front() {
                // Time passes at the second look: by then the reader's own wait has begun.
                if std::mem::replace(&mut self.waiting, true) {
                    self.clock.advance(Duration::from_secs(seconds));
                    self.waiting = false;
                    self.steps.pop_front();
                }
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(match self.steps.pop_front() {
                Some(Step::Piece(piece)) => Some(Ok(Frame::data(Bytes::from_static(piece)))),
                Some(Step::Pause(_)) => unreachable!("handled above"),
                None => None,
            })
        }
    }

    async fn read(steps: impl IntoIterator<Item = Step>, limit: usize) -> Result<Bytes, BodyFault> {
        let test = TestClock::at(Timestamp::from_millis(0));
        let steps = steps.into_iter().collect();
        let body = Scripted {
            steps,
            waiting: false,
            clock: test.clone(),
        };
        let times = BodyTimes {
            progress: Duration::from_secs(10),
            total: Duration::from_secs(25),
        };
        let reader = BodyReader::new(times, 200, Clock::over(test));
        reader.read(Request::new(Body::new(body)), limit).await
    }

    fn three() -> [Step; 3] {
        [Step::Piece(b"ab"), Step::Piece(b"cd"), Step::Piece(b"e")]
    }

    #[tokio::test]
    async fn the_bytes_received_are_counted() {
        assert_eq!(read(three(), 5).await.unwrap(), "abcde");
        assert_eq!(
            read(three(), 4).await,
            Err(BodyFault::TooLarge { limit: 4 })
        );
        assert_eq!(read([Step::Piece(b"abc")], 3).await.unwrap(), "abc");
        assert_eq!(read([], 0).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_body_must_make_progress_and_come_to_an_end() {
        let slow = |pauses: &[u64]| {
            let pauses = pauses
                .iter()
                .flat_map(|s| [Step::Piece(b"x"), Step::Pause(*s)]);
            read(pauses.collect::<Vec<_>>(), 100)
        };
        assert_eq!(slow(&[9, 9]).await.unwrap(), "xx");
        assert_eq!(slow(&[9, 10, 1]).await, Err(BodyFault::Stalled));
        assert_eq!(slow(&[9, 9, 9, 9]).await, Err(BodyFault::TooSlow));
    }

    #[tokio::test]
    async fn a_declared_length_over_the_limit_is_refused_unread() {
        let reader = BodyReader::new(BodyTimes::default(), 100, Clock::system());
        let read = |limit| reader.read(Request::new(Body::from("abcdef")), limit);
        assert_eq!(read(5).await, Err(BodyFault::TooLarge { limit: 5 }));
        assert_eq!(read(6).await.unwrap(), "abcdef");
    }

    #[tokio::test]
    async fn memory_is_held_until_the_last_handle_to_a_body_goes() {
        let reader = BodyReader::new(BodyTimes::default(), 10, Clock::system());
        let read = || reader.read(Request::new(Body::from("abcdef")), 100);
        let first = read().await.unwrap();
        let slice = first.slice(1..3);
        drop(first);
        assert_eq!(read().await, Err(BodyFault::Busy));
        drop(slice);
        assert_eq!(read().await.unwrap(), "abcdef");
        let made = reader.hold(Bytes::from_static(b"abcdef")).unwrap();
        assert_eq!(read().await, Err(BodyFault::Busy));
        drop(made);
        assert_eq!(read().await.unwrap(), "abcdef");
    }

    #[tokio::test]
    async fn crumbs_count_for_more_than_their_bytes() {
        let crumbs = |count| vec![Step::Piece(b"x"); count];
        assert_eq!(read(crumbs(4), 100).await.unwrap(), "xxxx");
        assert_eq!(read(crumbs(5), 100).await, Err(BodyFault::Busy));
    }
}
