//! The connection to a broker, and what its errors mean to a person.
use std::time::Duration;

use daemon::Failure;
use pulsar::error::{ConnectionError, ConsumerError, ProducerError, ServiceDiscoveryError};
use pulsar::proto::ServerError;
use pulsar::{ConnectionRetryOptions, Error, OperationRetryOptions, Pulsar, TokioExecutor};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::address::BrokerUrl;

/// What a broker takes unless its owner chose otherwise. The library does not tell what it was told.
pub(crate) const MESSAGE_BYTES_MAX: usize = 5 << 20;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// The longest that a broker may be away in the middle of the work: longer than another one needs to take over.
const AWAY_TIME_MAX: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Connects, or says what is wrong. A server that is not there is noticed at once; one that leaves later is waited for.
pub(crate) async fn connect(url: &BrokerUrl) -> Result<Pulsar<TokioExecutor>, Failure> {
    let address = url.address();
    let away = |reason: String| {
        Failure::try_again(format!(
            "cannot reach {url}: {reason}; start a server with `geminga standalone`, or name another with --url"
        ))
    };
    match timeout(CONNECT_TIME_MAX, TcpStream::connect((address.host.as_str(), address.port))).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(away(plain(&error))),
        Err(_elapsed) => return Err(away(format!("no answer within {} s", CONNECT_TIME_MAX.as_secs()))),
    }
    let retries = AWAY_TIME_MAX.as_millis() / RETRY_PAUSE.as_millis();
    let connection = ConnectionRetryOptions {
        min_backoff: RETRY_PAUSE,
        max_backoff: RETRY_PAUSE,
        max_retries: u32::try_from(retries).unwrap_or(u32::MAX),
        connection_timeout: CONNECT_TIME_MAX,
        ..ConnectionRetryOptions::default()
    };
    let operation = OperationRetryOptions {
        operation_timeout: AWAY_TIME_MAX,
        retry_delay: RETRY_PAUSE,
        max_retries: Some(connection.max_retries),
    };
    Pulsar::builder(url.to_string(), TokioExecutor)
        .with_connection_retry_options(connection)
        .with_operation_retry_options(operation)
        .build()
        .await
        .map_err(|error| Failure::try_again(format!("{url} does not answer as a broker does: {error}")))
}

/// Without the operating system's number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// What could not be done, and whether it may be tried again.
pub(crate) fn failure(what: &str, error: &Error) -> Failure {
    match answer(error) {
        Some((kind, text)) => {
            let message = format!("{what}: {} ({})", text.unwrap_or("the broker gave no reason"), kind.as_str_name());
            match kind {
                ServerError::ServiceNotReady | ServerError::MetadataError | ServerError::TooManyRequests => {
                    Failure::try_again(message)
                }
                ServerError::InvalidTopicName
                | ServerError::TopicNotFound
                | ServerError::SubscriptionNotFound
                | ServerError::ConsumerBusy
                | ServerError::IncompatibleSchema
                | ServerError::TopicTerminatedError
                | ServerError::AuthenticationError
                | ServerError::AuthorizationError => Failure::usage(message),
                _ => Failure::internal(message),
            }
        }
        None => Failure::try_again(format!("{what}: {error}")), // Only a broker's answer can be final.
    }
}

/// The broker's answer inside `error`, if there was one.
fn answer(error: &Error) -> Option<(ServerError, Option<&str>)> {
    let connection = match error {
        Error::Connection(error)
        | Error::Consumer(ConsumerError::Connection(error))
        | Error::Producer(ProducerError::Connection(error))
        | Error::ServiceDiscovery(ServiceDiscoveryError::Connection(error)) => error,
        Error::ServiceDiscovery(ServiceDiscoveryError::Query(Some(kind), text)) => {
            return Some((*kind, text.as_deref()));
        }
        Error::Producer(ProducerError::Batch(error)) => return answer(error),
        _ => return None,
    };
    match connection {
        ConnectionError::PulsarError(Some(kind), text) => Some((*kind, text.as_deref())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use daemon::Exit;

    use super::*;

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_with_what_to_do() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url: BrokerUrl = format!("pulsar://{}", listener.local_addr().expect("bound")).parse().expect("a URL");
        drop(listener);
        let failure = connect(&url).await.map(drop).expect_err("nothing listens");
        assert_eq!(failure.exit, Exit::TryAgain);
        let expected = format!("cannot reach {url}: connection refused; start a server with `geminga standalone`");
        assert!(failure.message.starts_with(&expected), "{failure}");
        assert_eq!(failure.message.lines().count(), 1);
    }

    #[test]
    fn an_answer_is_found_wherever_the_library_put_it() {
        let refused = || ConnectionError::PulsarError(Some(ServerError::TopicNotFound), Some("no such topic".into()));
        for error in [
            Error::Connection(refused()),
            Error::Producer(ProducerError::Batch(Arc::new(Error::Producer(ProducerError::Connection(refused()))))),
            Error::ServiceDiscovery(ServiceDiscoveryError::Query(
                Some(ServerError::TopicNotFound),
                Some("no such topic".into()),
            )),
        ] {
            let failure = failure("subscribing to t", &error);
            assert_eq!(failure, Failure::usage("subscribing to t: no such topic (TopicNotFound)"));
        }
    }

    #[test]
    fn without_an_answer_trying_again_may_help() {
        let error = Error::Connection(ConnectionError::Disconnected);
        assert_eq!(failure("publishing", &error).exit, Exit::TryAgain);
    }
}
