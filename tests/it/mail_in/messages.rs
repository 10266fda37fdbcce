//! What a mail becomes, and that it is there once it is taken.

use std::process::Command;

use serde_json::json;

use super::super::support::smtp::Smtp;
use super::super::support::words;
use super::{Office, mail};

#[tokio::test]
async fn what_is_taken_is_on_disk_and_comes_once() {
    let mut office = Office::open(&[]).await;
    let text = mail("x@sender.test", "Message-ID: <1@sender.test>\r\n", "Once.");
    let said = office.send("x@sender.test", &text);
    assert!(said.starts_with("250 2.6.0"), "{said}");
    office.site.kill();
    office.site.run().await;
    // The reply was lost, so the client sends it again; a server on the way adds a line.
    let again = format!("Received: from a by b; Mon, 2 Nov 2026 10:00:00 +0000\r\n{text}");
    let said_again = office.send("x@sender.test", &again);
    assert_eq!(said_again, said, "it goes by the same id");
    // Another text under the same id is another mail; so is the same one to others.
    let other = mail("x@sender.test", "Message-ID: <1@sender.test>\r\n", "Twice.");
    assert!(
        office
            .send("x@sender.test", &other)
            .starts_with("250 2.6.0")
    );
    let mut client = Smtp::greeted(office.smtp);
    let said = client.mail("x@sender.test", &["ops@our.test"], text.as_bytes());
    assert!(said.starts_with("250 2.6.0"), "{said}");
    let inbox = office.site.inbox(&office.agent).await;
    let texts: Vec<&str> = inbox
        .iter()
        .map(|message| message["payload"]["text"].as_str().unwrap().trim())
        .collect();
    assert_eq!(texts, ["Once.", "Twice."]);
}

#[tokio::test]
async fn an_answer_belongs_to_the_message_if_its_writer_got_it() {
    let office = Office::open(&[]).await;
    office.known("people.test");
    let id = office
        .site
        .send(
            &office.agent,
            &["person@people.test"],
            json!({"question": "When?"}),
        )
        .await;
    let answer = |from: &str, field: &str| {
        let more = format!("{field}: <{id}@our.test>\r\n");
        mail(
            from,
            &more,
            "Tomorrow.\r\n\r\nOn Monday the agent wrote:\r\n> When?",
        )
    };
    for (from, field) in [
        ("person@people.test", "In-Reply-To"),
        ("person@people.test", "References"),
        ("stranger@people.test", "In-Reply-To"),
    ] {
        let said = office.send(from, &answer(from, field));
        assert!(said.starts_with("250 2.6.0"), "{said}");
    }
    let mut inbox = office.site.inbox(&office.agent).await;
    // The notice that mail does not go out from here is there too.
    inbox.retain(|message| message["schema"] == "agntcy:email.message.v1");
    let answered: Vec<&str> = inbox
        .iter()
        .map(|message| message["in_reply_to"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(answered, [id.as_str(), id.as_str(), ""]);
    assert_eq!(
        inbox[0]["payload"]["text"].as_str().unwrap().trim(),
        "Tomorrow."
    );
    assert!(
        inbox[0]["payload"]["quoted"]
            .as_str()
            .unwrap()
            .contains("When?")
    );
}

#[tokio::test]
async fn what_machines_write_is_marked_and_what_comes_back_is_refused() {
    let office = Office::open(&[]).await;
    let bounce = "MIME-Version: 1.0\r\nAuto-Submitted: auto-replied\r\n\
                  Content-Type: multipart/report; report-type=delivery-status; boundary=cut\r\n";
    let report = "--cut\r\nContent-Type: text/plain\r\n\r\nNo.\r\n--cut\r\nContent-Type: message/delivery-status\r\n\r\n\
                  Reporting-MTA: dns; mx.sender.test\r\n\r\nFinal-Recipient: rfc822; x@sender.test\r\nAction: failed\r\n\
                  Status: 5.1.1\r\n\r\n--cut--";
    for (from, more, text, reply) in [
        (
            "x@sender.test",
            "Auto-Submitted: auto-replied\r\n",
            "I am away.",
            "250",
        ),
        (
            "x@sender.test",
            "Precedence: bulk\r\nList-Id: <l.sender.test>\r\n",
            "News.",
            "250",
        ),
        ("mailer-daemon@sender.test", bounce, report, "250"),
        ("x@sender.test", "", "By hand.", "250"),
        (
            "x@sender.test",
            "X-AMTP-Via: our.test\r\n",
            "Back again.",
            "554 5.4.6",
        ),
        (
            "x@sender.test",
            "Message-ID: <abc@our.test>\r\n",
            "Back again.",
            "554 5.4.6",
        ),
        (
            "x@sender.test",
            "X-AMTP-Hops: 20\r\n",
            "Round.",
            "554 5.4.6",
        ),
    ] {
        let said = office.send("", &mail(from, more, text));
        assert!(said.starts_with(reply), "{more}: {said}");
    }
    let far = "Received: from a by b; Mon, 2 Nov 2026 10:00:00 +0000\r\n".repeat(101);
    let said = office.send("", &mail("x@sender.test", &far, "Round."));
    assert!(said.starts_with("554 5.4.6"), "{said}");
    let inbox = office.site.inbox(&office.agent).await;
    let marked: Vec<bool> = inbox
        .iter()
        .map(|message| !message["headers"]["x-amtp-auto"].is_null())
        .collect();
    assert_eq!(marked, [true, true, true, false], "{inbox:?}");
}

#[tokio::test]
async fn a_mail_of_python_keeps_its_texts_and_its_charsets() {
    let office = Office::open(&[]).await;
    let script = format!(
        r#"
import smtplib
from email.message import EmailMessage
m = EmailMessage()
m["From"] = "Zoë Ärmel <zoe@sender.test>"
m["To"] = "agent@our.test"
m["Subject"] = "Grüße aus Köln"
m.set_content("Zwölf Kisten für 9 €", charset="iso-8859-15")
m.add_alternative("<p>Zwölf Kisten</p>", subtype="html")
with smtplib.SMTP("{}", {}) as s:
    s.starttls()
    s.send_message(m)
    s.send_message(m, to_addrs=["agent@our.test", "postmaster@our.test"])
"#,
        office.smtp.ip(),
        office.smtp.port()
    );
    let done = Command::new("python3")
        .args(["-c", &script])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", words(&done));
    let inbox = office.site.inbox(&office.agent).await;
    assert_eq!(inbox.len(), 2);
    let message = &inbox[0];
    assert_eq!(message["subject"], "Grüße aus Köln");
    let payload = &message["payload"];
    assert_eq!(
        payload["text"].as_str().unwrap().trim(),
        "Zwölf Kisten für 9 €"
    );
    assert!(
        payload["html"]
            .as_str()
            .unwrap()
            .contains("<p>Zwölf Kisten</p>")
    );
    assert_eq!(payload["from_name"], "Zoë Ärmel");
}
