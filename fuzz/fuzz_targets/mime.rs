//! Any bytes as a mail, and any message as a mail.
//!
//! A mail is read within its limits or refused with one of them; what is read becomes a message that
//! any gateway takes. Bytes that are a message become a mail in 7-bit ASCII with short lines, out of
//! which the same message comes again.

#![no_main]

use amtpd::mime::{
    Agreement, Composition, Face, FileReference, Letter, Mail, MailLimits, compose, parse, rebuild,
    render,
};
use amtpd::protocol::wire::{Replace, build};
use amtpd::protocol::{
    Address, Domain, IdempotencyKey, Limits, Message, MessageId, Profile, Timestamp,
};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

const MAIL: MailLimits = MailLimits {
    size: 1 << 20,
    header: 1 << 16,
    parts: 50,
    depth: 5,
};
const MESSAGE: Limits = Limits {
    message_size: usize::MAX,
    recipients: 100,
};

fuzz_target!(|data: &[u8]| {
    if let Ok(mail) = parse(data, &MAIL) {
        check_mail(&mail);
    }
    if let Ok(message) = Message::parse(Bytes::copy_from_slice(data), Profile::Relay, &MESSAGE) {
        check_message(&message);
    }
});

fn check_mail(mail: &Mail) {
    let sender = Address::parse("a@one.example").expect("an address");
    let url = "https://one.example/v1/blobs/1";
    let files: Vec<FileReference<'_>> = mail
        .attachments
        .iter()
        .map(|part| FileReference { part, url })
        .collect();
    let body = compose(
        mail,
        &Composition {
            message_id: &MessageId::parse("m-1").expect("an id"),
            idempotency_key: &IdempotencyKey::parse("k-1").expect("a key"),
            received_at: Timestamp::from_millis(0),
            sender: &sender,
            recipients: std::slice::from_ref(&sender),
            in_reply_to: None,
            hops: 1,
            files: &files,
        },
    );
    Message::parse(body.into(), Profile::Submission, &MESSAGE).expect("a mail is a message");
    let agreement = Agreement {
        authenticated: sender.domain(),
        recipients: std::slice::from_ref(&sender),
        limits: &MESSAGE,
    };
    if let Ok(message) = rebuild(mail, &agreement) {
        assert_eq!(message.sender().domain(), sender.domain());
    }
}

fn check_message(message: &Message) {
    let minted = MessageId::parse("minted").expect("an id");
    let id = message.message_id().unwrap_or(&minted);
    let key = IdempotencyKey::parse("minted").expect("a key");
    let domain = Domain::parse("one.example").expect("a domain");
    let sent = build(
        message,
        &Replace::identity(id, &key, Timestamp::from_millis(0)),
    );
    let subject = message.subject().map(str::to_owned);
    let ids = vec![subject.clone().unwrap_or_default()];
    let letter = Letter {
        message,
        body: &sent,
        message_id: id,
        sender_name: subject.as_deref(),
        from_domain: &domain,
        face: Face::Bridge,
        recipient: &message.recipients()[0],
        reply_to: message.sender(),
        in_reply_to: subject.as_deref(),
        references: &ids,
        date: message.timestamp().unwrap_or_default(),
    };
    let Ok(mail) = render(&letter) else {
        return;
    };
    assert!(mail.bytes.is_ascii());
    assert!(
        mail.bytes
            .split(|byte| *byte == b'\n')
            .all(|line| line.len() < 1_000)
    );
    let limits = MailLimits {
        size: usize::MAX,
        ..MailLimits::default()
    };
    let again = parse(&mail.bytes, &limits).expect("a rendered mail is a mail");
    assert_eq!(again.subject.as_deref(), Some(mail.subject.as_str()));
    assert_eq!(
        again.author().map(Address::as_str),
        Some("amtp-bridge@one.example")
    );
    assert_eq!(again.attachments.len(), 1);
    let json = again.amtp.expect("the message goes along").json;
    assert_eq!(json, sent);
}
