//! A2A agents of others that refuse, lie, hang, or lead astray.

use std::time::Duration;

use serde_json::json;

use super::{Bench, texts};
use crate::support::a2a_agent::{A2aAgent, Reaction, Way};
use crate::support::behaviour::Behaviour;
use crate::support::eventually_so;
use crate::support::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_in_trouble_is_asked_again_in_order_and_one_that_refuses_is_not() {
    let bench = Bench::new("127.0.62.1", A2aAgent::new(Way::Rpc), &[]).await;
    // The card, then trouble with the first message; the second waits for it.
    bench.other.react(Reaction::Error(-32603));
    bench.other.react(Reaction::Error(-32603));
    let first = bench.say("one").await;
    let second = bench.say("two").await;
    bench.site.reaches(&bench.alice, &first, "delivered").await;
    bench.site.reaches(&bench.alice, &second, "delivered").await;
    let asked: Vec<String> = bench
        .other
        .asked()
        .iter()
        .map(|it| it.text().to_owned())
        .collect();
    assert_eq!(asked, ["one", "one", "one", "two"]);
    for task in [1, 2] {
        bench.other.end(task, "completed", None);
    }
    bench.mail(2).await;
    bench.other.react(Reaction::Error(-32602));
    let id = bench.say("three").await;
    let status = bench.site.reaches(&bench.alice, &id, "failed").await;
    assert_eq!(status["attempts"], 1, "{status}");
    let bounce = bench.mail(3).await.remove(2);
    assert_eq!(bounce["message_type"], "delivery_failure");
    assert_eq!(bounce["payload"]["original_message_id"], id.as_str());
    let text = bounce["payload"]["error_message"].as_str().unwrap();
    assert!(text.contains("-32602: scripted in two lines"), "{text}");
    for code in [503, 429, 500] {
        bench.server.answer(Behaviour::json(code, &json!({})));
    }
    let id = bench.say("four").await;
    bench.site.reaches(&bench.alice, &id, "delivered").await;
    bench.server.always(Behaviour::json(401, &json!({})));
    let id = bench.say("five").await;
    let status = bench.site.reaches(&bench.alice, &id, "failed").await;
    assert_eq!(status["attempts"], 3, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_do_no_harm() {
    let timeout = [("AMTPD__A2A_CLIENT__TIMEOUT", "1s")];
    let bench = Bench::new("127.0.62.2", A2aAgent::new(Way::Rpc), &timeout).await;
    let first = bench.say("first").await;
    bench.site.reaches(&bench.alice, &first, "delivered").await;
    bench.other.end(1, "completed", None);
    bench.mail(1).await;
    // One after the other, of the next message; then it is taken.
    for behaviour in [
        Behaviour::HtmlOk,
        Behaviour::Empty202,
        Behaviour::json(200, &json!([1])),
        Behaviour::json(200, &json!({"jsonrpc": "2.0", "id": 1})),
        Behaviour::json(
            200,
            &json!({"jsonrpc": "2.0", "id": 1, "result": {"task": {"id": ""}}}),
        ),
        Behaviour::json(
            200,
            &json!({"jsonrpc": "2.0", "id": 1, "result": {"statusUpdate": {}}}),
        ),
        Behaviour::HalfAnswer,
        Behaviour::Hang,
    ] {
        bench.server.answer(behaviour);
    }
    let id = bench.say("second").await;
    let status = bench.site.reaches(&bench.alice, &id, "delivered").await;
    assert_eq!(status["attempts"], 9, "{status}");
    assert_eq!(bench.other.asked().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_an_end_is_not_asked_for_again() {
    let size = [("AMTPD__LIMITS__MESSAGE_SIZE", "100KiB")];
    let bench = Bench::new("127.0.62.19", A2aAgent::new(Way::Rpc), &size).await;
    let first = bench.say("first").await;
    bench.site.reaches(&bench.alice, &first, "delivered").await;
    bench.other.end(1, "completed", None);
    bench.mail(1).await;
    // The agent may have done what was asked.
    bench.server.answer(Behaviour::EndlessBody);
    let id = bench.say("second").await;
    let status = bench.site.reaches(&bench.alice, &id, "failed").await;
    assert_eq!(status["attempts"], 1, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_found_out_is_told_as_a_failure() {
    let bench = Bench::new(
        "127.0.62.3",
        A2aAgent::new(Way::Rpc).lying(),
        &[("AMTPD__A2A_CLIENT__TASK_TIME", "2m")],
    )
    .await;
    // It answers with another task than the one that is asked for.
    bench.say("one").await;
    let told = bench.mail(1).await.remove(0);
    assert_eq!(told["headers"]["a2a-state"], "failed");
    let text = told["payload"]["text"].as_str().unwrap();
    assert!(text.contains("another task"), "{text}");
    // It does not know the task any more.
    bench.say("two").await;
    bench.asked(2).await;
    bench.other.forget();
    let told = bench.mail(2).await.remove(1);
    let text = told["payload"]["text"].as_str().unwrap();
    assert!(text.contains("does not know the task"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_has_its_time_and_a_result_its_size() {
    let bench = Bench::new(
        "127.0.62.4",
        A2aAgent::new(Way::Rpc),
        &[
            ("AMTPD__A2A_CLIENT__TASK_TIME", "1s"),
            ("AMTPD__LIMITS__MESSAGE_SIZE", "100KiB"),
        ],
    )
    .await;
    bench.say("slow").await;
    let told = bench.mail(1).await.remove(0);
    assert_eq!(told["headers"]["a2a-state"], "failed");
    let text = told["payload"]["text"].as_str().unwrap();
    assert!(text.contains("in time"), "{text}");
    bench.say("large").await;
    bench.asked(2).await;
    bench
        .other
        .end(2, "completed", Some(texts(&"x".repeat(200 * 1_024))));
    let told = bench.mail(2).await.remove(1);
    assert_eq!(told["headers"]["a2a-state"], "failed");
    let text = told["payload"]["text"].as_str().unwrap();
    assert!(text.contains("bytes") || text.contains("large"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_stay_at_their_host_and_redirects_are_not_followed() {
    let elsewhere = Server::start(
        "127.0.62.6:0".parse().unwrap(),
        None,
        Behaviour::json(200, &json!({})),
    );
    let url = format!("http://{}/rpc", elsewhere.address());
    let bench = Bench::new("127.0.62.5", A2aAgent::new(Way::Rpc).at(&url), &[]).await;
    let id = bench.say("one").await;
    let status = bench.site.reaches(&bench.alice, &id, "retrying").await;
    assert!(elsewhere.requests().is_empty(), "{status}");
    assert!(
        bench.site.log().contains("leads to other hosts"),
        "{}",
        bench.site.log()
    );
    // Nor does a redirect take them there: of the card, or of a question.
    let other = Bench::new("127.0.62.7", A2aAgent::new(Way::Rpc), &[]).await;
    let first = other.say("one").await;
    other.site.reaches(&other.alice, &first, "delivered").await;
    for _ in 0..3 {
        other.server.answer(Behaviour::RedirectTo(url.clone()));
    }
    other.say("two").await;
    other.asked(1).await;
    eventually_so("a redirect", Duration::from_secs(30), async || {
        other
            .site
            .log()
            .contains("redirects are not followed")
            .then_some(())
    })
    .await;
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_are_not_public_are_asked_only_where_that_is_allowed() {
    let nowhere = [("AMTPD__NET__ALLOW__A2A", "[10.0.0.0/8]")];
    let bench = Bench::new("127.0.62.8", A2aAgent::new(Way::Rpc), &nowhere).await;
    let id = bench.say("one").await;
    bench.site.reaches(&bench.alice, &id, "retrying").await;
    assert_eq!(bench.server.connections(), 0);
    assert!(
        bench.site.log().contains("net.allow.a2a"),
        "{}",
        bench.site.log()
    );
}
