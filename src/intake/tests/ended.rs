//! Tasks that are canceled, and answers that come after the end.

use serde_json::{Value, json};

use super::*;
use crate::auth::audit::Audit;
use crate::intake::Canceling;
use crate::store::tests::both;
use crate::store::{Advanced, AuditFilter};

impl Door {
    /// The same with an audit log.
    fn audited(mut self) -> Self {
        let (store, clock) = (self.store.clone(), self.clock.clone());
        let (audit, auditor) = Audit::new(store, clock, "main".to_owned());
        self.tasks.spawn(auditor.run(self.stop.clone()));
        self.intake = self.intake.with_audit(audit);
        self
    }

    async fn cancel(&self) -> Advanced {
        let row = self.store.find_any_task(TASK).await.unwrap().unwrap();
        let by = Canceling {
            principal: Principal::Anonymous,
            remote: IpAddr::V4(Ipv4Addr::LOCALHOST),
            request_id: "r-cancel".to_owned(),
        };
        self.intake.cancel_task(&row, &by).await.unwrap()
    }

    /// The mail of an agent, as it came.
    async fn letters(&self, mailbox: i64) -> Vec<Value> {
        let page = self.store.take_mail(query(mailbox)).await.unwrap();
        let items = page.items.into_iter();
        items
            .map(|item| serde_json::from_slice(&item.message.body).unwrap())
            .collect()
    }

    /// The entries of the audit log about the task, once there are so many.
    async fn noted(&self, count: usize) -> Vec<Value> {
        for _ in 0..10_000 {
            let rows = self.store.list_audit(&AuditFilter::default(), 100).await;
            let entries: Vec<Value> = rows
                .unwrap()
                .iter()
                .map(|row| serde_json::from_slice(&row.entry).unwrap())
                .filter(|entry: &Value| entry["subject"] == TASK)
                .collect();
            if entries.len() >= count {
                return entries;
            }
        }
        panic!("it is not in the audit log");
    }
}

const fn is_done(advanced: &Advanced) -> bool {
    matches!(advanced, Advanced::Done { .. })
}

fn answer(request: &MessageId) -> Value {
    json!({"recipients": [of_task()], "in_reply_to": request.as_str(), "payload": {"n": 1}})
}

both!(a_canceled_task_is_taken_back_where_its_agent_has_nothing_of_it);
async fn a_canceled_task_is_taken_back_where_its_agent_has_nothing_of_it(home: Home) {
    let door = Door::at(home).await.audited();
    let request = door.open(&of_task(), Principal::Anonymous).await;
    assert!(is_done(&door.cancel().await));
    assert_eq!(door.task().await.status.state, TaskState::Canceled);
    assert!(door.letters(door.orders).await.is_empty());
    // It ended once, and stays as it is.
    let ended = door.task().await;
    let again = door.cancel().await;
    assert_eq!(again, Advanced::Refused(TaskState::Canceled.code()));
    let late = door.says("orders", answer(&request)).await;
    assert_eq!(code(&late), Some(ErrorCode::TaskTerminal));
    assert_eq!(door.task().await, ended);
    assert!(door.letters(door.orders).await.is_empty());
    let noted = door.noted(2).await;
    let find = |event: &str| noted.iter().find(|it| it["event"] == event).unwrap();
    let canceled = find("task.canceled");
    assert_eq!(canceled["actor"], "anonymous");
    assert_eq!(canceled["request_id"], "r-cancel");
    assert_eq!(canceled["details"]["agent_is_told"], false);
    let late = find("task.answer");
    assert_eq!(late["actor"], "agent:orders@a.test");
    assert_eq!(late["outcome"], "denied");
    assert_eq!(late["details"]["error_code"], "TASK_TERMINAL");
    door.close().await;
}

both!(an_agent_that_has_the_request_is_told_that_it_is_canceled);
async fn an_agent_that_has_the_request_is_told_that_it_is_canceled(home: Home) {
    let door = Door::at(home).await;
    let request = door.open(&of_task(), Principal::Anonymous).await;
    assert_eq!(door.letters(door.orders).await.len(), 1);
    assert!(is_done(&door.cancel().await));
    let letters = door.letters(door.orders).await;
    let [asked, told] = &letters[..] else {
        panic!("{letters:?}");
    };
    assert_eq!(told["headers"]["a2a-kind"], "cancel");
    assert_eq!(told["headers"]["a2a-task-id"], TASK);
    assert_eq!(told["headers"]["a2a-message-id"], "m-1");
    assert_eq!(told["in_reply_to"], request.as_str());
    for member in ["sender", "recipients", "schema"] {
        assert_eq!(told[member], asked[member], "{member}");
    }
    // It is told once, however often it looks.
    let page = door.store.take_mail(query(door.orders)).await.unwrap();
    for _ in 0..2 {
        for item in &page.items {
            door.intake.note_handed_over(&item.message).await;
        }
    }
    assert_eq!(door.letters(door.orders).await.len(), 2);
    door.close().await;
}

both!(an_agent_that_gets_a_request_while_it_is_canceled_is_told_too);
async fn an_agent_that_gets_a_request_while_it_is_canceled_is_told_too(home: Home) {
    let door = Door::at(home).await;
    door.open(&of_task(), Principal::Anonymous).await;
    // It is under way to the agent; nobody knows yet.
    let under_way = door.store.newest_request(TASK).await.unwrap().unwrap();
    assert!(is_done(&door.cancel().await));
    assert!(door.letters(door.orders).await.is_empty());
    for _ in 0..3 {
        door.intake.note_handed_over(&under_way).await;
    }
    let letters = door.letters(door.orders).await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["headers"]["a2a-kind"], "cancel");
    assert_eq!(door.task().await.status.state, TaskState::Canceled);
    door.close().await;
}

both!(of_an_answer_and_a_cancellation_at_the_same_time_one_counts);
async fn of_an_answer_and_a_cancellation_at_the_same_time_one_counts(home: Home) {
    let door = Door::at(home).await;
    let request = door.open(&of_task(), Principal::Anonymous).await;
    door.letters(door.orders).await;
    let (canceled, answered) = tokio::join!(door.cancel(), door.says("orders", answer(&request)));
    let task = door.task().await;
    match task.status.state {
        TaskState::Canceled => {
            assert!(is_done(&canceled));
            assert_eq!(code(&answered), Some(ErrorCode::TaskTerminal));
            assert!(task.artifacts.is_empty());
        }
        TaskState::Completed => {
            assert_eq!(canceled, Advanced::Refused(TaskState::Completed.code()));
            assert_eq!(code(&answered), None);
            assert_eq!(task.artifacts.len(), 1);
            assert_eq!(door.letters(door.orders).await.len(), 1, "nobody is told");
        }
        state => panic!("{state}"),
    }
    door.close().await;
}

both!(a_final_answer_that_is_repeated_is_known_and_not_late);
async fn a_final_answer_that_is_repeated_is_known_and_not_late(home: Home) {
    let door = Door::at(home).await.audited();
    let request = door.open(&of_task(), Principal::Anonymous).await;
    let mut answer = answer(&request);
    answer["idempotency_key"] = "0d0e7f3c-5b0a-4a63-9d9b-1c1e6a2f0b11".into();
    answer["message_id"] = "0193a2b4-0000-7000-8000-00000000000a".into();
    for _ in 0..2 {
        assert_eq!(code(&door.says("orders", answer.clone()).await), None);
    }
    assert_eq!(door.task().await.artifacts.len(), 1);
    answer["idempotency_key"] = "0d0e7f3c-5b0a-4a63-9d9b-1c1e6a2f0b12".into();
    let late = door.says("orders", answer).await;
    assert_eq!(code(&late), Some(ErrorCode::TaskTerminal));
    assert_eq!(door.noted(1).await.len(), 1);
    door.close().await;
}
