use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

use super::*;
use crate::clock::TestClock;
use crate::endpoint::websocket::wire::{Decoder, Event};
use crate::protocol::Timestamp;

fn outbox(room: usize, end: End) -> (Outbox<DuplexStream>, DuplexStream) {
    let clock = Clock::over(TestClock::at(Timestamp::from_millis(0)));
    let (near, far) = duplex(room);
    let deflate = Deflate::agree(std::iter::once("permessage-deflate")).map(|it| it.0);
    (Outbox::new(near, end, deflate, clock), far)
}

/// What the other end makes of all that is written, in steps of `step` bytes, writing being left and
/// taken up again each time.
async fn heard(
    outbox: &mut Outbox<DuplexStream>,
    far: &mut DuplexStream,
    (reader, step): (End, usize),
) -> Vec<Event> {
    let deflate = Deflate::agree(std::iter::once("permessage-deflate")).map(|it| it.0);
    let mut decoder = Decoder::new(reader, deflate, 1 << 20);
    let mut events = Vec::new();
    let mut bytes = vec![0; step];
    while !outbox.is_empty() {
        tokio::select! {
            biased;
            read = far.read(&mut bytes) => {
                decoder.buffer().extend_from_slice(&bytes[..read.unwrap()]);
            }
            written = outbox.drain() => written.unwrap(),
        }
        while let Some(event) = decoder.next().unwrap() {
            events.push(event);
        }
    }
    while let Ok(1..) = far.try_read(&mut bytes, &mut decoder).await {
        while let Some(event) = decoder.next().unwrap() {
            events.push(event);
        }
    }
    events
}

trait TryRead {
    async fn try_read(&mut self, bytes: &mut [u8], decoder: &mut Decoder) -> io::Result<usize>;
}

impl TryRead for DuplexStream {
    /// Reads what is there; nothing where nothing is.
    async fn try_read(&mut self, bytes: &mut [u8], decoder: &mut Decoder) -> io::Result<usize> {
        tokio::select! {
            biased;
            read = self.read(bytes) => {
                let read = read?;
                decoder.buffer().extend_from_slice(&bytes[..read]);
                Ok(read)
            }
            () = std::future::ready(()) => Ok(0),
        }
    }
}

fn text(text: &str) -> Event {
    Event::Text(Bytes::copy_from_slice(text.as_bytes()))
}

#[tokio::test]
async fn what_is_added_comes_out_in_order_however_slowly_it_is_read() {
    let long = "long ".repeat(20_000);
    for (writer, reader) in [(End::Server, End::Client), (End::Client, End::Server)] {
        for (room, step) in [(1, 1), (7, 3), (64 * 1024, 4_096)] {
            let (mut outbox, mut far) = outbox(room, writer);
            outbox.text("one".to_owned());
            outbox.text(long.clone());
            outbox.ping();
            outbox.text(String::new());
            assert!(outbox.waiting() > 0);
            let found = heard(&mut outbox, &mut far, (reader, step)).await;
            let ping = Event::Ping(Bytes::from_static(b"amtp"));
            assert_eq!(found, [text("one"), text(&long), ping, text("")]);
            assert_eq!(outbox.waiting(), 0);
        }
    }
}

#[tokio::test]
async fn a_pong_goes_before_what_was_not_begun_and_answers_all_pings() {
    let (mut outbox, mut far) = outbox(4, End::Server);
    outbox.text("first".to_owned());
    outbox.text("second".to_owned());
    let begun = tokio::select! {
        biased;
        written = outbox.drain() => written.is_ok(),
        () = std::future::ready(()) => false,
    };
    assert!(!begun, "the first is torn");
    outbox.pong(Bytes::from_static(b"1"));
    outbox.pong(Bytes::from_static(b"2"));
    let mut decoder = Decoder::new(End::Client, None, 100);
    let mut bytes = [0; 3];
    let mut wire = Vec::new();
    while !outbox.is_empty() {
        tokio::select! {
            biased;
            read = far.read(&mut bytes) => wire.extend_from_slice(&bytes[..read.unwrap()]),
            written = outbox.drain() => written.unwrap(),
        }
    }
    drop(outbox);
    far.read_to_end(&mut wire).await.unwrap();
    decoder.buffer().extend_from_slice(&wire);
    assert_eq!(decoder.next().unwrap(), Some(text("first")));
    let pong = [0x8a, 1, b'2'];
    assert_eq!(wire[7..10], pong);
    assert_eq!(decoder.next().unwrap(), Some(Event::Pong));
    assert_eq!(decoder.next().unwrap(), Some(text("second")));
}

#[tokio::test]
async fn a_close_that_gives_up_the_rest_tears_no_frame() {
    let close = Close::of(1001, "bye");
    for (rest, expected) in [(Rest::Written, 3), (Rest::GivenUp, 1)] {
        let (mut outbox, mut far) = outbox(4, End::Server);
        for word in ["first", "second", "third"] {
            outbox.text(word.to_owned());
        }
        tokio::select! {
            biased;
            _ = outbox.drain() => panic!("all was taken"),
            () = std::future::ready(()) => {}
        }
        outbox.close(&close, rest);
        let found = heard(&mut outbox, &mut far, (End::Client, 3)).await;
        assert_eq!(found.len(), expected + 1, "{found:?}");
        assert_eq!(found[0], text("first"));
        assert_eq!(found[expected], Event::Closed(close.clone()));
    }
    let (mut outbox, mut far) = outbox(100, End::Server);
    outbox.text("never begun".to_owned());
    outbox.close(&close, Rest::GivenUp);
    let found = heard(&mut outbox, &mut far, (End::Client, 50)).await;
    assert_eq!(found, [Event::Closed(close)]);
}
