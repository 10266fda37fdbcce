//! Plain HTTP to a listener of this machine's own: what `amtpd health` asks.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::NetError;

/// The largest answer that is read, in bytes.
const LARGEST: usize = 64 * 1024;

/// Asks for a path over a connection of its own. How long that may take is the caller's to say.
///
/// # Errors
/// [`NetError`]: nobody listens there, it is no HTTP, or the answer is larger than 64 KiB.
#[allow(clippy::disallowed_methods, reason = "this is a way out")]
pub async fn ask_plainly(remote: SocketAddr, path: &str) -> Result<(StatusCode, Bytes), NetError> {
    let broken = |fault: &dyn ToString| NetError::Connection(fault.to_string());
    let tcp = TcpStream::connect(remote)
        .await
        .map_err(|fault| broken(&fault))?;
    let (sender, connection) = http1::handshake(TokioIo::new(tcp))
        .await
        .map_err(|fault| broken(&fault))?;
    let request = Request::get(path)
        .header(HOST, remote.to_string())
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|fault| broken(&fault))?;
    // The connection ends by itself when the one request of it is over.
    let (answer, _) = tokio::join!(exchange(sender, request), connection);
    answer
}

async fn exchange(
    mut sender: SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
) -> Result<(StatusCode, Bytes), NetError> {
    let answer = sender
        .send_request(request)
        .await
        .map_err(|fault| NetError::Connection(fault.to_string()))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LARGEST).collect().await;
    let body = body.map_err(|fault| NetError::Connection(fault.to_string()))?;
    Ok((status, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What is made of the answer of a server that says this and hangs up.
    async fn told(answer: Vec<u8>) -> Result<(StatusCode, Bytes), NetError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let remote = listener.local_addr().unwrap();
        let server = async {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 1024];
            let read = tcp.read(&mut asked).await.unwrap();
            let asked = String::from_utf8_lossy(&asked[..read]).into_owned();
            assert!(asked.starts_with("GET /health HTTP/1.1\r\n"), "{asked}");
            // Who has read enough may be gone.
            let _ = tcp.write_all(&answer).await;
            let _ = tcp.shutdown().await;
        };
        tokio::join!(ask_plainly(remote, "/health"), server).0
    }

    #[tokio::test]
    async fn answers_are_read_whatever_their_status() {
        for (line, status) in [("200 OK", 200), ("503 Service Unavailable", 503)] {
            let answer = format!("HTTP/1.1 {line}\r\ncontent-length: 2\r\n\r\nhi");
            let (code, body) = told(answer.into_bytes()).await.unwrap();
            assert_eq!((code.as_u16(), &body[..]), (status, &b"hi"[..]));
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_a_fault() {
        let mut large = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        large.resize(LARGEST * 2, b'x');
        let short = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi".to_vec();
        for answer in [
            Vec::new(),
            b"220 mail.test ESMTP\r\n".to_vec(),
            short,
            large,
        ] {
            let fault = told(answer).await.unwrap_err();
            assert!(matches!(fault, NetError::Connection(_)), "{fault}");
        }
    }

    #[tokio::test]
    async fn where_nobody_listens_is_a_fault() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let remote = free.local_addr().unwrap();
        drop(free);
        assert!(ask_plainly(remote, "/health").await.is_err());
    }
}
