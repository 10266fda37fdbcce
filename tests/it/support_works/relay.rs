//! The relay that makes a distance.

#![allow(clippy::disallowed_methods, reason = "what is measured is real time")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::relay::DelayRelay;

const DELAY: Duration = Duration::from_millis(50);
const SOON: Duration = Duration::from_secs(20);

fn free() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// A connection through a relay, from its near to its far end.
async fn connected() -> (DelayRelay, TcpStream, TcpStream) {
    let listener = TcpListener::bind(free()).await.unwrap();
    let relay = DelayRelay::start(free(), listener.local_addr().unwrap(), DELAY);
    let near = TcpStream::connect(relay.address()).await.unwrap();
    let (far, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    (relay, near, far)
}

#[tokio::test]
async fn a_question_over_the_distance_takes_two_delays() {
    let (_relay, mut near, mut far) = connected().await;
    for _ in 0..2 {
        let start = Instant::now();
        near.write_all(b"?").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'?');
        assert!(start.elapsed() >= DELAY);
        far.write_all(b"!").await.unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'!');
        assert!(start.elapsed() >= 2 * DELAY);
    }
    drop(near);
    assert_eq!(timeout(SOON, far.read(&mut [0])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_distance_does_not_narrow_the_way() {
    let (_relay, near, mut far) = connected().await;
    let (_, mut writer) = near.into_split();
    let start = Instant::now();
    let sent: Vec<u8> = (0..64 << 20)
        .map(|n: u32| n.to_le_bytes()[n as usize % 3])
        .collect();
    let copy = sent.clone();
    let sending = async move {
        writer.write_all(&copy).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut got = Vec::with_capacity(sent.len());
    let (_, read) = tokio::join!(sending, far.read_to_end(&mut got));
    read.unwrap();
    assert!(got == sent, "other bytes arrived");
    // A chunk a round trip would take most of a minute.
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_cut_holds_what_is_on_the_way_until_it_is_restored() {
    let (relay, mut near, mut far) = connected().await;
    relay.cut();
    near.write_all(b"held").await.unwrap();
    let mut got = [0; 4];
    timeout(4 * DELAY, far.read_exact(&mut got))
        .await
        .unwrap_err();
    relay.restore();
    timeout(SOON, far.read_exact(&mut got))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&got, b"held");
}

#[tokio::test]
async fn a_relay_that_is_gone_ends_its_connections() {
    let (relay, near, mut far) = connected().await;
    drop(relay);
    let ended = timeout(SOON, far.read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    drop(near);
}
