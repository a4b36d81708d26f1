//! What can be typed and what comes of it.

use super::export::Lengths;
use super::*;
use crate::export::{ExportFormat, Zone};
use crate::model::time::UnixMillis;
use crate::store::Table;

fn environment_of(pairs: &[(&str, &str)]) -> Environment {
    environment(
        pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into())),
    )
}

fn typed(line: &str) -> Result<Command, UsageError> {
    let arguments = std::iter::once("genesys-cloud-exporter").chain(line.split_whitespace());
    parse(arguments, &Environment::new())
}

fn refused(line: &str) -> String {
    typed(line).expect_err(line).text
}

#[test]
fn run_is_the_default_and_takes_the_same_flags() {
    let flags = "--config.file c.yml --web.listen-address [::1]:1 --web.listen-address 127.0.0.1:2 \
                 --web.telemetry-path /m --web.config.file w.yml --log.level debug --log.format json";
    let bare = typed(flags).unwrap();
    assert_eq!(bare, typed(&format!("run {flags}")).unwrap());
    let Command::Run(run) = bare else {
        panic!("{bare:?}");
    };
    assert_eq!(run.file, Some(PathBuf::from("c.yml")));
    let given: Vec<(&str, String)> = run
        .flags
        .iter()
        .map(|flag| (flag.path, flag.values.join(" ")))
        .collect();
    let expected = [
        ("web.listen", "[::1]:1 127.0.0.1:2"),
        ("web.telemetry_path", "/m"),
        ("web.config_file", "w.yml"),
        ("log.level", "debug"),
        ("log.format", "json"),
    ];
    assert_eq!(given, expected.map(|(path, text)| (path, text.to_owned())));
}

#[test]
fn flags_reach_the_configuration() {
    let arguments = ["x", "--web.telemetry-path", "/m", "--log.level", "error"];
    let environment = environment_of(&[
        ("GENESYSCLOUD_SOURCE_CLIENT_ID", "demo"),
        ("GENESYSCLOUD_CLIENT_SECRET", "s3cret"),
        ("GENESYSCLOUD_LOG_LEVEL", "debug"),
    ]);
    let Ok(Command::Run(run)) = parse(arguments, &environment) else {
        panic!("run is the default");
    };
    let config = run.load(&environment).unwrap().config;
    assert_eq!(config.web.telemetry_path, "/m");
    assert_eq!(config.log.level, LogLevel::Error);
}

#[test]
fn the_environment_names_the_file_and_the_flag_wins() {
    let environment = environment_of(&[("GENESYSCLOUD_CONFIG_FILE", "env.yml")]);
    let file = |arguments: &[&str]| match parse(arguments, &environment) {
        Ok(Command::Run(run)) => run.file.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(file(&["x"]), PathBuf::from("env.yml"));
    let flag = file(&["x", "run", "--config.file", "flag.yml"]);
    assert_eq!(flag, PathBuf::from("flag.yml"));
}

#[test]
fn demo_and_simulate_have_the_documented_defaults() {
    let org = OrgFlags {
        agents: 500,
        queues: 12,
        seed: 42,
        faults: "none".to_owned(),
    };
    let log = LogConfig {
        level: LogLevel::Info,
        format: LogFormat::Logfmt,
    };
    let demo = DemoArgs {
        org: org.clone(),
        listen: vec!["127.0.0.1:10095".parse().unwrap()],
        log,
    };
    assert_eq!(typed("demo").unwrap(), Command::Demo(demo));
    let simulate = SimulateArgs {
        listen: "127.0.0.1:10096".parse().unwrap(),
        client_id: "demo".to_owned(),
        client_secret: "demo".to_owned(),
        org,
        tempo: 1.0,
        min_state: Millis(1_000),
        volatile_share: 0.01,
        requests_per_minute: 300,
        token_lifetime: Millis::from_secs(86_400),
        history: 3,
        cache_refresh: Millis::from_secs(15),
        dialect: Dialect::Both,
        channel_lifetime: Millis::from_secs(86_400),
        log,
    };
    assert_eq!(
        typed("simulate").unwrap(),
        Command::Simulate(Box::new(simulate))
    );
}

#[test]
fn given_values_take_the_place_of_defaults() {
    let Ok(Command::Simulate(simulate)) = typed(
        "simulate --listen 127.0.0.1:0 --agents 7 --tempo 20 --cache-refresh 0s --dialect platform --channel-lifetime 90s --token-lifetime 1h30m",
    ) else {
        panic!("simulate");
    };
    assert_eq!((simulate.org.agents, simulate.listen.port()), (7, 0));
    assert_eq!(simulate.cache_refresh, Millis::ZERO);
    assert_eq!(simulate.dialect, Dialect::Platform);
    assert_eq!(simulate.channel_lifetime, Millis::from_secs(90));
    assert_eq!(simulate.token_lifetime, Millis::from_secs(5_400));
    let Ok(Command::Demo(demo)) =
        typed("demo --web.listen-address 127.0.0.1:1 --faults partial:50%")
    else {
        panic!("demo");
    };
    assert_eq!((demo.listen.len(), demo.listen[0].port()), (1, 1));
    assert_eq!(demo.org.faults, "partial:50%");
}

#[test]
fn the_log_of_a_demo_follows_flag_and_environment() {
    let environment = environment_of(&[("GENESYSCLOUD_LOG_FORMAT", "json")]);
    let Ok(Command::Demo(demo)) = parse(["x", "demo", "--log.level", "warn"], &environment) else {
        panic!("demo");
    };
    assert_eq!(demo.log.level, LogLevel::Warn);
    assert_eq!(demo.log.format, LogFormat::Json);
    let bad = environment_of(&[("GENESYSCLOUD_LOG_FORMAT", "xml")]);
    let error = parse(["x", "demo"], &bad).unwrap_err();
    let expected = "environment GENESYSCLOUD_LOG_FORMAT: \"xml\" is not one of logfmt, json";
    assert!(error.text.contains(expected), "{error}");
}

#[test]
fn small_commands_are_what_they_say() {
    let file = PathBuf::from("c.yml");
    assert_eq!(
        typed("check config c.yml").unwrap(),
        Command::CheckConfig { file }
    );
    assert_eq!(typed("metrics").unwrap(), Command::Metrics);
    let version = format!("genesys-cloud-exporter {}", env!("CARGO_PKG_VERSION"));
    let shown = |line: &str| match typed(line) {
        Ok(Command::Show(text)) => text,
        other => panic!("{other:?}"),
    };
    for shell in ["bash", "zsh", "fish"] {
        let script = shown(&format!("completions {shell}"));
        for word in [
            "genesys-cloud-exporter",
            "doctor",
            "window-length",
            "timezone",
            "parquet",
            "web.config.file",
            "web.enable-lifecycle",
        ] {
            assert!(script.contains(word), "{shell} does not complete {word}");
        }
    }
    let manual = shown("man");
    assert!(manual.contains(".TH genesys-cloud-exporter 1"), "{manual}");
    for word in [
        "COMMAND SIMULATE HISTORY",
        "COMMAND EXPORT WINDOWS",
        "COMMAND EXPORT EVENTS",
        "timezone",
        "config.file",
        "Exit status",
    ] {
        assert!(manual.contains(word), "{word}: {manual}");
    }
    assert_eq!(typed("--version").unwrap(), Command::Show(version));
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in [
        "",
        "run",
        "demo",
        "simulate",
        "check",
        "check config",
        "export",
        "export windows",
        "export events",
        "completions",
        "man",
        "metrics",
    ] {
        let Ok(Command::Show(help)) = typed(&format!("{command} --help")) else {
            panic!("{command} has no help");
        };
        let example = format!("genesys-cloud-exporter {command}");
        let after = help.split("Example").nth(1).unwrap_or_default();
        assert!(after.contains(example.trim_end()), "{command}: {help}");
        assert!(!help.contains("client-secret") || command == "simulate");
    }
}

#[test]
fn bad_usage_is_told_with_what_is_wrong() {
    for (line, why) in [
        ("fly", "fly"),
        ("--web.listen-adress x", "--web.listen-address"),
        ("--client-secret x", "--client-secret"),
        (
            "--log.level loud",
            "possible values: debug, info, warn, error",
        ),
        ("demo --agents 0", "not in 1..=200000"),
        ("demo --web.listen-address here", "invalid socket address"),
        ("simulate --token-lifetime 0s", "greater than zero"),
        ("simulate --token-lifetime 5", "it has no unit"),
        ("simulate --tempo 0", "from 0.01 to 1000"),
        ("simulate --tempo NaN", "from 0.01 to 1000"),
        ("simulate --history 11", "not in 1..=10"),
        ("check config", "<FILE>"),
        ("check", "config"),
        ("--log.level debug demo", "cannot be used"),
    ] {
        let text = refused(line);
        assert!(text.contains(why), "{line}: {text}");
    }
}

#[test]
fn exit_codes_are_the_documented_ones() {
    assert_eq!(
        [Exit::Fine, Exit::Failed, Exit::Usage].map(|exit| exit as u8),
        [0, 1, 2]
    );
}

#[test]
fn a_history_has_the_documented_defaults_and_limits() {
    let Ok(Command::History(args)) = typed("simulate history --output day.om") else {
        panic!("simulate history is a command");
    };
    assert_eq!((args.hours, args.step), (24, Millis::from_secs(30)));
    assert_eq!((args.agents, args.queues, args.seed), (500, 12, 42));
    assert_eq!(
        (&*args.faults, args.per_agent, args.end),
        ("day", false, None)
    );
    assert_eq!(
        (&*args.job, &*args.instance),
        ("genesys-cloud", "127.0.0.1:10095")
    );
    let options = args.options(UnixMillis(1_715_688_012_345));
    let options = options.unwrap();
    assert_eq!(options.scrapes, 2_880);
    assert_eq!(options.end.to_string(), "2024-05-14T12:00:00.000Z");
    assert_eq!(
        options.scraped_at(0).to_string(),
        "2024-05-13T12:00:30.000Z"
    );
    for (flags, says) in [
        ("", "--output"),
        ("--output x --hours 169", "1..=168"),
        ("--output x --step 1500ms", "whole seconds"),
        ("--output x --end soon", "RFC 3339"),
        ("--output x --agents 10001", "10000"),
        ("--output x --job a\"b", "printable"),
    ] {
        let told = refused(&format!("simulate history {flags}"));
        assert!(told.contains(says), "{flags}: {told}");
    }
    // Beside the command itself, which is as it was.
    assert!(matches!(
        typed("simulate --agents 3"),
        Ok(Command::Simulate(_))
    ));
    assert!(refused("simulate --tempo 2 history --output x").contains("cannot be used"));
}

#[test]
fn an_export_has_the_documented_defaults_and_limits() {
    let exported = |line: &str| match typed(line) {
        Ok(Command::Export(args)) => args,
        other => panic!("{line}: {other:?}"),
    };
    let at = |text: &str| UnixMillis::parse(text).unwrap();
    let args = exported("export events --from 2026-05-14 --format csv --output e.csv");
    let expected = ExportArgs {
        org: None,
        file: None,
        table: Table::Event,
        lengths: None,
        from: at("2026-05-14T00:00:00Z"),
        to: None,
        format: ExportFormat::Csv,
        output: Some(PathBuf::from("e.csv")),
        zone: Zone::UTC,
        force: false,
    };
    assert_eq!(args, expected);
    let args = exported(
        "export windows --from 2026-05-14 --to 2026-05-14T12:00:00-05:00 --timezone Europe/Rome \
         --format jsonl --output - --window-length 1m --config.file c.yml --force",
    );
    assert_eq!(args.from, at("2026-05-13T22:00:00Z"));
    assert_eq!(args.to, Some(at("2026-05-14T17:00:00Z")));
    assert_eq!((args.output, args.force), (None, true));
    assert_eq!(args.lengths, Some(Lengths::Of(Millis::from_secs(60))));
    assert_eq!(args.file, Some(PathBuf::from("c.yml")));
    let whole = "--from 2026-05-14 --format csv --output x";
    for (flags, says) in [
        ("events", "--from"),
        ("events --from 2026-05-14 --format csv", "--output"),
        (
            "events --from yesterday --format csv --output x",
            "2026-05-14T08:30:00Z",
        ),
        (
            "events --from 1969-12-31 --format csv --output x",
            "between 1970 and 9999",
        ),
        (
            "events --from 2026-05-14 --format xml --output x",
            "csv, jsonl, parquet",
        ),
        (
            "events --from 2026-05-14 --format parquet --output -",
            "parquet does not go",
        ),
        (
            &*format!("windows {whole} --to 2026-05-14"),
            "must be before --to",
        ),
        (
            &*format!("windows {whole} --timezone Europe/Roma"),
            "did you mean Europe/Rome?",
        ),
        (
            &*format!("windows {whole} --window-length 0s"),
            "greater than zero",
        ),
        (
            &*format!("events {whole} --window-length 5m"),
            "unexpected argument",
        ),
    ] {
        let told = refused(&format!("export {flags}"));
        assert!(told.contains(says), "{flags}: {told}");
    }
}
