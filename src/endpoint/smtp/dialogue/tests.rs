use super::*;

const SIZE: usize = 1_000;

fn rules() -> DialogueRules {
    DialogueRules {
        host: "mx.our.example".to_owned(),
        main_domain: Domain::parse("our.example").unwrap(),
        size: SIZE,
        recipients: 3,
        tls: true,
        faults: 5,
        commands: 100,
    }
}

/// A client's whole conversation: what is answered, and what mail is taken.
struct Talk {
    dialogue: Dialogue,
    answers: Vec<String>,
    mail: Vec<Transaction>,
    closed: bool,
}

impl Talk {
    fn new(rules: DialogueRules) -> Self {
        let (dialogue, greeting) = Dialogue::new(Arc::new(rules));
        Self {
            dialogue,
            answers: vec![greeting.text()],
            mail: Vec::new(),
            closed: false,
        }
    }

    /// Sends bytes; `taken` takes every recipient whose name begins with `a`.
    fn say(&mut self, bytes: &[u8]) -> &mut Self {
        self.dialogue.feed(bytes);
        loop {
            let reply = match self.dialogue.step() {
                Step::More => return self,
                Step::Reply(reply) => reply,
                Step::Recipient(address) => {
                    let decision = match address.local().starts_with(['a', 'p']) {
                        true => Ok(()),
                        false => Err(Reply::new(550, "5.1.1", "Nobody has this address")),
                    };
                    self.dialogue.decide(decision)
                }
                Step::Mail(mail) => {
                    self.mail.push(*mail);
                    self.dialogue.answer(Reply::new(250, "2.6.0", "Taken"))
                }
                Step::Secure(reply) => {
                    self.dialogue.secured();
                    reply
                }
                Step::Close(reply) => {
                    self.closed = true;
                    self.answers.push(reply.text());
                    return self;
                }
            };
            self.answers.push(reply.text());
        }
    }

    /// The codes of the answers since the greeting.
    fn codes(&self) -> String {
        let codes = self.answers[1..].iter().map(|it| &it[..3]);
        codes.collect::<Vec<_>>().join(" ")
    }
}

fn codes(script: &str) -> String {
    let mut talk = Talk::new(rules());
    talk.say(script.as_bytes());
    talk.codes()
}

#[test]
fn a_mail_comes_in_whole_pipelined_or_byte_by_byte() {
    let script = "EHLO client.example\r\nMAIL FROM:<x@y.example> SIZE=10 BODY=8BITMIME RET=HDRS ENVID=a1\r\n\
                  RCPT TO:<a@our.example> NOTIFY=FAILURE ORCPT=rfc822;a@our.example\r\nRCPT TO:<ab@our.example>\r\n\
                  RCPT TO:<A@our.example>\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n";
    for size in [1, 2, 3, 7, 10_000] {
        let mut talk = Talk::new(rules());
        for piece in script.as_bytes().chunks(size) {
            talk.say(piece);
        }
        assert_eq!(talk.codes(), "250 250 250 250 250 354 250 221");
        assert!(talk.closed);
        let mail = &talk.mail[0];
        assert_eq!(mail.hello, "client.example");
        assert_eq!(mail.reverse_path, "x@y.example");
        let recipients: Vec<_> = mail.recipients.iter().map(Address::as_str).collect();
        assert_eq!(recipients, ["a@our.example", "ab@our.example"]);
        assert_eq!(mail.content, "Subject: x\r\n\r\n.dot\r\n");
    }
}

#[test]
fn what_is_offered_is_told_and_tls_only_before_it_is_on() {
    let mut talk = Talk::new(rules());
    talk.say(b"EHLO c\r\n")
        .say(b"STARTTLS\r\n")
        .say(b"EHLO c\r\n");
    assert!(talk.answers[0].starts_with("220 mx.our.example ESMTP"));
    let before = "250-mx.our.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n\
                  250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250 STARTTLS\r\n";
    assert_eq!(talk.answers[1], before);
    assert!(talk.answers[3].ends_with("250 CHUNKING\r\n"));
}

/// Each script is sent at once; the codes are those of its replies, the last one that of the end.
#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn every_order_and_every_fault_has_its_reply() {
    let hello = "EHLO c\r\n";
    let mail = "EHLO c\r\nMAIL FROM:<x@y.example>\r\n";
    let ready = "EHLO c\r\nMAIL FROM:<x@y.example>\r\nRCPT TO:<a@our.example>\r\n";
    for (before, script, expected) in [
        // Order.
        ("", "MAIL FROM:<x@y.example>\r\n", "503"),
        (hello, "RCPT TO:<a@our.example>\r\n", "503"),
        (hello, "DATA\r\n", "503"),
        (mail, "MAIL FROM:<x@y.example>\r\n", "503"),
        (mail, "DATA\r\n", "554"),
        (mail, "RCPT TO:<nobody@our.example>\r\nDATA\r\n", "550 554"),
        (ready, "RSET\r\nDATA\r\n", "250 503"),
        (ready, "EHLO c\r\nDATA\r\n", "250 503"),
        (ready, "HELO c\r\nDATA\r\n", "250 503"),
        (ready, "DATA\r\n.\r\nDATA\r\n", "354 250 503"),
        (
            mail,
            "RCPT TO:<nobody@our.example>\r\nRCPT TO:<a@our.example>\r\nDATA\r\nx\r\n.\r\n",
            "550 250 354 250",
        ),
        // Other commands.
        (
            hello,
            "NOOP x\r\nVRFY a\r\nHELP\r\nHELP MAIL\r\n",
            "250 252 214 214",
        ),
        (hello, "EXPN a\r\nAUTH PLAIN x\r\nETRN x\r\n", "502 502 502"),
        (hello, "FOO\r\n\r\nMAILFROM:<x@y>\r\n", "500 500 500"),
        ("", "EHLO\r\nHELO\r\n", "501 501"),
        ("", "QUIT\r\n", "221"),
        // Addresses.
        (hello, "MAIL FROM:<>\r\nRCPT TO:<Postmaster>\r\n", "250 250"),
        (mail, "RCPT TO:<>\r\n", "553"),
        (
            mail,
            "RCPT TO:<a>\r\nRCPT TO:<a@>\r\nRCPT TO:<@our.example>\r\n",
            "553 553 553",
        ),
        (
            mail,
            "RCPT TO:a@our.example\r\nRCPT TO:\r\nRCPT\r\n",
            "501 501 501",
        ),
        (
            mail,
            "RCPT TO:<a@[127.0.0.1]>\r\nRCPT TO:<\"a b\"@our.example>\r\n",
            "553 553",
        ),
        (
            mail,
            "RCPT TO:<a@b@our.example>\r\nRCPT TO:<\"a@b\"@our.example>\r\n",
            "553 553",
        ),
        (mail, "RCPT TO:<@one,@two:a@our.example>\r\n", "250"),
        (mail, "RCPT TO:<\u{e9}@our.example>\r\n", "553"),
        (
            hello,
            "MAIL FROM:<x y>\r\nMAIL FROM:x@y\r\nMAIL FROM:<x@\r\n",
            "553 501 501",
        ),
        // Parameters.
        (hello, "MAIL FROM:<x@y.example> SIZE=1001\r\n", "552"),
        (hello, "MAIL FROM:<x@y.example> SIZE=1000\r\n", "250"),
        (
            hello,
            "MAIL FROM:<x@y.example> SIZE=99999999999999999999999\r\n",
            "552",
        ),
        (hello, "MAIL FROM:<x@y.example> SMTPUTF8\r\n", "555"),
        (hello, "MAIL FROM:<x@y.example> BODY=BINARYMIME\r\n", "555"),
        (
            hello,
            "MAIL FROM:<x@y.example> BODY=9BIT\r\nMAIL FROM:<x@y.example> SIZE=x\r\n",
            "501 501",
        ),
        (
            hello,
            "MAIL FROM:<x@y.example> REQUIRETLS\r\nMAIL FROM:<x@y.example> FOO=1\r\n",
            "555 555",
        ),
        (hello, "MAIL FROM:<x@y.example> AUTH=<>\r\n", "555"),
        (mail, "RCPT TO:<a@our.example> FOO=1\r\n", "555"),
        // Many recipients.
        (
            ready,
            "RCPT TO:<a1@our.example>\r\nRCPT TO:<a2@our.example>\r\nRCPT TO:<a3@our.example>\r\nRCPT TO:<a@our.example>\r\n",
            "250 250 452 250",
        ),
        // Lines.
        (hello, "NOOP\n", "554"),
        (mail, "RCPT TO:<a@our.example>\nDATA\r\n", "554"),
        (hello, "NO\0OP\r\nNOOP\rNOOP\r\n", "500 500"),
        (hello, "GET / HTTP/1.1\r\nHost: x\r\n", "554"),
        // Content.
        (ready, "DATA\r\na\nb\r\n.\r\nNOOP\r\n", "354 550 250"),
        (ready, "DATA\r\na\0b\r\n.\r\nNOOP\r\n", "354 550 250"),
        (ready, "DATA\r\na\rb\r\n.\r\nNOOP\r\n", "354 550 250"),
        // TLS.
        (hello, "STARTTLS\r\nSTARTTLS\r\n", "554"),
        (hello, "STARTTLS\r\nMAIL FROM:<x@y.example>\r\n", "554"),
        (hello, "STARTTLS\r\n\r", "554"),
        // Chunks.
        (
            ready,
            "BDAT 3\r\na\r\nBDAT 3 LAST\r\nb\r\nNOOP\r\n",
            "250 250 250",
        ),
        (ready, "BDAT 0 LAST\r\n", "250"),
        (ready, "BDAT 3\r\na\r\nDATA\r\n", "250 503"),
        (
            ready,
            "BDAT 3\r\na\r\nRCPT TO:<ab@our.example>\r\n",
            "250 503",
        ),
        (
            mail,
            "BDAT 5\r\nNOOP\rNOOP\r\nBDAT 1 LAST\r\nxNOOP\r\n",
            "554 250 503 250",
        ),
        ("", "BDAT 6\r\nNOOP\r\nNOOP\r\n", "503 250"),
        (ready, "BDAT 9999999\r\n", "552"),
        (ready, "BDAT 99999999999999999999999 LAST\r\n", "552"),
        (ready, "BDAT 2 LAST\r\na\nNOOP\r\n", "550 250"),
        (ready, "BDAT x\r\nBDAT\r\n", "501 501"),
    ] {
        let done = codes(before).split(' ').filter(|it| !it.is_empty()).count();
        let all = codes(&format!("{before}{script}"));
        let all: Vec<_> = all.split(' ').skip(done).collect();
        assert_eq!(all.join(" "), expected, "{}", script.escape_debug());
    }
}

#[test]
fn over_lmtp_each_recipient_is_told_what_became_of_the_mail() {
    let ready = "LHLO c\r\nMAIL FROM:<x@y.example>\r\nRCPT TO:<a@our.example>\r\n\
                 RCPT TO:<nobody@our.example>\r\nRCPT TO:<ab@our.example>\r\n";
    for (script, expected) in [
        ("DATA\r\nx\r\n.\r\nNOOP\r\n", "354 250 250 250"),
        ("DATA\r\na\nb\r\n.\r\nNOOP\r\n", "354 550 550 250"),
        (
            "BDAT 3\r\na\r\nBDAT 3 LAST\r\nb\r\nNOOP\r\n",
            "250 250 250 250",
        ),
        ("BDAT 2 LAST\r\na\nNOOP\r\n", "550 550 250"),
        // Who says EHLO after all speaks SMTP.
        (
            "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@our.example>\r\nRCPT TO:<ab@our.example>\r\nDATA\r\n.\r\n",
            "250 250 250 250 354 250",
        ),
    ] {
        let mut talk = Talk::new(rules());
        talk.say(format!("{ready}{script}").as_bytes());
        let said = talk.answers.concat();
        let codes: Vec<&str> = said
            .lines()
            .filter(|line| line.as_bytes()[3] == b' ')
            .map(|line| &line[..3])
            .collect();
        let all = format!("220 250 250 250 550 250 {expected}");
        assert_eq!(codes.join(" "), all, "{}", script.escape_debug());
    }
}

#[test]
fn nothing_said_before_tls_counts_after_it() {
    let mut talk = Talk::new(rules());
    talk.say(b"EHLO c\r\nMAIL FROM:<x@y.example>\r\nRCPT TO:<a@our.example>\r\n")
        .say(b"STARTTLS\r\n")
        .say(b"DATA\r\n")
        .say(b"MAIL FROM:<x@y.example>\r\nSTARTTLS\r\n");
    assert_eq!(talk.codes(), "250 250 250 220 503 503 503");
}

#[test]
fn content_over_the_limit_takes_no_room_and_is_refused_when_it_has_come() {
    let hello = b"EHLO c\r\nMAIL FROM:<x@y.example>\r\nRCPT TO:<a@our.example>\r\n";
    let mut talk = Talk::new(rules());
    talk.say(hello).say(b"DATA\r\n");
    for _ in 0..1_000 {
        talk.say(&[b'x'; 900]).say(b"\r\n");
        assert!(talk.dialogue.held() <= SIZE);
    }
    talk.say(b"\r\n.\r\nNOOP\r\n");
    assert_eq!(talk.codes(), "250 250 250 354 552 250");
    assert!(talk.mail.is_empty());

    let mut talk = Talk::new(rules());
    talk.say(hello);
    for _ in 0..3 {
        talk.say(b"BDAT 600\r\n").say(&[b'x'; 600]);
    }
    talk.say(b"BDAT 600 LAST\r\n")
        .say(&[b'x'; 600])
        .say(b"NOOP\r\n");
    assert_eq!(talk.codes(), "250 250 250 250 552 503 503 250");
    assert!(talk.mail.is_empty());
}

#[test]
fn content_that_there_is_no_room_for_is_let_go() {
    let mut talk = Talk::new(rules());
    talk.say(b"EHLO c\r\nMAIL FROM:<x@y.example>\r\nRCPT TO:<a@our.example>\r\nDATA\r\nabc\r\n.");
    assert!(talk.dialogue.receives() && talk.dialogue.held() > 0);
    talk.dialogue.no_room();
    assert_eq!(talk.dialogue.held(), 0);
    talk.say(b"\r\nNOOP\r\n");
    assert_eq!(talk.codes(), "250 250 250 354 452 250");
}

#[test]
fn a_thousand_recipients_are_told_to_come_apart() {
    let mut talk = Talk::new(DialogueRules {
        recipients: 100,
        commands: 2_000,
        ..rules()
    });
    talk.say(b"EHLO c\r\nMAIL FROM:<x@y.example>\r\n");
    for number in 0..1_000 {
        talk.say(format!("RCPT TO:<a{number}@our.example>\r\n").as_bytes());
    }
    let count = |code: &str| {
        talk.answers
            .iter()
            .filter(|it| it.starts_with(code))
            .count()
    };
    assert_eq!((count("250 2.1.5"), count("452 4.5.3")), (100, 900));
    assert!(!talk.closed);
}

#[test]
fn who_only_errs_or_only_chatters_is_sent_away() {
    let mut talk = Talk::new(rules());
    for _ in 0..6 {
        talk.say(b"FOO\r\n");
    }
    assert!(talk.closed);
    assert_eq!(talk.codes(), "500 500 500 500 500 421");

    let mut talk = Talk::new(rules());
    talk.say(b"EHLO c\r\nMAIL FROM:<x@y.example>\r\n");
    for number in 0..7 {
        talk.say(format!("RCPT TO:<nobody{number}@our.example>\r\n").as_bytes());
    }
    assert!(talk.closed, "who tries names is sent away");

    let mut talk = Talk::new(rules());
    for _ in 0..101 {
        talk.say(b"NOOP\r\n");
    }
    assert!(talk.closed);
    let mut talk = Talk::new(rules());
    talk.say(b"EHLO c\r\n");
    for _ in 0..200 {
        talk.say(b"MAIL FROM:<x@y.example>\r\nRCPT TO:<a@our.example>\r\nDATA\r\nx\r\n.\r\n");
    }
    assert!(!talk.closed, "who brings mail may go on");
    assert_eq!(talk.mail.len(), 200);
}

#[test]
fn a_refused_chunk_is_one_error_whether_it_comes_with_its_command_or_later() {
    let strict = || DialogueRules {
        faults: 1,
        ..rules()
    };
    let start = "EHLO c\r\nMAIL FROM:<x@y.example>\r\nRCPT TO:<a@our.example>\r\nBDAT 2 LAST\r\n";
    for pieces in [
        vec![format!("{start}a\nNOOP\r\n")],
        vec![start.to_owned(), "a\nNOOP\r\n".to_owned()],
    ] {
        let mut talk = Talk::new(strict());
        for piece in &pieces {
            talk.say(piece.as_bytes());
        }
        assert_eq!(talk.codes(), "250 250 250 550 250", "{pieces:?}");
    }
}

#[test]
fn nothing_of_a_client_stands_in_a_reply() {
    let mut talk = Talk::new(rules());
    talk.say(b"EHLO marker\r\nmarker\r\nMAIL FROM:<marker@y> marker=1\r\nRCPT TO:<marker@x>\r\nVRFY marker\r\n");
    for answer in &talk.answers {
        assert!(!answer.contains("marker"), "{answer}");
        assert!(answer.ends_with("\r\n") && answer.is_ascii());
    }
}

mod any {
    use proptest::prelude::{Strategy, any, prop_oneof};
    use proptest::sample::select;
    use proptest::{collection::vec, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let words: Vec<&[u8]> = vec![
            b"EHLO c\r\n",
            b"MAIL FROM:<x@y.example>\r\n",
            b"RCPT TO:<a@our.example>\r\n",
            b"DATA\r\n",
            b"BDAT 5\r\n",
            b"BDAT 3 LAST\r\n",
            b"RSET\r\n",
            b"\r\n.\r\n",
            b".\r\n",
            b"\n",
            b"x\r\n",
        ];
        let word = select(words);
        prop_oneof![word.prop_map(<[u8]>::to_vec), vec(any::<u8>(), 0..20),]
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_changes_nothing(script in vec(pieces(), 0..30), size in 1_usize..40) {
            let script = script.concat();
            let mut whole = Talk::new(rules());
            whole.say(&script);
            let mut cut = Talk::new(rules());
            for piece in script.chunks(size) {
                if cut.closed { break; }
                cut.say(piece);
            }
            prop_assert_eq!(&whole.answers, &cut.answers);
            prop_assert_eq!(&whole.mail, &cut.mail);
            prop_assert!(whole.dialogue.held() <= SIZE);
            for mail in &whole.mail {
                prop_assert!(!mail.recipients.is_empty());
            }
        }
    }
}
