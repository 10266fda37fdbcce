//! Where the servers of tests run: one runtime beside those of the tests.
//!
//! A test may therefore block its own thread, say on a command that asks one of these servers, and
//! a server can be used by tests without any runtime. What runs here ends with its [`Task`].

use std::future::Future;
use std::net::TcpListener as StdListener;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("test-servers")
        .enable_all()
        .build()
        .unwrap()
});

/// Work in the background, which ends when this is dropped.
#[derive(Debug)]
pub struct Task(JoinHandle<()>);

/// Starts work in the background.
pub fn run(work: impl Future<Output = ()> + Send + 'static) -> Task {
    Task(RUNTIME.spawn(work))
}

/// Starts work that ends by itself.
pub fn detach(work: impl Future<Output = ()> + Send + 'static) {
    drop(RUNTIME.spawn(work));
}

/// Hands a listener that is bound already to the background.
pub fn adopt(listener: StdListener) -> TcpListener {
    listener.set_nonblocking(true).unwrap();
    let _inside = RUNTIME.enter();
    TcpListener::from_std(listener).unwrap()
}

/// Makes something that belongs to the background's runtime.
pub fn within<T>(make: impl FnOnce() -> T) -> T {
    let _inside = RUNTIME.enter();
    make()
}

/// A lock that a panic of another thread does not spoil.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Task {
    /// Returns when the work has let go of its port.
    fn drop(&mut self) {
        self.0.abort();
        for _ in 0..5_000 {
            if self.0.is_finished() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
