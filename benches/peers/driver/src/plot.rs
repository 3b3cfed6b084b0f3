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
    draw(&rows.collect::<Vec<_>>(), DECADES, times_label)
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
    draw(&rows.collect::<Vec<_>>(), FINE, times_label)
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
    draw(&rows.collect::<Vec<_>>(), DECADES, waits_label)
}

fn times_label(times: f64) -> String {
    format!("{times}×")
}

fn waits_label(nanoseconds: f64) -> String {
    match nanoseconds {
        ..1e3 => format!("{nanoseconds} ns"),
        ..1e6 => format!("{} µs", nanoseconds / 1e3),
        ..1e9 => format!("{} ms", nanoseconds / 1e6),
        _ => format!("{} s", nanoseconds / 1e9),
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
    draw(&rows.collect::<Vec<_>>(), DECADES, waits_label)
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

/// Steps of an axis within a power of ten.
const DECADES: &[f64] = &[1.0];
const FINE: &[f64] = &[1.0, 2.0, 5.0];

/// Draws rows; `label` names a tick of the axis.
fn draw(rows: &[Row], steps: &[f64], label: impl Fn(f64) -> String) -> String {
    let mut svg = String::new();
    let height = TOP + BOTTOM + ROW * rows.len() as i32;
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height as u32)).into_drawing_area();
    draw_on(&area, rows, &ticks(rows, steps), label).expect("a string takes all");
    drop(area);
    svg
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw_on(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    rows: &[Row],
    ticks: &[f64],
    label: impl Fn(f64) -> String,
) -> Drawn {
    area.fill(&WHITE)?;
    let text = |colour: &RGBColor, horizontal| {
        let anchor = Pos::new(horizontal, VPos::Center);
        ("sans-serif", 13).into_font().color(colour).pos(anchor)
    };
    let (first, last) = (ticks[0].log10(), ticks[ticks.len() - 1].log10());
    let bottom = TOP + ROW * rows.len() as i32;
    let width = f64::from(WIDTH as i32 - LEFT - RIGHT);
    let x = |value: f64| {
        let share = (value.log10() - first) / (last - first);
        LEFT + (share.clamp(0.0, 1.0) * width) as i32
    };

    for &tick in ticks {
        let at = x(tick);
        area.draw(&PathElement::new([(at, TOP), (at, bottom)], RGBColor(215, 215, 215)))?;
        area.draw(&Text::new(label(tick), (at, bottom + 14), text(&BLACK, HPos::Center)))?;
    }
    let peers = Peer::ALL.iter().filter(|peer| rows.iter().any(|row| row.has(peer)));
    let legend: Vec<_> = peers.map(|peer| (peer, peer.title.replace('`', ""))).collect();
    let width = |title: &str| (36 + 7 * title.chars().count() as i32).max(85);
    let whole: i32 = legend.iter().map(|(_, title)| width(title)).sum();
    let mut at = LEFT.min(WIDTH as i32 - whole).max(12);
    for (peer, title) in &legend {
        area.draw(&Circle::new((at, 24), 5, colour(peer).filled()))?;
        area.draw(&Text::new(title.as_str(), (at + 11, 24), text(&colour(peer), HPos::Left)))?;
        at += width(title);
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

/// The marks of the axis, between the first and the last of which all values are.
fn ticks(rows: &[Row], steps: &[f64]) -> Vec<f64> {
    let marks = rows.iter().flat_map(|row| &row.marks).flat_map(|mark| &mark.values);
    // What has no logarithm is left at the edge.
    let values = marks.chain(rows.iter().filter_map(|row| row.target.as_ref()));
    let values: Vec<f64> = values.copied().filter(|value| *value > 0.0).collect();
    let low = values.iter().copied().reduce(f64::min).unwrap_or(1.0);
    let high = values.iter().copied().reduce(f64::max).unwrap_or(low);

    let decades = (-12..=12).map(|decade| 10_f64.powi(decade));
    let all: Vec<f64> =
        decades.flat_map(|decade| steps.iter().map(move |step| step * decade)).collect();
    let first = all.iter().rposition(|tick| *tick <= low).unwrap_or(0);
    let last = all.iter().position(|tick| *tick >= high).unwrap_or(all.len() - 1);
    all[first..=last.max(first + 1)].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f64], target: Option<f64>) -> Row {
        let peer = &Peer::ALL[0];
        Row { title: "", marks: vec![Mark { peer, values: values.to_vec() }], target }
    }

    #[test]
    fn all_values_are_between_the_ticks() {
        let rows = [row(&[300.0, 4e4], None), row(&[0.0], Some(20.0))];
        assert_eq!(ticks(&rows, DECADES), [10.0, 100.0, 1e3, 1e4, 1e5]);
        assert_eq!(ticks(&rows[..1], FINE), [200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4]);
        assert_eq!(ticks(&[row(&[1.0], None)], FINE), [1.0, 2.0]);
        assert_eq!(ticks(&[], DECADES), [1.0, 10.0]);
    }

    #[test]
    fn ticks_have_their_units() {
        assert_eq!([0.5, 10.0].map(times_label), ["0.5×", "10×"]);
        assert_eq!([100.0, 1e4, 1e6, 1e9].map(waits_label), ["100 ns", "10 µs", "1 ms", "1 s"]);
    }
}
