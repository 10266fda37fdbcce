//! TLS: offered, demanded, and what somebody in between may try.

use super::*;
use crate::config::SmarthostTls;
use crate::net::{GuardOptions, GuardedClient, Plain, TlsVersions};

/// What remembers policies of domains, and knows this one of `b.test`.
async fn policies(bench: &Bench, mode: &str, host: &str) -> MtaSts {
    let time = Clock::over(bench.clock.clone());
    let client = GuardedClient::new(GuardOptions {
        resolver: Arc::new(bench.names.clone()),
        filter: AddressFilter::public(),
        trusted_ca_files: Vec::new(),
        client_identity: None,
        tls: TlsVersions::From12,
        plain: Plain::Refused,
        times: Times::default(),
        clock: time.clone(),
    });
    *bench.names.text.lock().unwrap() = Some("v=STSv1; id=1".to_owned());
    let sts = MtaSts::new(Arc::new(bench.names.clone()), client.unwrap(), time);
    let text = format!("version: STSv1\nmode: {mode}\nmx: {host}\nmax_age: 86400\n");
    sts.remember(&Domain::parse("b.test").unwrap(), &text).await;
    sts
}

#[tokio::test]
async fn a_policy_of_the_domain_says_which_hosts_count_and_that_they_are_who_they_say() {
    let (enforce, testing) = ("enforce", "testing");
    for (mode, host, server, said) in [
        (enforce, "mx.b.test", Some(certificate()), None),
        (enforce, "*.b.test", Some(certificate()), None),
        (
            enforce,
            "mx.other.test",
            Some(certificate()),
            Some("names none of its mail exchanges"),
        ),
        (
            enforce,
            "mx.b.test",
            Some((certificate().0, certificate().1)),
            Some("can be reached"),
        ),
        (enforce, "mx.b.test", None, Some("offers no TLS")),
        (testing, "mx.b.test", None, None),
        (
            testing,
            "mx.other.test",
            Some((certificate().0, certificate().1)),
            None,
        ),
    ] {
        let mut bench = Bench::with(server, |settings| settings.tls = MailTls::MtaSts).await;
        let sts = policies(&bench, mode, host).await;
        bench.transport = bench.transport.with_policies(sts);
        let attempted = bench.carry_one(&["bob@b.test"]).await;
        match said {
            None => assert!(delivered(&attempted[0]), "{mode} {host}: {attempted:?}"),
            Some(part) => {
                let trouble = deferred(&attempted[0]);
                assert!(
                    trouble.text.contains(part),
                    "{mode} {host}: {}",
                    trouble.text
                );
                assert!(bench.server.mails().is_empty(), "it waits");
            }
        }
        bench.close().await;
    }
}

#[tokio::test]
async fn tls_is_spoken_where_it_is_offered_whatever_the_certificate() {
    let (acceptor, _) = certificate();
    let bench = Bench::with(Some((acceptor, certificate().1)), |_| {}).await;
    assert!(delivered(&bench.carry_one(&["bob@b.test"]).await[0]));
    assert_eq!(bench.server.handshakes(), 1);
    assert_eq!(
        bench.server.lines("EHLO").len(),
        2,
        "the server is asked anew"
    );
    bench.close().await;
}

#[tokio::test]
async fn where_it_is_required_nothing_goes_without_a_valid_certificate() {
    let required = |settings: &mut MailSettings| settings.tls = MailTls::Required;
    let bench = Bench::with(Some(certificate()), required).await;
    assert!(delivered(&bench.carry_one(&["bob@b.test"]).await[0]));
    bench.close().await;
    // By another authority.
    let (acceptor, _) = certificate();
    let bench = Bench::with(Some((acceptor, certificate().1)), required).await;
    let attempted = bench.carry_one(&["bob@b.test"]).await;
    assert_eq!(deferred(&attempted[0]).fault, Fault::Destination);
    assert!(bench.server.lines("MAIL").is_empty());
    bench.close().await;
    // Not offered at all, or no longer: somebody may have taken it out.
    let bench = Bench::with(None, required).await;
    let attempted = bench.carry_one(&["bob@b.test"]).await;
    assert!(deferred(&attempted[0]).text.contains("offers no TLS"));
    assert!(bench.server.lines("MAIL").is_empty());
    bench.close().await;
}

#[tokio::test]
async fn what_comes_behind_the_answer_to_starttls_is_not_believed() {
    let bench = Bench::with(Some(certificate()), |_| {}).await;
    bench.server.script(|heard| match heard {
        Told::Line(line) if line == "STARTTLS" => {
            Some(Say::Tls("220 go on\r\n250 injected\r\n".to_owned()))
        }
        _ => None,
    });
    let attempted = bench.carry_one(&["bob@b.test"]).await;
    assert!(
        deferred(&attempted[0])
            .text
            .contains("somebody may be in between")
    );
    assert!(bench.server.lines("MAIL").is_empty());
    bench.close().await;
}

#[tokio::test]
async fn a_server_that_cannot_do_what_it_offers_gets_mail_without_tls() {
    let bench = Bench::with(None, |_| {}).await;
    bench.server.script(|heard| match heard {
        Told::Line(line) if line.starts_with("EHLO") => say("250-mx\r\n250 STARTTLS"),
        Told::Line(line) if line == "STARTTLS" => Some(Say::Last(
            "220 go on\r\nnonsense".to_owned()[..11].to_owned(),
        )),
        _ => None,
    });
    assert!(delivered(&bench.carry_one(&["bob@b.test"]).await[0]));
    bench.close().await;
}

#[tokio::test]
async fn a_smarthost_takes_everything_and_knows_who_we_are() {
    let bench = Bench::with(Some(certificate()), |settings| {
        settings.smarthost = Some(SmarthostSettings {
            host: "mx.b.test".to_owned(),
            port: settings.port,
            tls: SmarthostTls::Starttls,
            login: Some(Login {
                user: "amtpd".to_owned(),
                password: Secret::new("geheim".to_owned()),
            }),
        });
        settings.port = 1;
    })
    .await;
    bench.names.exchanges.lock().unwrap().clear();
    assert!(delivered(&bench.carry_one(&["bob@b.test"]).await[0]));
    // base64 of NUL amtpd NUL geheim
    assert_eq!(
        bench.server.lines("AUTH"),
        ["AUTH PLAIN AGFtdHBkAGdlaGVpbQ=="]
    );
    bench.server.script(|heard| match heard {
        Told::Line(line) if line.starts_with("AUTH") => say("535 5.7.8 no"),
        _ => None,
    });
    let attempted = bench.carry_one(&["bob@b.test"]).await;
    let trouble = deferred(&attempted[0]);
    assert!(trouble.text.contains("535 5.7.8"), "{}", trouble.text);
    assert!(!trouble.text.contains("geheim") && !trouble.text.contains("AGFt"));
    bench.close().await;
}
