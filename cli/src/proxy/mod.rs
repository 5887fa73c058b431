//! `geminga proxy`: the way to brokers for clients that cannot reach them by the names they advertise.
//!
//! Owns: connections from outside, each with one to a broker.
//! Promises: a client comes to the broker that it was told to go to; from then on its bytes are passed on as they are.
//! Never: connects to anything but the brokers it was given, or keeps anything.
mod brokers; // Where connections may go,
mod lookup; // what is changed in what comes back,
mod relay; // one connection.

use std::sync::Arc;
use std::time::Duration;

use daemon::{Drain, Failure, HostPort};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::brokers::Brokers;

/// Where brokers serve HTTP unless told otherwise.
const HTTP_PORT: u16 = 8080;
/// Beyond these, new connections wait.
const CONNECTIONS_MAX: usize = 10_000;
/// After an error of `accept`, which is almost always a lack of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where clients connect
    #[arg(long, value_name = "HOST:PORT", default_value = "[::]:6650")]
    listen: HostPort,
    /// Where HTTP is served, by any broker
    #[arg(long, value_name = "HOST:PORT", default_value = "[::]:8080")]
    http_listen: HostPort,
    /// The brokers: a name that resolves to all of them, or several names with commas between
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', default_value = "broker:6650")]
    brokers: Vec<HostPort>,
    /// Their HTTP side; without it, port 8080 of the same hosts
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    broker_http: Vec<HostPort>,
}

/// Serves until `drain` is requested. Connections end with it: clients come back through another proxy, or this one's next start.
pub(crate) async fn run(arguments: Arguments, drain: Drain) -> Result<(), Failure> {
    let listener = daemon::bind(&arguments.listen, "--listen").await?;
    let http_listener = daemon::bind(&arguments.http_listen, "--http-listen").await?;
    let at = |wanted: &HostPort, listener: &TcpListener| {
        let port = listener.local_addr().map_err(Failure::internal)?.port();
        Ok::<_, Failure>(HostPort { host: wanted.host.clone(), port }.to_string())
    };
    let bound = [("proxy", at(&arguments.listen, &listener)?), ("http", at(&arguments.http_listen, &http_listener)?)];
    let usual = |broker: &HostPort| HostPort { host: broker.host.clone(), port: HTTP_PORT };
    let https = match arguments.broker_http {
        given if given.is_empty() => arguments.brokers.iter().map(usual).collect(),
        given => given,
    };
    let https = Arc::new(Brokers::new(https));
    let brokers = Arc::new(Brokers::new(arguments.brokers));

    let house = House::new();
    let clients = house.serve(listener, |stream| relay::client(stream, Arc::clone(&brokers)));
    let http = house.serve(http_listener, |stream| relay::http(stream, Arc::clone(&https)));
    daemon::announce_ready(&bound);
    tokio::select! {
        () = drain.requested() => {}
        () = async { tokio::join!(clients, http); } => unreachable!("listeners are served until the proxy ends"),
    }
    house.end().await;
    Ok(())
}

/// All connections of one proxy.
struct House {
    connections: TaskTracker,
    room: Arc<Semaphore>,
    closing: CancellationToken,
}

impl House {
    fn new() -> Self {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Self { connections: TaskTracker::new(), room, closing: CancellationToken::new() }
    }

    /// Accepts until it is dropped. Each connection is a task that ends with the house.
    async fn serve<F: Future<Output = ()> + Send + 'static>(
        &self,
        listener: TcpListener,
        connection: impl Fn(TcpStream) -> F,
    ) {
        loop {
            let permit = Arc::clone(&self.room).acquire_owned().await.expect("the semaphore is never closed");
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (work, closing) = (connection(stream), self.closing.clone());
                    self.connections.spawn(async move {
                        closing.run_until_cancelled(work).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection was accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    async fn end(self) {
        self.closing.cancel();
        self.connections.close();
        self.connections.wait().await;
    }
}
