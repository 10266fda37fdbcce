//! What a gateway tells of itself on its ops listener.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Its metrics, as text.
pub async fn metrics(ops: SocketAddr) -> String {
    #[allow(clippy::disallowed_methods, reason = "a client of our own gateway")]
    let stream = TcpStream::connect(ops).await.unwrap();
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let request = Request::get("/metrics")
        .header("host", "ops")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let (answer, _) = tokio::join!(
        async {
            let answer = client.send_request(request).await.unwrap();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            drop(client);
            String::from_utf8(body.to_vec()).unwrap()
        },
        connection
    );
    answer
}
