//! A proxy for HTTP/1.1 that knows requests: it can refuse one, lose its answer after it was carried out, or damage what comes back.
//!
//! Promises: a request that no rule takes passes unchanged, its `Host` included, which signatures of S3 cover; every request is
//! written down. Bodies are held whole, so this is for objects that fit into memory.
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use daemon::Failure;
use futures::stream;
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::header::{RANGE, TRANSFER_ENCODING};
use hyper::http::{request, response};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

/// More than one part of an upload.
const BODY_BYTES_MAX: usize = 256 << 20;

/// Whether the server carries a request out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It never hears of it.
    None,
    /// It does, and its answer is thrown away.
    Done,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Answered with this status and no body.
    Answered(StatusCode, Effect),
    /// The connection ends without an answer.
    Dropped(Effect),
    /// Never answered while the client waits.
    Unanswered(Effect),
    /// The answer's body breaks off after so many bytes.
    BodyCut(usize),
    /// Of the answer's body so many bytes come each second.
    Dripped(usize),
    /// One bit of the byte at this place of the answer's body is another one; the place is counted round.
    BitFlipped(usize),
}

impl Fate {
    fn is_carried_out(self) -> bool {
        match self {
            Self::Answered(_, effect) | Self::Dropped(effect) | Self::Unanswered(effect) => effect == Effect::Done,
            Self::BodyCut(_) | Self::Dripped(_) | Self::BitFlipped(_) => true,
        }
    }
}

/// Which requests a fate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Of any method when there is none.
    pub method: Option<Method>,
    /// Stands in the path or the query.
    pub contains: String,
    /// So many that match pass first.
    pub skip: u64,
    /// Then so many are taken.
    pub times: u64,
    /// Of those, one in so many, by the seed.
    pub one_in: u32,
    /// What happens to them.
    pub fate: Fate,
}

impl Rule {
    /// For every request of `method` whose path or query contains `contains`.
    #[must_use]
    pub fn every(method: Method, contains: &str, fate: Fate) -> Self {
        Self { method: Some(method), contains: contains.into(), skip: 0, times: u64::MAX, one_in: 1, fate }
    }

    /// For the first such request only.
    #[must_use]
    pub fn once(method: Method, contains: &str, fate: Fate) -> Self {
        Self { times: 1, ..Self::every(method, contains, fate) }
    }

    /// Whether this request is its; counts it.
    fn takes(&mut self, request: &Seen, draws: &mut SmallRng) -> bool {
        let matches = self.method.as_ref().is_none_or(|method| *method == request.method);
        if !matches || !request.target.contains(&self.contains) || self.times == 0 {
            return false;
        }
        if 0 < self.skip {
            self.skip -= 1;
            return false;
        }
        if draws.random_range(0..self.one_in.max(1)) != 0 {
            return false;
        }
        self.times -= 1;
        true
    }
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// Its `Range`.
    pub range: Option<String>,
    /// The length of its body.
    pub body_bytes: usize,
    /// What happened to it, if anything did.
    pub fate: Option<Fate>,
}

/// Rules and what was seen. A lock, because connections share it and none holds it over an await.
#[derive(Debug)]
struct Book {
    rules: Vec<Rule>,
    seen: Vec<Seen>,
    draws: SmallRng,
}

impl Book {
    fn decide(&mut self, head: &request::Parts, body_bytes: usize) -> Option<Fate> {
        let target = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
        let range = head.headers.get(RANGE).and_then(|range| range.to_str().ok()).map(str::to_owned);
        let mut seen = Seen { method: head.method.clone(), target, range, body_bytes, fate: None };
        seen.fate = self.rules.iter_mut().find_map(|rule| rule.takes(&seen, &mut self.draws).then_some(rule.fate));
        let fate = seen.fate;
        self.seen.push(seen);
        fate
    }
}

/// Listens on a free port of loopback until it is dropped.
#[derive(Debug)]
pub struct HttpProxy {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
    _stop: DropGuard,
}

impl HttpProxy {
    /// In front of `target` (`host:port`), without rules. `seed` repeats its draws.
    pub async fn to(target: String, seed: u64) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Failure::internal)?;
        let address = listener.local_addr().map_err(Failure::internal)?;
        let draws = SmallRng::seed_from_u64(seed);
        let book = Arc::new(Mutex::new(Book { rules: Vec::new(), seen: Vec::new(), draws }));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let work = listen(listener, target.into(), book.clone());
        tokio::spawn(async move { stopped.run_until_cancelled(work).await });
        Ok(Self { address, book, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on these hold instead of those before. The first that takes a request decides.
    pub fn set(&self, rules: Vec<Rule>) {
        self.book.lock().expect("nobody panics while holding it").rules = rules;
    }

    /// Every request so far, in the order in which they came.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.book.lock().expect("nobody panics while holding it").seen.clone()
    }
}

/// Ends its connections when it is dropped.
async fn listen(listener: TcpListener, target: Arc<str>, book: Arc<Mutex<Book>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                let (target, book) = (target.clone(), book.clone());
                let answer = service_fn(move |request| pass(request, target.clone(), book.clone()));
                connections.spawn(async move {
                    // An error is a broken connection: that is what is being tested.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(client), answer).await;
                });
            },
        }
    }
}

/// Ends the connection on which a request came, without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is to be dropped")]
struct HangUp;

async fn pass(request: Request<Incoming>, target: Arc<str>, book: Arc<Mutex<Book>>) -> Result<Response<Body>, HangUp> {
    let (head, body) = request.into_parts();
    let body = to_bytes(Body::new(body), BODY_BYTES_MAX).await.map_err(|_| HangUp)?;
    let fate = book.lock().expect("nobody panics while holding it").decide(&head, body.len());
    let carried_out = fate.is_none_or(Fate::is_carried_out);
    let answer = if carried_out { Some(forward(head, body, &target).await.map_err(|_| HangUp)?) } else { None };
    match (fate, answer) {
        (Some(Fate::Answered(status, _)), _) => {
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = status;
            Ok(answer)
        }
        (Some(Fate::Unanswered(_)), _) => std::future::pending().await, // Until the client goes.
        (Some(Fate::Dropped(_)), _) | (_, None) => Err(HangUp),
        (Some(Fate::BodyCut(at)), Some((head, body))) => {
            let broken = Err(std::io::Error::other("cut"));
            let parts = [Ok(body.slice(..at.min(body.len()))), broken];
            Ok(Response::from_parts(head, Body::from_stream(stream::iter(parts))))
        }
        (Some(Fate::Dripped(at_once)), Some((head, body))) => {
            let seconds = tokio::time::interval(Duration::from_secs(1));
            let drops = stream::unfold((body, seconds), move |(mut rest, mut seconds)| async move {
                if rest.is_empty() {
                    return None;
                }
                seconds.tick().await;
                let next = rest.split_to(at_once.clamp(1, rest.len()));
                Some((Ok::<_, std::io::Error>(next), (rest, seconds)))
            });
            Ok(Response::from_parts(head, Body::from_stream(drops)))
        }
        (Some(Fate::BitFlipped(at)), Some((head, body))) => {
            let mut body = body.to_vec();
            let at = at % body.len().max(1);
            if let Some(byte) = body.get_mut(at) {
                *byte ^= 1;
            }
            Ok(Response::from_parts(head, Body::from(body)))
        }
        (None, Some((head, body))) => Ok(Response::from_parts(head, Body::from(body))),
    }
}

/// Sends a request on, over a connection of its own, and waits for the whole answer.
async fn forward(mut head: request::Parts, body: Bytes, target: &str) -> Result<(response::Parts, Bytes), axum::Error> {
    let server = TcpStream::connect(target).await.map_err(axum::Error::new)?;
    let (mut sender, connection) = handshake(TokioIo::new(server)).await.map_err(axum::Error::new)?;
    let mut carrier = JoinSet::new(); // Ends the connection when it is dropped.
    carrier.spawn(connection);
    head.headers.remove(TRANSFER_ENCODING); // Both bodies are whole by now.
    let answer = sender.send_request(Request::from_parts(head, Body::from(body))).await.map_err(axum::Error::new)?;
    let (mut head, body) = answer.into_parts();
    head.headers.remove(TRANSFER_ENCODING);
    Ok((head, to_bytes(Body::new(body), BODY_BYTES_MAX).await?))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::HeaderMap;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(20);

    /// A server that counts what it carries out and answers with its `Host` and what it was sent.
    async fn counting() -> (String, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let echo = move |headers: HeaderMap, body: Bytes| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::ready([headers["host"].as_bytes(), &body].concat())
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(echo)).await });
        (address, count)
    }

    async fn put(proxy: &HttpProxy, path: &str, body: &'static str) -> reqwest::Result<(StatusCode, String)> {
        let client = reqwest::Client::builder().no_proxy().timeout(WITHIN).build().expect("a client");
        let request = client.put(format!("http://{}{path}", proxy.address())).header("host", "store.example");
        let answer = request.body(body).send().await?;
        let status = StatusCode::from_u16(answer.status().as_u16()).expect("a status");
        Ok((status, answer.text().await?))
    }

    #[tokio::test]
    async fn what_no_rule_takes_passes_unchanged_and_is_written_down() {
        let (server, count) = counting().await;
        let proxy = HttpProxy::to(server, 1).await.expect("it listens");
        proxy.set(vec![Rule::every(Method::GET, "", Fate::Dropped(Effect::None))]);
        let (status, body) = put(&proxy, "/a?b=c%20d", "text").await.expect("answered");
        assert_eq!((status, body.as_str()), (StatusCode::OK, "store.exampletext"));
        assert_eq!(count.load(Ordering::Relaxed), 1);
        let seen = Seen { method: Method::PUT, target: "/a?b=c%20d".into(), range: None, body_bytes: 4, fate: None };
        assert_eq!(proxy.seen(), [seen]);
    }

    /// Goal: a client cannot tell a request that never arrived from one whose answer was lost, and the server can.
    #[tokio::test]
    async fn an_answer_can_be_lost_before_and_after_the_effect() {
        let (server, count) = counting().await;
        let proxy = HttpProxy::to(server, 1).await.expect("it listens");
        let busy = StatusCode::SERVICE_UNAVAILABLE;
        for (effect, carried_out) in [(Effect::None, 0), (Effect::Done, 1)] {
            count.store(0, Ordering::Relaxed);
            proxy.set(vec![Rule::once(Method::PUT, "/a", Fate::Answered(busy, effect))]);
            assert_eq!(put(&proxy, "/a", "x").await.expect("answered").0, busy);
            assert_eq!(count.load(Ordering::Relaxed), carried_out);
            assert_eq!(put(&proxy, "/a", "x").await.expect("answered").0, StatusCode::OK, "once is once");
            proxy.set(vec![Rule::once(Method::PUT, "/a", Fate::Dropped(effect))]);
            assert!(put(&proxy, "/a", "x").await.is_err());
            assert_eq!(count.load(Ordering::Relaxed), 2 * carried_out + 1);
        }
    }

    #[tokio::test]
    async fn a_request_can_be_left_without_an_answer() {
        let (server, count) = counting().await;
        let proxy = HttpProxy::to(server, 1).await.expect("it listens");
        proxy.set(vec![Rule::once(Method::PUT, "", Fate::Unanswered(Effect::Done))]);
        let waited = tokio::time::timeout(Duration::from_millis(300), put(&proxy, "/a", "x")).await;
        assert!(waited.is_err(), "{waited:?}");
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert!(put(&proxy, "/a", "x").await.is_ok(), "others are answered");
    }

    #[tokio::test]
    async fn an_answer_can_be_damaged_and_cut() {
        let (server, _) = counting().await;
        let proxy = HttpProxy::to(server, 1).await.expect("it listens");
        proxy.set(vec![
            Rule::once(Method::PUT, "", Fate::BitFlipped(13)),
            Rule::once(Method::PUT, "", Fate::BodyCut(5)),
        ]);
        assert_eq!(put(&proxy, "/", "text").await.expect("answered").1, "store.exampleuext");
        assert!(put(&proxy, "/", "text").await.is_err(), "half an answer is none");
        assert_eq!(put(&proxy, "/", "text").await.expect("answered").1, "store.exampletext");
    }

    #[tokio::test]
    async fn an_answer_can_come_slowly() {
        let (server, _) = counting().await;
        let proxy = HttpProxy::to(server, 1).await.expect("it listens");
        proxy.set(vec![Rule::once(Method::PUT, "", Fate::Dripped(10))]);
        let begun = tokio::time::Instant::now();
        assert_eq!(put(&proxy, "/", "text").await.expect("answered").1, "store.exampletext");
        assert!(Duration::from_millis(900) < begun.elapsed(), "17 bytes take more than a second");
    }

    #[tokio::test]
    async fn rules_skip_count_and_draw_by_the_seed() {
        let (server, _) = counting().await;
        let fate = Fate::Answered(StatusCode::IM_A_TEAPOT, Effect::None);
        let mut drawn = Vec::new();
        for seed in [7, 7, 8] {
            let proxy = HttpProxy::to(server.clone(), seed).await.expect("it listens");
            proxy.set(vec![Rule { skip: 1, times: 2, ..Rule::every(Method::PUT, "/few", fate) }]);
            let mut statuses = Vec::new();
            for _ in 0..4 {
                statuses.push(put(&proxy, "/few", "").await.expect("answered").0.as_u16());
            }
            assert_eq!(statuses, [200, 418, 418, 200]);
            proxy.set(vec![Rule { one_in: 2, ..Rule::every(Method::PUT, "/some", fate) }]);
            for _ in 0..30 {
                put(&proxy, "/some", "").await.expect("answered");
            }
            drawn.push(proxy.seen().iter().map(|seen| seen.fate.is_some()).collect::<Vec<_>>());
        }
        assert_eq!(drawn[0], drawn[1]);
        assert_ne!(drawn[0], drawn[2]);
    }
}
