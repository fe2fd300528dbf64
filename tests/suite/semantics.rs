//! `docs/SEMANTICS.md` is made of `tests/cases`: what is promised is what is tried.
//!
//! `UPDATE_DOCS=1 cargo test --workspace --test suite semantics` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use lockgate_tests::cases::{Action, Case, Judge, Send, Step};

/// What the page opens with.
const HEAD: &str = "# Semantics

What policy objects mean here, and the case that shows it. Made of `tests/cases` by
`UPDATE_DOCS=1 cargo test --workspace --test suite semantics`; not written by hand.

Judges: the *oracle* reads raw objects, the *ruleset* reads every rule, the *table* is what packets
are judged by (and `explain` beside it), the *node* is the simulated switch, the *lab* real sockets.
The first three keep no connections and see no packets: replies, errors, spoofed addresses and the
like need a node. What only a node knows, that a source is the target's own node (NP-40), the
ruleset and the table are told.
";

#[test]
fn the_page_of_semantics_is_what_the_cases_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = Case::read_all(&root.join("cases")).unwrap();
    let meanings = fs::read_to_string(root.join("cases/meanings.txt")).unwrap();
    let names = fs::read_to_string(root.join("cases/conformance.txt")).unwrap();
    let page = page(&meanings, &cases).unwrap() + &conformance(&names, &cases).unwrap();
    let path: PathBuf = root.join("../docs/SEMANTICS.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/SEMANTICS.md is not what the cases say: see {}", file!());
}

#[test]
fn an_id_without_a_case_and_a_case_without_an_id_are_told() {
    let case = |name: &str| Case {
        name: name.to_owned(),
        folder: PathBuf::new(),
        cluster: String::new(),
        steps: Vec::new(),
        without: vec![(Judge::Lab, "nobody sends it".to_owned())],
    };
    let good = page("NP-1 Means this.\n", &[case("np-1-so-it-is"), case("seed-one")]).unwrap();
    assert!(good.contains("| NP-1 | Means this. | so it is | all but lab: nobody sends it |"));
    assert!(page("NP-1 Means this.\nNP-2 That.\n", &[case("np-1-so")]).is_err());
    assert!(page("NP-1 Means this.\n", &[case("np-1-so"), case("np-3-else")]).is_err());
}

#[test]
fn a_conformance_name_without_a_case_is_told() {
    assert!(conformance("CNPGress cnp-2-gress\n", &[]).is_err());
    assert!(conformance("CNPGress\n", &[]).is_err());
}

/// What the conformance tests of `ClusterNetworkPolicy` are called, and which case asks the same.
fn conformance(names: &str, cases: &[Case]) -> Result<String, String> {
    let mut part = "\n## Conformance names of ClusterNetworkPolicy\n\nThose suites need a cluster; \
                    the case of each asks the same of policies like theirs.\n\n| name | case |\n|---|---|\n"
        .to_owned();
    for line in names.lines().filter(|line| !line.starts_with('#')) {
        let (name, folder) = line.split_once(' ').ok_or_else(|| format!("`{line}` has no case"))?;
        let case = cases.iter().find(|case| case.name == folder);
        let case = case.ok_or_else(|| format!("{name}: there is no case {folder}"))?;
        // Writing to a String can't fail.
        let _ = writeln!(part, "| {name} | `{}` |", case.name);
    }
    Ok(part)
}

/// The page, or what does not fit.
fn page(meanings: &str, cases: &[Case]) -> Result<String, String> {
    let mut by_id: BTreeMap<String, Vec<&Case>> = BTreeMap::new();
    let mut others = Vec::new();
    for case in cases {
        match id(&case.name) {
            Some(id) => by_id.entry(id).or_default().push(case),
            None => others.push(case),
        }
    }
    let mut page = format!("{HEAD}\n| id | means | case | judged by |\n|---|---|---|---|\n");
    let lines = meanings.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    for line in lines {
        let (id, meaning) = line.split_once(' ').ok_or_else(|| format!("`{line}` has no text"))?;
        let cases = by_id.remove(id).ok_or_else(|| format!("{id} has no case in tests/cases"))?;
        for (number, case) in cases.into_iter().enumerate() {
            let (id, meaning) = if number == 0 { (id, meaning) } else { ("", "") };
            row(&mut page, id, meaning, case);
        }
    }
    if let Some(id) = by_id.keys().next() {
        return Err(format!("{id} is not in tests/cases/meanings.txt"));
    }
    page.push_str("\n## Further cases\n\n| id | means | case | judged by |\n|---|---|---|---|\n");
    for case in others {
        row(&mut page, "", "", case);
    }
    Ok(page)
}

fn row(page: &mut String, id: &str, meaning: &str, case: &Case) {
    let mut title = case.name.as_str();
    if !id.is_empty() || self::id(&case.name).is_some() {
        title = case.name.splitn(3, '-').nth(2).unwrap_or(&case.name);
    }
    let title = title.replace('-', " ");
    let absent: Vec<String> =
        case.without.iter().map(|(judge, why)| format!("{}: {why}", judge.label())).collect();
    let mut judges = match absent.as_slice() {
        [] => "all".to_owned(),
        some => format!("all but {}", some.join("; ")),
    };
    let packets: Vec<&Send> = case.steps.iter().flat_map(packets).collect();
    let kept = packets.iter().filter(|packet| !packet.is_decided_by_policy()).count();
    if kept > 0 {
        // Writing to a String can't fail.
        let _ = write!(judges, "; {kept} of {} packets need a node", packets.len());
    }
    // Writing to a String can't fail.
    let _ = writeln!(page, "| {id} | {meaning} | {title} | {judges} |");
}

/// The packets of a step.
fn packets(step: &Step) -> Vec<&Send> {
    match &step.action {
        Action::Send(packet) => vec![packet],
        Action::Table(packets) => packets.iter().map(|(_, packet)| packet).collect(),
        _ => Vec::new(),
    }
}

/// `NP-22` of `np-22-named-port…`.
fn id(folder: &str) -> Option<String> {
    let mut parts = folder.split('-');
    let (kind, number) = (parts.next()?, parts.next()?);
    number.parse::<u32>().ok()?;
    Some(format!("{}-{number}", kind.to_uppercase()))
}
