//! The command line.

use std::env;
use std::process::exit;

const HELP: &str = "\
Measures gthread beside Go, tokio, may, the JDK, rayon and std::thread.

  --only WORKLOAD   measure only this one (may be repeated)
  --peer NAME       run only this contestant (may be repeated)
  --workers N,N     numbers of workers (1,2)
  --rounds N        how often each contestant runs; medians are reported (3)
  --millis N        how long one sample should take (100)
  --quick           one round, short samples, small sizes";

/// What to measure, and how.
pub(crate) struct Options {
    only: Vec<String>,
    peers: Vec<String>,
    pub(crate) workers: Vec<usize>,
    pub(crate) rounds: usize,
    /// Milliseconds for a sample.
    pub(crate) millis: u64,
    pub(crate) quick: bool,
}

impl Options {
    /// Reads the command line; ends the process if it is wrong.
    pub(crate) fn from_command_line() -> Self {
        Self::parse(env::args().skip(1)).unwrap_or_else(|why| {
            eprintln!("{why}\n\n{HELP}");
            exit(2)
        })
    }

    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut rounds, mut millis) = (None, None);
        let mut options = Self {
            only: Vec::new(),
            peers: Vec::new(),
            workers: vec![1, 2],
            rounds: 0,
            millis: 0,
            quick: false,
        };
        while let Some(option) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{option} takes a value"));
            match option.as_str() {
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
        options.rounds = rounds.unwrap_or(if options.quick { 1 } else { 3 });
        options.millis = millis.unwrap_or(if options.quick { 30 } else { 100 });
        Ok(options)
    }

    /// Whether a workload is to be measured.
    pub(crate) fn wants(&self, workload: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == workload)
    }

    /// Whether a contestant is to run.
    pub(crate) fn wants_peer(&self, name: &str) -> bool {
        self.peers.is_empty() || self.peers.iter().any(|peer| peer == name)
    }
}

fn number(word: &str) -> Result<usize, String> {
    match word.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{word} is not a number, or is 0")),
    }
}
