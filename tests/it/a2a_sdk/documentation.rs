//! What the documentation of A2A tells people to type.

use std::process::Command;

use super::{Bench, file};

fn page() -> String {
    std::fs::read_to_string(file("docs/a2a.md")).unwrap()
}

/// The blocks of a language, below this heading.
fn blocks(heading: &str, language: &str) -> Vec<String> {
    let page = page();
    let (_, behind) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = behind.split("\n## ").next().unwrap();
    let open = format!("```{language}\n");
    let blocks = section.split(open.as_str()).skip(1);
    let block = |text: &str| text.split("```").next().unwrap().to_owned();
    blocks.map(block).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_works_as_it_is_typed() {
    let extended = ("AMTPD__A2A__EXTENDED_CARD", "true");
    let bench = Bench::new(&["polls"], &[extended]).await;
    let alice = bench.daemon.agent("alice").await;
    // The first block says where: that is ours.
    let lines = blocks("Every operation by curl", "sh")
        .split_off(1)
        .concat();
    let mut shell = Command::new("bash");
    shell
        .args(["-euo", "pipefail", "-c", &format!("{lines}\nwait\n")])
        .env("BASE", bench.base("polls").trim_end_matches('/'))
        .env("KEY", &alice.key)
        .env("HOOK", bench.receiver())
        .env("CURL_CA_BUNDLE", bench.authority());
    let printed = bench.run(shell, &alice).await;
    assert!(!printed.contains("\"error\""), "{printed}");
    let count = |text: &str| printed.matches(text).count();
    assert_eq!(count("\"extendedAgentCard\":true"), 3, "{printed}");
    // Two who wait, one more in the conversation, two streams.
    assert!(count("TASK_STATE_COMPLETED") >= 5, "{printed}");
    // Two subscriptions are told, and two answers.
    assert!(count("TASK_STATE_CANCELED") >= 4, "{printed}");
}

#[test]
fn the_clients_it_shows_are_the_files() {
    for (language, name) in [("python", "a2a_ask.py"), ("js", "a2a_ask.mjs")] {
        let client = std::fs::read_to_string(file("docs/clients").join(name)).unwrap();
        let shown = blocks("Clients", language).remove(0);
        assert!(client.contains(&shown), "{name}");
        assert!(client.lines().count() <= 25, "{name}");
    }
}
