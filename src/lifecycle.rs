//! How the process lives: tasks in stages, signals, word to the service manager, an orderly end.
//!
//! - Stages are opened in layer order (store, queue, endpoints) and stopped in reverse. A stage is
//!   stopped by its token; the next one follows when all tasks of it have ended.
//! - The grace period is for all stages together. A stage that outlasts it is aborted: its tasks
//!   are dropped where they wait. Those below still get [`LAST_WORDS`] each.
//! - A task that fails or panics before it was asked to stop takes the process down; the fault
//!   names it. A task may end well at any time.
//! - SIGTERM and SIGINT begin the end, a second one aborts everything. SIGHUP asks for a reload.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;

mod notify;
mod signals;

#[cfg(test)]
mod tests;

pub use notify::ServiceManager;
pub use signals::{Signal, Signals};

/// What a stage has for its end when the grace period is used up.
pub const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the process ended other than by request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleFault {
    /// A task failed before it was asked to stop.
    #[error("{task} failed: {reason}")]
    Task {
        /// Its name.
        task: String,
        /// What it says.
        reason: String,
    },
    /// Tasks outlasted the grace period, or a second signal came.
    #[error("stopped before everything was finished; aborted: {}", stages.join(", "))]
    Aborted {
        /// The stages that were cut.
        stages: Vec<&'static str>,
    },
}

/// The life of one process.
#[derive(Debug)]
pub struct Lifecycle {
    clock: Clock,
    draining: CancellationToken,
    abort: CancellationToken,
    stages: Vec<Stage>,
    faults: mpsc::UnboundedSender<LifecycleFault>,
    failed: mpsc::UnboundedReceiver<LifecycleFault>,
    reloads: watch::Sender<u64>,
}

/// Tasks that are stopped together. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Stage {
    name: &'static str,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
    running: Arc<Mutex<Vec<&'static str>>>,
    faults: mpsc::UnboundedSender<LifecycleFault>,
}

impl Lifecycle {
    /// A life without tasks.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        // One fault a task at most.
        let (faults, failed) = mpsc::unbounded_channel();
        Self {
            clock,
            draining: CancellationToken::new(),
            abort: CancellationToken::new(),
            stages: Vec::new(),
            faults,
            failed,
            reloads: watch::Sender::new(0),
        }
    }

    /// Opens a stage above those opened before; it is stopped before they are.
    pub fn stage(&mut self, name: &'static str) -> Stage {
        let stage = Stage {
            name,
            stop: CancellationToken::new(),
            abort: self.abort.child_token(),
            tasks: TaskTracker::new(),
            running: Arc::default(),
            faults: self.faults.clone(),
        };
        self.stages.push(stage.clone());
        stage
    }

    /// Given as soon as the end begins, before the first stage is stopped.
    #[must_use]
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Given when everything still running is dropped.
    #[must_use]
    pub fn abort(&self) -> CancellationToken {
        self.abort.clone()
    }

    /// Counts the reloads asked for.
    #[must_use]
    pub fn reloads(&self) -> watch::Receiver<u64> {
        self.reloads.subscribe()
    }

    /// Lives until a signal or a fault, then stops all stages within `grace`.
    ///
    /// # Errors
    /// The first task that failed; else the stages that were cut.
    pub async fn run(
        mut self,
        mut signals: Signals,
        manager: ServiceManager,
        grace: Duration,
    ) -> Result<(), LifecycleFault> {
        let (feeder, clock) = (manager.clone(), self.clock.clone());
        let fed = async move {
            loop {
                feeder.watchdog(&clock).await;
            }
        };
        tokio::select! {
            outcome = self.live_and_end(&mut signals, &manager, grace) => outcome,
            () = fed => unreachable!("the watchdog is fed as long as the process lives"),
        }
    }

    async fn live_and_end(
        &mut self,
        signals: &mut Signals,
        manager: &ServiceManager,
        grace: Duration,
    ) -> Result<(), LifecycleFault> {
        let fault = self.live(signals, manager).await;
        manager.stopping();
        self.draining.cancel();
        let cut = self.end(signals, grace).await;
        match fault.or_else(|| self.failed.try_recv().ok()) {
            Some(fault) => Err(fault),
            None if cut.is_empty() => Ok(()),
            None => Err(LifecycleFault::Aborted { stages: cut }),
        }
    }

    /// Ends with the fault that ends the process, or with `None` when a signal does.
    async fn live(
        &mut self,
        signals: &mut Signals,
        manager: &ServiceManager,
    ) -> Option<LifecycleFault> {
        loop {
            tokio::select! {
                biased;
                Some(fault) = self.failed.recv() => {
                    tracing::error!(error = %fault, "stopping");
                    return Some(fault);
                }
                signal = signals.next() => match signal {
                    Signal::Stop => {
                        tracing::info!("stopping");
                        return None;
                    }
                    Signal::Reload => {
                        tracing::info!("reload asked for");
                        manager.reloading();
                        self.reloads.send_modify(|times| *times += 1);
                        manager.ready();
                    }
                },
            }
        }
    }

    /// Stops the stages from the last to the first; gives back those that had to be cut.
    async fn end(&self, signals: &mut Signals, grace: Duration) -> Vec<&'static str> {
        let deadline = self.clock.monotonic() + grace;
        let second = async {
            while signals.next().await != Signal::Stop {}
            tracing::warn!("second signal, aborting");
            self.abort.cancel();
            std::future::pending::<()>().await;
        };
        let stages = async {
            let mut cut = Vec::new();
            for stage in self.stages.iter().rev() {
                let left = deadline
                    .saturating_sub(self.clock.monotonic())
                    .max(LAST_WORDS);
                if !stage.end(&self.clock, left).await {
                    cut.push(stage.name);
                }
            }
            cut
        };
        tokio::select! {
            cut = stages => cut,
            () = second => Vec::new(),
        }
    }
}

impl Stage {
    /// Given when the tasks of this stage are to finish.
    #[must_use]
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs `task` in this stage under a name that logs and faults show.
    ///
    /// An error or a panic before the stage is stopped takes the process down.
    pub fn spawn<T, E>(&self, name: &'static str, task: T)
    where
        T: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let abort = self.abort.clone();
        let work = self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = abort.cancelled() => Ok(()),
                done = task => done.map_err(|fault| fault.to_string()),
            }
        });
        let stage = self.clone();
        stage.running().push(name);
        self.tasks.spawn(async move {
            let reason = match work.await {
                Ok(Ok(())) => None,
                Ok(Err(reason)) => Some(reason),
                Err(fault) => Some(panic_text(fault)),
            };
            stage.ended(name, reason);
        });
    }

    fn ended(&self, name: &'static str, reason: Option<String>) {
        let mut running = self.running();
        if let Some(place) = running.iter().position(|known| *known == name) {
            running.swap_remove(place);
        }
        drop(running);
        let Some(reason) = reason else { return };
        if self.stop.is_cancelled() {
            tracing::error!(
                task.name = name,
                error = reason,
                "a task failed while stopping"
            );
        } else {
            // The receiver is gone only when the process is past caring.
            let _ = self.faults.send(LifecycleFault::Task {
                task: name.to_owned(),
                reason,
            });
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Vec<&'static str>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the stage ended by itself within `grace`.
    async fn end(&self, clock: &Clock, grace: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        let by_itself = tokio::select! {
            biased;
            () = self.tasks.wait() => !self.abort.is_cancelled(),
            () = clock.wait(grace) => false,
        };
        if !by_itself {
            let tasks = self.running().join(", ");
            tracing::warn!(stage.name = self.name, tasks, "stage aborted");
            self.abort.cancel();
            self.tasks.wait().await;
        }
        by_itself
    }
}

fn panic_text(fault: tokio::task::JoinError) -> String {
    match fault.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            format!("panic: {}", text.unwrap_or_default())
        }
        Err(fault) => fault.to_string(),
    }
}
