use super::*;

/// A frame as a client sends it: the first byte as given, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    masked(first, payload, [0x12, 0x34, 0x56, 0x78])
}

fn masked(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

fn decoder(limit: usize) -> Decoder {
    Decoder::new(End::Server, None, limit)
}

/// All events of these bytes, which come in pieces of this size.
fn events(mut decoder: Decoder, bytes: &[u8], piece: usize) -> Result<Vec<Event>, Close> {
    let mut events = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.buffer().extend_from_slice(piece);
        while let Some(event) = decoder.next()? {
            events.push(event);
        }
    }
    Ok(events)
}

fn text(text: &str) -> Event {
    Event::Text(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn messages_are_put_together_in_whatever_pieces_they_come() {
    let long = "x".repeat(70_000);
    let bytes = [
        frame(0x81, b"one"),
        frame(0x01, "zw\u{e9}".as_bytes()),
        frame(0x89, b"between"),
        frame(0x00, b""),
        frame(0x8a, b""),
        frame(0x80, b"i"),
        frame(0x81, b""),
        frame(0x81, long.as_bytes()),
        frame(0x88, &[0x03, 0xe8, b'b', b'y', b'e']),
    ]
    .concat();
    let expected = vec![
        text("one"),
        Event::Ping(Bytes::from_static(b"between")),
        Event::Pong,
        text("zw\u{e9}i"),
        text(""),
        text(&long),
        Event::Closed(Close::of(1000, "bye")),
    ];
    for piece in [1, 2, 3, 7, 1_000, bytes.len()] {
        let found = events(decoder(100_000), &bytes, piece).unwrap();
        assert_eq!(found, expected, "pieces of {piece}");
    }
}

#[test]
fn what_breaks_the_rules_ends_with_its_code() {
    let split = "\u{e9}".as_bytes();
    let table: [(&str, Vec<u8>, u16); 22] = [
        ("binary", frame(0x82, b"x"), close::UNSUPPORTED),
        ("binary in fragments", frame(0x02, b"x"), close::UNSUPPORTED),
        ("a reserved bit", frame(0xc1, b"x"), close::PROTOCOL),
        ("another reserved bit", frame(0xa1, b"x"), close::PROTOCOL),
        ("the last reserved bit", frame(0x91, b"x"), close::PROTOCOL),
        ("a reserved opcode", frame(0x83, b"x"), close::PROTOCOL),
        (
            "a reserved control opcode",
            frame(0x8b, b"x"),
            close::PROTOCOL,
        ),
        ("a fragmented ping", frame(0x09, b"x"), close::PROTOCOL),
        ("a long ping", frame(0x89, &[b'x'; 126]), close::PROTOCOL),
        ("a long close", frame(0x88, &[3; 126]), close::PROTOCOL),
        ("no mask", vec![0x81, 1, b'x'], close::PROTOCOL),
        ("nothing to continue", frame(0x80, b"x"), close::PROTOCOL),
        ("nothing to go on with", frame(0x00, b"x"), close::PROTOCOL),
        (
            "two messages at once",
            [frame(0x01, b"x"), frame(0x81, b"y")].concat(),
            close::PROTOCOL,
        ),
        (
            "two beginnings",
            [frame(0x01, b"x"), frame(0x01, b"y")].concat(),
            close::PROTOCOL,
        ),
        ("a large frame", frame(0x81, &[b'x'; 101]), close::TOO_BIG),
        (
            "a large message",
            [frame(0x01, &[b'x'; 60]), frame(0x80, &[b'x'; 41])].concat(),
            close::TOO_BIG,
        ),
        (
            "a length that no machine has",
            [&[0x81, 0xff][..], &[0xff; 8], &[0; 4]].concat(),
            close::TOO_BIG,
        ),
        ("text that is not UTF-8", frame(0x81, &[0xff]), close::DATA),
        ("half a character", frame(0x81, &split[..1]), close::DATA),
        (
            "half a character in fragments",
            [frame(0x01, &split[..1]), frame(0x80, b"x")].concat(),
            close::DATA,
        ),
        ("half a close code", frame(0x88, &[3]), close::PROTOCOL),
    ];
    for (what, bytes, code) in table {
        for piece in [1, bytes.len()] {
            let ended = events(decoder(100), &bytes, piece).unwrap_err();
            assert_eq!(ended.code, Some(code), "{what}: {ended:?}");
            assert!(!ended.reason.is_empty(), "{what}");
        }
    }
}

#[test]
fn a_character_may_be_split_between_fragments() {
    let whole = "\u{1f600}".as_bytes();
    let bytes = [frame(0x01, &whole[..2]), frame(0x80, &whole[2..])].concat();
    assert_eq!(events(decoder(10), &bytes, 1).unwrap(), [text("\u{1f600}")]);
}

#[test]
fn fragments_are_counted() {
    let mut bytes = frame(0x01, b"");
    for _ in 0..=MOST_FRAGMENTS {
        bytes.extend(frame(0x00, b""));
    }
    let ended = events(decoder(10), &bytes, 4_096).unwrap_err();
    assert_eq!(ended.code, Some(close::POLICY));
}

#[test]
fn an_announced_length_takes_no_memory() {
    let mut decoder = decoder(100 << 20);
    let head = [&[0x81, 0xff][..], &(90_u64 << 20).to_be_bytes(), &[0; 4]].concat();
    decoder.buffer().extend_from_slice(&head);
    assert_eq!(decoder.next().unwrap(), None);
    assert!(decoder.is_amid());
    assert!(decoder.message.content.capacity() < 4_096);
}

#[test]
fn compressed_messages_expand_and_bombs_do_not() {
    let (deflate, _) = Deflate::agree(std::iter::once("permessage-deflate")).unwrap();
    let with = |limit| Decoder::new(End::Server, Some(deflate), limit);
    let long = "abc ".repeat(1_000);
    let packed = deflate.compress(long.as_bytes()).unwrap();
    let (first, second) = packed.split_at(packed.len() / 2);
    let bytes = [
        frame(0x41, first),
        frame(0x80, second),
        frame(0x81, b"plain"),
    ]
    .concat();
    let found = events(with(10_000), &bytes, 3).unwrap();
    assert_eq!(found, [text(&long), text("plain")]);
    let table = [
        ("a bomb", frame(0xc1, &packed), 3_999, close::TOO_BIG),
        ("rubbish", frame(0xc1, &[0xff; 9]), 100, close::DATA),
        (
            "a compressed continuation",
            [frame(0x41, first), frame(0xc0, second)].concat(),
            10_000,
            close::PROTOCOL,
        ),
        ("a compressed ping", frame(0xc9, b"x"), 100, close::PROTOCOL),
    ];
    for (what, bytes, limit, code) in table {
        let ended = events(with(limit), &bytes, bytes.len()).unwrap_err();
        assert_eq!(ended.code, Some(code), "{what}: {ended:?}");
    }
}

#[test]
fn a_client_takes_frames_without_mask_only() {
    let client = || Decoder::new(End::Client, None, 100);
    let plain = [0x81, 2, b'h', b'i'];
    assert_eq!(events(client(), &plain, 1).unwrap(), [text("hi")]);
    let ended = events(client(), &frame(0x81, b"hi"), 1).unwrap_err();
    assert_eq!(ended.code, Some(close::PROTOCOL));
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
        piece in 1_usize..40,
        compressed in proptest::prelude::any::<bool>(),
    ) {
        let deflate = Deflate::agree(std::iter::once("permessage-deflate")).map(|it| it.0);
        let decoder = Decoder::new(End::Server, deflate.filter(|_| compressed), 200);
        drop(events(decoder, &bytes, piece));
    }

    #[test]
    fn what_is_sent_comes_out(
        words in proptest::collection::vec(".{0,300}", 1..5),
        mask in proptest::prelude::any::<[u8; 4]>(),
        piece in 1_usize..700,
    ) {
        let bytes: Vec<u8> = words.iter().flat_map(|it| masked(0x81, it.as_bytes(), mask)).collect();
        let expected: Vec<Event> = words.iter().map(|it| text(it)).collect();
        let found = events(decoder(4_096), &bytes, piece).unwrap();
        proptest::prop_assert_eq!(found, expected);
    }
}
