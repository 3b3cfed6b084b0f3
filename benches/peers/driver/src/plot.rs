//! The plots: rows of marks on a logarithmic scale, as SVG.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::contestant::Peer;
use crate::page::Measured;
use crate::workload::{ANSWERS, PER_CPU_SECOND};

/// Sizes in pixels.
const WIDTH: u32 = 960;
const ROW: i32 = 34;
const LEFT: i32 = 330;
const RIGHT: i32 = 25;
const TOP: i32 = 60;
const BOTTOM: i32 = 30;

/// One contestant's figures of a row, ascending.
struct Mark {
    peer: &'static Peer,
    values: Vec<f64>,
}

/// A workload.
struct Row {
    title: &'static str,
    marks: Vec<Mark>,
    target: Option<f64>,
}

/// Times relative to gthread's.
pub(crate) fn times(measured: &[&Measured], workers: usize) -> String {
    let rows = measured.iter().filter_map(|Measured { workload, session }| {
        let time = |peer: &Peer| {
            let workers = if peer.workers_count { workers } else { session.workers()[0] };
            session.cell(peer.name, workers)?.figure(workload.headline()).ok()
        };
        let gthread = time(Peer::by_name("gthread")?)?;
        let mark = |peer| Some(Mark { peer, values: vec![time(peer)? / gthread] });
        let target = workload.headline().target.and_then(|target| target.get(workers - 1).copied());
        Some(Row {
            title: workload.title,
            marks: Peer::ALL.iter().filter_map(mark).collect(),
            target: target.map(|target| target / gthread),
        })
    });
    draw(&rows.collect::<Vec<_>>(), times_label)
}

/// What a request costs servers of processor time, relative to gthread's.
pub(crate) fn costs(measured: &[&Measured], workers: usize) -> String {
    let measured = measured.iter().filter(|one| one.workload.measures(&PER_CPU_SECOND));
    let rows = measured.filter_map(|Measured { workload, session }| {
        let rate = |peer: &Peer| session.cell(peer.name, workers)?.figure(&PER_CPU_SECOND).ok();
        let gthread = rate(Peer::by_name("gthread")?)?;
        let mark = |peer| Some(Mark { peer, values: vec![gthread / rate(peer)?] });
        let marks = Peer::ALL.iter().filter_map(mark).collect();
        Some(Row { title: workload.title, marks, target: None })
    });
    draw(&rows.collect::<Vec<_>>(), times_label)
}

/// The median and the p99 of what clients wait for.
pub(crate) fn answers(measured: &[&Measured], workers: usize) -> String {
    let rows = measured.iter().filter_map(|Measured { workload, session }| {
        let mark = |peer: &'static Peer| {
            let cell = session.cell(peer.name, workers)?;
            let values = ANSWERS.iter().map(|figure| cell.figure(figure).ok());
            Some(Mark { peer, values: values.collect::<Option<_>>()? })
        };
        let marks: Vec<Mark> = Peer::ALL.iter().filter_map(mark).collect();
        (!marks.is_empty()).then_some(Row { title: workload.title, marks, target: None })
    });
    draw(&rows.collect::<Vec<_>>(), waits_label)
}

fn times_label(decade: i32) -> String {
    format!("{}×", 10_f64.powi(decade))
}

fn waits_label(decade: i32) -> String {
    match decade {
        ..3 => format!("{} ns", 10_f64.powi(decade)),
        3..6 => format!("{} µs", 10_f64.powi(decade - 3)),
        6..9 => format!("{} ms", 10_f64.powi(decade - 6)),
        _ => format!("{} s", 10_f64.powi(decade - 9)),
    }
}

/// The median, the percentiles and the longest of waits.
pub(crate) fn waits(measured: &[&Measured], workers: usize) -> String {
    let rows = measured.iter().filter_map(|Measured { workload, session }| {
        let mark = |peer: &'static Peer| {
            let workers = if peer.workers_count { workers } else { session.workers()[0] };
            let cell = session.cell(peer.name, workers)?;
            let values = workload.waits()?.iter().map(|figure| cell.figure(figure).ok());
            Some(Mark { peer, values: values.collect::<Option<_>>()? })
        };
        let marks: Vec<Mark> = Peer::ALL.iter().filter_map(mark).collect();
        (!marks.is_empty()).then_some(Row { title: workload.title, marks, target: None })
    });
    draw(&rows.collect::<Vec<_>>(), waits_label)
}

/// A colour for each contestant that can be told apart by those who see few.
fn colour(peer: &Peer) -> RGBColor {
    match peer.name {
        "gthread" => RGBColor(213, 94, 0),
        "gthread-fast" => RGBColor(240, 180, 140),
        "go" => RGBColor(0, 114, 178),
        "jdk" => RGBColor(204, 121, 167),
        "tokio" => RGBColor(0, 158, 115),
        "may" => RGBColor(230, 159, 0),
        "rayon" => RGBColor(86, 180, 233),
        "epoll" => BLACK,
        _ => RGBColor(90, 90, 90),
    }
}

/// Draws rows; `label` names a power of ten.
fn draw(rows: &[Row], label: impl Fn(i32) -> String) -> String {
    let mut svg = String::new();
    let height = TOP + BOTTOM + ROW * rows.len() as i32;
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height as u32)).into_drawing_area();
    draw_on(&area, rows, label).expect("a string takes all");
    drop(area);
    svg
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw_on(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    rows: &[Row],
    label: impl Fn(i32) -> String,
) -> Drawn {
    area.fill(&WHITE)?;
    let text = |colour: &RGBColor, horizontal| {
        let anchor = Pos::new(horizontal, VPos::Center);
        ("sans-serif", 13).into_font().color(colour).pos(anchor)
    };
    let (first, last) = decades(rows);
    let bottom = TOP + ROW * rows.len() as i32;
    let width = f64::from(WIDTH as i32 - LEFT - RIGHT);
    let x = |value: f64| {
        let share = (value.log10() - f64::from(first)) / f64::from(last - first);
        LEFT + (share.clamp(0.0, 1.0) * width) as i32
    };

    for decade in first..=last {
        let at = x(10_f64.powi(decade));
        area.draw(&PathElement::new([(at, TOP), (at, bottom)], RGBColor(215, 215, 215)))?;
        area.draw(&Text::new(label(decade), (at, bottom + 14), text(&BLACK, HPos::Center)))?;
    }
    let mut at = LEFT;
    for peer in Peer::ALL.iter().filter(|peer| rows.iter().any(|row| row.has(peer))) {
        area.draw(&Circle::new((at, 24), 5, colour(peer).filled()))?;
        let title = peer.title.trim_matches('`');
        area.draw(&Text::new(title, (at + 11, 24), text(&colour(peer), HPos::Left)))?;
        at += (36 + 7 * title.chars().count() as i32).max(85);
    }
    for (row, top) in rows.iter().zip((TOP..).step_by(ROW as usize)) {
        let middle = top + ROW / 2;
        area.draw(&PathElement::new(
            [(LEFT, top), (WIDTH as i32 - RIGHT, top)],
            RGBColor(240, 240, 240),
        ))?;
        area.draw(&Text::new(row.title, (LEFT - 12, middle), text(&BLACK, HPos::Right)))?;
        if let Some(at) = row.target.map(x) {
            let bar = [(at, top + 5), (at, top + ROW - 5)];
            area.draw(&PathElement::new(bar, BLACK.stroke_width(2)))?;
        }
        for (nth, mark) in row.marks.iter().enumerate() {
            // Side by side, so that none hides another.
            let count = row.marks.len() as i32;
            let y = middle + (2 * nth as i32 - count + 1) * (ROW - 10) / (2 * count.max(2));
            let colour = colour(mark.peer);
            let ends = [mark.values[0], mark.values[mark.values.len() - 1]].map(|v| (x(v), y));
            area.draw(&PathElement::new(ends, colour))?;
            for (nth, &value) in mark.values.iter().enumerate() {
                let size = if nth == 0 { 4 } else { 2 };
                area.draw(&Circle::new((x(value), y), size, colour.filled()))?;
            }
        }
    }
    area.present()?;
    Ok(())
}

impl Row {
    fn has(&self, peer: &Peer) -> bool {
        self.marks.iter().any(|mark| mark.peer.name == peer.name)
    }
}

/// The powers of ten between which all values are.
fn decades(rows: &[Row]) -> (i32, i32) {
    let targets = || rows.iter().filter_map(|row| row.target.as_ref());
    let values = || {
        let marks = rows.iter().flat_map(|row| &row.marks);
        let values = marks.flat_map(|mark| &mark.values);
        // What has no logarithm is left at the edge.
        values.chain(targets()).filter(|value| **value > 0.0).map(|value| value.log10())
    };
    let first = values().fold(f64::INFINITY, f64::min).floor();
    let last = values().fold(f64::NEG_INFINITY, f64::max).ceil();
    if first.is_finite() { (first as i32, (last as i32).max(first as i32 + 1)) } else { (0, 1) }
}
