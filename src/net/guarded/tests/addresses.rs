//! Where connections lead.

use std::sync::Arc;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::world::{Names, World, get, here, page};
use crate::net::dns::DnsFault;
use crate::net::{AddressFilter, GuardedClient, NetFault, Plain};

/// A server at a port of 127.0.0.2 that hangs up on everybody.
async fn rude(world: &mut World, port: u16) {
    let listener = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    world.tasks.spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
}

#[tokio::test]
async fn loopback_is_refused_without_an_allowance_under_any_name() {
    let mut world = World::new();
    let port = world.serve(world.config()).await;
    let mut options = world.options(&["127.0.0.1", "::ffff:127.0.0.1", "10.0.0.1"]);
    options.filter = AddressFilter::public();
    let client = GuardedClient::new(options).unwrap();
    for (host, address, range) in [
        ("peer.test", "10.0.0.1", "private"),
        ("127.0.0.1", "127.0.0.1", "loopback"),
        ("[::1]", "::1", "loopback"),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1", "IPv4-mapped"),
    ] {
        let fault = get(&client, format!("https://{host}:{port}/"))
            .await
            .unwrap_err();
        let expected = NetFault::RefusedAddress {
            host: host.trim_matches(['[', ']']).to_owned(),
            address: address.parse().unwrap(),
            range,
        };
        assert_eq!(fault, expected, "{host}");
    }
}

#[tokio::test]
async fn a_refused_address_is_passed_over_and_the_allowed_one_used() {
    let mut world = World::new();
    let port = world.serve(world.config()).await;
    let client = GuardedClient::new(world.options(&["10.0.0.1", "::1", "127.0.0.1"])).unwrap();
    let answer = page(&client, port, "/").await.unwrap();
    assert_eq!(answer.remote, here(port));
}

#[tokio::test]
async fn the_second_address_is_tried_when_nobody_listens_at_the_first() {
    let mut world = World::new();
    let port = world.serve(world.config()).await;
    let client = GuardedClient::new(world.options(&["127.0.0.2", "127.0.0.1"])).unwrap();
    let answer = page(&client, port, "/").await.unwrap();
    assert_eq!(answer.remote, here(port));
}

#[tokio::test]
async fn the_second_address_is_tried_when_the_first_shakes_no_hands() {
    let mut world = World::new();
    let port = world.serve(world.config()).await;
    rude(&mut world, port).await;
    let client = GuardedClient::new(world.options(&["127.0.0.2", "127.0.0.1"])).unwrap();
    let answer = page(&client, port, "/").await.unwrap();
    assert_eq!(answer.remote, here(port));
}

#[tokio::test]
async fn what_tls_says_outlives_that_the_next_address_is_not_reached() {
    let mut world = World::new();
    let port = world.serve(world.config()).await;
    let client = GuardedClient::new(world.options(&["127.0.0.1", "127.0.0.2"])).unwrap();
    let fault = get(&client, format!("https://other.test:{port}/"))
        .await
        .unwrap_err();
    assert_eq!(fault.kind(), "tls", "{fault}");
}

#[tokio::test]
async fn no_more_than_eight_addresses_are_tried() {
    let mut world = World::new();
    let port = world.serve(world.config()).await;
    let closed: Vec<_> = (2..10).map(|n| format!("127.0.0.{n}")).collect();
    let mut addresses: Vec<_> = closed.iter().map(String::as_str).collect();
    addresses.push("127.0.0.1");
    let ninth = GuardedClient::new(world.options(&addresses)).unwrap();
    let fault = page(&ninth, port, "/").await.unwrap_err();
    assert_eq!(fault.kind(), "connect");
    assert!(fault.to_string().contains("127.0.0.9:"), "{fault}");
    let eighth = GuardedClient::new(world.options(&addresses[1..])).unwrap();
    assert!(page(&eighth, port, "/").await.is_ok());
}

#[tokio::test]
async fn what_the_dns_says_is_told_apart() {
    let world = World::new();
    for (answer, kind) in [
        (Err(DnsFault::Nothing { ttl: None }), "no_address"),
        (Ok(Vec::new()), "no_address"),
        (Err(DnsFault::Failed("SERVFAIL".to_owned())), "dns"),
    ] {
        let mut options = world.options(&[]);
        options.resolver = Arc::new(Names(answer));
        let client = GuardedClient::new(options).unwrap();
        let fault = page(&client, 443, "/").await.unwrap_err();
        assert_eq!(fault.kind(), kind, "{fault}");
    }
}

#[tokio::test]
async fn without_tls_only_allowed_ranges_are_called_and_only_where_that_is_on() {
    let mut world = World::new();
    let port = world.serve_plain().await;
    let url = format!("http://hook.test:{port}/");
    let fault = get(&world.client(), url.clone()).await.unwrap_err();
    assert_eq!(
        fault.to_string(),
        "hook.test: no connection: only https is called"
    );
    let mut options = world.options(&["127.0.0.1"]);
    options.plain = Plain::Inside;
    let client = GuardedClient::new(options).unwrap();
    let answer = get(&client, url).await.unwrap();
    assert_eq!(
        (answer.remote, &*answer.body),
        (here(port), &b"HTTP/1.1 1"[..])
    );
    for (url, kind) in [
        ("http://10.0.0.1/", "refused_address"),
        ("http://8.8.8.8/", "refused_address"),
        ("ftp://127.0.0.1/", "connect"),
    ] {
        let fault = get(&client, url.to_owned()).await.unwrap_err();
        assert_eq!(fault.kind(), kind, "{fault}");
    }
}

#[tokio::test]
async fn a_server_that_never_shakes_hands_is_waited_for_no_longer_than_allowed() {
    let mut world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let clock = world.clock.clone();
    world.tasks.spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        // The client has said hello: now it waits.
        tcp.read_u8().await.unwrap();
        clock.advance(std::time::Duration::from_secs(10));
        std::future::pending().await
    });
    let fault = page(&world.client(), port, "/").await.unwrap_err();
    let expected = NetFault::TimedOut {
        host: "peer.test".to_owned(),
        phase: "the TLS handshake",
    };
    assert_eq!(fault, expected);
}

#[tokio::test]
async fn the_time_for_the_whole_exchange_covers_the_connection() {
    let mut world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let clock = world.clock.clone();
    world.tasks.spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.read_u8().await.unwrap();
        clock.advance(super::world::LIMITS.time);
        std::future::pending().await
    });
    let mut options = world.options(&["127.0.0.1"]);
    options.times.handshake = std::time::Duration::from_secs(3_600);
    let client = GuardedClient::new(options).unwrap();
    let fault = page(&client, port, "/").await.unwrap_err();
    let expected = NetFault::TimedOut {
        host: "peer.test".to_owned(),
        phase: "the connection",
    };
    assert_eq!(fault, expected);
}
