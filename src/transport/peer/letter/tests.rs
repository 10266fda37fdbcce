use super::super::samples::{ID, KEY, NOW, parcel, stored, wire};
use super::*;
use crate::protocol::Timestamp;

const KEEP: References = References {
    in_reply_to: Edit::Keep,
    workflow_id: Edit::Keep,
};

/// A parcel for `bob` and `eve` of b.test and `carl` of c.test, with the copies of these only.
fn for_some(names: &[&str]) -> Parcel {
    let mut parcel = parcel(&["bob@b.test", "carl@c.test", "Eve@b.test"], "");
    parcel
        .copies
        .retain(|copy| names.contains(&copy.recipient.local()));
    parcel
}

fn id_of(parcel: &Parcel, memory: Memory) -> Option<String> {
    known_identity(parcel, memory).map(|wire| wire.id.as_str().to_owned())
}

#[test]
fn an_unsent_message_travels_under_its_own_identity_where_the_peer_can_tell_it_apart() {
    use Memory::{OfRecipients, OfSets};
    let own = Some(ID);
    let table = [
        (vec!["bob", "Eve"], OfSets, own),
        (vec!["bob", "Eve"], OfRecipients, own),
        (vec!["bob"], OfSets, None),
        (vec!["Eve"], OfRecipients, own),
        (vec!["carl"], OfSets, own),
    ];
    for (names, memory, expected) in table {
        let found = id_of(&for_some(&names), memory);
        assert_eq!(found.as_deref(), expected, "{names:?} {memory:?}");
    }
    let own = known_identity(&for_some(&["bob", "Eve"]), OfSets).unwrap();
    assert_eq!((own.key.as_str(), own.recipients), (KEY, 2));
}

#[test]
fn an_identity_that_is_no_uuid_stays_at_home() {
    let body = |id: &str, key: &str| {
        format!(
            r#"{{"sender":"a@a.test","recipients":["b@b.test"],"message_id":"{id}","idempotency_key":"{key}"}}"#
        )
    };
    let table = [
        (body(ID, KEY), true),
        (body("", ""), true),
        (body("order-1", KEY), false),
        (body(ID, "order-1"), false),
        (body("01987654-3210-4654-8765-432198765432", KEY), false),
        (body(ID, "01234567-89ab-7cde-8123-456789abcdef"), false),
    ];
    for (body, known) in table {
        for memory in [Memory::OfSets, Memory::OfRecipients] {
            let found = id_of(&stored(&body, 1), memory);
            assert_eq!(found.is_some(), known, "{body}");
        }
    }
}

#[test]
fn an_identity_on_the_wire_belongs_to_its_set() {
    use Memory::{OfRecipients, OfSets};
    const OTHER: &str = "01987654-3210-7654-8765-000000000002";
    let (one, two) = (Some(wire(ID, 2)), Some(wire(OTHER, 2)));
    let alone = Some(wire(OTHER, 1));
    let table = [
        (vec![one.clone(), one.clone()], OfSets, Some(ID)),
        (vec![one.clone(), one.clone()], OfRecipients, Some(ID)),
        (vec![one.clone(), two], OfSets, None),
        (vec![one.clone(), None], OfRecipients, None),
        (vec![None, one.clone()], OfRecipients, None),
        (vec![one.clone()], OfSets, None),
        (vec![one], OfRecipients, Some(ID)),
        (vec![alone.clone()], OfSets, Some(OTHER)),
        (vec![alone.clone(), alone], OfSets, None),
    ];
    for (wires, memory, expected) in table {
        let mut parcel = for_some(&["bob", "Eve"][..wires.len()]);
        for (copy, wire) in parcel.copies.iter_mut().zip(wires.clone()) {
            copy.wire = wire;
        }
        let found = id_of(&parcel, memory);
        assert_eq!(found.as_deref(), expected, "{wires:?} {memory:?}");
        parcel.copies[0].renew = true;
        assert_eq!(id_of(&parcel, memory), None);
    }
}

#[test]
fn a_letter_says_whom_it_is_for_and_is_the_same_each_time() {
    let text = |parcel: &Parcel| {
        let letter = write(parcel, &wire(ID, 1), KEEP);
        String::from_utf8(letter.body.to_vec()).unwrap()
    };
    let whole = parcel(&["bob@b.test"], r#", "x": 1.10"#);
    assert_eq!(
        text(&whole),
        format!(
            r#"{{"version":"1.0","message_id":"{ID}","idempotency_key":"{KEY}","timestamp":"{NOW}","sender":"alice@a.test","recipients":["bob@b.test"],"payload":1,"x":1.10}}"#
        )
    );
    assert_eq!(text(&whole), text(&whole));
    let some = text(&for_some(&["Eve"]));
    assert!(some.contains(r#""recipients":["Eve@b.test"]"#), "{some}");
    // Equal addresses in another spelling, or one of them twice, are written as we know them.
    for list in [r#"["bob@B.TEST"]"#, r#"["bob@b.test", "BOB@b.test"]"#] {
        let body = format!(r#"{{"sender":"a@a.test","recipients":{list}}}"#);
        let sent = text(&stored(&body, 1));
        assert!(sent.contains(r#""recipients":["bob@b.test"]"#), "{sent}");
    }
}

#[test]
fn a_letter_keeps_the_senders_time_signature_and_references() {
    let parcel = parcel(
        &["bob@b.test"],
        r#","timestamp":"2026-08-14T12:30:00+02:00","signature":{"keyid":"k1"},"in_reply_to":"a","workflow_id":"b""#,
    );
    let sent = |references| {
        let letter = write(&parcel, &wire(ID, 1), references);
        String::from_utf8(letter.body.to_vec()).unwrap()
    };
    let kept = sent(KEEP);
    for part in [
        r#""timestamp":"2026-08-14T12:30:00+02:00""#,
        r#""signature":{"keyid":"k1"}"#,
        r#""in_reply_to":"a","workflow_id":"b""#,
    ] {
        assert!(kept.contains(part), "{kept}");
    }
    let left = sent(References {
        in_reply_to: Edit::Omit,
        workflow_id: Edit::Omit,
    });
    assert!(!left.contains("in_reply_to") && !left.contains("workflow_id"));
    assert_ne!(parcel.message.timestamp(), Some(Timestamp::default()));
}

#[test]
fn only_a_sound_traceparent_is_passed_on() {
    const SOUND: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let value = |text: &str| {
        let more = format!(r#","headers":{{"traceparent":{text}}}"#);
        traceparent(&parcel(&["b@b.test"], &more).message)
    };
    assert_eq!(value(&format!("\"{SOUND}\"")).as_deref(), Some(SOUND));
    for text in [
        "null".to_owned(),
        "7".to_owned(),
        r#""""#.to_owned(),
        r#""00-4bf92f35""#.to_owned(),
        format!("\"{SOUND}-00\""),
        format!("\"{}\"", SOUND.replace("00-4", "ff-4")),
        format!("\"{}\"", SOUND.to_uppercase()),
        format!("\"{}\"", SOUND.replace("-01", "-01\\r\\nx: y")),
        r#""00-00000000000000000000000000000000-00f067aa0ba902b7-01""#.to_owned(),
        r#""00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01""#.to_owned(),
    ] {
        assert_eq!(value(&text), None, "{text}");
    }
}
