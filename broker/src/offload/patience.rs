//! How long a store is waited for, and how often it is asked again.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use object_store::Error as StoreError;
use tokio::time::{Instant, sleep, timeout};

use super::error::{Answer, ObjectError, reason};
use super::format::FormatError;

/// Bounds of one request and its repetitions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For one try.
    pub(crate) one: Duration,
    /// For all tries and the pauses between them. No try begins after it.
    pub(crate) all: Duration,
    /// How many tries.
    pub(crate) tries: u32,
}

/// Asking for a few bytes, or about an object.
pub(crate) const SMALL: Patience = Patience { one: Duration::from_secs(30), all: Duration::from_secs(90), tries: 5 };
/// Sending a part of 64 MiB.
pub(crate) const PART: Patience = Patience { one: Duration::from_secs(120), all: Duration::from_secs(600), tries: 8 };
/// Bytes of a range that are under way may stop coming for so long.
pub(crate) const STALL: Duration = Duration::from_secs(10);
/// A range takes so long at most; what has come by then is kept and the rest is asked for again.
pub(crate) const RANGE: Duration = Duration::from_secs(30);
/// Tries of a range that bring no new block.
pub(crate) const RANGE_TRIES: u32 = 4;

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The pause after the `tries`th failed try: doubling, and a random half of it, so that many that failed together do not come
/// back together.
pub(crate) fn pause(tries: u32, random: u64) -> Duration {
    let doubled = PAUSE_FIRST.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(PAUSE_MAX);
    let half = doubled / 2;
    half + half.mul_f64((random % 1024) as f64 / 1024.0)
}

/// Random numbers for pauses, from a seed that is passed in.
#[derive(Debug)]
pub(crate) struct Jitter(AtomicU64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// SplitMix64: any seed will do.
    pub(crate) fn next(&self) -> u64 {
        let mut mixed = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// How a request ended that was repeated as long as that could help.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The store says that there is none.
    Missing,
    /// The store says that there is one already. `repeated`: it may be of an earlier try of the same request.
    Exists {
        /// Whether there was an earlier try whose outcome is not known.
        repeated: bool,
    },
    /// See [`Answer::Refused`].
    Refused(String),
    /// See [`Answer::Unclear`].
    Unclear(String),
}

impl Failed {
    /// For callers to whom an object that exists already is no answer.
    pub(crate) fn of(self, object: String) -> ObjectError {
        match self {
            Self::Missing => ObjectError::NotFound { object },
            Self::Exists { .. } => {
                ObjectError::Corrupt { object, reason: FormatError::Inconsistent("another object has this name") }
            }
            Self::Refused(reason) => ObjectError::Refused { object, reason },
            Self::Unclear(reason) => ObjectError::Unavailable { object, reason },
        }
    }
}

/// Makes a request until it succeeds, another try cannot help, or patience ends. A 404 is asked again too: stores that answer
/// from several places may not all know a new object yet.
pub(crate) async fn persist<T, F: Future<Output = Result<T, StoreError>>>(
    patience: Patience,
    jitter: &Jitter,
    mut request: impl FnMut() -> F,
) -> Result<T, Failed> {
    let begun = Instant::now();
    let mut unclear = false;
    let mut tries = 0;
    loop {
        tries += 1;
        let (answer, text) = match timeout(patience.one, request()).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => (Answer::of(&error), reason(&error)),
            Err(_) => (Answer::Unclear, format!("no answer within {} s", patience.one.as_secs())),
        };
        let failed = match answer {
            Answer::Exists => return Err(Failed::Exists { repeated: unclear }),
            Answer::Refused => return Err(Failed::Refused(text)),
            Answer::Missing => Failed::Missing,
            Answer::Unclear => Failed::Unclear(text),
        };
        unclear |= matches!(failed, Failed::Unclear(_));
        let pause = pause(tries, jitter.next());
        if patience.tries <= tries || patience.all <= begun.elapsed() + pause {
            return Err(failed);
        }
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic() -> StoreError {
        StoreError::Generic { store: "test", source: "503".into() }
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_differ() {
        for tries in 1..40 {
            let (low, high) = (pause(tries, 0), pause(tries, 1023));
            assert!(low < high && high <= PAUSE_MAX, "{tries}: {low:?} {high:?}");
            assert!(tries == 1 || pause(tries - 1, 0) <= low);
        }
        assert_eq!(pause(1, 0), PAUSE_FIRST / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_and_ends_in_time() {
        let jitter = Jitter::new(1);
        let mut tries = 0;
        let done = persist(SMALL, &jitter, || {
            tries += 1;
            std::future::ready(if tries < 3 { Err(generic()) } else { Ok(tries) })
        });
        assert_eq!(done.await.unwrap(), 3);

        let begun = Instant::now();
        let hung = persist(SMALL, &jitter, std::future::pending::<Result<(), StoreError>>).await;
        assert!(matches!(hung, Err(Failed::Unclear(reason)) if reason.contains("30 s")));
        assert!(begun.elapsed() <= SMALL.all + SMALL.one);
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_not_pass_is_asked_once() {
        let mut tries = 0;
        let jitter = Jitter::new(1);
        let refused = persist(SMALL, &jitter, || {
            tries += 1;
            std::future::ready(Err::<(), _>(StoreError::PermissionDenied { path: "a".into(), source: "403".into() }))
        });
        assert!(matches!(refused.await, Err(Failed::Refused(_))));
        assert_eq!(tries, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_exists_after_an_unclear_try_may_be_our_own() {
        for before in [0, 1] {
            let (mut tries, jitter) = (0, Jitter::new(1));
            let failed = persist(SMALL, &jitter, || {
                tries += 1;
                let exists = StoreError::AlreadyExists { path: "a".into(), source: "409".into() };
                std::future::ready(Err::<(), _>(if tries <= before { generic() } else { exists }))
            });
            assert!(matches!(failed.await, Err(Failed::Exists { repeated }) if repeated == (before == 1)));
        }
    }
}
