//! A bounce for a sender that came by mail: a delivery report as mail servers write it (RFC 3464).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::protocol::{Address, Bounce, Domain, Message, MessageId, Timestamp};
use crate::transport::text::clean;

/// What a report is made of.
pub(super) struct Reporting<'a> {
    pub(super) bounce: &'a Bounce,
    /// The message that carries the bounce.
    pub(super) message: &'a Message,
    pub(super) message_id: &'a MessageId,
    /// The name of this host.
    pub(super) host: &'a Domain,
    /// Who is told.
    pub(super) recipient: &'a Address,
    /// The `Message-ID` of the mail that failed, without angle brackets.
    pub(super) original: Option<&'a str>,
    pub(super) date: Timestamp,
}

/// The whole report, in 7-bit ASCII.
pub(super) fn write(it: &Reporting<'_>) -> Vec<u8> {
    let domain = it.message.sender().domain();
    let boundary = format!(
        "=_{}_=",
        it.message_id
            .as_str()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "x")
    );
    let mut mail = String::with_capacity(2_048);
    let mut line = |text: &str| {
        mail.push_str(text);
        mail.push_str("\r\n");
    };
    line(&format!("From: Mail delivery <{}>", it.message.sender()));
    line(&format!("To: <{}>", it.recipient));
    line("Subject: Undelivered mail returned to sender");
    line(&format!("Date: {}", date(it.date)));
    line(&format!(
        "Message-ID: <{}>",
        crate::mime::mapping::write_message_id(it.message_id, domain)
    ));
    if let Some(original) = original(it) {
        line(&format!("In-Reply-To: <{original}>"));
        line(&format!("References: <{original}>"));
    }
    line("Auto-Submitted: auto-replied");
    line(&format!("X-AMTP-Hops: {}", it.message.hops()));
    line("MIME-Version: 1.0");
    line("Content-Type: multipart/report; report-type=delivery-status;");
    line(&format!(" boundary=\"{boundary}\""));
    line("");
    line(&format!("--{boundary}"));
    line("Content-Type: text/plain; charset=utf-8");
    line("Content-Transfer-Encoding: base64");
    line("");
    for piece in STANDARD.encode(words(it)).as_bytes().chunks(76) {
        line(std::str::from_utf8(piece).unwrap_or_default());
    }
    line("");
    line(&format!("--{boundary}"));
    line("Content-Type: message/delivery-status");
    line("");
    line(&format!("Reporting-MTA: dns; {}", it.host));
    for failed in &it.bounce.failed_recipients {
        line("");
        line(&format!("Final-Recipient: rfc822; {failed}"));
        line("Action: failed");
        line(&format!("Status: {}", status(&it.bounce.error_code)));
        line(&format!(
            "Diagnostic-Code: x-amtp; {}",
            diagnostic(it.bounce)
        ));
        if let Some(moment) = it.bounce.final_attempt {
            line(&format!("Last-Attempt-Date: {}", date(moment)));
        }
    }
    line("");
    if let Some(original) = original(it) {
        line(&format!("--{boundary}"));
        line("Content-Type: text/rfc822-headers");
        line("");
        line(&format!("Message-ID: <{original}>"));
        line("");
    }
    line(&format!("--{boundary}--"));
    mail.into_bytes()
}

/// The id of the mail that failed, where it can stand in a header.
fn original<'a>(it: &Reporting<'a>) -> Option<&'a str> {
    let fits = |id: &&str| {
        (1..=900).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"<>".contains(&byte))
    };
    it.original.filter(fits)
}

fn words(it: &Reporting<'_>) -> String {
    let failed: Vec<String> = it
        .bounce
        .failed_recipients
        .iter()
        .map(Address::to_string)
        .collect();
    format!(
        "This is the mail system of {}.\r\n\r\n\
         Your mail could not be delivered to:\r\n\r\n    {}\r\n\r\n\
         {}: {}\r\n",
        it.message.sender().domain(),
        failed.join("\r\n    "),
        clean(&it.bounce.error_code, 80),
        clean(&it.bounce.error_message, 500),
    )
}

/// The reason on one line of ASCII.
fn diagnostic(bounce: &Bounce) -> String {
    let text = clean(
        &format!("{} {}", bounce.error_code, bounce.error_message),
        400,
    );
    text.chars()
        .map(|it| if it.is_ascii() { it } else { '?' })
        .collect()
}

/// The enhanced status code that says what an error code says (RFC 3463).
fn status(code: &str) -> &'static str {
    match code {
        "AGENT_UNKNOWN" | "RECIPIENT_NOT_FOUND" | "INVALID_RECIPIENT" => "5.1.1",
        "MAILBOX_FULL" => "5.2.2",
        "MESSAGE_TOO_LARGE" => "5.3.4",
        "LOOP_DETECTED" => "5.4.6",
        "MESSAGE_EXPIRED" => "5.4.7",
        "POLICY_DENIED" | "ACCESS_DENIED" => "5.7.1",
        "SCHEMA_VALIDATION_FAILED" | "INVALID_MESSAGE_FORMAT" => "5.6.0",
        _ => "5.0.0",
    }
}

/// A moment as mail writes it.
pub(super) fn date(moment: Timestamp) -> String {
    let moment = jiff::Timestamp::from_millisecond(moment.as_millis()).unwrap_or_default();
    let zoned = moment.to_zoned(jiff::tz::TimeZone::UTC);
    jiff::fmt::rfc2822::to_string(&zoned).unwrap_or_default()
}
