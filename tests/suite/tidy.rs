//! The house rules, held against the tree.
//!
//! Each rule is a pure function of a file's text in `rules`, tried there against a planted
//! fault; here they meet every file. A rule that finds no file to look at fails too.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use lockgate_dataplane::counters::DropReason;

use rules::Source;

/// Lines that a crate may have without its tests; raised only by a decision record.
const BUDGETS: &[(&str, usize)] = &[("dataplane", 24_300), ("control", 43_600)];

/// Lines that a script may have.
const SCRIPT_LINES_MAX: usize = 79;

/// Where unsafe code may be: the kernel's rings, its programs, one intrinsic, mapped files, one
/// allocator.
const UNSAFE: &[&str] = &[
    "dataplane/src/port/xsk.rs",
    "dataplane/src/port/xsk/umem.rs",
    "dataplane/src/port/program.rs",
    "dataplane/src/prefetch.rs",
    "dataplane/src/block.rs",
    "tests/src/allocator.rs",
];

#[test]
fn a_dataplane_module_uses_lower_layers_only() {
    check("dataplane/src", rules::layers);
}

#[test]
fn a_file_is_short_without_its_tests() {
    check("", rules::length);
}

#[test]
fn a_function_fits_a_screen() {
    check("", rules::functions);
}

#[test]
fn a_module_opens_with_what_it_is() {
    check("", rules::header);
}

#[test]
fn a_hot_file_neither_waits_nor_speaks() {
    check("dataplane/src", rules::hot);
}

#[test]
fn no_name_is_a_synonym_of_the_vocabulary() {
    check("", rules::names);
}

#[test]
fn unsafe_code_is_where_it_is_allowed() {
    check("", |source| {
        if UNSAFE.contains(&source.path.as_str()) { vec![] } else { rules::no_unsafe(source) }
    });
}

#[test]
fn crates_without_unsafe_code_forbid_it_or_deny_it() {
    for (file, word) in [
        ("dataplane/src/lib.rs", "#![deny(unsafe_code)]"),
        ("control/src/lib.rs", "#![forbid(unsafe_code)]"),
        ("control/src/main.rs", "#![forbid(unsafe_code)]"),
        ("control/src/bin/lockgate-cni.rs", "#![forbid(unsafe_code)]"),
        ("bench/src/lib.rs", "#![forbid(unsafe_code)]"),
        ("tests/src/lib.rs", "#![deny(unsafe_code)]"),
        ("tests/loom/src/lib.rs", "#![forbid(unsafe_code)]"),
    ] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        assert!(text.contains(word), "{file} lacks {word}");
    }
}

#[test]
fn a_foreign_crate_stays_in_its_place() {
    check("", rules::foreign);
}

/// Where another program is started: what gives addresses is one, by the CNI specification.
const PROGRAMS: &[&str] = &["control/src/cni/ipam.rs"];

#[test]
fn the_product_starts_no_other_program_but_an_ipam_plugin() {
    check("control/src", |source| {
        if PROGRAMS.contains(&source.path.as_str()) { vec![] } else { rules::no_programs(source) }
    });
    check("dataplane/src", rules::no_programs);
}

#[test]
fn crates_keep_their_size_budgets() {
    for &(krate, budget) in BUDGETS {
        let lines: usize = sources(&format!("{krate}/src")).iter().map(Source::own_lines).sum();
        assert!(lines <= budget, "{krate} has {lines} lines without tests, {budget} are allowed");
    }
}

#[test]
fn every_path_that_architecture_names_exists() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let paths = rules::paths(&text);
    assert!(paths.len() >= 10, "only {} paths found: {paths:?}", paths.len());
    let missing: Vec<_> = paths.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "docs/ARCHITECTURE.md names what is not there: {missing:?}");
}

#[test]
fn every_drop_reason_has_its_row_in_operating() {
    let text = fs::read_to_string(root().join("docs/OPERATING.md")).unwrap();
    let row = |label: &str| text.contains(&format!("| `{label}` |"));
    let missing: Vec<_> =
        DropReason::ALL.iter().map(|reason| reason.label()).filter(|label| !row(label)).collect();
    assert!(missing.is_empty(), "docs/OPERATING.md has no row for {missing:?}");
}

#[test]
fn every_script_is_short_strict_and_executable() {
    use std::os::unix::fs::PermissionsExt;
    let scripts: Vec<PathBuf> = entries(&root().join("scripts"));
    assert!(scripts.len() >= 5, "{scripts:?}");
    for path in scripts {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.display();
        let lines = text.lines().count();
        assert!(lines <= SCRIPT_LINES_MAX, "{name} has {lines} lines, {SCRIPT_LINES_MAX} may be");
        assert!(text.starts_with("#!/usr/bin/env bash\n# "), "{name} does not say what it is");
        assert!(text.contains("\nset -euo pipefail\n"), "{name} is not strict");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert!(mode & 0o111 == 0o111, "{name} is not executable");
    }
}

#[test]
fn every_survivor_of_mutation_is_of_a_file_that_is_there_and_explained() {
    let text = fs::read_to_string(root().join("tests/mutants.allow")).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(!lines.is_empty(), "tests/mutants.allow explains nothing");
    let is_sound = |line: &&str| {
        line.split_once(" # ").is_some_and(|(what, why)| {
            let file = what.split_once(": ").map(|(file, _)| file);
            file.is_some_and(|file| root().join(file).is_file()) && !why.trim().is_empty()
        })
    };
    let wrong: Vec<_> = lines.into_iter().filter(|line| !is_sound(line)).collect();
    assert!(wrong.is_empty(), "tests/mutants.allow: `FILE: WHAT # WHY` is wanted: {wrong:?}");
}

#[test]
fn nothing_in_the_tree_reads_outside_it() {
    // Written in two parts, so that this very line is none.
    let outside = concat!("../", "shared");
    let reading = |source: &Source| {
        if source.text.contains(outside) {
            vec![source.at(1, "reads outside the tree")]
        } else {
            vec![]
        }
    };
    check("", reading);
}

/// Holds a rule against every Rust file under a directory.
fn check(under: &str, rule: impl Fn(&Source) -> Vec<String>) {
    let sources = sources(under);
    assert!(!sources.is_empty(), "no sources under {under:?}");
    let found: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(found.is_empty(), "{} found:\n{}", found.len(), found.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The Rust files of our crates under a directory, by their paths from the root.
fn sources(under: &str) -> Vec<Source> {
    let mut found = BTreeMap::new();
    for krate in ["dataplane", "control", "bench", "tests"] {
        collect(&root().join(krate), krate, &mut found);
    }
    let source = |(path, text)| Source { path, text, for_tests: false };
    let mut sources: Vec<Source> = found.into_iter().map(source).collect();
    let for_tests: BTreeSet<String> = sources.iter().flat_map(Source::test_files).collect();
    for source in &mut sources {
        source.for_tests = for_tests.contains(&source.path);
    }
    sources.retain(|source| source.path.starts_with(under));
    sources
}

fn collect(directory: &Path, name: &str, found: &mut BTreeMap<String, String>) {
    for path in entries(directory) {
        let name = format!("{name}/{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() && !name.ends_with("/target") {
            collect(&path, &name, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}
