//! The shipped example, one bad file per rule with its exact message, and what wins over what.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::settings::{SETTINGS, Shape};
use super::*;

/// Stands for the secret; must turn up in no message.
const CANARY: &str = "canary-s3cret";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn environment(pairs: &[(&str, &str)]) -> Environment {
    let required = [
        ("GENESYSCLOUD_SOURCE_CLIENT_ID", "demo"),
        ("GENESYSCLOUD_CLIENT_SECRET", CANARY),
    ];
    let all = required.iter().chain(pairs);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn read(text: &str, pairs: &[(&str, &str)], flags: &[FlagValue]) -> Result<Loaded, ConfigError> {
    parse(&"c.yml".into(), text, &environment(pairs), flags)
}

fn flag(flag: &'static str, path: &'static str, values: &[&str]) -> FlagValue {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    FlagValue { flag, path, values }
}

/// All of a configuration that can be compared.
fn shown(loaded: &Loaded) -> String {
    let secret = loaded.config.source.client_secret.expose_secret();
    format!("{:?} {secret}", loaded.config)
}

#[test]
fn every_bad_file_gives_exactly_its_messages() {
    let directory = root().join("tests/fixtures/config/bad");
    // Compiled with this variable set, the test writes what it would compare: review the diff.
    let bless = option_env!("BLESS_FIXTURES").is_some();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .collect();
    files.sort();
    assert!(files.len() >= 60, "fixtures have gone: {}", files.len());
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let variables: Vec<(&str, &str)> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# env: "))
            .map(|line| line.split_once('=').unwrap())
            .collect();
        let error = parse(&name.into(), &text, &environment(&variables), &[])
            .expect_err(name)
            .to_string();
        assert!(!error.contains(CANARY), "{name} tells the secret: {error}");
        let expected = path.with_extension("txt");
        if bless {
            std::fs::write(&expected, format!("{error}\n")).unwrap();
        }
        let expected = std::fs::read_to_string(&expected).expect(name);
        assert_eq!(error, expected.trim_end(), "{name}");
    }
}

#[test]
fn the_example_is_the_defaults() {
    let id = "00000000-0000-0000-0000-000000000000";
    let variables = [("GENESYSCLOUD_SOURCE_CLIENT_ID", "")];
    let text = std::fs::read_to_string(root().join("config.example.yml")).unwrap();
    let example = read(&text, &variables, &[]).unwrap();
    let defaults = read("", &[("GENESYSCLOUD_SOURCE_CLIENT_ID", id)], &[]).unwrap();
    assert_eq!(shown(&example), shown(&defaults));
    assert_eq!(example.warnings, []);
}

#[test]
fn the_example_has_every_key_and_its_default() {
    let path = root().join("config.example.yml");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut mistakes = Vec::new();
    let layer = raw::read(&"config.example.yml".into(), &text, &mut mistakes);
    assert_eq!(mistakes, []);
    let given: BTreeSet<&str> = layer.keys().copied().collect();
    for setting in SETTINGS {
        let key = setting.path.rsplit('.').next().unwrap();
        match setting.shape {
            // Named in a comment: it must not be given.
            Shape::Secret => assert!(text.contains("client_secret is refused")),
            // The empty structure is read as nothing.
            Shape::Sources => assert!(text.contains(&format!("{key}: ")), "{key}"),
            _ => assert!(given.contains(setting.path), "{} is missing", setting.path),
        }
        let value = layer.get(setting.path).map(|raw| raw.value.clone());
        match value {
            Some(raw::RawValue::One(_)) if setting.path == "source.client_id" => {}
            Some(raw::RawValue::One(text)) => assert_eq!([text.as_str()], setting.default),
            Some(raw::RawValue::Many(items)) => {
                let texts: Vec<&str> = items.iter().map(|(text, _)| text.as_str()).collect();
                assert_eq!(texts, setting.default);
            }
            Some(raw::RawValue::Sources(_)) | None => {}
        }
    }
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let file = "log: { level: warn }\n";
    let variables = [("GENESYSCLOUD_LOG_LEVEL", "error")];
    let flags = [flag("--log.level", "log.level", &["debug"])];
    let level = |file, variables: &[_], flags: &[_]| {
        let loaded = read(file, variables, flags).unwrap();
        loaded.config.log.level
    };
    assert_eq!(level("", &[], &[]), LogLevel::Info);
    assert_eq!(level(file, &[], &[]), LogLevel::Warn);
    assert_eq!(level(file, &variables, &[]), LogLevel::Error);
    assert_eq!(level(file, &variables, &flags), LogLevel::Debug);
}

#[test]
fn a_list_replaces_the_list_below_it() {
    let flags = [flag(
        "--web.listen-address",
        "web.listen",
        &["[::1]:0", "127.0.0.1:0"],
    )];
    let loaded = read("web: { listen: [\"127.0.0.1:9\"] }\n", &[], &flags).unwrap();
    let listen: Vec<String> = loaded
        .config
        .web
        .listen
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(listen, ["[::1]:0", "127.0.0.1:0"]);
    let bad = [flag("--web.listen-address", "web.listen", &["nowhere"])];
    let error = read("", &[], &bad).unwrap_err().to_string();
    assert!(
        error.contains("flag --web.listen-address: web.listen: \"nowhere\""),
        "{error}"
    );
}

#[test]
fn urls_come_from_the_region_or_are_given() {
    let regional = read("source: { region: eu-central-1 }\n", &[], &[]).unwrap();
    let source = regional.config.source;
    assert_eq!(source.api_url.as_str(), "https://api.mypurecloud.de/");
    assert_eq!(source.login_url.as_str(), "https://login.mypurecloud.de/");

    let text = "source:\n  region: mypurecloud.ie\n  api_url: http://gw.example/api/\n  login_url: http://127.0.0.1:1\n";
    let free = read(text, &[], &[]).unwrap();
    assert_eq!(free.config.source.api_url.as_str(), "http://gw.example/api");
    assert_eq!(free.config.source.login_url.as_str(), "http://127.0.0.1:1/");
    let warnings: Vec<String> = free.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "c.yml:2:11: source.region: has no effect because source.api_url and \
             source.login_url are given; remove one or the other",
            "c.yml:3:12: source.api_url: sends tokens and states of people in clear text; use https",
        ]
    );
}

#[test]
fn the_effective_configuration_reads_as_itself_and_tells_no_secret() {
    let text = "source:\n  api_url: https://gw.example\n  login_url: https://gw.example/login\n\
                poll: { interval: 30s }\nqueues: { include: [\"a{1,2}\", 'b\\d\"'] }\n\
                metrics: { per_agent: id }\nwindow: { lateness: 45s, include_offline: true }\n";
    let variables = [("GENESYSCLOUD_STALE_AFTER", "20m")];
    let first = read(text, &variables, &[]).unwrap();
    let yaml = first.effective.to_yaml();
    assert!(!yaml.contains(CANARY), "{yaml}");
    assert!(!format!("{first:?}").contains(CANARY));
    for line in [
        "  client_secret: \"<redacted>\"  # from GENESYSCLOUD_CLIENT_SECRET\n",
        "  interval: 30s  # c.yml:4:19\n",
        "stale_after: 20m  # environment GENESYSCLOUD_STALE_AFTER\n",
        "  dialect: auto\n",
        "  timeout: 10s\n",
    ] {
        assert!(yaml.contains(line), "{line} is not in\n{yaml}");
    }
    let again = read(&yaml, &[], &[]).unwrap();
    assert_eq!(shown(&again), shown(&first));
    assert_eq!(again.warnings, []);
}

fn otlp(text: &str, pairs: &[(&str, &str)]) -> (Option<OtlpConfig>, Vec<String>) {
    let loaded = read(text, pairs, &[]).unwrap();
    let warnings = loaded.warnings.iter().map(ToString::to_string).collect();
    (loaded.config.otlp, warnings)
}

#[test]
fn nothing_is_pushed_unless_there_is_somewhere_to_push_to() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
    let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "nonsense of another program");
    for (text, pairs) in [
        ("", &[][..]),
        ("otlp: { endpoint: \"\" }\n", &[protocol]),
        ("", &[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]),
        ("", &[endpoint, ("OTEL_METRICS_EXPORTER", "none")]),
    ] {
        let (otlp, warnings) = otlp(text, pairs);
        assert!(otlp.is_none() && warnings.is_empty(), "{text:?} {pairs:?}");
    }
    // An endpoint of the file is not the variables' to turn off.
    let text = "otlp: { endpoint: \"http://127.0.0.1:4318\" }\n";
    let (otlp, _) = otlp(text, &[("OTEL_SDK_DISABLED", "true")]);
    assert!(otlp.is_some());
}

#[test]
fn an_endpoint_gets_the_path_of_its_kind() {
    let generic = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let signal = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
    for (path, value, protocol, expected) in [
        (
            "",
            "http://a:4318",
            "http/protobuf",
            "http://a:4318/v1/metrics",
        ),
        (
            "",
            "http://a:4318/",
            "http/protobuf",
            "http://a:4318/v1/metrics",
        ),
        ("", "http://a/otlp/", "http/protobuf", "http://a/otlp/"),
        ("", "https://a:4317", "grpc", "https://a:4317/"),
        (
            generic,
            "http://a/otlp/",
            "http/protobuf",
            "http://a/otlp/v1/metrics",
        ),
        (generic, "a:4317", "grpc", "https://a:4317/"),
        (signal, "http://a:4318", "http/protobuf", "http://a:4318/"),
    ] {
        let (text, pairs) = match path {
            "" => (
                format!("otlp: {{ endpoint: \"{value}\", protocol: {protocol} }}\n"),
                vec![],
            ),
            name => (
                format!("otlp: {{ protocol: {protocol} }}\n"),
                vec![(name, value)],
            ),
        };
        let (otlp, warnings) = otlp(&text, &pairs);
        assert_eq!(otlp.unwrap().endpoint.as_str(), expected, "{path} {value}");
        assert_eq!(warnings, [""; 0]);
    }
    let insecure = [(generic, "a:4317"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")];
    let (otlp, _) = otlp("otlp: { protocol: grpc }\n", &insecure);
    assert_eq!(otlp.unwrap().endpoint.as_str(), "http://a:4317/");
}

#[test]
fn the_standard_variables_stand_below_the_file_and_above_the_defaults() {
    let standard = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_SERVICE_NAME", "agents"),
    ];
    let (found, warnings) = otlp("", &standard);
    let found = found.unwrap();
    assert_eq!(found.protocol, OtlpProtocol::Grpc);
    assert_eq!(found.temporality, OtlpTemporality::Delta);
    assert_eq!(
        (found.interval, found.timeout),
        (Millis(5_000), Millis(2_000))
    );
    assert!(found.gzip && found.resource["service.name"] == "agents");
    assert_eq!(warnings, [""; 0]);

    let (found, warnings) = otlp(
        "otlp: { temporality: cumulative, interval: 1s }\n",
        &standard,
    );
    let found = found.unwrap();
    assert_eq!(found.temporality, OtlpTemporality::Cumulative);
    assert_eq!(
        (found.interval, found.timeout),
        (Millis(1_000), Millis(1_000))
    );
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(
        warnings[1],
        "environment OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: has no effect: \
         otlp.temporality is given (c.yml:1:22); remove one of the two"
    );

    let mut standard = standard.to_vec();
    standard.push(("GENESYSCLOUD_OTLP_ENDPOINT", "http://nearer:4317"));
    let (found, _) = otlp("otlp: { endpoint: \"http://file:1\" }\n", &standard);
    assert_eq!(found.unwrap().endpoint.as_str(), "http://nearer:4317/");
}

#[test]
fn headers_are_secrets_from_a_file_and_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("headers");
    let text = format!("# for the gateway\nAuthorization: Bearer {CANARY}\n\nx-scope: a:b\n");
    std::fs::write(&path, text).unwrap();
    let text = format!(
        "otlp: {{ endpoint: \"http://gw.example\", headers_file: \"{}\" }}\n",
        path.display()
    );
    let pairs = [(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "authorization=weaker,x-more=1%2C2",
    )];
    let loaded = read(&text, &pairs, &[]).unwrap();
    let headers: Vec<(String, String)> = loaded
        .config
        .otlp
        .as_ref()
        .unwrap()
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.expose_secret().to_owned()))
        .collect();
    let expected = [
        ("authorization", format!("Bearer {CANARY}")),
        ("x-more", "1,2".to_owned()),
        ("x-scope", "a:b".to_owned()),
    ];
    assert_eq!(
        headers,
        expected.map(|(name, value)| (name.to_owned(), value))
    );
    assert!(!format!("{loaded:?}").contains(CANARY));
    assert!(!loaded.effective.to_yaml().contains(CANARY));
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert!(
        warnings[0].contains("can be read by others"),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("sends headers in clear text; use https"));

    for bad in ["no colon", "na me: x", "a: \u{7}"] {
        std::fs::write(&path, format!("{bad} {CANARY}\n")).unwrap();
        let error = read(&text, &[], &[]).unwrap_err().to_string();
        assert!(
            error.contains("otlp.headers_file") && !error.contains(CANARY),
            "{error}"
        );
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let missing = Path::new("/nonexistent/config.yml");
    let error = load(Some(missing), &environment(&[]), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the configuration has 1 mistake\n  /nonexistent/config.yml: the file cannot be read: \
         entity not found; check its name and who may read it"
    );
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes, why) in [
        ("long.yml", vec![b'#'; (1 << 20) + 1], "longer than 1 MiB"),
        ("binary.yml", vec![0xff, 0xfe, 0x00], "not UTF-8"),
    ] {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = load(Some(&path), &environment(&[]), &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn without_a_file_the_environment_is_enough() {
    let loaded = load(None, &environment(&[]), &[]).unwrap();
    assert_eq!(loaded.config.source.client_id, "demo");
    assert_eq!(loaded.config.pipeline.min_coverage_per_mille, 900);
    assert_eq!(loaded.config.web.listen[0].to_string(), DEFAULT_LISTEN);
    assert_eq!(loaded.config.pipeline.lateness, None);
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*", junk in "[a-z:\\[\\]{}&*\"'|>#, \n-]{0,200}") {
        for text in [text, junk] {
            let _ = read(&text, &[("GENESYSCLOUD_POLL_INTERVAL", &text)], &[]);
        }
    }
}

#[test]
fn who_only_reads_rows_needs_no_platform_and_is_told_every_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("c.yml");
    let rows = |text: &str| {
        std::fs::write(&path, text).unwrap();
        load_rows(Some(&path), &Environment::new())
    };
    let found = rows("source: { name: acme }\nwindow: { length: 1m, slide: 1m }\n").unwrap();
    let [found] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(found.pipeline.org, "acme");
    assert_eq!(found.pipeline.window.length, Millis(60_000));
    assert_eq!(found.path, PathBuf::from("./data"));
    assert!(matches!(found.kind, StoreKind::Sqlite));
    let mistakes = rows("store: { kind: postgres }\npol: 1\n").unwrap_err();
    let keys: Vec<_> = mistakes.mistakes.iter().map(|m| m.key.as_str()).collect();
    assert_eq!(keys, ["store.url_file", "pol"]);
    let variables = [("GENESYSCLOUD_STORE_PATH".to_owned(), "/rows".to_owned())];
    let found = load_rows(None, &variables.into()).unwrap();
    assert_eq!(found[0].path, PathBuf::from("/rows"));
}
