//! What a peer's answer means for each recipient (AMTP 1.0, section 5.3).
//!
//! - A 2xx counts for a recipient unless the body lists recipients and does not name this one as
//!   taken under our id. A recipient that failed with a code has its own verdict. Whatever else is
//!   listed comes out of the peer's table of duplicates: the request is repeated under a fresh
//!   identity. Exactly 200 without a `message_id` is no peer's answer and is temporary.
//! - A 4xx with an AMTP error is final, and so is 413. Where several recipients were asked for and
//!   none is named, each is asked for alone: some gateways refuse what names more than one.
//! - A 4xx without one comes from something in between: temporary, and under a fresh identity,
//!   because some gateways answer a failure again from memory.
//! - A refused signature is temporary for an hour: keys take time to spread.
//! - Everything else is temporary. What is unknown defers.
//!
//! A recipient that was refused for a time is tried again under a fresh identity as well.

mod body;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use super::super::{Copy, Fault, Trouble};
use super::text::{self, clean};
use crate::protocol::{ErrorCode, MessageId, Timestamp};
use crate::transport::after::retry_after;
use body::{Answered, Complaint, Report};

/// How long a refused signature may become a good one.
const SIGNATURES_SETTLE: Duration = Duration::from_secs(3_600);

/// An answer as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    /// The status.
    pub(super) status: StatusCode,
    /// The headers.
    pub(super) headers: &'a HeaderMap,
    /// The pause it asks for otherwise, as a line of a batch does.
    pub(super) retry_after: Option<Duration>,
    /// The whole body.
    pub(super) body: &'a Bytes,
    /// The address it came from.
    pub(super) remote: Option<&'a str>,
}

/// What was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The id on the wire.
    pub(super) id: &'a MessageId,
    /// For whom.
    pub(super) copies: &'a [Copy],
    /// When the answer came.
    pub(super) now: Timestamp,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// One verdict a copy, in their order.
    Each(Vec<Verdict>),
    /// The peer does not take this request for several recipients: ask for each alone.
    Split,
}

impl Judgement {
    /// Whether something of the same request will be sent again as it is.
    pub(super) fn defers(&self) -> bool {
        let again = |verdict: &Verdict| matches!(verdict, Verdict::Deferred(_));
        matches!(self, Self::Each(verdicts) if verdicts.iter().any(again))
    }
}

/// What an answer means for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The peer has it.
    Delivered {
        /// The reply that came with the answer, as raw JSON.
        reply: Option<Bytes>,
    },
    /// The peer answered another request: ask again under a fresh identity.
    Repeat,
    /// Not now, under the same identity.
    Deferred(Trouble),
    /// Not now, and under a fresh identity then.
    Renewed(Trouble),
    /// Not ever.
    Failed(Trouble),
}

/// Judges an answer.
pub(super) fn judge(answer: &Answer<'_>, asked: &Asked<'_>) -> Judgement {
    let said = Answered::read(answer.body);
    let case = Case {
        answer,
        asked,
        said: &said,
    };
    match answer.status.as_u16() {
        200..=299 => case.taken(),
        300..=399 => case.redirected(),
        413 => case.too_large(),
        408 | 425 | 429 => case.later(),
        400..=499 => match &said.error {
            Some(error) => case.refused(error),
            None => case.unclear(),
        },
        500..=599 => case.broken(),
        _ => case.all(&Verdict::Deferred(case.trouble(
            ErrorCode::TemporaryFailure,
            Fault::Message,
            "the peer answers with a status that is none",
        ))),
    }
}

struct Case<'a> {
    answer: &'a Answer<'a>,
    asked: &'a Asked<'a>,
    said: &'a Answered<'a>,
}

impl Case<'_> {
    /// A 2xx.
    fn taken(&self) -> Judgement {
        if self.answer.status == StatusCode::OK && self.said.message_id.is_none() {
            return self.all(&Verdict::Deferred(self.trouble(
                ErrorCode::TemporaryFailure,
                Fault::Message,
                "the peer answers 200 without a message_id: is there something else at its address?",
            )));
        }
        let mut reply = self
            .said
            .reply
            .map(|place| self.answer.body.slice_ref(place));
        Judgement::Each(self.each(|copy| match self.taken_for(copy) {
            Verdict::Delivered { .. } => Verdict::Delivered {
                reply: reply.take(),
            },
            other => other,
        }))
    }

    fn taken_for(&self, copy: &Copy) -> Verdict {
        let Some(reports) = &self.said.recipients else {
            return Verdict::Delivered { reply: None };
        };
        if !self.is_ours() {
            return Verdict::Repeat;
        }
        match Report::find(reports, &copy.recipient) {
            Some(report) if !report.failed => Verdict::Delivered { reply: None },
            Some(Report {
                code: Some(code), ..
            }) => self.own_verdict(
                copy,
                code,
                ErrorCode::parse(code).map_or(Kind::Later, Kind::of),
            ),
            _ => Verdict::Repeat,
        }
    }

    /// Whether the answer is about our request. A peer that names no id does not say otherwise;
    /// ids on the wire are UUIDs, which some write in another case.
    fn is_ours(&self) -> bool {
        let named = self.said.message_id.as_deref();
        named.is_none_or(|id| id.eq_ignore_ascii_case(self.asked.id.as_str()))
    }

    /// What a code reported for one recipient means.
    fn own_verdict(&self, copy: &Copy, code: &str, kind: Kind) -> Verdict {
        let words = format!("the peer refuses this recipient: {}", clean(code, 80));
        let trouble = self.trouble(nearest(code), Fault::Message, &words);
        match kind {
            Kind::Signature => self.unless_settled(copy, trouble),
            Kind::Final => Verdict::Failed(trouble),
            Kind::Later => Verdict::Renewed(trouble),
        }
    }

    fn unless_settled(&self, copy: &Copy, trouble: Trouble) -> Verdict {
        let first = copy.first_attempt.unwrap_or(self.asked.now);
        if self.asked.now.since(first) < SIGNATURES_SETTLE {
            Verdict::Renewed(trouble)
        } else {
            Verdict::Failed(trouble)
        }
    }

    fn redirected(&self) -> Judgement {
        let to = self.answer.headers.get(header::LOCATION);
        let to = to.map(|to| String::from_utf8_lossy(to.as_bytes()));
        let to = to.map_or("nowhere".to_owned(), |to| text::without_secrets(&to));
        let words = format!(
            "the peer redirects to {to} ({}); redirects are never followed: the _amtp record must name the final address",
            self.answer.status.as_u16()
        );
        self.all(&Verdict::Deferred(self.trouble(
            ErrorCode::RecipientUnavailable,
            Fault::Destination,
            &words,
        )))
    }

    fn too_large(&self) -> Judgement {
        let words = self.words("the peer finds the message too large");
        self.all(&Verdict::Failed(self.trouble(
            ErrorCode::MessageTooLarge,
            Fault::Message,
            &words,
        )))
    }

    /// 408, 425, 429.
    fn later(&self) -> Judgement {
        let code = match self.answer.status {
            StatusCode::TOO_MANY_REQUESTS => ErrorCode::RateLimitExceeded,
            _ => ErrorCode::TemporaryFailure,
        };
        let words = self.words("the peer asks to come again");
        self.all(&Verdict::Deferred(self.trouble(
            code,
            Fault::Destination,
            &words,
        )))
    }

    /// A 4xx with an AMTP error.
    fn refused(&self, error: &Complaint<'_>) -> Judgement {
        let copies = self.asked.copies;
        if copies.len() > 1 && !copies.iter().any(|copy| error.names(&copy.recipient)) {
            return Judgement::Split;
        }
        let whole = match Kind::of_word(&error.code) {
            Kind::Signature if self.answer.status == StatusCode::FORBIDDEN => Kind::Signature,
            _ => Kind::Final,
        };
        Judgement::Each(self.each(|copy| match error.code_for(&copy.recipient) {
            Some(code) => {
                let kind = ErrorCode::parse(code).map_or(Kind::Final, Kind::of);
                self.own_verdict(copy, code, kind)
            }
            None => {
                let words = self.words("the peer refuses the message");
                let trouble = self.trouble(nearest(&error.code), Fault::Message, &words);
                match whole {
                    Kind::Signature => self.unless_settled(copy, trouble),
                    _ => Verdict::Failed(trouble),
                }
            }
        }))
    }

    /// A 4xx without an AMTP error.
    fn unclear(&self) -> Judgement {
        let reports = self.said.recipients.as_deref().unwrap_or_default();
        let listed = if self.is_ours() { reports } else { &[] };
        let words = self.words("the peer, or something before it, refuses without an AMTP error");
        Judgement::Each(self.each(|copy| {
            let report = Report::find(listed, &copy.recipient);
            if report.is_some_and(|report| !report.failed) {
                return Verdict::Delivered { reply: None };
            }
            let code = report.and_then(|report| report.code.as_deref());
            let code = code.and_then(ErrorCode::parse);
            Verdict::Renewed(self.trouble(
                code.unwrap_or(ErrorCode::TemporaryFailure),
                Fault::Message,
                &words,
            ))
        }))
    }

    /// A 5xx. The recipients it refuses for good need not wait for the others.
    fn broken(&self) -> Judgement {
        let error = self.said.error.as_ref();
        let known = error.and_then(|error| ErrorCode::parse(&error.code));
        let fault = match (self.answer.status.as_u16(), known) {
            (502 | 504, _)
            | (503, None | Some(ErrorCode::TemporaryFailure | ErrorCode::RateLimitExceeded)) => {
                Fault::Destination
            }
            _ => Fault::Message,
        };
        let code = known.unwrap_or(ErrorCode::TemporaryFailure);
        let trouble = self.trouble(code, fault, &self.words("the peer is in trouble"));
        Judgement::Each(self.each(|copy| {
            let own = error.and_then(|error| error.code_for(&copy.recipient));
            match own.map(|code| (code, ErrorCode::parse(code).map_or(Kind::Later, Kind::of))) {
                Some((code, Kind::Final)) => self.own_verdict(copy, code, Kind::Final),
                _ => Verdict::Deferred(trouble.clone()),
            }
        }))
    }

    fn all(&self, verdict: &Verdict) -> Judgement {
        Judgement::Each(self.each(|_| verdict.clone()))
    }

    fn each(&self, verdict: impl FnMut(&Copy) -> Verdict) -> Vec<Verdict> {
        self.asked.copies.iter().map(verdict).collect()
    }

    /// What happened, with the status and the peer's own words.
    fn words(&self, what: &str) -> String {
        let status = self.answer.status.as_u16();
        match &self.said.error {
            Some(error) => {
                let (code, message) = (clean(&error.code, 80), clean(&error.message, 280));
                let colon = if message.is_empty() { "" } else { ": " };
                format!("{what} ({status}): {code}{colon}{message}")
            }
            None => format!("{what} ({status})"),
        }
    }

    fn trouble(&self, code: ErrorCode, fault: Fault, words: &str) -> Trouble {
        Trouble {
            retry_after: { self.answer.retry_after }
                .or_else(|| retry_after(self.answer.headers, self.asked.now)),
            ..text::trouble(code, fault, words)
        }
    }
}

/// What a code says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Signature,
    Final,
    Later,
}

impl Kind {
    fn of(code: ErrorCode) -> Self {
        match code.http_status() {
            _ if Self::of_word(code.as_str()) == Self::Signature => Self::Signature,
            408 | 425 | 429 => Self::Later,
            400..=499 => Self::Final,
            _ => Self::Later,
        }
    }

    fn of_word(code: &str) -> Self {
        if code.starts_with("SIGNATURE_") {
            Self::Signature
        } else {
            Self::Final
        }
    }
}

/// The code itself, or the one that says least about a code outside the closed set.
fn nearest(code: &str) -> ErrorCode {
    ErrorCode::parse(code).unwrap_or(ErrorCode::RecipientUnavailable)
}

#[cfg(test)]
mod tests;
