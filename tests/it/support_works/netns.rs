//! Networks of namespaces: who reaches whom, cuts, and the end.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::netns::Network;
use crate::support::{eventually, words};

const SOON: Duration = Duration::from_secs(20);

/// A server that says `here` to whoever connects.
const SERVER: &str = "
import socket, sys
listener = socket.create_server((sys.argv[1], 7000))
while True:
    stream, _ = listener.accept()
    stream.sendall(b'here')
    stream.close()
";

/// Says what such a server says.
const CLIENT: &str = "
import socket, sys
stream = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)
print(stream.recv(4).decode())
";

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn server(network: &Network, node: u8) -> Running {
    let mut command = network.command(node, "python3");
    command.args(["-c", SERVER, &network.address(node).to_string()]);
    Running(command.stdin(Stdio::null()).spawn().unwrap())
}

/// What the test itself hears from the server of a node.
fn heard(network: &Network, node: u8) -> Option<String> {
    let address = SocketAddr::from((network.address(node), 7000));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    Some(said)
}

/// What a node hears from an address.
fn ask(network: &Network, node: u8, address: SocketAddr) -> String {
    let mut command = network.command(node, "python3");
    command.args(["-c", CLIENT, &address.ip().to_string()]);
    words(&command.arg(address.port().to_string()).output().unwrap())
}

#[tokio::test]
async fn nodes_reach_each_other_and_the_test_and_nothing_else() {
    let network = Network::new(2);
    let _server = server(&network, 1);
    let said = eventually("node 1's server", SOON, || heard(&network, 1)).await;
    assert_eq!(said, "here");
    let address = SocketAddr::from((network.address(1), 7000));
    assert_eq!(ask(&network, 2, address), "here\n");
    let ours = TcpListener::bind((network.own_address(), 0)).unwrap();
    let asking = ask(&network, 2, ours.local_addr().unwrap());
    // Connected, and told nothing within two seconds.
    assert!(asking.contains("timed out"), "{asking}");
    let (_, from) = ours.accept().unwrap();
    assert_eq!(from.ip(), network.address(2));
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = ask(&network, 2, elsewhere.local_addr().unwrap());
    assert!(refused.contains("refused"), "{refused}");
    let beyond = ask(&network, 2, SocketAddr::from(([192, 0, 2, 1], 7000)));
    assert!(beyond.contains("unreachable"), "{beyond}");
}

#[tokio::test]
async fn a_cut_node_is_out_of_reach_until_it_is_restored() {
    let network = Network::new(2);
    let _servers = [server(&network, 1), server(&network, 2)];
    for node in [1, 2] {
        eventually("the servers", SOON, || heard(&network, node)).await;
    }
    network.link(1, false);
    assert_eq!(heard(&network, 1), None);
    eventually("node 2 still", SOON, || heard(&network, 2)).await;
    network.link(1, true);
    eventually("node 1 again", SOON, || heard(&network, 1)).await;
}

/// A `cat` that has answered: until then it may still be `ip` on its way into the namespace.
fn running(mut cat: Command) -> Child {
    let pipes = cat.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let mut answer = [0];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut answer)
        .unwrap();
    child
}

#[test]
fn a_network_is_gone_with_its_test_also_after_a_panic() {
    let mut child = None;
    let mut interface = String::new();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let networks = [Network::new(1), Network::new(1)];
        let [one, other] = networks.each_ref().map(Network::own_address);
        assert_ne!(one, other);
        interface = format!("/sys/class/net/amtpd{}/ifindex", one.octets()[2]);
        let index = std::fs::read_to_string(&interface).unwrap();
        child = Some(running(networks[0].command(1, "cat")));
        std::panic::panic_any(index);
    }));
    // Another test may have taken the number since, but never the index.
    let index = panicked.unwrap_err().downcast::<String>().unwrap();
    assert_ne!(
        std::fs::read_to_string(interface).unwrap_or_default(),
        *index
    );
    let status = child.unwrap().wait().unwrap();
    assert_eq!(
        status.signal(),
        Some(9),
        "what ran there is killed: {status}"
    );
}
