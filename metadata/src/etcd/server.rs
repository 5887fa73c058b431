//! Which servers may be trusted.
use tokio::time::{Instant, timeout_at};

use super::failure::failure;
use super::{ATTEMPT, client};
use crate::store::Error;

/// Looks at every endpoint that answers. One that is away is looked at by the next process to start.
pub(super) async fn check_versions(endpoints: &[String]) -> Result<(), Error> {
    let deadline = Instant::now() + ATTEMPT;
    let looks = endpoints.iter().map(|endpoint| async move {
        let client = client(std::slice::from_ref(endpoint)).await?;
        let status = timeout_at(deadline, client.maintenance_client().status()).await;
        match status {
            Ok(Ok(status)) => check_version(status.version(), endpoint),
            Ok(Err(error)) => Err(failure(error).into_error()),
            Err(_) => Err(Error::Unavailable { reason: format!("etcd at {endpoint} does not answer") }),
        }
    });
    let mut answered = false;
    let mut away = Error::Unavailable { reason: "no etcd server is configured".into() };
    for look in futures::future::join_all(looks).await {
        match look {
            Ok(()) => answered = true,
            Err(error @ Error::Unavailable { .. }) => away = error,
            Err(error) => return Err(error),
        }
    }
    if answered { Ok(()) } else { Err(away) }
}

/// 3.5.0 to 3.5.2 may lose committed writes on one member after a crash (etcd issue 13766); before 3.4 much else differs.
fn check_version(version: &str, endpoint: &str) -> Result<(), Error> {
    let refused = |why: &str| Error::Refused {
        reason: format!("etcd at {endpoint} has version {version}, {why}; run 3.4.x, or 3.5.3 or later"),
    };
    let mut numbers = version.split(['.', '-', '+']).map(|number| number.parse::<u32>().ok());
    let (Some(Some(major)), Some(Some(minor)), Some(Some(patch))) = (numbers.next(), numbers.next(), numbers.next())
    else {
        return Err(refused("which does not read as a version"));
    };
    match (major, minor, patch) {
        (3, 5, 0..=2) => Err(refused("which may lose data after a crash")),
        earlier if earlier < (3, 4, 0) => Err(refused("which is too old")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_may_lose_data_are_refused() {
        for good in ["3.4.0", "3.4.23", "3.5.3", "3.5.21", "3.6.0", "3.7.0-alpha.0", "4.0.0"] {
            assert_eq!(check_version(good, "etcd:2379"), Ok(()), "{good}");
        }
        for bad in ["3.5.0", "3.5.1", "3.5.2", "3.5.2-rc.1", "3.3.27", "2.3.8", "", "new"] {
            let error = check_version(bad, "etcd:2379").unwrap_err();
            assert!(matches!(&error, Error::Refused { reason } if reason.contains("run 3.4.x")), "{bad}: {error}");
        }
    }
}
