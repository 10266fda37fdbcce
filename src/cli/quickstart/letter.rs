//! The mail program of a person, and the server that hands her mail on: just enough to answer a mail.

use anyhow::{Result, ensure};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite,
    AsyncWriteExt as _, BufReader,
};
use uuid::Uuid;

use crate::protocol::Timestamp;

/// More than a server says, in bytes.
const MOST_SAID: u64 = 64 * 1024;

/// An answer to a mail.
pub(super) struct Letter<'a> {
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    /// That of the mail it answers.
    pub(super) subject: &'a str,
    /// The `Message-ID` of that mail, without angle brackets.
    pub(super) answers: &'a str,
    /// Lines without a dot at their beginning.
    pub(super) text: &'a str,
}

impl Letter<'_> {
    /// Hands it over to a mail server; gives what the server says last.
    ///
    /// # Errors
    /// What it said instead.
    pub(super) async fn hand_over(
        &self,
        line: impl AsyncRead + AsyncWrite,
        now: Timestamp,
    ) -> Result<String> {
        let (read, mut write) = tokio::io::split(line);
        let mut read = BufReader::new(read.take(MOST_SAID));
        heard(&mut read, "220").await?;
        for (command, expected) in [
            ("EHLO mail.people.test".to_owned(), "250"),
            (format!("MAIL FROM:<{}>", self.from), "250"),
            (format!("RCPT TO:<{}>", self.to), "250"),
            ("DATA".to_owned(), "354"),
        ] {
            write.write_all(format!("{command}\r\n").as_bytes()).await?;
            heard(&mut read, expected).await?;
        }
        write.write_all(self.written(now).as_bytes()).await?;
        let said = heard(&mut read, "250").await?;
        write.write_all(b"QUIT\r\n").await?;
        Ok(said)
    }

    fn written(&self, now: Timestamp) -> String {
        let Self {
            from,
            to,
            subject,
            answers,
            text,
        } = self;
        let moment = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or_default();
        let moment = moment.to_zoned(jiff::tz::TimeZone::UTC);
        let date = jiff::fmt::rfc2822::to_string(&moment).unwrap_or_default();
        format!(
            "From: Dora <{from}>\r\nTo: <{to}>\r\nSubject: Re: {subject}\r\nDate: {date}\r\n\
             Message-ID: <{id}@people.test>\r\nIn-Reply-To: <{answers}>\r\n\
             References: <{answers}>\r\n\r\n{text}\r\n.\r\n",
            id = Uuid::new_v4()
        )
    }
}

/// The last line of what the server says.
async fn heard(read: &mut (impl AsyncBufRead + Unpin), expected: &str) -> Result<String> {
    loop {
        let mut line = String::new();
        read.read_line(&mut line).await?;
        let said = line.trim_end();
        ensure!(
            said.starts_with(expected),
            "the mail server says {said:?}, not {expected}"
        );
        if said.as_bytes().get(3) != Some(&b'-') {
            return Ok(said.to_owned());
        }
    }
}
