//! Chains of others that drop what the node forwards, unless a rule of theirs lets it pass.
//!
//! A table of ours can't undo that: a packet passes only when every chain of the hook lets it, and
//! rules in others' tables are not ours to make. So they are told of.

use std::fmt;
use std::io;

use super::netfilter::{Socket, find, kind, number_of, text_of};

const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const HOOK_NUMBER: u16 = 1;
const FORWARD: u32 = 2;
const DROP: u32 = 0;

/// A chain that drops what the node forwards and no rule of it accepts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForwardDrop {
    /// The family of its table, as `nft` calls it.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
}

impl fmt::Display for ForwardDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, table, chain } = self;
        write!(f, "chain {chain} of table {family} {table} drops what it does not accept")
    }
}

/// All of them, sorted.
pub(super) fn drops(socket: &Socket) -> io::Result<Vec<ForwardDrop>> {
    let chains = socket.list(kind::GET_CHAIN, 0, &[])?;
    let mut drops: Vec<ForwardDrop> = chains
        .iter()
        .filter_map(|told| {
            let family = match told.family {
                1 => "inet",
                2 => "ip",
                10 => "ip6",
                _ => return None,
            };
            let hook = number_of(find(&told.attributes, CHAIN_HOOK)?, HOOK_NUMBER)?;
            let policy = number_of(&told.attributes, CHAIN_POLICY)?;
            let table = text_of(&told.attributes, CHAIN_TABLE)?;
            let chain = text_of(&told.attributes, CHAIN_NAME)?;
            (hook == FORWARD && policy == DROP).then_some(ForwardDrop { family, table, chain })
        })
        .collect();
    drops.sort();
    Ok(drops)
}
