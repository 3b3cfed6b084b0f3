//! Takes the source of threadfin, as cargo has it, and changes the name of the channels' crate where the
//! program uses it. Nothing else is changed but for the comments at the head of its first file, which may
//! not stand where that is included.

mod source;

use std::path::PathBuf;
use std::{env, fs};

use source::{write_if_new, Packages};

const PROGRAM: &str = "threadfin";
const FROM: &str = "crossbeam_channel";
const TO: &str = "gthread::channel";

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    let target = out.join(PROGRAM);
    fs::create_dir_all(&target).expect("OUT_DIR can be written");
    let mut changed = Vec::new();
    let source = Packages::of_this_build().directory(PROGRAM).join("src");
    for file in fs::read_dir(source).expect("the program's source is there").flatten() {
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
    println!("cargo::rerun-if-changed=source.rs");
}
