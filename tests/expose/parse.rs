//! A parser of exposition text that shares nothing with the renderer.

use std::collections::BTreeMap;

/// Name, labels.
pub(crate) type Series = (String, BTreeMap<String, String>);

/// Samples by series, in page order dropped; panics on a duplicate or on what is not exposition.
pub(crate) fn samples(page: &str) -> BTreeMap<Series, f64> {
    let mut all = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = sample(line);
        let before = all.insert(series, value);
        assert!(before.is_none(), "duplicate series: {line}");
    }
    all
}

/// Names on `# TYPE` lines, in order.
pub(crate) fn families(page: &str) -> Vec<String> {
    page.lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|rest| rest.split(' ').next().expect("a name").to_owned())
        .collect()
}

fn sample(line: &str) -> (Series, f64) {
    let end = line.find(['{', ' ']).expect("a name ends");
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").expect("a label");
            let (value, after) = quoted(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}').expect("labels end");
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').expect("a space before the value");
    assert!(!value.contains(' '), "no timestamps: {line}");
    let value = match value {
        "+Inf" => f64::INFINITY,
        number => number.parse().expect("a number"),
    };
    ((name.to_owned(), labels), value)
}

fn quoted(text: &str) -> (String, &str) {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (out, &text[at + 1..]),
            '\\' => match chars.next().expect("an escaped character").1 {
                'n' => out.push('\n'),
                c @ ('\\' | '"') => out.push(c),
                c => panic!("unknown escape {c:?}"),
            },
            c => out.push(c),
        }
    }
    panic!("a quote that does not end: {text}");
}
