use std::fs;

use super::*;
use crate::clock::TestClock;
use crate::policy::{Direction, SenderStanding, Standing};
use crate::protocol::{Address, ErrorCode};
use crate::telemetry::Metrics;

const ALLOW: &str = "version: \"1.0\"\ndefault_policy: allow\n";
const DENY: &str = "version: \"1.0\"\ndefault_policy: deny\n";
const LIMIT: &str =
    "version: \"1.0\"\ndefault_policy: deny\nrules: [{rate_limit: 1/hour, action: allow}]\n";

struct World {
    folder: tempfile::TempDir,
    policies: Policies,
    metrics: Metrics,
    clock: Arc<TestClock>,
}

impl World {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("p.yaml"), text).unwrap();
        let clock = TestClock::at(Timestamp::from_millis(0));
        let metrics = Metrics::new();
        let policies = Policies::load(
            Some(folder.path()),
            vec![Domain::parse("example.com").unwrap()],
            Clock::over(clock.clone()),
            metrics.policies().clone(),
        );
        Self {
            folder,
            policies: policies.unwrap(),
            metrics,
            clock,
        }
    }

    fn write(&self, text: &str) {
        // As editors do: a new file in the place of the old one.
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.folder.path().join("p.yaml")).unwrap();
    }

    fn send(&self) -> Verdict {
        self.send_as(Standing::default())
    }

    fn send_as(&self, standing: Standing) -> Verdict {
        self.policies.judge(&Question {
            directions: Direction::Inbound.into(),
            sender: &Address::parse("a@b.com").unwrap(),
            recipient: &Address::parse("c@example.com").unwrap(),
            schema: None,
            size: 1,
            standing,
        })
    }

    fn passes(&self) -> bool {
        self.send().refusal.is_none()
    }

    fn counted(&self, line: &str) -> bool {
        self.metrics.encode().lines().any(|shown| shown == line)
    }

    /// Lets the task run until `done`, moving the clock as time does.
    async fn until(&self, done: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if done(self) {
                return;
            }
            self.clock.advance(Duration::from_millis(100));
            // A change is told by the system, which takes its own time.
            let pause = tokio::task::spawn_blocking(|| {
                std::thread::park_timeout(Duration::from_millis(5));
            });
            pause.await.unwrap();
        }
        panic!("it never came: {:?}", self.policies);
    }
}

#[test]
fn without_a_folder_everything_passes() {
    let clock = Clock::over(TestClock::at(Timestamp::from_millis(0)));
    let policies = Policies::load(None, Vec::new(), clock, PolicyMetrics::default()).unwrap();
    assert!(policies.current().is_empty());
    assert_eq!(policies.reload(), Ok(ReloadOutcome::Unchanged));
}

#[test]
fn a_broken_folder_is_not_started_with() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.yaml"), "rules: 1").unwrap();
    let clock = Clock::over(TestClock::at(Timestamp::from_millis(0)));
    let faults = Policies::load(
        Some(folder.path()),
        Vec::new(),
        clock,
        PolicyMetrics::default(),
    );
    assert_eq!(faults.unwrap_err().faults().len(), 3);
}

#[test]
fn a_reload_takes_what_is_good_and_keeps_what_was_before() {
    let world = World::new(ALLOW);
    assert!(world.passes());
    assert_eq!(world.policies.reload(), Ok(ReloadOutcome::Unchanged));
    world.write(DENY);
    assert!(world.passes(), "nothing changes by itself");
    assert_eq!(world.policies.reload(), Ok(ReloadOutcome::Replaced));
    assert!(!world.passes());

    world.clock.advance(Duration::from_secs(1));
    world.write("version: \"1.0\"\ndefault_policy: alow\n");
    assert!(world.policies.reload().is_err());
    assert!(!world.passes(), "the rules of before stay");
    let broken = world.policies.state().broken.unwrap();
    assert!(
        broken.faults[0].contains("p.yaml:2:17: default_policy"),
        "{broken:?}"
    );
    assert_eq!(broken.since.as_millis(), 1_000);
    assert!(world.counted("amtp_policies_broken 1"));
    assert!(world.counted("amtp_policies_reloads_total{outcome=\"broken\"} 1"));

    world.write(DENY);
    assert_eq!(world.policies.reload(), Ok(ReloadOutcome::Unchanged));
    assert_eq!(world.policies.state().broken, None);
    assert!(world.counted("amtp_policies_broken 0"));
    assert!(world.counted("amtp_policies_reloads_total{outcome=\"replaced\"} 1"));
    assert!(world.counted("amtp_policy_verdicts_total{verdict=\"deny\"} 2"));
}

#[test]
fn a_folder_that_is_gone_is_a_fault_and_not_a_policy_without_rules() {
    let world = World::new(DENY);
    fs::remove_dir_all(world.folder.path()).unwrap();
    assert!(world.policies.reload().is_err());
    assert!(!world.passes());
}

#[test]
fn limits_outlive_a_reload() {
    let world = World::new(LIMIT);
    assert!(world.passes());
    world.write(&LIMIT.replace(
        "rules: [",
        "rules: [{sender_pattern: x@b.com, action: deny}, ",
    ));
    assert_eq!(world.policies.reload(), Ok(ReloadOutcome::Replaced));
    let verdict = world.send();
    assert_eq!(verdict.refusal, Some(ErrorCode::RateLimitExceeded));
    assert_eq!(verdict.retry_after, Some(Duration::from_secs(3_600)));
    assert!(world.counted("amtp_policy_verdicts_total{verdict=\"limited\"} 1"));
}

#[test]
fn who_claims_a_name_uses_up_nothing_of_who_has_it() {
    let world = World::new(LIMIT);
    let trusted = Standing {
        sender: SenderStanding::SourceAddress,
        ..Standing::default()
    };
    assert!(world.passes());
    assert!(!world.passes());
    assert_eq!(world.send_as(trusted).refusal, None);
    let over = world.send_as(trusted).refusal;
    assert_eq!(over, Some(ErrorCode::RateLimitExceeded));
}

#[tokio::test]
async fn changes_and_signals_are_seen_while_running() {
    let world = World::new(ALLOW);
    let (signal, reloads) = watch::channel(0);
    let stop = CancellationToken::new();
    let tasks = tokio_util::task::TaskTracker::new();
    let task = tasks.spawn(world.policies.clone().run(reloads, stop.clone()));
    world.write(DENY);
    world.until(|world| !world.passes()).await;
    world.write("nonsense");
    world
        .until(|world| world.policies.state().broken.is_some())
        .await;
    assert!(!world.passes());
    world.write(ALLOW);
    world.until(World::passes).await;
    assert_eq!(world.policies.state().broken, None);
    signal.send_modify(|times| *times += 1);
    let unchanged = "amtp_policies_reloads_total{outcome=\"unchanged\"} 1";
    world.until(|world| world.counted(unchanged)).await;
    stop.cancel();
    task.await.unwrap();
}

#[test]
fn looking_is_no_change() {
    use notify::event::ModifyKind;
    for (kind, reading) in [
        (EventKind::Access(AccessKind::Open(AccessMode::Read)), true),
        (EventKind::Access(AccessKind::Close(AccessMode::Read)), true),
        (
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            false,
        ),
        (EventKind::Modify(ModifyKind::Any), false),
        (EventKind::Any, false),
    ] {
        assert_eq!(is_reading(kind), reading, "{kind:?}");
    }
}
