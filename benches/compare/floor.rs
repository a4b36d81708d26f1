//! The floor of the side-by-side runs: logs in, then asks for everybody and parses each answer, and
//! does nothing with it. No exporter can do less.
//!
//! BASE-URL DIALECT INTERVAL-SECONDS. Prints a line a cycle: the seconds that it took.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench prints its result, and a panic is its report"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a bench reads the clock to measure"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::Value;

/// Users on a page, as the exporter asks for them.
const PAGE: u64 = 500;

async fn token(client: &Client, base: &str) -> String {
    let answer = client
        .post(format!("{base}/oauth/token"))
        .basic_auth("demo", Some("demo"))
        .form(&[("grant_type", "client_credentials")])
        .send()
        .await
        .unwrap();
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

async fn get(client: &Client, token: &str, url: &str) -> Value {
    let answer = client.get(url).bearer_auth(token).send().await.unwrap();
    assert!(answer.status().is_success(), "{url}: {}", answer.status());
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

async fn cycle(client: &Client, token: &str, base: &str, dialect: &str) {
    if dialect == "status" {
        black_box(get(client, token, &format!("{base}/api/v2/users/statuses")).await);
        return;
    }
    for page in 1.. {
        let url = format!(
            "{base}/api/v2/users?pageSize={PAGE}&pageNumber={page}&state=active\
             &expand=presence,routingStatus,conversationSummary"
        );
        let body = black_box(get(client, token, &url).await);
        if body["pageCount"].as_u64().unwrap() <= page {
            return;
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` and `cargo test` run every bench, with arguments of their own.
    let [base, dialect, interval] = arguments.as_slice() else {
        println!("run by benches/compare/compare.py");
        return;
    };
    rustls::crypto::ring::default_provider()
        .install_default()
        .unwrap();
    // Between two cycles the other side may close a connection just when it is used again.
    let client = Client::builder()
        .gzip(true)
        .no_proxy()
        .pool_idle_timeout(Duration::from_secs(2))
        .build()
        .unwrap();
    let interval = Duration::from_secs_f64(interval.parse().unwrap());
    let token = token(&client, base).await;
    let mut due = tokio::time::interval(interval);
    loop {
        due.tick().await;
        let begun = Instant::now();
        cycle(&client, &token, base, dialect).await;
        println!("{:.6}", begun.elapsed().as_secs_f64());
    }
}
