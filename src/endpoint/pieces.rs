//! Bodies that are made piece by piece, each when the connection took the one before.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;

/// Where the pieces come from.
pub(super) trait Source: Sized + Send + 'static {
    /// The next piece, and the source unless it is exhausted.
    fn step(self) -> impl Future<Output = (Bytes, Option<Self>)> + Send;
}

type Step<S> = Pin<Box<dyn Future<Output = (Bytes, Option<S>)> + Send>>;

/// The pieces of a source; nothing when it is exhausted.
struct Pieces<S>(Option<Step<S>>);

/// The body of an answer that has all that comes from a source.
pub(super) fn body(source: impl Source) -> Body {
    Body::new(Pieces(Some(Box::pin(source.step()))))
}

impl<S: Source> http_body::Body for Pieces<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(step) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let (piece, source) = ready!(step.as_mut().poll(context));
        self.0 = source.map(|source| Box::pin(source.step()) as _);
        if piece.is_empty() && self.0.is_none() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}
