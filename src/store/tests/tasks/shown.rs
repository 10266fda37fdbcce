//! What is shown of tasks: artifacts, history, direct answers, lists.

use super::super::super::{
    Advanced, NewTask, Otherwise, TaskCursor, TaskParts, TaskQuery, TaskStep, When,
};
use super::super::{Bench, Home};
use super::{COMPLETED, OPEN, advance, at, is_done, new_task, piece, status, texts};

both!(artifacts_come_in_pieces_and_may_be_replaced);
async fn artifacts_come_in_pieces_and_may_be_replaced(home: Home) {
    let bench = Bench::at(home).await;
    bench.open_task(new_task("t")).await;
    for step in [
        piece("a", false, "a1"),
        piece("b", true, "b1"),
        piece("a", true, "a2"),
        piece("b", true, "b2"),
    ] {
        assert!(is_done(&bench.step("t", vec![step]).await));
    }
    assert_eq!(
        texts(&bench.task_of("t").await.artifacts),
        ["a1", "a2", "b1", "b2"]
    );
    bench
        .step("t", vec![piece("a", false, "a3"), piece("a", true, "a4")])
        .await;
    let whole = bench.task_of("t").await;
    assert_eq!(texts(&whole.artifacts), ["a3", "a4", "b1", "b2"]);
    assert_eq!(whole.row.seq, 6);
    // What follows the task reads on where the snapshot ends.
    bench.step("t", vec![status(COMPLETED, "done")]).await;
    assert_eq!(
        bench.log("t", whole.row.seq).await,
        [(7, "done".to_owned())]
    );
    let row = bench.store.find_any_task("t").await.unwrap().unwrap();
    let none = TaskParts {
        history: Some(0),
        artifacts: false,
    };
    let bare = bench.store.whole_task(row, none).await.unwrap().unwrap();
    assert!(bare.artifacts.is_empty() && bare.history.is_empty());
    assert_eq!(bare.row.status, b"done");
    bench.close().await;
}

both!(the_newest_messages_of_the_history_come_in_order);
async fn the_newest_messages_of_the_history_come_in_order(home: Home) {
    let bench = Bench::at(home).await;
    bench.open_task(new_task("t")).await;
    for n in 2..=12 {
        let said = TaskStep {
            from: OPEN,
            message: Some(n.to_string().into_bytes()),
            ..TaskStep::default()
        };
        bench.step("t", vec![said]).await;
    }
    let row = bench.store.find_any_task("t").await.unwrap().unwrap();
    assert_eq!(row.seq, 0, "what is said is no event");
    let parts = TaskParts {
        history: Some(3),
        artifacts: true,
    };
    let whole = bench.store.whole_task(row, parts).await.unwrap().unwrap();
    assert_eq!(texts(&whole.history), ["10", "11", "12"]);
    bench.close().await;
}

both!(a_direct_answer_depends_on_what_the_client_has_seen);
async fn a_direct_answer_depends_on_what_the_client_has_seen(home: Home) {
    let bench = Bench::at(home).await;
    let answer = || {
        let when = |when, body| TaskStep {
            when,
            otherwise: Otherwise::Skip,
            close: when == When::Held,
            ..status(COMPLETED, body)
        };
        vec![when(When::Held, "instead"), when(When::Shown, "last word")]
    };
    let held = |id: &str| NewTask {
        held_until: at(1_000),
        ..new_task(id)
    };
    for id in ["held", "seen"] {
        bench.open_task(held(id)).await;
    }
    bench
        .open_task(NewTask {
            held_until: at(5),
            ..new_task("over")
        })
        .await;
    bench.store.show_task("seen".to_owned()).await.unwrap();
    for (id, body) in [
        ("held", "instead"),
        ("seen", "last word"),
        ("over", "last word"),
    ] {
        assert!(is_done(&bench.step(id, answer()).await));
        assert_eq!(bench.log(id, 0).await, [(1, body.to_owned())], "{id}");
        assert_eq!(bench.step(id, answer()).await, Advanced::Refused(COMPLETED));
    }
    // Who got an answer instead of a task never sees the task.
    bench.store.show_task("held".to_owned()).await.unwrap();
    let list = bench.store.list_tasks(&list(), at(9_999)).await.unwrap();
    let ids: Vec<&str> = list.tasks.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["seen", "over"]);
    bench.close().await;
}

fn list() -> TaskQuery {
    TaskQuery {
        owner: "agent:1".to_owned(),
        agent: 7,
        context: None,
        state: None,
        since: None,
        before: None,
        limit: 50,
    }
}

/// Tasks `a` to `e` of an agent, `b` changed last, and three that no list of its has.
async fn listed(home: Home) -> Bench {
    let bench = Bench::at(home).await;
    for (n, id) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let mut task = new_task(id);
        task.now = at(i64::try_from(n / 2).unwrap());
        task.context = if n % 2 == 0 { "even" } else { "odd" }.to_owned();
        bench.open_task(task).await;
    }
    let (mut foreign, mut other, mut held) = (new_task("x"), new_task("y"), new_task("z"));
    foreign.owner = "agent:2".to_owned();
    other.agent = 8;
    held.held_until = at(100);
    for task in [foreign, other, held] {
        bench.open_task(task).await;
    }
    let mut change = advance("b", vec![status(COMPLETED, "done")]);
    change.now = at(50);
    bench.store.advance_task(change, None).await.unwrap();
    bench
}

async fn found(bench: &Bench, query: &TaskQuery) -> (String, u64, Option<TaskCursor>) {
    let page = bench.store.list_tasks(query, at(60)).await.unwrap();
    let ids: Vec<String> = page.tasks.iter().map(|row| row.id.clone()).collect();
    (ids.concat(), page.total, page.next)
}

both!(lists_have_the_newest_first_in_pages);
async fn lists_have_the_newest_first_in_pages(home: Home) {
    let bench = listed(home).await;
    let all = found(&bench, &list()).await;
    assert_eq!(all, ("bedca".to_owned(), 5, None));
    let mut pages = String::new();
    let mut query = TaskQuery { limit: 2, ..list() };
    loop {
        let (ids, total, next) = found(&bench, &query).await;
        assert_eq!(total, 5);
        pages.push_str(&ids);
        pages.push('|');
        match next {
            Some(next) => query.before = Some(next),
            None => break,
        }
    }
    assert_eq!(pages, "be|dc|a|");
    query.before = Some(TaskCursor {
        at: at(0),
        id: "b".to_owned(),
    });
    assert_eq!(found(&bench, &query).await.0, "a");
    bench.close().await;
}

both!(lists_have_what_is_asked_for);
async fn lists_have_what_is_asked_for(home: Home) {
    let bench = listed(home).await;
    let (mut odd, mut done, mut since) = (list(), list(), list());
    let (mut none, mut stranger) = (list(), list());
    odd.context = Some("odd".to_owned());
    done.state = Some(COMPLETED);
    since.since = Some(at(1));
    none.context = Some("none".to_owned());
    stranger.owner = "anonymous:a".to_owned();
    for (query, ids) in [
        (odd, "bd"),
        (done, "b"),
        (since, "bedc"),
        (none, ""),
        (stranger, ""),
    ] {
        let total = u64::try_from(ids.len()).unwrap();
        assert_eq!(found(&bench, &query).await, (ids.to_owned(), total, None));
    }
    bench.close().await;
}
