//! Tasks with much in them, and many that change one at a time.

use super::super::super::Advanced;
use super::super::{Bench, Home};
use super::{COMPLETED, WORKING, advance, is_done, new_task, status};

both!(a_task_has_no_room_without_end_but_can_always_end);
async fn a_task_has_no_room_without_end_but_can_always_end(home: Home) {
    let bench = Bench::at(home).await;
    bench.open_task(new_task("t")).await;
    let huge = "x".repeat(30 * 1_024 * 1_024);
    assert!(is_done(
        &bench.step("t", vec![status(WORKING, &huge)]).await
    ));
    assert!(is_done(
        &bench.step("t", vec![status(WORKING, &huge)]).await
    ));
    assert_eq!(
        bench.step("t", vec![status(WORKING, &huge)]).await,
        Advanced::Full
    );
    assert!(is_done(
        &bench.step("t", vec![status(COMPLETED, &huge)]).await
    ));
    bench.close().await;
}

both!(many_at_once_keep_positions_without_gaps_and_one_end);
async fn many_at_once_keep_positions_without_gaps_and_one_end(home: Home) {
    let bench = Bench::at(home).await;
    bench.open_task(new_task("t")).await;
    let tasks: Vec<_> = (0..60)
        .map(|n| {
            let store = bench.store.clone();
            let state = if n % 20 == 19 { COMPLETED } else { WORKING };
            let change = advance("t", vec![status(state, &n.to_string())]);
            bench
                .tasks
                .spawn(async move { store.advance_task(change, None).await.unwrap() })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += usize::from(is_done(&task.await.unwrap()));
    }
    let log = bench.log("t", 0).await;
    let seqs: Vec<i64> = log.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(
        seqs,
        (1..=i64::try_from(done).unwrap()).collect::<Vec<i64>>()
    );
    let whole = bench.task_of("t").await;
    assert_eq!(whole.row.state, COMPLETED);
    assert_eq!(whole.row.status, log.last().unwrap().1.as_bytes());
    bench.close().await;
}
