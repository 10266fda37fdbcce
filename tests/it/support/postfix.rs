//! A Postfix of its own for a test, on an address of this machine: the mail server of a domain.
//!
//! It delivers to Maildirs in its folder, offers TLS with a certificate of the test's authority, and
//! answers 550 5.1.1 for users it does not know. It needs to be started by root, as every Postfix.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::pki::Issued;

const SERVICES: &str = "\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
showq unix n - n - - showq
pickup unix n - n 60 1 pickup
postlog unix-dgram n - n - 1 postlogd
";

/// Who owns the Maildirs.
const NOBODY: u32 = 65_534;

/// A mail server, running unless it was stopped.
pub struct Postfix {
    folder: TempDir,
}

impl Postfix {
    /// The server of a domain with these users.
    pub fn start(address: SocketAddr, domain: &str, users: &[&str], tls: &Issued) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let this = Self { folder };
        let place = |name: &str| this.folder.path().join(name);
        // Its processes run as users of their own.
        fs::set_permissions(this.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["queue", "data", "mail", "tls"] {
            fs::create_dir(place(name)).unwrap();
        }
        std::os::unix::fs::chown(place("mail"), Some(NOBODY), Some(NOBODY)).unwrap();
        let owner = Command::new("chown")
            .arg("postfix")
            .arg(place("data"))
            .status();
        assert!(owner.unwrap().success(), "is Postfix installed?");
        fs::copy(&tls.certificate, place("tls/cert.pem")).unwrap();
        fs::copy(&tls.key, place("tls/key.pem")).unwrap();
        let list: String = users
            .iter()
            .map(|user| format!("{user}@{domain} {user}/\n"))
            .collect();
        fs::write(place("users"), list).unwrap();
        for name in ["access", "aliases", "transport"] {
            fs::write(place(name), "").unwrap();
        }
        fs::write(place("main.cf"), this.settings(domain)).unwrap();
        let master = format!("{address} inet n - n - - smtpd\n{SERVICES}");
        fs::write(place("master.cf"), master).unwrap();
        this.run("start");
        this
    }

    fn settings(&self, domain: &str) -> String {
        let folder = self.folder.path().display();
        format!(
            "compatibility_level = 3.6\n\
             queue_directory = {folder}/queue\n\
             data_directory = {folder}/data\n\
             command_directory = /usr/sbin\n\
             daemon_directory = /usr/lib/postfix/sbin\n\
             mail_owner = postfix\n\
             setgid_group = postdrop\n\
             inet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\n\
             myhostname = mx.{domain}\n\
             mydestination =\n\
             virtual_mailbox_domains = {domain}\n\
             virtual_mailbox_base = {folder}/mail\n\
             virtual_mailbox_maps = texthash:{folder}/users\n\
             virtual_alias_maps = texthash:{folder}/aliases\n\
             transport_maps = texthash:{folder}/transport\n\
             relay_domains = texthash:{folder}/transport\n\
             virtual_minimum_uid = 100\n\
             virtual_uid_maps = static:{NOBODY}\n\
             virtual_gid_maps = static:{NOBODY}\n\
             smtpd_relay_restrictions = permit_auth_destination, reject\n\
             smtpd_recipient_restrictions = check_recipient_access texthash:{folder}/access, permit_auth_destination, reject\n\
             smtpd_tls_security_level = may\n\
             smtpd_tls_cert_file = {folder}/tls/cert.pem\n\
             smtpd_tls_key_file = {folder}/tls/key.pem\n\
             smtpd_tls_received_header = yes\n\
             maillog_file = {folder}/log\n\
             maillog_file_prefixes = {folder}\n"
        )
    }

    fn run(&self, what: &str) {
        let done = Command::new("postfix")
            .arg("-c")
            .arg(self.folder.path())
            .arg(what)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(
            done.status.success(),
            "postfix {what}: {said}\n{}",
            self.log()
        );
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// What it answers to single recipients from now on, such as `dora@people.test 450 later`.
    pub fn answer(&self, lines: &str) {
        fs::write(self.folder.path().join("access"), lines).unwrap();
        self.run("reload");
    }

    /// Hands the mail of another domain to this server from now on.
    pub fn route(&self, domain: &str, to: SocketAddr) {
        self.route_by("smtp", domain, to);
    }

    /// The same by `smtp` or `lmtp`.
    pub fn route_by(&self, protocol: &str, domain: &str, to: SocketAddr) {
        let line = format!("{domain} {protocol}:[{}]:{}\n", to.ip(), to.port());
        fs::write(self.folder.path().join("transport"), line).unwrap();
        self.run("reload");
    }

    /// Takes mail for an address from now on, and sends it on to another.
    pub fn alias(&self, address: &str, to: &str) {
        fs::write(
            self.folder.path().join("aliases"),
            format!("{address} {to}\n"),
        )
        .unwrap();
        self.run("reload");
    }

    pub fn stop(&self) {
        self.run("stop");
    }

    pub fn start_again(&self) {
        self.run("start");
    }

    /// The mails a user has, in files.
    pub fn mails(&self, user: &str) -> Vec<PathBuf> {
        let folder = self.folder.path().join("mail").join(user).join("new");
        files(&folder)
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // It may have been stopped.
        drop(
            Command::new("postfix")
                .arg("-c")
                .arg(self.folder.path())
                .arg("stop")
                .output(),
        );
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
