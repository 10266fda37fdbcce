//! `amtpd quickstart` as a newcomer meets it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::support::{amtpd, words};

fn quickstart(folder: &Path, options: &[&str]) -> Command {
    let mut command = amtpd();
    command
        .args(["quickstart", "--dir"])
        .arg(folder)
        .args(options)
        .env("AMTPD__LISTEN__HTTPS", "no address: it must not matter");
    command
}

fn once(folder: &Path, options: &[&str]) -> Output {
    let options = [&["--once"], options].concat();
    quickstart(folder, &options).output().unwrap()
}

#[test]
fn every_step_is_confirmed_also_the_second_time() {
    let folder = tempfile::tempdir().unwrap();
    let key = || std::fs::read_to_string(folder.path().join("agents/alice.key")).unwrap();
    let first = once(folder.path(), &[]);
    let said = words(&first);
    assert_eq!(first.status.code(), Some(0), "{said}");
    for sentence in [
        "_amtp.beta.test  TXT  \"v=amtp1;gateway=https://gateway.beta.test:",
        "/v1/messages -> 202 Accepted",
        "inbox of carol@beta.test: \"Quote for paper clips\" from alice@alpha.test",
        "signature was good",
        "inbox of alice@alpha.test: \"Re: Quote for paper clips\" from bob@beta.test",
        "in_reply_to: ",
        "bob@beta.test: delivered",
        "carol@beta.test: delivered",
        ": acknowledged",
        "Subject: [AMTP] May I order?",
        "Reply-To: alice@alpha.test",
        "250 2.6.0 Taken as ",
        "inbox of alice@alpha.test: \"Re: [AMTP] May I order?\" from dora@people.test",
        "SendMessage: TASK_STATE_COMPLETED",
        "All 10 steps were confirmed",
    ] {
        assert!(said.contains(sentence), "{sentence:?} is not in {said}");
    }
    assert!(
        !said.contains('\u{1b}') && !said.contains(" INFO "),
        "{said}"
    );
    let log = std::fs::read_to_string(folder.path().join("amtpd.log")).unwrap();
    assert!(log.contains("message.id"), "{log}");
    let kept = key();
    let second = once(folder.path(), &[]);
    assert_eq!(second.status.code(), Some(0), "{}", words(&second));
    assert_eq!(key(), kept);
    let third = once(folder.path(), &["--clean"]);
    assert_eq!(third.status.code(), Some(0), "{}", words(&third));
    assert_ne!(key(), kept);
}

#[test]
fn lost_keys_and_lost_data_are_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(once(folder.path(), &[]).status.code(), Some(0));
    for lost in ["agents/carol.key", "agents/bob.webhook-secret"] {
        std::fs::remove_file(folder.path().join(lost)).unwrap();
    }
    std::fs::remove_dir_all(folder.path().join("alpha.test/data")).unwrap();
    let again = once(folder.path(), &[]);
    assert_eq!(again.status.code(), Some(0), "{}", words(&again));
}

#[test]
fn a_folder_of_somebody_else_is_refused_also_with_clean() {
    let folder = tempfile::tempdir().unwrap();
    let thesis = folder.path().join("alpha.test");
    std::fs::write(&thesis, "years of work").unwrap();
    let refused = once(folder.path(), &["--clean"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = words(&refused);
    assert!(said.contains("is not a quickstart's folder"), "{said}");
    assert_eq!(std::fs::read_to_string(&thesis).unwrap(), "years of work");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// A quickstart that goes on.
struct Running {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(folder: &Path) -> Self {
        let mut process = quickstart(folder, &[])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// The next command that begins like this, with the lines it goes on in.
    fn command(&mut self, start: &str) -> String {
        let mut lines = self.lines.by_ref().map(Result::unwrap);
        let mut command = lines.find(|line| line.starts_with(start)).unwrap();
        while command.ends_with('\\') {
            command = format!("{command}\n{}", lines.next().unwrap());
        }
        command
    }

    /// Ctrl-C, and the exit code.
    fn interrupt(mut self) -> Option<i32> {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(sent.success());
        // What is still said has a reader.
        self.lines.by_ref().for_each(drop);
        self.process.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn run(command: &str) -> Value {
    let done = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(done.status.success(), "{command}\n{}", words(&done));
    serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{command}\n{}", words(&done)))
}

#[test]
fn the_printed_commands_work_as_they_stand_until_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    // A name that a shell would tear apart.
    let path = folder.path().join("it's a folder");
    let mut running = Running::start(&path);
    let [send, read, acknowledge, status] = [(); 4].map(|()| running.command("curl "));
    let receipt = run(&send);
    assert_eq!(receipt["status"], "accepted");
    let inbox = run(&read);
    assert_eq!(inbox["messages"][0]["in_reply_to"], receipt["message_id"]);
    assert_eq!(inbox["messages"][0]["sender"], "bob@beta.test");
    assert_eq!(run(&acknowledge)["status"], "acknowledged");
    assert_eq!(run(&status)["status"], "delivered");
    let second = once(&path, &[]);
    assert_eq!(second.status.code(), Some(1));
    assert!(words(&second).contains("another quickstart runs in"));
    let program = env!("CARGO_BIN_EXE_amtpd");
    let sent = run(&(running.command(&format!("{program} send ")) + " --json"));
    assert_eq!(sent["recipients"][0]["status"], "queued");
    let mail = run(&(running.command(&format!("{program} inbox list ")) + " --json"));
    assert_eq!(mail["recipient"], "alice@alpha.test");
    assert_eq!(running.interrupt(), Some(0));
}
