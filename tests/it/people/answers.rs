//! What comes back from people and from their mail server.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Town, free, read_mail};
use crate::support::postfix::Postfix;
use crate::support::smtp::Smtp;

/// A town whose mail server hands the mail of `a.test` to its gateway, and may speak for its people.
struct Village {
    town: Town,
    /// Where the gateway takes mail.
    door: SocketAddr,
}

impl Village {
    async fn build(address: &str, more: &[(&str, &str)]) -> Self {
        let door = free(address);
        let text = door.to_string();
        let usual = [
            ("AMTPD__LISTEN__SMTP", text.as_str()),
            ("AMTPD__POSTMASTER", "alice"),
        ];
        let town = Town::build(address, &["dora"], &[&usual, more].concat()).await;
        town.postfix.route("a.test", door);
        for name in ["people.test", "mx.people.test"] {
            let record = "v=spf1 ip4:127.0.0.1 -all";
            town.world.dns.set_txt(name, &[record]);
        }
        let policy = "v=DMARC1; p=reject";
        town.world.dns.set_txt("_dmarc.people.test", &[policy]);
        Self { town, door }
    }

    /// Lets dora write, by the mail server of her domain.
    fn write(&self, to: &[&str], id: &str, more: &str) {
        let mail = format!(
            "From: Dora <dora@people.test>\r\nTo: {}\r\nSubject: Re: An order\r\n\
             Message-ID: <{id}@people.test>\r\n{more}\r\nYes, on Monday.\r\n",
            to.join(", ")
        );
        let mut client = Smtp::greeted(self.town.server());
        let said = client.mail("dora@people.test", to, mail.as_bytes());
        assert!(said.starts_with("250"), "{said}");
    }

    /// The texts of dora's mails, as soon as there are so many.
    async fn texts(&self, count: usize) -> Vec<String> {
        let mails = self.town.mails("dora", count).await;
        let read = |file: &std::path::PathBuf| std::fs::read_to_string(file).unwrap();
        mails.iter().map(read).collect()
    }
}

fn named<'a>(inbox: &'a [Value], schema: &str) -> Vec<&'a Value> {
    inbox.iter().filter(|it| it["schema"] == schema).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_a_person_is_a_reply_and_the_reply_to_it_stays_in_her_thread() {
    let village = Village::build("127.0.31.5", &[]).await;
    let (town, alice) = (&village.town, &village.town.alice);
    let other = town.a.send(alice, &["dora@people.test"], json!(1)).await;
    town.mails("dora", 1).await;
    let id = town
        .a
        .send(alice, &["dora@people.test"], json!({ "order": 7 }))
        .await;
    assert_ne!(id, other);
    let mails = town.mails("dora", 2).await;
    let read: Vec<Value> = mails.iter().map(|it| read_mail(it, &json!({}))).collect();
    let mail = read.iter().find(|it| it["message"]["message_id"] == id);
    let asked = mail.unwrap()["message_id"].as_str().unwrap().to_owned();
    let more = format!("In-Reply-To: {asked}\r\nReferences: {asked}\r\n");
    village.write(&[&alice.address], "one", &more);
    let answer = town.a.mail(alice, 1).await.remove(0);
    assert_eq!(answer["in_reply_to"], id, "{answer}");
    assert_eq!(answer["sender"], "dora@people.test");
    assert_eq!(answer["schema"], "agntcy:email.message.v1");
    assert_eq!(
        answer["payload"]["text"].as_str().unwrap().trim(),
        "Yes, on Monday."
    );
    assert_eq!(answer["sender_verification"]["method"], "dmarc", "{answer}");
    // It goes as mail at once, into the thread of her mail client.
    let thanks = json!({
        "sender": alice.address,
        "recipients": ["dora@people.test"],
        "in_reply_to": answer["message_id"],
        "payload": "Thanks",
    });
    let thanks = town.a.submit(alice, thanks).await;
    town.recipient(&thanks, "dora@people.test", "delivered")
        .await;
    assert!(!town.trace(&thanks).await.contains("it goes on as mail"));
    let texts = village.texts(3).await;
    let found = texts.iter().find(|it| it.contains(&thanks)).unwrap();
    assert!(found.contains("In-Reply-To: <one@people.test>"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_in_front_may_hand_mail_over_by_lmtp() {
    let village = Village::build("127.0.31.9", &[]).await;
    let (town, alice) = (&village.town, &village.town.alice);
    let bob = town.a.agent("bob").await;
    town.postfix.route_by("lmtp", "a.test", village.door);
    let to = [alice.address.as_str(), &bob.address, "nobody@a.test"];
    village.write(&to, "lmtp", "");
    for agent in [alice, &bob] {
        let mail = town.a.mail(agent, 1).await.remove(0);
        assert_eq!(mail["sender"], "dora@people.test", "{mail}");
    }
    let report = village.texts(1).await.remove(0);
    assert!(report.contains("rfc822; nobody@a.test"), "{report}");
    let log = town.postfix.log();
    assert!(log.contains("postfix/lmtp"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_to_the_return_path_fails_the_delivery_and_tells_the_agent() {
    let village = Village::build("127.0.31.6", &[]).await;
    let (town, alice) = (&village.town, &village.town.alice);
    // The server takes it, and finds out later that nobody is there.
    town.postfix.alias("gone@people.test", "nobody@people.test");
    let id = town.a.send(alice, &["gone@people.test"], json!(1)).await;
    let failed = town.recipient(&id, "gone@people.test", "failed").await;
    assert_eq!(failed["error_code"], "RECIPIENT_NOT_FOUND", "{failed}");
    let inbox = town.a.mail(alice, 1).await;
    assert_eq!(inbox.len(), 1, "the report itself is no message: {inbox:?}");
    assert_eq!(inbox[0]["message_type"], "delivery_failure");
    let told = &inbox[0]["payload"];
    assert_eq!(told["original_message_id"], id.as_str(), "{told}");
    assert_eq!(told["failed_recipients"], json!(["gone@people.test"]));
    let trace = town.trace(&id).await;
    assert!(trace.contains("the mail came back: 5.1.1"), "{trace}");
    // Nobody can make such an address up.
    let mut client = Smtp::greeted(village.door);
    let made_up = format!("bounce+{}@a.test", "a".repeat(42));
    let said = client.mail("", &[&made_up], b"Subject: no\r\n\r\n");
    assert!(said.starts_with("550 5.1.1"), "{said}");
}

/// A report of `people.test` that nobody can know to be from there.
fn report(status: &str) -> String {
    format!(
        "From: MAILER-DAEMON@people.test\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=cut\r\n\r\n\
         --cut\r\nContent-Type: text/plain\r\n\r\nNo.\r\n\
         --cut\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.people.test\r\n\r\n\
         Final-Recipient: rfc822; dora@people.test\r\nAction: failed\r\nStatus: {status}\r\n\r\n--cut--\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_to_a_return_path_counts_by_the_path_and_a_flood_of_it_once() {
    let village = Village::build("127.0.31.11", &[]).await;
    let (town, alice) = (&village.town, &village.town.alice);
    let id = town.a.send(alice, &["dora@people.test"], json!(1)).await;
    town.recipient(&id, "dora@people.test", "delivered").await;
    let mail = town.mails("dora", 1).await.remove(0);
    let read = read_mail(&mail, &json!({}));
    let path = read["return_path"].as_str().unwrap();
    let path = path.trim_matches(['<', '>']);
    // A person's mail program may answer there; nobody else may.
    village.write(&[path], "four", "");
    let answer = town.a.mail(alice, 1).await.remove(0);
    assert_eq!(answer["in_reply_to"], id, "{answer}");
    assert_eq!(answer["sender"], "dora@people.test");
    let mut client = Smtp::greeted(village.door);
    let text = b"From: x@stranger.test\r\nSubject: Hello\r\n\r\nHello.\r\n";
    let said = client.mail("x@stranger.test", &[path], text);
    assert!(said.starts_with("550 5.7.1"), "{said}");
    // What the domain says of its mail (p=reject) is asked for other mail only.
    let said = client.mail("", &[&alice.address], report("5.1.1").as_bytes());
    assert!(said.starts_with("550 5.7.1"), "{said}");
    for number in 0..50 {
        let text = format!("X-Number: {number}\r\n{}", report("5.2.2"));
        let said = client.mail("", &[path], text.as_bytes());
        assert!(said.starts_with("250 2.6.0"), "{said}");
    }
    let failed = town.recipient(&id, "dora@people.test", "failed").await;
    assert_eq!(failed["error_code"], "MAILBOX_FULL", "{failed}");
    let inbox = town.a.inbox(alice).await;
    let told = inbox
        .iter()
        .filter(|it| it["message_type"] == "delivery_failure");
    assert_eq!((inbox.len(), told.count()), (2, 1), "{inbox:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_by_a_report_who_did_not_get_her_mail() {
    let village = Village::build("127.0.31.7", &[]).await;
    let (town, alice) = (&village.town, &village.town.alice);
    let picky = json!({ "address": "picky", "supported_schemas": ["agntcy:order.*"] });
    let (status, _) = town
        .a
        .admin(hyper::Method::POST, "/v1/admin/agents", Some(picky))
        .await;
    assert_eq!(status, 201);
    village.write(&[&alice.address, "picky@a.test"], "two", "");
    assert_eq!(
        named(&town.a.mail(alice, 1).await, "agntcy:email.message.v1").len(),
        1
    );
    let report = village.texts(1).await.remove(0);
    for part in [
        "Return-Path: <>",
        "multipart/report",
        "In-Reply-To: <two@people.test>",
        "Final-Recipient: rfc822; picky@a.test",
        "Status: 5.6.0",
    ] {
        assert!(report.contains(part), "{part}:\n{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_for_people_of_ours_goes_on_as_it_came_and_its_failure_comes_back() {
    let hop = free("127.0.31.8");
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::support::pki::Ca::new(folder.path());
    let issued = ca.issue(&["mx.a.test"], folder.path());
    let people = Postfix::start(hop, "a.test", &["paul"], &issued);
    let next = hop.to_string();
    let village = Village::build(
        "127.0.31.8",
        &[
            ("AMTPD__BRIDGE__DOMAINS", "[a.test]"),
            ("AMTPD__BRIDGE__NEXT_HOP", &next),
        ],
    )
    .await;
    village.write(
        &["paul@a.test", "nobody@a.test"],
        "three",
        "X-Mark: whole\r\n",
    );
    let paul = crate::support::eventually("mail", std::time::Duration::from_secs(30), || {
        let mails = people.mails("paul");
        mails.first().map(|it| std::fs::read_to_string(it).unwrap())
    })
    .await;
    for part in [
        "X-Mark: whole",
        "Message-ID: <three@people.test>",
        "Received: by gateway.a.test",
    ] {
        assert!(paul.contains(part), "{part}:\n{paul}");
    }
    let report = village.texts(1).await.remove(0);
    for part in [
        "In-Reply-To: <three@people.test>",
        "rfc822; nobody@a.test",
        "5.1.1",
    ] {
        assert!(report.contains(part), "{part}:\n{report}");
    }
    // An agent reaches its people, too.
    let (town, alice) = (&village.town, &village.town.alice);
    let id = town.a.send(alice, &["paul@a.test"], json!(1)).await;
    town.recipient(&id, "paul@a.test", "delivered").await;
}
