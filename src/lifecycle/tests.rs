use std::future::pending;

use super::*;
use crate::clock::TestClock;
use crate::protocol::Timestamp;

type Order = Arc<Mutex<Vec<&'static str>>>;

struct Bench {
    test: Arc<TestClock>,
    life: Lifecycle,
    send: mpsc::UnboundedSender<Signal>,
    signals: Signals,
    order: Order,
}

const GRACE: Duration = Duration::from_secs(30);

fn bench() -> Bench {
    let test = TestClock::at(Timestamp::from_millis(0));
    let (send, signals) = Signals::scripted();
    let life = Lifecycle::new(Clock::over(test.clone()));
    Bench {
        test,
        life,
        send,
        signals,
        order: Order::default(),
    }
}

impl Bench {
    /// A stage with one task that notes its end when it is stopped.
    fn stage(&mut self, name: &'static str) -> Stage {
        let stage = self.life.stage(name);
        let (stop, order) = (stage.stop(), self.order.clone());
        stage.spawn(name, async move {
            stop.cancelled().await;
            order.lock().unwrap().push(name);
            Ok::<_, String>(())
        });
        stage
    }

    async fn run(self) -> Result<(), LifecycleFault> {
        self.life
            .run(self.signals, ServiceManager::none(), GRACE)
            .await
    }
}

async fn fails() -> Result<(), String> {
    Err("disk on fire".to_owned())
}

async fn panics() -> Result<(), String> {
    panic!("impossible: {}", 7)
}

#[tokio::test]
async fn stages_end_in_reverse_order_when_a_signal_comes() {
    let mut bench = bench();
    for name in ["store", "queue", "endpoints"] {
        bench.stage(name);
    }
    let (order, draining) = (bench.order.clone(), bench.life.draining());
    bench.send.send(Signal::Stop).unwrap();
    bench.run().await.unwrap();
    assert_eq!(*order.lock().unwrap(), ["endpoints", "queue", "store"]);
    assert!(draining.is_cancelled());
}

#[tokio::test]
async fn a_task_that_fails_takes_the_process_down_and_is_named() {
    let mut bench = bench();
    let (order, stage) = (bench.order.clone(), bench.stage("store"));
    stage.spawn("committer", fails());
    let fault = bench.run().await.unwrap_err();
    assert_eq!(fault.to_string(), "committer failed: disk on fire");
    assert_eq!(*order.lock().unwrap(), ["store"], "the others end in order");
}

#[tokio::test]
async fn a_task_that_panics_takes_the_process_down_and_is_named() {
    let mut bench = bench();
    bench.stage("store").spawn("sweeper", panics());
    let fault = bench.run().await.unwrap_err();
    assert_eq!(fault.to_string(), "sweeper failed: panic: impossible: 7");
}

#[tokio::test]
async fn a_task_may_end_well_before_the_stop() {
    let mut bench = bench();
    let stage = bench.stage("store");
    let (done, ended) = tokio::sync::oneshot::channel();
    stage.spawn("migration", async move {
        let _ = done.send(());
        Ok::<_, String>(())
    });
    let send = bench.send.clone();
    let running = bench.run();
    let script = async {
        ended.await.unwrap();
        send.send(Signal::Stop).unwrap();
    };
    let (outcome, ()) = tokio::join!(running, script);
    outcome.unwrap();
}

#[tokio::test]
async fn a_stage_that_outlasts_the_grace_is_cut_and_those_below_still_end() {
    let mut bench = bench();
    bench.stage("store");
    let stuck = bench.life.stage("endpoints");
    stuck.spawn("listener", pending::<Result<(), String>>());
    let (order, test) = (bench.order.clone(), bench.test.clone());
    bench.send.send(Signal::Stop).unwrap();
    let running = bench.run();
    let script = async {
        stuck.stop().cancelled().await;
        test.advance(GRACE);
    };
    let (outcome, ()) = tokio::join!(running, script);
    assert_eq!(
        outcome,
        Err(LifecycleFault::Aborted {
            stages: vec!["endpoints"]
        })
    );
    assert_eq!(*order.lock().unwrap(), ["store"]);
}

#[tokio::test]
async fn a_second_signal_aborts_at_once() {
    let mut bench = bench();
    let stuck = bench.life.stage("endpoints");
    stuck.spawn("listener", pending::<Result<(), String>>());
    bench.send.send(Signal::Stop).unwrap();
    bench.send.send(Signal::Stop).unwrap();
    let outcome = bench.run().await;
    assert_eq!(
        outcome,
        Err(LifecycleFault::Aborted {
            stages: vec!["endpoints"]
        })
    );
}

#[tokio::test]
async fn a_reload_is_counted_and_told_and_the_watchdog_is_fed() {
    let mut bench = bench();
    bench.stage("store");
    let mut reloads = bench.life.reloads();
    let (kept, manager) = ServiceManager::kept(Some(Duration::from_secs(10)));
    let (send, test) = (bench.send.clone(), bench.test.clone());
    let running = bench.life.run(bench.signals, manager, GRACE);
    let script = async {
        send.send(Signal::Reload).unwrap();
        reloads.changed().await.unwrap();
        assert_eq!(*reloads.borrow(), 1);
        while !kept.lock().unwrap().contains(&"WATCHDOG=1".to_owned()) {
            test.advance(Duration::from_secs(5));
            tokio::task::yield_now().await;
        }
        send.send(Signal::Stop).unwrap();
    };
    let (outcome, ()) = tokio::join!(running, script);
    outcome.unwrap();
    let told = kept.lock().unwrap().clone();
    assert_eq!(told[0], "RELOADING=1");
    assert!(told[1].starts_with("MONOTONIC_USEC="), "{told:?}");
    assert_eq!(told[2], "READY=1");
    assert_eq!(told.last().unwrap(), "STOPPING=1");
}

#[tokio::test]
async fn the_systems_signals_are_understood() {
    let mut signals = Signals::system().unwrap();
    for (name, meaning) in [
        ("HUP", Signal::Reload),
        ("TERM", Signal::Stop),
        ("INT", Signal::Stop),
    ] {
        let command = format!("kill -{name} {}", std::process::id());
        assert!(
            std::process::Command::new("sh")
                .args(["-c", &command])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(signals.next().await, meaning, "{name}");
    }
}

#[tokio::test]
async fn a_token_asks_once_for_the_end() {
    let bench = bench();
    let mut outer = Lifecycle::new(Clock::over(bench.test.clone()));
    let stage = outer.stage("gateways");
    let order = bench.order.clone();
    let mut inner = bench;
    inner.stage("listeners");
    let signals = Signals::when(stage.stop());
    let run = inner.life.run(signals, ServiceManager::none(), GRACE);
    stage.spawn("inner", run);
    let (send, signals) = Signals::scripted();
    send.send(Signal::Stop).unwrap();
    let ended = outer.run(signals, ServiceManager::none(), GRACE).await;
    assert_eq!(ended, Ok(()), "a second request would have aborted it");
    assert_eq!(*order.lock().unwrap(), ["listeners"]);
}
