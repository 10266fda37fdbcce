//! A gateway without its listeners, on a clock that is moved by hand.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::ledger::Ledger;
use super::outside::Outside;
use super::{DAY, HOUR, RULES};
use crate::clock::{Clock, TestClock};
use crate::events::{Events, Topic};
use crate::intake::{Express, Intake, LocalNames, Rules};
use crate::protocol::{Domain, Limits, Timestamp};
use crate::queue::{
    self, Keeper, Membership, QueueLimits, QueueParts, QueueRules, Schedule, Share, Sweeper,
    Transports,
};
use crate::store::tests::Home;
use crate::store::tests::size::Sizes;
use crate::store::{self, Messenger, QueueFilter, Space, Store, StoreOptions};
use crate::telemetry::{Board, Metrics, Standings};
use crate::topics::Topics;

/// Midnight, so that days of idempotency keys begin with ours.
const START: i64 = 20_833 * 86_400_000;
/// Deliveries are given up after this time.
const GIVE_UP: Duration = Duration::from_secs(86_400);
/// Keys a day are some 310: a log is sealed three times a day.
const KEYS: usize = 100;
/// Time goes by in jumps of this.
const JUMP: Duration = Duration::from_secs(60);
/// So often something is looked for that must come; each look asks the database.
const LOOKS: usize = 200_000;
/// Up to so many time is moved on a little now and then, less than half an hour in all.
const MOVING: usize = 40_000;

/// A gateway and those it deals with.
pub(super) struct World {
    pub(super) home: Home,
    pub(super) store: Store,
    pub(super) intake: Intake,
    pub(super) clock: Clock,
    pub(super) outside: Outside,
    pub(super) ledger: Ledger,
    /// Whole hours gone by.
    pub(super) hours: u64,
    pub(super) agents: super::load::Agents,
    hand: Arc<TestClock>,
    /// The keeper's own clock goes by seconds: a lease of ten would lapse between two moves.
    keepers_hand: Arc<TestClock>,
    pieces: Arc<AtomicUsize>,
    base: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What tasks are stopped by, and what waits for them.
struct Tasks<'a>(&'a TaskTracker, &'a CancellationToken);

impl World {
    pub(super) async fn at(home: Home) -> Self {
        let start = Timestamp::from_millis(START);
        let (hand, keepers_hand) = (TestClock::at(start), TestClock::at(start));
        let clock = Clock::over(hand.clone());
        let (base, stop, tasks) = <(CancellationToken, CancellationToken, TaskTracker)>::default();
        let metrics = Metrics::default();
        let options = StoreOptions {
            database: home.database(),
        };
        let (store, committer) =
            store::open(&options, Events::default(), metrics.clone(), clock.clone())
                .await
                .unwrap();
        store.seal_keys_after(KEYS);
        tasks.spawn(committer.run(base.clone()));
        let space = Space::watch(None, 0, metrics.clone()).unwrap();
        let rules = Rules {
            limits: Limits::default(),
            give_up: GIVE_UP,
        };
        let stored = (store.clone(), space);
        let intake = Intake::new(stored, names(), rules, clock.clone(), metrics.clone());
        let outside = Outside::new(store.clone(), clock.clone());
        let keepers = Clock::over(keepers_hand.clone());
        let share = share(&store, keepers, &Tasks(&tasks, &base)).await;
        let (_, offers) = Express::channel();
        let ways: Arc<Outside> = Arc::new(outside.clone());
        let parts = QueueParts {
            store: store.clone(),
            intake: intake.clone(),
            topics: Topics::new((store.clone(), intake.clone()), clock.clone()),
            transports: Transports {
                peer: ways.clone(),
                mail: None,
                list: ways.clone(),
                webhook: ways.clone(),
                group: ways,
                standings: Standings::default(),
            },
            clock: clock.clone(),
            metrics,
            offers,
            post: Board::new(clock.clone()).place("queue"),
            share,
        };
        let manager = queue::manager(parts, queue_rules());
        let pieces = manager.pieces();
        let run = manager.run(stop.clone());
        tasks.spawn(async move { run.await.unwrap() });
        let sweeper = Sweeper::new(store.clone(), RULES, clock.clone(), Uuid::new_v4());
        tasks.spawn(sweeper.run(stop.clone()));
        Self {
            agents: super::load::Agents::register(&store, clock.now()).await,
            home,
            store,
            intake,
            clock,
            outside,
            ledger: Ledger::default(),
            hours: 0,
            hand,
            keepers_hand,
            pieces,
            base,
            stop,
            tasks,
        }
    }

    /// An hour: mail comes and is read, then time goes by in two steps.
    pub(super) async fn hour(&mut self) {
        self.morning().await;
        self.send().await;
        self.quiet().await;
        self.read().await;
        for half in 1..=2 {
            let moment = HOUR / 2 * u32::try_from(2 * self.hours + half).unwrap();
            self.advance_to(moment).await;
            self.keepers_hand.advance(Duration::from_secs(1));
            self.quiet().await;
        }
        self.hours += 1;
        self.swept().await;
        if self.hours.is_multiple_of(DAY) {
            self.check().await;
        }
    }

    /// Moves time on in small jumps: a wait that begins while time makes one is too long by it.
    async fn advance_to(&self, moment: Duration) {
        loop {
            let left = moment.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                return;
            }
            self.hand.advance(left.min(JUMP));
            tokio::task::yield_now().await;
        }
    }

    /// Waits until everything that can be delivered at this moment is.
    async fn quiet(&self) {
        let mut waiting = Vec::new();
        for look in 0..LOOKS {
            if look % 50 == 49 && look < MOVING {
                // A wait may be too long by a jump; any commit ends it. And some things are looked at
                // again after a moment.
                self.hand.advance(Duration::from_secs(2));
                self.store.events().publish([Topic::Queue]);
            }
            let all = QueueFilter::default();
            waiting = self.store.list_deliveries(&all, 0, 1_000).await.unwrap();
            let now = self.clock.now();
            waiting.retain(|it| {
                let is_due = it.next_retry.is_none_or(|at| at <= now);
                it.give_up_at <= now || is_due && !self.outside.may_be_down(&it.destination)
            });
            if waiting.is_empty() {
                return;
            }
        }
        let now = self.clock.now();
        panic!("the queue is stuck at {now}: {waiting:?}");
    }

    /// Waits until what Bob acknowledged a day and more ago is forgotten.
    async fn swept(&self) {
        let Some(id) = self.ledger.read_in(self.hours.wrapping_sub(DAY + 2)) else {
            return;
        };
        for _ in 0..LOOKS {
            if self.tracked(&id).await.is_none() {
                return;
            }
        }
        panic!("nothing is forgotten in hour {}", self.hours);
    }

    /// What the parts have in memory.
    pub(super) fn held(&self) -> Sizes {
        let mut held = self.store.held();
        let pieces = self.pieces.load(Ordering::Relaxed);
        held.insert("pieces of the queue".to_owned(), pieces as u64);
        held
    }

    pub(super) async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.base.cancel();
        self.tasks.wait().await;
    }
}

fn names() -> Arc<LocalNames> {
    let domains: HashSet<Domain> = [Domain::parse("a.test").unwrap()].into();
    Arc::new(LocalNames {
        domains,
        ..LocalNames::default()
    })
}

fn queue_rules() -> QueueRules {
    QueueRules {
        schedule: Schedule {
            initial: Duration::from_secs(1),
            max: HOUR,
            attempts: 168,
            give_up: GIVE_UP,
        },
        limits: QueueLimits {
            window: 64,
            concurrency: 4,
            to_gateways: 4,
            to_mail: 2,
        },
        bounces: NonZeroU32::new(100).unwrap(),
        delay_notice: None,
        rates: Vec::new(),
        mail_rate: None,
        domain: Domain::parse("a.test").unwrap(),
    }
}

/// The whole queue; where the database is shared, as its only gateway.
async fn share(store: &Store, clock: Clock, Tasks(tasks, stop): &Tasks<'_>) -> Share {
    if !store.is_shared() {
        return Share::whole();
    }
    let me = Membership {
        node: Uuid::new_v4(),
        goes_early: false,
    };
    let board = Board::new(clock.clone());
    let (keeper, mut share) = Keeper::new(store.clone(), clock.clone(), me, board);
    tasks.spawn(keeper.run((*stop).clone()));
    tasks.spawn(Messenger::new(store.clone(), clock).run((*stop).clone()));
    share.admitted().await;
    share
}
