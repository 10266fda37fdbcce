//! A small DNS server: the authority for everything, with the few records a quickstart has.
//!
//! UDP and TCP on one port of this machine. A name that is not in the zone does not exist
//! (NXDOMAIN); one that has no record of the type asked for exists without it. Questions are
//! answered one after the other; what is no question gets no answer.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use hickory_resolver::proto::op::{
    Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode,
};
use hickory_resolver::proto::rr::rdata::{A, MX, SOA, TXT};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ports::DnsSockets;
use crate::clock::Clock;

/// How long an answer may be kept, in seconds.
const TTL: u32 = 60;
/// The largest question that is read, in bytes.
const LARGEST_QUESTION: usize = 1_232;
const CONNECTIONS: usize = 8;
/// How long a connection may rest.
const PATIENCE: Duration = Duration::from_secs(5);
/// What to do after the system refused something.
const PAUSE: Duration = Duration::from_millis(100);

/// What the server knows.
#[derive(Debug, Default)]
pub(super) struct Zone {
    /// Of each name, at most one record of a type.
    entries: BTreeMap<String, Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    data: RData,
    asked: AtomicUsize,
}

impl Zone {
    /// Adds a text.
    pub(super) fn text(&mut self, name: &str, text: String) {
        self.add(name, RData::TXT(TXT::new(vec![text])));
    }

    /// Adds an address.
    pub(super) fn address(&mut self, name: &str, address: Ipv4Addr) {
        self.add(name, RData::A(A(address)));
    }

    /// Adds the host that takes the mail of a domain.
    pub(super) fn mail(&mut self, name: &str, host: &str) -> Result<()> {
        let host = Name::from_ascii(format!("{host}."))?;
        self.add(name, RData::MX(MX::new(10, host)));
        Ok(())
    }

    fn add(&mut self, name: &str, data: RData) {
        let asked = AtomicUsize::new(0);
        let entries = self.entries.entry(name.to_owned()).or_default();
        entries.push(Entry { data, asked });
    }

    /// How often the records of a name were asked for.
    pub(super) fn asked(&self, name: &str) -> usize {
        let entries = self.entries.get(name).into_iter().flatten();
        entries.map(|it| it.asked.load(Ordering::Relaxed)).sum()
    }

    /// The answer to the bytes of a question.
    fn answer(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let question = Message::from_vec(bytes).ok()?;
        if question.message_type != MessageType::Query {
            return None;
        }
        let mut answer = Message::response(question.id, question.op_code);
        answer.metadata = Metadata::response_from_request(&question.metadata);
        if question.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(LARGEST_QUESTION.try_into().ok()?);
            answer.set_edns(edns);
        }
        match (question.op_code, question.queries.as_slice()) {
            (OpCode::Query, [asked]) if asked.query_class() == DNSClass::IN => {
                answer.add_query(asked.clone());
                self.fill(&mut answer, asked);
            }
            (OpCode::Query, [_]) => answer.metadata.response_code = ResponseCode::Refused,
            (OpCode::Query, _) => answer.metadata.response_code = ResponseCode::FormErr,
            _ => answer.metadata.response_code = ResponseCode::NotImp,
        }
        answer.to_vec().ok()
    }

    fn fill(&self, answer: &mut Message, asked: &Query) {
        answer.metadata.authoritative = true;
        let name = asked.name().to_ascii().to_ascii_lowercase();
        let name = name.trim_end_matches('.');
        let entries = self.entries.get(name);
        let fits = |entry: &&Entry| entry.data.record_type() == asked.query_type();
        if let Some(entry) = entries.and_then(|them| them.iter().find(fits)) {
            entry.asked.fetch_add(1, Ordering::Relaxed);
            answer.add_answer(Record::from_rdata(
                asked.name().clone(),
                TTL,
                entry.data.clone(),
            ));
            return;
        }
        let under = format!(".{name}");
        if entries.is_none() && !self.entries.keys().any(|known| known.ends_with(&under)) {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        let soa = SOA::new(Name::root(), Name::root(), 1, 3_600, 600, 86_400, TTL);
        answer.add_authority(Record::from_rdata(Name::root(), TTL, RData::SOA(soa)));
    }
}

/// A server on its sockets.
pub(super) struct DnsServer {
    datagrams: UdpSocket,
    listener: TcpListener,
    zone: Arc<Zone>,
    clock: Clock,
}

impl DnsServer {
    /// Takes the sockets over.
    pub(super) fn new(sockets: DnsSockets, zone: Arc<Zone>, clock: Clock) -> Result<Self> {
        Ok(Self {
            datagrams: UdpSocket::from_std(sockets.datagrams)?,
            listener: TcpListener::from_std(sockets.listener)?,
            zone,
            clock,
        })
    }

    /// Answers until it is stopped.
    pub(super) async fn run(self, stop: CancellationToken) -> io::Result<()> {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = self.datagrams() => Ok(()),
            () = self.connections() => Ok(()),
        }
    }

    async fn datagrams(&self) {
        let mut buffer = vec![0; LARGEST_QUESTION];
        loop {
            let (length, from) = match self.datagrams.recv_from(&mut buffer).await {
                Ok(came) => came,
                Err(error) => {
                    self.pause(&error).await;
                    continue;
                }
            };
            if let Some(answer) = self.zone.answer(&buffer[..length]) {
                self.send(&answer, from).await;
            }
        }
    }

    async fn send(&self, answer: &[u8], to: SocketAddr) {
        if let Err(error) = self.datagrams.send_to(answer, to).await {
            tracing::debug!(error = %error, "a DNS answer was not sent");
        }
    }

    async fn connections(&self) {
        let seats = Arc::new(Semaphore::new(CONNECTIONS));
        // Dropped with this future, and the connections with it.
        let mut open = JoinSet::new();
        loop {
            while open.try_join_next().is_some() {}
            let seat = seats.clone().acquire_owned().await;
            match self.listener.accept().await {
                Ok((mut stream, _)) => {
                    let (zone, clock) = (self.zone.clone(), self.clock.clone());
                    open.spawn(async move {
                        let _seat = seat;
                        while let Some(Ok(())) =
                            clock.within(PATIENCE, one(&zone, &mut stream)).await
                        {
                        }
                    });
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    async fn pause(&self, error: &io::Error) {
        tracing::warn!(error = %error, "the DNS server cannot listen");
        self.clock.wait(PAUSE).await;
    }
}

/// One question over TCP, and its answer.
async fn one(zone: &Zone, stream: &mut TcpStream) -> io::Result<()> {
    let length = usize::from(stream.read_u16().await?);
    if length > LARGEST_QUESTION {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut question = vec![0; length];
    stream.read_exact(&mut question).await?;
    let answer = zone.answer(&question).ok_or(io::ErrorKind::InvalidData)?;
    let length = u16::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream
        .write_all(&[&length.to_be_bytes(), answer.as_slice()].concat())
        .await
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::RecordType;
    use tokio_util::task::TaskTracker;

    use super::super::ports::Ports;
    use super::*;
    use crate::net::{DnsFault, HickoryResolver, Resolver as _};

    fn zone() -> Arc<Zone> {
        let mut zone = Zone::default();
        zone.text("_amtp.beta.test", "v=amtp1;gateway=https://g".to_owned());
        zone.address("gateway.beta.test", Ipv4Addr::LOCALHOST);
        zone.mail("both.test", "mail.both.test").unwrap();
        zone.text("both.test", "v=spf1 -all".to_owned());
        Arc::new(zone)
    }

    fn question(name: &str, kind: RecordType) -> Message {
        let mut question = Message::query();
        question.metadata.id = 7;
        question.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        question
    }

    fn answer(question: &Message) -> Message {
        let bytes = zone().answer(&question.to_vec().unwrap()).unwrap();
        Message::from_vec(&bytes).unwrap()
    }

    #[test]
    fn what_is_there_what_is_there_without_that_type_and_what_is_not_there() {
        for (name, kind, code, answers) in [
            (
                "_AMTP.beta.test.",
                RecordType::TXT,
                ResponseCode::NoError,
                1,
            ),
            (
                "gateway.beta.test.",
                RecordType::A,
                ResponseCode::NoError,
                1,
            ),
            (
                "gateway.beta.test.",
                RecordType::AAAA,
                ResponseCode::NoError,
                0,
            ),
            ("beta.test.", RecordType::MX, ResponseCode::NoError, 0),
            ("both.test.", RecordType::MX, ResponseCode::NoError, 1),
            ("both.test.", RecordType::TXT, ResponseCode::NoError, 1),
            ("both.test.", RecordType::A, ResponseCode::NoError, 0),
            (
                "_amtp.gamma.test.",
                RecordType::TXT,
                ResponseCode::NXDomain,
                0,
            ),
            ("eta.test.", RecordType::A, ResponseCode::NXDomain, 0),
        ] {
            let answer = answer(&question(name, kind));
            assert_eq!(answer.id, 7);
            assert_eq!(answer.response_code, code, "{name} {kind}");
            assert_eq!(answer.answers.len(), answers, "{name} {kind}");
            assert_eq!(answer.authorities.len(), 1 - answers, "{name} {kind}");
        }
    }

    #[test]
    fn what_is_no_question_gets_no_answer_and_other_requests_a_refusal() {
        let zone = zone();
        assert!(zone.answer(b"").is_none());
        assert!(zone.answer(&[0xff; 40]).is_none());
        let reply = Message::response(1, OpCode::Query);
        assert!(zone.answer(&reply.to_vec().unwrap()).is_none());
        let mut update = Message::query();
        update.metadata.op_code = OpCode::Update;
        assert_eq!(answer(&update).response_code, ResponseCode::NotImp);
        let code = answer(&Message::query()).response_code;
        assert_eq!(code, ResponseCode::FormErr);
    }

    #[tokio::test]
    async fn it_answers_over_udp_and_tcp_until_it_is_stopped() {
        let (ports, sockets) = Ports::choose(Ports::default()).unwrap();
        let (zone, stop) = (zone(), CancellationToken::new());
        let server = DnsServer::new(sockets, zone.clone(), Clock::system()).unwrap();
        let running = TaskTracker::new().spawn(server.run(stop.clone()));
        let here = super::super::ports::here(ports.dns);
        let resolver = HickoryResolver::new(&[here], Duration::from_secs(5)).unwrap();
        let found = resolver.txt("_amtp.beta.test").await.unwrap();
        assert_eq!(found.records, ["v=amtp1;gateway=https://g"]);
        assert_eq!(zone.asked("_amtp.beta.test"), 1);
        let nothing = resolver.txt("_amtp.gamma.test").await;
        assert!(matches!(nothing, Err(DnsFault::Nothing { ttl: Some(_) })));
        let asked = question("gateway.beta.test.", RecordType::A);
        let answered = tcp(here, &asked.to_vec().unwrap()).await;
        assert_eq!(answered.answers.len(), 1);
        stop.cancel();
        running.await.unwrap().unwrap();
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "a client of the test's own server"
    )]
    async fn tcp(server: SocketAddr, question: &[u8]) -> Message {
        let mut stream = TcpStream::connect(server).await.unwrap();
        stream
            .write_u16(question.len().try_into().unwrap())
            .await
            .unwrap();
        stream.write_all(question).await.unwrap();
        let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut answer).await.unwrap();
        Message::from_vec(&answer).unwrap()
    }
}
