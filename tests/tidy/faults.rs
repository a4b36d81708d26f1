//! `tests/faults.md` against the sources: no number is missing, and every test that a row names
//! exists and is a test.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, root, sources};

/// The numbers of the fault matrix, 1 to this.
const LAST: u32 = 141;

/// Rows that are open work. It may only shrink.
const OPEN_MAX: usize = 0;

/// A row: what is said of a fault.
#[derive(Debug, PartialEq, Eq)]
enum Row {
    Tests(Vec<String>),
    DoesNotApply,
    Open,
}

/// The rows by number, or what is wrong with them.
fn rows(text: &str) -> Result<BTreeMap<u32, Row>, String> {
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| F")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, fault, tests] = cells[..] else {
            return Err(format!("not three cells: {line}"));
        };
        let number = number.trim_start_matches('F');
        let number: u32 = number.parse().map_err(|_| format!("no number: {line}"))?;
        let row = match tests.split_once(": ") {
            Some(("open", reason)) if !reason.is_empty() => Row::Open,
            Some(("does not apply", reason)) if !reason.is_empty() => Row::DoesNotApply,
            _ => Row::Tests(
                tests
                    .split("<br>")
                    .map(|test| test.trim().to_owned())
                    .collect(),
            ),
        };
        if fault.is_empty() || rows.insert(number, row).is_some() {
            return Err(format!("F{number} has no fault, or two rows"));
        }
    }
    Ok(rows)
}

/// Every test of the package, as `file::name`.
fn tests(sources: &[Source]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources {
        let mut functions = Functions::default();
        syn::visit::Visit::visit_file(&mut functions, &source.syntax);
        let found = functions
            .0
            .into_iter()
            .map(|name| format!("{}::{name}", source.path));
        names.extend(found);
    }
    names
}

/// Names of functions with an attribute that ends in `test`, and of those in `proptest!`.
#[derive(Default)]
struct Functions(Vec<String>);

impl<'ast> syn::visit::Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let is_test = |attribute: &syn::Attribute| {
            let last = attribute.path().segments.last();
            last.is_some_and(|segment| segment.ident == "test")
        };
        if item.attrs.iter().any(is_test) {
            self.0.push(item.sig.ident.to_string());
        }
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let last = item.path.segments.last();
        if last.is_some_and(|segment| segment.ident == "proptest") {
            let words = item.tokens.to_string();
            let mut words = words.split_whitespace();
            while let Some(word) = words.next() {
                if word == "fn" {
                    let name = words.next().unwrap_or_default();
                    self.0
                        .push(name.split('(').next().unwrap_or_default().to_owned());
                }
            }
        }
    }
}

fn findings(rows: &BTreeMap<u32, Row>, tests: &BTreeSet<String>, open_max: usize) -> Vec<String> {
    let missing = (1..=LAST).filter(|number| !rows.contains_key(number));
    let mut findings: Vec<String> = missing
        .map(|number| format!("F{number} has no row"))
        .collect();
    let strange = rows.keys().filter(|number| !(1..=LAST).contains(*number));
    findings.extend(strange.map(|number| format!("F{number} is no fault")));
    for (number, row) in rows {
        let Row::Tests(named) = row else { continue };
        let gone = named.iter().filter(|name| !tests.contains(*name));
        findings.extend(gone.map(|name| format!("F{number}: there is no test {name}")));
    }
    let open = rows.values().filter(|row| **row == Row::Open).count();
    if open > open_max {
        findings.push(format!("{open} rows are open, at most {open_max}"));
    }
    findings
}

#[test]
fn every_fault_has_its_test_or_its_reason() {
    let text = std::fs::read_to_string(root().join("tests/faults.md")).unwrap();
    let findings = findings(&rows(&text).unwrap(), &tests(&sources()), OPEN_MAX);
    assert!(findings.is_empty(), "\n  {}", findings.join("\n  "));
}

#[test]
fn the_table_of_faults_is_checked() {
    let source = Source::new(
        "src/a.rs",
        "//! X.\n#[tokio::test(flavor = \"x\")]\nasync fn waits() {}\nfn helps() {}\n\
         mod tests { #[test] fn is() {} proptest! { #[test] fn any(x in 0..1) {} } }\n",
    );
    let tests = tests(&[source]);
    let names: Vec<&str> = tests.iter().map(String::as_str).collect();
    assert_eq!(names, ["src/a.rs::any", "src/a.rs::is", "src/a.rs::waits"]);
    let lines = (1..=LAST).map(|n| format!("| F{n} | it breaks | open: later |\n"));
    let mut text = lines.collect::<Vec<_>>().concat();
    let all = rows(&text).unwrap();
    assert_eq!(findings(&all, &tests, LAST as usize), [""; 0]);
    assert_eq!(findings(&all, &tests, 3).len(), 1);
    text = text.replace(
        "| F7 | it breaks | open: later |",
        "| F7 | it breaks | src/a.rs::is<br>src/a.rs::helps |",
    );
    let one = rows(&text).unwrap();
    assert_eq!(
        findings(&one, &tests, 200),
        ["F7: there is no test src/a.rs::helps"]
    );
    let fewer = text.split_once('\n').unwrap().1;
    assert_eq!(findings(&rows(fewer).unwrap(), &tests, 200).len(), 2);
    assert!(rows("| F1 | it breaks | a::b |\n| F1 | it breaks | a::b |\n").is_err());
    assert!(rows("| F1 | it breaks |\n").is_err());
}
