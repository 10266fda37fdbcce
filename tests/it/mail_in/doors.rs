//! The dialogue over a real socket: limits, times, TLS, and what must not get through.

use std::process::Command;

use super::super::support::smtp::Smtp;
use super::super::support::words;
use super::{Office, mail};

#[tokio::test]
async fn nobody_but_our_agents_gets_mail_and_nothing_is_passed_on() {
    let office = Office::open(&[]).await;
    let mut client = Smtp::greeted(office.smtp);
    assert!(
        client
            .say("MAIL FROM:<x@sender.test>\r\n")
            .starts_with("250")
    );
    for (to, reply) in [
        ("agent@our.test", "250 2.1.5"),
        ("AGENT+tag@Our.Test", "250 2.1.5"),
        ("postmaster@our.test", "250 2.1.5"),
        ("postmaster", "250 2.1.5"),
        ("abuse@our.test", "250 2.1.5"),
        ("nobody@our.test", "550 5.1.1"),
        ("workflow@our.test", "550 5.1.1"),
        ("bounce+forged@our.test", "550 5.1.1"),
        ("x@elsewhere.test", "550 5.7.1"),
        ("x%elsewhere.test@our.test", "550 5.1.1"),
        ("@our.test:x@elsewhere.test", "550 5.7.1"),
    ] {
        let said = client.say(&format!("RCPT TO:<{to}>\r\n"));
        assert!(said.starts_with(reply), "{to}: {said}");
    }
}

#[tokio::test]
async fn an_end_that_is_none_smuggles_nothing_in() {
    let office = Office::open(&[]).await;
    let mut client = Smtp::greeted(office.smtp);
    let start = "MAIL FROM:<x@sender.test>\r\nRCPT TO:<agent@our.test>\r\nDATA\r\n";
    for end in [
        "\n.\n",
        "\n.\r\n",
        "\r.\r\n",
        "\r\n.\n",
        "\r\n.\r\r\n",
        "\r.\r",
    ] {
        client.send(start.as_bytes());
        for code in ["250", "250", "354"] {
            assert!(client.reply().starts_with(code));
        }
        let inner = mail("boss@sender.test", "", "Smuggled.");
        let outer = mail("x@sender.test", "", "Plain.");
        let whole = format!("{outer}{end}{start}{inner}\r\n.\r\n");
        let said = client.say(&whole);
        assert!(
            said.starts_with("550 5.6.0"),
            "{}: {said}",
            end.escape_debug()
        );
    }
    assert!(
        client.say("NOOP\r\n").starts_with("250"),
        "all of it was content"
    );
    assert!(office.site.inbox(&office.agent).await.is_empty());
}

#[tokio::test]
async fn what_is_sent_with_starttls_is_not_read_after_it() {
    let office = Office::open(&[]).await;
    let mut client = Smtp::greeted(office.smtp);
    let said = client.say("STARTTLS\r\nMAIL FROM:<x@sender.test>\r\n");
    assert!(said.starts_with("554 5.5.1"), "{said}");
    assert!(client.ends());
    // What comes after the reply, but is no handshake, ends it too.
    let mut client = Smtp::greeted(office.smtp);
    assert!(client.say("STARTTLS\r\n").starts_with("220"));
    let said = client.say("EHLO client.test\r\n");
    assert!(
        !said.starts_with(['2', '3', '4', '5']),
        "no reply to that: {said}"
    );
    assert!(client.ends());
}

#[tokio::test]
async fn a_mail_of_26_mebibytes_is_refused_announced_or_not() {
    let office = Office::open(&[]).await;
    let mut client = Smtp::greeted(office.smtp);
    let said = client.say("MAIL FROM:<x@sender.test> SIZE=27262976\r\n");
    assert!(said.starts_with("552 5.3.4"), "{said}");
    let line = format!("{}\r\n", "x".repeat(998));
    let large = line.repeat(27_262_976 / 1_000 + 1);
    let large = format!("{}{large}", mail("x@sender.test", "", ""));
    let said = client.mail("x@sender.test", &[&office.agent.address], large.as_bytes());
    assert!(said.starts_with("552 5.3.4"), "{said}");
    let said = client.mail(
        "x@sender.test",
        &[&office.agent.address],
        b"Subject: x\r\nFrom: x@sender.test\r\n\r\nSmall.\r\n",
    );
    assert!(
        said.starts_with("250 2.6.0"),
        "the connection goes on: {said}"
    );
}

#[tokio::test]
async fn who_is_silent_too_early_or_errs_too_often_is_sent_away() {
    let office = Office::open(&[
        ("AMTPD__SMTP__COMMAND_TIMEOUT", "2s"),
        ("AMTPD__SMTP__GREETING_DELAY", "500ms"),
        ("AMTPD__SMTP__ERRORS", "3"),
    ])
    .await;
    let mut early = Smtp::open(office.smtp);
    assert!(early.say("EHLO client.test\r\n").starts_with("554 5.5.1"));
    assert!(early.ends());
    let mut silent = Smtp::greeted(office.smtp);
    assert!(
        silent.reply().starts_with("421 4.4.2"),
        "silence has an end"
    );
    assert!(silent.ends());
    let mut wrong = Smtp::greeted(office.smtp);
    for _ in 0..3 {
        assert!(wrong.say("FOO\r\n").starts_with("500"));
    }
    assert!(wrong.say("FOO\r\n").starts_with("421 4.7.0"));
    assert!(wrong.ends());
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_no_more() {
    let office = Office::open(&[("AMTPD__SMTP__CONNECTIONS_PER_ADDRESS", "2")]).await;
    let held = [Smtp::greeted(office.smtp), Smtp::greeted(office.smtp)];
    let mut third = Smtp::open(office.smtp);
    assert!(third.reply().starts_with("421 4.7.0"));
    drop(held);
}

#[tokio::test]
async fn one_address_connects_so_often_and_brings_so_many_mails_and_no_more() {
    let office = Office::open(&[("AMTPD__SMTP__CONNECTION_RATE", "2/h")]).await;
    for _ in 0..2 {
        drop(Smtp::greeted(office.smtp));
    }
    let mut third = Smtp::open(office.smtp);
    assert!(third.reply().starts_with("421 4.7.0"));
    assert!(third.ends());
    let office = Office::open(&[("AMTPD__SMTP__MESSAGE_RATE", "3/h")]).await;
    let mut client = Smtp::greeted(office.smtp);
    let text = mail("x@sender.test", "", "Hello.");
    let to = ["agent@our.test", "ops@our.test"];
    let said = client.mail("x@sender.test", &to, text.as_bytes());
    assert!(
        said.starts_with("250 2.6.0"),
        "one mail, whoever gets it: {said}"
    );
    // Names that nobody has count as well, and so do reports.
    for (to, reply) in [
        ("nobody@our.test", "550 5.1.1"),
        ("bounce+forged@our.test", "550 5.1.1"),
        ("agent@our.test", "450 4.7.1"),
        ("nobody@our.test", "450 4.7.1"),
    ] {
        let said = client.mail("", &[to], text.as_bytes());
        assert!(said.starts_with(reply), "{to}: {said}");
    }
    let mut other = Smtp::greeted(office.smtp);
    let said = other.mail("x@sender.test", &["agent@our.test"], text.as_bytes());
    assert!(said.starts_with("450 4.7.1"), "however it connects: {said}");
    // Who is trusted to speak for others is not counted.
    let trusted = [
        ("AMTPD__SMTP__MESSAGE_RATE", "1/h"),
        ("AMTPD__SMTP__CONNECTION_RATE", "1/h"),
        ("AMTPD__LISTEN__TRUSTED_PROXIES", "[127.0.0.0/8]"),
    ];
    let office = Office::open(&trusted).await;
    for number in 0..3 {
        let text = mail("x@sender.test", "", &format!("Number {number}."));
        let said = office.send("x@sender.test", &text);
        assert!(said.starts_with("250 2.6.0"), "{said}");
    }
}

#[tokio::test]
async fn while_too_much_mail_comes_in_more_is_asked_to_come_again() {
    let office = Office::open(&[
        ("AMTPD__SMTP__MEMORY", "1MiB"),
        ("AMTPD__SMTP__MESSAGE_SIZE", "1MiB"),
    ])
    .await;
    let line = format!("{}\r\n", "x".repeat(998));
    let much = line.repeat(1_000);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = Smtp::greeted(office.smtp);
        client.send(b"MAIL FROM:<x@sender.test>\r\nRCPT TO:<agent@our.test>\r\n");
        let chunk = mail("x@sender.test", "", &much);
        client.send(format!("BDAT {}\r\n{chunk}", chunk.len()).as_bytes());
        // The third reply says that all of it is in memory.
        for code in ["250", "250", "250"] {
            assert!(client.reply().starts_with(code));
        }
        held.push(client);
    }
    let mut third = Smtp::greeted(office.smtp);
    let said = third.mail(
        "x@sender.test",
        &["agent@our.test"],
        mail("x@sender.test", "", &much).as_bytes(),
    );
    assert!(said.starts_with("452 4.3.1"), "{said}");
    for mut client in held {
        let said = client.say("BDAT 0 LAST\r\n");
        assert!(said.starts_with("250 2.6.0"), "{said}");
    }
    let said = third.mail(
        "x@sender.test",
        &["agent@our.test"],
        mail("x@sender.test", "", &much).as_bytes(),
    );
    assert!(said.starts_with("250 2.6.0"), "{said}");
}

#[tokio::test]
async fn swaks_brings_mail_over_tls_and_in_the_clear() {
    let office = Office::open(&[]).await;
    for (tls, version) in [
        (&["--tls"][..], "TLSv1_3"),
        (&["--tls", "--tls-protocol", "tlsv1_2"], "TLSv1_2"),
        (&[], ""),
    ] {
        let done = Command::new("swaks")
            .args([
                "--server",
                &office.smtp.to_string(),
                "--from",
                "x@sender.test",
            ])
            .args([
                "--to",
                "agent@our.test,nobody@our.test",
                "--body",
                "From swaks.",
            ])
            .args(tls)
            .output()
            .expect("swaks is installed");
        let said = words(&done);
        assert!(said.contains("250 2.6.0 Taken as"), "{said}");
        assert!(said.contains("550 5.1.1"), "{said}");
        assert_eq!(said.contains("TLS started"), !tls.is_empty(), "{said}");
        assert!(said.replace('.', "_").contains(version), "{said}");
    }
    let inbox = office.site.inbox(&office.agent).await;
    assert_eq!(inbox.len(), 3);
    assert!(
        inbox[0]["payload"]["text"]
            .as_str()
            .unwrap()
            .contains("From swaks.")
    );
}
