//! What a person can do with a federation that runs: commands to copy.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::agents::Agent;
use super::site::Site;
use super::story::{Cast, Told};
use crate::cli::init::quoted;

/// Writes the commands.
pub(super) struct Hints<'a> {
    pub(super) cast: &'a Cast,
    pub(super) told: &'a Told,
    pub(super) folder: &'a Path,
    /// How this program was called.
    pub(super) program: PathBuf,
    pub(super) dns: u16,
}

impl Hints<'_> {
    /// Where everything is.
    pub(super) fn places(&self) -> String {
        let cast = self.cast;
        let mut text = String::new();
        for site in [&cast.alpha, &cast.beta] {
            let (domain, url, ops) = (site.domain, site.url(), site.ops);
            let _ = writeln!(
                text,
                "   {domain:12}{url}   health and metrics: http://127.0.0.1:{ops}/metrics"
            );
        }
        let _ = write!(
            text,
            "   {:12}127.0.0.1:{}   try: dig @127.0.0.1 -p {} _amtp.beta.test TXT\n   {:12}{}\n",
            "DNS", self.dns, self.dns, "webhook", cast.webhook
        );
        let _ = write!(
            text,
            "   {:12}{}\n   {:12}{}\n\n",
            "files",
            self.folder.display(),
            "log",
            self.folder.join("amtpd.log").display()
        );
        for agent in [&cast.alice, &cast.bob, &cast.carol] {
            let _ = writeln!(text, "   {:18}key {}", agent.address, agent.key);
        }
        text
    }

    /// The API, with `curl`.
    pub(super) fn curl(&self) -> String {
        let (cast, id) = (self.cast, &self.told.message_id);
        let alice = (&cast.alpha, &cast.alice);
        let carol = (&cast.beta, &cast.carol);
        let message = format!(
            r#"-d '{{"sender": "{}", "recipients": ["{}"], "payload": {{"text": "Hello, Bob"}}}}'"#,
            cast.alice.address, cast.bob.address
        );
        let json = "-H 'Content-Type: application/json'";
        let inbox = format!("/v1/inbox/{}?wait=30s", cast.alice.address);
        let waiting = format!("/v1/inbox/{}/{id}", cast.carol.address);
        let status = format!("/v1/messages/{id}/status");
        let commands = [
            (
                "Send a message as alice; bob's program answers it",
                self.call(alice, "/v1/messages", &[json, &message]),
            ),
            (
                "Read alice's inbox; if it is empty, wait up to 30 seconds",
                self.call(alice, &inbox, &[]),
            ),
            (
                "Acknowledge the message in carol's inbox",
                self.call(carol, &waiting, &["-X DELETE"]),
            ),
            (
                "Ask what became of the first message",
                self.call(alice, &status, &[]),
            ),
        ];
        listed(&commands)
    }

    /// A call that works as it stands.
    fn call(&self, (site, agent): (&Site, &Agent), path: &str, options: &[&str]) -> String {
        let authority = quoted(&self.folder.join("ca.pem"));
        let (host, port) = (&site.host, site.port);
        let mut lines = vec![
            format!("curl --cacert {authority} --resolve {host}:{port}:127.0.0.1"),
            format!("-H 'Authorization: Bearer {}' -w '\\n'", agent.key),
        ];
        lines.extend(options.iter().map(|&option| option.to_owned()));
        lines.push(format!("'{}{path}'", site.url()));
        lines.join(" \\\n    ")
    }

    /// The same with this program.
    pub(super) fn program(&self) -> String {
        let (cast, id) = (self.cast, &self.told.message_id);
        let amtpd = quoted(&self.program);
        let profile = |file: &str| format!("--profile {}", quoted(&self.folder.join(file)));
        let (alice, carol) = (profile(&cast.alice.profile), profile(&cast.carol.profile));
        let bob = &cast.bob.address;
        let hello = r#"'{"text": "Hello, Bob"}'"#;
        let commands = [
            (
                "Send",
                format!("{amtpd} send {alice} --to {bob} --payload {hello}"),
            ),
            ("Read", format!("{amtpd} inbox list {alice}")),
            (
                "Read and acknowledge what comes, until Ctrl-C",
                format!("{amtpd} inbox watch {carol} --ack"),
            ),
            ("Status", format!("{amtpd} message show {alice} {id}")),
            (
                "As the operator of alpha.test, add an agent",
                format!(
                    "{amtpd} agent add dave {}",
                    profile("alpha.test/admin.yaml")
                ),
            ),
        ];
        listed(&commands)
    }
}

/// Commands begin their lines, so that they can be copied.
fn listed(commands: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (about, command) in commands {
        let _ = writeln!(text, "\n# {about}\n{command}");
    }
    text
}
