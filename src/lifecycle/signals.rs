//! What the world outside asks of the process.

use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A wish of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// End (SIGTERM, SIGINT).
    Stop,
    /// Take changed files into use (SIGHUP).
    Reload,
}

/// Where signals come from.
#[derive(Debug)]
pub struct Signals(Source);

#[derive(Debug)]
enum Source {
    System {
        terminate: unix::Signal,
        interrupt: unix::Signal,
        hangup: unix::Signal,
    },
    Scripted(mpsc::UnboundedReceiver<Signal>),
    /// Gone once it was given.
    Stop(Option<CancellationToken>),
}

impl Signals {
    /// Takes over the process's SIGTERM, SIGINT and SIGHUP, from now on.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn system() -> std::io::Result<Self> {
        Ok(Self(Source::System {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
        }))
    }

    /// Signals sent from inside the process, for tests and `quickstart`.
    #[must_use]
    pub fn scripted() -> (mpsc::UnboundedSender<Signal>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Self(Source::Scripted(receiver)))
    }

    /// One signal to stop, when `stop` is given: for a gateway that is a part of something larger.
    #[must_use]
    pub fn when(stop: CancellationToken) -> Self {
        Self(Source::Stop(Some(stop)))
    }

    /// The next signal; waits for ever when none can come. Dropping the wait loses nothing.
    pub async fn next(&mut self) -> Signal {
        let next = match &mut self.0 {
            Source::Scripted(receiver) => receiver.recv().await,
            Source::Stop(stop) => {
                if let Some(stop) = stop {
                    stop.cancelled().await;
                }
                stop.take().map(|_| Signal::Stop)
            }
            Source::System {
                terminate,
                interrupt,
                hangup,
            } => tokio::select! {
                came = terminate.recv() => came.map(|()| Signal::Stop),
                came = interrupt.recv() => came.map(|()| Signal::Stop),
                came = hangup.recv() => came.map(|()| Signal::Reload),
            },
        };
        match next {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}
