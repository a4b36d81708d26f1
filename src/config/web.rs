//! The server's settings, and a first look at the file that protects it.

use std::path::PathBuf;

use super::finding::Refusal;
use super::reader::Reader;
use super::{WebConfig, values, web_file};

/// Where and how results are served.
pub(super) fn web(reader: &mut Reader<'_>) -> WebConfig {
    let mut listen = Vec::new();
    for (text, place) in reader.items("web.listen") {
        match values::address(&text) {
            // Port 0 asks for any free port, so it may be asked for twice.
            Ok(address) if address.port() != 0 && listen.contains(&address) => {
                let refusal = Refusal::value(&text, "is given twice", "remove one of them");
                reader.refuse(place, "web.listen", refusal);
            }
            Ok(address) => listen.push(address),
            Err(refusal) => reader.refuse(place, "web.listen", refusal),
        }
    }
    if listen.is_empty() && !reader.any_bad(&["web.listen"]) {
        let refusal = Refusal::new(
            "names no address",
            "write for example [\"127.0.0.1:10095\"]",
        );
        reader.refuse_key("web.listen", refusal);
    }
    let config_file = match reader.given("web.config_file") {
        "" => None,
        path => Some(PathBuf::from(path)),
    };
    // Read again where it is used; here, so that its mistakes stand among the others.
    if let Some(path) = &config_file
        && let Err(error) = web_file::read(path, &listen, reader.warnings, &mut Vec::new())
    {
        reader.mistakes.extend(error.mistakes);
    }
    WebConfig {
        listen,
        telemetry_path: reader.value("web.telemetry_path", values::telemetry_path),
        config_file,
        enable_lifecycle: reader.value("web.enable_lifecycle", values::switch),
    }
}
