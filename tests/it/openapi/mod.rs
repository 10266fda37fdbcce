//! What the API says of itself is what it does.

mod answers;
mod book;
mod reader;
mod steps;
mod tools;

use std::path::Path;

use crate::support::Daemon;
use crate::support::dns::DnsServer;

const RULES: &str = r#"
version: "1.0"
default_policy: allow
rules:
  - {name: partners, direction: subscribe, sender_pattern: "*@partner.test", action: allow}
  - {name: everybody, direction: broadcast, sender_pattern: "*@it.test", action: allow}
"#;

/// A gateway whose DNS knows nobody, whose agents may do everything, and whose callers say which address
/// they have: who shows many wrong keys has to wait.
pub struct Home {
    pub daemon: Daemon,
    _dns: DnsServer,
    _rules: tempfile::TempDir,
}

impl Home {
    async fn start() -> Self {
        let dns = DnsServer::start();
        dns.fail("_amtp.failing.test");
        let rules = tempfile::tempdir().unwrap();
        std::fs::write(rules.path().join("rules.yaml"), RULES).unwrap();
        let servers = format!("[{:?}]", dns.address().to_string());
        let variables = [
            ("AMTPD__DNS__SERVERS", servers.as_str()),
            ("AMTPD__POLICIES__DIR", text(rules.path())),
            ("AMTPD__LISTEN__TRUSTED_PROXIES", "[127.0.0.0/8]"),
        ];
        Self {
            daemon: Daemon::start(&variables).await,
            _dns: dns,
            _rules: rules,
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
