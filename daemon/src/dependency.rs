//! Waiting for what this process needs and does not start itself.
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::{Drain, Exit, Failure};

/// How long a dependency may be away when a process starts.
pub const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Repeats `attempt` while it says try again, for at most `patience`; then that is the failure, with the last reason.
/// Any other failure is final at once. `None` when `drain` was asked for. `what` names the dependency and where it is looked for.
pub async fn retry_until<T>(
    what: &str,
    patience: Duration,
    drain: &Drain,
    mut attempt: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let deadline = Instant::now() + patience;
    let mut pause = PAUSE_FIRST;
    let mut reason = "no answer".to_owned();
    loop {
        let outcome = tokio::select! {
            () = drain.requested() => return Ok(None),
            outcome = timeout_at(deadline, attempt()) => outcome,
        };
        match outcome {
            Ok(Ok(value)) => return Ok(Some(value)),
            Ok(Err(failure)) if failure.exit != Exit::TryAgain => return Err(failure),
            Ok(Err(failure)) => reason = failure.message,
            Err(_elapsed) => {}
        }
        if deadline <= Instant::now() + pause {
            let seconds = patience.as_secs();
            return Err(Failure::try_again(format!(
                "{what} was away for {seconds} s: {reason}; start it, then try again"
            )));
        }
        tracing::info!(what, %reason, "waiting for a dependency");
        tokio::select! {
            () = drain.requested() => return Ok(None),
            () = sleep(pause) => {}
        }
        pause = (2 * pause).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_dependency_that_comes_late_is_waited_for() {
        let (drain, mut left) = (Drain::new(), 5);
        let found = retry_until("etcd at a:1", PATIENCE, &drain, async || {
            left -= 1;
            if left == 0 { Ok("here") } else { Err(Failure::try_again("refused")) }
        });
        assert_eq!(found.await, Ok(Some("here")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dependency_that_stays_away_says_try_again_after_its_time() {
        let start = Instant::now();
        let failure =
            retry_until::<()>("etcd at a:1", PATIENCE, &Drain::new(), async || Err(Failure::try_again("refused")))
                .await
                .expect_err("away");
        assert_eq!(failure.exit, Exit::TryAgain);
        assert_eq!(failure.message, "etcd at a:1 was away for 30 s: refused; start it, then try again");
        assert!(Duration::from_secs(28) < start.elapsed() && start.elapsed() <= PATIENCE);
        let drain = Drain::new();
        let hangs = retry_until::<()>("etcd", PATIENCE, &drain, async || std::future::pending().await);
        assert_eq!(hangs.await.expect_err("no answer").exit, Exit::TryAgain);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waiting_cannot_mend_fails_at_once() {
        let start = Instant::now();
        let wrong = Failure::usage("no such scheme");
        let failure = retry_until::<()>("etcd", PATIENCE, &Drain::new(), async || Err(wrong.clone())).await;
        assert_eq!((failure, start.elapsed()), (Err(wrong.clone()), Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_the_waiting() {
        let drain = Drain::new();
        drain.request();
        let outcome = retry_until::<()>("etcd", PATIENCE, &drain, async || Err(Failure::try_again("refused"))).await;
        assert_eq!(outcome, Ok(None));
    }
}
