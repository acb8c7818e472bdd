//! The bill as a person reads it.

use std::fmt::{self, Write};

use super::{ConfigReport, Report};
use crate::cli::demo::number;
use crate::cost::{Comparison, DAY, Estimate, RouteCost, SinkCost};

/// Where amounts end.
const WIDTH: usize = 96;

/// Requests a second of an account and region (AWS, CloudWatch Logs quotas).
const PUT_LOG_EVENTS: f64 = 5_000.0;

/// The whole report.
pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write(&mut out, report);
    out
}

fn write(out: &mut String, report: &Report) -> fmt::Result {
    let tasks = if report.tasks == 1 { "task".to_owned() } else { "tasks".to_owned() };
    writeln!(
        out,
        "{} a day of logs like these, in {}, kept {} days, written by {} {tasks}",
        size(report.volume_bytes_a_day),
        report.region,
        report.retain_days.round(),
        number(report.tasks.into()),
    )?;
    let files: Vec<_> = report.sample.files.iter().map(|(name, form)| format!("{name} ({form})")).collect();
    let (records, text) = (number(report.sample.records), size(report.sample.text_bytes as f64));
    writeln!(out, "sample: {records} records with {text} of text, from {}", files.join(", "))?;
    for config in &report.configs {
        write_config(out, config)?;
    }
    if let Some(comparison) = &report.comparison {
        write_comparison(out, comparison)?;
    }
    writeln!(out, "\nWhat this assumes")?;
    report.assumptions.iter().try_for_each(|sentence| paragraph(out, sentence))?;
    let prices: Vec<_> = report.prices.iter().map(|(source, date)| format!("{source}, {date}")).collect();
    paragraph(out, &format!("Prices are on demand, in USD: {}.", prices.join("; ")))
}

fn write_config(out: &mut String, config: &ConfigReport) -> fmt::Result {
    let estimate = &config.estimate;
    writeln!(out, "\n{}\n", config.name)?;
    let width = estimate.routes.iter().map(|route| route.name.len()).max().unwrap_or_default().max(5);
    amount_line(out, &format!("  {:<width$}  {:>8}  {:>8}  SINK", "ROUTE", "RECORDS", "TEXT"), "USD A MONTH")?;
    estimate.routes.iter().try_for_each(|route| write_route(out, route, width))?;
    let width = estimate.sinks.iter().map(|sink| sink.name.len()).max().unwrap_or_default().max(4);
    writeln!(out)?;
    amount_line(out, &format!("  {:<width$}  {}", "SINK", "FOR"), "USD A MONTH")?;
    estimate.sinks.iter().try_for_each(|sink| write_sink(out, sink, width))?;
    if let Some(reserved) = estimate.reserved {
        amount(out, &format!("  {:<width$}  {}", "Fargate", "what the tasks reserve"), reserved)?;
    }
    write_totals(out, estimate)
}

fn write_route(out: &mut String, route: &RouteCost, width: usize) -> fmt::Result {
    let head = format!("  {:<width$}  {:>8}  {:>8}  ", route.name, percent(route.records), percent(route.text));
    if route.drops {
        return amount(out, &format!("{head}dropped on purpose"), 0.0);
    }
    for (at, (sink, usd)) in route.sinks.iter().enumerate() {
        let head = if at == 0 { head.clone() } else { " ".repeat(head.chars().count()) };
        amount(out, &format!("{head}{sink}"), *usd)?;
    }
    Ok(())
}

fn write_sink(out: &mut String, sink: &SinkCost, width: usize) -> fmt::Result {
    let (gb, class, days) = (gigabytes(sink.gb_a_month), &sink.class, sink.kept_days.round());
    let pieces = format!("{} a day of {}", number(sink.pieces_a_day.round() as u64), size(sink.piece_bytes));
    let ratio = sink.ratio.map(|ratio| format!(", compressed {ratio:.1} to 1")).unwrap_or_default();
    let first = format!("  {:<width$}  ", sink.name);
    let next = " ".repeat(width + 4);
    let names = |what: &str| format!("{} {what}{}", number(sink.names as u64), if sink.names == 1 { "" } else { "s" });
    if sink.pieces_a_day == 0.0 && sink.kind != "stdout" {
        return amount(out, &format!("{first}{}: none of the sample comes here", sink.kind), 0.0);
    }
    match sink.kind {
        "cloudwatch_logs" => {
            amount(out, &format!("{first}CloudWatch Logs {class}: ingestion of {gb} a month"), sink.ingestion)?;
            amount(out, &format!("{next}storage, kept {days} days"), sink.storage)?;
            amount(out, &format!("{next}PutLogEvents: {pieces}, {} a task", names("stream")), sink.requests)?;
            let a_second = sink.pieces_a_day / DAY;
            if a_second > PUT_LOG_EVENTS {
                let a_second = number(a_second.round() as u64);
                writeln!(
                    out,
                    "{next}That is {a_second} a second; AWS takes 5,000 of an account (adjustable). Raise batch.age."
                )?;
            }
        }
        "s3" => {
            amount(out, &format!("{first}S3 {class}: storage of {gb} a month{ratio}, kept {days} days"), sink.storage)?;
            let objects = format!(
                "{next}PUT requests: objects {pieces}, {} a task",
                names("prefix").replace("prefixs", "prefixes")
            );
            amount(out, &objects, sink.requests)?;
        }
        kind => writeln!(out, "{first}{kind}: {gb} a month{ratio}, not billed by AWS")?,
    }
    if sink.too_small {
        writeln!(
            out,
            "{next}The sample is too small to tell how well it compresses; a day's logs may differ.\n\
             {next}Give more of it: a MiB or more for each prefix."
        )?;
    }
    Ok(())
}

fn write_totals(out: &mut String, estimate: &Estimate) -> fmt::Result {
    writeln!(out, "  {}", "-".repeat(WIDTH - 2))?;
    amount(out, "  this config", estimate.total)?;
    amount(out, "  everything in CloudWatch Logs", estimate.everything)?;
    if !estimate.sinks.iter().any(|sink| ["cloudwatch_logs", "s3"].contains(&sink.kind)) {
        return writeln!(out, "  None of its sinks is in AWS, so there is nothing to compare.");
    }
    let saved = estimate.everything - estimate.total;
    let label = if saved < 0.0 { "  it costs more" } else { "  saved" };
    let share = saved.abs() / estimate.everything;
    amount(out, &format!("{label} ({})", percent(share)), saved.abs())
}

fn write_comparison(out: &mut String, comparison: &Comparison) -> fmt::Result {
    writeln!(out, "\n{:<42}{:>18}{:>18}{:>18}", "THE TWO CONFIGS", "FIRST", "SECOND", "DIFFERENCE")?;
    comparison.kinds.iter().try_for_each(|(kind, first, second)| {
        let difference = second - first;
        let sign = if difference > 0.0 { "+" } else { "" };
        writeln!(out, "  {kind:<40}{:>18}{:>18}{:>18}", usd(*first), usd(*second), format!("{sign}{}", usd(difference)))
    })
}

fn amount(out: &mut String, label: &str, amount: f64) -> fmt::Result {
    amount_line(out, label, &usd(amount))
}

fn amount_line(out: &mut String, label: &str, amount: &str) -> fmt::Result {
    let room = WIDTH.saturating_sub(label.chars().count() + 2);
    writeln!(out, "{label}  {amount:>room$}")
}

/// A sentence, wrapped, with a dash.
fn paragraph(out: &mut String, text: &str) -> fmt::Result {
    let mut line = String::from("  -");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(out, "{line}")?;
            line = " ".repeat(3);
        }
        line.push(' ');
        line.push_str(word);
    }
    writeln!(out, "{line}")
}

/// With commas and cents.
fn usd(amount: f64) -> String {
    let cents = (amount.abs() * 100.0).round() as u64;
    let sign = if amount < 0.0 && cents > 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", number(cents / 100), cents % 100)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// As disks are sold: units of 1000, as volumes are usually given.
fn size(bytes: f64) -> String {
    let units = [(1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes / unit),
        None => format!("{bytes:.0} B"),
    }
}

/// GB as they are billed.
fn gigabytes(gb: f64) -> String {
    if gb >= 100.0 { format!("{} GB", number(gb.round() as u64)) } else { format!("{gb:.2} GB") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_commas_cents_and_their_sign() {
        let found = [0.0, 0.004, 1234.5, -12.345, 1e6].map(usd);
        assert_eq!(found, ["0.00", "0.00", "1,234.50", "-12.35", "1,000,000.00"]);
    }

    #[test]
    fn sizes_have_the_unit_that_suits_them() {
        assert_eq!([999.0, 1500.0, 1e12].map(size), ["999 B", "1.5 kB", "1.0 TB"]);
        assert_eq!([0.123, 28_328.4].map(gigabytes), ["0.12 GB", "28,328 GB"]);
    }

    #[test]
    fn sentences_are_wrapped() {
        let mut out = String::new();
        paragraph(&mut out, &"word ".repeat(40)).expect("a String takes all");
        assert!(out.lines().count() == 3 && out.lines().all(|line| line.len() <= WIDTH), "{out}");
        assert!(out.starts_with("  - word") && out.lines().nth(1).is_some_and(|line| line.starts_with("    word")));
    }
}
