//! When a conversation is over: the times it has, and how it is left.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Beside, Conversation};
use crate::endpoint::websocket::close::{self, Close};
use crate::endpoint::websocket::outbox::Rest;
use crate::endpoint::websocket::pulse::Beat;

/// How long somebody unknown may take to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(10);
/// How long the other side may take nothing of what waits.
const STALL: Duration = Duration::from_secs(30);
/// How long a message may take from its first byte to its last.
const MESSAGE: Duration = Duration::from_secs(90);
/// How long the last frame may take to leave.
const LAST: Duration = Duration::from_secs(2);

/// How a conversation ends.
pub(super) struct Ending {
    /// What is said; nothing where nobody listens.
    pub(super) close: Option<Close>,
    pub(super) rest: Rest,
    /// Whether the session can be resumed.
    pub(super) resumable: bool,
}

impl Ending {
    pub(super) const fn with(close: Close) -> Self {
        Self {
            close: Some(close),
            rest: Rest::Written,
            resumable: true,
        }
    }

    pub(super) const fn gone() -> Self {
        Self {
            close: None,
            rest: Rest::GivenUp,
            resumable: true,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Conversation<S> {
    /// When to look again if nothing happens.
    pub(super) fn due(&self) -> Duration {
        let introduction = self.dialogue.is_unknown();
        [
            Some(self.pulse.due()),
            introduction.then(|| self.opened + INTRODUCTION),
            (!self.outbox.is_empty()).then(|| self.outbox.moved() + STALL),
            self.source.amid().map(|since| since + MESSAGE),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or_default()
    }

    pub(super) fn time(&mut self) -> Option<Ending> {
        let now = self.tools.clock.monotonic();
        let late = |reason| {
            Some(Ending {
                rest: Rest::GivenUp,
                ..Ending::with(Close::of(close::TIMED_OUT, reason))
            })
        };
        if self.dialogue.is_unknown() && now >= self.opened + INTRODUCTION {
            let reason = "no `auth` came in time";
            return Some(Ending::with(Close::of(close::UNAUTHENTICATED, reason)));
        }
        if !self.outbox.is_empty() && now >= self.outbox.moved() + STALL {
            return late("nothing was taken of what was sent");
        }
        if self
            .source
            .amid()
            .is_some_and(|since| now >= since + MESSAGE)
        {
            return late("a message did not become whole");
        }
        self.pulse.heard(self.source.moved());
        match self.pulse.beat(now) {
            Beat::Rest => None,
            Beat::Ping => {
                self.outbox.ping();
                None
            }
            Beat::Dead => late("no sign of life in two heartbeats"),
        }
    }

    /// Says goodbye, and lets go of the session.
    pub(super) async fn part(mut self, ending: Ending) -> Option<String> {
        let clock = self.tools.clock.clone();
        let said = ending.close.clone();
        if let Some(close) = &ending.close {
            self.outbox.close(close, ending.rest);
        }
        let goodbye = async {
            if ending.close.is_some() && self.outbox.drain().await.is_ok() {
                drop(self.outbox.shutdown().await);
            }
        };
        // Others need not wait for the goodbye, but for what was acknowledged before it.
        let session = self.session.take();
        let resume = session.as_ref().filter(|_| ending.resumable);
        let resume = resume.map(|session| session.resume_token().to_owned());
        let (beside, mut under_way) = (&mut self.beside, self.under_way);
        let marked = async {
            while under_way > 0 {
                match beside.join_next().await {
                    Some(Ok(Beside::Answered(_))) => {}
                    Some(_) => under_way -= 1,
                    None => break,
                }
            }
        };
        let letting_go = async {
            clock.within(LAST, marked).await;
            match session {
                Some(session) if ending.resumable => session.detach().await,
                Some(session) => session.close().await,
                None => {}
            }
        };
        tokio::join!(clock.within(LAST, goodbye), letting_go);
        let code = said.as_ref().and_then(|close| close.code);
        let reason = said.map(|close| close.reason).unwrap_or_default();
        tracing::debug!(client.address = %self.peer.remote, close.code = code, reason = %reason,
            "a connection ended");
        resume
    }
}
