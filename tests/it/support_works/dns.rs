//! The DNS server, asked by a resolver.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use crate::support::dns::{DnsServer, mx, txt};

/// A resolver without a cache that asks this server only.
fn resolver(server: SocketAddr) -> TokioResolver {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .map(|mut connection| {
            connection.port = server.port();
            connection
        })
        .to_vec();
    let servers = vec![NameServerConfig::new(server.ip(), true, connections)];
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.cache_size = 0;
    options.attempts = 0;
    options.timeout = Duration::from_secs(2);
    builder.build().unwrap()
}

/// The TXT records of a name, the strings of each put together.
async fn texts(resolver: &TokioResolver, name: &str) -> Result<Vec<String>, String> {
    let found = resolver
        .txt_lookup(name)
        .await
        .map_err(|error| error.to_string())?;
    let texts = found
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::TXT(text) => Some(String::from_utf8(text.txt_data.concat()).unwrap()),
            _ => None,
        });
    Ok(texts.collect())
}

/// Asks over UDP and takes the answer as it comes.
fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    socket.send_to(&question.to_vec().unwrap(), server).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    Message::from_vec(&buffer[..length]).unwrap()
}

#[tokio::test]
async fn a_dns_zone_changes_while_it_is_asked() {
    let server = DnsServer::start();
    let resolver = resolver(server.address());
    server.set_txt("_amtp.A.test", &["v=amtp1;", "gateway=https://a.test"]);
    let found = texts(&resolver, "_amtp.a.test.").await.unwrap();
    assert_eq!(found, ["v=amtp1;gateway=https://a.test"]);
    server.set_txt("_amtp.a.test.", &["v=amtp1"]);
    assert_eq!(
        texts(&resolver, "_amtp.a.test.").await.unwrap(),
        ["v=amtp1"]
    );
    server.set_records("_amtp.a.test", vec![txt(&["one"]), txt(&["two"])]);
    let mut both = texts(&resolver, "_amtp.a.test.").await.unwrap();
    both.sort();
    assert_eq!(both, ["one", "two"]);
    assert_eq!(server.queries("_amtp.a.test"), 3);
    server.remove("_amtp.a.test");
    assert!(texts(&resolver, "_amtp.a.test.").await.is_err());
}

#[tokio::test]
async fn a_host_has_addresses_of_both_families_and_mail_exchangers() {
    let server = DnsServer::start();
    let resolver = resolver(server.address());
    server.set_a("gw.test", Ipv4Addr::new(10, 0, 0, 1).into());
    server.set_a("gw.test", Ipv4Addr::new(10, 0, 0, 2).into());
    server.set_a("gw.test", Ipv6Addr::LOCALHOST.into());
    let v4 = ask(server.address(), "gw.test.", RecordType::A);
    assert_eq!(v4.answers.len(), 1, "the second address replaces the first");
    let found = resolver.lookup_ip("gw.test.").await.unwrap();
    assert!(
        found
            .iter()
            .any(|address| address == Ipv4Addr::new(10, 0, 0, 2))
    );
    server.set_records("gw.test", vec![mx(10, "mail.gw.test."), mx(20, ".")]);
    let answer = ask(server.address(), "gw.test.", RecordType::MX);
    assert_eq!(answer.answers.len(), 2);
}

#[test]
fn a_dns_refusal_says_which_kind_it_is_and_how_long_it_holds() {
    let server = DnsServer::start();
    server.set_ttl(Duration::from_secs(7));
    server.set_txt("_amtp.b.test", &["x"]);
    for (name, code) in [
        ("_amtp.b.test.", ResponseCode::NoError),
        ("b.test.", ResponseCode::NoError),
        ("c.test.", ResponseCode::NXDomain),
    ] {
        let answer = ask(server.address(), name, RecordType::A);
        assert_eq!(answer.response_code, code, "{name}");
        let RData::SOA(soa) = &answer.authorities[0].data else {
            panic!("{answer}");
        };
        assert_eq!((soa.minimum, answer.answers.len()), (7, 0));
    }
    let answer = ask(server.address(), "_amtp.b.test.", RecordType::TXT);
    assert_eq!(answer.answers[0].ttl, 7);
}

#[tokio::test]
async fn a_dns_server_fails_and_falls_silent_and_comes_back() {
    let server = DnsServer::start();
    let resolver = resolver(server.address());
    server.set_txt("d.test", &["x"]);
    server.fail("d.test");
    let answer = ask(server.address(), "d.test.", RecordType::TXT);
    assert_eq!(answer.response_code, ResponseCode::ServFail);
    server.set_txt("d.test", &["x"]);
    assert_eq!(texts(&resolver, "d.test.").await.unwrap(), ["x"]);
    server.silence(true);
    assert!(texts(&resolver, "d.test.").await.is_err());
    server.silence(false);
    assert_eq!(texts(&resolver, "d.test.").await.unwrap(), ["x"]);
}

#[tokio::test]
async fn a_large_dns_answer_is_truncated_over_udp_and_whole_over_tcp() {
    let server = DnsServer::start();
    let long = "x".repeat(250);
    server.set_records("e.test", vec![txt(&[long.as_str()]); 30]);
    let answer = ask(server.address(), "e.test.", RecordType::TXT);
    assert!(answer.truncation && answer.answers.is_empty());
    let resolver = resolver(server.address());
    assert_eq!(texts(&resolver, "e.test.").await.unwrap().len(), 30);
}
