//! Each house rule as a function of one file's text: what it finds, a line for each.

/// A Rust file.
#[derive(Debug)]
pub(super) struct Source {
    /// Its path from the root of the repository.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Whether another file declares it for tests only.
    pub for_tests: bool,
}

/// The dataplane's modules by layer: a module may use its own layer's own files, and lower ones.
const LAYERS: &[(&str, u8)] = &[
    ("limits", 0),
    ("ids", 0),
    ("clock", 0),
    ("prefetch", 0),
    ("block", 0),
    ("sync", 0),
    ("seat", 1),
    ("fair", 1),
    ("packet", 1),
    ("frame", 1),
    ("counters", 1),
    ("doorbell", 1),
    ("port", 2),
    ("policy", 2),
    ("connection", 2),
    ("service", 2),
    ("endpoint", 3),
    ("compiler", 4),
    ("publish", 4),
    ("event", 4),
    ("handoff", 4),
    ("worker", 5),
    ("successor", 5),
    ("runtime", 6),
];

/// Lines that a file may have without its tests.
const FILE_LINES_MAX: usize = 400;

/// Lines that a function may have.
const FUNCTION_LINES_MAX: usize = 60;

/// Words that no module and no type may be called by: each hides which of our words is meant.
const SYNONYMS: &[&str] = &[
    "session", "context", "manager", "handler", "engine", "info", "data", "utils", "util",
    "common", "helper", "helpers", "misc",
];

/// What no hot file may hold: loops without a bound in sight, locks, output, clocks.
const NOT_HOT: &[(&str, &str)] = &[
    ("while ", "a `while` has no bound in sight: use `for` over a batch or a constant"),
    ("loop {", "a `loop` has no bound in sight: use `for` over a batch or a constant"),
    ("println!", "hot code does not write"),
    ("print!", "hot code does not write"),
    ("dbg!", "hot code does not write"),
    ("format!", "hot code does not format"),
    ("Mutex", "hot code takes no lock"),
    ("RwLock", "hot code takes no lock"),
    ("Condvar", "hot code takes no lock"),
    ("mpsc", "hot code does not block"),
    ("Instant", "time is an argument"),
    ("SystemTime", "time is an argument"),
];

/// Foreign crates that have one place each, so that each is easy to replace.
const FOREIGN: &[(&str, &[&str])] = &[
    ("xsk_rs", &["dataplane/src/port/"]),
    ("aya", &["dataplane/src/port/", "bench/src/traffic"]),
    ("clap", &["control/src/args", "tests/src/bin/"]),
    ("prometheus", &["control/src/metrics"]),
    ("anyhow", &["control/src/main.rs"]),
    ("core_affinity", &["dataplane/src/runtime"]),
    ("axum", &["control/src/http"]),
    ("hyper", &["control/src/http"]),
    ("hyper_util", &["control/src/http"]),
    ("inotify", &["control/src/watch_dir"]),
    ("rtnetlink", &["control/src/attach"]),
    ("postcard", &["control/src/last_good"]),
    ("tar", &["control/src/sysdump", "tests/src/kubernetes/"]),
    ("flate2", &["control/src/sysdump"]),
];

impl Source {
    /// A finding in this file.
    pub(super) fn at(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    /// Whether all of it is test code.
    fn is_test(&self) -> bool {
        self.for_tests
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
            || self.path.starts_with("tests/suite/")
            || self.path.starts_with("tests/lab/")
            || self.path.starts_with("tests/cluster-suite/")
            || self.path.starts_with("tests/fuzz/")
    }

    /// Its lines before its tests, numbered from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let own = if self.is_test() { "" } else { self.text.as_str() };
        // What is only declared for tests (`mod tests;`, a `use`) is no end of the file.
        let next = own.lines().skip(1).chain([""]);
        let begins = |(line, next): (&str, &str)| {
            line == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{')
        };
        let end = own.lines().zip(next).position(begins).unwrap_or(usize::MAX);
        own.lines().take(end).enumerate().map(|(number, line)| (number + 1, line))
    }

    /// Its lines of code, numbered, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = |line: &str| !line.trim_start().starts_with("//");
        self.lines()
            .filter(move |(_, line)| code(line))
            .map(|(number, line)| (number, line.split(" // ").next().unwrap_or(line)))
    }

    /// The files that it declares for tests only: `#[cfg(test)] mod fake;` is `fake.rs` beside.
    pub(super) fn test_files(&self) -> Vec<String> {
        let stem = self.path.trim_end_matches(".rs");
        let own = ["/mod", "/lib", "/main"].iter().find_map(|end| stem.strip_suffix(end));
        let directory = own.unwrap_or(stem);
        let lines = self.text.lines().zip(self.text.lines().skip(1));
        let declared = lines.filter(|(line, _)| *line == "#[cfg(test)]");
        let name =
            |line: &str| line.strip_suffix(';')?.split_once("mod ").map(|(_, n)| n.to_owned());
        declared
            .filter_map(|(_, next)| name(next))
            .map(|name| format!("{directory}/{name}.rs"))
            .collect()
    }

    /// How many lines it has without its tests.
    pub(super) fn own_lines(&self) -> usize {
        self.lines().count()
    }
}

/// A `use crate::` that leads upwards, or sideways.
pub(super) fn layers(source: &Source) -> Vec<String> {
    let module = source.path.trim_start_matches("dataplane/src/");
    let module = module.split(['/', '.']).next().unwrap_or(module);
    if module == "lib" || module == "bin" {
        return vec![];
    }
    let layer =
        |name: &str| LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer);
    let Some(own) = layer(module) else {
        return vec![source.at(1, &format!("module {module} has no layer: add it to LAYERS"))];
    };
    let mut found = Vec::new();
    for (number, line) in source.code() {
        for part in line.split("crate::").skip(1) {
            let used = part.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
            // Layer 1 has no inner order but one: packets drop for a reason.
            let peers = own == 1 && layer(used) == Some(1);
            if used != module && !peers && layer(used).is_some_and(|used| used >= own) {
                found.push(
                    source.at(number, &format!("{module} uses {used}, which is not below it")),
                );
            }
        }
    }
    found
}

/// A file that is too long.
pub(super) fn length(source: &Source) -> Vec<String> {
    let lines = source.own_lines();
    if lines <= FILE_LINES_MAX {
        return vec![];
    }
    vec![source.at(lines, &format!("{lines} lines without tests, {FILE_LINES_MAX} may be"))]
}

/// Functions that are too long. Relies on rustfmt: a function ends at its own indentation.
pub(super) fn functions(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in source.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        if let Some((start, end)) = &open {
            if line == end {
                let lines = number - start + 1;
                if lines > FUNCTION_LINES_MAX {
                    let what = format!("a function of {lines} lines, {FUNCTION_LINES_MAX} may be");
                    found.push(source.at(*start, &what));
                }
                open = None;
            }
        } else if is_function(line) && !line.ends_with('}') && !line.ends_with(';') {
            open = Some((number, format!("{indent}}}")));
        }
    }
    found
}

fn is_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let mut word = words.next();
    while word.is_some_and(|word| {
        word.starts_with("pub") || matches!(word, "const" | "async" | "unsafe" | "in")
    }) {
        word = words.next();
    }
    word == Some("fn")
}

/// A file that does not open with what it is.
pub(super) fn header(source: &Source) -> Vec<String> {
    // `x/tests.rs` is said by the file it tests.
    if source.path.ends_with("/tests.rs") {
        return vec![];
    }
    let said =
        source.text.lines().next().is_some_and(|line| line.len() > 8 && line.starts_with("//! "));
    if said { vec![] } else { vec![source.at(1, "opens without `//!` and what it is")] }
}

/// What a hot file must not hold. A file is hot when its header says so.
pub(super) fn hot(source: &Source) -> Vec<String> {
    let head = source.text.lines().take_while(|line| line.starts_with("//!"));
    // The threads of `runtime` are where turns are called from: a loop without an end.
    if source.path.contains("/runtime") || !head.into_iter().any(|line| line.contains("Hot path."))
    {
        return vec![];
    }
    let mut found = Vec::new();
    // What a hot file does before the first packet says so, with the reason, on the line above.
    let is_cold = |number: usize| {
        let above = source.text.lines().nth(number.wrapping_sub(2)).unwrap_or("");
        above.trim_start().starts_with("// Cold: ")
    };
    for (number, line) in source.code().filter(|(number, _)| !is_cold(*number)) {
        for (word, why) in NOT_HOT {
            let whole = |at: usize| {
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"')
            };
            if line.match_indices(word).any(|(at, _)| whole(at)) {
                found.push(source.at(number, why));
            }
        }
    }
    found
}

/// Types and modules that are called by a word we do not use.
pub(super) fn names(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let stem = source.path.rsplit('/').next().unwrap_or("").trim_end_matches(".rs").to_owned();
    if SYNONYMS.contains(&stem.as_str()) {
        found.push(source.at(1, &format!("a module called {stem}")));
    }
    for (number, line) in source.code() {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        while let Some(word) = words.next() {
            if !matches!(word, "struct" | "enum" | "trait" | "type" | "mod") {
                continue;
            }
            let Some(name) = words.next() else { continue };
            if let Some(part) =
                parts(name).into_iter().find(|part| SYNONYMS.contains(&part.as_str()))
            {
                found.push(source.at(number, &format!("{word} {name}: we do not say {part}")));
            }
        }
    }
    found
}

/// The words of a name, in lower case: `PortInfo` is `port` and `info`.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            parts.push(String::new());
        }
        if let (Some(part), true) = (parts.last_mut(), letter != '_') {
            part.extend(letter.to_lowercase());
        }
    }
    parts
}

/// Unsafe code, in tests too.
pub(super) fn no_unsafe(source: &Source) -> Vec<String> {
    let uses = |line: &str| {
        let code = line.split("//").next().unwrap_or(line);
        code.contains("allow(unsafe_code)")
            || ["unsafe {", "unsafe fn ", "unsafe impl ", "unsafe extern "].iter().any(|word| {
                code.trim_start().starts_with(word) || code.contains(&format!(" {word}"))
            })
    };
    let lines = source.text.lines().enumerate();
    // This very file names the words it looks for.
    let lines = lines.filter(|_| !source.path.ends_with("tidy/rules.rs"));
    lines
        .filter(|(_, line)| uses(line))
        .map(|(number, _)| source.at(number + 1, "unsafe code has its few places; this is none"))
        .collect()
}

/// A foreign crate used outside its place.
pub(super) fn foreign(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in source.code() {
        for (krate, places) in FOREIGN {
            let used = line.match_indices(&format!("{krate}::")).any(|(at, _)| {
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
            });
            if used && !places.iter().any(|place| source.path.starts_with(place)) {
                found.push(source.at(number, &format!("{krate} belongs to {places:?} alone")));
            }
        }
    }
    found
}

/// Another program started: what a manifest says would be its arguments.
pub(super) fn no_programs(source: &Source) -> Vec<String> {
    let starts = |line: &str| line.contains("process::Command") || line.contains("Command::new(");
    let found = source.code().filter(|(_, line)| starts(line));
    found.map(|(number, _)| source.at(number, "the product starts no other program")).collect()
}

/// The paths that a page names in backticks: what begins with a directory of ours, braces spread.
pub(super) fn paths(page: &str) -> Vec<String> {
    let tops = ["dataplane/", "control/", "bench/", "tests/", "scripts/", "docs/", "deploy/"];
    let words = page.split('`').skip(1).step_by(2);
    let ours = words.filter(|word| tops.iter().any(|top| word.starts_with(top)));
    let plain = ours.filter(|word| !word.contains(['<', '*', ' ']));
    plain.flat_map(spread).collect()
}

/// `a/{b,c}.rs` is `a/b.rs` and `a/c.rs`.
fn spread(path: &str) -> Vec<String> {
    let parts = path.split_once('{').and_then(|(head, rest)| {
        let (inner, tail) = rest.split_once('}')?;
        Some(inner.split(',').map(|one| format!("{head}{one}{tail}")).collect())
    });
    parts.unwrap_or_else(|| vec![path.to_owned()])
}

#[cfg(test)]
mod planted {
    //! Each rule meets the fault it is for, and a harmless neighbour of it.

    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned(), for_tests: false }
    }

    #[test]
    fn a_use_of_an_upper_layer_is_found() {
        let wrong = source("dataplane/src/policy/table.rs", "use crate::worker::Worker;\n");
        assert_eq!(layers(&wrong).len(), 1);
        let sideways = source("dataplane/src/port/mod.rs", "use crate::policy::X;\n");
        assert_eq!(layers(&sideways).len(), 1);
        let right =
            source("dataplane/src/policy/table.rs", "use crate::policy::X;\nuse crate::ids::Y;\n");
        assert!(layers(&right).is_empty());
        assert_eq!(layers(&source("dataplane/src/new.rs", "")).len(), 1);
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_are_not_counted() {
        let line = "// x\n";
        assert_eq!(length(&source("control/src/a.rs", &line.repeat(401))).len(), 1);
        let tested = line.repeat(400) + "#[cfg(test)]\nmod tests {\n" + &line.repeat(400);
        assert!(length(&source("control/src/a.rs", &tested)).is_empty());
        let apart = format!("#[cfg(test)]\nmod tests;\n{}", line.repeat(400));
        assert_eq!(length(&source("control/src/a.rs", &apart)).len(), 1);
        assert!(length(&source("control/src/a/tests.rs", &line.repeat(900))).is_empty());
    }

    #[test]
    fn a_file_declared_for_tests_only_is_found_and_not_counted() {
        let text = "//! X.\n#[cfg(test)]\nmod fake;\nmod real;\n";
        let files = source("control/src/port/mod.rs", text).test_files();
        assert_eq!(files, ["control/src/port/fake.rs"]);
        assert_eq!(source("control/src/port.rs", text).test_files(), files);
        let mut fake = source("control/src/port/fake.rs", &"x\n".repeat(500));
        assert_eq!(length(&fake).len(), 1);
        fake.for_tests = true;
        assert!(length(&fake).is_empty());
    }

    #[test]
    fn a_long_function_is_found() {
        let text = |lines| {
            format!("impl A {{\n    pub fn a() {{\n{}    }}\n}}\n", "        x;\n".repeat(lines))
        };
        assert!(functions(&source("control/src/a.rs", &text(58))).is_empty());
        assert_eq!(functions(&source("control/src/a.rs", &text(59))).len(), 1);
    }

    #[test]
    fn a_missing_header_is_found() {
        assert_eq!(header(&source("control/src/a.rs", "use std::io;\n")).len(), 1);
        assert_eq!(header(&source("control/src/a.rs", "//! x\n")).len(), 1);
        assert!(header(&source("control/src/a.rs", "//! What it is.\n")).is_empty());
    }

    #[test]
    fn a_hot_file_with_a_loop_or_a_lock_is_found() {
        let hot_text = |line: &str| format!("//! X. Hot path.\n{line}\n");
        for line in ["    while x {", "    loop {", "use std::sync::Mutex;", "    println!(\"\");"]
        {
            assert_eq!(hot(&source("dataplane/src/worker.rs", &hot_text(line))).len(), 1, "{line}");
        }
        assert!(hot(&source("dataplane/src/worker.rs", &hot_text("// while x {"))).is_empty());
        assert!(hot(&source("dataplane/src/worker.rs", "//! Cold.\nloop {\n")).is_empty());
    }

    #[test]
    fn a_synonym_is_found_in_types_and_modules_but_not_in_other_words() {
        assert_eq!(names(&source("control/src/utils.rs", "")).len(), 1);
        assert_eq!(names(&source("control/src/a.rs", "pub struct PortInfo {")).len(), 1);
        assert_eq!(names(&source("control/src/a.rs", "mod data_common;")).len(), 1);
        assert!(
            names(&source("control/src/a.rs", "struct Database; enum Information {}")).is_empty()
        );
    }

    #[test]
    fn unsafe_code_is_found_and_talk_about_it_is_not() {
        assert_eq!(no_unsafe(&source("control/src/a.rs", "    let x = unsafe { f() };")).len(), 1);
        assert_eq!(no_unsafe(&source("control/src/a.rs", "#![allow(unsafe_code)]")).len(), 1);
        assert!(no_unsafe(&source("control/src/a.rs", "//! unsafe { } is not here")).is_empty());
        assert!(no_unsafe(&source("control/src/a.rs", "#![deny(unsafe_code)]")).is_empty());
    }

    #[test]
    fn a_foreign_crate_out_of_its_place_is_found() {
        assert_eq!(foreign(&source("control/src/sync.rs", "use prometheus::Registry;")).len(), 1);
        assert!(foreign(&source("control/src/metrics.rs", "use prometheus::Registry;")).is_empty());
        assert!(foreign(&source("control/src/sync.rs", "use crate::prometheus::x;")).is_empty());
    }

    #[test]
    fn a_program_that_is_started_is_found_and_one_of_a_test_is_not() {
        let text = "//! X.\nuse std::process::Command;\nfn a() { Command::new(\"sh\"); }\n";
        assert_eq!(no_programs(&source("control/src/a.rs", text)).len(), 2);
        assert!(no_programs(&source("control/src/a/tests.rs", text)).is_empty());
    }

    #[test]
    fn paths_are_read_from_backticks_with_braces_spread() {
        let page = "see `dataplane/src/port/{xsk,program}.rs`, `cargo test` and `tests/cases/`";
        let expected =
            ["dataplane/src/port/xsk.rs", "dataplane/src/port/program.rs", "tests/cases/"];
        assert_eq!(paths(page), expected);
    }
}
