//! The platform's side of the wire: what can be asked, how answers are read, and the client that
//! carries both. Requests and parsers are pure; only `client` touches the network.

pub mod request;
pub mod response;
pub mod wire;
pub mod headers;
pub mod wire_status;
