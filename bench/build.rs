//! Compiles the generator's and the sink's BPF programs with clang.

use std::path::PathBuf;
use std::process::Command;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = "xdp/bench.bpf.c";
    println!("cargo::rerun-if-changed={source}");
    let object = PathBuf::from(std::env::var("OUT_DIR")?).join("bench.bpf.o");
    let status = Command::new("clang")
        .args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf"])
        .args(["-I/usr/include/x86_64-linux-gnu", "-I/usr/include/aarch64-linux-gnu"])
        .args(["-c", source, "-o"])
        .arg(&object)
        .status()
        .map_err(|error| format!("clang cannot be run ({error}): apt-get install clang"))?;
    if !status.success() {
        return Err("clang refuses xdp/bench.bpf.c: apt-get install libbpf-dev".into());
    }
    Ok(())
}
