//! A crowd of readers while the exporter polls: a thousand scrapers at a time and five hundred
//! that never finish asking. An ordinary scrape is still quick, polls keep their beat, memory
//! stays where it was.
//!
//! All of the crowd runs in this process, on the same cores, beside whatever else the machine
//! does. So bounds are on top of what the same run shows: an ordinary scrape is held against the
//! crowd's own, the polls against those of a second exporter that nobody reads. Medians, not the
//! one unlucky sample.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use genesys_cloud_exporter::clock::SystemClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::exporter::{Exporter, Setup};
use crate::support::organisation::Organisation;
use crate::support::wait::look_for;

const SCRAPERS: usize = 1_000;
const SLOW: usize = 500;

/// How long the crowd stays.
const SPAN: Duration = Duration::from_secs(12);

/// Between two waves of scrapers.
const WAVE: Duration = Duration::from_secs(1);

const SCRAPE_MAX: Duration = Duration::from_millis(200);
const JITTER_MAX: Duration = Duration::from_millis(100);
const GROWTH_MAX: f64 = 24.0 * 1024.0 * 1024.0;

const SCRAPE: &[u8] =
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n";

/// When the bulk snapshot was asked for.
type Polls = Arc<Mutex<Vec<Duration>>>;

/// Passes bytes on to the platform, and notes when a poll came by.
async fn beside(platform: SocketAddr, polls: Polls) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let clock = SystemClock::new();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(platform).await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let polls = Arc::clone(&polls);
            tokio::spawn(async move {
                let mut buffer = vec![0; 16 * 1024];
                while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                    if buffer[..read].starts_with(b"GET /api/v2/users/statuses") {
                        polls.lock().unwrap().push(now(clock));
                    }
                    if to_server.write_all(&buffer[..read]).await.is_err() {
                        return;
                    }
                }
            });
            tokio::spawn(async move {
                // Either end may hang up.
                let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
            });
        }
    });
    address
}

/// Since the clock was made.
fn now(clock: SystemClock) -> Duration {
    Duration::from_secs_f64(clock.seconds())
}

/// What scrapes ended with, and how long they took.
type Scrapes = Arc<Mutex<Vec<(Option<u16>, Duration)>>>;

/// What a scrape ended with: its status, or nothing if the connection was closed.
async fn scrape(address: SocketAddr) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(SCRAPE).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

/// Connects, begins to ask, and comes again when it is thrown out.
async fn dawdle(address: SocketAddr) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(address).await
            && stream
                .write_all(b"GET /metrics HTTP/1.1\r\nHost")
                .await
                .is_ok()
        {
            let mut byte = [0];
            // Ends when the server has had enough.
            let _ = stream.read(&mut byte).await;
        }
        tokio::time::sleep(WAVE).await;
    }
}

/// An exporter whose polls are noted.
async fn watched(organisation: &mut Organisation) -> (Setup, Exporter, Polls) {
    let polls = Polls::default();
    let direct = organisation.url.clone();
    let platform = direct.trim_start_matches("http://").parse().unwrap();
    organisation.url = format!("http://{}", beside(platform, Arc::clone(&polls)).await);
    let setup = Setup::new(organisation);
    organisation.url = direct;
    let exporter = setup.start().await;
    exporter.wait_joined().await;
    (setup, exporter, polls)
}

/// How far each poll was off its beat of a second.
fn jitter(polls: &Polls) -> Vec<Duration> {
    let polls = polls.lock().unwrap();
    let gaps = polls.windows(2).map(|pair| pair[1].abs_diff(pair[0]));
    gaps.map(|gap| gap.abs_diff(Duration::from_secs(1)))
        .collect()
}

/// The crowd is of this process.
fn open_many_files() {
    let limit = Command::new("prlimit")
        .args(["--pid", &std::process::id().to_string(), "--nofile=8192"])
        .status();
    assert!(limit.unwrap().success(), "this test needs 8192 open files");
}

/// Its memory in bytes, if it says.
async fn resident(exporter: &Exporter) -> Option<f64> {
    let url = format!("{}/metrics", exporter.url);
    let page = exporter.http.try_get(&url, "text/plain").await?;
    let name = "process_resident_memory_bytes ";
    let line = page.text.lines().find_map(|line| line.strip_prefix(name))?;
    line.parse().ok()
}

fn median(mut spans: Vec<Duration>) -> Duration {
    spans.sort();
    spans[spans.len() / 2]
}

/// The crowd, which stays until it is told to go.
fn gather(address: SocketAddr, scrapes: &Scrapes, clock: SystemClock) -> JoinSet<()> {
    let mut crowd = JoinSet::new();
    for _ in 0..SLOW {
        crowd.spawn(dawdle(address));
    }
    for _ in 0..SCRAPERS {
        let scrapes = Arc::clone(scrapes);
        crowd.spawn(async move {
            loop {
                let begun = now(clock);
                let status = scrape(address).await;
                scrapes
                    .lock()
                    .unwrap()
                    .push((status, now(clock).abs_diff(begun)));
                tokio::time::sleep(WAVE).await;
            }
        });
    }
    crowd
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_delays_neither_an_ordinary_scrape_nor_a_poll_and_costs_no_memory() {
    open_many_files();
    let clock = SystemClock::new();
    let arguments = ["--agents", "300", "--queues", "20", "--cache-refresh", "1s"];
    let mut organisation = Organisation::simulate(&arguments).await;
    let (_setup, exporter, polls) = watched(&mut organisation).await;
    let (_quiet_setup, quiet, quiet_polls) = watched(&mut organisation).await;
    let address: SocketAddr = exporter.url.trim_start_matches("http://").parse().unwrap();

    let scrapes = Scrapes::default();
    let mut crowd = gather(address, &scrapes, clock);
    quiet_polls.lock().unwrap().clear();
    polls.lock().unwrap().clear();
    let mut took = Vec::new();
    let mut memory = Vec::new();
    look_for(SPAN, async || {
        let begun = now(clock);
        let status = scrape(address).await;
        took.push(now(clock).abs_diff(begun));
        if status == Some(200) {
            memory.extend(resident(&exporter).await);
        }
    })
    .await;
    crowd.shutdown().await;
    memory.push(
        exporter
            .page()
            .await
            .value("process_resident_memory_bytes", &[]),
    );

    let scrapes = scrapes.lock().unwrap().clone();
    let of = |status| scrapes.iter().filter(|(found, _)| *found == status).count();
    let (fine, busy, closed) = (of(Some(200)), of(Some(503)), of(None));
    let answered = scrapes.iter().filter(|(status, _)| status.is_some());
    let crowded = median(answered.map(|(_, took)| *took).collect());
    let (beat, quiet_beat) = (jitter(&polls), jitter(&quiet_polls));
    let growth = memory.last().unwrap() - memory[memory.len() / 4];
    eprintln!(
        "{} ordinary scrapes, median {:?}; the crowd's {crowded:?}: {fine} answered, {busy} told to come \
         again, {closed} closed; jitter of polls {:?}, without a crowd {:?}; memory grew by {} KiB",
        took.len(),
        median(took.clone()),
        median(beat.clone()),
        median(quiet_beat.clone()),
        growth / 1024.0,
    );
    assert_eq!(fine + busy + closed, scrapes.len(), "no other answer");
    assert!(fine > SCRAPERS, "the crowd is served too: {fine}");
    assert!(median(took) < crowded + SCRAPE_MAX);
    assert!(beat.len() >= 4, "it polls on: {}", beat.len());
    assert!(median(beat) < median(quiet_beat) * 4 + JITTER_MAX);
    assert!(growth < GROWTH_MAX, "{growth} bytes");
    quiet.stop().await;
    exporter.assert_no_loss().await;
    organisation.assert_polite().await;
    exporter.stop().await;
}
