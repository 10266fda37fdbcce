//! Several futures at the same time, within one task.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// A future of a list of them.
pub(super) type Each<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What all futures come to, in their order. Whenever one is woken all that are left are asked, so
/// the list should be short.
pub(super) async fn all<T>(mut futures: Vec<Each<'_, T>>) -> Vec<T> {
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut waiting = false;
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(value) => *done = Some(value),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_make_progress_and_keep_their_order() {
        let barrier = tokio::sync::Barrier::new(3);
        let barrier = &barrier;
        let wait = |n: usize| -> Each<'_, usize> {
            Box::pin(async move {
                barrier.wait().await;
                n
            })
        };
        assert_eq!(all(vec![wait(0), wait(1), wait(2)]).await, [0, 1, 2]);
        assert_eq!(all(Vec::<Each<'_, ()>>::new()).await.len(), 0);
    }
}
