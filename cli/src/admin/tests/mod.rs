//! Whole command lines against a server that writes down what it is asked.
mod answers; // What is shown, and exit codes.
mod policies;
mod requests; // What is asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use clap::Parser;
use daemon::Failure;

use super::respelled;

/// The time that commands are told: 1 000 000 s after 1970.
const NOW_MS: u64 = 1_000_000_000;

/// Gives the answers it was given, in order, and then nothing.
struct Stub {
    url: String,
    book: Book,
}

type Book = Arc<Mutex<Log>>;

#[derive(Default)]
struct Log {
    answers: Vec<(u16, String)>,
    seen: Vec<String>,
}

async fn answer(State(book): State<Book>, method: Method, uri: Uri, body: Bytes) -> (StatusCode, String) {
    let mut log = book.lock().expect("nobody panics while holding it");
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let body = String::from_utf8_lossy(&body);
    log.seen.push(format!("{method} {target} {body}").trim_end().to_owned());
    let (status, text) = if log.answers.is_empty() { (204, String::new()) } else { log.answers.remove(0) };
    (StatusCode::from_u16(status).expect("a status"), text)
}

impl Stub {
    async fn answering(answers: &[(u16, &str)]) -> Self {
        let answers = answers.iter().map(|(status, text)| (*status, (*text).to_owned())).collect();
        let book = Arc::new(Mutex::new(Log { answers, seen: Vec::new() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let router = Router::new().fallback(answer).with_state(book.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, book }
    }

    fn seen(&self) -> Vec<String> {
        self.book.lock().expect("nobody panics while holding it").seen.clone()
    }

    /// What a command prints, and how it ends. Words are separated by spaces.
    async fn run(&self, line: &str) -> (String, Result<(), Failure>) {
        let mut out = Vec::new();
        let outcome = match parse(line) {
            Ok(arguments) => super::run(arguments, &self.url, NOW_MS, &mut out).await,
            Err(error) => Err(Failure::usage(error)),
        };
        (String::from_utf8(out).expect("text"), outcome)
    }
}

fn parse(line: &str) -> Result<super::Arguments, clap::Error> {
    let words = format!("geminga admin {line}");
    let line = crate::Arguments::try_parse_from(respelled(words.split(' ').map(Into::into)))?;
    match line.command {
        crate::Command::Admin(arguments) => Ok(arguments),
        other => panic!("{words}: {other:?}"),
    }
}
