//! One conversation with a mail server, from its greeting to our QUIT (RFC 5321, 3207, 4954).
//!
//! - Every answer is bounded in lines, bytes and time. What does not look like an answer ends the
//!   conversation.
//! - What came before TLS counts for nothing after it: a server that speaks on behind its answer to
//!   STARTTLS is not believed.
//! - One recipient a transaction: what is said of one concerns nobody else.
//! - Passwords go over TLS only, and stand in no log.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::reply::{Abilities, LONGEST_LINE, Reading, Reply};
use crate::clock::Clock;

/// For an answer to a command (RFC 5321, section 4.5.3.2).
const COMMAND: Duration = Duration::from_secs(300);
/// For handing a whole mail over.
const DATA: Duration = Duration::from_secs(600);
/// For the last answer: who gives up here may send twice.
const FINAL: Duration = Duration::from_secs(600);
/// For a goodbye nobody waits for.
const GOODBYE: Duration = Duration::from_secs(5);

/// A step of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Greeting,
    Hello,
    StartTls,
    Login,
    Sender,
    Recipient,
    Content,
    End,
}

impl Step {
    /// The word for it in texts.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Greeting => "its greeting",
            Self::Hello => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Login => "AUTH",
            Self::Sender => "MAIL",
            Self::Recipient => "RCPT",
            Self::Content => "DATA",
            Self::End => "the end of the mail",
        }
    }
}

/// How far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server said no.
    Refused(Step, Reply),
    /// The connection broke, or what came is no answer.
    Broken(Step, String),
    /// The mail is larger than the server takes.
    TooLarge { size: usize, limit: u64 },
}

/// Something to talk over.
pub(super) trait Line: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Line for T {}

/// A conversation under way.
pub(super) struct Dialogue<L> {
    line: L,
    /// What was read and not used yet.
    held: Vec<u8>,
    clock: Clock,
    pub(super) able: Abilities,
}

/// One mail to one recipient.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending<'a> {
    /// The envelope sender; empty for a notice.
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) mail: &'a [u8],
}

impl<L: Line> Dialogue<L> {
    pub(super) fn over(line: L, clock: Clock) -> Self {
        Self {
            line,
            held: Vec::new(),
            clock,
            able: Abilities::default(),
        }
    }

    /// Hears the server's greeting.
    pub(super) async fn greeting(&mut self) -> Result<(), Fault> {
        let reply = self.answer(Step::Greeting, COMMAND).await?;
        positive(Step::Greeting, reply).map(drop)
    }

    /// Says who we are, and hears what the server can do.
    pub(super) async fn hello(&mut self, host: &str) -> Result<(), Fault> {
        let reply = self.ask(Step::Hello, &format!("EHLO {host}")).await?;
        if reply.is_permanent() {
            let reply = self.ask(Step::Hello, &format!("HELO {host}")).await?;
            self.able = Abilities::default();
            return positive(Step::Hello, reply).map(drop);
        }
        self.able = Abilities::read(&positive(Step::Hello, reply)?);
        Ok(())
    }

    /// Logs in.
    pub(super) async fn log_in(&mut self, user: &str, password: &str) -> Result<(), Fault> {
        let step = Step::Login;
        let reply = if self.able.plain || !self.able.login {
            let secret = STANDARD.encode(format!("\0{user}\0{password}"));
            self.ask(step, &format!("AUTH PLAIN {secret}")).await?
        } else {
            let mut reply = self.ask(step, "AUTH LOGIN").await?;
            for word in [user, password] {
                if reply.code != 334 {
                    return Err(Fault::Refused(step, reply));
                }
                reply = self.ask(step, &STANDARD.encode(word)).await?;
            }
            reply
        };
        positive(step, reply).map(drop)
    }

    /// Hands over one mail to one recipient.
    pub(super) async fn send(&mut self, it: &Sending<'_>) -> Result<Reply, Fault> {
        let odd = |byte: u8| byte <= b' ' || byte == 0x7f || b"<>".contains(&byte);
        if it.from.bytes().chain(it.to.bytes()).any(odd) {
            let cause = "an address cannot be written in a command";
            return Err(Fault::Broken(Step::Sender, cause.to_owned()));
        }
        let size = it.mail.len();
        if let Some(limit) = self.able.size
            && size as u64 > limit
        {
            return Err(Fault::TooLarge { size, limit });
        }
        let mut command = format!("MAIL FROM:<{}>", it.from);
        if self.able.size.is_some() {
            command += &format!(" SIZE={size}");
        }
        if self.able.eight_bit && !it.mail.is_ascii() {
            command += " BODY=8BITMIME";
        }
        let reply = self.ask(Step::Sender, &command).await?;
        positive(Step::Sender, reply)?;
        let command = format!("RCPT TO:<{}>", it.to);
        let reply = self.ask(Step::Recipient, &command).await?;
        positive(Step::Recipient, reply)?;
        let reply = self.ask(Step::Content, "DATA").await?;
        if reply.code != 354 {
            return Err(Fault::Refused(Step::Content, reply));
        }
        self.write(Step::Content, &stuffed(it.mail), DATA).await?;
        let reply = self.answer(Step::End, FINAL).await?;
        positive(Step::End, reply)
    }

    /// Forgets a transaction that was begun.
    pub(super) async fn reset(&mut self) -> Result<(), Fault> {
        let reply = self.ask(Step::Hello, "RSET").await?;
        positive(Step::Hello, reply).map(drop)
    }

    /// Says goodbye, and waits a moment for it to be heard.
    pub(super) async fn quit(mut self) {
        let clock = self.clock.clone();
        let goodbye = async {
            if self.write(Step::Hello, b"QUIT\r\n", GOODBYE).await.is_ok() {
                drop(self.answer(Step::Hello, GOODBYE).await);
            }
            drop(self.line.shutdown().await);
        };
        clock.within(GOODBYE, goodbye).await;
    }

    async fn ask(&mut self, step: Step, command: &str) -> Result<Reply, Fault> {
        if command.contains(['\r', '\n', '\0']) {
            return Err(Fault::Broken(
                step,
                "a command of ours has several lines".to_owned(),
            ));
        }
        self.write(step, format!("{command}\r\n").as_bytes(), COMMAND)
            .await?;
        self.answer(step, COMMAND).await
    }

    async fn write(&mut self, step: Step, bytes: &[u8], time: Duration) -> Result<(), Fault> {
        let clock = self.clock.clone();
        let writing = async {
            self.line.write_all(bytes).await?;
            self.line.flush().await
        };
        match clock.within(time, writing).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(Fault::Broken(step, error.to_string())),
            None => Err(Fault::Broken(
                step,
                format!("it takes nothing for {} s", time.as_secs()),
            )),
        }
    }

    /// One whole answer within a time.
    async fn answer(&mut self, step: Step, time: Duration) -> Result<Reply, Fault> {
        let clock = self.clock.clone();
        match clock.within(time, self.read_answer()).await {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(cause)) => Err(Fault::Broken(step, cause)),
            None => Err(Fault::Broken(
                step,
                format!("no answer within {} s", time.as_secs()),
            )),
        }
    }

    async fn read_answer(&mut self) -> Result<Reply, String> {
        let mut reading = Reading::default();
        loop {
            let line = self.read_line().await?;
            let heard = reading.line(&line);
            if let Some(reply) = heard.map_err(|_| "what it says is no answer".to_owned())? {
                return Ok(reply);
            }
        }
    }

    async fn read_line(&mut self) -> Result<Vec<u8>, String> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.held.drain(..=end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            if self.held.len() > LONGEST_LINE {
                return Err("a line of its answer is too long".to_owned());
            }
            let mut bytes = [0; 1_024];
            match self.line.read(&mut bytes).await {
                Ok(0) => return Err("it closed the connection".to_owned()),
                Ok(count) => self.held.extend_from_slice(&bytes[..count]),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

impl Dialogue<TcpStream> {
    /// The same over any line.
    pub(super) fn boxed(self) -> Dialogue<Box<dyn Line>> {
        Dialogue {
            line: Box::new(self.line),
            held: self.held,
            clock: self.clock,
            able: self.able,
        }
    }

    /// Asks for TLS; gives the bare connection back, on which the handshake comes next.
    pub(super) async fn start_tls(mut self) -> Result<TcpStream, Fault> {
        let reply = self.ask(Step::StartTls, "STARTTLS").await?;
        positive(Step::StartTls, reply)?;
        if !self.held.is_empty() {
            let cause = "it speaks on before TLS begins: somebody may be in between";
            return Err(Fault::Broken(Step::StartTls, cause.to_owned()));
        }
        Ok(self.line)
    }
}

fn positive(step: Step, reply: Reply) -> Result<Reply, Fault> {
    match reply.is_positive() {
        true => Ok(reply),
        false => Err(Fault::Refused(step, reply)),
    }
}

/// A mail as it goes over the line: lines end with CRLF and nothing else, a dot at the beginning of a
/// line is doubled, and the end of the mail is where the dot alone stands.
pub(super) fn stuffed(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + mail.len() / 64 + 8);
    let mut at_start = true;
    let mut bytes = mail.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' | b'\n' => {
                if byte == b'\r' && bytes.peek() == Some(&b'\n') {
                    bytes.next();
                }
                out.extend_from_slice(b"\r\n");
                at_start = true;
                continue;
            }
            b'.' if at_start => out.extend_from_slice(b".."),
            other => out.push(other),
        }
        at_start = false;
    }
    if !at_start {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_mail_ends_it_early() {
        for (mail, sent) in [
            ("a\r\nb\r\n", "a\r\nb\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            ("", ".\r\n"),
            (".", "..\r\n.\r\n"),
            ("a\r\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r.\rb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r\n.\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r\r\n.b", "a\r\n\r\n..b\r\n.\r\n"),
        ] {
            let out = String::from_utf8(stuffed(mail.as_bytes())).unwrap();
            assert_eq!(out, sent, "{mail:?}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        #[test]
        fn whatever_a_mail_holds_it_ends_once_and_its_lines_end_as_they_should(
            mail in proptest::collection::vec(proptest::sample::select(b"\r\n.a".to_vec()), 0..40)
        ) {
            let out = stuffed(&mail);
            let text = String::from_utf8(out).unwrap();
            let bare = text.replace("\r\n", "");
            proptest::prop_assert!(!bare.contains(['\r', '\n']), "{text:?}");
            let lines: Vec<&str> = text.split("\r\n").collect();
            let ends = lines.iter().filter(|line| **line == ".").count();
            proptest::prop_assert_eq!(ends, 1);
            proptest::prop_assert_eq!(&lines[lines.len() - 2..], [".", ""]);
        }
    }
}
