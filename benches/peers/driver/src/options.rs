//! The command line.

use std::env;
use std::path::{Path, PathBuf};
use std::process::exit;

use crate::contestant::{Peer, Program};
use crate::workload::{ALL, SERVERS, Workload};

const HELP: &str = "\
Measures gthread beside Go, the JDK, tokio, may, rayon, std::thread and parking_lot, and writes docs/benchmarks.md.

  --servers         measure servers, not the workloads; the other options are the same
  --only WORKLOAD   measure only this one; may be repeated
  --peer NAME       run only this contestant; may be repeated
  --workers N,N     numbers of workers (1,2)
  --rounds N        how often each contestant runs; medians are reported (3)
  --millis N        how long one sample should take (100)
  --quick           one round, short samples, small sizes
  --page            write the page from what was measured last, workload by workload
  --out DIR         where the page goes (docs)
  --list            name the workloads and the contestants

With any of --only to --quick the page is not written, but with --out.";

/// What to measure, and how.
#[derive(Debug)]
pub(crate) struct Options {
    /// Which program of the contestants is measured.
    pub(crate) program: Program,
    only: Vec<String>,
    peers: Vec<String>,
    pub(crate) workers: Vec<usize>,
    pub(crate) rounds: usize,
    /// Milliseconds for a sample.
    pub(crate) millis: u64,
    pub(crate) quick: bool,
    /// Whether to measure, or else to write the page only.
    pub(crate) measure: bool,
    out: Option<PathBuf>,
    /// Whether what is measured is what a page should have.
    usual: bool,
}

impl Options {
    /// Reads the command line; ends the process if it is wrong, or asks for help.
    pub(crate) fn from_command_line() -> Self {
        let words: Vec<String> = env::args().skip(1).collect();
        match words.first().map(String::as_str) {
            Some("--help" | "-h") => {
                println!("{HELP}");
                exit(0)
            }
            Some("--list") => {
                let names = |names: Vec<&str>| names.join(" ");
                println!("workloads: {}", names(ALL.iter().map(|w| w.name).collect()));
                println!("servers: {}", names(SERVERS.iter().map(|w| w.name).collect()));
                println!("contestants: {}", names(Peer::ALL.iter().map(|p| p.name).collect()));
                exit(0)
            }
            _ => Self::parse(words.into_iter()).unwrap_or_else(|why| {
                eprintln!("{why}\n\n{HELP}");
                exit(2)
            }),
        }
    }

    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut rounds, mut millis) = (None, None);
        let mut options = Self {
            program: Program::Workloads,
            only: Vec::new(),
            peers: Vec::new(),
            workers: vec![1, 2],
            rounds: 3,
            millis: 100,
            quick: false,
            measure: true,
            out: None,
            usual: true,
        };
        while let Some(option) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{option} takes a value"));
            match option.as_str() {
                "--page" => options.measure = false,
                "--out" => options.out = Some(value()?.into()),
                "--servers" => options.program = Program::Server,
                _ => options.usual = false,
            }
            match option.as_str() {
                "--page" | "--out" | "--servers" => {}
                "--only" => options.only.push(value()?),
                "--peer" => options.peers.push(value()?),
                "--workers" => {
                    options.workers =
                        value()?.split(',').map(number).collect::<Result<Vec<usize>, _>>()?;
                }
                "--rounds" => rounds = Some(number(&value()?)?),
                "--millis" => millis = Some(number(&value()?)? as u64),
                "--quick" => options.quick = true,
                _ => return Err(format!("there is no option {option}")),
            }
        }
        if options.quick {
            (options.rounds, options.millis) = (1, 30);
        }
        options.rounds = rounds.unwrap_or(options.rounds);
        options.millis = millis.unwrap_or(options.millis);
        for name in &options.only {
            known(name, options.workloads().iter().map(|workload| workload.name))?;
        }
        for name in &options.peers {
            known(name, Peer::with(options.program).map(|peer| peer.name))?;
        }
        Ok(options)
    }

    /// What can be measured.
    pub(crate) fn workloads(&self) -> &'static [Workload] {
        match self.program {
            Program::Workloads => ALL,
            Program::Server => SERVERS,
        }
    }

    /// Whether a workload is to be measured.
    pub(crate) fn wants(&self, workload: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == workload)
    }

    /// Whether a contestant is to run.
    pub(crate) fn wants_peer(&self, name: &str) -> bool {
        self.has_all_peers() || self.peers.iter().any(|peer| peer == name)
    }

    /// Whether all contestants are to run.
    pub(crate) fn has_all_peers(&self) -> bool {
        self.peers.is_empty()
    }

    /// The directory of the page, if one is to be written.
    pub(crate) fn page(&self) -> Option<PathBuf> {
        let docs = || {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3);
            root.expect("the driver is in benches/peers").join("docs")
        };
        match &self.out {
            Some(out) => Some(out.clone()),
            None if self.usual || !self.measure => Some(docs()),
            None => {
                println!("docs/benchmarks.md is not written: there were options");
                None
            }
        }
    }
}

fn known<'a>(name: &str, mut names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    if names.any(|known| known == name) {
        Ok(())
    } else {
        Err(format!("there is no {name}; see --list"))
    }
}

fn number(word: &str) -> Result<usize, String> {
    match word.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{word} is not a number, or is 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_plain_run_writes_the_page() {
        let options = parse("").unwrap();
        assert!(options.page().unwrap().ends_with("docs"));
        assert!(options.measure && options.wants("fib") && options.wants_peer("go"));
    }

    #[test]
    fn another_does_not_but_where_it_is_told_to() {
        assert_eq!(parse("--quick").unwrap().page(), None);
        assert_eq!(parse("--quick --out x").unwrap().page(), Some("x".into()));
        let options = parse("--page").unwrap();
        assert!(!options.measure && options.page().is_some());
    }

    #[test]
    fn what_is_asked_for_is_measured() {
        let options =
            parse("--only fib --only ring --peer go --workers 1,8 --quick --rounds 7").unwrap();
        assert!(options.wants("ring") && !options.wants("mpmc"));
        assert!(options.wants_peer("go") && !options.wants_peer("jdk"));
        assert_eq!((options.workers, options.rounds, options.millis), (vec![1, 8], 7, 30));
    }

    #[test]
    fn servers_have_names_of_their_own() {
        let options = parse("--only churn --servers --peer epoll").unwrap();
        assert!(options.wants("churn") && !options.wants("idle"));
        assert!(options.wants_peer("epoll") && options.program == Program::Server);
        assert!(parse("--servers").unwrap().page().is_some());
        for line in ["--only churn", "--peer epoll", "--servers --only fib", "--servers --peer jdk"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for line in ["--only x", "--peer x", "--rounds", "--rounds 0", "--workers 1,x", "--x"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
