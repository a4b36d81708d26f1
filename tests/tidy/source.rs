//! The sources of the package, and what is read off each with `syn`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// A source file of the package.
pub(crate) struct Source {
    /// Relative to the package, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            syntax,
        }
    }

    /// The module of `src/lib.rs` that it belongs to; the root files belong to none.
    pub(crate) fn module(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("src/")?;
        let head = rest.split('/').next()?;
        let name = head.strip_suffix(".rs").unwrap_or(head);
        (!matches!(name, "lib" | "main")).then_some(name)
    }

    /// Whether all of it is test code.
    pub(crate) fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || name == "tests.rs"
            || name.ends_with("_tests.rs")
    }

    pub(crate) fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        facts.visit_file(&self.syntax);
        facts
    }
}

/// What is read off a file. Code under `#[cfg(test)]` may name what it likes.
#[derive(Default)]
pub(crate) struct Facts {
    /// Paths that are named, `use` trees taken apart.
    pub(crate) paths: BTreeSet<String>,
    /// Attributes, and the lints that they allow.
    pub(crate) attributes: BTreeSet<String>,
    pub(crate) asynchronous: bool,
    in_test: usize,
}

impl Facts {
    fn path(&mut self, path: String) {
        if self.in_test == 0 {
            self.paths.insert(path);
        }
    }

    fn tree(&mut self, head: &str, tree: &syn::UseTree) {
        let join = |name: &syn::Ident| match head {
            "" => name.to_string(),
            head => format!("{head}::{name}"),
        };
        match tree {
            syn::UseTree::Path(path) => self.tree(&join(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.path(join(&name.ident)),
            syn::UseTree::Rename(name) => self.path(join(&name.ident)),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(head, tree);
                }
            }
            syn::UseTree::Glob(_) => self.path(format!("{head}::*")),
        }
    }
}

fn only_in_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Facts {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let test = usize::from(only_in_tests(&item.attrs));
        self.in_test += test;
        visit::visit_item_mod(self, item);
        self.in_test -= test;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !only_in_tests(&item.attrs) {
            self.tree("", &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.path(names.join("::"));
        visit::visit_path(self, path);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let Some(name) = attribute.path().get_ident() {
            self.attributes.insert(name.to_string());
        }
        if let syn::Meta::List(list) = &attribute.meta {
            let words = list.tokens.to_string();
            self.attributes
                .extend(words.split([' ', ',', ':']).map(str::to_owned));
        }
    }

    /// The words of a macro are not parsed, but `crate::` in them imports all the same.
    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let words = item.tokens.to_string().replace(' ', "");
        for rest in words.split("crate::").skip(1) {
            let path = |c: char| !(c.is_alphanumeric() || c == '_' || c == ':');
            self.path(format!(
                "crate::{}",
                rest.split(path).next().unwrap_or_default()
            ));
        }
        visit::visit_macro(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if signature.asyncness.is_some() && self.in_test == 0 {
            self.asynchronous = true;
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, item: &'ast syn::ExprAsync) {
        if self.in_test == 0 {
            self.asynchronous = true;
        }
        visit::visit_expr_async(self, item);
    }
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, sources: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root()).unwrap().to_string_lossy();
            let text = std::fs::read_to_string(&path).unwrap();
            sources.push(Source::new(&relative.replace('\\', "/"), &text));
        }
    }
}

/// Every source file of the package, by path.
pub(crate) fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for folder in ["src", "tests", "benches"] {
        let folder = root().join(folder);
        if folder.exists() {
            collect(&folder, &mut sources);
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 100, "the sources were found");
    sources
}
