//! A DNS server in the test's process: a real zone, over UDP and TCP, with faults on demand.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::pin::Pin;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::net::runtime::{Time, TokioRuntimeProvider};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, NS, SOA, TXT};
use hickory_resolver::proto::rr::{LowerName, Name, RData, Record, RecordType, RrKey};
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo, Server};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, MessageResponseBuilder, ZoneType};
use tokio::net::{TcpListener, UdpSocket};

/// What the zone `example.` says about names it does not have, in seconds.
pub(super) const NEGATIVE_TTL: u32 = 120;

/// What a server does instead of answering.
#[derive(Clone, Copy)]
pub(super) enum Fault {
    Silence,
    Code(ResponseCode),
}

/// Serves the zone `example.` for as long as it lives.
pub(super) struct DnsServer {
    pub(super) address: SocketAddr,
    server: Server<Handler>,
    zone: Arc<InMemoryZoneHandler>,
    script: Arc<Script>,
}

impl DnsServer {
    pub(super) async fn start() -> Self {
        let zone = Arc::new(InMemoryZoneHandler::<TokioRuntimeProvider>::empty(
            name("example"),
            ZoneType::Primary,
            AxfrPolicy::Deny,
        ));
        let mut catalog = Catalog::new();
        catalog.upsert(LowerName::new(&name("example")), vec![zone.clone()]);
        let script = Arc::new(Script::default());
        let mut server = Server::new(Handler {
            catalog,
            script: script.clone(),
        });
        let (tcp, udp) = sockets().await;
        let address = tcp.local_addr().unwrap();
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(60), 8);
        let started = Self {
            address,
            server,
            zone,
            script,
        };
        let ns = name("ns.example");
        let soa = SOA::new(ns.clone(), ns, 1, 600, 600, 600, NEGATIVE_TTL);
        started.set("example", 3_600, [RData::SOA(soa)]).await;
        started
    }

    /// Puts these records in the place of those of the same name and type.
    pub(super) async fn set<const N: usize>(&self, at: &str, ttl: u32, data: [RData; N]) {
        self.withdraw(at, data[0].record_type()).await;
        for one in data {
            let record = Record::from_rdata(name(at), ttl, one);
            assert!(self.zone.upsert(record, 1).await, "{at} was not taken");
        }
    }

    pub(super) async fn withdraw(&self, at: &str, kind: RecordType) {
        let key = RrKey::new(LowerName::new(&name(at)), kind);
        self.zone.records_mut().await.remove(&key);
    }

    /// From now on questions of this type for this name meet with a fault, or no longer.
    pub(super) fn fault(&self, at: &str, kind: RecordType, fault: Option<Fault>) {
        let key = (name(at).to_ascii(), kind);
        let mut faults = self.script.faults.lock().unwrap();
        match fault {
            Some(fault) => faults.insert(key, fault),
            None => faults.remove(&key),
        };
    }

    /// How many questions of this type for this name came. One that was sent again counts once.
    pub(super) fn asked(&self, at: &str, kind: RecordType) -> usize {
        let seen = self.script.seen.lock().unwrap();
        seen.get(&(name(at).to_ascii(), kind))
            .map_or(0, HashSet::len)
    }

    /// Whether any question came over TCP.
    pub(super) fn asked_over_tcp(&self) -> bool {
        *self.script.tcp.lock().unwrap()
    }

    pub(super) async fn stop(mut self) {
        self.server.shutdown_gracefully().await.unwrap();
    }
}

/// The same port for both.
async fn sockets() -> (TcpListener, UdpSocket) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            return (tcp, udp);
        }
    }
}

/// Questions by name and type.
type ByQuestion<T> = Mutex<HashMap<(String, RecordType), T>>;

#[derive(Default)]
struct Script {
    faults: ByQuestion<Fault>,
    seen: ByQuestion<HashSet<u16>>,
    tcp: Mutex<bool>,
}

struct Handler {
    catalog: Catalog,
    script: Arc<Script>,
}

impl Handler {
    /// Takes note of the question, and says what is to go wrong with it.
    fn note(&self, request: &Request) -> Option<Fault> {
        let info = request.request_info().unwrap();
        let key = (info.query.name().to_string(), info.query.query_type());
        *self.script.tcp.lock().unwrap() |= info.protocol == Protocol::Tcp;
        let mut seen = self.script.seen.lock().unwrap();
        seen.entry(key.clone())
            .or_default()
            .insert(info.metadata.id);
        self.script.faults.lock().unwrap().get(&key).copied()
    }

    async fn answer<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        match self.note(request) {
            None => self.catalog.handle_request::<R, T>(request, response).await,
            Some(Fault::Silence) => std::future::pending().await,
            Some(Fault::Code(code)) => {
                let answer = MessageResponseBuilder::from_message_request(request)
                    .error_msg(&request.metadata, code);
                response.send_response(answer).await.unwrap()
            }
        }
    }
}

impl RequestHandler for Handler {
    fn handle_request<'this, 'request, 'answer, R, T>(
        &'this self,
        request: &'request Request,
        response: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'answer>>
    where
        'this: 'answer,
        'request: 'answer,
        R: ResponseHandler + 'answer,
        T: Time + 'answer,
        Self: 'answer,
    {
        Box::pin(self.answer::<R, T>(request, response))
    }
}

pub(super) fn name(text: &str) -> Name {
    Name::from_str(&format!("{text}.")).unwrap()
}

/// A TXT record of these strings.
pub(super) fn txt(strings: &[&[u8]]) -> RData {
    RData::TXT(TXT::from_bytes(strings.to_vec()))
}

/// A TXT record that names a gateway.
pub(super) fn gateway(host: &str) -> RData {
    txt(&[format!("v=amtp1;gateway=https://{host}").as_bytes()])
}

pub(super) fn mx(preference: u16, host: &str) -> RData {
    let host = if host.is_empty() {
        Name::root()
    } else {
        name(host)
    };
    RData::MX(MX::new(preference, host))
}

pub(super) fn alias(to: &str) -> RData {
    RData::CNAME(CNAME(name(to)))
}

pub(super) fn delegation(to: &str) -> RData {
    RData::NS(NS(name(to)))
}

pub(super) fn v4(address: &str) -> RData {
    RData::A(A(address.parse().unwrap()))
}

pub(super) fn v6(address: &str) -> RData {
    RData::AAAA(AAAA(address.parse().unwrap()))
}
