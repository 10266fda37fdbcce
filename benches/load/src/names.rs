//! A DNS server that knows the record of one key, and of every other name that there is none.

use anyhow::{Context as _, Result};
use std::net::SocketAddr;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// Length of the head of a message.
const HEAD: usize = 12;
const TXT: [u8; 2] = [0, 16];
/// Seconds an answer may be kept.
const TTL: [u8; 4] = [0, 0, 1, 44];

/// A running server. It ends with this value.
pub(crate) struct Names {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Names {
    /// A server for one TXT record of one string.
    pub(crate) async fn start(name: &str, text: &str) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let (name, text) = (encoded(name)?, text.as_bytes().to_vec());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut question = [0; 1_024];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                if let Some(answer) = answer(&question[..length], &name, &text) {
                    // Who is gone is told nothing.
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Ok(Self {
            address,
            _task: task,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A name as it stands in a message.
fn encoded(name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).context("a label is too long")?);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    Ok(bytes)
}

/// The answer to a question; none for what cannot be read.
fn answer(question: &[u8], name: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let asked = question.get(HEAD..)?;
    let end = asked.iter().position(|byte| *byte == 0)? + 1;
    let kind = asked.get(end..end + 2)?;
    let known = asked[..end].eq_ignore_ascii_case(name);
    let found = known && kind == TXT;
    let mut answer = question[..2].to_vec();
    // An answer of an authority that also recurses; 3 says that the name does not exist.
    answer.extend_from_slice(&[0x85, if known { 0x80 } else { 0x83 }]);
    answer.extend_from_slice(&[0, 1, 0, u8::from(found), 0, 0, 0, 0]);
    answer.extend_from_slice(asked.get(..end + 4)?);
    if found {
        let length = u8::try_from(text.len()).ok()?;
        answer.extend_from_slice(&[0xc0, 12]);
        answer.extend_from_slice(&TXT);
        answer.extend_from_slice(&[0, 1]);
        answer.extend_from_slice(&TTL);
        answer.extend_from_slice(&(u16::from(length) + 1).to_be_bytes());
        answer.push(length);
        answer.extend_from_slice(text);
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_is_known_and_no_other() {
        let name = encoded("k1._amtpkey.a.test").unwrap();
        let ask = |name: &str, kind: u8| {
            let mut question = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            question.extend(encoded(name).unwrap());
            question.extend([0, kind, 0, 1]);
            question
        };
        let found = answer(&ask("K1._amtpkey.a.test", 16), &name, b"v=amtpkey1").unwrap();
        assert_eq!(found[..4], [7, 9, 0x85, 0x80]);
        assert!(found.ends_with(b"\x0av=amtpkey1"));
        let other = answer(&ask("_amtp.a.test", 16), &name, b"v=amtpkey1").unwrap();
        assert_eq!((other[3], other[7]), (0x83, 0));
        let address = answer(&ask("k1._amtpkey.a.test", 1), &name, b"x").unwrap();
        assert_eq!((address[3], address[7]), (0x80, 0));
        assert!(answer(&[0; 11], &name, b"x").is_none());
    }
}
