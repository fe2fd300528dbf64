//! Reading a folder: its files, and what lines mean together.

use std::fs;
use std::path::Path;

use super::table::Table;
use super::{Action, Case, Judge, Step, judge, parse};
use crate::oracle::Cluster;

impl Case {
    /// Reads every case below `root`, by name.
    ///
    /// # Errors
    /// Names the file and line that cannot be read.
    pub fn read_all(root: &Path) -> Result<Vec<Self>, String> {
        let entries = fs::read_dir(root).map_err(|e| format!("{}: {e}", root.display()))?;
        let mut folders: Vec<_> =
            entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        folders.sort();
        folders.iter().map(|folder| Self::read(folder)).collect()
    }

    /// Reads one folder.
    ///
    /// # Errors
    /// Names the file and line that cannot be read.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let mut reader = Reader::new(folder);
        reader.text = file(folder, "cluster.yaml")?;
        for (number, line) in (1..).zip(file(folder, "traffic.txt")?.lines()) {
            let place = |e: String| format!("{}: traffic.txt:{number}: {e}", folder.display());
            reader.line(number, line).map_err(place)?;
        }
        if reader.table.is_some() {
            return Err(format!("{}: traffic.txt: a table lacks its `end`", folder.display()));
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Reader { text: cluster, steps, without, .. } = reader;
        Ok(Self { name, folder: folder.to_owned(), cluster, steps, without })
    }
}

/// A folder that is being read.
struct Reader<'f> {
    folder: &'f Path,
    /// The first objects.
    text: String,
    /// The objects at the line being read, for tables; made when first needed.
    cluster: Option<Cluster>,
    table: Option<Table>,
    steps: Vec<Step>,
    without: Vec<(Judge, String)>,
}

impl<'f> Reader<'f> {
    fn new(folder: &'f Path) -> Self {
        let (text, cluster, table) = (String::new(), None, None);
        Self { folder, text, cluster, table, steps: Vec::new(), without: Vec::new() }
    }

    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
        if self.table.is_some() {
            return self.table_line(number, line);
        }
        if let Some((judges, why)) = judge::without(line)? {
            self.without.extend(judges.into_iter().map(|judge| (judge, why.clone())));
        } else if let Some(name) = line.strip_prefix("with ") {
            let shared = file(self.folder.parent().unwrap_or(self.folder), name)?;
            self.text = format!("{shared}\n---\n{}", self.text);
        } else if let Some(words) = line.strip_prefix("table ") {
            self.table = Some(Table::begin(words)?);
        } else if let Some((at_ms, action)) = parse::line(line)? {
            let action = self.action(action)?;
            self.steps.push(Step { line: number, at_ms, action });
        }
        Ok(())
    }

    /// Reads a file that is set, and keeps what the cluster is by then.
    fn action(&mut self, mut action: Action) -> Result<Action, String> {
        match &mut action {
            Action::Set(name) => {
                *name = file(self.folder, name)?;
                let text = name.clone();
                self.cluster()?.set_text(&text)?;
            }
            Action::Remove(kind, namespace, name) => {
                let gone = (kind.clone(), namespace.clone(), name.clone());
                self.cluster()?.remove(&gone.0, &gone.1, &gone.2);
            }
            Action::Send(_) | Action::Table(_) | Action::Restart | Action::Sync => {}
        }
        Ok(action)
    }

    fn table_line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if line != "end" {
            return match &mut self.table {
                Some(table) if !line.is_empty() => table.line(line, number),
                _ => Ok(()),
            };
        }
        let Some(table) = self.table.take() else { return Ok(()) };
        let cells = table.cells(self.cluster()?)?;
        let at_ms = self.steps.last().map_or(0, |step| step.at_ms);
        self.steps.push(Step { line: number, at_ms, action: Action::Table(cells) });
        Ok(())
    }

    fn cluster(&mut self) -> Result<&mut Cluster, String> {
        let text = &self.text;
        match &mut self.cluster {
            Some(cluster) => Ok(cluster),
            none => Ok(none.insert(Cluster::from_text(text)?)),
        }
    }
}

fn file(folder: &Path, name: &str) -> Result<String, String> {
    let path = folder.join(name);
    fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
}
