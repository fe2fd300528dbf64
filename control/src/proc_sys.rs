//! Where the keys of `/proc/sys/net` are written.
//!
//! In a container that is not privileged `/proc/sys` may only be read, and a runtime mounts nothing
//! over a part of it. A pod is given the machine's by another name instead ([`OF_POD`]); whichever
//! name it is reached by, the kernel shows the keys of the network namespace of who asks.

use std::path::Path;

/// Their place, but in a pod.
pub const NET: &str = "/proc/sys/net";

/// Where a pod has them from the machine: `deploy/` mounts them there.
pub const OF_POD: &str = "/host/proc/sys/net";

/// Their directory: that of a pod, where there is one.
#[must_use]
pub fn net() -> &'static Path {
    first(Path::new(OF_POD), Path::new(NET))
}

fn first<'a>(of_pod: &'a Path, own: &'a Path) -> &'a Path {
    // An empty directory is a mount that was forgotten: the agent then says what it cannot write.
    if of_pod.join("ipv4").is_dir() { of_pod } else { own }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_for_a_pod_comes_first_and_an_empty_directory_is_no_mount() {
        let root = tempfile::tempdir().unwrap();
        let own = Path::new(NET);
        assert_eq!(first(root.path(), own), own);
        std::fs::create_dir(root.path().join("ipv4")).unwrap();
        assert_eq!(first(root.path(), own), root.path());
        assert_eq!(first(Path::new("/nowhere"), own), own);
    }
}
