//! Walks a disassembly from the packet path and finds every call that can end in a panic.
//!
//! Reads what `objdump -R` and `objdump -d -C --no-show-raw-insn` print. Functions are nodes, direct calls and
//! jumps to other functions are edges. Two things are findings: a call of one of the functions
//! that begin a panic, and a call through a pointer, behind which anything could be. Calls of the
//! C library lead out of the program, and can't panic.
//!
//! The walk errs to the safe side: what is reachable by any path counts as reached.

mod code;
mod permits;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use code::{Place, Slots};
pub use permits::{Permit, permits};

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

/// What a call through a pointer is called.
pub const POINTER: &str = "(pointer)";

/// A function's name and the lines of its disassembly.
#[derive(Debug, Default)]
struct Function<'a> {
    name: &'a str,
    body: Vec<&'a str>,
}

/// A program's functions.
#[derive(Debug, Default)]
pub struct Graph<'a> {
    /// By where they begin: instances of a generic one share their name.
    functions: BTreeMap<Place, Function<'a>>,
    /// Functions that are called through the offset table.
    slots: Slots,
}

/// A call that can end in a panic, or lead anywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The function with the call in it.
    pub caller: String,
    /// The function that begins the panic, or [`POINTER`].
    pub target: String,
    /// How the caller is reached from the root, root first.
    pub path: Vec<String>,
}

/// What a walk met.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// How many functions it began at: a walk from nowhere finds nothing, and proves nothing.
    pub roots: usize,
    /// Calls that no permit covers.
    pub findings: Vec<Finding>,
    /// Permits that covered a call, by their place in the list.
    pub used: BTreeSet<usize>,
}

impl<'a> Graph<'a> {
    /// Reads the relocations and the disassembly of a program, in this order.
    #[must_use]
    pub fn read(disassembly: &'a str) -> Self {
        let mut functions: BTreeMap<Place, Function<'a>> = BTreeMap::new();
        let mut slots = Slots::new();
        let mut current = None;
        for line in disassembly.lines() {
            if let Some((place, name)) = header(line) {
                functions.insert(place, Function { name, body: Vec::new() });
                current = Some(place);
            } else if let Some(function) = current.and_then(|place| functions.get_mut(&place)) {
                function.body.push(line);
            } else if let Some((slot, target)) = code::slot(line) {
                slots.insert(slot, target);
            }
        }
        Self { functions, slots }
    }

    /// Walks from the functions whose names end in `root`. A permitted call is not followed.
    #[must_use]
    pub fn walk(&self, root: &str, permits: &[Permit]) -> Walk {
        let roots = self.functions.iter().filter(|(_, one)| bare(one.name).ends_with(root));
        let roots: Vec<Place> = roots.map(|(&place, _)| place).collect();
        let mut from: BTreeMap<Place, Option<Place>> =
            roots.iter().map(|&place| (place, None)).collect();
        let mut waiting: VecDeque<Place> = roots.iter().copied().collect();
        let mut walk = Walk { roots: roots.len(), ..Walk::default() };
        while let Some(place) = waiting.pop_front() {
            let Some(function) = self.functions.get(&place) else { continue };
            let calls = code::calls(&function.body, &self.slots);
            let pointer = calls.through_pointer.then_some((None, POINTER));
            let named = calls.targets.into_iter().map(|target| (Some(target), self.name(target)));
            for (target, name) in pointer.into_iter().chain(named) {
                if let Some(used) = permits.iter().position(|one| one.covers(function.name, name)) {
                    walk.used.insert(used);
                    continue;
                }
                match target.filter(|_| !is_panic(name)) {
                    None => walk.findings.push(self.finding(place, name, &from)),
                    Some(target) if !from.contains_key(&target) => {
                        from.insert(target, Some(place));
                        waiting.push_back(target);
                    }
                    Some(_) => {}
                }
            }
        }
        walk
    }

    fn name(&self, place: Place) -> &str {
        self.functions.get(&place).map_or("?", |function| function.name)
    }

    fn finding(
        &self,
        caller: Place,
        target: &str,
        from: &BTreeMap<Place, Option<Place>>,
    ) -> Finding {
        let mut path = vec![self.name(caller).to_owned()];
        let mut at = caller;
        while let Some(&Some(before)) = from.get(&at) {
            path.push(self.name(before).to_owned());
            at = before;
        }
        path.reverse();
        Finding { caller: self.name(caller).to_owned(), target: target.to_owned(), path }
    }
}

/// Place and name in a line like `0000000000001234 <name>:`.
fn header(line: &str) -> Option<(Place, &str)> {
    let (place, name) = line.strip_suffix(">:")?.split_once(" <")?;
    Some((Place::from_str_radix(place, 16).ok()?, name))
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
    4000:\tcall   4800 <core::panicking::panic_fmt>

0000000000004800 <core::panicking::panic_fmt>:
    4800:\tud2

0000000000005000 <elsewhere::cold>:
    5000:\tcall   4800 <core::panicking::panic_fmt>
    5001:\tcall   *0x18(%rcx)
";

    fn walk(text: &str, root: &str) -> Walk {
        Graph::read(text).walk(root, &[])
    }

    #[test]
    fn a_panic_behind_a_tail_jump_is_found_with_its_path() {
        let walk = walk(PROGRAM, "Worker<P>::turn");
        assert_eq!(walk.roots, 1);
        assert_eq!(walk.findings.len(), 1, "{walk:?}");
        assert_eq!(walk.findings[0].caller, "packet::deep");
        assert_eq!(walk.findings[0].path.len(), 3);
    }

    #[test]
    fn a_call_through_a_pointer_is_a_finding_and_one_into_the_c_library_is_none() {
        let walk = walk(PROGRAM, "elsewhere::cold");
        let targets: Vec<&str> = walk.findings.iter().map(|one| one.target.as_str()).collect();
        assert_eq!(targets, [POINTER, "core::panicking::panic_fmt"]);
    }

    #[test]
    fn instances_of_a_generic_function_are_told_apart() {
        let text = "
0000000000001000 <hot::turn>:
    1000:\tcall   2000 <drop::<T>>

0000000000002000 <drop::<T>>:
    2000:\tret

0000000000003000 <drop::<T>>:
    3000:\tcall   4000 <core::panicking::panic>

0000000000004000 <core::panicking::panic>:
    4000:\tud2
";
        assert!(walk(text, "hot::turn").findings.is_empty());
        assert_eq!(walk(text, "drop::<T>").findings.len(), 1);
    }

    #[test]
    fn a_root_that_is_not_there_is_told_apart_from_a_clean_walk() {
        assert_eq!(walk(PROGRAM, "Worker<P>::spin"), Walk::default());
    }

    #[test]
    fn a_permit_covers_a_finding_or_a_call_needs_a_reason_and_is_seen_when_idle() {
        let graph = Graph::read(PROGRAM);
        let text = "# why\nnobody -> nothing # x\npacket::deep -> bounds_check # masked\n";
        let walk = graph.walk("Worker<P>::turn", &permits(text).unwrap());
        assert!(walk.findings.is_empty(), "{walk:?}");
        assert_eq!(walk.used, BTreeSet::from([1]), "the other permit is idle");
        // A permitted call is not followed: what is behind it is not looked at.
        let edge = permits("packet::parse -> packet::deep # never taken").unwrap();
        assert!(graph.walk("Worker<P>::turn", &edge).findings.is_empty());
        assert!(permits("packet::deep -> panic_bounds_check").is_err());
    }
}
