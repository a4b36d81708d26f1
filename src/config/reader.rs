//! Settings as text into values, one by one; what is wrong with them is collected.

use std::collections::BTreeSet;

use regex::Regex;
use url::Url;

use crate::model::time::Millis;

use super::finding::{Finding, Place, Refusal, nearest, quoted};
use super::raw::{Layer, RawValue};
use super::settings::{SETTINGS, Support, setting};
use super::sources::Part;
use super::{duration, values};

/// Most items of a list: every queue name is matched against every pattern.
const ITEMS_MAX: usize = 100;

/// Reads settings and collects what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) layer: &'a Layer,
    /// Where the organisation stands in the list of several.
    pub(super) listed: Option<&'a Place>,
    pub(super) mistakes: &'a mut Vec<Finding>,
    pub(super) warnings: &'a mut Vec<Finding>,
    /// Settings with a mistake: rules between settings keep silent about them.
    bad: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    /// What this version does not support is refused already.
    pub(super) fn new(
        part: &'a Part,
        mistakes: &'a mut Vec<Finding>,
        warnings: &'a mut Vec<Finding>,
    ) -> Self {
        let mut reader = Self {
            layer: &part.layer,
            listed: part.listed.as_ref(),
            mistakes,
            warnings,
            bad: BTreeSet::new(),
        };
        reader.refuse_unsupported();
        reader
    }

    pub(super) fn refuse(&mut self, place: Place, key: &'static str, refusal: Refusal) {
        self.bad.insert(key);
        self.mistakes.push(Finding::new(place, key, refusal));
    }

    /// A mistake in something that is no setting.
    pub(super) fn refuse_place(&mut self, place: Place, refusal: Refusal) {
        self.mistakes.push(Finding::new(place, "", refusal));
    }

    pub(super) fn warn(&mut self, key: &'static str, place: Place, refusal: Refusal) {
        self.warnings.push(Finding::new(place, key, refusal));
    }

    pub(super) fn refuse_key(&mut self, key: &'static str, refusal: Refusal) {
        self.refuse(self.place(key), key, refusal);
    }

    pub(super) fn any_bad(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.bad.contains(key))
    }

    pub(super) fn place(&self, path: &str) -> Place {
        let home = self.listed.filter(|_| path.starts_with("source."));
        match (self.layer.get(path), home) {
            (Some(raw), _) => raw.place.clone(),
            (None, Some(item)) => item.clone(),
            (None, None) => Place::Default,
        }
    }

    /// The text of a single value.
    pub(super) fn given(&self, path: &'static str) -> &'a str {
        match self.layer.get(path).map(|raw| &raw.value) {
            Some(RawValue::One(text)) => text,
            _ => default_text(path),
        }
    }

    pub(super) fn value<T>(
        &mut self,
        path: &'static str,
        parse: impl Fn(&str) -> Result<T, Refusal>,
    ) -> T {
        match parse(self.given(path)) {
            Ok(value) => value,
            Err(refusal) => {
                self.refuse_key(path, refusal);
                default_of(path, parse)
            }
        }
    }

    /// A setting that has no valid default.
    pub(super) fn required(
        &mut self,
        path: &'static str,
        parse: impl Fn(&str) -> Result<String, Refusal>,
    ) -> String {
        parse(self.given(path)).unwrap_or_else(|refusal| {
            self.refuse_key(path, refusal);
            String::new()
        })
    }

    pub(super) fn duration(&mut self, path: &'static str) -> Millis {
        self.value(path, values::duration_above_zero)
    }

    pub(super) fn count(&mut self, path: &'static str, least: u32, most: u32) -> u32 {
        self.value(path, |text| values::count(text, least..=most))
    }

    pub(super) fn url(&mut self, path: &'static str) -> Option<Url> {
        let text = self.given(path);
        if text.is_empty() {
            return None;
        }
        match values::base_url(text) {
            Ok(url) => {
                if url.scheme() == "http" && !values::is_loopback(&url) {
                    let what = "sends tokens and states of people in clear text";
                    self.warn(path, self.place(path), Refusal::new(what, "use https"));
                }
                Some(url)
            }
            Err(refusal) => {
                self.refuse_key(path, refusal);
                None
            }
        }
    }

    /// A word that `refuse_unsupported` has let pass.
    pub(super) fn word(&self, path: &'static str) -> &'a str {
        if self.any_bad(&[path]) {
            default_text(path)
        } else {
            self.given(path)
        }
    }

    pub(super) fn items(&mut self, path: &'static str) -> Vec<(String, Place)> {
        let items = match self.layer.get(path).map(|raw| &raw.value) {
            Some(RawValue::Many(items)) => items.clone(),
            _ => {
                let setting = setting(path).expect("settings are read by paths of the table");
                let items = setting.default.iter();
                items
                    .map(|item| ((*item).to_owned(), Place::Default))
                    .collect()
            }
        };
        if items.len() > ITEMS_MAX {
            let what = format!("has {} items", items.len());
            let refusal = Refusal::new(what, format!("give at most {ITEMS_MAX}"));
            self.refuse_key(path, refusal);
            return Vec::new();
        }
        items
    }

    pub(super) fn patterns(&mut self, path: &'static str) -> Vec<Regex> {
        let mut patterns = Vec::new();
        for (text, place) in self.items(path) {
            match values::pattern(&text) {
                Ok(pattern) => patterns.push(pattern),
                Err(refusal) => self.refuse(place, path, refusal),
            }
        }
        patterns
    }

    /// A rule between two durations, told where `key` or else `other` was set.
    pub(super) fn owe(
        &mut self,
        key: &'static str,
        other: &'static str,
        owes: &str,
        holds: impl Fn(Millis, Millis) -> bool,
    ) {
        if self.any_bad(&[key, other]) {
            return;
        }
        let read = |text: &str| values::duration_above_zero(text);
        let (Ok(left), Ok(right)) = (read(self.given(key)), read(self.given(other))) else {
            return;
        };
        if holds(left, right) {
            return;
        }
        let set = if self.layer.contains_key(key) {
            key
        } else {
            other
        };
        let what = format!(
            "({}) {owes} {other} ({})",
            duration::text(left),
            duration::text(right)
        );
        let place = self.place(set);
        self.refuse(place, key, Refusal::new(what, "change one of the two"));
    }

    /// Words that are not words of the setting, and values that only a later version acts on.
    fn refuse_unsupported(&mut self) {
        let layer = self.layer;
        for setting in SETTINGS {
            let Some(raw) = layer.get(setting.path) else {
                continue;
            };
            let refusal = match (setting.support, &raw.value) {
                (Support::Words { supported, planned }, RawValue::One(word)) => {
                    word_refusal(word, supported, planned)
                }
                _ => None,
            };
            if let Some(refusal) = refusal {
                self.refuse(raw.place.clone(), setting.path, refusal);
            }
        }
    }
}

fn word_refusal(word: &str, supported: &[&str], planned: &[&str]) -> Option<Refusal> {
    if supported.contains(&word) {
        return None;
    }
    let choice = supported.join(", ");
    if planned.contains(&word) {
        let what = "is not supported by this version";
        return Some(Refusal::value(word, what, &format!("supported: {choice}")));
    }
    let known = supported.iter().chain(planned).copied();
    let meant = nearest(word, known)
        .map(|near| format!("did you mean {}? ", quoted(near)))
        .unwrap_or_default();
    let hint = format!("{meant}supported: {choice}");
    Some(Refusal::value(word, "is not one of the values", &hint))
}

pub(super) fn default_of<T>(path: &'static str, parse: impl Fn(&str) -> Result<T, Refusal>) -> T {
    parse(default_text(path)).unwrap_or_else(|_| panic!("the default of {path} is valid"))
}

fn default_text(path: &str) -> &'static str {
    let setting = setting(path).expect("settings are read by paths of the table");
    setting.default.first().copied().unwrap_or_default()
}
