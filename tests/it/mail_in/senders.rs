//! Whose mail it is decides what becomes of it.

use hyper::Method;

use super::super::support::dkim::DkimKey;
use super::super::support::smtp::Smtp;
use super::{Office, mail};

#[tokio::test]
async fn the_sender_and_what_is_known_of_it_stand_in_the_message() {
    let office = Office::open(&[]).await;
    office.known("sender.test");
    office
        .world
        .dns
        .set_txt("_dmarc.strict.test", &["v=DMARC1; p=reject"]);
    office
        .world
        .dns
        .set_txt("_dmarc.soft.test", &["v=DMARC1; p=quarantine"]);
    for (from, reply) in [
        ("x@sender.test", "250 2.6.0"),
        ("x@stranger.test", "250 2.6.0"),
        ("x@soft.test", "250 2.6.0"),
        ("x@strict.test", "550 5.7.1"),
    ] {
        let said = office.send(from, &mail(from, "", "Hello."));
        assert!(said.starts_with(reply), "{from}: {said}");
    }
    office.world.dns.fail("_dmarc.broken.test");
    let said = office.send("x@broken.test", &mail("x@broken.test", "", "Hello."));
    assert!(said.starts_with("451 4.7.5"), "{said}");
    let inbox = office.site.inbox(&office.agent).await;
    let known: Vec<String> = inbox
        .iter()
        .map(|message| {
            let found = &message["sender_verification"];
            let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
            [
                text(&message["sender"]),
                text(&found["result"]),
                text(&found["method"]),
            ]
            .join(" ")
        })
        .collect();
    assert_eq!(
        known,
        [
            "x@sender.test verified dmarc",
            "x@stranger.test unsigned none",
            "x@soft.test invalid dmarc",
        ]
    );
}

#[tokio::test]
async fn policies_say_what_mail_may_do() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("mail.yaml"),
        "version: \"1.0\"\ndefault_policy: allow\nrules:\n\
         \x20 - {direction: bridge-in, sender_pattern: \"*@evil.test\", action: deny}\n\
         \x20 - {direction: bridge-in, require: [trusted], action: allow}\n",
    )
    .unwrap();
    let policies = folder.path().display().to_string();
    let office = Office::open(&[("AMTPD__POLICIES__DIR", &policies)]).await;
    office.known("sender.test");
    office.known("evil.test");
    for (from, reply) in [
        ("x@sender.test", "250 2.6.0"),
        ("x@evil.test", "550 5.7.1"),
        ("x@stranger.test", "550 5.7.1"),
    ] {
        let said = office.send(from, &mail(from, "", "Hello."));
        assert!(said.starts_with(reply), "{from}: {said}");
    }
}

#[tokio::test]
async fn nobody_outside_writes_in_the_name_of_an_agent_of_ours() {
    let office = Office::open(&[]).await;
    office.known("our.test");
    for (from, reply) in [
        ("agent@our.test", "550 5.7.1"),
        ("agent+x@our.test", "550 5.7.1"),
        ("person@our.test", "250 2.6.0"),
    ] {
        let said = office.send(from, &mail(from, "", "Hello."));
        assert!(said.starts_with(reply), "{from}: {said}");
    }
    office.world.dns.set_txt("our.test", &["v=spf1 -all"]);
    office
        .world
        .dns
        .set_txt("_dmarc.our.test", &["v=DMARC1; p=none"]);
}

#[tokio::test]
async fn a_message_that_another_bridge_made_a_mail_of_becomes_that_message_again() {
    let office = Office::open(&[]).await;
    let key = DkimKey::publish(&office.world.dns, "s", "far.test", "ed25519");
    office
        .world
        .dns
        .set_txt("_dmarc.far.test", &["v=DMARC1; p=none"]);
    let bridged = |id: &str, sum: u32| {
        let json = format!(
            r#"{{"version":"1.0","message_id":"{id}","idempotency_key":"k-{id}","sender":"buyer@far.test","recipients":["agent@our.test","other@elsewhere.test"],"payload":{{"sum":{sum}}}}}"#
        );
        format!(
            "From: Buyer via AMTP <amtp-bridge@far.test>\r\nTo: agent@our.test\r\nSubject: [AMTP] Order\r\n\
             Message-ID: <{id}@far.test>\r\nX-AMTP-Message-ID: {id}\r\nX-AMTP-Sender: buyer@far.test\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=cut\r\n\r\n--cut\r\nContent-Type: text/plain\r\n\r\nAn order.\r\n\
             --cut\r\nContent-Type: application/json; name=\"message.amtp.json\"\r\n\
             Content-Disposition: attachment; filename=\"message.amtp.json\"\r\n\r\n{json}\r\n--cut--\r\n"
        )
    };
    let signed = String::from_utf8(key.sign(bridged("one", 5).as_bytes())).unwrap();
    let replayed = signed.replace("\"sum\":5", "\"sum\":50000");
    let forged = bridged("two", 7);
    for text in [&signed, &replayed, &forged] {
        let said = office.send("b@far.test", text);
        assert!(said.starts_with("250 2.6.0"), "{said}");
    }
    let inbox = office.site.inbox(&office.agent).await;
    assert_eq!(inbox.len(), 3);
    assert_eq!(inbox[0]["message_id"], "one");
    assert_eq!(inbox[0]["sender"], "buyer@far.test");
    assert_eq!(inbox[0]["payload"]["sum"], 5);
    assert_eq!(inbox[0]["sender_verification"]["method"], "dmarc");
    for plain in &inbox[1..] {
        assert_eq!(plain["sender"], "amtp-bridge@far.test", "{plain}");
        assert_eq!(plain["schema"], "agntcy:email.message.v1");
        assert_eq!(plain["payload"]["sum"], serde_json::Value::Null);
    }
    // The same again, to an address it was not meant for: it is plain mail there.
    let mut client = Smtp::greeted(office.smtp);
    let said = client.mail("b@far.test", &["postmaster@our.test"], signed.as_bytes());
    assert!(said.starts_with("250 2.6.0"), "{said}");
    let inbox = office.site.inbox(&office.agent).await;
    assert_eq!(inbox.len(), 3, "nobody else gets it, here or elsewhere");
}

#[tokio::test]
async fn a_known_sender_hears_of_the_recipients_that_were_refused_beside_others() {
    let folder = tempfile::tempdir().unwrap();
    let rules = "version: \"1.0\"\ndefault_policy: allow\nrules:\n\
                 \x20 - {direction: bridge-in, recipient_pattern: ops@our.test, action: deny}\n";
    std::fs::write(folder.path().join("mail.yaml"), rules).unwrap();
    let policies = folder.path().display().to_string();
    let office = Office::open(&[("AMTPD__POLICIES__DIR", &policies)]).await;
    office.known("sender.test");
    for domain in ["sender.test", "stranger.test"] {
        office.world.dns.fail(&format!("_amtp.{domain}"));
        let from = format!("x@{domain}");
        let mut client = Smtp::greeted(office.smtp);
        let text = mail(&from, "Message-ID: <1@x.test>\r\n", "To both.");
        for _ in 0..2 {
            let to = ["agent@our.test", "ops@our.test"];
            let said = client.mail(&from, &to, text.as_bytes());
            assert!(said.starts_with("250 2.6.0"), "{said}");
        }
    }
    assert_eq!(office.site.inbox(&office.agent).await.len(), 2);
    let path = "/v1/admin/deliveries";
    let (_, queue) = office.site.admin(Method::GET, path, None).await;
    let queue = queue["deliveries"].as_array().unwrap();
    assert_eq!(queue.len(), 1, "{queue:?}");
    assert_eq!(queue[0]["recipient"], "x@sender.test");
    assert_eq!(queue[0]["sender"], "postmaster@our.test");
}
