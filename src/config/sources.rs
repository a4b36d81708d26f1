//! `sources`: several organisations in one process, each with settings of its own in place of the
//! section `source`.

use std::collections::BTreeMap;

use super::finding::{Finding, Place, Refusal};
use super::raw::{Layer, RawValue};

/// The list.
pub(super) const SOURCES: &str = "sources";

/// What names an organisation.
const NAME: &str = "source.name";

/// Most organisations of a process: each has databases, a budget and connections of its own, and
/// one that fails takes the process with it.
const SOURCES_MAX: usize = 32;

/// The settings as one organisation has them.
pub(super) struct Part {
    /// Its own and those that all share.
    pub(super) layer: Layer,
    /// Where it stands in the list; `None`: it is described by the section `source`.
    pub(super) listed: Option<Place>,
}

/// The settings of each organisation; at least one.
pub(super) fn parts(layer: &Layer, mistakes: &mut Vec<Finding>) -> Vec<Part> {
    let Some(RawValue::Sources(items)) = layer.get(SOURCES).map(|raw| &raw.value) else {
        return vec![Part {
            layer: layer.clone(),
            listed: None,
        }];
    };
    let mut refuse = |place: &Place, key: &str, what: String, hint: &str| {
        mistakes.push(Finding::new(place.clone(), key, Refusal::new(what, hint)));
    };
    let mut shared = layer.clone();
    shared.retain(|path, raw| {
        let own = path.starts_with("source.");
        if own {
            let what = format!("has no effect beside {SOURCES}");
            refuse(
                &raw.place,
                path,
                what,
                "move it into the list, to the organisation that it is for",
            );
        }
        !own
    });
    if items.len() > SOURCES_MAX {
        let what = format!("has {} organisations", items.len());
        let hint = format!("give at most {SOURCES_MAX} to a process");
        refuse(&layer[SOURCES].place, SOURCES, what, &hint);
    }
    let mut known: BTreeMap<String, &Place> = BTreeMap::new();
    let mut parts = Vec::with_capacity(items.len());
    for (own, place) in items {
        match own.get(NAME).map(|raw| (&raw.value, &raw.place)) {
            Some((RawValue::One(name), at)) => {
                if let Some(first) = known.insert(suffix(name), at) {
                    let what = format!("is the name of two organisations; the other is at {first}");
                    let hint = "give each a name of its own; case does not tell them apart";
                    refuse(at, NAME, what, hint);
                }
            }
            _ => {
                let hint = "name it: rows, files and the label org are told apart by it";
                refuse(place, NAME, "is missing".to_owned(), hint);
            }
        }
        let mut layer = shared.clone();
        layer.extend(own.clone());
        parts.push(Part {
            layer,
            listed: Some(place.clone()),
        });
    }
    parts
}

/// What the name of an organisation becomes at the end of a variable's name.
pub(super) fn suffix(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

/// Names of the organisations that a file lists.
pub(super) fn names(layer: &Layer) -> Vec<&str> {
    let Some(RawValue::Sources(items)) = layer.get(SOURCES).map(|raw| &raw.value) else {
        return Vec::new();
    };
    let names = items
        .iter()
        .filter_map(|(own, _)| match &own.get(NAME)?.value {
            RawValue::One(name) => Some(name.as_str()),
            _ => None,
        });
    names.collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use secrecy::ExposeSecret;

    use crate::config::{Config, ConfigError, Dialect, Environment, Loaded, load_rows, parse};
    use crate::model::time::Millis;

    /// Two organisations, and what each needs beside the file.
    const TWO: &str = "sources:\n\
        - { name: north, client_id: n, region: mypurecloud.de }\n\
        - { name: south-1, client_id: s, dialect: platform, api_url: 'http://127.0.0.1:1', login_url: 'http://127.0.0.1:2' }\n\
        store: { path: /rows }\npoll: { interval: 20s }\n";

    fn read_two(pairs: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
        let own = [
            ("GENESYSCLOUD_CLIENT_SECRET_NORTH", "of-north"),
            ("GENESYSCLOUD_CLIENT_SECRET_SOUTH_1", "of-south"),
        ];
        let variables = own.iter().chain(pairs);
        let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        parse(&"c.yml".into(), TWO, &variables.collect(), &[])
    }

    #[test]
    fn several_organisations_share_all_but_what_is_theirs() {
        let loaded = read_two(&[]).unwrap();
        assert_eq!(loaded.warnings, []);
        let all = loaded.config.organisations();
        let of = |at: usize| {
            let Config {
                source,
                pipeline,
                store,
                others,
                ..
            } = &all[at];
            assert!(others.is_empty());
            assert_eq!(pipeline.org, source.name);
            assert_eq!(pipeline.poll_interval, Millis(20_000));
            let path = store.path.to_str().unwrap();
            let secret = source.client_secret.expose_secret();
            (source.name.as_str(), pipeline.dialect, path, secret)
        };
        assert_eq!(all.len(), 2);
        assert_eq!(of(0), ("north", Dialect::Auto, "/rows/north", "of-north"));
        assert_eq!(
            of(1),
            ("south-1", Dialect::Platform, "/rows/south-1", "of-south")
        );
        assert_eq!(
            all[0].source.api_url.as_str(),
            "https://api.mypurecloud.de/"
        );
        assert_eq!(all[1].source.api_url.as_str(), "http://127.0.0.1:1/");
    }

    #[test]
    fn one_in_a_list_is_in_a_directory_of_its_own_and_one_alone_is_not() {
        let read = |text: &str, variable: &str| {
            let environment = Environment::from([(variable.to_owned(), "x".to_owned())]);
            parse(&"c.yml".into(), text, &environment, &[]).unwrap()
        };
        let text = "sources: [{ name: north, client_id: n }]";
        let listed = read(text, "GENESYSCLOUD_CLIENT_SECRET_NORTH");
        assert_eq!(listed.config.organisations().len(), 1);
        assert_eq!(listed.config.store.path, PathBuf::from("./data/north"));
        let text = "source: { name: north, client_id: n }";
        let alone = read(text, "GENESYSCLOUD_CLIENT_SECRET");
        assert_eq!(alone.config.store.path, PathBuf::from("./data"));
    }

    #[test]
    fn what_is_printed_of_several_organisations_reads_as_the_same() {
        let loaded = read_two(&[]).unwrap();
        let yaml = loaded.effective.to_yaml();
        assert!(
            !yaml.contains("of-north") && !yaml.contains("\nsource:"),
            "{yaml}"
        );
        let environment: Environment = [("NORTH", "of-north"), ("SOUTH_1", "of-south")]
            .map(|(org, secret)| {
                let name = format!("GENESYSCLOUD_CLIENT_SECRET_{org}");
                (name, secret.to_owned())
            })
            .into();
        let again = parse(&"c.yml".into(), &yaml, &environment, &[]).unwrap();
        assert_eq!(again.config.others.len(), 1);
        assert_eq!(
            format!("{:?}", again.config),
            format!("{:?}", loaded.config)
        );
        assert_eq!(again.effective.differences(&loaded.effective), [""; 0]);
    }

    #[test]
    fn another_organisation_is_a_change_of_the_list() {
        let loaded = read_two(&[]).unwrap();
        let other = TWO.replace("client_id: s,", "client_id: t,");
        let environment = [("NORTH", "a"), ("SOUTH_1", "b")].map(|(org, secret)| {
            (
                format!("GENESYSCLOUD_CLIENT_SECRET_{org}"),
                secret.to_owned(),
            )
        });
        let other = parse(&"c.yml".into(), &other, &environment.into(), &[]).unwrap();
        assert_eq!(other.effective.differences(&loaded.effective), ["sources"]);
    }

    #[test]
    fn a_variable_of_one_organisation_is_refused_beside_a_list() {
        let error = read_two(&[("GENESYSCLOUD_SOURCE_REGION", "mypurecloud.com")]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("environment GENESYSCLOUD_SOURCE_REGION"),
            "{text}"
        );
        assert!(text.contains("has no effect beside sources"), "{text}");
    }

    #[test]
    fn the_secret_of_one_is_warned_of_once_beside_a_list() {
        let loaded = read_two(&[("GENESYSCLOUD_CLIENT_SECRET", "nobodys")]).unwrap();
        let [warning] = &loaded.warnings[..] else {
            panic!("{:?}", loaded.warnings);
        };
        let text = warning.to_string();
        assert!(text.contains("has no effect beside sources"), "{text}");
        assert!(!text.contains("nobodys"), "{text}");
    }

    #[test]
    fn rows_of_several_organisations_are_each_in_their_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.yml");
        std::fs::write(&path, TWO).unwrap();
        let all = load_rows(Some(&path), &Environment::new()).unwrap();
        let places: Vec<_> = all
            .iter()
            .map(|rows| (rows.pipeline.org.as_str(), rows.path.to_str().unwrap()))
            .collect();
        assert_eq!(
            places,
            [("north", "/rows/north"), ("south-1", "/rows/south-1")]
        );
    }
}
