//! The landing page: what this is, where things are, and queues by state as they are now. Plain
//! HTML made on the server, no script, a policy that allows none.

use std::fmt::Write as _;

use crate::model::state::RoutingState;
use crate::model::view::View;
use crate::telemetry::BuildInfo;

pub(super) const STYLE_PATH: &str = "/style.css";

/// Nothing but our own style sheet may be loaded, and nobody may frame the page.
pub(super) const SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) const STYLE: &str = "\
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #8884; text-align: right; }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
footer { margin-top: 2rem; opacity: .7; }
";

/// Queues shown: the page stays short; the API has them all.
const QUEUES_SHOWN_MAX: usize = 100;

const INFALLIBLE: &str = "writing to a string cannot fail";

/// The page.
pub(super) fn page(view: &View, build: BuildInfo, telemetry_path: &str) -> String {
    let mut out = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>genesys-cloud-exporter</title>\n\
         <link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n<body>\n\
         <h1>genesys-cloud-exporter</h1>\n\
         <p>Agent presence and routing availability of Genesys Cloud as metrics.</p>\n<ul>\n",
    );
    let links = [
        (telemetry_path, "metrics"),
        ("/api/v1/queues", "queues"),
        ("/api/v1/agents", "agents"),
        ("/api/v1/windows", "window rows of the last hour"),
        ("/api/v1/status", "pipeline status"),
        ("/-/ready", "readiness"),
        ("/-/healthy", "health"),
    ];
    for (path, what) in links {
        let path = escape(path);
        writeln!(out, "<li><a href=\"{path}\">{path}</a> {what}</li>").expect(INFALLIBLE);
    }
    out.push_str("</ul>\n<h2>Queues</h2>\n");
    if view.health.accepted_at.is_some() {
        write_queues(view, &mut out);
    } else {
        out.push_str("<p>No snapshot was accepted yet.</p>\n");
    }
    writeln!(
        out,
        "<footer>Version {}, revision {}; all times are UTC.</footer>\n</body>\n</html>",
        escape(build.version),
        escape(build.revision)
    )
    .expect(INFALLIBLE);
    out
}

fn write_queues(view: &View, out: &mut String) {
    out.push_str("<table>\n<thead><tr><th scope=\"col\">queue</th>");
    for state in RoutingState::ALL {
        let title = state.label().replace('_', " ");
        write!(out, "<th scope=\"col\">{title}</th>").expect(INFALLIBLE);
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for queue in view.queues.iter().take(QUEUES_SHOWN_MAX) {
        write!(out, "<tr><td>{}</td>", escape(&queue.name)).expect(INFALLIBLE);
        for count in queue.agents {
            write!(out, "<td>{count}</td>").expect(INFALLIBLE);
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n");
    if let Some(more @ 1..) = view.queues.len().checked_sub(QUEUES_SHOWN_MAX) {
        writeln!(out, "<p>{more} more at /api/v1/queues.</p>").expect(INFALLIBLE);
    }
    if let Some(at) = view.health.accepted_at {
        writeln!(
            out,
            "<p>As of {at}. An agent counts in each of its queues.</p>"
        )
        .expect(INFALLIBLE);
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            escape("<script>alert(\"x\" & 'y')</script>"),
            "&lt;script&gt;alert(&quot;x&quot; &amp; &#39;y&#39;)&lt;/script&gt;"
        );
    }
}
