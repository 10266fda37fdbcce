//! A real DNS server over UDP and TCP, whose one zone a test changes while it runs.
//!
//! - It is the authority for every name; names compare without case.
//! - A name without records, and without names under it, does not exist (NXDOMAIN); both kinds of
//!   "no" carry an SOA record.
//! - Records and refusals live as long as the last [`DnsServer::set_ttl`] says, 60 s at first.
//! - What is too large for the asker's UDP buffer is truncated; TCP gives all of it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener, UdpSocket as StdSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, Metadata, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, MX, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use super::background::{self, Task, lock};

/// What a UDP answer may hold when the asker does not say.
const PLAIN_UDP: usize = 512;

/// A running DNS server.
pub struct DnsServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    _tasks: [Task; 2],
}

struct Zone {
    records: HashMap<String, Vec<RData>>,
    failing: HashSet<String>,
    queries: HashMap<String, usize>,
    ttl: u32,
    silent: bool,
}

impl DnsServer {
    /// A server on a free port of this machine.
    pub fn start() -> Self {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// A server on this address; port 0 takes one that is free for UDP and TCP.
    pub fn start_on(address: SocketAddr) -> Self {
        let (datagrams, listener) =
            bind(address).unwrap_or_else(|error| panic!("no DNS server on {address}: {error}"));
        let address = datagrams.local_addr().unwrap();
        let datagrams = background::within(|| UdpSocket::from_std(datagrams).unwrap());
        let listener = background::adopt(listener);
        let zone = Arc::new(Mutex::new(Zone {
            records: HashMap::new(),
            failing: HashSet::new(),
            queries: HashMap::new(),
            ttl: 60,
            silent: false,
        }));
        let tasks = [
            background::run(serve_datagrams(datagrams, Arc::clone(&zone))),
            background::run(serve_connections(listener, Arc::clone(&zone))),
        ];
        Self {
            address,
            zone,
            _tasks: tasks,
        }
    }

    /// Where it answers, the same port for UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives a name one TXT record of these strings, in place of its TXT records.
    pub fn set_txt(&self, name: &str, strings: &[&str]) {
        self.replace(name, RecordType::TXT, txt(strings));
    }

    /// Gives a name one address, in place of its addresses of that family.
    pub fn set_a(&self, name: &str, address: IpAddr) {
        let record = match address {
            IpAddr::V4(address) => RData::A(A(address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(address)),
        };
        self.replace(name, record.record_type(), record);
    }

    /// Gives a name exactly these records, of any types.
    pub fn set_records(&self, name: &str, records: Vec<RData>) {
        let mut zone = lock(&self.zone);
        zone.failing.remove(&key(name));
        zone.records.insert(key(name), records);
    }

    /// Forgets a name.
    pub fn remove(&self, name: &str) {
        let mut zone = lock(&self.zone);
        zone.failing.remove(&key(name));
        zone.records.remove(&key(name));
    }

    /// How long every later answer may be kept, in whole seconds.
    pub fn set_ttl(&self, ttl: Duration) {
        lock(&self.zone).ttl = u32::try_from(ttl.as_secs()).unwrap();
    }

    /// Answers SERVFAIL for a name, until it is set or removed.
    pub fn fail(&self, name: &str) {
        lock(&self.zone).failing.insert(key(name));
    }

    /// Whether questions are left without an answer.
    pub fn silence(&self, silent: bool) {
        lock(&self.zone).silent = silent;
    }

    /// How many questions there were for a name, of any type, over UDP and TCP, answered or not.
    pub fn queries(&self, name: &str) -> usize {
        lock(&self.zone)
            .queries
            .get(&key(name))
            .copied()
            .unwrap_or_default()
    }

    fn replace(&self, name: &str, kind: RecordType, record: RData) {
        let mut zone = lock(&self.zone);
        zone.failing.remove(&key(name));
        let records = zone.records.entry(key(name)).or_default();
        records.retain(|old| old.record_type() != kind);
        records.push(record);
    }
}

/// A TXT record of these strings.
pub fn txt(strings: &[&str]) -> RData {
    RData::TXT(TXT::from_bytes(
        strings.iter().map(|one| one.as_bytes()).collect(),
    ))
}

/// An MX record; the host `.` says that there is no mail.
pub fn mx(preference: u16, host: &str) -> RData {
    RData::MX(MX::new(preference, Name::from_ascii(host).unwrap()))
}

/// A name as the zone keeps it: lower case, no final dot.
fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn bind(address: SocketAddr) -> io::Result<(StdSocket, StdListener)> {
    let mut tries = 0;
    loop {
        let datagrams = StdSocket::bind(address)?;
        datagrams.set_nonblocking(true)?;
        match StdListener::bind(datagrams.local_addr()?) {
            Ok(listener) => return Ok((datagrams, listener)),
            // The free UDP port was not free for TCP: another one.
            Err(_) if address.port() == 0 && tries < 50 => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

async fn serve_datagrams(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = vec![0; 65_535];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let Some((answer, room)) = answer(&zone, &buffer[..length]) else {
            continue;
        };
        let mut bytes = answer.to_vec().unwrap();
        if bytes.len() > room {
            bytes = answer.truncate().to_vec().unwrap();
        }
        drop(socket.send_to(&bytes, from).await);
    }
}

async fn serve_connections(listener: TcpListener, zone: Arc<Mutex<Zone>>) {
    let mut open = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        open.spawn(serve_connection(stream, Arc::clone(&zone)));
        while open.try_join_next().is_some() {}
    }
}

async fn serve_connection(mut stream: TcpStream, zone: Arc<Mutex<Zone>>) {
    while let Ok(length) = stream.read_u16().await {
        let mut question = vec![0; length.into()];
        if stream.read_exact(&mut question).await.is_err() {
            return;
        }
        let Some((answer, _)) = answer(&zone, &question) else {
            continue;
        };
        let bytes = answer.to_vec().unwrap();
        let mut framed = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
        framed.extend(bytes);
        if stream.write_all(&framed).await.is_err() {
            return;
        }
    }
}

/// The answer to a question, and how many bytes a UDP answer may have. Nothing for what cannot be
/// read, and while silent.
fn answer(zone: &Mutex<Zone>, question: &[u8]) -> Option<(Message, usize)> {
    let question = Message::from_vec(question).ok()?;
    let asked = question.queries.first()?.clone();
    let mut zone = lock(zone);
    *zone
        .queries
        .entry(key(&asked.name().to_ascii()))
        .or_default() += 1;
    if zone.silent {
        return None;
    }
    let mut answer = Message::response(question.id, question.op_code);
    answer.metadata = Metadata::response_from_request(&question.metadata);
    answer.metadata.authoritative = true;
    answer.metadata.recursion_available = true;
    answer.add_query(asked.clone());
    let mut room = PLAIN_UDP;
    if let Some(edns) = &question.edns {
        room = PLAIN_UDP.max(edns.max_payload().into());
        let mut ours = Edns::new();
        ours.set_max_payload(4096);
        answer.set_edns(ours);
    }
    zone.fill(&mut answer, asked.name(), asked.query_type());
    Some((answer, room))
}

impl Zone {
    fn fill(&self, answer: &mut Message, name: &Name, kind: RecordType) {
        let key = key(&name.to_ascii());
        if self.failing.contains(&key) {
            answer.metadata.response_code = ResponseCode::ServFail;
            return;
        }
        let known = self.records.get(&key);
        let fitting = known.into_iter().flatten().filter(|record| {
            [kind, RecordType::CNAME].contains(&record.record_type()) || kind == RecordType::ANY
        });
        for record in fitting {
            answer.add_answer(Record::from_rdata(name.clone(), self.ttl, record.clone()));
        }
        if !answer.answers.is_empty() {
            return;
        }
        let under = format!(".{key}");
        if known.is_none() && !self.records.keys().any(|other| other.ends_with(&under)) {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        let server = Name::from_ascii("ns.invalid.").unwrap();
        let soa = SOA::new(server.clone(), server, 1, 3600, 600, 86_400, self.ttl);
        answer.add_authority(Record::from_rdata(Name::root(), self.ttl, RData::SOA(soa)));
    }
}
