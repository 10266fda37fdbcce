use std::path::{Path, PathBuf};

use serde_json::Value;

use super::render::RenderCommand;
use super::shown;
use crate::clock::Clock;
use crate::mime::{MailLimits, parse};
use crate::protocol::{Limits, Message, Profile};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mail")
}

/// Each mail of the corpus stands beside what it says, as JSON.
#[test]
fn every_mail_of_the_corpus_says_what_is_kept_beside_it() {
    let mut faults = Vec::new();
    let mut seen = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "eml") {
            continue;
        }
        let mail = parse(&std::fs::read(&path).unwrap(), &MailLimits::default()).unwrap();
        let kept = std::fs::read(path.with_extension("json")).unwrap_or_default();
        let kept: Value = serde_json::from_slice(&kept).unwrap_or_default();
        let found = shown::mail(&mail);
        if found != kept {
            faults.push(format!("{}:\n{found:#}", path.display()));
        }
        seen += 1;
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen >= 50, "{seen} mails");
}

#[test]
fn what_a_message_does_not_say_is_minted() {
    let body = r#"{"sender":"a@one.example","recipients":["b@two.example"],"payload":1}"#;
    let message = Message::parse(body.into(), Profile::Relay, &Limits::default()).unwrap();
    let command = RenderCommand::for_tests();
    let mail = command.render(&message, &Clock::system()).unwrap();
    let read = parse(&mail.bytes, &MailLimits::default()).unwrap();
    assert_eq!(read.to[0].written, "b@two.example");
    let part = read.amtp.unwrap();
    let whole: Value = serde_json::from_slice(&part.json).unwrap();
    assert_eq!(whole["message_id"].as_str(), part.message_id.as_deref());
    assert!(whole["idempotency_key"].is_string() && whole["timestamp"].is_string());
}
