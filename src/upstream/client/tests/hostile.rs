//! Servers that are broken, hostile or somebody else: each ends in a failure by its name, soon,
//! and learns nothing.

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Writes `begin`, then `again` for ever.
async fn endless(begin: &'static [u8], again: &'static [u8], pause: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                read_request(&mut stream).await;
                if stream.write_all(begin).await.is_err() {
                    return;
                }
                // The client hangs up in the end.
                while stream.write_all(again).await.is_ok() {
                    tokio::time::sleep(pause).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_status_line_that_makes_no_sense_is_a_failure_and_no_panic() {
    for line in [
        "HTTP/1.1 600 Beyond",
        "HTTP/1.1 99 Below",
        "HTTP/1.1 abc What",
        "HTTP/9.9 200 OK",
        "HTTP/1.1",
        "\u{0}\u{0}\u{0}",
    ] {
        let bytes = format!("{line}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]");
        let answer = after_login(Reply::Close(bytes.into()), &routing_state(), LONG).await;
        match answer.result {
            // Some are numbers all the same: then they are no success.
            Ok(response) => assert_ne!(response.status, 200, "{line}"),
            Err(failure) => assert_eq!(failure, TransportFailure::Broken, "{line}"),
        }
    }
}

#[tokio::test]
async fn interim_answers_without_an_end_end_at_the_deadline() {
    let address = endless(
        b"",
        b"HTTP/1.1 102 Processing\r\n\r\n",
        Duration::from_millis(5),
    )
    .await;
    let answer = send(&client(address), &ApiRequest::Login, SHORT).await;
    let failure = answer.result.unwrap_err();
    assert!(
        matches!(
            failure,
            TransportFailure::Timeout | TransportFailure::Broken
        ),
        "{failure:?}"
    );
}

#[tokio::test]
async fn headers_without_an_end_are_cut_off() {
    let begin = b"HTTP/1.1 200 OK\r\n";
    let line = b"x-padding: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";
    let address = endless(begin, line, Duration::ZERO).await;
    let answer = send(&client(address), &ApiRequest::Login, LONG).await;
    assert_eq!(answer.result, Err(TransportFailure::Broken));
}

#[tokio::test]
async fn a_body_that_trickles_ends_at_the_deadline() {
    let begin = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
    let address = endless(begin, b" ", Duration::from_millis(20)).await;
    let answer = send(&client(address), &ApiRequest::Login, SHORT).await;
    assert_eq!(answer.result, Err(TransportFailure::Timeout));
}

#[tokio::test]
async fn a_proxy_that_wants_a_login_gets_no_credentials_of_ours() {
    let refusal = reply(
        "407 Proxy Authentication Required",
        "proxy-authenticate: Basic realm=\"proxy\"\r\n",
        b"",
    );
    let server = Server::start(vec![token_reply(), refusal]).await;
    let client = client(server.address);
    send(&client, &ApiRequest::Login, LONG).await;
    let answer = send(&client, &routing_state(), LONG).await;
    assert_eq!(answer.result.unwrap().status, 407);
    let heard = server.heard();
    assert_eq!(heard.len(), 2, "asked once");
    assert!(!heard[1].contains("proxy-authorization"), "{}", heard[1]);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_idle_is_not_a_failure() {
    // Two answers on two connections, and no word that the first is closed after its answer.
    let keep = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    let token = format!(r#"{{"access_token":"{TOKEN}","expires_in":86400}}"#);
    let replies = vec![Reply::Close(keep(&token)), Reply::Close(keep("[]"))];
    let server = Server::start(replies).await;
    let client = client(server.address);
    let login = send(&client, &ApiRequest::Login, LONG).await;
    assert_eq!(login.result.unwrap().status, 200);
    let answer = send(&client, &routing_state(), LONG).await;
    // Either its end was seen in time, or the attempt counts as one that may be repeated.
    match answer.result {
        Ok(response) => assert_eq!(response.body.as_ref(), b"[]"),
        Err(failure) => assert_eq!(failure, TransportFailure::Broken),
    }
}

/// A server whose certificate nobody has signed.
async fn strange_certificate(name: &str) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let chain = vec![params.self_signed(&key).unwrap().der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            assert!(acceptor.accept(stream).await.is_err(), "nobody goes on");
        }
    });
    address
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_ends_the_request_before_a_secret_is_sent() {
    for name in ["127.0.0.1", "elsewhere.example"] {
        let url = format!("https://{}", strange_certificate(name).await);
        let https = Client::new(&source(&url, &url), "0").unwrap();
        let answer = send(&https, &ApiRequest::Login, LONG).await;
        assert_eq!(answer.result, Err(TransportFailure::Tls), "{name}");
    }
}
