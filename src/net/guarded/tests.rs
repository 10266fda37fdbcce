//! The guarded client against real servers on this machine.

mod addresses;
mod answers;
mod certificates;
mod world;

use crate::net::NetFault;

#[test]
fn every_fault_has_its_word_and_names_the_host() {
    let host = || "peer.test".to_owned();
    let cause = || "why".to_owned();
    let table = [
        (
            NetFault::RefusedAddress {
                host: host(),
                address: "10.0.0.1".parse().unwrap(),
                range: "private",
            },
            "refused_address",
            "peer.test: 10.0.0.1 is not connected to (private)",
        ),
        (
            NetFault::Dns {
                host: host(),
                cause: cause(),
            },
            "dns",
            "peer.test: why",
        ),
        (
            NetFault::NoAddress { host: host() },
            "no_address",
            "peer.test has no address",
        ),
        (
            NetFault::Connect {
                host: host(),
                cause: cause(),
            },
            "connect",
            "peer.test: no connection: why",
        ),
        (
            NetFault::Tls {
                host: host(),
                cause: cause(),
            },
            "tls",
            "peer.test: TLS: why",
        ),
        (
            NetFault::TimedOut {
                host: host(),
                phase: "the answer",
            },
            "timeout",
            "peer.test: no time left for the answer",
        ),
        (
            NetFault::Broken {
                host: host(),
                cause: cause(),
            },
            "broken",
            "peer.test: the connection broke: why",
        ),
        (
            NetFault::TooLarge {
                host: host(),
                limit: 10,
            },
            "too_large",
            "peer.test: the answer is larger than 10 bytes",
        ),
    ];
    for (fault, kind, text) in table {
        assert_eq!((fault.kind(), fault.to_string().as_str()), (kind, text));
    }
}
