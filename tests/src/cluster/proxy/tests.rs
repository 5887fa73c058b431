//! The proxy against a server that echoes, over real sockets. Times are only ever compared with what is too early.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use super::*;
use crate::deadline::eventually;

const WITHIN: Duration = Duration::from_secs(20);
/// Long enough to see that nothing comes.
const A_WHILE: Duration = Duration::from_millis(200);

/// Sends back what comes, and counts it.
async fn echo() -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    counted.fetch_add(read as u64, Ordering::Relaxed);
                    if stream.write_all(&buffer[..read]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, count)
}

async fn proxy(seed: u64) -> (Proxy, Arc<AtomicU64>) {
    let (server, count) = echo().await;
    (Proxy::to(server, seed).await.expect("it listens"), count)
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.expect("it accepts")
}

/// Sends `text` and reads it back.
async fn ask(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text).await?;
    let mut answer = vec![0; text.len()];
    timeout(WITHIN, stream.read_exact(&mut answer)).await.expect("in time")?;
    Ok(answer)
}

/// All that still comes until the connection ends, and whether it ended well.
async fn rest(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let ended = timeout(WITHIN, stream.read_to_end(&mut bytes)).await.expect("in time");
    (bytes, ended.is_ok())
}

#[tokio::test]
async fn without_faults_every_byte_passes_both_ways_and_ends_are_passed_on() {
    let (proxy, _) = proxy(0).await;
    let mut stream = connect(&proxy).await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|number| (number / 7) as u8).collect();
    let (mut reads, mut writes) = stream.split();
    let (written, got) = tokio::join!(
        async {
            writes.write_all(&sent).await.expect("taken");
            writes.shutdown().await
        },
        async {
            let mut got = Vec::new();
            timeout(WITHIN, reads.read_to_end(&mut got)).await.expect("in time").expect("a clean end");
            got
        }
    );
    written.expect("ended");
    assert!(got == sent, "the bytes differ");
    let bytes = sent.len() as u64;
    assert_eq!(proxy.passed(), Passed { connections: 1, to_server: bytes, to_client: bytes });
}

#[tokio::test]
async fn latency_comes_on_top_and_takes_no_throughput() {
    let (proxy, _) = proxy(0).await;
    let delay = Duration::from_millis(50);
    proxy.set(Faults::both_ways(&Flow { latency: Some(delay..=delay), ..Flow::default() })).await;
    let mut stream = connect(&proxy).await;
    let begin = Instant::now();
    assert_eq!(ask(&mut stream, b"ping").await.expect("answered"), b"ping");
    assert!(2 * delay <= begin.elapsed());
    // 16 MB are 240 reads and more each way. One after another they would take 12 s.
    let (mut reads, mut writes) = stream.split();
    let large = vec![1; 16_000_000];
    let mut got = vec![0; large.len()];
    let begin = Instant::now();
    let (written, read) = tokio::join!(writes.write_all(&large), reads.read_exact(&mut got));
    written.and(read.map(drop)).expect("all of it");
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_slow_way_gives_no_more_than_its_bytes_a_second() {
    let (proxy, _) = proxy(0).await;
    proxy
        .set(Faults { to_client: Flow { bytes_per_second: Some(1000), ..Flow::default() }, ..Faults::default() })
        .await;
    let mut stream = connect(&proxy).await;
    let begin = Instant::now();
    ask(&mut stream, &[7; 400]).await.expect("answered");
    assert!(Duration::from_millis(350) <= begin.elapsed(), "the last piece comes before its own pause");
    assert!(proxy.passed().to_client <= 400);
}

#[tokio::test]
async fn a_connection_that_stands_still_goes_on_when_healed() {
    let (proxy, count) = proxy(0).await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, b"before").await.expect("answered");
    proxy.set(Faults { to_client: Flow { stalled: true, ..Flow::default() }, ..Faults::default() }).await;
    stream.write_all(b"during").await.expect("the way to the server is open");
    eventually("the server has it", WITHIN, async || (count.load(Ordering::Relaxed) == 12).then_some(()))
        .await
        .expect("it passes");
    let mut answer = [0; 6];
    assert!(timeout(A_WHILE, stream.read_exact(&mut answer)).await.is_err(), "the way back is not");
    proxy.set(Faults::default()).await;
    timeout(WITHIN, stream.read_exact(&mut answer)).await.expect("in time").expect("the connection has lasted");
    assert_eq!(&answer, b"during");
}

#[tokio::test]
async fn a_connection_is_reset_after_the_bytes_it_was_given() {
    for after in [0, 1, 1000] {
        let (proxy, count) = proxy(0).await;
        proxy.set(Faults { cut_after: Some(after..=after), ..Faults::default() }).await;
        let mut stream = connect(&proxy).await;
        let _ = stream.write_all(&[1; 5000]).await; // It may break in here.
        let (bytes, whole) = rest(&mut stream).await;
        assert!(!whole, "the end is a reset");
        assert!(count.load(Ordering::Relaxed) + bytes.len() as u64 <= after);
        let passed = proxy.passed();
        assert_eq!(passed.to_server + passed.to_client, after);
    }
}

#[tokio::test]
async fn a_seed_draws_the_same_and_each_connection_its_own() {
    let mut drawn = Vec::new();
    for seed in [3, 3, 4] {
        let (proxy, _) = proxy(seed).await;
        proxy.set(Faults { cut_after: Some(1..=1_000_000), ..Faults::default() }).await;
        let mut passed = vec![0];
        for _ in 0..2 {
            let mut stream = connect(&proxy).await;
            let (mut reads, mut writes) = stream.split();
            let mut bytes = Vec::new();
            let large = [9; 1_000_001];
            let _ =
                timeout(WITHIN, async { tokio::join!(writes.write_all(&large), reads.read_to_end(&mut bytes)) }).await;
            let Passed { to_server, to_client, .. } = proxy.passed();
            passed.push(to_server + to_client);
        }
        assert_ne!(passed[1] - passed[0], passed[2] - passed[1]);
        drawn.push(passed);
    }
    assert_eq!(drawn[0], drawn[1]);
    assert_ne!(drawn[0], drawn[2]);
}

#[tokio::test]
async fn refusing_keeps_open_connections_and_ends_with_healing() {
    let (proxy, _) = proxy(0).await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, b"before").await.expect("answered");
    proxy.set(Faults { refused: true, ..Faults::default() }).await;
    let refused = TcpStream::connect(proxy.address()).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    ask(&mut stream, b"during").await.expect("what is open stays open");
    proxy.set(Faults::default()).await;
    ask(&mut connect(&proxy).await, b"after").await.expect("answered");
}

#[tokio::test]
async fn all_connections_can_be_cut_and_new_ones_work() {
    let (proxy, _) = proxy(0).await;
    let mut streams = [connect(&proxy).await, connect(&proxy).await];
    for stream in &mut streams {
        ask(stream, b"before").await.expect("answered");
    }
    proxy.cut();
    for stream in &mut streams {
        assert_eq!(rest(stream).await, (Vec::new(), false));
    }
    ask(&mut connect(&proxy).await, b"after").await.expect("answered");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_reset() {
    let (server, _) = echo().await;
    let nowhere = Proxy::to(server, 0).await.expect("it listens");
    let target = nowhere.address().to_string();
    nowhere.set(Faults { refused: true, ..Faults::default() }).await;
    let proxy = Proxy::to(target, 0).await.expect("it listens");
    let mut stream = connect(&proxy).await;
    assert!(!rest(&mut stream).await.1);
}
