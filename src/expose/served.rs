//! What is served of each organisation, and which of several a reader asks for.

use std::sync::Arc;

use super::pages::Pages;
use super::state::Pulse;
use crate::store::WindowReader;
use crate::telemetry::Telemetry;

/// Everything that is served of one organisation.
#[derive(Clone)]
pub struct Served {
    /// Its name in the configuration; shown where there are several.
    pub name: Arc<str>,
    /// The published view.
    pub pages: Arc<Pages>,
    /// What the exporter counts about it.
    pub telemetry: Arc<Telemetry>,
    /// Its closed windows.
    pub windows: Arc<dyn WindowReader>,
    /// The heartbeat of whoever works for it.
    pub pulse: Arc<Pulse>,
}

/// The organisations that a reader gets: all, or the one that was asked for.
#[derive(Clone, Copy)]
pub(super) struct Chosen<'a> {
    of: &'a [Served],
    several: bool,
}

impl<'a> Chosen<'a> {
    /// Of all that are served, the one of this name, or all.
    pub(super) fn of(all: &'a [Served], name: Option<&str>) -> Option<Self> {
        let of = match name {
            None => all,
            Some(name) => {
                let at = all.iter().position(|served| &*served.name == name)?;
                &all[at..=at]
            }
        };
        let several = all.len() > 1;
        Some(Self { of, several })
    }

    /// Each, with its name if there are others.
    pub(super) fn each(self) -> impl Iterator<Item = (Option<&'a str>, &'a Served)> {
        let several = self.several;
        self.of
            .iter()
            .map(move |served| (several.then_some(&*served.name), served))
    }

    /// The only one, if an answer about it needs no name.
    pub(super) fn only(self) -> Option<&'a Served> {
        match self.of {
            [served] => Some(served),
            _ => None,
        }
    }
}
