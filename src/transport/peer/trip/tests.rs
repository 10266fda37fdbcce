use super::super::samples::{NOW, parcel, stored, wire};
use super::*;
use Fault::{Destination, Message};

const ALL: Load = Load {
    messages: 200,
    bytes: usize::MAX,
};

fn trouble(fault: Fault) -> Trouble {
    text::trouble(ErrorCode::TemporaryFailure, fault, "some trouble")
}

/// Parcels from a sender to recipients of b.test, written `alice>bob,eve`.
fn trip(parcels: &[&str]) -> Trip {
    let parcel = |(mid, text): (i64, &&str)| {
        let (sender, recipients) = text.split_once('>').unwrap();
        let recipients: Vec<String> = recipients
            .split(',')
            .map(|name| format!("\"{name}@b.test\""))
            .collect();
        let recipients = recipients.join(",");
        stored(
            &format!(r#"{{"sender":"{sender}@a.test","recipients":[{recipients}]}}"#),
            mid,
        )
    };
    Trip::new((1..).zip(parcels).map(parcel).collect())
}

/// Which parcel and recipients a run is for, written `1:bob,eve`.
fn shown(run: &[Unit]) -> Vec<String> {
    let unit = |unit: &Unit| {
        let copies = unit.parcel.copies.iter();
        let names: Vec<&str> = copies.map(|copy| copy.recipient.local()).collect();
        format!("{}:{}", unit.parcel.stored.mid, names.join(","))
    };
    run.iter().map(unit).collect()
}

fn next(trip: &mut Trip, load: Load) -> (Vec<String>, Vec<Unit>) {
    let run = trip.next_run(load);
    (shown(&run), run)
}

/// Settles a unit with the same verdict for each copy.
fn settle(trip: &mut Trip, unit: &Unit, verdict: Verdict) {
    let verdicts = vec![verdict; unit.parcel.copies.len()];
    trip.settle(unit, Judgement::Each(verdicts), Some("192.0.2.1:443"));
}

const DONE: Verdict = Verdict::Delivered { reply: None };

/// A letter for each copy: what came of it, and whether it is to be renewed.
fn results(trip: Trip) -> Vec<String> {
    let letter = |attempted: &Attempted| {
        let letter = match &attempted.outcome {
            Outcome::Delivered { .. } => "ok",
            Outcome::Deferred(_) => "later",
            Outcome::Waits => "waits",
            Outcome::Failed(_) => "no",
        };
        let renew = if attempted.renew { "+renew" } else { "" };
        format!("{letter}{renew}")
    };
    let parcel = |list: Vec<Attempted>| list.iter().map(letter).collect::<Vec<_>>().join(" ");
    trip.finish().into_iter().map(parcel).collect()
}

#[test]
fn a_run_takes_what_fits_in_order() {
    let texts = ["a>x", "a>y", "a>x", "b>x"];
    let size = stored(r#"{"sender":"a@a.test","recipients":["x@b.test"]}"#, 1)
        .stored
        .body
        .len();
    let table = [
        (1, usize::MAX, vec!["1:x"]),
        (3, usize::MAX, vec!["1:x", "2:y", "3:x"]),
        (9, usize::MAX, vec!["1:x", "2:y", "3:x", "4:x"]),
        (9, size * 2, vec!["1:x", "2:y"]),
        (9, size * 3 - 1, vec!["1:x", "2:y"]),
        (9, 0, vec!["1:x"]),
    ];
    for (messages, bytes, expected) in table {
        let mut trip = trip(&texts);
        let (taken, _) = next(&mut trip, Load { messages, bytes });
        assert_eq!(taken, expected);
    }
}

#[test]
fn a_deferred_copy_holds_back_later_ones_of_its_sender_and_recipient() {
    let mut trip = trip(&["a>x,y", "b>x", "a>X,z", "a>y", "A>x"]);
    let (first, run) = next(&mut trip, Load::SINGLE);
    assert_eq!(first, ["1:x,y"]);
    let wait = Verdict::Deferred(trouble(Message));
    trip.settle(&run[0], Judgement::Each(vec![wait, DONE]), None);
    let (rest, run) = next(&mut trip, ALL);
    assert_eq!(rest, ["2:x", "3:z", "4:y"]);
    for unit in &run {
        settle(&mut trip, unit, DONE);
    }
    assert!(trip.next_run(ALL).is_empty());
    assert_eq!(results(trip), ["later ok", "ok", "waits ok", "ok", "waits"]);
}

#[test]
fn what_was_sent_and_has_to_be_asked_again_does_not_overtake_either() {
    let mut trip = trip(&["a>x", "a>x,y"]);
    let (_, run) = next(&mut trip, ALL);
    settle(&mut trip, &run[0], Verdict::Deferred(trouble(Message)));
    trip.settle(&run[1], Judgement::Split, None);
    let (again, run) = next(&mut trip, ALL);
    assert_eq!(again, ["2:y"]);
    settle(&mut trip, &run[0], DONE);
    let held = &trip.results[1][0];
    let Outcome::Deferred(why) = &held.outcome else {
        panic!("{held:?}")
    };
    assert_eq!(why.text, "an earlier message must go first: some trouble");
    assert_eq!((why.fault, held.remote.as_deref()), (Message, None));
    assert_eq!(results(trip), ["later", "later+renew ok"]);
}

#[test]
fn nothing_is_sent_after_a_trouble_of_the_destination() {
    let mut trip = trip(&["a>x", "a>y", "b>z"]);
    let (_, run) = next(&mut trip, Load::SINGLE);
    settle(&mut trip, &run[0], Verdict::Deferred(trouble(Destination)));
    assert!(trip.next_run(ALL).is_empty());
    let results = trip.finish();
    assert_eq!(results[0][0].remote.as_deref(), Some("192.0.2.1:443"));
    for attempted in [&results[1][0], &results[2][0]] {
        assert_eq!(attempted.outcome, Outcome::Deferred(trouble(Destination)));
        assert_eq!(attempted.remote, None);
    }
}

#[test]
fn the_lines_of_a_batch_are_settled_each_whatever_stands_before() {
    let mut trip = trip(&["a>x", "a>y", "b>z", "b>x"]);
    let run = trip.next_run(Load {
        messages: 3,
        bytes: usize::MAX,
    });
    settle(&mut trip, &run[0], Verdict::Deferred(trouble(Destination)));
    settle(&mut trip, &run[1], DONE);
    settle(&mut trip, &run[2], Verdict::Repeat);
    assert!(trip.next_run(ALL).is_empty());
    assert_eq!(results(trip), ["later", "ok", "later+renew", "later"]);
}

#[test]
fn an_answer_for_another_request_is_repeated_twice_before_what_follows() {
    let mut trip = trip(&["a>x,y", "a>x"]);
    let mut run = trip.next_run(ALL);
    assert_eq!(shown(&run), ["1:x,y", "2:x"]);
    trip.settle(&run[0], Judgement::Each(vec![Verdict::Repeat, DONE]), None);
    trip.put_back(run.drain(1..));
    for _ in 0..2 {
        let (again, mut run) = next(&mut trip, Load::SINGLE);
        assert_eq!(again, ["1:x"]);
        assert!(run[0].parcel.copies[0].renew);
        run[0].assign(&wire("fresh", 1));
        assert!(!run[0].parcel.copies[0].renew);
        settle(&mut trip, &run[0], Verdict::Repeat);
    }
    assert!(trip.next_run(ALL).is_empty());
    assert_eq!(results(trip), ["later+renew ok", "waits"]);
}

#[test]
fn a_refused_set_goes_one_by_one_at_once() {
    let mut trip = trip(&["a>x,y", "a>z"]);
    let (_, run) = next(&mut trip, Load::SINGLE);
    trip.settle(&run[0], Judgement::Split, None);
    let (both, run) = next(&mut trip, ALL);
    assert_eq!(both, ["1:x", "1:y", "2:z"]);
    assert!(run[0].parcel.copies[0].renew && run[1].parcel.copies[0].renew);
    let no = Verdict::Failed(trouble(Message));
    settle(&mut trip, &run[0], no);
    settle(&mut trip, &run[1], DONE);
    settle(&mut trip, &run[2], DONE);
    assert_eq!(results(trip), ["no ok", "ok"]);
}

#[test]
fn a_peer_that_is_asked_one_by_one_gets_each_copy_alone() {
    let mut trip = trip(&["a>x,y", "b>z"]);
    trip.split();
    let (taken, _) = next(&mut trip, ALL);
    assert_eq!(taken, ["1:x", "1:y", "2:z"]);
}

#[test]
fn a_copy_that_had_to_be_renewed_still_has_to_when_it_was_not_sent() {
    let mut first = parcel(&["x@b.test"], "");
    let mut second = first.clone();
    first.copies[0].first_attempt = Some(NOW);
    second.copies[0].renew = true;
    let mut trip = Trip::new(vec![first, second]);
    let (_, run) = next(&mut trip, Load::SINGLE);
    settle(&mut trip, &run[0], Verdict::Deferred(trouble(Destination)));
    assert!(trip.next_run(ALL).is_empty());
    assert_eq!(results(trip), ["later", "later+renew"]);
}
