//! Whole truth tables in a few lines: every pod to every other, the last line that fits decides.
//!
//! ```text
//! table tcp:80,81 udp:80,81
//! * > *                        -> sent
//! * > x/a                      -> ingress_denied
//! x/b > x/a            tcp:80  -> sent
//! end
//! ```
//!
//! The first line says which protocols and ports are asked, by either family that both pods have.
//! Each line after it names sources and targets, `*` for every pod and `x/*` for those of a
//! namespace, then perhaps protocols and ports, perhaps `v4` or `v6`, and what becomes of it. A pod
//! to itself is not asked: that never leaves the pod.

use lockgate_dataplane::packet::Protocol;

use super::Send;
use super::parse::{outcome, protocol};
use crate::oracle::{Cluster, End, Family};

/// A table that is being read.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    asked: Vec<(Protocol, u16)>,
    lines: Vec<Line>,
}

/// One of its lines.
#[derive(Clone, Debug)]
struct Line {
    source: Pattern,
    target: Pattern,
    /// `None` is all that is asked.
    ports: Option<Vec<(Protocol, u16)>>,
    /// `None` is either.
    family: Option<Family>,
    outcome: String,
    number: usize,
}

/// Which pods.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Every,
    In(String),
    Pod(String, String),
}

impl Table {
    /// Begins with what follows the word `table`.
    pub(super) fn begin(words: &str) -> Result<Self, String> {
        let asked = ports(&mut words.split_whitespace())?;
        if asked.is_empty() {
            return Err("`table` needs protocols and ports, as tcp:80,81".to_owned());
        }
        Ok(Self { asked, lines: Vec::new() })
    }

    /// Takes a line in.
    pub(super) fn line(&mut self, text: &str, number: usize) -> Result<(), String> {
        let (ask, answer) = text.split_once("->").ok_or("expected `->`")?;
        let (source, rest) = ask.split_once('>').ok_or("expected `>`")?;
        let mut rest = rest.split_whitespace();
        let target = Pattern::read(rest.next().ok_or("expected a target")?)?;
        let mut rest: Vec<&str> = rest.collect();
        let family = match rest.last() {
            Some(&"v4") => Some(Family::V4),
            Some(&"v6") => Some(Family::V6),
            _ => None,
        };
        rest.truncate(rest.len() - usize::from(family.is_some()));
        let named = ports(&mut rest.into_iter())?;
        self.lines.push(Line {
            source: Pattern::read(source.trim())?,
            target,
            ports: (!named.is_empty()).then_some(named),
            family,
            outcome: outcome(answer.trim())?,
            number,
        });
        Ok(())
    }

    /// Every cell, with the number of the line that decides it.
    pub(super) fn cells(&self, cluster: &Cluster) -> Result<Vec<(usize, Send)>, String> {
        let pods = cluster.living();
        let has = |(namespace, name): &(String, String), family| {
            let addresses = cluster.addresses(namespace, name);
            addresses.into_iter().any(|address| Family::of(address) == family)
        };
        let mut cells = Vec::new();
        for source in &pods {
            for target in pods.iter().filter(|target| *target != source) {
                for family in [Family::V4, Family::V6] {
                    if has(source, family) && has(target, family) {
                        self.ask(source, target, family, &mut cells)?;
                    }
                }
            }
        }
        Ok(cells)
    }

    /// The cells of two pods.
    fn ask(
        &self,
        source: &(String, String),
        target: &(String, String),
        family: Family,
        cells: &mut Vec<(usize, Send)>,
    ) -> Result<(), String> {
        let end = |(ns, name): &(String, String)| End::Pod(ns.clone(), name.clone());
        for &(protocol, target_port) in &self.asked {
            let fits = |line: &&Line| line.fits(source, target, (protocol, target_port), family);
            let decides = self.lines.iter().rev().find(fits);
            let line = decides.ok_or_else(|| format!("{source:?} > {target:?} is left out"))?;
            let send = Send {
                source: end(source),
                claimed: None,
                source_port: None,
                target: end(target),
                target_port,
                protocol,
                detail: String::new(),
                family: Some(family),
                outcome: line.outcome.clone(),
                causes: Vec::new(),
            };
            cells.push((line.number, send));
        }
        Ok(())
    }
}

impl Line {
    fn fits(
        &self,
        source: &(String, String),
        target: &(String, String),
        asked: (Protocol, u16),
        family: Family,
    ) -> bool {
        let is_meant = self.ports.as_ref().is_none_or(|ports| ports.contains(&asked))
            && self.family.is_none_or(|own| own == family);
        is_meant && self.source.fits(source) && self.target.fits(target)
    }
}

impl Pattern {
    fn read(word: &str) -> Result<Self, String> {
        match word.split_once('/') {
            None if word == "*" => Ok(Self::Every),
            Some((namespace, "*")) => Ok(Self::In(namespace.to_owned())),
            Some((namespace, name)) => Ok(Self::Pod(namespace.to_owned(), name.to_owned())),
            None => Err(format!("`{word}` is no pod: write namespace/name, namespace/* or *")),
        }
    }

    fn fits(&self, pod: &(String, String)) -> bool {
        match self {
            Self::Every => true,
            Self::In(namespace) => *namespace == pod.0,
            Self::Pod(namespace, name) => (namespace, name) == (&pod.0, &pod.1),
        }
    }
}

/// Reads `tcp:80,81 udp:53 icmp proto-50`; a protocol without ports is asked once.
fn ports<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Vec<(Protocol, u16)>, String> {
    let mut all = Vec::new();
    for word in words {
        let (name, numbers) = word.split_once(':').unwrap_or((word, ""));
        let (protocol, number) = protocol(name)?;
        if numbers.is_empty() {
            all.push((protocol, number.unwrap_or(0)));
            continue;
        }
        for number in numbers.split(',') {
            let port = number.parse().map_err(|_| format!("`{word}`: `{number}` is no port"))?;
            all.push((protocol, port));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: &str = "
{apiVersion: v1, kind: Pod, metadata: {namespace: x, name: a}, status: {podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: x, name: b}, status: {podIPs: [{ip: 10.0.0.2}, {ip: 'fd00::2'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: y, name: a}, status: {podIP: 10.0.0.3}}
";

    fn table(lines: &[&str]) -> Result<Vec<(usize, Send)>, String> {
        let mut table = Table::begin("tcp:80,81 icmp")?;
        for (line, number) in lines.iter().zip(1..) {
            table.line(line, number)?;
        }
        table.cells(&Cluster::from_text(PODS).unwrap())
    }

    #[test]
    fn the_last_line_that_fits_decides() {
        let lines = [
            "* > * -> sent",
            "* > x/* -> ingress_denied",
            "y/a > x/a tcp:80 -> egress_denied",
            "* > * tcp:81 v6 -> egress_denied",
        ];
        let cells = table(&lines).unwrap();
        assert_eq!(cells.len(), (6 + 2) * 3, "two pods have IPv6 too");
        let of = |number| cells.iter().filter(|(line, _)| *line == number).count();
        assert_eq!((of(1), of(2), of(3), of(4)), (6, 15, 1, 2));
    }

    #[test]
    fn a_cell_that_no_line_fits_is_told() {
        assert!(table(&["x/* > * -> sent"]).unwrap_err().contains("left out"));
        assert!(table(&["everyone > * -> sent"]).is_err());
        assert!(table(&["* > * tcp:none -> sent"]).is_err());
        assert!(Table::begin("").is_err());
    }
}
