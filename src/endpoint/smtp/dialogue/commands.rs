//! What each command does.

use std::borrow::Cow;

use smtp_proto::{
    Error, MAIL_BODY_BINARYMIME, MAIL_CONPERM, MAIL_REQUIRETLS, MAIL_SMTPUTF8, MailFrom,
    RCPT_CONNEG, RcptTo, Request,
};

use super::content::{Content, too_large};
use super::{Dialogue, Envelope, Phase, Reply, Step};
use crate::protocol::Address;

/// What only other protocols begin with: somebody makes a browser talk to us.
const FOREIGN: [&[u8]; 6] = [
    b"GET ",
    b"POST ",
    b"PUT ",
    b"CONNECT ",
    b"OPTIONS ",
    b"HOST:",
];

impl Dialogue {
    /// Does what a command says; `line` has its CRLF.
    pub(super) fn obey(&mut self, line: &[u8]) -> Step {
        if FOREIGN.iter().any(|word| begins_with(line, word)) {
            return self.end(Reply::new(554, "5.5.1", "This is SMTP"));
        }
        if !line.is_ascii() {
            return refuse(553, "5.6.7", "Only ASCII is understood here");
        }
        match Request::parse(&mut line.iter()) {
            Ok(request) => self.fulfil(request, line),
            Err(fault) => Step::Reply(faulty(&fault)),
        }
    }

    fn fulfil(&mut self, request: Request<Cow<'_, str>>, line: &[u8]) -> Step {
        match request {
            Request::Ehlo { host } => self.greet(&host, Greeting::Extended),
            Request::Helo { host } => self.greet(&host, Greeting::Plain),
            Request::Lhlo { host } => self.greet(&host, Greeting::Local),
            Request::StartTls => self.start_tls(),
            Request::Mail { .. } if announces_too_much(line) => Step::Reply(too_large()),
            Request::Mail { from } => self.mail(&from),
            Request::Rcpt { to } => self.recipient(&to, line),
            Request::Data => self.data(),
            Request::Bdat { .. } if has_long_number(line) => self.end(too_large()),
            Request::Bdat {
                chunk_size,
                is_last,
            } => self.chunk(u64::try_from(chunk_size).unwrap_or(u64::MAX), is_last),
            Request::Rset => {
                self.envelope = None;
                reply(250, "2.0.0", "Forgotten")
            }
            Request::Noop { .. } => reply(250, "2.0.0", "Nothing done"),
            Request::Vrfy { .. } => reply(252, "2.5.2", "Not told; send the mail and see"),
            Request::Help { .. } => reply(214, "2.0.0", "See RFC 5321; postmaster is a person"),
            Request::Quit => self.end(Reply::new(221, "2.0.0", "Goodbye")),
            Request::Auth { .. }
            | Request::Expn { .. }
            | Request::Etrn { .. }
            | Request::Atrn { .. }
            | Request::Burl { .. } => refuse(502, "5.5.1", "Not offered here"),
        }
    }

    fn greet(&mut self, host: &str, greeting: Greeting) -> Step {
        self.hello = Some(host.to_owned());
        self.envelope = None;
        self.local = matches!(greeting, Greeting::Local);
        let own = self.rules.host.clone();
        Step::Reply(match greeting {
            Greeting::Plain => Reply::new(250, "", own),
            Greeting::Extended | Greeting::Local => {
                let mut lines: Vec<Cow<'static, str>> = vec![
                    own.into(),
                    "PIPELINING".into(),
                    format!("SIZE {}", self.rules.size).into(),
                    "8BITMIME".into(),
                    "ENHANCEDSTATUSCODES".into(),
                    "CHUNKING".into(),
                ];
                if self.rules.tls && !self.secured {
                    lines.push("STARTTLS".into());
                }
                Reply::of_lines(250, lines)
            }
        })
    }

    fn start_tls(&mut self) -> Step {
        if self.secured {
            return refuse(503, "5.5.1", "TLS is on already");
        }
        if !self.rules.tls {
            return refuse(502, "5.5.1", "TLS is not offered here");
        }
        if !self.input.is_empty() {
            let text = "Nothing may be sent after STARTTLS before the handshake";
            return self.end(Reply::new(554, "5.5.1", text));
        }
        self.phase = Phase::Handshake;
        Step::Secure(Reply::new(220, "2.0.0", "Shake hands"))
    }

    fn mail(&mut self, from: &MailFrom<Cow<'_, str>>) -> Step {
        if self.hello.is_none() {
            return refuse(503, "5.5.1", "Say EHLO, HELO or LHLO first");
        }
        if self.envelope.is_some() {
            return refuse(503, "5.5.1", "One mail at a time; RSET forgets it");
        }
        let strange = MAIL_BODY_BINARYMIME | MAIL_SMTPUTF8 | MAIL_REQUIRETLS | MAIL_CONPERM;
        let strange = from.flags & strange != 0
            || (from.by, from.mt_priority) != (0, 0)
            || (from.hold_for, from.hold_until) != (0, 0)
            || from.trans_id.is_some()
            || from.solicit.is_some()
            || from.mtrk.is_some()
            || from.auth.is_some();
        if strange {
            return refuse(
                555,
                "5.5.4",
                "A parameter asks for what is not offered here",
            );
        }
        if from.size > self.rules.size {
            return Step::Reply(too_large());
        }
        self.envelope = Some(Envelope {
            reverse_path: from.address.clone().into_owned(),
            ..Envelope::default()
        });
        reply(250, "2.1.0", "Sender ok")
    }

    fn recipient(&mut self, to: &RcptTo<Cow<'_, str>>, line: &[u8]) -> Step {
        let Some(envelope) = &self.envelope else {
            return refuse(503, "5.5.1", "Say MAIL first");
        };
        if envelope.chunks.is_some() || envelope.broken {
            return refuse(503, "5.5.1", "The mail has begun already");
        }
        if to.rrvs != 0 || to.flags & RCPT_CONNEG != 0 {
            return refuse(
                555,
                "5.5.4",
                "A parameter asks for what is not offered here",
            );
        }
        let address = match to.address.as_ref() {
            // The parser gives this for `<>` too.
            "" if line
                .windows(12)
                .any(|it| it.eq_ignore_ascii_case(b"<postmaster>")) =>
            {
                format!("postmaster@{}", self.rules.main_domain).into()
            }
            address => Cow::Borrowed(address),
        };
        let Ok(address) = Address::parse(&address) else {
            return refuse(553, "5.1.3", "This is no address that could be ours");
        };
        if envelope.recipients.contains(&address) {
            return reply(250, "2.1.5", "Recipient ok");
        }
        if envelope.recipients.len() >= self.rules.recipients {
            return reply(
                452,
                "4.5.3",
                "Too many recipients, send the mail to the others apart",
            );
        }
        self.phase = Phase::Asked(address.clone());
        Step::Recipient(address)
    }

    fn data(&mut self) -> Step {
        let Some(envelope) = &self.envelope else {
            return refuse(503, "5.5.1", "Say MAIL first");
        };
        if envelope.chunks.is_some() || envelope.broken {
            return refuse(503, "5.5.1", "This mail comes in chunks");
        }
        if envelope.recipients.is_empty() {
            return refuse(554, "5.5.1", "No recipient is taken");
        }
        self.phase = Phase::Content(Content::by_dot(self.rules.size));
        reply(
            354,
            "",
            "Send the mail, end it with a dot on a line of its own",
        )
    }

    /// The bytes of a chunk follow whatever is answered, so they are read in any case.
    fn chunk(&mut self, size: u64, last: bool) -> Step {
        let limit = self.rules.size;
        let most = u64::try_from(limit).unwrap_or(u64::MAX);
        if size > most.saturating_mul(2) {
            return self.end(too_large());
        }
        let refusal = match &mut self.envelope {
            None => Some(Reply::new(503, "5.5.1", "Say MAIL first")),
            Some(envelope) if envelope.broken => Some(Reply::new(
                503,
                "5.5.1",
                "A chunk of this mail was refused; say RSET",
            )),
            Some(envelope) if envelope.recipients.is_empty() => {
                envelope.broken = true;
                Some(Reply::new(554, "5.5.1", "No recipient is taken"))
            }
            Some(envelope) => {
                let before = envelope.chunks.take();
                let content = Content::by_chunk(before, limit, (size, last));
                self.phase = Phase::Content(content);
                return Step::More;
            }
        };
        self.phase = Phase::Skip(size);
        Step::Reply(refusal.unwrap_or_else(too_large))
    }
}

/// Which of the greetings it is.
enum Greeting {
    Plain,
    Extended,
    Local,
}

/// Whether there is a number that no size has. The parser does not count that far.
fn has_long_number(text: &[u8]) -> bool {
    let mut numbers = text.split(|byte| !byte.is_ascii_digit());
    numbers.any(|number| number.len() > 15)
}

/// Whether `SIZE` is such a number.
fn announces_too_much(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ');
    words.any(|word| begins_with(word, b"SIZE=") && has_long_number(word))
}

fn begins_with(line: &[u8], word: &[u8]) -> bool {
    line.get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word))
}

fn reply(code: u16, enhanced: &'static str, text: &'static str) -> Step {
    Step::Reply(Reply::new(code, enhanced, text))
}

/// The same of something that is not done.
fn refuse(code: u16, enhanced: &'static str, text: &'static str) -> Step {
    reply(code, enhanced, text)
}

fn faulty(fault: &Error) -> Reply {
    match fault {
        Error::InvalidSenderAddress => Reply::new(553, "5.1.7", "The sender is no address"),
        Error::InvalidRecipientAddress => Reply::new(553, "5.1.3", "The recipient is no address"),
        Error::SyntaxError { syntax } => Reply::new(501, "5.5.4", format!("Expected: {syntax}")),
        Error::InvalidParameter { param } => {
            Reply::new(501, "5.5.4", format!("The parameter {param} is malformed"))
        }
        Error::UnsupportedParameter { .. } => {
            Reply::new(555, "5.5.4", "A parameter is not understood")
        }
        Error::ResponseTooLong => Reply::new(500, "5.5.2", "Line too long"),
        Error::UnknownCommand | Error::NeedsMoreData { .. } | Error::InvalidResponse { .. } => {
            Reply::new(500, "5.5.1", "Unknown command")
        }
    }
}
