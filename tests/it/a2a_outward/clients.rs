//! A2A clients of this gateway in front of agents elsewhere: they see an agent like any other.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use super::{Bench, texts};
use crate::support::Agent;
use crate::support::a2a_agent::{A2aAgent, Reaction, Way};
use crate::support::behaviour::Behaviour;
use crate::support::eventually_so;
use crate::support::site::{Site, World};
use crate::support::webhook::WebhookTarget;

/// Calls a method of A2A 1.0 and gives its result.
async fn call(site: &Site, agent: &Agent, (at, method): (&str, &str), params: Value) -> Value {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let path = format!("/a2a/{at}?A2A-Version=1.0");
    let (status, answer) = site
        .call(Method::POST, &path, Some(&agent.key), Some(body))
        .await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.get("error").is_none(), "{answer}");
    answer["result"].clone()
}

fn message(text: &str, more: Value) -> Value {
    let mut message = json!({ "messageId": "m", "role": "ROLE_USER", "parts": [{ "text": text }] });
    for (name, value) in more.as_object().into_iter().flatten() {
        message[name] = value.clone();
    }
    json!({ "message": message })
}

/// The task once it is in this state.
async fn reaches(site: &Site, agent: &Agent, (at, id): (&str, &str), state: &str) -> Value {
    eventually_so(state, Duration::from_secs(30), async || {
        let task = call(site, agent, (at, "GetTask"), json!({ "id": id })).await;
        (task["status"]["state"] == state).then_some(task)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_talks_through_this_gateway_to_an_a2a_agent_of_others() {
    for (way, host) in [(Way::Rpc, "127.0.64.1"), (Way::Old, "127.0.64.2")] {
        let on = [("AMTPD__A2A__EXTENDED_CARD", "false")];
        let bench = Bench::new(host, A2aAgent::new(way), &on).await;
        let (site, alice) = (&bench.site, &bench.alice);
        let path = "/a2a/x/.well-known/agent-card.json";
        let (status, card) = site.call(Method::GET, path, None, None).await;
        assert_eq!(status, 200, "{card}");
        assert!(!card.to_string().contains(host), "{card}");
        // A blocking call, answered at once.
        bench.other.react(Reaction::Done(texts("done")));
        let sent = call(
            site,
            alice,
            ("x", "SendMessage"),
            message("hello", json!({})),
        )
        .await;
        let task = &sent["task"];
        assert_eq!(task["status"]["state"], "TASK_STATE_COMPLETED", "{sent}");
        assert_eq!(task["artifacts"][0]["parts"], json!([{ "text": "done" }]));
        assert_eq!(bench.other.asked()[0].text(), "hello");
        // A question, and its answer.
        bench.other.react(Reaction::Ask("which colour?"));
        let sent = call(
            site,
            alice,
            ("x", "SendMessage"),
            message("order", json!({})),
        )
        .await;
        let task = &sent["task"];
        assert_eq!(
            task["status"]["state"], "TASK_STATE_INPUT_REQUIRED",
            "{sent}"
        );
        assert_eq!(
            task["status"]["message"]["parts"][0]["text"],
            "which colour?"
        );
        let id = task["id"].as_str().unwrap();
        let answer = message(
            "blue",
            json!({ "taskId": id, "contextId": task["contextId"] }),
        );
        let mut answer = answer;
        answer["configuration"] = json!({ "returnImmediately": true });
        call(site, alice, ("x", "SendMessage"), answer).await;
        bench.asked(3).await;
        assert_eq!(bench.other.asked()[2].message["taskId"], "task-2");
        bench.other.end(2, "completed", Some(texts("ordered")));
        let task = reaches(site, alice, ("x", id), "TASK_STATE_COMPLETED").await;
        assert_eq!(
            task["artifacts"][0]["parts"],
            json!([{ "text": "ordered" }])
        );
        // A new task of the conversation stays in it over there too.
        let more = message("more", json!({ "contextId": task["contextId"] }));
        bench.other.react(Reaction::Say("no"));
        call(site, alice, ("x", "SendMessage"), more).await;
        let asked = bench.other.asked().pop().unwrap();
        assert_eq!(
            asked.message["contextId"], "context-1",
            "{:?}",
            asked.message
        );
        assert_eq!(asked.message.get("taskId"), None);
        assert!(
            site.inbox(alice).await.is_empty(),
            "answers are for the tasks"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_talks_through_a_card_here_to_an_agent_of_another_domain() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
    let on = [("AMTPD__A2A__EXTENDED_CARD", "false")];
    let a = world.start("a.test", "127.0.0.1", &on).await;
    let b = world.start("b.test", "127.0.0.1", &[]).await;
    let form = json!({ "address": "front", "delivery_mode": "peer", "push_target": "bob@b.test",
        "a2a": { "access": "public" } });
    let (status, answer) = a.admin(Method::POST, "/v1/admin/agents", Some(form)).await;
    assert_eq!(status, 201, "{answer}");
    let (alice, bob) = (a.agent("alice").await, b.agent("bob").await);
    let mut order = message("order", json!({}));
    order["configuration"] = json!({ "returnImmediately": true });
    let sent = call(&a, &alice, ("front", "SendMessage"), order.clone()).await;
    let id = sent["task"]["id"].as_str().unwrap();
    let seen = b.mail(&bob, 1).await.remove(0);
    assert_eq!(seen["sender"], "front@a.test");
    let reply = |seen: &Value, headers: Value, text: &str| {
        json!({ "sender": bob.address, "recipients": [seen["sender"]], "headers": headers,
            "in_reply_to": seen["message_id"], "payload": { "text": text } })
    };
    let question = reply(
        &seen,
        json!({ "a2a-state": "input-required" }),
        "which colour?",
    );
    b.submit(&bob, question).await;
    let task = reaches(&a, &alice, ("front", id), "TASK_STATE_INPUT_REQUIRED").await;
    assert_eq!(
        task["status"]["message"]["parts"][0]["text"],
        "which colour?"
    );
    let mut answer = message("blue", json!({ "taskId": id }));
    answer["configuration"] = json!({ "returnImmediately": true });
    call(&a, &alice, ("front", "SendMessage"), answer).await;
    let seen = b.mail(&bob, 2).await.remove(1);
    assert!(seen["in_reply_to"].is_string(), "{seen}");
    b.submit(&bob, reply(&seen, json!({}), "ordered")).await;
    let task = reaches(&a, &alice, ("front", id), "TASK_STATE_COMPLETED").await;
    assert_eq!(
        task["artifacts"][0]["parts"],
        json!([{ "text": "ordered" }])
    );
    assert!(a.inbox(&alice).await.is_empty());
    // Who shows no credential does not get out through us.
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": order });
    let path = "/a2a/front?A2A-Version=1.0";
    let (_, answer) = a.call(Method::POST, path, None, Some(body)).await;
    let state = &answer["result"]["task"]["status"]["state"];
    let refused = answer.get("error").is_some() || state == "TASK_STATE_REJECTED";
    assert!(refused, "{answer}");
    assert_eq!(b.inbox(&bob).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_of_failure_from_the_other_domain_ends_the_task() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
    let on = [("AMTPD__A2A__EXTENDED_CARD", "false")];
    let a = world.start("a.test", "127.0.0.1", &on).await;
    let b = world.start("b.test", "127.0.0.1", &[]).await;
    let form = json!({ "address": "front", "delivery_mode": "peer", "push_target": "hook@b.test",
        "a2a": { "access": "public" } });
    a.admin(Method::POST, "/v1/admin/agents", Some(form)).await;
    let alice = a.agent("alice").await;
    // It is taken there, and refused by the agent's webhook afterwards.
    let target = WebhookTarget::start_plain("127.0.64.9:0".parse().unwrap());
    target.always(Behaviour::json(410, &json!({})));
    b.push_agent("hook", &target.url("127.0.64.9"), json!({}))
        .await;
    let sent = call(
        &a,
        &alice,
        ("front", "SendMessage"),
        message("order", json!({})),
    )
    .await;
    assert_eq!(sent["task"]["status"]["state"], "TASK_STATE_FAILED");
    let said = &sent["task"]["status"]["message"]["parts"][0]["text"];
    assert!(
        said.as_str().unwrap().starts_with("RECIPIENT_UNAVAILABLE"),
        "{sent}"
    );
}
