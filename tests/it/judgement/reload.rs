//! Policies that change while the gateway runs, and such that have faults.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{FILE, SOON, code, folder, put, rule, ruled, send};
use crate::support::metrics::metrics;
use crate::support::{Agent, Daemon, eventually_so, words};

/// Denies mail to this agent only.
fn denying(name: &str) -> String {
    format!(
        "version: \"1.0\"\ndefault_policy: allow\nrules:\n  \
         - {{recipient_pattern: {name}@it.test, action: deny}}\n"
    )
}

const BROKEN: &str = "version: \"1.0\"\ndefault_policy: allow\nrules:\n  - action: alow\n";

/// A gateway that denies mail to bob, with three agents.
async fn gateway() -> (Daemon, [Agent; 3]) {
    let daemon = ruled(&denying("bob"), &[]).await;
    let agents = [
        daemon.agent("alice").await,
        daemon.agent("bob").await,
        daemon.agent("carol").await,
    ];
    (daemon, agents)
}

/// Waits until mail to the one is denied, and to the other taken.
async fn denies(daemon: &Daemon, from: &Agent, denied: &Agent, taken: &Agent) {
    eventually_so("the rules are in force", SOON, async || {
        let (_, answer, _) = send(daemon, from, &[&denied.address], json!({})).await;
        (code(&answer) == "POLICY_DENIED").then_some(())
    })
    .await;
    let (status, answer, _) = send(daemon, from, &[&taken.address], json!({})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
}

async fn state(daemon: &Daemon) -> Value {
    let (status, state) = daemon.admin(Method::GET, "/v1/admin/policies", None).await;
    assert_eq!(status, StatusCode::OK, "{state}");
    state
}

/// Waits until the state says that the files have faults, or none.
async fn is_broken(daemon: &Daemon, broken: bool) -> Value {
    eventually_so("the state of the policy", SOON, async || {
        let state = state(daemon).await;
        (state["broken"].is_null() != broken).then_some(state)
    })
    .await
}

async fn told(daemon: &Daemon) -> (Value, bool) {
    let (status, ready) = daemon.call(Method::GET, "/ready", None, None).await;
    // Rules of before are rules: it takes mail.
    assert_eq!(status, StatusCode::OK, "{ready}");
    let text = metrics(daemon.ops()).await;
    let line = |value| {
        text.lines()
            .any(|it| it == format!("amtp_policies_broken {value}"))
    };
    assert!(line(0) != line(1), "{text}");
    (ready["dependencies"]["policies"].clone(), line(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn new_rules_are_in_force_after_a_signal() {
    let (daemon, [alice, bob, carol]) = gateway().await;
    denies(&daemon, &alice, &bob, &carol).await;
    put(&daemon, &denying("carol"));
    daemon.hang_up();
    denies(&daemon, &alice, &carol, &bob).await;
    assert_eq!(state(&daemon).await["rules"], 1);
    assert_eq!(told(&daemon).await, (json!("ok"), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_changes_nothing_until_it_is_mended() {
    let (daemon, [alice, bob, carol]) = gateway().await;
    let since = state(&daemon).await["loaded_at"].clone();
    // No signal: the folder is watched.
    put(&daemon, BROKEN);
    let broken = is_broken(&daemon, true).await;
    let fault = broken["broken"]["faults"][0].as_str().unwrap();
    let file = folder(&daemon).join(FILE);
    assert!(
        fault.starts_with(&format!("{}:4:13: ", file.display())),
        "{fault}"
    );
    assert!(fault.contains("did you mean `allow`"), "{fault}");
    assert_eq!(broken["loaded_at"], since);
    assert_eq!(broken["rules"], 1);
    let (word, flagged) = told(&daemon).await;
    assert_eq!(
        (word.as_str(), flagged),
        (Some("broken, the ones of before are in use"), true)
    );
    denies(&daemon, &alice, &bob, &carol).await;
    let path = "/v1/admin/policies/reload";
    let (status, answer) = daemon.admin(Method::POST, path, None).await;
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::CONFLICT, "CONFLICT"),
        "{answer}"
    );
    assert_eq!(
        answer["error"]["details"]["faults"],
        broken["broken"]["faults"]
    );
    let log = std::fs::read_to_string(daemon.log()).unwrap();
    assert!(log.contains(&format!("{}:4:13", file.display())), "{log}");

    put(&daemon, &denying("carol"));
    is_broken(&daemon, false).await;
    denies(&daemon, &alice, &carol, &bob).await;
    assert_eq!(told(&daemon).await, (json!("ok"), false));
    // And so it is with a second file, which is gone again.
    let second = folder(&daemon).join("20-more.yml");
    std::fs::write(&second, BROKEN).unwrap();
    daemon.hang_up();
    let faults = is_broken(&daemon, true).await["broken"]["faults"].clone();
    assert!(
        faults[0].as_str().unwrap().contains("20-more.yml:2:"),
        "{faults}"
    );
    std::fs::remove_file(second).unwrap();
    is_broken(&daemon, false).await;
    denies(&daemon, &alice, &carol, &bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_does_not_start_with_a_broken_policy_or_schema() {
    let mut daemon = Daemon::prepare(&[]);
    rule(&mut daemon, BROKEN);
    let refused = daemon.serve().output().unwrap();
    assert_eq!(refused.status.code(), Some(78), "{}", words(&refused));
    let place = format!(
        "{}:4:13: rules[0].action: ",
        folder(&daemon).join(FILE).display()
    );
    let said = words(&refused);
    assert!(said.lines().any(|line| line.starts_with(&place)), "{said}");

    put(&daemon, &denying("bob"));
    let schemas = daemon.folder.path().join("schemas");
    std::fs::create_dir(&schemas).unwrap();
    std::fs::write(schemas.join("x.json"), "{\"$ref\": \"https://x.test/s\"}").unwrap();
    let mut serve = daemon.serve();
    let refused = serve.env("AMTPD__SCHEMAS__DIR", &schemas).output().unwrap();
    assert_eq!(refused.status.code(), Some(78), "{}", words(&refused));
    assert!(words(&refused).contains("x.json: "), "{}", words(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_senders_have_used_outlives_a_reload() {
    let limited = |more: &str| {
        format!(
            "version: \"1.0\"\ndefault_policy: allow\nrules:\n  - {{name: few, \
             recipient_pattern: bob@it.test, action: allow, rate_limit: 2/hour{more}}}\n"
        )
    };
    let (daemon, [alice, bob, carol]) = gateway().await;
    put(&daemon, &limited(""));
    let reload = async || {
        let path = "/v1/admin/policies/reload";
        let (status, state) = daemon.admin(Method::POST, path, None).await;
        assert_eq!(status, StatusCode::OK, "{state}");
    };
    reload().await;
    let to_bob = async |from: &Agent| send(&daemon, from, &[&bob.address], json!({})).await.0;
    for expected in [202, 202, 429] {
        assert_eq!(to_bob(&alice).await, expected);
    }
    assert_eq!(to_bob(&carol).await, 202);
    put(&daemon, &limited(", priority: high"));
    reload().await;
    for (from, expected) in [(&alice, 429), (&carol, 202), (&carol, 429)] {
        assert_eq!(to_bob(from).await, expected);
    }
}
