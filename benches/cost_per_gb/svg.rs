//! The plot: CPU seconds per GB, and USD per GB, a bar a scenario.

use std::fmt::Write;

use crate::dollars::Dollars;
use crate::report::Report;

const WIDTH: f64 = 960.0;
const LABELS: f64 = 300.0;
const BAR: f64 = 22.0;
const TITLE: f64 = 44.0;

/// A bar: its name, its parts with their colours, and a mark to compare with.
struct Bar {
    name: String,
    parts: Vec<(f64, &'static str)>,
    mark: Option<f64>,
    text: String,
}

/// Draws it.
pub(crate) fn draw(report: &Report) -> String {
    let cpu: Vec<Bar> = report
        .rows
        .iter()
        .filter_map(|row| {
            let (total, gb) = (row.cpu_per_gb?, row.measured.gigabytes());
            let goal =
                row.verdicts.iter().find(|verdict| verdict.what == "CPU s/GB").and_then(|verdict| verdict.at_most);
            Some(Bar {
                name: row.measured.scenario.name.clone(),
                parts: vec![(row.measured.cpu.user / gb, "#3b6ea5"), (row.measured.cpu.system / gb, "#9fc0e0")],
                mark: goal,
                text: format!("{total:.2}"),
            })
        })
        .collect();
    let usd: Vec<Bar> = report
        .rows
        .iter()
        .filter_map(|row| {
            let d: &Dollars = row.dollars.first()?;
            Some(Bar {
                name: row.measured.scenario.name.clone(),
                parts: vec![
                    (d.cloudwatch_ingestion + d.cloudwatch_storage, "#b3554a"),
                    (d.s3_storage + d.s3_requests, "#5d9a68"),
                    (d.reservation.unwrap_or(d.cpu), "#8a7bb0"),
                ],
                mark: Some(d.all_to_cloudwatch),
                text: format!("{:.3}", d.total()),
            })
        })
        .collect();
    let machine = &report.machine;
    let subtitle = format!("{}, {} cores, Linux {}, {}", machine.cpu, machine.cores, machine.kernel, machine.logweir);
    let region = report.rows.iter().find_map(|row| row.dollars.first()).map_or("", |d| d.region.as_str());
    let panels = [
        ("CPU seconds per GB of log text: user, system; the line is the goal".to_owned(), cpu),
        (
            format!(
                "USD per GB of log text in {region}: CloudWatch Logs, S3, router; the line is all in CloudWatch Logs"
            ),
            usd,
        ),
    ];
    let mut body = String::new();
    let mut y = 30.0;
    for (title, bars) in &panels {
        y = panel(&mut body, title, bars, y);
    }
    let _ = writeln!(body, r##"<text x="12" y="{:.0}" fill="#666">{}</text>"##, y + 14.0, escaped(&subtitle));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{:.0}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n",
        y + 28.0
    )
}

/// Draws a panel from `y` on; where it ends.
fn panel(out: &mut String, title: &str, bars: &[Bar], mut y: f64) -> f64 {
    if bars.is_empty() {
        return y;
    }
    // Writing into a string cannot fail.
    let _ = writeln!(out, r#"<text x="12" y="{y:.0}" font-size="14" font-weight="bold">{}</text>"#, escaped(title));
    y += TITLE - 28.0;
    let longest = bars.iter().map(|bar| bar.parts.iter().map(|part| part.0).sum::<f64>().max(bar.mark.unwrap_or(0.0)));
    let scale = (WIDTH - LABELS - 70.0) / longest.fold(f64::MIN_POSITIVE, f64::max);
    for bar in bars {
        let base = y + BAR * 0.65;
        let _ = writeln!(
            out,
            r#"<text x="{:.0}" y="{base:.1}" text-anchor="end">{}</text>"#,
            LABELS - 8.0,
            escaped(&bar.name)
        );
        let mut x = LABELS;
        for (value, colour) in &bar.parts {
            let width = value.max(0.0) * scale;
            let _ = writeln!(
                out,
                r#"<rect x="{x:.1}" y="{:.1}" width="{width:.1}" height="{:.1}" fill="{colour}"/>"#,
                y + 3.0,
                BAR - 6.0
            );
            x += width;
        }
        let mut text = x;
        if let Some(mark) = bar.mark {
            let at = LABELS + mark * scale;
            text = text.max(at);
            let _ = writeln!(
                out,
                r##"<line x1="{at:.1}" x2="{at:.1}" y1="{:.1}" y2="{:.1}" stroke="#222" stroke-width="2"/>"##,
                y + 1.0,
                y + BAR - 1.0
            );
        }
        let _ = writeln!(out, r#"<text x="{:.1}" y="{base:.1}">{}</text>"#, text + 6.0, bar.text);
        y += BAR;
    }
    y + TITLE - 8.0
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
