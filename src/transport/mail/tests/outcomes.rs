//! What servers say, and what that means for each recipient.

use super::*;

#[tokio::test]
async fn a_message_becomes_a_mail_with_an_address_of_its_own_to_come_back_to() {
    let bench = Bench::start().await;
    let attempted = bench.carry_one(&["bob@b.test"]).await;
    assert!(delivered(&attempted[0]), "{attempted:?}");
    let remote = attempted[0].remote.as_deref();
    assert_eq!(remote, Some(bench.server.address.to_string().as_str()));
    assert_eq!(bench.server.lines("EHLO"), ["EHLO gw.a.test"]);
    let from = bench.server.lines("MAIL").remove(0);
    let local = from.strip_prefix("MAIL FROM:<").unwrap().split('@').next();
    let path = Sealer::new(KEY).unwrap().read_return_path(local.unwrap());
    let party = party_hash("bob@b.test");
    assert_eq!(path, Some(ReturnPath { mid: 1, party }));
    assert_eq!(bench.server.lines("RCPT"), ["RCPT TO:<bob@b.test>"]);
    let mail = bench.server.mails().remove(0);
    for part in [
        "Subject: [AMTP] Hello",
        "<alice@a.test>",
        "Auto-Submitted: auto-generated",
        "message.amtp.json",
    ] {
        assert!(mail.contains(part), "{part}:\n{mail}");
    }
    assert!(bench.server.lines("QUIT").len() == 1);
    bench.close().await;
}

#[tokio::test]
async fn one_refused_recipient_loses_nothing_for_the_others() {
    let bench = Bench::start().await;
    bench.server.script(|heard| match heard {
        Told::Line(line) if line.contains("<eve@") => say("550 5.1.1 no such user"),
        Told::Line(line) if line.contains("<carol@") => say("450 4.2.0 greylisted"),
        _ => None,
    });
    let all = ["bob@b.test", "eve@b.test", "carol@b.test", "dave@b.test"];
    let attempted = bench.carry_one(&all).await;
    assert!(delivered(&attempted[0]));
    assert_eq!(failed(&attempted[1]), ErrorCode::RecipientNotFound);
    let Outcome::Failed(trouble) = &attempted[1].outcome else {
        unreachable!()
    };
    assert!(
        trouble.text.ends_with("RCPT: 550 5.1.1 no such user"),
        "{}",
        trouble.text
    );
    let later = deferred(&attempted[2]);
    assert_eq!(later.fault, Fault::Message);
    assert!(later.text.contains("450 4.2.0 greylisted"));
    assert!(delivered(&attempted[3]));
    // All over one connection.
    let connections = bench.server.heard();
    let connected = connections.iter().filter(|it| **it == Told::Connected);
    assert_eq!(connected.count(), 1);
    assert_eq!(bench.server.mails().len(), 2);
    bench.close().await;
}

#[tokio::test]
async fn an_address_that_is_gone_gets_no_more_mail_until_it_is_released() {
    let bench = Bench::start().await;
    bench.server.script(|heard| match heard {
        Told::Line(line) if line.starts_with("RCPT") => say("550 5.1.1 no such user"),
        _ => None,
    });
    bench.carry_one(&["eve@b.test"]).await;
    let before = bench.server.heard().len();
    let again = bench.carry_one(&["Eve@b.test"]).await;
    assert_eq!(failed(&again[0]), ErrorCode::RecipientNotFound);
    assert_eq!(bench.server.heard().len(), before, "nobody was asked");
    let eve = Address::parse("eve@b.test").unwrap();
    let found = bench.store.find_suppression(&eve).await.unwrap().unwrap();
    assert_eq!((found.because, found.since), (Because::HardBounce, NOW));
    assert!(found.text.contains("5.1.1"));
    assert!(bench.store.release_suppression(&eve).await.unwrap());
    bench.server.script(|_| None);
    assert!(delivered(&bench.carry_one(&["eve@b.test"]).await[0]));
    bench.close().await;
}

/// At which step a server says no, drops the line, or talks nonsense; and what that means.
#[tokio::test]
async fn trouble_at_each_step_defers_or_fails_as_it_should() {
    type Means = fn(&Attempted) -> bool;
    let later: Means = |it| deferred(it).fault == Fault::Message;
    let whole: Means = |it| deferred(it).fault == Fault::Destination;
    let never: Means = |it| matches!(it.outcome, Outcome::Failed(_));
    let table: [(&'static str, &'static str, Means); 34] = [
        ("connect", "421 4.3.2 busy", whole),
        ("connect", "452 4.3.1 no room", whole),
        ("connect", "550 5.7.1 not you", whole),
        ("connect", "554 5.7.1 not you", whole),
        ("connect", "hello there", whole),
        ("connect", "", whole),
        ("EHLO", "421 4.3.2 bye", whole),
        ("EHLO", "452 4.3.1 no room", whole),
        // Who does not know EHLO is asked with HELO.
        ("EHLO", "550 5.5.1 what", delivered),
        ("EHLO", "", whole),
        ("MAIL", "", whole),
        ("RCPT", "", whole),
        ("DATA", "", later),
        // The connection goes before the mail has come whole.
        ("DATA", "354 go on", later),
        ("DATA", "250 fine", later),
        ("DATA", "452 4.3.1 no room", later),
        ("mail", "hello there", later),
        ("mail", "354 go on", later),
        // What is said after the mail was taken changes nothing.
        ("QUIT", "421 4.3.2 bye", delivered),
        ("QUIT", "550 no", delivered),
        ("QUIT", "", delivered),
        ("MAIL", "421 4.3.2 bye", whole),
        ("MAIL", "452 4.3.1 no room", later),
        ("MAIL", "550 5.7.1 not you", never),
        ("RCPT", "421 4.3.2 bye", whole),
        ("RCPT", "452 4.5.3 too many", later),
        ("RCPT", "550 no", never),
        ("DATA", "421 4.3.2 bye", whole),
        ("DATA", "451 4.3.0 later", later),
        ("DATA", "550 5.3.0 no", never),
        ("mail", "421 4.3.2 bye", whole),
        ("mail", "452 4.3.1 no room", later),
        ("mail", "550 5.6.0 no", never),
        ("mail", "", later),
    ];
    for (step, text, means) in table {
        let bench = Bench::start().await;
        bench.server.script(move |heard| {
            let is_it = match heard {
                Told::Connected => step == "connect",
                Told::Line(line) => line.starts_with(step),
                Told::Mail(_) => step == "mail",
            };
            is_it.then(|| match text {
                "" => Say::Last(String::new()),
                "354 go on" if step == "DATA" => Say::Last(format!("{text}\r\n")),
                _ if text.starts_with("421") => Say::Last(format!("{text}\r\n")),
                _ => Say::Reply(format!("{text}\r\n")),
            })
        });
        let attempted = bench.carry_one(&["bob@b.test"]).await;
        assert!(means(&attempted[0]), "{step} {text}: {attempted:?}");
        bench.close().await;
    }
}

#[tokio::test]
async fn a_mail_that_was_taken_goes_once_and_one_of_unknown_fate_again_under_its_id() {
    let bench = Bench::start().await;
    // The last answer to the first mail is lost.
    let mut first = true;
    bench.server.script(move |heard| match heard {
        Told::Mail(_) if std::mem::take(&mut first) => Some(Say::Last(String::new())),
        _ => None,
    });
    let attempted = bench.carry_one(&["bob@b.test"]).await;
    let trouble = deferred(&attempted[0]);
    assert!(
        trouble.text.contains("the end of the mail"),
        "{}",
        trouble.text
    );
    assert!(delivered(&bench.carry_one(&["bob@b.test"]).await[0]));
    let mails = bench.server.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0], mails[1], "who keeps both can tell");
    bench.close().await;
}

#[tokio::test]
async fn a_server_that_says_little_by_little_has_no_longer_than_one_that_is_silent() {
    let bench = Bench::start().await;
    bench.server.script(|heard| match heard {
        // An answer that begins and never ends.
        Told::Line(line) if line.starts_with("RCPT") => {
            Some(Say::Reply("250-one moment\r\n250-please\r\n25".to_owned()))
        }
        _ => None,
    });
    let carrying = bench.carry_one(&["bob@b.test"]);
    let waiting = async {
        while bench.server.lines("RCPT").is_empty() {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        bench.clock.advance(Duration::from_secs(301));
    };
    let (attempted, ()) = tokio::join!(carrying, waiting);
    let trouble = deferred(&attempted[0]);
    assert!(
        trouble.text.contains("no answer within 300 s"),
        "{}",
        trouble.text
    );
    bench.close().await;
}

#[tokio::test]
async fn a_server_that_is_silent_is_given_up_and_one_that_talks_for_ever_too() {
    let bench = Bench::start().await;
    bench.server.script(|heard| match heard {
        Told::Line(line) if line.starts_with("MAIL") => Some(Say::Nothing),
        _ => None,
    });
    let carrying = bench.carry_one(&["bob@b.test"]);
    let silent = async {
        while bench.server.lines("MAIL").is_empty() {
            tokio::task::yield_now().await;
        }
        // Nobody waits before the command is out.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        bench.clock.advance(Duration::from_secs(301));
    };
    let (attempted, ()) = tokio::join!(carrying, silent);
    let trouble = deferred(&attempted[0]);
    assert!(
        trouble.text.contains("no answer within 300 s"),
        "{}",
        trouble.text
    );
    bench.server.script(|heard| match heard {
        Told::Line(line) if line.starts_with("MAIL") => {
            Some(Say::Reply("250-more\r\n".repeat(10_000)))
        }
        _ => None,
    });
    let attempted = bench.carry_one(&["bob@b.test"]).await;
    assert!(deferred(&attempted[0]).text.contains("is no answer"));
    bench.server.script(|heard| match heard {
        Told::Line(line) if line.starts_with("MAIL") => Some(Say::Reply("x".repeat(100_000))),
        _ => None,
    });
    let attempted = bench.carry_one(&["bob@b.test"]).await;
    assert!(deferred(&attempted[0]).text.contains("too long"));
    bench.close().await;
}

#[tokio::test]
async fn after_a_server_went_away_the_others_get_a_connection_of_their_own() {
    let bench = Bench::start().await;
    bench.server.script(|heard| match heard {
        Told::Line(line) if line.contains("<eve@") => {
            Some(Say::Last("421 4.3.2 going down\r\n".to_owned()))
        }
        _ => None,
    });
    let all = [
        parcel(1, &["eve@b.test"], ""),
        parcel(2, &["bob@b.test"], ""),
    ];
    let attempted = bench.carry(all.to_vec()).await;
    assert_eq!(deferred(&attempted[0]).fault, Fault::Destination);
    // What concerns the whole server holds for all behind it.
    assert_eq!(deferred(&attempted[1]).fault, Fault::Destination);
    assert_eq!(bench.server.mails().len(), 0);
    bench.close().await;
}

#[tokio::test]
async fn nothing_overtakes_what_waits_between_the_same_two() {
    let bench = Bench::start().await;
    bench.server.script(|heard| match heard {
        Told::Line(line) if line.contains("<bob@") => say("450 4.2.0 greylisted"),
        _ => None,
    });
    let all = vec![
        parcel(1, &["bob@b.test"], ""),
        parcel(2, &["bob@b.test"], ""),
        parcel(3, &["carol@b.test"], ""),
    ];
    let attempted = bench.carry(all).await;
    assert_eq!(
        bench.server.lines("RCPT").len(),
        2,
        "bob was asked for once"
    );
    assert_eq!(attempted[1].outcome, Outcome::Waits);
    assert!(delivered(&attempted[2]));
    bench.close().await;
}

#[tokio::test]
async fn a_mail_that_is_too_large_is_not_even_offered() {
    let bench = Bench::start().await;
    bench.server.script(|heard| match heard {
        Told::Line(line) if line.starts_with("EHLO") => say("250-mx\r\n250 SIZE 100"),
        _ => None,
    });
    let attempted = bench.carry_one(&["bob@b.test"]).await;
    assert_eq!(failed(&attempted[0]), ErrorCode::MessageTooLarge);
    assert!(bench.server.lines("MAIL").is_empty());
    bench.close().await;
}

#[tokio::test]
async fn a_domain_that_takes_no_mail_is_told_from_a_dns_that_fails() {
    let bench = Bench::start().await;
    *bench.names.exchanges.lock().unwrap() = vec![(0, String::new())];
    let attempted = bench.carry_one(&["bob@b.test"]).await;
    assert_eq!(failed(&attempted[0]), ErrorCode::RecipientNotFound);
    bench.close().await;
    let bench = Bench::start().await;
    *bench.names.failing.lock().unwrap() = true;
    let attempted = bench.carry_one(&["bob@b.test"]).await;
    assert_eq!(deferred(&attempted[0]).fault, Fault::Destination);
    bench.close().await;
    let bench = Bench::start().await;
    *bench.names.exchanges.lock().unwrap() = vec![(10, "gw.a.test".to_owned())];
    let attempted = bench.carry_one(&["bob@b.test"]).await;
    assert_eq!(failed(&attempted[0]), ErrorCode::LoopDetected);
    bench.close().await;
}

#[tokio::test]
async fn the_next_host_is_asked_where_the_first_is_not_there() {
    let bench = Bench::start().await;
    *bench.names.exchanges.lock().unwrap() = vec![
        (10, "nowhere.b.test".to_owned()),
        (20, "mx.b.test".to_owned()),
    ];
    assert!(delivered(&bench.carry_one(&["bob@b.test"]).await[0]));
    bench.close().await;
    let bench = Bench::start().await;
    // None is named: the domain's own host it is.
    bench.names.exchanges.lock().unwrap().clear();
    assert!(delivered(&bench.carry_one(&["bob@b.test"]).await[0]));
    bench.close().await;
}

#[tokio::test]
async fn a_bounce_goes_as_a_report_that_nobody_answers() {
    let bench = Bench::start().await;
    let raw = r#","message_type":"delivery_failure","in_reply_to":"m-1"#;
    let mut bounce = parcel(1, &["bob@b.test"], &format!("{raw}\""));
    let text = String::from_utf8(bounce.stored.body.to_vec()).unwrap();
    let text = text.replace("alice@a.test", "postmaster@a.test").replace(
        r#"{"text":"hi"}"#,
        r#"{"original_message_id":"m-1","failed_recipients":["agent@a.test"],"error_code":"AGENT_UNKNOWN","error_message":"no such agent ä","retry_count":0}"#,
    );
    bounce.message = Message::parse(text.into(), Profile::Relay, &Limits::default()).unwrap();
    let attempted = bench.carry(vec![bounce]).await;
    assert!(delivered(&attempted[0]), "{attempted:?}");
    assert!(bench.server.lines("MAIL")[0].starts_with("MAIL FROM:<>"));
    let mail = bench.server.mails().remove(0);
    for part in [
        "report-type=delivery-status",
        "Final-Recipient: rfc822; agent@a.test",
        "Action: failed",
        "Status: 5.1.1",
        "Auto-Submitted: auto-replied",
        "In-Reply-To: <m-1@a.test>",
    ] {
        assert!(mail.contains(part), "{part}:\n{mail}");
    }
    assert!(mail.is_ascii());
    let read = crate::mime::parse(mail.as_bytes(), &crate::mime::MailLimits::default()).unwrap();
    let report = read.report.unwrap();
    assert_eq!(report.recipients[0].status.as_deref(), Some("5.1.1"));
    assert_eq!(report.original_message_id.as_deref(), Some("m-1@a.test"));
    bench.close().await;
}

#[tokio::test]
async fn mail_for_people_of_ours_is_passed_on_as_it_came() {
    let bench = Bench::with(None, |settings| {
        settings.onward = [Domain::parse("a.test").unwrap()].into();
        settings.next_hop = Some(MailServer {
            host: "127.0.0.1".to_owned(),
            port: settings.port,
        });
    })
    .await;
    let to = Destination::parse("mail:a.test").unwrap();
    let came = |more: &str| {
        let mut parcel = parcel(1, &["p@a.test"], more);
        let stored = Arc::get_mut(&mut parcel.stored).unwrap();
        stored.origin = Origin::Mail;
        parcel
    };
    let lost = bench.transport.carry(&to, vec![came("")]).await;
    assert_eq!(failed(&lost[0][0]), ErrorCode::InternalError);
    let one = came("");
    let key = one.stored.idempotency_key(&one.message).unwrap();
    let raw = Bytes::from("Subject: Grüße\r\n\r\n.x\r\n");
    let name = raw_mail_id(&one.stored.sender, &key);
    let kept = bench.store.keep_blob(&name, "message/rfc822", (raw, NOW));
    kept.await.unwrap();
    let machine = came(r#","headers":{"x-amtp-auto":"generated","x-amtp-hops":3}"#);
    let carried = bench.transport.carry(&to, vec![one, machine]).await;
    assert!(carried.iter().all(|it| delivered(&it[0])), "{carried:?}");
    let froms = bench.server.lines("MAIL");
    assert!(froms[0].starts_with("MAIL FROM:<bounce+"), "{froms:?}");
    assert!(froms[1].starts_with("MAIL FROM:<>"), "{froms:?}");
    let mails = bench.server.mails();
    let id = "01987654-3210-7654-8765-432198760001";
    let start = format!("Received: by gw.a.test with ESMTP id {id}\r\n for <p@a.test>; ");
    assert!(mails[0].starts_with(&start), "{}", mails[0]);
    assert!(
        mails[0].contains("X-AMTP-Hops: 0\r\nSubject: Gr"),
        "{}",
        mails[0]
    );
    assert!(mails[0].ends_with("\r\n\r\n..x"), "{}", mails[0]);
    assert!(mails[1].contains("X-AMTP-Hops: 3\r\n"), "{}", mails[1]);
    bench.close().await;
}
