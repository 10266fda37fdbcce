//! What is counted of tasks of A2A, and of where their changes are posted.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCause {
    cause: &'static str,
}

/// What came of a push notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushOutcome {
    /// Its receiver has it.
    Delivered,
    /// It is tried again.
    Deferred,
    /// The place is taken away.
    GivenUp,
}

impl PushOutcome {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Deferred => "deferred",
            Self::GivenUp => "given_up",
        }
    }
}

/// Why this gateway ended a task that its agent did not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEnd {
    /// Its client did not want it any more.
    Canceled,
    /// Its time was up.
    Deadline,
    /// What was asked did not reach the agent.
    Lost,
}

impl TaskEnd {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Canceled => "canceled",
            Self::Deadline => "deadline",
            Self::Lost => "lost",
        }
    }
}

/// The series of tasks. Cloning is cheap; all clones count together.
#[derive(Clone, Debug, Default)]
pub struct TaskMetrics {
    kept: Family<ByState, Gauge>,
    ended: Family<ByCause, Counter>,
    late: Counter,
    pushes: Family<ByOutcome, Counter>,
    waiting: Gauge,
}

impl TaskMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let m = Self::default();
        r.register(
            "amtp_a2a_tasks",
            "Tasks of A2A in the store, by their state",
            m.kept.clone(),
        );
        r.register(
            "amtp_a2a_tasks_ended",
            "Tasks of A2A that this gateway ended, by why",
            m.ended.clone(),
        );
        r.register(
            "amtp_a2a_late_answers",
            "Answers of agents to tasks of A2A that had ended",
            m.late.clone(),
        );
        r.register(
            "amtp_a2a_pushes",
            "Push notifications of A2A, by what came of them",
            m.pushes.clone(),
        );
        r.register(
            "amtp_a2a_push_receivers_waiting",
            "Receivers of push notifications that have not got everything yet",
            m.waiting.clone(),
        );
        m
    }

    /// So many tasks are in a state.
    pub fn kept(&self, state: &'static str, count: u64) {
        let gauge = self.kept.get_or_create_owned(&ByState { state });
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// This gateway ended a task.
    pub fn ended(&self, cause: TaskEnd) {
        let cause = cause.as_str();
        self.ended.get_or_create(&ByCause { cause }).inc();
    }

    /// An agent answered too late.
    pub fn late_answer(&self) {
        self.late.inc();
    }

    /// A push notification was posted, or was to be.
    pub fn pushed(&self, outcome: PushOutcome) {
        let outcome = outcome.as_str();
        self.pushes.get_or_create(&ByOutcome { outcome }).inc();
    }

    /// So many receivers have not got everything.
    pub fn receivers_waiting(&self, count: u64) {
        self.waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
