//! `store.url_file`: where PostgreSQL answers, who asks, and whom we believe.
//!
//! The file holds one line, `postgresql://user:password@host:5432/database`, as libpq reads it.
//! It is a secret as a whole: nothing of it is ever quoted but the names of its parameters. The
//! server must prove who it is (`sslmode=verify-full`, the default), or the line must say
//! `sslmode=disable`; what lies between the two looks safe and is not, and is refused.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::finding::{Place, Refusal, quoted};
use super::reader::Reader;
use super::secret::read_file;

/// Key of the file in messages.
const KEY: &str = "store.url_file";

/// Longest file read: a line with some hosts has some hundred bytes.
const URL_BYTES_MAX: usize = 4 * 1024;

/// Longest file of certificates: a bundle has some 250 KiB.
const CERTIFICATES_BYTES_MAX: usize = 1 << 20;

/// Most hosts to try.
const HOSTS_MAX: usize = 16;

/// The port that PostgreSQL listens on unless told otherwise.
const PORT: u16 = 5432;

/// How to reach PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    /// Tried in this order until one takes writes.
    pub hosts: Vec<PostgresHost>,
    /// Who we are.
    pub user: String,
    /// How we prove it; `None`: the server asks for no password.
    pub password: Option<SecretString>,
    /// The database.
    pub database: String,
    /// What the server is told at the start of a session, such as `-c search_path=genesys`.
    pub options: Option<String>,
    /// Whom we believe.
    pub tls: PostgresTls,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostgresHost {
    /// Name or address, and port.
    Tcp(String, u16),
    /// Directory of a Unix socket, and the port that its name ends in.
    Socket(PathBuf, u16),
}

impl PostgresHost {
    /// For messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Tcp(host, port) => format!("{host}:{port}"),
            Self::Socket(directory, port) => format!("{}:{port}", directory.display()),
        }
    }

    /// Whether nobody else can listen in on the way.
    fn is_local(&self) -> bool {
        match self {
            Self::Socket(..) => true,
            Self::Tcp(host, _) => {
                let address = host.parse::<std::net::IpAddr>();
                host == "localhost" || address.is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

/// Whether the connection is encrypted, and by whom the server is vouched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostgresTls {
    /// Clear text.
    Disabled,
    /// The server's certificate must be signed by one of these, in PEM, and be for its name.
    VerifyFull {
        /// `None`: whom the system believes.
        roots: Option<String>,
    },
}

/// Judges the file; `None` if it was refused.
pub(super) fn postgres(reader: &mut Reader<'_>) -> Option<PostgresConfig> {
    let path = reader.given(KEY);
    if path.is_empty() {
        let refusal = Refusal::new(
            "is missing while store.kind is postgres",
            "name a file that holds postgresql://user:password@host/database on one line",
        );
        let place = reader.place("store.kind");
        reader.refuse(place, KEY, refusal);
        return None;
    }
    match load(Path::new(path)) {
        Ok((config, warnings)) => {
            for warning in warnings {
                reader.warn(KEY, reader.place(KEY), warning);
            }
            Some(config)
        }
        Err(refusal) => {
            reader.refuse_key(KEY, refusal);
            None
        }
    }
}

/// The file is named while nothing reads it.
pub(super) fn unused(reader: &mut Reader<'_>) {
    let place = reader.place(KEY);
    if place != Place::Default && !reader.given(KEY).is_empty() {
        let what = "has no effect because store.kind is sqlite";
        let refusal = Refusal::new(what, "remove it, or set store.kind to postgres");
        reader.warn(KEY, place, refusal);
    }
}

fn load(path: &Path) -> Result<(PostgresConfig, Vec<Refusal>), Refusal> {
    let hint = "name a readable file that holds only the database's URL";
    let (text, loose) = read_file(path, URL_BYTES_MAX, hint)?;
    let mut warnings = Vec::new();
    if loose {
        let name = quoted(&path.display().to_string());
        let what = format!("{name} can be read by others than its owner");
        warnings.push(Refusal::new(what, "chmod 0400 it"));
    }
    let (mut config, root) = parse(&text)?;
    if let Some(root) = root {
        let hint = "let sslrootcert name a readable file of certificates in PEM";
        let (pem, _) = read_file(Path::new(&root), CERTIFICATES_BYTES_MAX, hint)?;
        config.tls = PostgresTls::VerifyFull {
            roots: Some(pem.expose_secret().to_owned()),
        };
    }
    let clear = config.tls == PostgresTls::Disabled;
    if clear && !config.hosts.iter().all(PostgresHost::is_local) {
        let what = "sends the password and states of people in clear text";
        warnings.push(Refusal::new(what, "use sslmode=verify-full"));
    }
    Ok((config, warnings))
}

/// The configuration, and the file of certificates that it names.
fn parse(text: &SecretString) -> Result<(PostgresConfig, Option<String>), Refusal> {
    let form = "write postgresql://user:password@host:5432/database on one line; \
                in user and password write %40 for @, %2F for / and %3A for :";
    let refuse = |what: &str| Refusal::new(what, form);
    let line = text.expose_secret().trim_end_matches(['\n', '\r']);
    if line.chars().any(char::is_control) {
        return Err(refuse("holds several lines or control characters"));
    }
    let url = Url::parse(line).map_err(|_| refuse("holds no URL"))?;
    if !matches!(url.scheme(), "postgresql" | "postgres") {
        return Err(refuse("holds a URL of another kind of server"));
    }
    let decoded = |text: &str, what: &str| {
        let bytes: Vec<u8> = percent_decoded(text);
        String::from_utf8(bytes).map_err(|_| refuse(&format!("has a {what} that is not UTF-8")))
    };
    let user = decoded(url.username(), "user")?;
    let database = decoded(url.path().trim_start_matches('/'), "database")?;
    if user.is_empty() {
        return Err(refuse("names no user"));
    }
    if database.is_empty() || database.contains('/') {
        return Err(refuse("names no database"));
    }
    let password = match url.password() {
        Some(password) => Some(SecretString::from(decoded(password, "password")?)),
        None => None,
    };
    let parameters = Parameters::read(&url)?;
    let config = PostgresConfig {
        hosts: hosts(&url, &parameters)?,
        user,
        password,
        database,
        options: parameters.options,
        tls: parameters.tls,
    };
    Ok((config, parameters.root))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let hex = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = bytes
            .get(at + 1)
            .and_then(|high| hex(*high))
            .zip(bytes.get(at + 2).and_then(|low| hex(*low)));
        match pair.filter(|_| byte == b'%') {
            Some((high, low)) => {
                out.push(high * 16 + low);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// What stands behind the question mark.
struct Parameters {
    tls: PostgresTls,
    root: Option<String>,
    options: Option<String>,
    hosts: Vec<String>,
    ports: Vec<u16>,
}

impl Parameters {
    fn read(url: &Url) -> Result<Self, Refusal> {
        let mut parameters = Self {
            tls: PostgresTls::VerifyFull { roots: None },
            root: None,
            options: None,
            hosts: Vec::new(),
            ports: Vec::new(),
        };
        for (key, value) in url.query_pairs() {
            match key.as_ref() {
                "sslmode" => parameters.tls = tls(&value)?,
                "sslrootcert" if value == "system" => {}
                "sslrootcert" => parameters.root = Some(value.into_owned()),
                "options" => parameters.options = Some(value.into_owned()),
                "host" => parameters.hosts = value.split(',').map(str::to_owned).collect(),
                "port" => {
                    let ports = value.split(',').map(|port| port.parse::<u16>().ok());
                    parameters.ports = ports.collect::<Option<_>>().ok_or_else(|| {
                        Refusal::new("has a port that is no port", "give 1 to 65535")
                    })?;
                }
                // Others are either decided by us (application_name, timeouts) or not known; to
                // leave one unheeded could be to leave a lock open.
                other => {
                    let known = "sslmode, sslrootcert, options, host and port are";
                    let what = format!("has the parameter {}, which is not known", quoted(other));
                    return Err(Refusal::new(what, format!("remove it; {known}")));
                }
            }
        }
        if parameters.root.is_some() && parameters.tls == PostgresTls::Disabled {
            let what = "has sslrootcert beside sslmode=disable";
            return Err(Refusal::new(what, "remove one of them"));
        }
        Ok(parameters)
    }
}

fn tls(mode: &str) -> Result<PostgresTls, Refusal> {
    match mode {
        "verify-full" => Ok(PostgresTls::VerifyFull { roots: None }),
        "disable" => Ok(PostgresTls::Disabled),
        "allow" | "prefer" | "require" | "verify-ca" => Err(Refusal::new(
            format!("has sslmode={mode}, which does not prove who the server is"),
            "write sslmode=verify-full, or sslmode=disable where nobody can listen in",
        )),
        _ => Err(Refusal::new(
            "has an sslmode that does not exist",
            "write sslmode=verify-full",
        )),
    }
}

/// Hosts of the URL, or of the parameter, which can name several.
fn hosts(url: &Url, parameters: &Parameters) -> Result<Vec<PostgresHost>, Refusal> {
    let mut names = parameters.hosts.clone();
    if names.is_empty() {
        match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => {
                names.push(String::from_utf8_lossy(&percent_decoded(name)).into_owned());
            }
            Some(Host::Ipv4(address)) => names.push(address.to_string()),
            Some(Host::Ipv6(address)) => names.push(address.to_string()),
            _ => {}
        }
    }
    let hint = "name it before the database, or several with ?host=a,b&port=5432,5433";
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err(Refusal::new("names no host", hint));
    }
    if names.len() > HOSTS_MAX {
        let what = format!("names {} hosts", names.len());
        return Err(Refusal::new(what, format!("name at most {HOSTS_MAX}")));
    }
    let ports = match parameters.ports.as_slice() {
        [] => vec![url.port().unwrap_or(PORT); names.len()],
        [port] => vec![*port; names.len()],
        ports if ports.len() == names.len() => ports.to_vec(),
        _ => return Err(Refusal::new("names more or fewer ports than hosts", hint)),
    };
    let host = |(name, port): (String, u16)| {
        if name.starts_with('/') {
            PostgresHost::Socket(PathBuf::from(name), port)
        } else {
            PostgresHost::Tcp(name, port)
        }
    };
    Ok(names.into_iter().zip(ports).map(host).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(PostgresConfig, Option<String>), Refusal> {
        parse(&SecretString::from(text))
    }

    #[test]
    fn a_url_is_read_as_libpq_reads_it() {
        let (config, root) =
            read("postgresql://ex%40porter:p%2Fw%3A@db.example:6432/genesys?options=-c%20a%3Db\n")
                .unwrap();
        assert_eq!(config.user, "ex@porter");
        assert_eq!(config.password.unwrap().expose_secret(), "p/w:");
        assert_eq!(config.database, "genesys");
        assert_eq!(config.options.as_deref(), Some("-c a=b"));
        assert_eq!(config.tls, PostgresTls::VerifyFull { roots: None });
        assert_eq!(root, None);
        let tcp = PostgresHost::Tcp("db.example".to_owned(), 6432);
        assert_eq!(config.hosts, [tcp]);

        let (config, root) = read(
            "postgres://a@h/d?host=one,/run/postgresql&port=1,2&sslmode=verify-full&sslrootcert=ca",
        )
        .unwrap();
        let socket = PostgresHost::Socket(PathBuf::from("/run/postgresql"), 2);
        assert_eq!(config.hosts[1], socket);
        assert_eq!(config.hosts[0].describe(), "one:1");
        assert_eq!(root.as_deref(), Some("ca"));
        assert!(config.password.is_none());
    }

    #[test]
    fn what_is_wrong_is_told_and_nothing_of_the_line_is_quoted() {
        for (text, why) in [
            ("", "no URL"),
            ("hunter2", "no URL"),
            ("mysql://u:hunter2@h/d", "another kind"),
            ("postgresql://:hunter2@h/d", "no user"),
            ("postgresql://u:hunter2@h/", "no database"),
            ("postgresql://u:hunter2@h/d\nsecond", "several lines"),
            ("postgresql://u:hunter2@/d", "no URL"),
            ("postgresql://u:hunter2@h/d?host=a,", "no host"),
            (
                "postgresql://u:hunter2@h/d?sslmode=require",
                "does not prove",
            ),
            (
                "postgresql://u:hunter2@h/d?sslmode=hunter2",
                "does not exist",
            ),
            (
                "postgresql://u:hunter2@h/d?sslkey=x",
                "\"sslkey\", which is not known",
            ),
            ("postgresql://u:hunter2@h/d?port=x", "no port"),
            (
                "postgresql://u:hunter2@h/d?host=a,b&port=1,2,3",
                "more or fewer ports",
            ),
            (
                "postgresql://u:hunter2@h/d?sslmode=disable&sslrootcert=x",
                "beside",
            ),
        ] {
            let refusal = read(text).unwrap_err();
            assert!(refusal.what.contains(why), "{text}: {refusal:?}");
            let told = format!("{refusal:?}");
            assert!(!told.contains("hunter2"), "{told}");
        }
        let (config, _) = read("postgresql://u:hunter2@h/d").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn clear_text_is_warned_of_unless_nobody_can_listen_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("url");
        for (host, warned) in [("localhost", 0), ("127.0.0.1", 0), ("[::1]", 0), ("db", 1)] {
            std::fs::write(&path, format!("postgresql://u@{host}/d?sslmode=disable")).unwrap();
            let (_, warnings) = load(&path).unwrap();
            let clear = warnings.iter().filter(|w| w.what.contains("clear text"));
            assert_eq!(clear.count(), warned, "{host}");
        }
    }
}
