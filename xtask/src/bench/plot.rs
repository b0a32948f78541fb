// SPDX-License-Identifier: GPL-2.0-only
//! Owns the charts: a panel for each figure, a bar for each contender.
//! Must never decide what a figure means: it draws what it is given.

use anyhow::{Context, Result};
use plotters::coord::Shift;
use plotters::prelude::*;

const WIDTH: u32 = 720;
const BAR: u32 = 22;
/// Above and below a bar.
const GAP: u32 = 3;
const FONT: &str = "sans-serif";
/// Caption, scale and margins of a panel.
const FRAME: u32 = 66;
/// Room for the contenders' names.
const NAMES: u32 = 100;
/// The longest bar ends here, so that its label fits.
const ROOM: f64 = 1.18;

const OURS: RGBColor = RGBColor(31, 119, 180);
const KERNEL: RGBColor = RGBColor(110, 110, 110);
const PEER: RGBColor = RGBColor(190, 200, 210);

/// One contender in a panel.
pub struct Bar {
    /// Its name.
    pub name: String,
    /// Length; none draws the label alone.
    pub median: Option<f64>,
    /// Least and greatest, as a line across the bar's end.
    pub range: Option<(f64, f64)>,
    /// Beside the bar.
    pub label: String,
    /// Ours stands out.
    pub ours: bool,
    /// So does the kernel's own scheduler.
    pub kernel: bool,
}

/// One figure.
pub struct Panel {
    /// Above the bars.
    pub title: String,
    /// From above.
    pub bars: Vec<Bar>,
}

/// The panels one below the other, as SVG.
///
/// # Errors
/// When the library refuses.
pub fn svg(panels: &[Panel]) -> Result<String> {
    let heights: Vec<u32> = panels
        .iter()
        .map(|panel| FRAME + BAR * panel.bars.len() as u32)
        .collect();
    let mut text = String::new();
    {
        let size = (WIDTH, heights.iter().sum());
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE).context("drawing the background")?;
        let mut rest = root.clone();
        for (panel, height) in panels.iter().zip(&heights) {
            let (area, below) = rest.split_vertically(*height);
            draw(panel, &area).with_context(|| format!("drawing {}", panel.title))?;
            rest = below;
        }
        root.present().context("ending a chart")?;
    }
    Ok(text)
}

fn draw(panel: &Panel, area: &DrawingArea<SVGBackend, Shift>) -> Result<()> {
    let longest = panel
        .bars
        .iter()
        .filter_map(|bar| Some(bar.range?.1.max(bar.median?)))
        .fold(0.0, f64::max);
    let longest = if longest > 0.0 { longest } else { 1.0 };
    // The scale runs upwards, and the first bar belongs on top.
    let bars: Vec<&Bar> = panel.bars.iter().rev().collect();
    let name = |place: &SegmentValue<usize>| match place {
        SegmentValue::CenterOf(place) => bars.get(*place).map_or("", |bar| &bar.name).to_string(),
        _ => String::new(),
    };
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, (FONT, 18))
        .margin(8)
        .margin_right(16)
        .x_label_area_size(22)
        .y_label_area_size(NAMES)
        .build_cartesian_2d(
            0.0..longest * ROOM,
            (0..bars.len().saturating_sub(1)).into_segmented(),
        )
        .context("laying out")?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(bars.len())
        .y_label_formatter(&name)
        .x_labels(6)
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .label_style((FONT, 15))
        .draw()
        .context("drawing the scale")?;
    for (place, bar) in bars.iter().enumerate() {
        let at = |length| (length, SegmentValue::CenterOf(place));
        let length = bar.median.unwrap_or(0.0);
        let corners = [
            (0.0, SegmentValue::Exact(place)),
            (length, SegmentValue::Exact(place + 1)),
        ];
        let mut body = Rectangle::new(corners, colour(bar).filled());
        body.set_margin(GAP, GAP, 0, 0);
        chart.draw_series([body]).context("drawing a bar")?;
        let mut end = length;
        if let Some((least, most)) = bar.range {
            end = end.max(most);
            let line = PathElement::new(vec![at(least), at(most)], BLACK);
            chart.draw_series([line]).context("drawing a range")?;
        }
        let text = Text::new(bar.label.clone(), (6, -7), (FONT, 15));
        chart
            .draw_series([EmptyElement::at(at(end)) + text])
            .context("drawing a label")?;
    }
    Ok(())
}

fn colour(bar: &Bar) -> RGBColor {
    match (bar.ours, bar.kernel) {
        (true, _) => OURS,
        (_, true) => KERNEL,
        _ => PEER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_is_named_and_labelled_and_markup_is_escaped() {
        let bar = |name: &str, median: Option<f64>, label: &str| Bar {
            name: name.into(),
            median,
            range: median.map(|median| (median - 1.0, median + 1.0)),
            label: label.into(),
            ours: false,
            kernel: false,
        };
        let panel = Panel {
            title: "a < b".into(),
            bars: vec![
                bar("scx_one", Some(5.0), "5.00"),
                bar("scx_two", None, "no figure"),
                bar("scx_three", Some(0.0), "0.000"),
            ],
        };
        let text = svg(&[panel]).expect("it draws");
        for part in ["scx_one", "scx_two", "scx_three", "no figure", "a &lt; b"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(svg(&[]).is_ok());
    }
}
