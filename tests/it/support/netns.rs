//! Several machines in one: network namespaces on a bridge of their own.
//!
//! Node `i` of network `k` has the address `10.77.k.i`; the test itself is `10.77.k.254` there. No
//! node reaches anything else. All is taken down with the [`Network`], also when a test panics;
//! what a killed test leaves behind is taken down by the next one that gets its number. A number
//! belongs to whoever holds the lock on its file. This takes root and `ip` from iproute2.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Output, Stdio};

/// The last part of the test's own address.
const TEST: u8 = 254;

/// A bridge with some nodes.
pub struct Network {
    number: u8,
    nodes: u8,
    _claim: File,
}

impl Network {
    /// A network of this many nodes, counted from 1. Panics where it cannot be made: a test that
    /// needs one fails without.
    pub fn new(nodes: u8) -> Self {
        let (number, claim) = claim();
        clear(number);
        let network = Self {
            number,
            nodes,
            _claim: claim,
        };
        network.build();
        network
    }

    /// Where a node is.
    pub fn address(&self, node: u8) -> Ipv4Addr {
        assert!((1..=self.nodes).contains(&node), "there is no node {node}");
        Ipv4Addr::new(10, 77, self.number, node)
    }

    /// Where the nodes reach servers of the test itself.
    pub fn own_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, TEST)
    }

    /// A program on a node. It is the child itself, so that signals reach it.
    pub fn command(&self, node: u8, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(node)]);
        command.arg(program);
        command
    }

    /// Cuts a node from the network, or restores it. Nobody is told: packets are lost, connections
    /// hang until they give up.
    pub fn link(&self, node: u8, up: bool) {
        let port = format!("port{node}");
        let plug: &[&str] = if up {
            &["master", "bridge"]
        } else {
            &["nomaster"]
        };
        let mut command = Command::new("ip");
        command.args(["-n", &self.hub(), "link", "set", &port]);
        succeed(command.args(plug));
    }

    /// Cuts a node from one address, or restores it. What it sends there is lost; all else goes on.
    pub fn route(&self, node: u8, to: Ipv4Addr, open: bool) {
        let change = if open { "del" } else { "add" };
        let mut command = Command::new("ip");
        command.args(["-n", &self.namespace(node), "route", change]);
        succeed(command.args(["blackhole", &format!("{to}/32")]));
    }

    fn build(&self) {
        let (hub, outside) = (self.hub(), outside(self.number));
        let own = self.own_address();
        let namespaces: String = (1..=self.nodes)
            .map(|node| format!("netns add {}\n", self.namespace(node)))
            .collect();
        batch(
            &[],
            &format!(
                "netns add {hub}\n{namespaces}\
                 link add {outside} type veth peer name test netns {hub}\n\
                 addr add {own}/24 dev {outside}\n\
                 link set {outside} up\n"
            ),
        );
        let mut ports = "link add bridge type bridge\nlink set bridge up\n\
                         link set test master bridge up\n"
            .to_owned();
        for node in 1..=self.nodes {
            let inside = self.namespace(node);
            ports += &format!("link add port{node} type veth peer name eth0 netns {inside}\n");
            ports += &format!("link set port{node} master bridge up\n");
        }
        batch(&["-n", &hub], &ports);
        for node in 1..=self.nodes {
            let address = self.address(node);
            batch(
                &["-n", &self.namespace(node)],
                &format!("addr add {address}/24 dev eth0\nlink set eth0 up\nlink set lo up\n"),
            );
        }
    }

    fn hub(&self) -> String {
        format!("{}hub", prefix(self.number))
    }

    fn namespace(&self, node: u8) -> String {
        assert!((1..=self.nodes).contains(&node), "there is no node {node}");
        format!("{}{node}", prefix(self.number))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        clear(self.number);
    }
}

/// How the namespaces of a network begin.
fn prefix(number: u8) -> String {
    format!("amtpd-{number}-")
}

/// The test's own end of the cable into the bridge.
fn outside(number: u8) -> String {
    format!("amtpd{number}")
}

/// A number nobody else has, as long as the file is open.
fn claim() -> (u8, File) {
    (1..=254)
        .find_map(|number| {
            let path = std::env::temp_dir().join(format!("amtpd-test-network-{number}.lock"));
            let file = File::create(path).ok()?;
            file.try_lock().ok()?;
            Some((number, file))
        })
        .expect("a number for a network of tests is free")
}

/// Takes down what there is of a network, with everything that runs in it.
fn clear(number: u8) {
    for name in namespaces(number) {
        let pids = text(ip(&["netns", "pids", &name]));
        let pids: Vec<&str> = pids.split_whitespace().collect();
        if !pids.is_empty() {
            drop(Command::new("kill").arg("-KILL").args(pids).output());
        }
        ip(&["netns", "del", &name]);
    }
    ip(&["link", "del", &outside(number)]);
}

/// The namespaces of a network that exist.
fn namespaces(number: u8) -> Vec<String> {
    text(ip(&["netns", "list"]))
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with(&prefix(number)))
        .map(str::to_owned)
        .collect()
}

fn ip(arguments: &[&str]) -> Option<Output> {
    Command::new("ip").args(arguments).output().ok()
}

fn text(output: Option<Output>) -> String {
    output.map_or_else(String::new, |output| {
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
}

/// Runs lines of `ip`.
fn batch(options: &[&str], lines: &str) {
    let mut command = Command::new("ip");
    command.args(options).args(["-batch", "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run `ip` (iproute2): {error}"));
    let mut input = child.stdin.take().unwrap();
    // It may have given up already: then its own words say why.
    drop(input.write_all(lines.as_bytes()));
    drop(input);
    judge(&child.wait_with_output().unwrap(), lines);
}

fn succeed(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run `ip` (iproute2): {error}"));
    judge(&output, &format!("{command:?}"));
}

fn judge(output: &Output, what: &str) {
    assert!(
        output.status.success(),
        "cannot make a network of namespaces (run as root): {}\n{what}",
        String::from_utf8_lossy(&output.stderr)
    );
}
