//! The document and the gateway before tools that others wrote, as they come from their registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hyper::Method;
use serde_json::json;

use super::{Home, text};
use crate::support::words;

/// The folder of what the tools are told.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/openapi")
}

/// A Python with these packages, none of which need a compiler.
fn python(home: &Path, packages: &[&str]) -> Command {
    let mut install = Command::new("python3");
    install
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--only-binary",
            ":all:",
            "--target",
        ])
        .arg(home)
        .args(packages);
    run(&mut install);
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", home);
    python
}

/// What a command printed, which has to end well.
fn run(command: &mut Command) -> String {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", words(&done));
    words(&done)
}

#[test]
fn the_document_is_openapi_3_1() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("openapi.json");
    let document = amtpd::endpoint::http::openapi("https://amtp.example.com").unwrap();
    fs::write(&file, document.to_string()).unwrap();
    let packages = home.path().join("packages");
    let mut python = python(&packages, &["openapi-spec-validator==0.9.0"]);
    let check = |python: &mut Command, file: &Path| {
        let done = python.args(["-m", "openapi_spec_validator", "--schema", "3.1"]);
        done.arg(file).output().unwrap()
    };
    let done = check(&mut python, &file);
    assert!(done.status.success(), "{}", words(&done));
    // It is one that finds something.
    let mut broken = document;
    broken["paths"]["/health"]["get"]["responses"] = json!([]);
    fs::write(&file, broken.to_string()).unwrap();
    let mut again = Command::new("python3");
    again.env("PYTHONPATH", &packages);
    assert!(!check(&mut again, &file).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_answer_that_is_not_described() {
    let home = Home::start().await;
    let daemon = &home.daemon;
    // Alice is the one of the examples: she may be changed and removed.
    let (carol, alice) = (daemon.agent("carol").await, daemon.agent("alice").await);
    for n in 0..3 {
        let message =
            json!({ "sender": alice.address, "recipients": [carol.address], "payload": n });
        let path = "/v1/messages";
        daemon
            .call(Method::POST, path, Some(&alice.key), Some(message))
            .await;
    }
    let tokens = "/v1/admin/enrolment-tokens";
    let (_, token) = daemon
        .admin(Method::POST, tokens, Some(json!({ "uses": 1000 })))
        .await;
    let work = tempfile::tempdir().unwrap();
    let packages = work.path().join("packages");
    let mut python = python(&packages, &["schemathesis==4.32.5"]);
    let (port, authority) = (
        daemon.caller().admin,
        daemon.folder.path().join("gateway/tls/cert.pem"),
    );
    let url = format!("https://localhost:{port}");
    python
        .current_dir(work.path())
        .args(["-m", "schemathesis.cli.__main__", "--config-file"])
        .arg(folder().join("schemathesis.toml"))
        .args([
            "run",
            &format!("{url}/openapi.json"),
            "--url",
            &url,
            "--tls-verify",
            text(&authority),
            "--phases",
            "examples,coverage,fuzzing",
        ])
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .env(
            "PYTHONPATH",
            format!("{}:{}", text(&packages), text(&folder())),
        )
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("AGENT_KEY", &carol.key)
        .env("AGENT_ADDRESS", &carol.address)
        .env(
            "ENROLMENT_TOKEN",
            token["enrolment_token"]["token"].as_str().unwrap(),
        )
        .env("ADMIN_KEY", daemon.admin_key());
    let summary = tokio::task::spawn_blocking(move || run(&mut python));
    crate::crash::report(&summary.await.unwrap());
}
