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
//! The first line says which protocols and ports are asked. Each line after it names sources and
//! targets, `*` for every pod and `x/*` for those of a namespace, then perhaps protocols and ports,
//! and what becomes of it. A pod to itself is not asked: that never leaves the pod.

use lockgate_dataplane::packet::Protocol;

use super::Send;
use super::parse::{outcome, protocol};
use crate::oracle::{Cluster, End};

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
        let named = ports(&mut rest)?;
        self.lines.push(Line {
            source: Pattern::read(source.trim())?,
            target,
            ports: (!named.is_empty()).then_some(named),
            outcome: outcome(answer.trim())?,
            number,
        });
        Ok(())
    }

    /// Every cell, with the number of the line that decides it.
    pub(super) fn cells(&self, cluster: &Cluster) -> Result<Vec<(usize, Send)>, String> {
        let pods = cluster.living();
        let mut cells = Vec::new();
        for source in &pods {
            for target in pods.iter().filter(|target| *target != source) {
                for &(protocol, port) in &self.asked {
                    let fits = |line: &&Line| line.fits(source, target, (protocol, port));
                    let decides = self.lines.iter().rev().find(fits);
                    let line =
                        decides.ok_or_else(|| format!("{source:?} > {target:?} is left out"))?;
                    let end = |(ns, name): &(String, String)| End::Pod(ns.clone(), name.clone());
                    cells.push((
                        line.number,
                        Send {
                            source: end(source),
                            claimed: None,
                            source_port: None,
                            target: end(target),
                            target_port: port,
                            protocol,
                            detail: String::new(),
                            family: None,
                            outcome: line.outcome.clone(),
                            causes: Vec::new(),
                        },
                    ));
                }
            }
        }
        Ok(cells)
    }
}

impl Line {
    fn fits(
        &self,
        source: &(String, String),
        target: &(String, String),
        asked: (Protocol, u16),
    ) -> bool {
        let is_meant = self.ports.as_ref().is_none_or(|ports| ports.contains(&asked));
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

/// Reads `tcp:80,81 udp:53 icmp`; a protocol without ports is asked once.
fn ports<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Vec<(Protocol, u16)>, String> {
    let mut all = Vec::new();
    for word in words {
        let (name, numbers) = word.split_once(':').unwrap_or((word, "0"));
        let protocol = protocol(name)?;
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
{apiVersion: v1, kind: Pod, metadata: {namespace: x, name: a}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: x, name: b}, status: {podIP: 10.0.0.2}}
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
        let lines =
            ["* > * -> sent", "* > x/* -> ingress_denied", "y/a > x/a tcp:80 -> egress_denied"];
        let cells = table(&lines).unwrap();
        assert_eq!(cells.len(), 6 * 3, "every pair of two pods, three times");
        let of = |number| cells.iter().filter(|(line, _)| *line == number).count();
        assert_eq!((of(1), of(2), of(3)), (6, 11, 1));
    }

    #[test]
    fn a_cell_that_no_line_fits_is_told() {
        assert!(table(&["x/* > * -> sent"]).unwrap_err().contains("left out"));
        assert!(table(&["everyone > * -> sent"]).is_err());
        assert!(table(&["* > * tcp:none -> sent"]).is_err());
        assert!(Table::begin("").is_err());
    }
}
