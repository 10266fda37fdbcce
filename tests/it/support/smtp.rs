//! A client of a mail server that says exactly what a test says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// What nobody should have to wait longer for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a mail server.
pub struct Smtp {
    reader: BufReader<TcpStream>,
}

impl Smtp {
    /// Connects, and does not wait for the greeting.
    #[allow(clippy::disallowed_methods, reason = "a client of the gateway")]
    pub fn open(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            reader: BufReader::new(stream),
        }
    }

    /// Connects, takes the greeting and says EHLO.
    pub fn greeted(server: SocketAddr) -> Self {
        let mut client = Self::open(server);
        assert!(client.reply().starts_with("220 "));
        assert!(client.say("EHLO client.test\r\n").starts_with("250"));
        client
    }

    /// Sends bytes; whether the other side still takes them does not matter.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.reader.get_mut().write_all(bytes);
    }

    /// The last line of the next reply; empty where the connection has ended.
    pub fn reply(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            match self.reader.read_line(&mut line) {
                Ok(0) | Err(_) => return String::new(),
                Ok(_) if line.as_bytes().get(3) == Some(&b'-') => {}
                Ok(_) => return line.trim_end().to_owned(),
            }
        }
    }

    /// Sends bytes and gives the reply.
    pub fn say(&mut self, text: &str) -> String {
        self.send(text.as_bytes());
        self.reply()
    }

    /// Sends a mail, and gives the reply that ends it.
    pub fn mail(&mut self, from: &str, to: &[&str], mail: &[u8]) -> String {
        let mut replies = vec![self.say(&format!("MAIL FROM:<{from}>\r\n"))];
        for to in to {
            replies.push(self.say(&format!("RCPT TO:<{to}>\r\n")));
        }
        if let Some(refused) = replies.iter().find(|it| !it.starts_with("250")) {
            let refused = refused.clone();
            self.say("RSET\r\n");
            return refused;
        }
        assert!(self.say("DATA\r\n").starts_with("354"));
        self.send(mail);
        self.say(".\r\n")
    }

    /// Whether the server ends the connection, once it has said all it has to say.
    pub fn ends(&mut self) -> bool {
        let _ = self.reader.get_mut().shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).is_ok()
    }
}
