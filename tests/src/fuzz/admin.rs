//! Pages of administration, as scripts ask for them.
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::sessions::within;

/// Asks for pages over one connection.
#[derive(Debug)]
pub(super) struct Admin {
    port: u16,
    stream: Option<BufReader<TcpStream>>,
}

impl Admin {
    pub(super) fn new(port: u16) -> Self {
        Self { port, stream: None }
    }

    /// The status.
    pub(super) async fn ask(&mut self, method: &str, topic: &str, page: &str) -> u16 {
        let topic = topic.replace("://", "/");
        let request = format!("{method} /admin/v2/{topic}{page} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("HTTP is served");
                self.stream.insert(BufReader::new(stream))
            }
        };
        let answer = async {
            stream.write_all(request.as_bytes()).await.ok()?;
            let (mut status, mut length) = (None, 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.ok()?;
                let line = line.trim_end().to_ascii_lowercase();
                if let Some(code) = line.strip_prefix("http/1.1 ") {
                    status = code.get(..3).and_then(|code| code.parse().ok());
                }
                length = line.strip_prefix("content-length: ").and_then(|length| length.parse().ok()).unwrap_or(length);
                if line.is_empty() {
                    stream.read_exact(&mut vec![0; length]).await.ok()?;
                    return status;
                }
            }
        };
        match within("administration answers", answer).await {
            Some(status) => status,
            None => {
                self.stream = None; // It lasts five minutes at most.
                503
            }
        }
    }
}
