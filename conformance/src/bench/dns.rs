//! A DNS server over UDP and TCP for all names that the gateway under test asks for.
//!
//! It is the authority for everything. A name without records, and without names under it, does not
//! exist. Records live 30 seconds.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use hickory_resolver::proto::op::{Edns, Message, Metadata, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, MX, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// What a UDP answer may hold when the asker does not say.
const PLAIN_UDP: usize = 512;
/// Seconds that an answer may be kept.
const TTL: u32 = 30;

/// The zone, and who answers for it.
pub(crate) struct Dns(Mutex<Zone>);

#[derive(Default)]
struct Zone {
    records: HashMap<String, Vec<RData>>,
    failing: HashSet<String>,
    questions: HashMap<String, usize>,
}

impl Dns {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a name exactly these records.
    pub(crate) fn set(&self, name: &str, records: Vec<RData>) {
        let mut zone = self.zone();
        zone.failing.remove(&key(name));
        zone.records.insert(key(name), records);
    }

    /// Adds a record to a name.
    pub(crate) fn add(&self, name: &str, record: RData) {
        self.zone()
            .records
            .entry(key(name))
            .or_default()
            .push(record);
    }

    /// Answers SERVFAIL for a name until it is set.
    pub(crate) fn fail(&self, name: &str) {
        self.zone().failing.insert(key(name));
    }

    /// How often a name was asked for.
    pub(crate) fn questions(&self, name: &str) -> usize {
        self.zone()
            .questions
            .get(&key(name))
            .copied()
            .unwrap_or_default()
    }

    /// Adds the TXT and A records of a zone file; other lines are left out.
    pub(crate) fn load(&self, text: &str) -> Result<()> {
        for line in text.lines() {
            let Some((name, record)) = read(line)? else {
                continue;
            };
            self.add(&name, record);
        }
        Ok(())
    }

    /// Answers at this address.
    pub(crate) async fn serve(
        self: Arc<Self>,
        at: SocketAddr,
        running: &mut JoinSet<()>,
    ) -> Result<()> {
        let datagrams = UdpSocket::bind(at).await;
        let datagrams = datagrams.with_context(|| format!("bench.dns_port: {at}"))?;
        let listener = TcpListener::bind(datagrams.local_addr()?).await;
        let listener = listener.with_context(|| format!("bench.dns_port: {at}"))?;
        running.spawn(Arc::clone(&self).datagrams(datagrams));
        running.spawn(self.connections(listener));
        Ok(())
    }

    async fn datagrams(self: Arc<Self>, socket: UdpSocket) {
        let mut buffer = vec![0; 65_535];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                continue;
            };
            let Some((answer, room)) = self.answer(&buffer[..length]) else {
                continue;
            };
            let bytes = match answer.to_vec() {
                Ok(bytes) if bytes.len() > room => answer.truncate().to_vec(),
                bytes => bytes,
            };
            // Who asked asks again when nothing comes.
            if let Ok(bytes) = bytes {
                let _ = socket.send_to(&bytes, from).await;
            }
        }
    }

    async fn connections(self: Arc<Self>, listener: TcpListener) {
        let mut open = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.spawn(Arc::clone(&self).connection(stream));
            while open.try_join_next().is_some() {}
        }
    }

    async fn connection(self: Arc<Self>, mut stream: TcpStream) {
        while let Ok(length) = stream.read_u16().await {
            let mut question = vec![0; length.into()];
            if stream.read_exact(&mut question).await.is_err() {
                return;
            }
            let Some((answer, _)) = self.answer(&question) else {
                continue;
            };
            let Ok(bytes) = answer.to_vec() else { return };
            let Ok(length) = u16::try_from(bytes.len()) else {
                return;
            };
            let framed = [&length.to_be_bytes()[..], &bytes].concat();
            if stream.write_all(&framed).await.is_err() {
                return;
            }
        }
    }

    /// The answer, and how many bytes it may have over UDP; nothing for what cannot be read.
    fn answer(&self, question: &[u8]) -> Option<(Message, usize)> {
        let question = Message::from_vec(question).ok()?;
        let asked = question.queries.first()?.clone();
        let mut zone = self.zone();
        let name = key(&asked.name().to_ascii());
        *zone.questions.entry(name).or_default() += 1;
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
}

impl Zone {
    fn fill(&self, answer: &mut Message, name: &Name, kind: RecordType) {
        let key = key(&name.to_ascii());
        if self.failing.contains(&key) {
            answer.metadata.response_code = ResponseCode::ServFail;
            return;
        }
        let known = self.records.get(&key);
        for record in known.into_iter().flatten() {
            if [kind, RecordType::CNAME].contains(&record.record_type()) {
                answer.add_answer(Record::from_rdata(name.clone(), TTL, record.clone()));
            }
        }
        if !answer.answers.is_empty() {
            return;
        }
        let under = format!(".{key}");
        if known.is_none() && !self.records.keys().any(|other| other.ends_with(&under)) {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        if let Ok(server) = Name::from_ascii("ns.invalid.") {
            let soa = SOA::new(server.clone(), server, 1, 3600, 600, 86_400, TTL);
            answer.add_authority(Record::from_rdata(Name::root(), TTL, RData::SOA(soa)));
        }
    }
}

/// A name as the zone keeps it.
fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// A line of a zone file: `name [TTL] [IN] TXT "…" …` or `name [TTL] [IN] A address`.
fn read(line: &str) -> Result<Option<(String, RData)>> {
    let line = line.trim();
    for (kind, mark) in [(RecordType::TXT, " TXT "), (RecordType::A, " A ")] {
        let Some((head, value)) = line.split_once(mark) else {
            continue;
        };
        let name = head.split_whitespace().next().unwrap_or_default();
        let record = match kind {
            RecordType::TXT => txt(&value.split('"').skip(1).step_by(2).collect::<Vec<_>>()),
            _ => match value.trim().parse() {
                Ok(ip) => address(ip),
                Err(_) => continue,
            },
        };
        return Ok(Some((name.to_owned(), record)));
    }
    Ok(None)
}

/// A TXT record of these strings.
pub(crate) fn txt(strings: &[&str]) -> RData {
    let strings = strings.iter().map(|one| one.as_bytes()).collect();
    RData::TXT(TXT::from_bytes(strings))
}

/// The record of an address.
pub(crate) const fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

/// An MX record; the host `.` says that there is no mail.
pub(crate) fn mx(preference: u16, host: &str) -> RData {
    RData::MX(MX::new(
        preference,
        Name::from_ascii(host).unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_file_gives_its_texts_and_addresses() {
        let (name, record) = read(r#"  _amtp.a.test. 3600 IN TXT "v=amtp1;" "x""#)
            .unwrap()
            .unwrap();
        assert_eq!(name, "_amtp.a.test.");
        assert_eq!(record, txt(&["v=amtp1;", "x"]));
        let (_, record) = read("gw.a.test. 60 IN A 127.0.0.1").unwrap().unwrap();
        assert_eq!(record, address("127.0.0.1".parse().unwrap()));
        for other in ["", "; a comment", "x. 60 IN A <the public address> (AAAA)"] {
            assert!(read(other).unwrap().is_none(), "{other}");
        }
    }

    #[test]
    fn a_name_that_is_not_there_is_told_apart_from_one_without_such_records() {
        let dns = Dns::new();
        dns.set("_amtp.a.test", vec![txt(&["v=amtp1"])]);
        let ask = |name: &str, kind| {
            let mut answer = Message::response(1, hickory_resolver::proto::op::OpCode::Query);
            dns.zone()
                .fill(&mut answer, &Name::from_ascii(name).unwrap(), kind);
            (answer.metadata.response_code, answer.answers.len())
        };
        assert_eq!(
            ask("_amtp.A.test.", RecordType::TXT),
            (ResponseCode::NoError, 1)
        );
        assert_eq!(ask("a.test.", RecordType::TXT), (ResponseCode::NoError, 0));
        assert_eq!(ask("b.test.", RecordType::TXT).0, ResponseCode::NXDomain);
        dns.fail("a.test");
        assert_eq!(ask("a.test.", RecordType::MX).0, ResponseCode::ServFail);
    }
}
