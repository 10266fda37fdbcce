use super::*;
use crate::mime::{MailLimits, parse};
use crate::schema::{Document, check};

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn mail(text: &str) -> Mail {
    let raw = text.trim_start().replace('\n', "\r\n");
    parse(raw.as_bytes(), &MailLimits::default()).unwrap()
}

fn composed(mail: &Mail) -> Message {
    let url = "https://one.example/v1/blobs/1";
    let files: Vec<FileReference<'_>> = mail
        .attachments
        .iter()
        .map(|part| FileReference { part, url })
        .collect();
    let body = compose(
        mail,
        &Composition {
            message_id: &MessageId::parse("m-1").unwrap(),
            idempotency_key: &IdempotencyKey::parse("k-1").unwrap(),
            received_at: Timestamp::from_millis(1_777_888_800_000),
            sender: &address("bob@example.org"),
            recipients: &[address("orders@one.example")],
            in_reply_to: MessageId::parse("q-1").ok().as_ref(),
            hops: 2,
            files: &files,
        },
    );
    let limits = Limits::default();
    Message::parse(body.into(), Profile::Submission, &limits).unwrap()
}

const ANSWER: &str = r#"
From: Bob "the \"builder\"" <bob@example.org>
To: orders@one.example, "x y"@example.org
Cc: Carol <carol@example.net>
Reply-To: answers@example.org
Subject: Re: [AMTP] "Order"
Date: Mon, 4 May 2026 10:05:00 +0200
Message-ID: <b2@example.org>
In-Reply-To: <q-1@one.example>
Auto-Submitted: auto-replied
Content-Type: multipart/mixed; boundary=b

--b

Yes.

> Shall I?
--b
Content-Type: text/calendar

BEGIN:VCALENDAR
--b--
"#;

#[test]
fn a_mail_becomes_a_message_that_any_gateway_takes() {
    let message = composed(&mail(ANSWER));
    assert_eq!(message.sender().as_str(), "bob@example.org");
    assert_eq!(message.subject(), Some("Re: [AMTP] \"Order\""));
    assert_eq!(message.in_reply_to().unwrap().as_str(), "q-1");
    assert_eq!(message.hops(), 2);
    assert!(message.is_automatic());
    assert_eq!(message.reply_to().unwrap().as_str(), "answers@example.org");
    let payload: serde_json::Value = serde_json::from_str(message.payload()).unwrap();
    assert_eq!(payload["text"], "Yes.");
    assert_eq!(payload["quoted"], "> Shall I?");
    assert_eq!(payload["from"], "bob@example.org");
    assert_eq!(payload["cc"][0], "carol@example.net");
    assert_eq!(payload["date"], "2026-05-04T08:05:00.000Z");
    assert_eq!(payload["message_id"], "b2@example.org");
    assert_eq!(payload["auto"], "auto-replied");
    assert_eq!(payload["files"][0]["kind"], "calendar");
    let [file] = message.attachments() else {
        panic!("one file: {:?}", message.attachments());
    };
    assert_eq!(file.size, 15);
    assert_eq!(&*file.filename, "part-1.ics");
    assert_eq!(&*file.hash, mail(ANSWER).attachments[0].hash());
}

#[test]
fn a_mail_of_a_person_is_not_automatic() {
    let message = composed(&mail("From: bob@example.org\n\nYes.\n"));
    assert!(!message.is_automatic());
    assert_eq!(message.subject(), None);
}

#[test]
fn a_long_subject_is_cut_within_a_message_and_whole_in_its_payload() {
    let subject = "ü".repeat(700);
    let message = composed(&mail(&format!(
        "From: bob@example.org\nSubject: {subject}\n\nx\n"
    )));
    assert_eq!(message.subject().unwrap().len(), 998);
    assert!(message.payload().contains(&subject));
}

#[test]
fn what_is_composed_fits_the_shipped_schema() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema = std::fs::read(root.join("schemas/email.message.v1.json")).unwrap();
    let schema = Document::read(&schema).unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(root.join("tests/data/mail")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "eml") {
            continue;
        }
        let mail = parse(&std::fs::read(&path).unwrap(), &MailLimits::default()).unwrap();
        let message = composed(&mail);
        let faults = check(&schema, message.payload()).unwrap();
        assert_eq!(faults, [], "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 50, "{seen} mails");
    assert!(!check(&schema, "{\"text\":1}").unwrap().is_empty());
}

const BRIDGED: &str = r#"
From: "Orders via AMTP" <amtp-bridge@two.example>
To: bob@one.example
Subject: [AMTP] Order
X-AMTP-Message-ID: m-1
X-AMTP-Sender: orders@two.example
X-AMTP-Schema: agntcy:commerce.order.v1
Content-Type: multipart/mixed; boundary=x

--x

n: 1.10
--x
Content-Type: application/json; name=message.amtp.json

{"message_id":"m-1","sender":"orders@two.example","recipients":["bob@one.example","c@three.example"],"payload":{"n":1.10},"schema":"agntcy:commerce.order.v1"}
--x--
"#;

fn rebuilt(text: &str, domain: &str, recipient: &str) -> Result<Message, RebuildFault> {
    let agreement = Agreement {
        authenticated: &Domain::parse(domain).unwrap(),
        recipients: &[address(recipient)],
        limits: &Limits::default(),
    };
    rebuild(&mail(text), &agreement)
}

#[test]
fn the_message_in_a_mail_of_another_bridge_is_taken_as_it_was() {
    let message = rebuilt(BRIDGED, "two.example", "bob@one.example").unwrap();
    assert_eq!(message.sender().as_str(), "orders@two.example");
    assert_eq!(message.payload(), r#"{"n":1.10}"#);
    assert!(message.raw().starts_with(b"{\"message_id\""));
}

#[test]
fn a_forged_or_replayed_message_in_a_mail_is_not_taken() {
    let domain = Domain::parse("evil.example").unwrap();
    let sender = RebuildFault::Sender(domain);
    let two = RebuildFault::Sender(Domain::parse("two.example").unwrap());
    // What is changed in the mail; the authenticated domain; the fault.
    let table = [
        (("From: ", "From: "), "evil.example", sender.clone()),
        (
            ("amtp-bridge@two", "amtp-bridge@evil"),
            "evil.example",
            sender,
        ),
        (
            ("\"sender\":\"orders@two", "\"sender\":\"orders@evil"),
            "two.example",
            two.clone(),
        ),
        (("From: ", "From: a@two.example, "), "two.example", two),
        (
            ("X-AMTP-Message-ID: m-1", "X-AMTP-Message-ID: m-2"),
            "two.example",
            RebuildFault::Header("X-AMTP-Message-ID"),
        ),
        (
            ("\"message_id\":\"m-1\",", ""),
            "two.example",
            RebuildFault::Header("X-AMTP-Message-ID"),
        ),
        (
            ("X-AMTP-Sender: orders", "X-AMTP-Sender: boss"),
            "two.example",
            RebuildFault::Header("X-AMTP-Sender"),
        ),
        (
            (
                "X-AMTP-Schema: agntcy:commerce.order.v1",
                "X-AMTP-Schema: other",
            ),
            "two.example",
            RebuildFault::Header("X-AMTP-Schema"),
        ),
        (
            ("X-AMTP-Sender", "X-Sender"),
            "two.example",
            RebuildFault::Absent,
        ),
        (
            ("name=message.amtp.json", "name=a.json"),
            "two.example",
            RebuildFault::Absent,
        ),
    ];
    for ((from, to), domain, fault) in table {
        let text = BRIDGED.replacen(from, to, 1);
        let found = rebuilt(&text, domain, "bob@one.example").unwrap_err();
        assert_eq!(found, fault, "{from} -> {to}");
    }
    let found = rebuilt(BRIDGED, "two.example", "eve@one.example").unwrap_err();
    assert_eq!(found, RebuildFault::Recipient(address("eve@one.example")));
    let broken = BRIDGED.replace("{\"n\":1.10}", "{\"n\":1,\"n\":2}");
    let found = rebuilt(&broken, "two.example", "bob@one.example").unwrap_err();
    assert!(matches!(found, RebuildFault::Message(_)), "{found}");
}
