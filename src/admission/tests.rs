use std::sync::Arc;

use super::books::{BYTES, DRAINS, READS, READS_WHILE_BUSY};
use super::pace::{LEAST, LEAST_REST, MOST, Pace, REST, Seen};
use super::*;
use crate::clock::TestClock;
use crate::protocol::Timestamp;
use crate::telemetry::Metrics;

const MILLI: Duration = Duration::from_millis(1);

struct Bench {
    test: Arc<TestClock>,
    admission: Admission,
    metrics: Metrics,
}

fn bench() -> Bench {
    let test = TestClock::at(Timestamp::from_millis(0));
    let metrics = Metrics::new();
    let rules = AdmissionRules {
        commit_wait: 10 * MILLI,
        requests: 10_000,
    };
    let clock = Clock::over(test.clone());
    let admission = Admission::new(rules, clock, metrics.admission().clone());
    Bench {
        test,
        admission,
        metrics,
    }
}

impl Bench {
    /// Places messages of a class until one is shed.
    fn fill(&self, class: Class) -> Vec<Place> {
        let mut places = Vec::new();
        while let Ok((_presence, entry)) = self.admission.enter(class) {
            match self.admission.place(class, 1_000, Some(entry)) {
                Ok(place) => places.push(place),
                Err(_) => break,
            }
        }
        places
    }

    fn sheds(&self, class: Class) -> bool {
        self.admission.enter(class).is_err()
    }
}

#[test]
fn what_goes_early_leaves_room_for_those_who_wait() {
    let bench = bench();
    let mut early = Vec::new();
    while bench.admission.takes_early() {
        early.push(bench.admission.place(Class::Immediate, 1, None).unwrap());
    }
    assert_eq!(early.len(), REST as usize / 4);
    assert_eq!(bench.fill(Class::Submission).len(), REST as usize / 2);
    drop(early);
    assert!(bench.admission.takes_early());
}

#[test]
fn the_less_urgent_is_shed_before_the_more_urgent() {
    let bench = bench();
    let mut held = Vec::new();
    for class in [
        Class::Low,
        Class::Submission,
        Class::Unverified,
        Class::Verified,
    ] {
        held.extend(bench.fill(class));
        for other in Class::ALL {
            if other.is_message() {
                assert_eq!(bench.sheds(other), other <= class, "{other:?} at {class:?}");
            }
        }
        let early = bench.admission.takes_early();
        assert_eq!(early, class < Class::Immediate, "{class:?}");
    }
    assert_eq!(held.len(), REST as usize);
    assert!(!bench.sheds(Class::Drain));
    drop(held);
    assert!(Class::ALL.iter().all(|class| !bench.sheds(*class)));
}

#[test]
fn a_quarter_is_never_for_submissions() {
    let bench = bench();
    let ours = bench.fill(Class::Submission);
    assert_eq!(ours.len(), REST as usize * 3 / 4);
    assert_eq!(bench.fill(Class::Verified).len(), REST as usize / 4);
}

#[test]
fn heads_fill_it_too_and_leave_it_when_they_are_gone() {
    let bench = bench();
    let entries: Vec<_> =
        std::iter::from_fn(|| bench.admission.enter(Class::Submission).ok()).collect();
    assert_eq!(entries.len(), REST as usize * 3 / 4);
    drop(entries);
    assert_eq!(bench.fill(Class::Submission).len(), REST as usize * 3 / 4);
}

#[test]
fn who_turns_out_to_be_less_than_its_head_said_is_shed_as_that() {
    let bench = bench();
    let _held = bench.fill(Class::Submission);
    let (_here, entry) = bench.admission.enter(Class::Verified).unwrap();
    let low = bench.admission.place(Class::Low, 1, Some(entry));
    assert_eq!(low.unwrap_err().class, Class::Low);
    let (_here, entry) = bench.admission.enter(Class::Verified).unwrap();
    let place = bench.admission.place(Class::Unverified, 1, Some(entry));
    assert!(place.is_ok(), "strangers have room still");
}

#[test]
fn who_came_in_has_its_place_though_others_came_after() {
    let bench = bench();
    let (_here, entry) = bench.admission.enter(Class::Submission).unwrap();
    let _held = bench.fill(Class::Verified);
    assert!(bench.sheds(Class::Submission));
    let place = bench.admission.place(Class::Submission, 1, Some(entry));
    assert!(place.is_ok());
}

#[test]
fn strangers_hold_half_at_most() {
    let bench = bench();
    let mut strangers = Vec::new();
    loop {
        let (_here, entry) = bench.admission.enter(Class::Verified).unwrap();
        match bench.admission.place(Class::Unverified, 1, Some(entry)) {
            Ok(place) => strangers.push(place),
            Err(_) => break,
        }
    }
    assert_eq!(strangers.len(), REST as usize / 2);
    assert!(!bench.sheds(Class::Submission));
}

#[test]
fn slow_clients_do_not_take_the_places_of_others() {
    let bench = bench();
    let slow: Vec<_> =
        std::iter::from_fn(|| bench.admission.enter(Class::Submission).ok()).collect();
    bench.admission.books().turn(Duration::ZERO);
    assert!(bench.sheds(Class::Submission), "they came just now");
    bench.admission.books().turn(Duration::ZERO);
    let full = bench.fill(Class::Submission);
    assert_eq!(full.len(), slow.len());
    let mut late = slow.into_iter().map(|(_, entry)| entry);
    let entry = late.next().unwrap();
    let shed = bench
        .admission
        .place(Class::Submission, 1, Some(entry))
        .unwrap_err();
    assert_eq!(shed.class, Class::Submission, "it must find a place anew");
    drop(full);
    let entry = late.next().unwrap();
    let place = bench.admission.place(Class::Submission, 1, Some(entry));
    drop((place.unwrap(), late));
    assert_eq!(bench.admission.books().in_flight(), 0);
}

#[test]
fn a_place_lasts_until_its_last_holder_is_gone() {
    let bench = bench();
    let place = bench.admission.place(Class::Submission, 5, None).unwrap();
    let twin = place.clone();
    drop(place);
    assert_eq!(bench.admission.books().in_flight(), 1);
    drop(twin);
    assert_eq!(bench.admission.books().in_flight(), 0);
}

#[test]
fn large_messages_are_bounded_by_their_bytes() {
    let bench = bench();
    let place = |class, bytes: u64| {
        let bytes = usize::try_from(bytes).unwrap();
        bench.admission.place(class, bytes, None)
    };
    let huge = place(Class::Submission, 2 * BYTES).unwrap();
    assert!(place(Class::Verified, 1).is_err() && bench.sheds(Class::Verified));
    drop(huge);
    let half = place(Class::Submission, BYTES / 2).unwrap();
    assert!(place(Class::Submission, BYTES / 2).is_err());
    assert!(place(Class::Verified, BYTES / 2 - 100).is_ok());
    drop(half);
}

#[test]
fn reads_and_drains_have_bounds_of_their_own() {
    let bench = bench();
    let enter = |class, most: u32| {
        let entries: Vec<_> = std::iter::from_fn(|| bench.admission.enter(class).ok()).collect();
        assert_eq!(entries.len(), most as usize, "{class:?}");
    };
    enter(Class::Read, READS);
    enter(Class::Drain, DRAINS);
    let _held = bench.fill(Class::Verified);
    enter(Class::Read, READS_WHILE_BUSY);
    enter(Class::Drain, DRAINS);
}

#[test]
fn requests_are_bounded_whatever_they_wait_for() {
    let test = TestClock::at(Timestamp::from_millis(0));
    let rules = AdmissionRules {
        commit_wait: MILLI,
        requests: 3,
    };
    let metrics = Metrics::new().admission().clone();
    let admission = Admission::new(rules, Clock::over(test), metrics);
    let mut present: Vec<Presence> = std::iter::from_fn(|| {
        let (presence, entry) = admission.enter(Class::Read).ok()?;
        drop(entry);
        Some(presence)
    })
    .collect();
    assert_eq!(present.len(), 3);
    present.pop();
    assert!(admission.enter(Class::Drain).is_ok());
}

#[test]
fn who_is_shed_is_told_when_to_come_again_and_counted() {
    let bench = bench();
    let _held = bench.fill(Class::Submission);
    assert!(bench.admission.is_shedding());
    let mut waits: Vec<u64> = (0..8)
        .map(|_| bench.admission.enter(Class::Submission).unwrap_err())
        .map(|shed| shed.retry_after.as_secs())
        .collect();
    waits.sort_unstable();
    assert_eq!(waits, [1, 1, 2, 2, 3, 3, 4, 4]);
    let text = bench.metrics.encode();
    for line in [
        r#"amtp_admitted_total{class="submission"} 384"#,
        r#"amtp_shed_total{class="submission"} 9"#,
        r#"amtp_shed_total{class="verified"} 0"#,
        "amtp_accepts_limit 512",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} in\n{text}");
    }
    bench.test.advance(SHEDDING);
    assert!(!bench.admission.is_shedding());
}

const SPAN: Duration = Duration::from_millis(100);

fn seen(written: u32, each: Duration, peak: u32) -> Seen {
    Seen {
        written,
        took: each * written,
        peak,
        lag: Duration::ZERO,
    }
}

#[test]
fn the_limit_falls_to_what_is_written_in_time() {
    let mut pace = Pace::new(10 * MILLI);
    let slow = seen(2_000, 30 * MILLI, REST);
    pace.look(&slow, SPAN);
    assert_eq!(pace.limit(), REST, "once is no proof");
    assert!(pace.is_late());
    pace.look(&slow, SPAN);
    assert_eq!(pace.limit(), REST / 2, "by half at most");
    pace.look(&slow, SPAN);
    assert_eq!(pace.limit(), 200, "20,000 a second for 10 ms");
    let crawling = seen(5, 500 * MILLI, 200);
    (0..9).for_each(|_| pace.look(&crawling, SPAN));
    assert_eq!(pace.limit(), LEAST);
}

#[test]
fn a_slow_machine_with_little_to_do_sheds_nothing() {
    let mut pace = Pace::new(10 * MILLI);
    let slow = Seen {
        lag: 50 * MILLI,
        ..seen(20, 200 * MILLI, REST / 2)
    };
    (0..50).for_each(|_| pace.look(&slow, SPAN));
    assert_eq!((pace.limit(), pace.is_late()), (REST, false));
}

#[test]
fn the_limit_rises_while_it_is_reached_and_goes_back_when_it_is_not() {
    let mut pace = Pace::new(10 * MILLI);
    pace.look(&seen(2_000, MILLI, REST), SPAN);
    assert_eq!(pace.limit(), REST + REST / 8);
    (0..30).for_each(|_| pace.look(&seen(2_000, MILLI, MOST), SPAN));
    assert_eq!(pace.limit(), MOST);
    (0..60).for_each(|_| pace.look(&seen(10, MILLI, 1), SPAN));
    assert_eq!(pace.limit(), REST);
    let crawling = seen(5, 500 * MILLI, REST);
    (0..9).for_each(|_| pace.look(&crawling, SPAN));
    assert_eq!(pace.limit(), LEAST);
    (0..60).for_each(|_| pace.look(&Seen::default(), SPAN));
    assert_eq!(pace.limit(), REST);
}

#[test]
fn a_store_that_stands_still_moves_nothing() {
    let mut pace = Pace::new(10 * MILLI);
    (0..100).for_each(|_| pace.look(&seen(0, MILLI, REST), SPAN));
    assert_eq!(pace.limit(), REST);
}

#[test]
fn a_runtime_that_is_late_lowers_the_limit() {
    let mut pace = Pace::new(10 * MILLI);
    let late = Seen {
        lag: 6 * MILLI,
        ..seen(1_000, MILLI, REST)
    };
    (0..3).for_each(|_| pace.look(&late, SPAN));
    assert_eq!(pace.limit(), 128);
}

#[test]
fn a_slow_disk_is_given_the_time_it_needs() {
    let mut pace = Pace::new(10 * MILLI);
    pace.committed(3, 20 * MILLI);
    assert_eq!(pace.target(), 60 * MILLI);
    pace.committed(400, 900 * MILLI);
    assert_eq!(pace.target(), 60 * MILLI, "a large batch tells nothing");
    (0..20).for_each(|_| pace.committed(3, 200 * MILLI));
    assert!(pace.target() < 120 * MILLI, "a slow one tells little");
    (0..50).for_each(|_| pace.committed(3, MILLI));
    assert_eq!(pace.target(), 10 * MILLI, "quick ones are believed");
}

#[test]
fn at_rest_as_many_are_let_in_as_are_written_soon() {
    let mut pace = Pace::new(10 * MILLI);
    let mut rest = |verbs: [usize; 2], each: Duration| {
        for number in 0..400 {
            let verbs = verbs[number % 2];
            let more = each * u32::try_from(verbs).unwrap();
            pace.committed(verbs, 2 * MILLI + more);
        }
        (0..60).for_each(|_| pace.look(&Seen::default(), SPAN));
        pace.limit()
    };
    let micros = Duration::from_micros;
    assert_eq!(rest([1, 15], micros(100)), REST, "too few to tell");
    let dear = rest([70, 130], micros(50));
    assert!((245..=255).contains(&dear), "50 us each, 12.5 ms: {dear}");
    assert_eq!(rest([70, 130], 5 * MILLI), LEAST_REST);
    assert_eq!(rest([70, 130], micros(1)), REST, "cheap again");
    let alike = rest([100, 100], micros(40));
    assert!(
        (205..=210).contains(&alike),
        "60 us with what a commit takes: {alike}"
    );
}

/// A store that writes what waits in batches: some time for each batch, and some for each message.
struct Model {
    bench: Bench,
    each_batch: Duration,
    each_message: Duration,
    waiting: Vec<(Duration, Place)>,
    batch: Vec<(Duration, Place)>,
    done_at: Duration,
    /// What the accepted took.
    took: Vec<Duration>,
    shed: usize,
}

impl Model {
    const STEP: Duration = Duration::from_micros(100);

    fn new(each_batch: Duration, each_message: Duration) -> Self {
        Self {
            bench: bench(),
            each_batch,
            each_message,
            waiting: Vec::new(),
            batch: Vec::new(),
            done_at: Duration::ZERO,
            took: Vec::new(),
            shed: 0,
        }
    }

    /// Messages a second with batches of 512.
    fn capacity(&self) -> f64 {
        512.0 / (self.each_batch + 512 * self.each_message).as_secs_f64()
    }

    /// So many messages a second come, whatever becomes of them.
    fn run(&mut self, rate: f64, time: Duration) {
        let (clock, mut due) = (self.bench.admission.0.clock.clone(), 0.0);
        let (began, mut turns) = (clock.monotonic(), 0);
        while clock.monotonic() - began < time {
            self.bench.test.advance(Self::STEP);
            let now = clock.monotonic();
            due += rate * Self::STEP.as_secs_f64();
            while due >= 1.0 {
                due -= 1.0;
                self.arrive(now);
            }
            self.write(now);
            if now - began >= TURN * (turns + 1) {
                turns += 1;
                self.bench.admission.books().turn(Duration::ZERO);
                if turns % TURNS == 0 {
                    self.bench.admission.look(TURN * TURNS);
                }
            }
        }
    }

    fn arrive(&mut self, now: Duration) {
        let admission = &self.bench.admission;
        let placed = admission
            .enter(Class::Submission)
            .and_then(|(_, entry)| admission.place(Class::Submission, 1_000, Some(entry)));
        match placed {
            Ok(place) => self.waiting.push((now, place)),
            Err(_) => self.shed += 1,
        }
    }

    fn write(&mut self, now: Duration) {
        if now < self.done_at {
            return;
        }
        self.took
            .extend(self.batch.drain(..).map(|(came, _)| now - came));
        let count = self.waiting.len().min(512);
        if count == 0 {
            return;
        }
        self.batch = self.waiting.drain(..count).collect();
        let took = self.each_batch + self.each_message * u32::try_from(count).unwrap();
        self.bench.admission.committed(count, took);
        self.done_at = now + took;
    }

    /// The p99 and the messages a second of a run, after the limit has settled.
    fn measure(&mut self, rate: f64) -> (Duration, f64) {
        self.run(rate, Duration::from_secs(2));
        let p99 = self.p99(rate, Duration::from_secs(2));
        (
            p99,
            f64::from(u32::try_from(self.took.len()).unwrap()) / 2.0,
        )
    }

    /// The p99 of a run, from its first moment.
    fn p99(&mut self, rate: f64, time: Duration) -> Duration {
        (self.took, self.shed) = (Vec::new(), 0);
        self.run(rate, time);
        self.took.sort_unstable();
        self.took[self.took.len() * 99 / 100]
    }
}

#[test]
fn at_three_times_what_can_be_written_the_accepted_wait_little_longer() {
    let micros = Duration::from_micros;
    for (each_batch, each_message) in [(1_500, 30), (5_000, 20), (20_000, 20), (3_000, 100)] {
        let mut model = Model::new(micros(each_batch), micros(each_message));
        let capacity = model.capacity();
        let (half, _) = model.measure(capacity / 2.0);
        assert_eq!(model.shed, 0, "at half load nothing is shed");
        let first = model.p99(capacity * 3.0, Duration::from_secs(8));
        assert!(first <= half * 3, "{each_batch}: {first:?} after {half:?}");
        let (flood, written) = model.measure(capacity * 3.0);
        assert!(flood <= half * 3, "{each_batch}: {flood:?} after {half:?}");
        assert!(
            written > capacity * 0.4,
            "{each_batch}: {written} of {capacity}"
        );
        let (after, _) = model.measure(capacity / 2.0);
        assert_eq!(model.shed, 0, "it recovers");
        assert!(after <= half * 2, "{each_batch}: {after:?} after {half:?}");
    }
}
