//! One function's disassembly: where it calls, and what a call through a register can mean.
//!
//! A call through the global offset table leads where its slot was filled to: a function of this
//! program (a relative relocation tells which), or one of the C library. Compilers keep such a
//! slot's content in a register where they call it often; that is the same if, on every way that
//! leads to the call, the register was last loaded from a slot. On any doubt it is a call
//! through a pointer.

use std::collections::{BTreeMap, BTreeSet};

/// Where a function or an instruction begins.
pub(super) type Place = u64;

/// What a function calls.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Where the functions begin that it calls or jumps to.
    pub targets: BTreeSet<Place>,
    /// Whether it calls through a pointer.
    pub through_pointer: bool,
}

struct Instruction<'a> {
    place: Place,
    mnemonic: &'a str,
    operands: &'a str,
    comment: &'a str,
}

/// Slots of the offset table that hold functions of this program, with where those begin.
pub(super) type Slots = BTreeMap<Place, Place>;

/// Reads the calls of a function from the lines of its disassembly.
pub(super) fn calls(body: &[&str], slots: &Slots) -> Calls {
    let code: Vec<Instruction<'_>> = body.iter().filter_map(|line| instruction(line)).collect();
    let ways = ways(&code);
    let mut calls = Calls::default();
    for (number, one) in code.iter().enumerate() {
        calls.targets.extend(one.target());
        let through = if one.mnemonic == "call" { one.operands.strip_prefix('*') } else { None };
        let Some(pointer) = through else { continue };
        let used = match one.slot() {
            Some(slot) => Some(BTreeSet::from([slot])),
            None => slots_in(&code, &ways, number, pointer),
        };
        match used {
            Some(used) => calls.targets.extend(used.iter().filter_map(|slot| slots.get(slot))),
            None => calls.through_pointer = true,
        }
    }
    calls
}

/// The slot and the function of a line of `objdump -R` like
/// `000000000054ff28 R_X86_64_RELATIVE  *ABS*+0x0000000000532000`.
pub(super) fn slot(line: &str) -> Option<(Place, Place)> {
    let mut words = line.split_whitespace();
    let slot = Place::from_str_radix(words.next()?, 16).ok()?;
    let target = words.nth(1).filter(|_| line.contains("_RELATIVE"))?.strip_prefix("*ABS*+0x")?;
    Some((slot, Place::from_str_radix(target, 16).ok()?))
}

/// `  1003:\tcall   2000 <name>   # comment`, taken apart.
fn instruction(line: &str) -> Option<Instruction<'_>> {
    let (place, rest) = line.split_once(":\t")?;
    let place = Place::from_str_radix(place.trim(), 16).ok()?;
    let rest = rest.trim_start_matches("bnd ").trim_start_matches("notrack ").trim();
    let (mnemonic, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (operands, comment) = rest.split_once('#').unwrap_or((rest, ""));
    Some(Instruction { place, mnemonic, operands: operands.trim(), comment })
}

impl Instruction<'_> {
    fn is_jump(&self) -> bool {
        self.mnemonic.starts_with('j')
    }

    /// Whether what follows it in memory is not what follows it in time.
    fn ends_flow(&self) -> bool {
        matches!(self.mnemonic, "jmp" | "ret" | "ud2" | "hlt") || self.begins_panic()
    }

    /// Whether it fills the room before a jump's target: no way leads to it.
    fn is_padding(&self) -> bool {
        self.mnemonic.starts_with("nop")
            || matches!(self.mnemonic, "data16" | "cs" | "xchg" | "int3")
    }

    fn begins_panic(&self) -> bool {
        self.mnemonic == "call" && super::is_panic(self.operands)
    }

    /// Where the function begins that a call or jump by name leads to.
    fn target(&self) -> Option<Place> {
        if self.mnemonic != "call" && !self.is_jump() {
            return None;
        }
        let (_, name) = self.operands.split_once(" <")?;
        let offset = name.strip_suffix('>')?.rsplit_once("+0x").map_or("0", |(_, offset)| offset);
        self.at()?.checked_sub(Place::from_str_radix(offset, 16).ok()?)
    }

    /// The very instruction that a call or jump by name leads to.
    fn at(&self) -> Option<Place> {
        let (place, _) = self.operands.split_once(" <")?;
        Place::from_str_radix(place, 16).ok()
    }

    /// Whether it changes a register.
    fn changes(&self, register: &str) -> bool {
        if matches!(self.mnemonic, "cmp" | "test" | "call" | "push") || self.is_jump() {
            return false;
        }
        // The last operand is the one that is written; commas in an address are in brackets.
        let last = self.operands.rsplit(',').next().unwrap_or("");
        last.starts_with('%') && whole(last) == whole(register)
    }

    /// The slot of the offset table that it calls through or loads from.
    fn slot(&self) -> Option<Place> {
        // What lies outside the table, a variable for instance, bears a name of its own.
        let (place, name) = self.comment.trim().split_once(" <")?;
        let ours = name.contains('@') || name.starts_with('_');
        let reads = matches!(self.mnemonic, "mov" | "call") && self.operands.contains("(%rip)");
        if ours && reads { Place::from_str_radix(place, 16).ok() } else { None }
    }
}

/// A register's name without the width: `%ebx`, `%bx` and `%bl` are parts of `%rbx`.
fn whole(register: &str) -> &str {
    let name = register.trim_start_matches('%');
    let numbered = name.starts_with('r') && name[1..].starts_with(|c: char| c.is_ascii_digit());
    if numbered {
        return name.trim_end_matches(['d', 'w', 'b']);
    }
    let name = name.trim_start_matches(['r', 'e']);
    match name {
        "al" | "ah" => "ax",
        "bl" | "bh" => "bx",
        "cl" | "ch" => "cx",
        "dl" | "dh" => "dx",
        "sil" => "si",
        "dil" => "di",
        "bpl" => "bp",
        other => other,
    }
}

/// For each instruction, those that can come right before it.
fn ways(code: &[Instruction<'_>]) -> Vec<Vec<usize>> {
    let by_place: BTreeMap<Place, usize> =
        code.iter().enumerate().map(|(number, one)| (one.place, number)).collect();
    let mut ways = vec![Vec::new(); code.len()];
    for (number, one) in code.iter().enumerate() {
        if !one.ends_flow() && number + 1 < code.len() {
            ways[number + 1].push(number);
        }
        if one.is_jump()
            && let Some(&target) = one.at().and_then(|at| by_place.get(&at))
        {
            ways[target].push(number);
        }
    }
    ways
}

/// The slots whose content a register can hold at an instruction; nothing if it can hold
/// something else.
fn slots_in(
    code: &[Instruction<'_>],
    ways: &[Vec<usize>],
    number: usize,
    register: &str,
) -> Option<BTreeSet<Place>> {
    let mut slots = BTreeSet::new();
    let mut seen = BTreeSet::from([number]);
    let mut waiting = vec![number];
    while let Some(number) = waiting.pop() {
        if ways[number].is_empty() && !code[number].is_padding() {
            // The function's begin, or a way that is not known: a jump through a table.
            return None;
        }
        for &before in &ways[number] {
            if code[before].changes(register) {
                slots.insert(code[before].slot()?);
            } else if seen.insert(before) {
                waiting.push(before);
            }
        }
    }
    Some(slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through_pointer(lines: &[&str]) -> bool {
        calls(lines, &Slots::new()).through_pointer
    }

    const LOAD: &str = "  1000:\tmov    0x1c30c9(%rip),%r15        # 5500b8 <memcpy@GLIBC_2.14>";

    #[test]
    fn a_register_that_holds_a_c_function_leads_out() {
        assert!(!through_pointer(&[LOAD, "  1001:\tcall   *%r15"]));
    }

    #[test]
    fn a_register_that_was_loaded_anew_does_not() {
        let anew = "  1001:\tmov    0x8(%rdi),%r15";
        assert!(through_pointer(&[LOAD, anew, "  1002:\tcall   *%r15"]));
        let part = "  1001:\tmov    0x8(%rdi),%r15d";
        assert!(through_pointer(&[LOAD, part, "  1002:\tcall   *%r15"]));
    }

    #[test]
    fn a_loaded_register_lasts_over_a_loop_but_not_over_another_way_in() {
        let around =
            ["  1001:\tcall   *%r15", "  1002:\tjne    1001 <hot::turn+0x1>", "  1003:\tret"];
        assert!(!through_pointer(&[&[LOAD], &around[..]].concat()));
        let other = ["  1004:\tmov    %rax,%r15", "  1005:\tjmp    1001 <hot::turn+0x1>"];
        assert!(through_pointer(&[&[LOAD], &around[..], &other[..]].concat()));
    }

    #[test]
    fn a_slot_that_holds_a_function_of_this_program_leads_there() {
        let record = "000000000054ff28 R_X86_64_RELATIVE  *ABS*+0x0000000000532000";
        assert_eq!(slot(record), Some((0x54_ff28, 0x53_2000)));
        assert_eq!(slot("000000000054ff28 R_X86_64_GLOB_DAT  memcpy@GLIBC_2.14"), None);
        let slots = Slots::from([(0x54_ff28, 0x53_2000)]);
        let direct = ["  1000:\tcall   *0x2f(%rip)        # 54ff28 <_DYNAMIC+0x458>"];
        assert_eq!(calls(&direct, &slots).targets, BTreeSet::from([0x53_2000]));
        let load = "  1000:\tmov    0x2f(%rip),%r15        # 54ff28 <_DYNAMIC+0x458>";
        let kept = calls(&[load, "  1001:\tcall   *%r15"], &slots);
        assert_eq!((kept.targets, kept.through_pointer), (BTreeSet::from([0x53_2000]), false));
        let variable = "  1000:\tmov    0x2f(%rip),%r15        # 54ff28 <lockgate::HOOK>";
        assert!(calls(&[variable, "  1001:\tcall   *%r15"], &slots).through_pointer);
    }

    #[test]
    fn padding_before_a_jump_target_is_no_way_in() {
        let jump = "  1001:\tjmp    1003 <hot::turn+0x3>";
        let lines = [LOAD, jump, "  1002:\tnopw   0x0(%rax)", "  1003:\tcall   *%r15"];
        assert!(!through_pointer(&lines));
        let lines = [LOAD, jump, "  1002:\tadd    %rax,%rcx", "  1003:\tcall   *%r15"];
        assert!(through_pointer(&lines), "a jump through a table may lead there");
    }

    #[test]
    fn a_comparison_changes_nothing_and_a_virtual_call_is_always_a_pointer() {
        assert!(!through_pointer(&[LOAD, "  1001:\tcmp    %rax,%r15", "  1002:\tcall   *%r15"]));
        assert!(through_pointer(&["  1000:\tcall   *0x18(%rcx)"]));
        assert!(!through_pointer(&["  1000:\tcall   *0x2f(%rip)        # 5fe8 <memcpy@GLIBC>"]));
    }
}
