//! The SMTP dialogue of a server (RFC 5321) as a pure state machine: bytes in, replies and questions out.
//!
//! [`Dialogue::feed`] takes what came, [`Dialogue::step`] says what is to be done, one step at a time.
//! It has no clock and does no I/O. Promises:
//!
//! - A command ends with CRLF. One with a bare LF ends the connection; control characters and what is
//!   not ASCII are refused.
//! - Content ends with CRLF.CRLF alone, whatever else looks like an end. Content with a bare CR or
//!   LF, a NUL or an endless line is refused whole, so that nothing can hide in it from who reads it later.
//! - Nothing that was sent together with STARTTLS is read, and nothing said before it counts after it.
//! - Everything is bounded: lines, content, recipients, faults, commands without mail.
//! - Who says LHLO speaks LMTP (RFC 2033): the same, but what becomes of a mail is told once for each of
//!   its recipients.
//! - Offered are SIZE, 8BITMIME, PIPELINING, ENHANCEDSTATUSCODES, CHUNKING and STARTTLS. The parameters
//!   of delivery status notifications (RFC 3461) are understood and have no effect.

mod commands;
mod content;
mod line;
mod reply;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

use crate::protocol::{Address, Domain};
use content::{Content, Progress};
use line::{Input, Line};
pub use reply::Reply;

/// What a dialogue goes by.
#[derive(Debug, Clone)]
pub struct DialogueRules {
    /// How this server names itself.
    pub host: String,
    /// The domain of `postmaster` without one.
    pub main_domain: Domain,
    /// The most bytes of a mail.
    pub size: usize,
    /// The most recipients of a mail.
    pub recipients: usize,
    /// Whether TLS is offered.
    pub tls: bool,
    /// After so many refused commands the connection ends.
    pub faults: usize,
    /// After so many commands since the last mail the connection ends.
    pub commands: usize,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read on: send what is to be sent first.
    More,
    /// Send this.
    Reply(Reply),
    /// Send this, shake hands for TLS, then say [`Dialogue::secured`].
    Secure(Reply),
    /// Find out whether mail for this address is taken, then say [`Dialogue::decide`].
    Recipient(Address),
    /// Take this mail, then say [`Dialogue::answer`].
    Mail(Box<Transaction>),
    /// Send this, then end the connection.
    Close(Reply),
}

/// A mail with its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// How the client named itself.
    pub hello: String,
    /// Where reports about it go; empty where there are to be none. Not checked for more than its form.
    pub reverse_path: String,
    /// For whom it is, each taken by [`Dialogue::decide`]; at least one, none twice.
    pub recipients: Vec<Address>,
    /// The mail as it came, without what hid its dots. Ends of lines are CRLF throughout.
    pub content: Bytes,
}

/// One connection's dialogue.
pub struct Dialogue {
    rules: Arc<DialogueRules>,
    input: Input,
    phase: Phase,
    secured: bool,
    /// Whether LMTP is spoken.
    local: bool,
    hello: Option<String>,
    envelope: Option<Envelope>,
    faults: usize,
    commands: usize,
}

/// A mail that is being announced.
#[derive(Default)]
struct Envelope {
    reverse_path: String,
    recipients: Vec<Address>,
    /// What came of it in chunks.
    chunks: Option<Content>,
    /// A chunk was refused: no other counts until the next mail.
    broken: bool,
}

enum Phase {
    Command,
    /// The content of a mail is coming, until its final dot or the end of a chunk.
    Content(Content),
    /// So many bytes of a refused chunk are passed over.
    Skip(u64),
    /// Whether this recipient is taken is being found out.
    Asked(Address),
    /// A mail for so many recipients is being taken.
    Taken(usize),
    Handshake,
    Over,
}

impl Dialogue {
    /// A dialogue that begins, and the greeting.
    #[must_use]
    pub fn new(rules: Arc<DialogueRules>) -> (Self, Reply) {
        let greeting = Reply::greeting(&rules.host);
        let dialogue = Self {
            rules,
            input: Input::default(),
            phase: Phase::Command,
            secured: false,
            local: false,
            hello: None,
            envelope: None,
            faults: 0,
            commands: 0,
        };
        (dialogue, greeting)
    }

    /// Takes what the client sent. What is not asked for with [`Step::More`] heaps up.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
    }

    /// What is to be done now.
    pub fn step(&mut self) -> Step {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Command => self.command(),
            Phase::Content(content) => self.content(content),
            Phase::Skip(left) => self.skip(left),
            waiting => {
                self.phase = waiting;
                Step::More
            }
        }
    }

    /// Says whether mail for the recipient that was asked about is taken, or why not.
    pub fn decide(&mut self, decision: Result<(), Reply>) -> Reply {
        let Phase::Asked(address) = std::mem::replace(&mut self.phase, Phase::Command) else {
            return Reply::new(503, "5.5.1", "Nothing was asked");
        };
        if let Err(refusal) = decision {
            self.faults += usize::from(refusal.is_permanent());
            return refusal;
        }
        if let Some(envelope) = &mut self.envelope {
            envelope.recipients.push(address);
        }
        Reply::new(250, "2.1.5", "Recipient ok")
    }

    /// Says what became of the mail that was handed over.
    pub fn answer(&mut self, reply: Reply) -> Reply {
        let mut recipients = 1;
        if let Phase::Taken(count) = self.phase {
            recipients = count;
            self.phase = Phase::Command;
        }
        self.commands = 0;
        self.told(reply, recipients)
    }

    /// What becomes of a mail, as its recipients are told.
    fn told(&self, reply: Reply, recipients: usize) -> Reply {
        match self.local {
            true => reply.for_each_of(recipients),
            false => reply,
        }
    }

    /// The handshake is done: everything begins anew.
    pub fn secured(&mut self) {
        self.phase = Phase::Command;
        self.secured = true;
        self.input = Input::default();
        self.local = false;
        self.hello = None;
        self.envelope = None;
    }

    /// Whether a recipient of the mail that is being announced was taken.
    #[must_use]
    pub fn has_recipients(&self) -> bool {
        let envelope = self.envelope.as_ref();
        envelope.is_some_and(|envelope| !envelope.recipients.is_empty())
    }

    /// How many bytes of a mail it holds.
    #[must_use]
    pub fn held(&self) -> usize {
        let chunks = |envelope: &Envelope| envelope.chunks.as_ref().map_or(0, Content::held);
        let coming = match &self.phase {
            Phase::Content(content) => content.held(),
            _ => 0,
        };
        coming + self.envelope.as_ref().map_or(0, chunks)
    }

    /// Whether a mail is coming in.
    #[must_use]
    pub const fn receives(&self) -> bool {
        matches!(self.phase, Phase::Content(_))
    }

    /// Lets go of the mail that is coming in: it is refused for now when it has come.
    pub fn no_room(&mut self) {
        if let Phase::Content(content) = &mut self.phase {
            content.give_up(Reply::new(
                452,
                "4.3.1",
                "Too much mail at a time, come again",
            ));
        }
    }

    fn command(&mut self) -> Step {
        let line = self.input.line();
        if !matches!(line, Line::Missing) {
            self.commands += 1;
            if self.commands > self.rules.commands {
                return self.end(Reply::new(421, "4.7.0", "Too many commands without a mail"));
            }
        }
        self.phase = Phase::Command;
        let step = match line {
            Line::Missing => return Step::More,
            Line::BareFeed => {
                let text = "A line ends with CR and LF, not with LF alone";
                return self.end(Reply::new(554, "5.5.2", text));
            }
            Line::TooLong => Step::Reply(Reply::new(500, "5.5.2", "Line too long")),
            Line::Faulty => {
                Step::Reply(Reply::new(500, "5.5.2", "Control characters in a command"))
            }
            Line::Whole(text) => self.obey(&text),
        };
        // A chunk has begun: it may have come already, and what is said of it is counted there.
        if matches!((&step, &self.phase), (Step::More, Phase::Content(_))) {
            return self.step();
        }
        self.counted(step)
    }

    /// The step, or the end where it is one refusal too many.
    fn counted(&mut self, step: Step) -> Step {
        if let Step::Reply(reply) = &step {
            self.faults += usize::from(reply.is_permanent());
        }
        if self.faults > self.rules.faults {
            return self.end(Reply::new(421, "4.7.0", "Too many errors"));
        }
        step
    }

    fn end(&mut self, reply: Reply) -> Step {
        self.phase = Phase::Over;
        self.envelope = None;
        Step::Close(reply)
    }

    fn content(&mut self, mut content: Content) -> Step {
        match content.take(&mut self.input) {
            Progress::More => {
                self.phase = Phase::Content(content);
                Step::More
            }
            Progress::Chunk => {
                self.phase = Phase::Command;
                match content.refusal() {
                    Some(refusal) => self.break_off(refusal),
                    None => {
                        if let Some(envelope) = &mut self.envelope {
                            envelope.chunks = Some(content);
                        }
                        self.counted(Step::Reply(Reply::new(250, "2.0.0", "Chunk ok")))
                    }
                }
            }
            Progress::Whole => self.whole(content),
        }
    }

    /// A mail has come.
    fn whole(&mut self, content: Content) -> Step {
        self.phase = Phase::Command;
        let envelope = self.envelope.take().unwrap_or_default();
        let recipients = envelope.recipients.len();
        match content.finish() {
            Err(refusal) => self.counted(Step::Reply(self.told(refusal, recipients))),
            Ok(content) => {
                self.phase = Phase::Taken(recipients);
                Step::Mail(Box::new(Transaction {
                    hello: self.hello.clone().unwrap_or_default(),
                    reverse_path: envelope.reverse_path,
                    recipients: envelope.recipients,
                    content,
                }))
            }
        }
    }

    /// A chunk is refused, and with it the mail.
    fn break_off(&mut self, refusal: Reply) -> Step {
        if let Some(envelope) = &mut self.envelope {
            envelope.chunks = None;
            envelope.broken = true;
        }
        self.counted(Step::Reply(refusal))
    }

    fn skip(&mut self, left: u64) -> Step {
        let left = left - self.input.pass_over(left);
        self.phase = match left {
            0 => Phase::Command,
            left => Phase::Skip(left),
        };
        match left {
            0 => self.step(),
            _ => Step::More,
        }
    }
}
