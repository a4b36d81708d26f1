//! The sources of settings beside the file, and which of them wins.
//!
//! Flag over environment over file over default; the standard variables of OpenTelemetry, which
//! `otel` reads, stand between the file and the defaults. The environment comes in as a map; one rule
//! names its variables: `GENESYSCLOUD_` and the path in upper case with `_` for `.`.
//! An empty variable counts as not set. A list is written `a,b` or, if an item holds a comma,
//! as YAML: `["a{1,2}", "b"]`.

use std::collections::BTreeMap;

use super::finding::{Finding, Place, Refusal, nearest};
use super::raw::{Layer, Raw, RawValue};
use super::settings::{ENVIRONMENT_PREFIX, SETTINGS, Shape};
use super::sources::suffix;
use super::yaml::flow_list;

/// The environment, as `main` hands it in.
pub type Environment = BTreeMap<String, String>;

/// The short name of the secret's variable.
pub const SECRET_VARIABLE: &str = "GENESYSCLOUD_CLIENT_SECRET";

/// Names the configuration file when no flag does.
pub const FILE_VARIABLE: &str = "GENESYSCLOUD_CONFIG_FILE";

/// A setting given by a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagValue {
    /// The flag with its dashes, for messages.
    pub flag: &'static str,
    /// The setting's path in the table.
    pub path: &'static str,
    /// Its values; more than one only for lists.
    pub values: Vec<String>,
}

/// A variable's value, if it is set and not empty.
pub(crate) fn variable<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    environment
        .get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

/// The variable that holds the secret of an organisation among several.
pub(super) fn secret_variable_of(name: &str) -> String {
    format!("{SECRET_VARIABLE}_{}", suffix(name))
}

/// The settings that the environment gives. `listed`: organisations that the file names, which have
/// variables of their own.
pub(super) fn from_environment(
    environment: &Environment,
    listed: &[&str],
    mistakes: &mut Vec<Finding>,
    warnings: &mut Vec<Finding>,
) -> Layer {
    let mut layer = Layer::new();
    let mut known = vec![SECRET_VARIABLE.to_owned(), FILE_VARIABLE.to_owned()];
    known.extend(listed.iter().map(|name| secret_variable_of(name)));
    for setting in SETTINGS {
        let name = setting.variable();
        let place = Place::Environment(name.clone());
        // The secret is read by the secret's own rules.
        let given = variable(environment, &name).filter(|_| setting.shape != Shape::Secret);
        known.push(name);
        let Some(text) = given else { continue };
        let value = match setting.shape {
            Shape::Sources => {
                let what = "cannot be given by a variable";
                let refusal = Refusal::new(what, "list organisations in the file");
                mistakes.push(Finding::new(place, setting.path, refusal));
                continue;
            }
            Shape::List => match items(text) {
                Ok(items) => RawValue::Many(
                    items
                        .into_iter()
                        .map(|item| (item, place.clone()))
                        .collect(),
                ),
                Err(refusal) => {
                    mistakes.push(Finding::new(place, setting.path, refusal));
                    continue;
                }
            },
            Shape::Plain | Shape::Text | Shape::Secret => RawValue::One(text.to_owned()),
        };
        layer.insert(setting.path, Raw { value, place });
    }
    warn_of_strangers(environment, &known, warnings);
    layer
}

/// The settings that flags give.
///
/// # Panics
/// If a flag names a path that is not in the table, or gives several values to one that is not
/// a list: the command line defines neither.
pub(super) fn from_flags(flags: &[FlagValue]) -> Layer {
    let mut layer = Layer::new();
    for FlagValue { flag, path, values } in flags {
        let setting = super::settings::setting(path).expect("flags name settings of the table");
        let place = Place::Flag(flag);
        let value = if setting.shape == Shape::List {
            let items = values.iter().map(|item| (item.clone(), place.clone()));
            RawValue::Many(items.collect())
        } else {
            assert_eq!(values.len(), 1, "{flag} sets a single value");
            RawValue::One(values[0].clone())
        };
        layer.insert(setting.path, Raw { value, place });
    }
    layer
}

/// Puts `over` on top of `under`, whole settings at a time.
pub(super) fn merge(mut under: Layer, over: Layer) -> Layer {
    under.extend(over);
    under
}

fn items(text: &str) -> Result<Vec<String>, Refusal> {
    if text.trim_start().starts_with('[') {
        return flow_list(text).map_err(|error| {
            Refusal::new(
                format!("is not a list in YAML's form: {error}"),
                "write [\"a\", \"b\"], or a,b",
            )
        });
    }
    Ok(text.split(',').map(|item| item.trim().to_owned()).collect())
}

/// Other tools for this platform use the same prefix, so a stranger is a warning, not a mistake.
fn warn_of_strangers<'a>(
    environment: &'a Environment,
    known: &'a [String],
    warnings: &mut Vec<Finding>,
) {
    let strangers = environment
        .range(ENVIRONMENT_PREFIX.to_owned()..)
        .map(|(name, _)| name)
        .take_while(|name| name.starts_with(ENVIRONMENT_PREFIX));
    for name in strangers {
        if known.contains(name) {
            continue;
        }
        // Without the prefix, which would make all of them look alike.
        let word = |name: &'a str| name.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or(name);
        let hint = match nearest(word(name), known.iter().map(|name| word(name))) {
            Some(near) => format!("did you mean {ENVIRONMENT_PREFIX}{near}?"),
            None => "it is ignored; the rule is GENESYSCLOUD_SECTION_KEY".to_owned(),
        };
        let place = Place::Environment(name.chars().take(80).collect());
        let refusal = Refusal::new("no setting has this variable", hint);
        warnings.push(Finding::new(place, "", refusal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Setting;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn read(pairs: &[(&str, &str)]) -> (Layer, Vec<Finding>, Vec<Finding>) {
        let (mut mistakes, mut warnings) = (Vec::new(), Vec::new());
        let layer = from_environment(&environment(pairs), &[], &mut mistakes, &mut warnings);
        (layer, mistakes, warnings)
    }

    #[test]
    fn every_setting_has_its_variable() {
        let single = |s: &&Setting| !matches!(s.shape, Shape::Secret | Shape::Sources);
        for setting in SETTINGS.iter().filter(single) {
            let name = setting.variable();
            let (layer, mistakes, warnings) = read(&[(&name, "x")]);
            assert_eq!(layer[setting.path].place, Place::Environment(name));
            assert!(mistakes.is_empty() && warnings.is_empty());
        }
    }

    #[test]
    fn lists_are_commas_or_yaml() {
        let texts = |value: &str| {
            let (layer, ..) = read(&[("GENESYSCLOUD_QUEUES_INCLUDE", value)]);
            match &layer["queues.include"].value {
                RawValue::Many(items) => items.iter().map(|(text, _)| text.clone()).collect(),
                other => panic!("{other:?}"),
            }
        };
        let two: Vec<String> = texts("Sales.*, Support");
        assert_eq!(two, ["Sales.*", "Support"]);
        let two: Vec<String> = texts(r#"["a{1,2}", b]"#);
        assert_eq!(two, ["a{1,2}", "b"]);
        let (_, mistakes, _) = read(&[("GENESYSCLOUD_QUEUES_INCLUDE", "[a")]);
        assert_eq!(mistakes.len(), 1);
    }

    #[test]
    fn empty_is_unset_and_strangers_are_warned_of() {
        let (layer, _, warnings) = read(&[
            ("GENESYSCLOUD_POLL_INTERVAL", ""),
            ("GENESYSCLOUD_POLL_INTERVALL", "5s"),
            ("GENESYSCLOUD_OAUTHCLIENT_ID", "x"),
            ("HOME", "/"),
        ]);
        assert!(layer.is_empty());
        let hints: Vec<_> = warnings.iter().map(|w| w.hint.as_str()).collect();
        assert_eq!(hints.len(), 2, "{hints:?}");
        assert!(hints[0].starts_with("it is ignored"));
        assert_eq!(hints[1], "did you mean GENESYSCLOUD_POLL_INTERVAL?");
    }
}
