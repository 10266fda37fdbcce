//! One request to a peer, and the answer: alternatives in turn, all within one time.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;

use super::super::{Fault, Trouble};
use super::PeerSettings;
use super::text;
use crate::clock::Clock;
use crate::net::{Answer, AnswerLimits};
use crate::protocol::{Advertisement, ErrorCode};

/// So long an exchange may take, with all alternatives.
const LONGEST: Duration = Duration::from_secs(60);
const AGENT: &str = concat!("AMTP/1.0 (amtpd/", env!("CARGO_PKG_VERSION"), ")");

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Post {
    /// The route at the gateway.
    pub(super) route: &'static str,
    /// What the body is.
    pub(super) content_type: &'static str,
    /// `gzip`, if the body is compressed.
    pub(super) encoding: Option<&'static str>,
    /// The trace it belongs to.
    pub(super) traceparent: Option<String>,
    /// The body.
    pub(super) body: Bytes,
    /// The largest answer that is read, in bytes.
    pub(super) largest_answer: usize,
}

impl Post {
    /// Asks one gateway after another until one answers.
    ///
    /// # Errors
    /// None answered; says what became of the last one asked.
    pub(super) async fn send(
        &self,
        to: &[&Advertisement],
        settings: &PeerSettings,
        clock: &Clock,
    ) -> Result<Answer, Trouble> {
        let end = clock.monotonic() + LONGEST;
        let mut trouble = unreachable("the peer has no gateway that takes this");
        for gateway in to {
            let time = end.saturating_sub(clock.monotonic());
            if time.is_zero() {
                break;
            }
            let request = self.request(gateway, settings)?;
            let limits = AnswerLimits {
                size: self.largest_answer,
                time,
            };
            match settings.client.send(request, limits).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => trouble = unreachable(&fault.to_string()),
            }
        }
        Err(trouble)
    }

    fn request(
        &self,
        gateway: &Advertisement,
        settings: &PeerSettings,
    ) -> Result<Request<Full<Bytes>>, Trouble> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(gateway.gateway.join(self.route))
            .header(CONTENT_TYPE, self.content_type)
            .header(USER_AGENT, AGENT)
            .header("x-amtp-version", "1.0");
        if let Some(encoding) = self.encoding {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        if let Some(traceparent) = &self.traceparent {
            request = request.header("traceparent", traceparent);
        }
        if let Some(secret) = &settings.authorization {
            let mut value = HeaderValue::from_str(secret.reveal()).map_err(|_| {
                unreachable("the authorization set for this peer is no header value")
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request
            .body(Full::new(self.body.clone()))
            .map_err(|fault| unreachable(&format!("{}: {fault}", gateway.gateway)))
    }
}

fn unreachable(words: &str) -> Trouble {
    text::trouble(ErrorCode::RecipientUnavailable, Fault::Destination, words)
}
