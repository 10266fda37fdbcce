use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::clock::TestClock;
use crate::endpoint::websocket::wire;
use crate::protocol::Timestamp;

const LIMIT: usize = 1 << 20;

fn source(memory: &Memory) -> (Source<DuplexStream>, DuplexStream, Arc<TestClock>) {
    let test = TestClock::at(Timestamp::from_millis(0));
    let clock = Clock::over(test.clone());
    let (near, far) = duplex(LIMIT + 100);
    let decoder = Decoder::new(wire::End::Client, None, LIMIT);
    (
        Source::new(near, decoder, (memory.clone(), clock)),
        far,
        test,
    )
}

/// The head of a text with this length, as a server sends it.
fn head(length: usize) -> Vec<u8> {
    [&[0x81, 127][..], &(length as u64).to_be_bytes()].concat()
}

#[tokio::test]
async fn large_messages_share_a_bounded_memory() {
    let memory = Memory::new(800 * 1024);
    let half = vec![b'x'; 500 * 1024];
    let (mut one, mut far_one, _) = source(&memory);
    far_one.write_all(&head(half.len() + 1)).await.unwrap();
    far_one.write_all(&half).await.unwrap();
    let still = tokio::select! {
        biased;
        event = one.next() => panic!("{event:?}"),
        () = std::future::ready(()) => true,
    };
    assert!(still && memory.0.available_permits() <= 300);
    let (mut two, mut far_two, _) = source(&memory);
    far_two.write_all(&head(half.len())).await.unwrap();
    far_two.write_all(&half[1..]).await.unwrap();
    let Err(End::Close(close)) = two.next().await else {
        panic!("taken")
    };
    assert_eq!(close.code, Some(close::LATER));
    drop(two);
    far_one.write_all(b"x").await.unwrap();
    let Ok(Event::Text(text)) = one.next().await else {
        panic!("not whole")
    };
    assert_eq!(text.len(), half.len() + 1);
    assert_eq!(memory.0.available_permits(), 800, "given back");
}

#[tokio::test]
async fn it_is_known_since_when_a_message_comes_and_when_bytes_came() {
    let memory = Memory::new(LIMIT);
    let (mut source, mut far, test) = source(&memory);
    assert_eq!(source.amid(), None);
    let second = Duration::from_secs(1);
    for (at, bytes) in [(1, &head(3)[..]), (2, b"a"), (3, b"b")] {
        test.advance(second);
        far.write_all(bytes).await.unwrap();
        tokio::select! {
            biased;
            event = source.next() => panic!("{event:?}"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(source.moved(), at * second);
        assert_eq!(source.amid(), Some(second), "since its first byte");
    }
    test.advance(second);
    far.write_all(b"c").await.unwrap();
    assert!(matches!(source.next().await, Ok(Event::Text(_))));
    assert_eq!((source.amid(), source.moved()), (None, 4 * second));
    drop(far);
    assert!(matches!(source.next().await, Err(End::Gone)));
}
