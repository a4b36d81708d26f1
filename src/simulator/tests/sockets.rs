//! Notifications over real sockets, on the listener of the REST calls.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::http::Served;
use super::*;

/// No frame of a lively organisation takes longer.
const BOUND: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<TcpStream>;

impl Served {
    async fn channel(&self) -> Value {
        let url = format!("{}/api/v2/notifications/channels", self.base);
        let request = self.client.post(url).bearer_auth(&self.token);
        let body = request.send().await.unwrap().bytes().await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    async fn subscribe(&self, channel: &str, topics: &Value) -> u16 {
        let url = format!(
            "{}/api/v2/notifications/channels/{channel}/subscriptions",
            self.base
        );
        let request = self.client.put(url).bearer_auth(&self.token);
        let answer = request.body(topics.to_string()).send().await.unwrap();
        answer.status().as_u16()
    }

    async fn connect(&self, uri: &str) -> Result<Socket, Error> {
        let address = self.base.trim_start_matches("http://");
        let stream = TcpStream::connect(address).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(uri, stream).await?;
        Ok(socket)
    }
}

/// The next text that is what one waits for.
async fn hear(socket: &mut Socket, wanted: impl Fn(&Value) -> bool) -> Value {
    let hearing = async {
        loop {
            let message = socket.next().await.expect("the socket is open").unwrap();
            if let Message::Text(text) = message {
                let said: Value = serde_json::from_str(&text).unwrap();
                if wanted(&said) {
                    return said;
                }
            }
        }
    };
    tokio::time::timeout(BOUND, hearing).await.expect("in time")
}

/// A lively organisation whose every agent a channel listens to.
async fn listening() -> (Served, Socket, String) {
    let served = Served::start_with(|options| {
        options.org.tempo = 300.0;
        options.org.min_state = Millis(250);
    })
    .await;
    let channel = served.channel().await;
    let topics: Value = {
        let platform = served.platform.lock().unwrap();
        let entries = platform.roster().entries().iter();
        entries
            .map(|entry| json!({"id": format!("v2.users.{}.activity", entry.agent.id)}))
            .collect()
    };
    assert_eq!(served.subscribe(text(&channel["id"]), &topics).await, 200);
    let uri = text(&channel["connectUri"]).to_owned();
    let socket = served.connect(&uri).await.unwrap();
    (served, socket, uri)
}

#[tokio::test]
async fn events_and_pongs_arrive_over_a_real_socket() {
    let (served, mut socket, _) = listening().await;
    let event = hear(&mut socket, |said| {
        text(&said["topicName"]).ends_with(".activity")
    })
    .await;
    let id = text(&event["eventBody"]["id"]);
    assert_eq!(text(&event["topicName"]), format!("v2.users.{id}.activity"));
    socket
        .send(Message::text("{\"message\":\"ping\"}"))
        .await
        .unwrap();
    hear(&mut socket, |said| said["eventBody"]["message"] == "pong").await;
    assert_eq!(
        served
            .platform
            .lock()
            .unwrap()
            .notification_statistics()
            .open,
        1
    );
    served.end().await;
    // Whatever was under way may still come; then the socket ends.
    let ended = async { while let Some(Ok(_)) = socket.next().await {} };
    tokio::time::timeout(BOUND, ended).await.unwrap();
}

#[tokio::test]
async fn a_second_socket_closes_the_first() {
    let (served, mut first, uri) = listening().await;
    let mut second = served.connect(&uri).await.unwrap();
    let closed = async {
        loop {
            match first.next().await {
                Some(Ok(Message::Close(frame))) => return frame,
                Some(Ok(_)) => {}
                other => panic!("no goodbye: {other:?}"),
            }
        }
    };
    let frame = tokio::time::timeout(BOUND, closed).await.unwrap().unwrap();
    assert_eq!(u16::from(frame.code), 1_000);
    hear(&mut second, |said| said["eventBody"]["id"].is_string()).await;
    served.end().await;
}

#[tokio::test]
async fn a_dropped_socket_ends_without_a_goodbye_and_may_come_back() {
    let (served, mut socket, uri) = listening().await;
    served.faults("socket-drop").await;
    let ended = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(_))) => panic!("a goodbye"),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    };
    tokio::time::timeout(BOUND, ended).await.unwrap();
    let refused = served.connect(&uri).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Http(answer) if answer.status() == 503),
        "{refused:?}"
    );
    served.faults("none").await;
    let mut socket = served.connect(&uri).await.unwrap();
    hear(&mut socket, |said| said["eventBody"]["id"].is_string()).await;
    served.end().await;
}

#[tokio::test]
async fn a_channel_that_is_not_there_is_not_found() {
    let (served, _socket, uri) = listening().await;
    let refused = served.connect(&format!("{uri}x")).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Http(answer) if answer.status() == 404),
        "{refused:?}"
    );
    let plain = served
        .client
        .get(uri.replace("ws://", "http://"))
        .send()
        .await
        .unwrap();
    assert_eq!(plain.status(), 404, "it is a place for sockets only");
    served.end().await;
}
