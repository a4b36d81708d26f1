//! What the live tests share: processes, HTTP, the organisation, the exporter, the audit.

pub(crate) mod audit; //        rows against the truth
mod audit_tests; //             the audit notices what it is there for
pub(crate) mod broker; //       a NATS of its own
#[allow(dead_code, reason = "shared with the tests of the store")]
pub(crate) mod cluster; //      a PostgreSQL of its own
pub(crate) mod counters; //     time counters against the truth
pub(crate) mod exporter; //     the exporter under test
pub(crate) mod http; //         a client without opinions
pub(crate) mod monitoring; //   a real Prometheus and a real Alertmanager
pub(crate) mod organisation; // the simulated organisation
#[path = "../../expose/otlp/sink.rs"]
#[allow(dead_code, reason = "shared with the tests of the push")]
pub(crate) mod sink; //         a collector that keeps what it gets
#[path = "../../expose/otlp/translation.rs"]
pub(crate) mod translation; //  what Prometheus makes of OTLP
pub(crate) mod rotel; //        a real collector
pub(crate) mod replay; //       what an OTLP receiver would have stored
pub(crate) mod process; //      a child that cannot outlive its test
pub(crate) mod strict; //       readers that take nothing that is not right
pub(crate) mod wait; //         conditions with bounds

#[path = "../../dashboards/queries.rs"]
#[allow(dead_code, reason = "shared with the tests of the dashboards")]
pub(crate) mod queries; //      what the dashboards ask
#[path = "../../expose/parse.rs"]
#[allow(dead_code, reason = "shared with the tests of the pages")]
pub(crate) mod exposition; //   a parser of pages that shares nothing with the renderer
