//! What is asked of A2A agents of others, and how their answers come back.

use std::time::Duration;

use hyper::Method;
use serde_json::json;

use super::{Bench, SECRET, WAYS, texts};
use crate::support::a2a_agent::{A2aAgent, Reaction, Way};
use crate::support::eventually_so;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_asked_in_each_dialect_and_its_result_is_found_by_looking() {
    for (way, host) in WAYS
        .into_iter()
        .zip(["127.0.61.1", "127.0.61.2", "127.0.61.3"])
    {
        let bench = Bench::new(host, A2aAgent::new(way), &[]).await;
        let id = bench.say("hello").await;
        bench.site.reaches(&bench.alice, &id, "delivered").await;
        let asked = bench.other.asked().remove(0);
        let version = if way == Way::Old { "0.3" } else { "1.0" };
        assert_eq!(asked.version, version);
        assert_eq!(asked.authorization, SECRET);
        assert_eq!(asked.message["messageId"], id.as_str(), "{way:?}");
        assert_eq!(asked.text(), "hello");
        let words = &asked.message["metadata"]["urn:amtp:a2a:v1"];
        assert_eq!(words["sender"], "alice@a.test");
        assert_eq!(words["recipient"], "x@a.test");
        let immediate = match way {
            Way::Old => json!({"blocking": false, "historyLength": 0}),
            _ => json!({"returnImmediately": true, "historyLength": 0}),
        };
        assert_eq!(
            asked.configuration, immediate,
            "it does not say that it calls back"
        );
        bench.looked(2).await;
        assert!(bench.site.inbox(&bench.alice).await.is_empty());
        bench.other.end(1, "completed", Some(texts("done")));
        let reply = bench.mail(1).await.remove(0);
        assert_eq!(reply["sender"], "x@a.test");
        assert_eq!(reply["in_reply_to"], id.as_str());
        assert_eq!(reply["payload"], json!({ "text": "done" }));
        assert_eq!(reply["headers"]["a2a-state"], "completed");
        assert_eq!(reply["headers"]["x-amtp-auto"], "reply");
        // That was all.
        let looks = bench.other.looks();
        bench.say("again").await;
        bench.asked(2).await;
        assert_eq!(bench.other.cards(), 1, "the card is kept");
        bench.other.end(2, "completed", None);
        assert_eq!(bench.mail(2).await.len(), 2);
        assert!(bench.other.looks() > looks);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_calls_back_is_asked_at_once() {
    for (way, host) in [(Way::Rpc, "127.0.61.4"), (Way::Old, "127.0.61.5")] {
        let rarely = [
            ("AMTPD__A2A_CLIENT__POLL_FIRST", "1h"),
            ("AMTPD__A2A_CLIENT__POLL_LONGEST", "1h"),
        ];
        let other = A2aAgent::new(way).calling_back();
        let bench = Bench::new(host, other, &rarely).await;
        let id = bench.say("hello").await;
        bench.site.reaches(&bench.alice, &id, "delivered").await;
        let callback = bench.other.asked()[0].callback().unwrap();
        let (_, path) = callback.split_once(".test:").unwrap();
        let path = &path[path.find('/').unwrap()..];
        assert!(
            path.starts_with("/a2a-callback/") && path.len() == 14 + 43,
            "{path}"
        );
        bench.other.end(1, "completed", Some(texts("done")));
        // What it says is not believed: the agent is asked.
        let lie = json!({"task": {"id": "task-1", "status": {"state": "TASK_STATE_FAILED"}}});
        let call = async |path: &str| {
            let said = bench.site.call(Method::POST, path, None, Some(lie.clone()));
            said.await.0.as_u16()
        };
        assert_eq!(call(&format!("{}x", &path[..path.len() - 1])).await, 404);
        assert_eq!(call("/a2a-callback/short").await, 404);
        assert_eq!(bench.other.looks(), 0);
        assert_eq!(call(path).await, 204);
        let reply = bench.mail(1).await.remove(0);
        assert_eq!(reply["headers"]["a2a-state"], "completed");
        assert_eq!(call(path).await, 404, "it dies with its task");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_at_once_is_told_at_once() {
    for (way, host) in WAYS
        .into_iter()
        .zip(["127.0.61.6", "127.0.61.7", "127.0.61.8"])
    {
        let bench = Bench::new(host, A2aAgent::new(way), &[]).await;
        bench.other.react(Reaction::Say("hi"));
        let id = bench.say("hello").await;
        let reply = bench.mail(1).await.remove(0);
        assert_eq!(reply["payload"], json!({ "text": "hi" }));
        assert_eq!(reply["headers"]["a2a-state"], "message");
        assert_eq!(reply["in_reply_to"], id.as_str());
        let value = json!([{ "kind": "data", "data": { "n": 9_007_199_254_740_993_u64 } }]);
        bench.other.react(Reaction::Done(value));
        bench.say("number").await;
        let reply = bench.mail(2).await.remove(1);
        assert_eq!(reply["payload"], json!({ "n": 9_007_199_254_740_993_u64 }));
        assert_eq!(bench.other.looks(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_brought_back_and_its_answer_goes_on_with_the_task() {
    for (way, host) in WAYS
        .into_iter()
        .zip(["127.0.61.9", "127.0.61.10", "127.0.61.11"])
    {
        let bench = Bench::new(host, A2aAgent::new(way), &[]).await;
        bench.other.react(Reaction::Ask("which colour?"));
        bench.say("order").await;
        let question = bench.mail(1).await.remove(0);
        assert_eq!(question["payload"], json!({ "text": "which colour?" }));
        assert_eq!(question["headers"]["a2a-state"], "input-required");
        let question = question["message_id"].as_str().unwrap();
        bench.looked(2).await;
        // Nobody else goes on with it.
        let eve = bench.site.agent("eve").await;
        bench.reply(&eve, question, "mine").await;
        bench.asked(2).await;
        assert_eq!(bench.other.asked()[1].message.get("taskId"), None);
        assert_eq!(bench.other.asked()[1].message.get("contextId"), None);
        let answer = bench.reply(&bench.alice, question, "blue").await;
        bench.asked(3).await;
        let asked = bench.other.asked().remove(2);
        assert_eq!(asked.message["taskId"], "task-1");
        assert_eq!(asked.message["contextId"], "context-1");
        bench.other.end(1, "completed", Some(texts("ordered")));
        let result = bench.mail(2).await.remove(1);
        assert_eq!(result["in_reply_to"], answer.as_str());
        assert_eq!(result["payload"], json!({ "text": "ordered" }));
        // After its end the conversation goes on with a new task.
        let result = result["message_id"].as_str().unwrap();
        bench.reply(&bench.alice, result, "one more").await;
        bench.asked(4).await;
        let asked = bench.other.asked().remove(3);
        assert_eq!(asked.message.get("taskId"), None, "{way:?}");
        assert_eq!(asked.message["contextId"], "context-1");
        assert_eq!(asked.message["referenceTaskIds"], json!(["task-1"]));
        assert_eq!(bench.site.inbox(&bench.alice).await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ended_unseen_is_followed_by_a_new_one_of_its_conversation() {
    let bench = Bench::new("127.0.61.12", A2aAgent::new(Way::Rpc), &[]).await;
    bench.other.react(Reaction::Ask("which colour?"));
    bench.say("order").await;
    let question = bench.mail(1).await.remove(0);
    bench.other.forget();
    let question = question["message_id"].as_str().unwrap();
    bench.reply(&bench.alice, question, "blue").await;
    eventually_so("a new task", Duration::from_secs(30), async || {
        let asked = bench.other.asked();
        asked
            .iter()
            .any(|it| it.text() == "blue" && it.message.get("taskId").is_none())
            .then_some(())
    })
    .await;
    let last = bench.other.asked().pop().unwrap();
    assert_eq!(last.message["contextId"], "context-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_is_told_and_a_task_can_be_cancelled() {
    let bench = Bench::new("127.0.61.13", A2aAgent::new(Way::Rpc), &[]).await;
    for (number, state) in ["failed", "rejected", "canceled"].into_iter().enumerate() {
        bench.say(state).await;
        bench.asked(number + 1).await;
        bench.other.end(number + 1, state, None);
        let reply = bench.mail(number + 1).await.remove(number);
        assert_eq!(reply["headers"]["a2a-state"], state, "{reply}");
        assert_ne!(reply["payload"], json!(null));
    }
    let id = bench.say("long work").await;
    bench.site.reaches(&bench.alice, &id, "delivered").await;
    let cancel = json!({ "sender": bench.alice.address, "recipients": [bench.x], "in_reply_to": id,
        "headers": { "a2a-kind": "cancel" }, "payload": null });
    let cancel = bench.site.submit(&bench.alice, cancel).await;
    bench.site.reaches(&bench.alice, &cancel, "delivered").await;
    assert_eq!(bench.other.canceled(), ["task-4"]);
    let looks = bench.other.looks();
    bench.say("last").await;
    bench.asked(5).await;
    bench.other.end(5, "completed", None);
    assert_eq!(
        bench.mail(4).await.len(),
        4,
        "nothing is told of what was cancelled"
    );
    assert!(bench.other.looks() > looks);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_the_task_is_looked_at_and_not_asked_again() {
    let mut bench = Bench::new("127.0.61.14", A2aAgent::new(Way::Rpc), &[]).await;
    let id = bench.say("long work").await;
    bench.looked(1).await;
    bench.site.kill();
    bench.other.end(1, "completed", Some(texts("done")));
    bench.site.run().await;
    let reply = bench.mail(1).await.remove(0);
    assert_eq!(reply["in_reply_to"], id.as_str());
    assert_eq!(reply["payload"], json!({ "text": "done" }));
    bench.site.kill();
    bench.site.run().await;
    // A second round makes sure that nothing of the first comes again.
    bench.say("more").await;
    bench.asked(2).await;
    bench.other.end(2, "completed", None);
    assert_eq!(bench.mail(2).await.len(), 2);
    assert_eq!(bench.other.asked().len(), 2);
}
