//! A collector that keeps what it gets and answers as it is told, over both protocols.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, metric, number_data_point};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// Nothing that is waited for takes longer.
const BOUND: Duration = Duration::from_secs(60);

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// It takes everything.
    Take,
    /// It refuses with this status; over gRPC with INVALID_ARGUMENT, whatever the status.
    Refuse(u16),
    /// It takes requests and refuses so many of their points.
    Partly(i64),
    /// It reads requests and never answers.
    Hang,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// Length of the message after decompression.
    pub(crate) bytes: usize,
    pub(crate) message: ExportMetricsServiceRequest,
}

/// A point: what it counts and since when.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) value: Value,
    pub(crate) unit: String,
    pub(crate) help: String,
    /// 0: a gauge, 1: delta, 2: cumulative.
    pub(crate) temporality: i32,
    pub(crate) start: u64,
    pub(crate) time: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Gauge(f64),
    Counter(f64),
    Histogram(HistogramDataPoint),
}

/// Name and attributes; empty attributes are none, as in Prometheus.
pub(crate) type Series = (String, BTreeMap<String, String>);

#[derive(Debug)]
struct State {
    received: Mutex<Vec<Received>>,
    behaviour: Mutex<Behaviour>,
    count: watch::Sender<usize>,
}

/// The collector. It ends with the runtime of its test.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    state: Arc<State>,
}

impl Sink {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// A sink that speaks TLS, if it is given a certificate.
    pub(crate) async fn start_with(tls: Option<Arc<ServerConfig>>) -> Self {
        let state = Arc::new(State {
            received: Mutex::new(Vec::new()),
            behaviour: Mutex::new(Behaviour::Take),
            count: watch::Sender::new(0),
        });
        let (http, grpc) = (listener().await, listener().await);
        let sink = Self {
            http: http.local_addr().unwrap(),
            grpc: grpc.local_addr().unwrap(),
            state: Arc::clone(&state),
        };
        tokio::spawn(serve(http, Arc::clone(&state), false, tls.clone()));
        tokio::spawn(serve(grpc, state, true, tls));
        sink
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.state.behaviour.lock().unwrap() = behaviour;
    }

    /// What came since this was last called.
    pub(crate) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *self.state.received.lock().unwrap())
    }

    /// Waits until `condition` holds for what came and was not taken.
    pub(crate) async fn wait<T>(
        &self,
        what: &str,
        condition: impl Fn(&[Received]) -> Option<T>,
    ) -> T {
        let mut count = self.state.count.subscribe();
        let looking = async {
            loop {
                count.borrow_and_update();
                let found = condition(&self.state.received.lock().unwrap());
                if let Some(found) = found {
                    return found;
                }
                count.changed().await.unwrap();
            }
        };
        tokio::time::timeout(BOUND, looking)
            .await
            .unwrap_or_else(|_| panic!("waited {BOUND:?} in vain: {what}"))
    }
}

/// The last point of each series.
pub(crate) fn points(received: &[Received]) -> BTreeMap<Series, Point> {
    let mut points = BTreeMap::new();
    for (series, point) in all_points(received) {
        points.insert(series, point);
    }
    points
}

/// Every point in the order in which it came.
pub(crate) fn all_points(received: &[Received]) -> Vec<(Series, Point)> {
    points_of(received, |_| true)
}

/// The same, of the metrics that are wanted: of megabytes that came, few may matter.
pub(crate) fn points_of(
    received: &[Received],
    wanted: impl Fn(&str) -> bool,
) -> Vec<(Series, Point)> {
    let metrics = received
        .iter()
        .flat_map(|received| &received.message.resource_metrics)
        .flat_map(|resource| &resource.scope_metrics)
        .flat_map(|scope| &scope.metrics)
        .filter(|metric| wanted(&metric.name));
    let mut points = Vec::new();
    for metric in metrics {
        let mut put = |attributes: &[KeyValue], temporality, start, time, value| {
            let point = Point {
                value,
                unit: metric.unit.clone(),
                help: metric.description.clone(),
                temporality,
                start,
                time,
            };
            points.push(((metric.name.clone(), texts(attributes)), point));
        };
        match metric.data.as_ref().expect("a metric has data") {
            metric::Data::Gauge(gauge) => {
                for point in &gauge.data_points {
                    let value = Value::Gauge(number(point.value));
                    put(
                        &point.attributes,
                        0,
                        point.start_time_unix_nano,
                        point.time_unix_nano,
                        value,
                    );
                }
            }
            metric::Data::Sum(sum) => {
                assert!(sum.is_monotonic, "{}", metric.name);
                for point in &sum.data_points {
                    let value = Value::Counter(number(point.value));
                    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                    put(
                        &point.attributes,
                        sum.aggregation_temporality,
                        start,
                        time,
                        value,
                    );
                }
            }
            metric::Data::Histogram(histogram) => {
                for point in &histogram.data_points {
                    let value = Value::Histogram(point.clone());
                    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                    put(
                        &point.attributes,
                        histogram.aggregation_temporality,
                        start,
                        time,
                        value,
                    );
                }
            }
            other => panic!("{} is none of ours: {other:?}", metric.name),
        }
    }
    points
}

/// Attributes of the resource, the same in every request.
pub(crate) fn resource(received: &[Received]) -> BTreeMap<String, String> {
    let mut resources: Vec<BTreeMap<String, String>> = received
        .iter()
        .flat_map(|received| &received.message.resource_metrics)
        .map(|metrics| texts(&metrics.resource.as_ref().expect("a resource").attributes))
        .collect();
    resources.dedup();
    assert_eq!(resources.len(), 1, "{resources:?}");
    resources.remove(0)
}

fn number(value: Option<number_data_point::Value>) -> f64 {
    match value.expect("a point has a value") {
        number_data_point::Value::AsDouble(value) => value,
        number_data_point::Value::AsInt(value) => value as f64,
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) if text.is_empty() => None,
        any_value::Value::StringValue(text) => Some((attribute.key.clone(), text.clone())),
        other => panic!("{} is no text: {other:?}", attribute.key),
    };
    let texts: BTreeMap<String, String> = attributes.iter().filter_map(text).collect();
    assert!(
        !texts.contains_key("otel.metric.overflow"),
        "{attributes:?}"
    );
    texts
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn serve(
    listener: TcpListener,
    state: Arc<State>,
    grpc: bool,
    tls: Option<Arc<ServerConfig>>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        let tls = tls.clone().map(TlsAcceptor::from);
        tokio::spawn(async move {
            // A client that goes away in the middle is none of our business.
            match tls {
                None => serve_connection(stream, state, grpc).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve_connection(stream, state, grpc).await;
                    }
                }
            }
        });
    }
}

async fn serve_connection<S>(stream: S, state: Arc<State>, grpc: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let service = service_fn(move |request| answer(request, Arc::clone(&state), grpc));
    if grpc {
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(io, service)
            .await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(io, service)
            .await;
    }
}

type Body = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
    grpc: bool,
) -> Result<Response<Body>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let encoded = |name: &str| head.headers.get(name).is_some_and(|value| value == "gzip");
    let body = match grpc {
        // A flag, four bytes of length, the message.
        true if body[0] == 1 => inflated(&body[5..]),
        true => body.slice(5..),
        false if encoded("content-encoding") => inflated(&body),
        false => body,
    };
    let message = ExportMetricsServiceRequest::decode(&*body).expect("a request of OTLP");
    let behaviour = *state.behaviour.lock().unwrap();
    state.received.lock().unwrap().push(Received {
        path: head.uri.path().to_owned(),
        headers: head.headers,
        bytes: body.len(),
        message,
    });
    state.count.send_modify(|count| *count += 1);
    let (status, partial) = match behaviour {
        Behaviour::Take => (200, None),
        Behaviour::Refuse(status) => (status, None),
        Behaviour::Partly(rejected_data_points) => {
            let error_message = "too old".to_owned();
            let partial = ExportMetricsPartialSuccess {
                rejected_data_points,
                error_message,
            };
            (200, Some(partial))
        }
        Behaviour::Hang => std::future::pending().await,
    };
    let partial_success = partial;
    let message = ExportMetricsServiceResponse { partial_success }.encode_to_vec();
    Ok(if grpc {
        grpc_response(status, &message)
    } else {
        let frames = vec![Ok(Frame::data(Bytes::from(message)))];
        Response::builder()
            .status(status)
            .header("content-type", "application/x-protobuf")
            .body(StreamBody::new(stream::iter(frames)))
            .unwrap()
    })
}

fn grpc_response(status: u16, message: &[u8]) -> Response<Body> {
    let mut data = BytesMut::new();
    data.extend_from_slice(&[0]);
    data.extend_from_slice(&(message.len() as u32).to_be_bytes());
    data.extend_from_slice(message);
    let mut trailers = HeaderMap::new();
    // INVALID_ARGUMENT is not tried again.
    let code = if status == 200 { "0" } else { "3" };
    trailers.insert("grpc-status", code.parse().unwrap());
    let frames = vec![
        Ok(Frame::data(data.freeze())),
        Ok(Frame::trailers(trailers)),
    ];
    Response::builder()
        .header("content-type", "application/grpc")
        .body(StreamBody::new(stream::iter(frames)))
        .unwrap()
}

fn inflated(body: &[u8]) -> Bytes {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(body)
        .read_to_end(&mut out)
        .unwrap();
    out.into()
}
