//! Mail: deliveries that go on elsewhere, what comes back, and who gets no more.

use super::super::{
    AttemptNote, Because, Ending, MailFailure, Marks, Reason, Redirection, ReturnPath, party_hash,
};
use super::queue::{abroad, at};
use super::{Address, Bench, DeliveryStatus, ErrorCode, Home, Party};

fn reason(code: ErrorCode) -> Reason {
    Reason {
        code,
        text: "b.test has no _amtp record".to_owned(),
    }
}

fn redirection(seq: i64) -> Redirection {
    Redirection {
        seq,
        held: None,
        at: at(20),
        attempt: Some(AttemptNote {
            made_at: at(19),
            took: 3,
            remote: None,
        }),
        reason: reason(ErrorCode::RecipientNotFound),
        destination: "mail:b.test".to_owned(),
        give_up_at: at(7_200),
    }
}

both!(a_delivery_goes_on_to_another_destination_in_its_lane_and_order);
async fn a_delivery_goes_on_to_another_destination_in_its_lane_and_order(home: Home) {
    let bench = Bench::at(home).await;
    for payload in ["1", "2", "3"] {
        let envelope = bench.envelope("alice@a.test", None, payload);
        bench.accept(envelope, vec![abroad("bob@b.test")]).await;
    }
    let before = bench.fed().await;
    let moved = vec![redirection(before[0].seq), redirection(before[1].seq)];
    assert_eq!(bench.store.redirect(moved).await.unwrap(), 2);
    let after = bench.fed().await;
    assert_eq!(after.len(), 3);
    assert_eq!(after[0].seq, before[2].seq, "what stays keeps its place");
    let mids: Vec<i64> = after[1..].iter().map(|row| row.mid).collect();
    assert_eq!(mids, [before[0].mid, before[1].mid]);
    for row in &after[1..] {
        assert_eq!(row.destination, "mail:b.test");
        assert_eq!((row.lane, row.deferred_until), (before[0].lane, None));
    }
    let delivery = bench
        .store
        .load_deliveries(&[after[1].seq])
        .await
        .unwrap()
        .remove(0);
    assert_eq!((delivery.attempts, delivery.give_up_at), (0, at(7_200)));
    assert_eq!(delivery.first_attempt, Some(at(19)));
    // A number that is gone moves nothing.
    let again = bench.store.redirect(vec![redirection(before[0].seq)]).await;
    assert_eq!(again.unwrap(), 0);
    bench.close().await;
}

both!(what_is_held_meanwhile_stays_where_it_is);
async fn what_is_held_meanwhile_stays_where_it_is(home: Home) {
    let bench = Bench::at(home).await;
    let envelope = bench.envelope("alice@a.test", None, "1");
    bench.accept(envelope, vec![abroad("bob@b.test")]).await;
    let row = bench.fed().await.remove(0);
    let all = super::super::QueueFilter::default();
    bench
        .store
        .hold(&all, super::super::Position::START)
        .await
        .unwrap();
    let moved = bench.store.redirect(vec![redirection(row.seq)]).await;
    assert_eq!(moved.unwrap(), 0);
    assert_eq!(bench.queue(&all).await[0].destination, "domain:b.test");
    bench.close().await;
}

both!(a_mail_that_came_back_has_failed_once);
async fn a_mail_that_came_back_has_failed_once(home: Home) {
    let bench = Bench::at(home).await;
    let envelope = bench.envelope("alice@a.test", None, "1");
    let (id, _) = bench.accept(envelope, vec![abroad("Bob@b.test")]).await;
    let row = bench.fed().await.remove(0);
    let path = ReturnPath {
        mid: row.mid,
        party: party_hash("bob@b.test"),
    };
    assert!(bench.store.find_sent(path).await.unwrap().is_none());
    assert!(bench.store.is_under_way(path).await.unwrap());
    let settlement = bench.settlement(&row, Ending::Delivered).await;
    bench
        .store
        .settle(vec![settlement], Vec::new())
        .await
        .unwrap();
    let sent = bench.store.find_sent(path).await.unwrap().unwrap();
    assert!(sent.delivered);
    assert_eq!(sent.recipient.as_str(), "Bob@b.test");
    let stranger = ReturnPath { party: 7, ..path };
    assert!(!bench.store.is_under_way(path).await.unwrap());
    assert!(bench.store.find_sent(stranger).await.unwrap().is_none());
    let failure = MailFailure {
        path,
        code: ErrorCode::RecipientNotFound,
        text: "the mail came back: 5.1.1".to_owned(),
        at: at(60),
        suppress: Some(Because::HardBounce),
    };
    bench
        .store
        .fail_returned(failure.clone(), None)
        .await
        .unwrap();
    let found = bench
        .store
        .find_message(&id, &Party::Operator)
        .await
        .unwrap();
    let state = &found[0].recipients[0];
    assert_eq!(state.status, DeliveryStatus::Failed);
    assert_eq!(state.error_code, Some(ErrorCode::RecipientNotFound));
    assert!(
        !bench
            .store
            .find_sent(path)
            .await
            .unwrap()
            .unwrap()
            .delivered
    );
    assert!(
        bench.store.fail_returned(failure, None).await.is_err(),
        "once"
    );
    let bob = Address::parse("bob@B.test").unwrap();
    let listed = bench.store.find_suppression(&bob).await.unwrap().unwrap();
    assert_eq!(listed.message_id.as_deref(), Some(id.as_str()));
    bench.close().await;
}

both!(suppressed_addresses_are_listed_and_released);
async fn suppressed_addresses_are_listed_and_released(home: Home) {
    let bench = Bench::at(home).await;
    let address = |name: &str| Address::parse(&format!("{name}@b.test")).unwrap();
    for (name, second) in [("b", 1), ("a", 1), ("c", 2)] {
        let because = (Because::Complaint, "no".to_owned());
        let by = (0, at(second));
        bench
            .store
            .suppress(&address(name), because, by)
            .await
            .unwrap();
    }
    // The first reason stays.
    let because = (Because::HardBounce, "gone".to_owned());
    bench
        .store
        .suppress(&address("C"), because, (0, at(9)))
        .await
        .unwrap();
    let page = bench.store.list_suppressions(None, 2).await.unwrap();
    let names = |page: &[super::super::Suppression]| -> Vec<String> {
        page.iter().map(|it| it.address.clone()).collect()
    };
    assert_eq!(names(&page), ["a@b.test", "b@b.test"]);
    let rest = bench
        .store
        .list_suppressions(Some(&address("B")), 2)
        .await
        .unwrap();
    assert_eq!(names(&rest), ["c@b.test"]);
    assert_eq!(rest[0].because, Because::Complaint);
    assert!(
        bench
            .store
            .release_suppression(&address("A"))
            .await
            .unwrap()
    );
    assert!(
        !bench
            .store
            .release_suppression(&address("a"))
            .await
            .unwrap()
    );
    assert!(
        bench
            .store
            .find_suppression(&address("a"))
            .await
            .unwrap()
            .is_none()
    );
    bench.close().await;
}

both!(what_is_deferred_and_moved_in_one_attempt_is_both);
async fn what_is_deferred_and_moved_in_one_attempt_is_both(home: Home) {
    let bench = Bench::at(home).await;
    let envelope = bench.envelope("alice@a.test", None, "1");
    let to = vec![abroad("bob@b.test"), abroad("carol@b.test")];
    bench.accept(envelope, to).await;
    let rows = bench.fed().await;
    let fate = Ending::Deferred {
        due_at: at(30),
        reason: reason(ErrorCode::TemporaryFailure),
        marks: Marks::default(),
    };
    let settlement = bench.settlement(&rows[0], fate).await;
    bench
        .store
        .settle(vec![settlement], Vec::new())
        .await
        .unwrap();
    bench
        .store
        .redirect(vec![redirection(rows[1].seq)])
        .await
        .unwrap();
    let found: Vec<(String, bool)> = bench
        .fed()
        .await
        .into_iter()
        .map(|row| (row.destination, row.deferred_until.is_some()))
        .collect();
    let expected = [("domain:b.test", true), ("mail:b.test", false)];
    assert_eq!(
        found,
        expected.map(|(name, waits)| (name.to_owned(), waits))
    );
    bench.close().await;
}
