//! Headers that a client looks for letter by letter.
use axum::body::Body;
use axum::http::{Extensions, Request};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// Put into an answer, makes it spell these headers as they are spelled here. All others are written in small letters, which is the same to
/// clients that keep to the rules (RFC 9110, 5.1). Takes no time worth speaking of: nothing leaves the process.
///
/// # Panics
///
/// When one of `names` is no name of a header.
pub async fn spelled(names: &[&str]) -> Extensions {
    // hyper can do so only with what it has read: it keeps how a peer spelled its headers. So this is an answer that it reads.
    let (near, far) = duplex(1024);
    let handshake = http1::Builder::new().preserve_header_case(true).handshake(TokioIo::new(near));
    let (mut requests, connection) = handshake.await.expect("nothing is said yet");
    let asked = requests.send_request(Request::new(Body::empty()));
    let (answer, _ended, ()) = tokio::join!(asked, connection, answer(far, names));
    answer.expect("it is answered").into_parts().0.extensions
}

async fn answer(mut far: DuplexStream, names: &[&str]) {
    let _ = far.read_u8().await; // An answer before the request would be an error.
    let headers: String = names.iter().map(|name| format!("{name}:\r\n")).collect();
    let text = format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n");
    far.write_all(text.as_bytes()).await.expect("it is being read");
}
