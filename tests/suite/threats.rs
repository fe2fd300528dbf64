//! `docs/THREATS.md` is made of `tests/threats.txt`: what is said to be tried is there to be run.
//!
//! `UPDATE_DOCS=1 cargo test --workspace --test suite threats` writes it anew.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use lockgate_tests::corpus;

/// What the page opens with.
const HEAD: &str = "# Threats

What others' switches were broken by, and what tries it here. Made of `tests/threats.txt` by
`UPDATE_DOCS=1 cargo test --workspace --test suite threats`; not written by hand. Every name is one
of this tree: *tests* are functions, *cases* folders of `tests/cases`, *entries* are in
`tests/src/corpus`, *lab* cases in `tests/lab`.
";

/// The kinds of what tries a threat, and what the page calls them.
const KINDS: [(&str, &str); 6] = [
    ("test", "tests"),
    ("case", "cases"),
    ("entry", "entries"),
    ("lab", "lab"),
    ("fuzz", "fuzz"),
    ("script", "scripts"),
];

/// What may be said instead of a test.
const INSTEAD: [&str; 3] = ["cannot apply: ", "not built: ", "untested: "];

#[test]
fn the_page_of_threats_names_what_is_in_the_tree() {
    let list = fs::read_to_string(root().join("tests/threats.txt")).unwrap();
    let page = page(&list, &Tree::read()).unwrap_or_else(|wrong| panic!("{wrong}"));
    let path = root().join("docs/THREATS.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/THREATS.md is not what the list says: see {}", file!());
}

/// `tests/threats.ids` are the published faults that were looked at: none goes from the list again.
#[test]
fn every_published_fault_that_was_looked_at_is_on_the_list() {
    let [list, ids] = ["threats.txt", "threats.ids"]
        .map(|name| fs::read_to_string(root().join("tests").join(name)).unwrap());
    let names = list.lines().filter_map(|line| line.split('|').next());
    let listed: BTreeSet<&str> = names.flat_map(|ids| ids.split(',')).map(str::trim).collect();
    let missing: Vec<&str> = ids.lines().filter(|id| !listed.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(ids.lines().count() > 50, "{ids}");
}

#[test]
fn a_threat_that_nothing_tries_or_that_names_nothing_is_told() {
    let mut tree = Tree::default();
    tree.names.insert("test it_is_tried".to_owned());
    tree.names.insert("case np-1".to_owned());
    let told = |line: &str| page(line, &tree).map_err(|wrong| wrong.lines().count());
    let good = told("## A\n\nX-1 | Does it. | test it_is_tried; case np-1 | and more\n").unwrap();
    assert!(good.contains("| X-1 | Does it. | tests: `it_is_tried`; cases: `np-1`; and more |"));
    assert!(told("X-2 | Does it. | | cannot apply: there is none\n").is_ok());
    for wrong in [
        "X | Does it. | test it_was_tried |",
        "X | Does it. | lab it_is_tried |",
        "X | Does it. | |",
        "X | Does it. | | never mind",
        "X | Does it. |",
        "X | Does it. | | cannot apply: so\nX | Again. | | cannot apply: so",
    ] {
        assert_eq!(told(wrong), Err(1), "{wrong}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names of all that can try something, each behind its kind.
#[derive(Default)]
struct Tree {
    names: BTreeSet<String>,
}

impl Tree {
    fn read() -> Self {
        let mut tree = Self::default();
        for krate in ["dataplane", "control", "bench", "tests"] {
            tree.walk(&root().join(krate));
        }
        for (kind, under) in
            [("case", "tests/cases"), ("fuzz", "tests/fuzz/fuzz_targets"), ("script", "scripts")]
        {
            for path in entries(&root().join(under)) {
                let name = path.file_stem().unwrap().to_string_lossy();
                tree.names.insert(format!("{kind} {name}"));
            }
        }
        tree.names.extend(corpus::entries().map(|entry| format!("entry {}", entry.id)));
        tree
    }

    fn walk(&mut self, directory: &Path) {
        for path in entries(directory) {
            if path.is_dir() {
                self.walk(&path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                self.read_file(&path, &fs::read_to_string(&path).unwrap());
            }
        }
    }

    /// Test functions: those right behind an attribute that says so. Titles: whatever a file of the
    /// lab's cases has between quotes.
    fn read_file(&mut self, path: &Path, text: &str) {
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            let function = line.trim_start_matches("async ").strip_prefix("fn ");
            if let Some((name, _)) = function.and_then(|rest| rest.split_once('(')) {
                if is_test {
                    self.names.insert(format!("test {name}"));
                }
                is_test = false;
            }
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        }
        if path.parent().is_some_and(|parent| parent.ends_with("tests/lab")) {
            let titles = text.split('"').skip(1).step_by(2);
            self.names.extend(titles.map(|title| format!("lab {title}")));
        }
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The page, or all that is wrong with the list, a line for each.
fn page(list: &str, tree: &Tree) -> Result<String, String> {
    let (mut page, mut wrong) = (HEAD.to_owned(), String::new());
    let mut ids = BTreeSet::new();
    let is_said = |line: &&str| !line.is_empty() && !line.starts_with("# ") && *line != "#";
    for line in list.lines().filter(is_said) {
        if line.starts_with("## ") {
            // Writing to a String can't fail.
            let _ = write!(page, "\n{line}\n\n| id | attack | tried by |\n|---|---|---|\n");
            continue;
        }
        match row(line, tree, &mut ids) {
            Ok(row) => page.push_str(&row),
            Err(what) => {
                let _ = writeln!(wrong, "{what}");
            }
        }
    }
    if wrong.is_empty() { Ok(page) } else { Err(wrong) }
}

/// A row of the page.
fn row(line: &str, tree: &Tree, ids: &mut BTreeSet<String>) -> Result<String, String> {
    let parts: Vec<&str> = line.split('|').map(str::trim).collect();
    let [id, attack, tries, note] = parts[..] else {
        return Err(format!("`{line}` is not of four parts"));
    };
    if !ids.insert(id.to_owned()) {
        return Err(format!("{id} is there twice"));
    }
    let tries: Vec<&str> = tries.split("; ").filter(|name| !name.is_empty()).collect();
    let missing: Vec<_> = tries.iter().filter(|name| !tree.names.contains(**name)).collect();
    if !missing.is_empty() {
        return Err(format!("{id} names what is not in the tree: {missing:?}"));
    }
    if tries.is_empty() && !INSTEAD.iter().any(|word| note.starts_with(word)) {
        return Err(format!("{id} is tried by nothing, and says none of {INSTEAD:?}"));
    }
    let said = KINDS.iter().filter_map(|(kind, plural)| {
        let of_kind = tries.iter().filter_map(|name| name.strip_prefix(kind)?.strip_prefix(' '));
        let quote = if *kind == "lab" { "*" } else { "`" };
        let names: Vec<String> = of_kind.map(|name| format!("{quote}{name}{quote}")).collect();
        (!names.is_empty()).then(|| format!("{plural}: {}", names.join(", ")))
    });
    let note = (!note.is_empty()).then(|| note.to_owned());
    let said: Vec<String> = said.chain(note).collect();
    Ok(format!("| {id} | {attack} | {} |\n", said.join("; ")))
}
