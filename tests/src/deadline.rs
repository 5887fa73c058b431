//! Waiting for a condition, never for a time.
use std::time::Duration;

use daemon::Failure;
use tokio::time::{Instant, MissedTickBehavior};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Asks `attempt` again and again until it gives a value, for at most `within`. `what` names the condition in the failure.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    attempt: impl AsyncFnMut() -> Option<T>,
) -> Result<T, Failure> {
    eventually_every(LOOK_EVERY, what, within, attempt).await
}

/// As [`eventually`], for a condition that costs much to look at.
pub async fn eventually_every<T>(
    every: Duration,
    what: &str,
    within: Duration,
    mut attempt: impl AsyncFnMut() -> Option<T>,
) -> Result<T, Failure> {
    let end = Instant::now() + within;
    let mut looks = tokio::time::interval(every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        match tokio::time::timeout_at(end, attempt()).await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) if Instant::now() < end => {}
            _ => return Err(Failure::try_again(format!("not within {within:?}: {what}"))),
        }
    }
}

/// Lets load run for this long: the one place where time itself is wanted.
pub async fn under_load_for(duration: Duration) {
    let mut end = tokio::time::interval_at(Instant::now() + duration, Duration::from_secs(1));
    end.tick().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_condition_that_comes_true_ends_the_wait() {
        let mut looks = 0;
        let seen = eventually("three looks", Duration::from_secs(1), async || {
            looks += 1;
            (looks == 3).then_some(looks)
        })
        .await;
        assert_eq!(seen, Ok(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_condition_that_never_comes_true_is_named() {
        let failure = eventually("pigs fly", Duration::from_secs(1), async || None::<()>).await.expect_err("never");
        assert!(failure.message.contains("pigs fly"), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_is_given_up() {
        let hangs =
            eventually("it answers", Duration::from_secs(1), async || std::future::pending::<Option<()>>().await);
        assert!(hangs.await.is_err());
    }
}
