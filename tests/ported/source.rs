// Finds where cargo keeps a package that the build script's own package depends on. Shared by build scripts.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

/// The packages that are there to be built, as `cargo metadata` lists them.
pub struct Packages(serde_json::Value);

impl Packages {
    /// Asks cargo, which has fetched them before it built the script: nothing is downloaded.
    pub fn of_this_build() -> Self {
        let cargo = env::var_os("CARGO").expect("set by cargo");
        let target = env::var("TARGET").expect("set by cargo");
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &target])
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self(serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// The directory of a package.
    pub fn directory(&self, name: &str) -> PathBuf {
        let packages = self.0["packages"].as_array().expect("a list of packages");
        let package = packages.iter().find(|package| package["name"] == name);
        let manifest = package.and_then(|package| package["manifest_path"].as_str());
        let mut directory = PathBuf::from(manifest.expect("it is a dependency"));
        directory.pop();
        directory
    }
}

/// Writes a file, unless that is what it says already: cargo builds anew what includes it.
pub fn write_if_new(path: &std::path::Path, text: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        fs::write(path, text).expect("OUT_DIR can be written");
    }
}
