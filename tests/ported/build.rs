//! Takes the source of threadfin, as cargo has it, and changes the name of the channels' crate where the
//! program uses it. Nothing else is changed but for the comments at the head of its first file, which may
//! not stand where that is included.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const PROGRAM: &str = "threadfin";
const FROM: &str = "crossbeam_channel";
const TO: &str = "gthread::channel";

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    let target = out.join(PROGRAM);
    fs::create_dir_all(&target).expect("OUT_DIR can be written");
    let mut changed = Vec::new();
    for file in fs::read_dir(source()).expect("the program's source is there").flatten() {
        let text = fs::read_to_string(file.path()).expect("source is text");
        let name = file.file_name().into_string().expect("source has plain names");
        let port = |(n, line): (usize, &str)| {
            if name == "lib.rs" && line.starts_with("//!") {
                return String::new();
            }
            if line.contains(FROM) {
                changed.push(format!("{name}:{}: {line}", n + 1));
            }
            line.replace(FROM, TO) + "\n"
        };
        let ported: String = text.lines().enumerate().map(port).collect();
        write_if_new(&target.join(&name), &ported);
    }
    changed.sort();
    write_if_new(&out.join("changed.txt"), &(changed.join("\n") + "\n"));
    println!("cargo::rerun-if-changed=build.rs");
}

/// Where the program's source is: cargo knows.
fn source() -> PathBuf {
    let cargo = env::var_os("CARGO").expect("set by cargo");
    let target = env::var("TARGET").expect("set by cargo");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &target])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let package = packages.iter().find(|package| package["name"] == PROGRAM);
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    Path::new(manifest.expect("it is a dependency")).with_file_name("src")
}

fn write_if_new(path: &Path, text: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        fs::write(path, text).expect("OUT_DIR can be written");
    }
}
