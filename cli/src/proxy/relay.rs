//! One connection from outside and its twin to a broker.
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use proto::frame::{self, FRAME_BYTES_BEFORE_CONNECT};
use proto::pulsar::{CommandError, ServerError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::brokers::{Brokers, Nowhere, connect};
use super::lookup::mark;

/// From the connection to the end of CONNECT, as brokers have it.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);
/// A broker that has not greeted by then hangs, and another is asked.
const GREETING_WITHIN: Duration = Duration::from_secs(3);
/// A request that is refused is read to its end for so long,
const REFUSED_WITHIN: Duration = Duration::from_secs(5);
/// and so far.
const REFUSED_BYTES_MAX: u64 = 1 << 20;
/// In each direction.
const COPY_BYTES: usize = 32 << 10;

/// Why a connection ended before anything could be passed on.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// The client may try again: it is told why.
    #[error(transparent)]
    Nowhere(#[from] Nowhere),
    /// There is nobody to tell.
    #[error("the client went or broke the protocol")]
    Client,
}

/// A client of the binary protocol.
pub(super) async fn client(mut stream: TcpStream, brokers: Arc<Brokers>) {
    let _ = stream.set_nodelay(true); // Only latency is lost without.
    let outcome = async {
        let greeting = timeout(CONNECT_WITHIN, greeting(&mut stream)).await.map_err(|_| Ended::Client)??;
        match &greeting.broker {
            Some(broker) => {
                let mut to = brokers.named(broker).await?;
                if to.write_all(&greeting.bytes).await.is_err() {
                    return Err(Nowhere::Silent(broker.clone()).into());
                }
                Ok((to, None))
            }
            None => {
                let (to, answer) = greeted(&brokers, &greeting.bytes).await?;
                Ok((to, Some(answer)))
            }
        }
    };
    match outcome.await {
        Ok((mut to, None)) => pass_on(&mut stream, &mut to).await,
        Ok((to, Some(answer))) => look_up(stream, to, answer).await,
        Err(Ended::Nowhere(reason)) => refuse(&mut stream, &reason).await,
        Err(Ended::Client) => {}
    }
}

/// A client of HTTP.
pub(super) async fn http(mut stream: TcpStream, brokers: Arc<Brokers>) {
    let _ = stream.set_nodelay(true); // As above.
    match brokers.any().await {
        Ok(mut to) => pass_on(&mut stream, &mut to).await,
        Err(reason) => unavailable(&mut stream, &reason).await,
    }
}

/// Answers the request that is on its way. Answers before a request are errors to HTTP clients, and closing a socket with
/// bytes unread makes the kernel take back the answer: both halves of the request's life are waited for, up to a bound.
async fn unavailable(stream: &mut TcpStream, reason: &Nowhere) {
    let body = serde_json::json!({"reason": reason.to_string()}).to_string();
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close";
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let exchange = async {
        let mut rest = stream.take(REFUSED_BYTES_MAX);
        rest.read_u8().await?;
        rest.get_mut().write_all(answer.as_bytes()).await?;
        rest.get_mut().shutdown().await?;
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    let _ = timeout(REFUSED_WITHIN, exchange).await; // Who has gone need not be told.
}

/// What a client said first.
struct Greeting {
    /// The broker it was told to go to.
    broker: Option<String>,
    /// All that was read, to be passed on as it came.
    bytes: BytesMut,
}

async fn greeting(stream: &mut TcpStream) -> Result<Greeting, Ended> {
    let mut bytes = BytesMut::new();
    loop {
        if stream.read_buf(&mut bytes).await.map_err(|_| Ended::Client)? == 0 {
            return Err(Ended::Client);
        }
        let first = frame::decode(&mut bytes.clone(), FRAME_BYTES_BEFORE_CONNECT).map_err(|_| Ended::Client)?;
        if let Some(first) = first {
            let connect = first.command.connect.ok_or(Ended::Client)?;
            return Ok(Greeting { broker: connect.proxy_to_broker_url.filter(|url| !url.is_empty()), bytes });
        }
    }
}

/// Passes the greeting to one broker after another until one answers, and gives what it answered.
async fn greeted(brokers: &Brokers, greeting: &[u8]) -> Result<(TcpStream, BytesMut), Nowhere> {
    for address in brokers.all().await {
        let Some(mut to) = connect(address).await else { continue };
        let mut answer = BytesMut::new();
        let asked = async {
            to.write_all(greeting).await?;
            to.read_buf(&mut answer).await
        };
        if let Ok(Ok(1..)) = timeout(GREETING_WITHIN, asked).await {
            return Ok((to, answer));
        }
        tracing::debug!(%address, "a broker does not greet");
    }
    Err(Nowhere::NobodyAnswers)
}

async fn refuse(stream: &mut TcpStream, reason: &Nowhere) {
    tracing::debug!(%reason, "a connection goes nowhere");
    let error = CommandError {
        request_id: u64::MAX, // There is none before CONNECTED.
        error: ServerError::ServiceNotReady.into(),
        message: reason.to_string(),
    };
    let mut bytes = BytesMut::new();
    frame::encode(&error.into(), &mut bytes);
    let _ = stream.write_all(&bytes).await; // Who has gone need not be told.
}

/// Until either side ends.
async fn pass_on(from: &mut TcpStream, to: &mut TcpStream) {
    if let Err(error) = copy_bidirectional_with_sizes(from, to, COPY_BYTES, COPY_BYTES).await {
        tracing::debug!(%error, "a connection broke");
    }
}

/// As [`pass_on`], with answers to LOOKUP marked. `answer` has come already.
async fn look_up(client: TcpStream, broker: TcpStream, answer: BytesMut) {
    let (mut from_client, to_client) = client.into_split();
    let (from_broker, mut to_broker) = broker.into_split();
    let there = async { tokio::io::copy(&mut from_client, &mut to_broker).await.map(drop) };
    let outcome = tokio::select! {
        outcome = there => outcome,
        outcome = back(from_broker, to_client, answer) => outcome,
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection broke");
    }
}

async fn back(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut bytes: BytesMut) -> io::Result<()> {
    let mut marked = BytesMut::new();
    loop {
        mark(&mut bytes, &mut marked).map_err(io::Error::other)?;
        to.write_all_buf(&mut marked).await?;
        if from.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_refused_request_gets_its_whole_answer_however_much_of_it_is_unread() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        client.write_all(format!("PUT /x HTTP/1.1\r\n\r\n{}", "x".repeat(60_000)).as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        http(stream, Arc::new(Brokers::new(Vec::new()))).await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("the connection ends in order");
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("no broker answers"), "{answer}");
    }
}
