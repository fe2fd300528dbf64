//! Compiles `xdp/lockgate.bpf.c` with clang; `src/port/program.rs` embeds the object.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros)] // not part of the switch

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::{env, fmt};

const SOURCE: &str = "xdp/lockgate.bpf.c";
const OBJECT: &str = "lockgate.bpf.o";

/// What stopped the build, and what to install.
enum Failure {
    /// Cargo did not say where to build.
    Environment(&'static str, env::VarError),
    /// clang could not be started.
    Clang(String, std::io::Error),
    /// clang ran and refused; its own words.
    Compile(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name, cause) => write!(f, "environment variable {name}: {cause}"),
            Self::Clang(clang, cause) => write!(
                f,
                "{clang} could not be run: {cause}. It compiles {SOURCE}; on Debian: \
                 apt-get install clang (or set CLANG to its path)"
            ),
            Self::Compile(words) if words.contains("file not found") => write!(
                f,
                "headers for {SOURCE} are missing; on Debian: \
                 apt-get install libbpf-dev linux-libc-dev\n{words}"
            ),
            Self::Compile(words) => write!(f, "clang refused {SOURCE}:\n{words}"),
        }
    }
}

fn variable(name: &'static str) -> Result<String, Failure> {
    env::var(name).map_err(|cause| Failure::Environment(name, cause))
}

/// Debian keeps `asm/types.h` under the machine's name, where `-target bpf` does not look.
fn multiarch(machine: &str) -> String {
    format!("/usr/include/{machine}-linux-gnu")
}

fn compile() -> Result<(), Failure> {
    let object = PathBuf::from(variable("OUT_DIR")?).join(OBJECT);
    let machine = variable("CARGO_CFG_TARGET_ARCH")?;
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let output = Command::new(&clang)
        .args(["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-target", "bpf"])
        // No path of this machine ends in the object: builds repeat byte for byte.
        .arg("-fdebug-compilation-dir=.")
        .args(["-I", &multiarch(&machine), "-c", SOURCE, "-o"])
        .arg(&object)
        .output()
        .map_err(|cause| Failure::Clang(clang, cause))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(Failure::Compile(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

#[allow(clippy::print_stdout)] // how a build script speaks to cargo
fn main() -> ExitCode {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=CLANG");
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
