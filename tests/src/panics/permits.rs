//! What the walk may meet: each permitted call with its reason.

/// A permitted call: parts of both names, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// A part of the caller's name.
    pub caller: String,
    /// A part of the target's name.
    pub target: String,
    /// Why it can't happen, or may.
    pub reason: String,
}

impl Permit {
    /// Whether it covers a call.
    pub(super) fn covers(&self, caller: &str, target: &str) -> bool {
        caller.contains(&self.caller) && target.contains(&self.target)
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
