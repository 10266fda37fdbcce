use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::mime::{Agreement, Mail, MailLimits, parse, rebuild};
use crate::protocol::wire::{Replace, build};
use crate::protocol::{Domain, IdempotencyKey, Limits, Message, MessageId, Profile};
use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

const LIMITS: Limits = Limits {
    message_size: 20_000_000,
    recipients: 100,
};

fn message(members: &Value) -> Message {
    let mut whole = json!({
        "sender": "orders@one.example", "recipients": ["bob@two.example"], "payload": null,
    });
    for (name, value) in members.as_object().unwrap() {
        whole[name] = value.clone();
    }
    Message::parse(whole.to_string().into(), Profile::Relay, &LIMITS).unwrap()
}

/// What a letter may be given beside its message.
#[derive(Default)]
struct Given<'a> {
    name: Option<&'a str>,
    face: Face,
    in_reply_to: Option<&'a str>,
    references: &'a [String],
}

fn rendered(message: &Message, given: &Given<'_>) -> Rendered {
    let id = MessageId::parse("01987654-3210-7654-8765-432198765432").unwrap();
    let key = IdempotencyKey::parse("k-1").unwrap();
    let date = Timestamp::from_millis(1_777_888_800_000);
    let mail = render(&Letter {
        message,
        body: &build(message, &Replace::identity(&id, &key, date)),
        message_id: &id,
        sender_name: given.name,
        from_domain: &Domain::parse("one.example").unwrap(),
        face: given.face,
        recipient: &Address::parse("bob@two.example").unwrap(),
        reply_to: message.sender(),
        in_reply_to: given.in_reply_to,
        references: given.references,
        date,
    });
    let mail = mail.unwrap();
    assert!(mail.bytes.is_ascii(), "7-bit");
    for line in mail.bytes.split(|byte| *byte == b'\n') {
        assert!(
            line.len() <= 999 && (line.is_empty() || line.ends_with(b"\r")),
            "CRLF, ≤ 998"
        );
    }
    mail
}

fn read(mail: &Rendered) -> Mail {
    let limits = MailLimits {
        size: usize::MAX,
        ..MailLimits::default()
    };
    parse(&mail.bytes, &limits).unwrap()
}

fn html_of(payload: &Value) -> String {
    let mail = rendered(&message(&json!({ "payload": payload })), &Given::default());
    read(&mail).html.unwrap()
}

fn field_names(mail: &Rendered) -> Vec<String> {
    let text = String::from_utf8(mail.bytes.clone()).unwrap();
    let (header, _) = text.split_once("\r\n\r\n").unwrap();
    let fields = header
        .split("\r\n")
        .filter(|line| !line.starts_with([' ', '\t']));
    fields
        .map(|line| line.split(':').next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_header_says_what_the_protocol_wants() {
    let message = message(&json!({
        "subject": "Order 42", "schema": "agntcy:commerce.order.v1",
        "headers": {"x-amtp-hops": 2}, "payload": {"total": 1.5},
    }));
    let references = vec!["a@x.example".to_owned(), "b@x.example".to_owned()];
    let mail = rendered(
        &message,
        &Given {
            name: Some("Orders"),
            in_reply_to: Some("b@x.example"),
            references: &references,
            ..Given::default()
        },
    );
    let text = String::from_utf8(mail.bytes.clone()).unwrap();
    for line in [
        "From: \"Orders via AMTP\" <amtp-bridge@one.example>",
        "To: bob@two.example",
        "Reply-To: Orders <orders@one.example>",
        "Subject: [AMTP] Order 42",
        "Date: Mon, 04 May 2026 10:00:00 +0000",
        "Message-ID: <01987654-3210-7654-8765-432198765432@one.example>",
        "In-Reply-To: <b@x.example>",
        "References: <a@x.example> <b@x.example>",
        "X-AMTP-Message-ID: 01987654-3210-7654-8765-432198765432",
        "X-AMTP-Sender: orders@one.example",
        "X-AMTP-Schema: agntcy:commerce.order.v1",
        "X-AMTP-Hops: 3",
        "X-AMTP-Via: one.example",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line}\n{text}");
    }
    let agent = rendered(
        &message,
        &Given {
            face: Face::Agent,
            ..Given::default()
        },
    );
    let from = read(&agent).from.unwrap();
    assert_eq!(
        (from.name.as_deref(), from.written.as_str()),
        (Some("orders"), "orders@one.example")
    );
}

#[test]
fn nothing_of_a_message_begins_a_header_field() {
    let usual = field_names(&rendered(
        &message(&json!({"schema": "x", "subject": "x"})),
        &Given::default(),
    ));
    let hostile = [
        "a\r\nBcc: eve@evil.example",
        "a\nBcc: eve@evil.example",
        "a\u{2028}Bcc: eve@evil.example",
        "=?utf-8?q?a=0D=0ABcc:_eve@evil.example?=",
        "\" <eve@evil.example>, \"",
        "\u{202e}elpmaxe.live@eve",
        "ä\r\n\r\n<script>",
    ];
    for text in hostile {
        let references = vec![format!("{text}@x"), "ok@x.example".to_owned()];
        let given = Given {
            name: Some(text),
            in_reply_to: Some(text),
            references: &references,
            ..Given::default()
        };
        let clean: String = text.chars().filter(|c| !c.is_control()).collect();
        let message = message(&json!({ "subject": clean, "schema": clean }));
        let mail = rendered(&message, &given);
        let mut names = field_names(&mail);
        names.retain(|name| name != "References" && name != "In-Reply-To");
        assert_eq!(names, usual, "{text}");
        let read = read(&mail);
        assert_eq!(read.from_count, 1, "{text}");
        assert_eq!(read.author().unwrap().as_str(), "amtp-bridge@one.example");
        assert_eq!(read.to.len(), 1);
        assert!(
            read.references.ends_with(&["ok@x.example".to_owned()]),
            "{text}"
        );
    }
}

#[test]
fn subjects_of_any_kind_are_read_back() {
    let long = "x".repeat(998);
    let wide = "ü".repeat(499);
    let table = [
        ("Order 42", "[AMTP] Order 42"),
        ("Re: [AMTP] Order 42", "Re: [AMTP] Order 42"),
        ("Grüße — 100 €", "[AMTP] Grüße — 100 €"),
        ("=?utf-8?q?x?=", "[AMTP] =?utf-8?q?x?="),
        ("a  b", "[AMTP] a b"),
        (" ", "[AMTP] Message from orders"),
        ("", "[AMTP] Message from orders"),
        (&long, &format!("[AMTP] {long}")),
        (&wide, &format!("[AMTP] {wide}")),
    ];
    for (subject, expected) in table {
        let mail = rendered(&message(&json!({ "subject": subject })), &Given::default());
        assert_eq!(mail.subject, expected);
        assert_eq!(read(&mail).subject.as_deref(), Some(expected));
    }
}

#[test]
fn the_message_comes_out_of_the_mail_as_it_went_in() {
    let message = message(&json!({
        "message_id": "01987654-3210-7654-8765-432198765432", "schema": "agntcy:a.b.v1",
        "payload": {"n": 1, "text": "grün\r\n.\r\n"},
    }));
    let mail = read(&rendered(&message, &Given::default()));
    let rebuilt = rebuild(
        &mail,
        &Agreement {
            authenticated: &Domain::parse("one.example").unwrap(),
            recipients: &[Address::parse("bob@two.example").unwrap()],
            limits: &LIMITS,
        },
    );
    assert_eq!(rebuilt.unwrap().payload(), message.payload());
    assert!(mail.has_passed(&Domain::parse("one.example").unwrap()));
    assert_eq!(mail.amtp_hops, 1);
}

/// Every value of an attribute in the page.
fn attributes(html: &str, name: &str) -> Vec<String> {
    let begin = format!(" {name}=\"");
    let pieces = html.split(&begin).skip(1);
    let value = |piece: &str| piece.split('"').next().unwrap().to_owned();
    pieces.map(value).collect()
}

#[test]
fn nothing_of_a_message_becomes_markup() {
    let hostile = json!({
        "<script>alert(1)</script>": "<img src=x onerror=alert(1)>",
        "a\" onmouseover=\"alert(1)": "javascript:alert(1) vbscript:x data:text/html,x",
        "links": ["https://good.example/a?b=c&d=\"x", "https://bank.example@evil.example/",
            "http://[::1]/x", "https://evil.example/\"onclick=\"x", "ftp://x.example",
            "https://exämple.example/", "HTTPS://UP.example/'x'"],
        "mail": "Write to a.b+c@x.example or mailto:d@x.example, not <e\"f@x.example>.",
        "text": "&lt; \u{202e}evil </div></body><style>*{display:none}</style>",
    });
    let html = html_of(&hostile);
    let body = html.split("</head>").nth(1).unwrap();
    let known = [
        "body", "div", "p", "h1", "strong", "table", "tr", "th", "td", "a", "br", "html",
    ];
    for tag in body.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap();
        let mut words = tag.trim_start_matches('/').split(' ');
        let name = words.next().unwrap();
        assert!(known.contains(&name), "<{tag}>");
        assert!(!tag.contains(" on"), "<{tag}>");
    }
    assert!(!body.contains('\u{202e}'));
    assert!(!html.contains("@import") && !html.contains("url(") && !html.contains("<link"));
    let links = attributes(&html, "href");
    assert_eq!(
        links,
        [
            "http://[::1]/x",
            "HTTPS://UP.example/&#39;x",
            "mailto:a.b+c@x.example",
            "mailto:d@x.example",
        ]
    );
}

#[test]
fn a_huge_payload_is_cut_where_people_read_and_whole_where_programs_do() {
    let deep = (0..100).fold(json!("core"), |inner, _| json!({ "in": inner }));
    let table = [
        json!(
            (0..100_000)
                .map(|n| json!({ "number": n }))
                .collect::<Vec<_>>()
        ),
        json!({ "text": "long ".repeat(500_000) }),
        json!("<&\"'>".repeat(500_000)),
        deep,
    ];
    for payload in table {
        let message = message(&json!({ "payload": payload }));
        let mail = read(&rendered(&message, &Given::default()));
        let (text, html) = (mail.text.unwrap(), mail.html.unwrap());
        assert!(
            text.len() < 70_000 && html.len() < 230_000,
            "{} {}",
            text.len(),
            html.len()
        );
        assert!(
            text.contains("All of it is in message.amtp.json."),
            "{text}"
        );
        assert!(html.contains("All of it is in message.amtp.json."));
        let json: Value = serde_json::from_slice(&mail.amtp.unwrap().json).unwrap();
        assert_eq!(json["payload"], payload);
    }
}

#[test]
fn a_payload_is_read_as_a_text_and_rows() {
    let payload = json!({
        "order_id": "ORD-42", "Total": 1, "paid": true, "note": null, "tags": ["a", "b"], "none": [],
        "items": [{"sku": "x"}], "text": "Please\nconfirm.",
    });
    let mail = read(&rendered(
        &message(&json!({ "payload": payload })),
        &Given::default(),
    ));
    let text = mail.text.unwrap();
    let expected = "Message from orders\nFrom orders <orders@one.example>\n\
        To answer orders, reply to this mail: it goes to orders@one.example.\n\n\
        Please\nconfirm.\n\nTotal: 1\nItems:\n  1:\n    Sku: x\nNone: (empty)\nNote: –\n\
        Order id: ORD-42\nPaid: yes\nTags: a, b\n\n-- \nSent 2026-05-04 10:00 UTC over AMTP, \
        the mail of software agents\nMessage 01987654-3210-7654-8765-432198765432";
    assert_eq!(text, expected);
    let exact = Message::parse(
        r#"{"sender":"a@one.example","recipients":["b@two.example"],"payload":{"n":1.10,"m":9007199254740993}}"#.into(),
        Profile::Relay,
        &LIMITS,
    );
    let text = read(&rendered(&exact.unwrap(), &Given::default()))
        .text
        .unwrap();
    assert!(text.contains("N: 1.10\nM: 9007199254740993\n"), "{text}");
}

#[test]
fn files_are_named_with_their_size_and_a_safe_link() {
    let file = |name: &str, url: &str| json!({"filename": name, "content_type": "a/b", "size": 1_234_567, "hash": "sha256:00", "url": url});
    let message = message(&json!({ "attachments": [
        file("a<b>.pdf", "https://files.one.example/a?x=1&y=2"),
        file("b.pdf", "https://files.one.example@evil.example/b"),
    ] }));
    let html = read(&rendered(&message, &Given::default())).html.unwrap();
    assert!(html.contains("a&lt;b&gt;.pdf</a> (1.2 MB)"), "{html}");
    assert_eq!(
        attributes(&html, "href"),
        ["https://files.one.example/a?x=1&amp;y=2"]
    );
}

#[test]
fn the_same_letter_gives_the_same_mail_and_another_one_another_boundary() {
    let one = message(&json!({ "payload": 1 }));
    let two = message(&json!({ "payload": 2 }));
    assert_eq!(
        rendered(&one, &Given::default()),
        rendered(&one, &Given::default())
    );
    let boundary = |mail: &Rendered| {
        let text = String::from_utf8(mail.bytes.clone()).unwrap();
        text.split("boundary=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned()
    };
    let mails = [
        rendered(&one, &Given::default()),
        rendered(&two, &Given::default()),
    ];
    assert_ne!(boundary(&mails[0]), boundary(&mails[1]));
}

/// The page of the kept example; see `tests/data/page`.
#[test]
fn the_page_is_the_one_that_was_looked_at() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/page");
    let body = std::fs::read(folder.join("order.json")).unwrap();
    let message = Message::parse(body.into(), Profile::Relay, &LIMITS).unwrap();
    let given = Given {
        name: Some("Northwind purchasing"),
        ..Given::default()
    };
    let mail = read(&rendered(&message, &given));
    for (name, found) in [
        ("order.html", mail.html.unwrap()),
        ("order.txt", mail.text.unwrap()),
    ] {
        let kept = std::fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(
            found.trim_end(),
            kept.trim_end(),
            "{name} is no longer the one that was kept"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_message_becomes_a_mail_that_reads_back(
        subject in "\\PC{0,80}", name in "\\PC{0,40}", key in "\\PC{0,20}", text in "(?s).{0,200}",
    ) {
        let message = message(&json!({ "subject": subject, "payload": { key: text } }));
        let mail = rendered(&message, &Given { name: Some(&name), ..Given::default() });
        let read = read(&mail);
        prop_assert_eq!(read.subject.as_deref(), Some(mail.subject.as_str()));
        prop_assert_eq!(read.from_count, 1);
        prop_assert_eq!(read.author().unwrap().as_str(), "amtp-bridge@one.example");
        prop_assert_eq!(read.attachments.len(), 1);
        let json = Message::parse(read.amtp.unwrap().json, Profile::Relay, &LIMITS).unwrap();
        prop_assert_eq!(json.payload(), message.payload());
    }
}
