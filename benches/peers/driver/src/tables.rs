//! Tables of what was measured.

use gthread_bench_page::{markdown, nanoseconds, significant};

use crate::contestant::Peer;
use crate::page::Measured;
use crate::results::{Cell, Session};
use crate::server::is_pinned;
use crate::workload::{Figure, Unit, Workload};

/// A cell for what there is not.
const NONE: &str = "–";
/// A cell for what failed.
const FAILED: &str = "✗";

/// One workload: a row for each contestant and number of workers. What failed is told below.
pub(crate) fn one(workload: &Workload, session: &Session) -> String {
    let mut rows = vec![vec!["contestant".to_owned()]];
    rows[0].extend(workload.figures.iter().map(|figure| figure.title.to_owned()));
    for cell in by_peer(session) {
        let mut row = vec![contestant(workload, cell)];
        row.extend(workload.figures.iter().map(|figure| in_cell(cell, figure)));
        rows.push(row);
    }
    markdown(rows) + &failures(workload, session)
}

/// One figure of all loads of servers that measure it: a row for each, a column for each contestant.
pub(crate) fn servers(measured: &[&Measured], figure: &Figure, workers: usize) -> String {
    let peers = peers(measured);
    let mut rows = vec![vec!["load".to_owned()]];
    rows[0].extend(peers.iter().map(|peer| peer.title.to_owned()));
    for Measured { workload, session } in
        measured.iter().filter(|one| one.workload.measures(figure))
    {
        let mut row = vec![workload.title.to_owned()];
        row.extend(peers.iter().map(|peer| {
            session.cell(peer.name, workers).map_or(NONE.into(), |cell| in_cell(cell, figure))
        }));
        rows.push(row);
    }
    markdown(rows)
}

/// The times of all workloads that measure one: a row for each, a column for each contestant.
pub(crate) fn times(measured: &[&Measured]) -> String {
    let peers = peers(measured);
    let mut rows = vec![vec!["workload".to_owned()]];
    rows[0].extend(peers.iter().map(|peer| peer.title.to_owned()));
    rows[0].push("target".into());
    for Measured { workload, session } in measured {
        let figure = workload.headline();
        let mut row = vec![workload.title.to_owned()];
        for peer in &peers {
            let cells: Vec<_> =
                session.workers().iter().filter_map(|&n| session.cell(peer.name, n)).collect();
            row.push(match cells[..] {
                [] => NONE.into(),
                _ => together(cells.iter().map(|cell| cell.figure(figure).ok())),
            });
        }
        row.push(match figure.target {
            Some(target) => format!("≤ {}", together(target.into_iter().map(Some))),
            None => NONE.into(),
        });
        rows.push(row);
    }
    markdown(rows)
}

/// How much faster two workers are than one.
pub(crate) fn speed_ups(measured: &[&Measured]) -> String {
    let peers: Vec<_> = peers(measured).into_iter().filter(|peer| peer.workers_count).collect();
    let mut rows = vec![vec!["workload".to_owned()]];
    rows[0].extend(peers.iter().map(|peer| peer.title.to_owned()));
    for Measured { workload, session } in measured {
        let mut row = vec![workload.title.to_owned()];
        for peer in &peers {
            let time = |workers| session.cell(peer.name, workers)?.figure(workload.headline()).ok();
            let ratio = time(1).zip(time(2)).map(|(one, two)| one / two);
            row.push(ratio.map_or(NONE.into(), |ratio| format!("{}×", significant(ratio))));
        }
        rows.push(row);
    }
    markdown(rows)
}

/// What the parts cost: a row for each.
pub(crate) fn floors(measured: &[&Measured]) -> String {
    let mut rows = vec![["part", "time"].map(str::to_owned).to_vec()];
    for Measured { workload, session } in measured {
        let figure = session.cells.first().map(|cell| cell.figure(workload.headline()));
        let Some(Ok(time)) = figure else { continue };
        rows.push(vec![workload.title.to_owned(), nanoseconds(time)]);
    }
    markdown(rows)
}

/// What failed, in a list, or nothing.
pub(crate) fn failures(workload: &Workload, session: &Session) -> String {
    let mut text = String::new();
    for cell in &session.cells {
        for why in cell.rounds.iter().filter_map(|round| round.as_ref().err()) {
            text += &format!("\n{FAILED} {}: {why}\n", contestant(workload, cell));
        }
    }
    text
}

/// The cells, those of a contestant together.
fn by_peer(session: &Session) -> impl Iterator<Item = &Cell> {
    let of = |peer: &'static Peer| session.cells.iter().filter(|cell| cell.peer.name == peer.name);
    Peer::ALL.iter().flat_map(of)
}

/// The contestants that measured any of these.
fn peers(measured: &[&Measured]) -> Vec<&'static Peer> {
    let any = |peer: &&Peer| {
        let mut cells = measured.iter().flat_map(|measured| &measured.session.cells);
        cells.any(|cell| cell.peer.name == peer.name)
    };
    Peer::ALL.iter().filter(any).collect()
}

fn contestant(workload: &Workload, cell: &Cell) -> String {
    if workload.is_server() {
        let has_threads = !cell.peer.workers_count && !is_pinned(cell.workers);
        let placement = if has_threads { "unpinned".into() } else { placement(cell.workers) };
        return format!("{}, {placement}", cell.peer.title);
    }
    match (cell.peer.workers_count, cell.workers) {
        (false, _) => cell.peer.title.to_owned(),
        (true, 1) => format!("{}, 1 worker", cell.peer.title),
        (true, workers) => format!("{}, {workers} workers", cell.peer.title),
    }
}

/// Where a server and its client run.
pub(crate) fn placement(workers: usize) -> String {
    if is_pinned(workers) { "pinned".into() } else { format!("{workers} workers") }
}

/// A figure of a cell. What is not measured each time may not be measured at all.
fn in_cell(cell: &Cell, figure: &Figure) -> String {
    match cell.figure(figure) {
        Ok(number) => in_unit(number, figure.unit),
        Err(_) if cell.rounds.iter().all(Result::is_ok) => NONE.into(),
        Err(_) => FAILED.into(),
    }
}

fn in_unit(number: f64, unit: Unit) -> String {
    match unit {
        _ if number.is_infinite() => "not within 5 s".into(),
        Unit::Nanoseconds => nanoseconds(number),
        Unit::Milliseconds => format!("{number:.0} ms"),
        Unit::Bytes | Unit::Count => format!("{number:.0}"),
        Unit::PerSecond => format!("{:.0} M/s", number / 1e6),
        Unit::Thousands => format!("{} k", significant(number / 1e3)),
        Unit::Each => format!("{number:.2}"),
        Unit::Times => format!("{number:.2}×"),
    }
}

/// Times in one cell, with the unit once if it is the same.
fn together(times: impl Iterator<Item = Option<f64>>) -> String {
    let words: Vec<String> = times.map(|time| time.map_or(FAILED.into(), nanoseconds)).collect();
    let unit = |word: &String| word.split_once(' ').map(|(_, unit)| unit.to_owned());
    let units: Vec<String> = words.iter().filter_map(unit).collect();
    match units.first() {
        Some(first) if units.iter().all(|unit| unit == first) => {
            let number = |word: &String| word.split(' ').next().unwrap_or_default().to_owned();
            format!("{} {first}", words.iter().map(number).collect::<Vec<_>>().join(" / "))
        }
        _ => words.join(" / "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::SERVERS;

    #[test]
    fn what_is_not_measured_is_no_failure() {
        let [rate, .., calls, _] = SERVERS[0].figures else { panic!("a server has figures") };
        let peer = Peer::by_name("epoll").unwrap();
        let measured = "reps 1 checksum 1 per-cpu-second 123456".parse().unwrap();
        let mut cell = Cell { peer, workers: 1, size: 1, rounds: vec![Ok(measured)] };
        assert_eq!((in_cell(&cell, rate), in_cell(&cell, calls)), ("123 k".into(), NONE.into()));
        assert_eq!(contestant(&SERVERS[0], &cell), "bare epoll loop, pinned");
        cell.workers = 2;
        assert_eq!(contestant(&SERVERS[0], &cell), "bare epoll loop, unpinned");
        cell.rounds = vec![Err("no answer".into())];
        assert_eq!((in_cell(&cell, rate), in_cell(&cell, calls)), (FAILED.into(), FAILED.into()));
    }

    #[test]
    fn times_share_their_unit() {
        let cell = |times: &[Option<f64>]| together(times.iter().copied());
        assert_eq!(cell(&[Some(30.0), Some(40.0)]), "30.0 / 40.0 ns");
        assert_eq!(cell(&[Some(300.0), Some(4000.0)]), "300 ns / 4.00 µs");
        assert_eq!(cell(&[Some(5.0), None]), "5.00 / ✗ ns");
        assert_eq!(cell(&[None, None]), "✗ / ✗");
        assert_eq!(cell(&[Some(4e4)]), "40.0 µs");
    }
}
