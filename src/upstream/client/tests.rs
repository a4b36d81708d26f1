//! The client against a server of a few lines on loopback, which plays one prepared reply a
//! connection and records what it was sent.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

mod hostile;

use super::*;
use crate::model::ids::UserId;
use crate::upstream::headers::http_date;
use crate::upstream::request::SINGLE_BODY_MAX;
use crate::upstream::response::HEADER_MAX;
use crate::upstream::wire_status;

const SECRET: &str = "canary-secret";
const TOKEN: &str = "canary-token";
/// Long enough for a loaded machine; no test waits for it.
const LONG: Duration = Duration::from_secs(30);
/// Short enough to be waited for.
const SHORT: Duration = Duration::from_millis(200);

/// One reply: bytes to write, then to close or to fall silent with the connection open.
enum Reply {
    Close(Vec<u8>),
    Silence(Vec<u8>),
}

struct Server {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Plays `replies`, one a connection; further connections are closed at once.
    async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&heard);
        tokio::spawn(async move {
            let mut replies = replies.into_iter();
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read_request(&mut stream).await;
                record.lock().unwrap().push(request);
                // The client may hang up first, as it does on a bomb.
                match replies.next() {
                    Some(Reply::Close(bytes)) => drop(stream.write_all(&bytes).await),
                    Some(Reply::Silence(bytes)) => {
                        drop(stream.write_all(&bytes).await);
                        silent.push(stream);
                    }
                    None => {}
                }
            }
        });
        Self { address, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// The first byte of a connection that begins with TLS.
const TLS_HANDSHAKE: u8 = 22;

/// Reads a head and as much body as it announces; of TLS, whatever comes first.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if bytes.first() == Some(&TLS_HANDSHAKE) {
            return text;
        }
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let announced = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= announced {
                return text;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return text,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// A whole answer with `extra` header lines.
fn answer(status: &str, extra: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{extra}\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn reply(status: &str, extra: &str, body: &[u8]) -> Reply {
    Reply::Close(answer(status, extra, body))
}

fn token_reply() -> Reply {
    let body = format!(r#"{{"access_token":"{TOKEN}","token_type":"bearer","expires_in":86400}}"#);
    reply("200 OK", "", body.as_bytes())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn source(api_url: &str, login_url: &str) -> SourceConfig {
    SourceConfig {
        name: "default".to_owned(),
        api_url: Url::parse(api_url).unwrap(),
        login_url: Url::parse(login_url).unwrap(),
        client_id: "client".to_owned(),
        client_secret: SecretString::from(SECRET),
        client_secret_file: None,
    }
}

fn client(address: SocketAddr) -> Client {
    let url = format!("http://{address}/gateway");
    Client::new(&source(&url, &url), "0.0.0-test").unwrap()
}

async fn send(client: &Client, request: &ApiRequest, timeout: Duration) -> Answer {
    let clock = SystemClock::new();
    client.send(RequestId(7), request, timeout, &clock).await
}

fn routing_state() -> ApiRequest {
    ApiRequest::RoutingState {
        user: UserId::new("agent-0001"),
    }
}

/// Logs in, then sends `request` to a server that plays `second`.
async fn after_login(second: Reply, request: &ApiRequest, timeout: Duration) -> Answer {
    let server = Server::start(vec![token_reply(), second]).await;
    let client = client(server.address);
    let login = send(&client, &ApiRequest::Login, LONG).await;
    assert_eq!(login.result.unwrap().status, 200);
    send(&client, request, timeout).await
}

#[tokio::test]
async fn a_token_stays_inside_and_goes_on_requests() {
    let server = Server::start(vec![token_reply(), reply("200 OK", "", b"[]")]).await;
    let client = client(server.address);

    let login = send(&client, &ApiRequest::Login, LONG).await;
    assert_eq!(login.id, RequestId(7));
    assert!(login.sent_at.mono <= login.received_at.mono);
    let shown = format!("{client:?} {login:?} {:?}", client.credentials);
    let response = login.result.unwrap();
    assert_eq!(response.body.as_ref(), br#"{"expires_in":86400}"#);
    assert!(!shown.contains("canary"), "{shown}");

    let statuses = send(&client, &ApiRequest::Statuses { page: 1 }, LONG).await;
    assert!(!format!("{statuses:?}").contains("canary"));
    assert_eq!(statuses.result.unwrap().body.as_ref(), b"[]");

    let heard = server.heard();
    assert!(heard[0].starts_with("POST /gateway/oauth/token HTTP/1.1\r\n"));
    // "client:canary-secret" in base 64.
    assert!(heard[0].contains("authorization: Basic Y2xpZW50OmNhbmFyeS1zZWNyZXQ=\r\n"));
    assert!(heard[0].ends_with("\r\n\r\ngrant_type=client_credentials"));
    assert!(heard[1].starts_with("GET /gateway/api/v2/users/statuses HTTP/1.1\r\n"));
    for line in [
        "authorization: Bearer canary-token\r\n",
        "accept: application/json\r\n",
        "accept-encoding: gzip\r\n",
        "user-agent: genesys-cloud-exporter/0.0.0-test\r\n",
    ] {
        assert!(heard[1].contains(line), "{line} in {}", heard[1]);
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let server = Server::start(Vec::new()).await;
    let client = client(server.address);
    let answer = send(&client, &routing_state(), LONG).await;
    assert_eq!(answer.result, Err(TransportFailure::NoToken));
    assert!(server.heard().is_empty());
}

#[tokio::test]
async fn a_refused_login_is_passed_on_and_keeps_the_old_token() {
    let refusal = br#"{"error":"invalid_client"}"#;
    let server = Server::start(vec![
        token_reply(),
        reply("401 Unauthorized", "", refusal),
        reply("200 OK", "", br#"{"expires_in":60,"note":"canary-note"}"#),
        reply("200 OK", "", b"[]"),
    ])
    .await;
    let client = client(server.address);
    send(&client, &ApiRequest::Login, LONG).await;

    let refused = send(&client, &ApiRequest::Login, LONG)
        .await
        .result
        .unwrap();
    assert_eq!((refused.status, refused.body.as_ref()), (401, &refusal[..]));
    let empty = send(&client, &ApiRequest::Login, LONG)
        .await
        .result
        .unwrap();
    assert_eq!(empty.body.as_ref(), br#"{"error":"no_access_token"}"#);
    assert!(wire_status::login(&empty.body).is_err());

    send(&client, &ApiRequest::Statuses { page: 1 }, LONG).await;
    assert!(server.heard()[3].contains("authorization: Bearer canary-token\r\n"));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = Server::start(vec![reply("200 OK", "", b"[]")]).await;
    let location = format!("location: http://{}/steal\r\n", elsewhere.address);
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
    ] {
        let answer = after_login(reply(status, &location, b""), &routing_state(), LONG).await;
        let status: u16 = status[..3].parse().unwrap();
        assert_eq!(answer.result.unwrap().status, status);
    }
    assert!(elsewhere.heard().is_empty());
}

#[tokio::test]
async fn gzip_is_decoded_and_a_bomb_stops_at_the_cap() {
    let encoded = "content-encoding: gzip\r\n";
    let small = reply("200 OK", encoded, &gzip(b"{\"routingStates\":[]}"));
    let answer = after_login(small, &routing_state(), LONG).await;
    assert_eq!(
        answer.result.unwrap().body.as_ref(),
        b"{\"routingStates\":[]}"
    );

    let full = gzip(&vec![b' '; SINGLE_BODY_MAX]);
    let answer = after_login(reply("200 OK", encoded, &full), &routing_state(), LONG).await;
    assert_eq!(answer.result.unwrap().body.len(), SINGLE_BODY_MAX);

    let bomb = gzip(&vec![b' '; SINGLE_BODY_MAX + 1]);
    assert!(bomb.len() < SINGLE_BODY_MAX / 500);
    let answer = after_login(reply("200 OK", encoded, &bomb), &routing_state(), LONG).await;
    assert_eq!(answer.result, Err(TransportFailure::TooLarge));

    let damaged = reply("200 OK", encoded, b"this is not gzip");
    let answer = after_login(damaged, &routing_state(), LONG).await;
    assert_eq!(answer.result, Err(TransportFailure::Broken));
}

#[tokio::test]
async fn a_cut_answer_is_broken() {
    let mut cut = answer("200 OK", "", b"[{}]");
    cut.truncate(cut.len() - 2);
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n[{}]\r\n";
    let replies = [
        cut,
        chunked.to_vec(),
        b"HTTP/1.1 200 OK\r\ncontent-le".to_vec(),
        b"not http at all\r\n\r\n".to_vec(),
        Vec::new(),
    ];
    for bytes in replies {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let answer = after_login(Reply::Close(bytes), &routing_state(), LONG).await;
        assert_eq!(answer.result, Err(TransportFailure::Broken), "{shown}");
    }
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let mut half = answer("200 OK", "", b"[{}]");
    half.truncate(half.len() - 2);
    for bytes in [Vec::new(), half] {
        let answer = after_login(Reply::Silence(bytes), &routing_state(), SHORT).await;
        assert_eq!(answer.result, Err(TransportFailure::Timeout));
        let took = (answer.received_at.mono - answer.sent_at.mono).to_duration();
        // The deadline is set from a clock of whole milliseconds.
        assert!(took + Duration::from_millis(1) >= SHORT, "{took:?}");
        assert!(took < LONG / 2, "{took:?}");
    }
}

/// Never knows an address, and never says so.
struct SilentResolver;

impl reqwest::dns::Resolve for SilentResolver {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_resolver_that_hangs_is_waited_for_until_the_deadline() {
    let source = source("http://platform.example", "http://platform.example");
    let mut client = Client::new(&source, "0.0.0-test").unwrap();
    let resolving = builder(&source, "0.0.0-test").dns_resolver(Arc::new(SilentResolver));
    client.http = resolving.build().unwrap();
    let answer = send(&client, &ApiRequest::Login, SHORT).await;
    assert_eq!(answer.result, Err(TransportFailure::Timeout));
    let took = (answer.received_at.mono - answer.sent_at.mono).to_duration();
    assert!(took + Duration::from_millis(1) >= SHORT, "{took:?}");
    assert!(took < LONG / 2, "{took:?}");
}

#[tokio::test]
async fn a_status_without_success_survives_its_body() {
    let mut cut = answer("503 Service Unavailable", "retry-after: 7\r\n", b"busy!");
    cut.truncate(cut.len() - 1);
    for reply in [Reply::Close(cut.clone()), Reply::Silence(cut)] {
        let answer = after_login(reply, &routing_state(), SHORT).await;
        let response = answer.result.unwrap();
        assert_eq!(response.status, 503);
        assert_eq!(response.headers.retry_after.as_deref(), Some("7"));
        assert_eq!(response.body.as_ref(), b"busy");
    }
    let huge = vec![b'x'; 2 * SINGLE_BODY_MAX];
    let answer = after_login(reply("502 Bad Gateway", "", &huge), &routing_state(), LONG).await;
    let response = answer.result.unwrap();
    assert_eq!(
        (response.status, response.body.len()),
        (502, ERROR_BODY_MAX)
    );
}

#[tokio::test]
async fn no_connection_and_no_tls_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let refused = send(&client(closed), &ApiRequest::Login, LONG).await;
    assert_eq!(refused.result, Err(TransportFailure::Connect));

    for bytes in [b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Vec::new()] {
        let server = Server::start(vec![Reply::Close(bytes)]).await;
        let url = format!("https://{}", server.address);
        let https = Client::new(&source(&url, &url), "0").unwrap();
        let answer = send(&https, &ApiRequest::Login, LONG).await;
        assert_eq!(answer.result, Err(TransportFailure::Tls));
    }
}

#[tokio::test]
async fn headers_that_matter_are_kept_and_bounded() {
    let extra = format!(
        "Content-Type: text/html; charset=utf-8\r\nDate: Tue, 14 May 2024 08:30:00 GMT\r\nAge: 12\r\n\
         ININ-RateLimit-Count: 17\r\ninin-ratelimit-allowed: 300\r\ninin-ratelimit-reset: {}\r\n",
        "4".repeat(HEADER_MAX + 1)
    );
    let html = b"<html>maintenance</html>";
    let answer = after_login(reply("200 OK", &extra, html), &routing_state(), LONG).await;
    let response = answer.result.unwrap();
    assert_eq!((response.status, response.body.as_ref()), (200, &html[..]));
    let expected = Headers {
        date: http_date("Tue, 14 May 2024 08:30:00 GMT"),
        aged: true,
        content_type: Some("text/html; charset=utf-8".to_owned()),
        retry_after: None,
        rate_count: Some("17".to_owned()),
        rate_allowed: Some("300".to_owned()),
        rate_reset: None,
    };
    assert_eq!(response.headers, expected);
    assert!(expected.date.is_some());

    let fresh = reply("200 OK", "age: 0\r\n", b"[]");
    let answer = after_login(fresh, &routing_state(), LONG).await;
    assert_eq!(answer.result.unwrap().headers, Headers::default());
}

#[tokio::test]
async fn an_observer_hears_of_every_attempt() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let server = Server::start(vec![reply("429 Too Many Requests", "", b"")]).await;
    let client = client(server.address).with_observer(
        move |endpoint: Endpoint, code: &str, took: Duration| {
            assert!(took < LONG);
            record.lock().unwrap().push(format!("{endpoint} {code}"));
        },
    );
    send(&client, &ApiRequest::Login, LONG).await;
    send(&client, &ApiRequest::Users { page: 1 }, LONG).await;
    assert_eq!(
        *seen.lock().unwrap(),
        ["/oauth/token 429", "/api/v2/users no_token"]
    );
}

#[test]
fn urls_that_cannot_be_used_are_refused_by_name_and_without_quoting_them() {
    let good = "https://api.example.org";
    let refused = |api: &str, login: &str| {
        let error = Client::new(&source(api, login), "0").unwrap_err();
        format!("{error} {error:?}")
    };
    let userinfo = refused("https://user:canary@api.example.org", good);
    assert!(userinfo.contains("api_url must not contain a user name or password"));
    assert!(!userinfo.contains("canary"));
    assert!(refused(good, "ftp://login.example.org").contains("login_url must begin with https"));
}

#[test]
fn addresses_stay_below_the_base() {
    let base = Url::parse("https://api.example.org/gateway/").unwrap();
    assert_eq!(
        address(&base, "/api/v2/users?pageNumber=2")
            .unwrap()
            .as_str(),
        "https://api.example.org/gateway/api/v2/users?pageNumber=2"
    );
    for id in ["..", ".", "../../evil", "a/b", "%2e%2e", "a?b#c", "é \n"] {
        let request = ApiRequest::RoutingState {
            user: UserId::new(id),
        };
        if let Some(url) = address(&base, &request.path_and_query()) {
            assert_eq!(url.host_str(), Some("api.example.org"));
            assert!(
                url.path().starts_with("/gateway/api/v2/routing/users/"),
                "{url}"
            );
            assert!(
                url.path().ends_with("/state") && url.query().is_none(),
                "{url}"
            );
            assert_eq!(url.path().matches('/').count(), 7, "{url}");
        } else {
            assert!(matches!(id, "." | ".."), "{id}");
        }
    }
}
