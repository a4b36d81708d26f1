//! The board at `/`: a live page for a supervisor, and for whoever has just installed this.
//!
//! The page, its style, its script and its icon are in the binary, so it needs no internet and no
//! build step; the page follows `/api/v1/stream` (`update` says what that carries) and holds no
//! figure of its own. Pure: `stream` sends, `routes` serves.

mod update;
mod warnings;

pub(super) use update::{Pipeline, Shown};

use crate::telemetry::BuildInfo;

/// Nothing but our own files may be loaded or asked for, and nobody may frame the page. No inline
/// script or style either: what a queue's name says can never run.
pub(super) const SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'";

/// A file of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asset {
    pub(super) path: &'static str,
    pub(super) content_type: &'static str,
    pub(super) content: &'static str,
}

const ASSETS: [Asset; 3] = [
    Asset {
        path: "/board.css",
        content_type: "text/css; charset=utf-8",
        content: include_str!("board/board.css"),
    },
    Asset {
        path: "/board.js",
        content_type: "text/javascript; charset=utf-8",
        content: include_str!("board/board.js"),
    },
    Asset {
        path: "/board.svg",
        content_type: "image/svg+xml",
        content: include_str!("board/board.svg"),
    },
];

/// The file at this path, if it is one of the board's.
pub(super) fn asset(path: &str) -> Option<Asset> {
    ASSETS.into_iter().find(|asset| asset.path == path)
}

/// The page itself. Its links are relative, so that it works behind a proxy's prefix too.
pub(super) fn page(build: BuildInfo, telemetry_path: &str) -> String {
    include_str!("board/board.html")
        .replace("{metrics}", &escape(telemetry_path.trim_start_matches('/')))
        .replace("{version}", &escape(build.version))
        .replace("{revision}", &escape(build.revision))
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

    #[test]
    fn the_page_is_whole_and_asks_only_for_our_files() {
        let page = page(BuildInfo::current(), "/a\"b");
        assert!(!page.contains(['{', '}']), "a placeholder is left");
        assert!(page.contains("href=\"a&quot;b\""));
        assert!(!page.contains("style=") && !page.contains("://"));
        for asset in ASSETS {
            let named = format!("=\"{}\"", asset.path.trim_start_matches('/'));
            assert!(page.contains(&named), "{named}");
            let outside = asset.content.replace("http://www.w3.org/2000/svg", "");
            assert!(!outside.contains("://"), "{} asks elsewhere", asset.path);
        }
    }
}
