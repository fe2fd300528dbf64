//! Walks a disassembly from the packet path and finds every call that can end in a panic.
//!
//! Reads what `objdump -d -C --no-show-raw-insn` prints. Functions are nodes, direct calls and
//! jumps to other functions are edges. Two things are findings: a call of one of the functions
//! that begin a panic, and a call through a pointer, behind which anything could be. Calls
//! through the global offset table lead out of the program, to the C library, and can't panic.
//!
//! The walk errs to the safe side: what is reachable by any path counts as reached.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Parts of the names of functions that begin a panic.
const PANICS: &[&str] = &[
    "core::panicking::",
    "core::option::unwrap_failed",
    "core::option::expect_failed",
    "core::result::unwrap_failed",
    "core::slice::index::slice_",
    "core::slice::copy_from_slice_impl::len_mismatch_fail",
    "core::str::slice_error_fail",
    "core::cell::panic_already",
    "alloc::raw_vec::handle_error",
    "alloc::raw_vec::capacity_overflow",
    "alloc::alloc::handle_alloc_error",
    "std::panicking::",
    "std::process::abort",
];

/// What a function calls.
#[derive(Debug, Default)]
struct Calls {
    /// Functions called or jumped to by name.
    names: BTreeSet<String>,
    /// Whether a call through a pointer is among its calls.
    through_pointer: bool,
    /// Registers that hold a function of the C library at the line being read.
    foreign: BTreeSet<String>,
}

/// A program's functions and their calls.
#[derive(Debug, Default)]
pub struct Graph(BTreeMap<String, Calls>);

/// A call that can end in a panic, or lead anywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The function with the call in it.
    pub caller: String,
    /// The function that begins the panic, or `(pointer)`.
    pub target: String,
    /// How the caller is reached from the root, root first.
    pub path: Vec<String>,
}

/// A permitted finding: parts of both names, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// A part of the caller's name.
    pub caller: String,
    /// A part of the target's name.
    pub target: String,
    /// Why it can't happen, or may.
    pub reason: String,
}

/// What a call through a pointer is called.
pub const POINTER: &str = "(pointer)";

impl Graph {
    /// Reads a disassembly.
    #[must_use]
    pub fn read(disassembly: &str) -> Self {
        let mut functions: BTreeMap<String, Calls> = BTreeMap::new();
        let mut current = None;
        for line in disassembly.lines() {
            if let Some(name) = header(line) {
                functions.entry(name.clone()).or_default();
                current = Some(name);
            } else if let Some(calls) = current.as_ref().and_then(|name| functions.get_mut(name)) {
                note_call(line, calls);
            }
        }
        Self(functions)
    }

    /// Every finding that is reachable from the functions whose names hold `root`.
    ///
    /// Gives nothing but the count of roots where there is none: a walk from nowhere would find
    /// nothing, and say that all is well.
    #[must_use]
    pub fn walk(&self, root: &str) -> (usize, Vec<Finding>) {
        let roots: Vec<&String> = self.0.keys().filter(|name| bare(name).ends_with(root)).collect();
        let mut from: BTreeMap<&String, Option<&String>> = BTreeMap::new();
        let mut waiting: VecDeque<&String> = VecDeque::new();
        for name in &roots {
            from.insert(name, None);
            waiting.push_back(name);
        }
        let mut findings = Vec::new();
        while let Some(name) = waiting.pop_front() {
            let Some(calls) = self.0.get(name) else { continue };
            if calls.through_pointer {
                findings.push(finding(name, POINTER, &from));
            }
            for target in &calls.names {
                if is_panic(target) {
                    findings.push(finding(name, target, &from));
                } else if !from.contains_key(target) {
                    from.insert(target, Some(name));
                    waiting.push_back(target);
                }
            }
        }
        (roots.len(), findings)
    }
}

/// Reads the permits of a file: `caller -> target # reason` on each line; `#` alone comments.
///
/// # Errors
/// The first line that is neither, a permit without a reason among them.
pub fn permits(text: &str) -> Result<Vec<Permit>, String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(permit).collect()
}

fn permit(line: &str) -> Result<Permit, String> {
    let parts = line.split_once(" # ").and_then(|(call, reason)| {
        let (caller, target) = call.split_once(" -> ")?;
        Some((caller.trim(), target.trim(), reason.trim()))
    });
    match parts {
        Some((caller, target, reason)) if !reason.is_empty() => Ok(Permit {
            caller: caller.to_owned(),
            target: target.to_owned(),
            reason: reason.to_owned(),
        }),
        _ => Err(format!("{line:?} is not `caller -> target # reason`")),
    }
}

/// Divides findings: those that no permit covers, and the permits that cover none.
#[must_use]
pub fn judge<'a>(
    findings: &'a [Finding],
    permits: &'a [Permit],
) -> (Vec<&'a Finding>, Vec<&'a Permit>) {
    let covers = |permit: &Permit, finding: &Finding| {
        finding.caller.contains(&permit.caller) && finding.target.contains(&permit.target)
    };
    let open = findings.iter().filter(|finding| !permits.iter().any(|one| covers(one, finding)));
    let idle = permits.iter().filter(|permit| !findings.iter().any(|one| covers(permit, one)));
    (open.collect(), idle.collect())
}

/// The name in a line like `0000000000001234 <name>:`.
fn header(line: &str) -> Option<String> {
    let (address, name) = line.strip_suffix(">:")?.split_once(" <")?;
    address.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| name.to_owned())
}

/// Notes the target of a line, if it is a call or a jump out of its function.
fn note_call(line: &str, calls: &mut Calls) {
    let Some((_, instruction)) = line.split_once(":\t") else { return };
    let instruction = instruction.trim_start_matches("bnd ").trim_start_matches("notrack ");
    let Some((mnemonic, operand)) = instruction.trim().split_once(' ') else { return };
    note_register(operand, calls);
    if mnemonic != "call" && !mnemonic.starts_with('j') {
        return;
    }
    let operand = operand.trim();
    if let Some(place) = operand.strip_prefix('*') {
        // A jump through a table stays inside; one through the offset table leaves the program.
        let leaves = operand.contains("(%rip)") || calls.foreign.contains(place);
        calls.through_pointer |= mnemonic == "call" && !leaves;
    } else if let Some((_, name)) = operand.split_once('<') {
        let name = name.strip_suffix('>').unwrap_or(name);
        // An offset is a jump inside a function: of this one, or into the middle of another
        // that the compiler laid out apart.
        let name = name.rsplit_once("+0x").map_or(name, |(name, _)| name);
        calls.names.insert(name.to_owned());
    }
}

/// Notes a register that is loaded with a function of the C library, and forgets one that is
/// loaded with anything else: compilers keep `memcpy` in a register where it is called often.
fn note_register(operand: &str, calls: &mut Calls) {
    let (operands, comment) = operand.split_once('#').unwrap_or((operand, ""));
    let Some((_, register)) = operands.trim().rsplit_once(',') else { return };
    if register.starts_with('%') {
        if operands.contains("(%rip)") && comment.contains('@') {
            calls.foreign.insert(register.to_owned());
        } else {
            calls.foreign.remove(register);
        }
    }
}

/// A name without the hash that older mangling appends.
fn bare(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((bare, hash)) if hash.len() == 16 => bare,
        _ => name,
    }
}

fn is_panic(name: &str) -> bool {
    PANICS.iter().any(|part| name.contains(part))
}

fn finding(caller: &String, target: &str, from: &BTreeMap<&String, Option<&String>>) -> Finding {
    let mut path = vec![caller.clone()];
    let mut at = caller;
    while let Some(Some(before)) = from.get(at) {
        path.push((*before).clone());
        at = before;
    }
    path.reverse();
    Finding { caller: caller.clone(), target: target.to_owned(), path }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "
0000000000001000 <worker::Worker<P>::turn::h0123456789abcdef>:
    1000:\tpush   %rbp
    1001:\tcall   2000 <packet::parse>
    1002:\tje     1004 <worker::Worker<P>::turn::h0123456789abcdef+0x4>
    1003:\tcall   *0x2f(%rip)        # 5fe8 <memcpy@GLIBC_2.14>

0000000000002000 <packet::parse>:
    2000:\tjmp    3000 <packet::deep>

0000000000003000 <packet::deep>:
    3000:\tcall   4000 <core::panicking::panic_bounds_check>
    3001:\tjmp    *%rax

0000000000004000 <core::panicking::panic_bounds_check>:
    4000:\tcall   5000 <core::panicking::panic_fmt>

0000000000005000 <elsewhere::cold>:
    5000:\tcall   4000 <core::panicking::panic_fmt>
    5001:\tcall   *0x18(%rcx)

0000000000006000 <copies::often>:
    6000:\tmov    0x1c30c9(%rip),%r15        # 5500b8 <memcpy@GLIBC_2.14>
    6001:\tcall   *%r15

0000000000007000 <copies::once>:
    7000:\tmov    0x1c30c9(%rip),%r15        # 5500b8 <memcpy@GLIBC_2.14>
    7001:\tmov    0x8(%rdi),%r15
    7002:\tcall   *%r15
";

    #[test]
    fn a_panic_behind_a_tail_jump_is_found_with_its_path() {
        let (roots, findings) = Graph::read(PROGRAM).walk("Worker<P>::turn");
        assert_eq!(roots, 1);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].caller, "packet::deep");
        assert_eq!(findings[0].path.len(), 3);
    }

    #[test]
    fn a_call_through_a_pointer_is_a_finding_and_one_into_the_c_library_is_none() {
        let (_, findings) = Graph::read(PROGRAM).walk("elsewhere::cold");
        let callees: Vec<&str> = findings.iter().map(|finding| finding.target.as_str()).collect();
        assert_eq!(callees, [POINTER, "core::panicking::panic_fmt"]);
    }

    #[test]
    fn a_register_that_holds_a_c_function_leads_out_until_it_holds_something_else() {
        let graph = Graph::read(PROGRAM);
        assert_eq!(graph.walk("copies::often"), (1, Vec::new()));
        assert_eq!(graph.walk("copies::once").1.len(), 1);
    }

    #[test]
    fn a_root_that_is_not_there_is_told_apart_from_a_clean_walk() {
        assert_eq!(Graph::read(PROGRAM).walk("Worker<P>::spin"), (0, Vec::new()));
    }

    #[test]
    fn a_permit_covers_its_finding_needs_a_reason_and_is_reported_when_idle() {
        let (_, findings) = Graph::read(PROGRAM).walk("Worker<P>::turn");
        let text = "# why\npacket::deep -> panic_bounds_check # the index is masked\nnobody -> nothing # x\n";
        let list = permits(text).unwrap();
        let (open, idle) = judge(&findings, &list);
        assert!(open.is_empty(), "{open:?}");
        assert_eq!(idle.len(), 1);
        assert!(permits("packet::deep -> panic_bounds_check").is_err());
        assert_eq!(judge(&findings, &[]).0.len(), 1);
    }
}
