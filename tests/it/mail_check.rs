//! Who a mail is from: SPF, DKIM, DMARC and ARC over a DNS server of the test, signatures by dkimpy.

use std::net::IpAddr;
use std::time::Duration;

use amtpd::auth::{MailCheck, MailOutcome, MailRequest, MailSent, MailVerdict, Wholeness};
use amtpd::clock::Clock;
use amtpd::net::pooled_resolver;
use amtpd::protocol::Domain;

use super::support::dkim::DkimKey;
use super::support::dns::DnsServer;

const HERE: &str = "192.0.2.10";

struct World {
    dns: DnsServer,
    check: MailCheck,
}

impl World {
    fn new() -> Self {
        let dns = DnsServer::start();
        dns.set_ttl(Duration::ZERO);
        let resolver = pooled_resolver(&[dns.address()], Duration::from_millis(300)).unwrap();
        let forwarders = [domain("lists.test")];
        let check = MailCheck::new(resolver, "mx.our.test", &forwarders, Clock::system());
        Self { dns, check }
    }

    async fn look(&self, path: &str, raw: &[u8]) -> MailVerdict {
        let remote: IpAddr = HERE.parse().unwrap();
        let sent = MailSent {
            remote,
            hello: "client.test".to_owned(),
            reverse_path: path.to_owned(),
            raw: raw.to_vec().into(),
        };
        self.check.check(sent).await
    }
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn mail(from: &str) -> Vec<u8> {
    format!(
        "From: {from}\r\nTo: agent@our.test\r\nSubject: An order\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain\r\n\r\nTwelve boxes, please.\r\n"
    )
    .into_bytes()
}

fn verified(method: &'static str, name: &str, whole: Wholeness) -> MailOutcome {
    MailOutcome::Verified {
        method,
        domain: domain(name),
        whole,
    }
}

fn failed(request: MailRequest) -> MailOutcome {
    MailOutcome::Failed { request }
}

#[tokio::test]
async fn spf_and_dmarc_say_whose_mail_it_is() {
    use MailRequest::{Refuse, Take};
    let world = World::new();
    let here = format!("v=spf1 ip4:{HERE} -all");
    for (name, record) in [
        ("good.test", here.as_str()),
        ("open.test", here.as_str()),
        ("mail.good.test", here.as_str()),
        ("strict.test", "v=spf1 -all"),
        ("soft.test", "v=spf1 ~all"),
        ("endless.test", "v=spf1 include:endless.test -all"),
        ("bare.test", here.as_str()),
    ] {
        world.dns.set_txt(name, &[record]);
    }
    for (name, policy) in [
        ("good.test", "reject"),
        ("strict.test", "reject"),
        ("soft.test", "quarantine"),
        ("endless.test", "none"),
        ("open.test", "reject; aspf=s"),
    ] {
        let record = format!("v=DMARC1; p={policy}");
        world.dns.set_txt(&format!("_dmarc.{name}"), &[&record]);
    }
    let proved = Wholeness::Proved;
    for (path, from, outcome) in [
        (
            "x@good.test",
            "x@good.test",
            verified("dmarc", "good.test", proved),
        ),
        (
            "b+1@mail.good.test",
            "X <x@good.test>",
            verified("dmarc", "good.test", proved),
        ),
        (
            "x@good.test",
            "x@mail.good.test",
            verified("dmarc", "mail.good.test", proved),
        ),
        // Another's domain that SPF passes for helps nobody.
        ("x@open.test", "x@good.test", failed(Refuse)),
        ("x@strict.test", "x@strict.test", failed(Refuse)),
        ("x@soft.test", "x@soft.test", failed(Take)),
        ("x@endless.test", "x@endless.test", failed(Take)),
        ("", "x@good.test", failed(Refuse)),
        // Without a DMARC record SPF of exactly this domain counts.
        (
            "x@bare.test",
            "x@bare.test",
            MailOutcome::Vouched {
                method: "spf",
                domain: domain("bare.test"),
            },
        ),
        ("x@bare.test", "x@other.test", MailOutcome::Unknown),
        ("x@none.test", "x@none.test", MailOutcome::Unknown),
        // One author only.
        (
            "x@good.test",
            "x@good.test, y@evil.test",
            MailOutcome::Unknown,
        ),
        (
            "x@good.test",
            "x@good.test, y@good.test",
            MailOutcome::Unknown,
        ),
        ("x@good.test", "nobody", MailOutcome::Unknown),
    ] {
        let verdict = world.look(path, &mail(from)).await;
        assert_eq!(verdict.outcome, outcome, "{path} {from}: {verdict:?}");
    }
    let twice = [b"From: x@good.test\r\n".as_slice(), &mail("y@evil.test")].concat();
    assert_eq!(
        world.look("x@good.test", &twice).await.outcome,
        MailOutcome::Unknown
    );
}

#[tokio::test]
async fn a_signature_of_another_program_is_verified_and_changes_break_it() {
    let world = World::new();
    world
        .dns
        .set_txt("_dmarc.signed.test", &["v=DMARC1; p=reject"]);
    for kind in ["rsa", "ed25519"] {
        let selector = format!("s-{kind}");
        let key = DkimKey::publish(&world.dns, &selector, "signed.test", kind);
        let signed = key.sign(&mail("x@signed.test"));
        let whole = verified("dmarc", "signed.test", Wholeness::Proved);
        let verdict = world.look("b@elsewhere.test", &signed).await;
        assert_eq!((&verdict.outcome, verdict.dkim), (&whole, "pass"), "{kind}");
        let text = String::from_utf8(signed).unwrap();
        for (what, changed) in [
            ("body", text.replace("Twelve", "Twenty")),
            ("subject", text.replace("An order", "No order")),
            ("structure", text.replace("text/plain", "text/html")),
            ("more", format!("{text}And a million.\r\n")),
            ("another author", text.replacen("From: x@", "From: y@", 1)),
        ] {
            let verdict = world.look("b@elsewhere.test", changed.as_bytes()).await;
            assert_eq!(
                verdict.outcome,
                failed(MailRequest::Refuse),
                "{kind} {what}"
            );
            assert_ne!(verdict.dkim, "pass", "{kind} {what}");
        }
        let verdict = world
            .look("b@elsewhere.test", &key.sign(&mail("x@victim.test")))
            .await;
        assert_eq!(
            verdict.outcome,
            MailOutcome::Unknown,
            "signed by a stranger"
        );
    }
}

#[tokio::test]
async fn a_signature_that_leaves_the_structure_open_does_not_vouch_for_the_content() {
    let world = World::new();
    let key = DkimKey::publish(&world.dns, "s", "signed.test", "rsa");
    let signed = key.sign(b"From: x@signed.test\r\nSubject: x\r\n\r\nHello.\r\n");
    // Somebody adds what makes other parts of the same bytes.
    let changed = [
        b"Content-Type: multipart/mixed; boundary=x\r\n".as_slice(),
        &signed,
    ]
    .concat();
    for raw in [signed, changed] {
        let verdict = world.look("b@elsewhere.test", &raw).await;
        let open = verified("dkim", "signed.test", Wholeness::Open);
        assert_eq!(verdict.outcome, open);
        assert_eq!(verdict.authenticated(), None);
        let record = verdict.verification(&domain("signed.test"));
        assert_eq!(
            (record.method.as_str(), record.domain.as_str()),
            ("dkim", "signed.test")
        );
        let other = verdict.verification(&domain("other.test"));
        assert_eq!(other.method, "none", "for its own domain only");
    }
}

#[tokio::test]
async fn what_the_dns_leaves_open_is_neither_yes_nor_no() {
    let world = World::new();
    let key = DkimKey::publish(&world.dns, "s", "signed.test", "rsa");
    world
        .dns
        .set_txt("_dmarc.signed.test", &["v=DMARC1; p=reject"]);
    let signed = key.sign(&mail("x@signed.test"));
    world.dns.fail("s._domainkey.signed.test");
    let look = || world.look("b@elsewhere.test", &signed);
    assert_eq!(look().await.outcome, MailOutcome::Temporary, "the key");
    world.dns.fail("_dmarc.signed.test");
    assert_eq!(look().await.outcome, MailOutcome::Temporary, "the policy");
    world.dns.fail("spf.test");
    let verdict = world.look("x@spf.test", &mail("x@spf.test")).await;
    assert_eq!(verdict.outcome, MailOutcome::Temporary, "the addresses");
    world.dns.silence(true);
    assert_eq!(
        look().await.outcome,
        MailOutcome::Temporary,
        "nobody answers"
    );
}

#[tokio::test]
async fn a_thousand_signatures_make_us_ask_for_few_keys() {
    let world = World::new();
    let mut raw = Vec::new();
    let bh = "dqIrEf2mTlV4ynBrdn+nMQ3xqV4UrkCJm5bGmPfpRaM=";
    for _ in 0..1_000 {
        let field = format!(
            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=many.test; s=k; h=from; bh={bh}; b=AAAA\r\n"
        );
        raw.extend_from_slice(field.as_bytes());
    }
    let wide = format!(
        "DKIM-Signature: v=1; a=rsa-sha256; d=wide.test; s=k; h={}; bh={bh}; b=AAAA\r\n",
        "a:".repeat(5_000) + "from"
    );
    raw.extend_from_slice(wide.as_bytes());
    raw.extend_from_slice(&mail("x@many.test"));
    let verdict = world.look("x@many.test", &raw).await;
    assert_eq!(verdict.outcome, MailOutcome::Unknown);
    assert!(world.dns.queries("k._domainkey.many.test") <= 16);
    assert_eq!(world.dns.queries("k._domainkey.wide.test"), 0);
}

#[tokio::test]
async fn a_forwarder_that_is_believed_vouches_for_what_it_changed() {
    let world = World::new();
    world
        .dns
        .set_txt("_dmarc.signed.test", &["v=DMARC1; p=reject"]);
    let author = DkimKey::publish(&world.dns, "s", "signed.test", "rsa");
    let signed = String::from_utf8(author.sign(&mail("x@signed.test"))).unwrap();
    let listed = signed.replace("Subject: An", "Subject: [list] An");
    let look = |raw: Vec<u8>| {
        let world = &world;
        async move { world.look("list@lists.test", &raw).await }
    };
    for (name, says, outcome) in [
        (
            "lists.test",
            "dmarc=pass",
            MailOutcome::Vouched {
                method: "arc",
                domain: domain("signed.test"),
            },
        ),
        ("lists.test", "dmarc=fail", failed(MailRequest::Refuse)),
        ("anybody.test", "dmarc=pass", failed(MailRequest::Refuse)),
    ] {
        let key = DkimKey::publish(&world.dns, "arc", name, "rsa");
        let results = format!(
            "Authentication-Results: mx.{name};\r\n {says} header.from=signed.test\r\n{listed}"
        );
        let sealed = key.seal(results.as_bytes(), &format!("mx.{name}"));
        let verdict = look(sealed.clone()).await;
        assert_eq!(verdict.outcome, outcome, "{name} {says} {verdict:?}");
        assert_eq!(verdict.arc, "pass");
        let text = String::from_utf8(sealed)
            .unwrap()
            .replace("Twelve", "Twenty");
        let verdict = look(text.into_bytes()).await;
        assert_eq!(
            verdict.outcome,
            failed(MailRequest::Refuse),
            "{name} changed"
        );
    }
}
