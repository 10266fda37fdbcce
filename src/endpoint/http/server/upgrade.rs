//! What becomes of a connection when it is no longer HTTP.
//!
//! A handler that answers 101 says with [`Upgrade::agree`] what goes on; it runs in the task of the
//! connection, so the connection keeps its seat, and the listener waits for it as for a request.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::upgrade::{OnUpgrade, Upgraded};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// What goes on, with the bytes that come.
pub type Onward =
    Box<dyn FnOnce(Upgraded) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + 'static>;

/// Stands in the extensions of a request that asks for another protocol, where there can be one.
#[derive(Clone, Default)]
pub struct Upgrade(Arc<Mutex<Option<(OnUpgrade, Onward)>>>);

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgrade")
    }
}

impl Upgrade {
    /// Goes on like this once the answer has left.
    pub fn agree(&self, upgrade: OnUpgrade, onward: Onward) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((upgrade, onward));
    }

    /// Does what was agreed on, if anything was.
    pub(super) async fn go_on(self) {
        let agreed = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((upgrade, onward)) = agreed
            && let Ok(upgraded) = upgrade.await
        {
            onward(upgraded).await;
        }
    }
}

/// A stream that goes back to its owner when it is dropped.
#[derive(Debug)]
pub(super) struct Lent<S> {
    stream: Option<S>,
    home: Option<oneshot::Sender<S>>,
}

impl<S> Lent<S> {
    /// The stream, and where it comes back.
    pub(super) fn new(stream: S) -> (Self, oneshot::Receiver<S>) {
        let (home, back) = oneshot::channel();
        let lent = Self {
            stream: Some(stream),
            home: Some(home),
        };
        (lent, back)
    }
}

impl<S: Unpin> Lent<S> {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut S> {
        let stream = self.get_mut().stream.as_mut();
        Pin::new(stream.expect("it goes home only when dropped"))
    }
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        if let (Some(stream), Some(home)) = (self.stream.take(), self.home.take()) {
            // Nobody waits for it when the connection is cut.
            drop(home.send(stream));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(context, slices)
    }
}
