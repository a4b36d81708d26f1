use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;

use super::*;

/// Loopback answers in milliseconds; a run that waits longer hangs.
const SOON: Duration = Duration::from_secs(20);
const ID: SocketId = SocketId(7);

struct Peer {
    listener: TcpListener,
    uri: ConnectUri,
}

impl Peer {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let uri = ConnectUri::new(&format!("ws://{address}/channels/s3cr3t"));
        Self { listener, uri }
    }

    async fn accept(&self) -> WebSocketStream<TcpStream> {
        let (stream, _) = self.listener.accept().await.unwrap();
        accept_async(stream).await.unwrap()
    }
}

struct Events(mpsc::Receiver<Arrival>);

impl Events {
    async fn next(&mut self) -> SocketEvent {
        let (id, _, event) = tokio::time::timeout(SOON, self.0.recv())
            .await
            .expect("an event comes")
            .expect("the sender lives");
        assert_eq!(id, ID);
        event
    }
}

fn sockets(api_url: &str) -> (Sockets, Events) {
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let url = Url::parse(api_url).unwrap();
    (
        Sockets::new(&url, sender, SystemClock::new()),
        Events(events),
    )
}

#[tokio::test]
async fn frames_come_in_order_and_a_ping_goes_out() {
    let peer = Peer::new().await;
    let (mut sockets, mut events) = sockets("http://127.0.0.1/");
    sockets.connect(ID, peer.uri.clone());
    let mut far = peer.accept().await;
    assert_eq!(events.next().await, SocketEvent::Opened);
    for text in ["one", "two"] {
        far.send(Message::text(text)).await.unwrap();
    }
    assert_eq!(events.next().await, SocketEvent::Text("one".to_owned()));
    assert_eq!(events.next().await, SocketEvent::Text("two".to_owned()));
    sockets.ping(ID);
    let heard = tokio::time::timeout(SOON, far.next()).await.unwrap();
    assert_eq!(heard.unwrap().unwrap(), Message::text(PING));
    sockets.close(ID);
    let heard = tokio::time::timeout(SOON, far.next()).await.unwrap();
    assert!(matches!(heard, Some(Ok(Message::Close(_)))), "{heard:?}");
    assert_eq!(events.next().await, SocketEvent::Ended(SocketEnd::Closed));
}

#[tokio::test]
async fn the_ends_of_a_socket_are_told_apart() {
    let peer = Peer::new().await;
    let (mut sockets, mut events) = sockets("http://127.0.0.1/");

    sockets.connect(ID, peer.uri.clone());
    let mut far = peer.accept().await;
    assert_eq!(events.next().await, SocketEvent::Opened);
    far.close(None).await.unwrap();
    assert_eq!(events.next().await, SocketEvent::Ended(SocketEnd::Closed));

    sockets.connect(ID, peer.uri.clone());
    drop(peer.accept().await);
    assert_eq!(events.next().await, SocketEvent::Opened);
    assert_eq!(events.next().await, SocketEvent::Ended(SocketEnd::Broken));

    sockets.connect(ID, peer.uri.clone());
    let mut far = peer.accept().await;
    assert_eq!(events.next().await, SocketEvent::Opened);
    let sending = far.send(Message::text("x".repeat(FRAME_BYTES_MAX + 1)));
    // The other side hangs up in the middle of it.
    let (_, event) = tokio::join!(sending, events.next());
    assert_eq!(event, SocketEvent::Ended(SocketEnd::TooLarge));
}

#[tokio::test]
async fn a_handshake_that_fails_says_how() {
    use tokio::io::AsyncWriteExt as _;

    let peer = Peer::new().await;
    let (mut sockets, mut events) = sockets("http://127.0.0.1/");
    sockets.connect(ID, peer.uri.clone());
    let (mut stream, _) = peer.listener.accept().await.unwrap();
    let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(answer).await.unwrap();
    let refused = SocketEvent::Ended(SocketEnd::Refused(404));
    assert_eq!(events.next().await, refused);

    let uri = peer.uri.clone();
    drop(peer);
    sockets.connect(ID, uri);
    assert_eq!(events.next().await, SocketEvent::Ended(SocketEnd::Connect));
    for address in ["https://127.0.0.1/", "127.0.0.1", "ws://", "ws:// /"] {
        sockets.connect(ID, ConnectUri::new(address));
        let event = events.next().await;
        assert_eq!(event, SocketEvent::Ended(SocketEnd::Address), "{address}");
    }
}

#[tokio::test]
async fn a_socket_without_tls_is_refused_where_the_api_has_tls() {
    let peer = Peer::new().await;
    let (mut sockets, mut events) = sockets("https://api.mypurecloud.com/");
    sockets.connect(ID, peer.uri.clone());
    assert_eq!(events.next().await, SocketEvent::Ended(SocketEnd::Address));
}
