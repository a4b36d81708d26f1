//! The metric reference as Markdown: what the `metrics` command prints and the README quotes.
//! Made from the table alone; it holds no fact of its own.

use std::fmt::Write as _;

use super::spec::{Area, LabelSpec, LabelValues, MetricSpec, Scale};
use super::table::CATALOG;

/// Most values of a closed label that are written out; more are counted instead, so that a
/// table's column stays readable.
const VALUES_SHOWN_MAX: usize = 11;

/// The whole reference: a section and a table an area.
pub fn reference() -> String {
    let mut out = String::from("# Metrics\n");
    for area in Area::ALL {
        write!(
            out,
            "\n## {}\n\n| name | kind | unit | labels | meaning | series | OpenTelemetry name |\n|---|---|---|---|---|---|---|\n",
            area.title()
        )
        .expect("writing to a string cannot fail");
        for spec in CATALOG.iter().filter(|spec| spec.area == area) {
            write_row(&mut out, spec);
        }
    }
    out
}

fn write_row(out: &mut String, spec: &MetricSpec) {
    let unit = match spec.unit.ucum() {
        "" => String::new(),
        ucum => format!("`{ucum}`"),
    };
    let labels: Vec<String> = spec.labels.iter().map(label_cell).collect();
    let scale = match spec.series.scale {
        Scale::Once => String::new(),
        Scale::PerQueue => " × queues".to_owned(),
        Scale::PerAgent => " × agents".to_owned(),
    };
    writeln!(
        out,
        "| `{}` | {} | {unit} | {} | {} | {}{scale} | `{}` |",
        spec.prometheus_name,
        spec.kind.word(),
        labels.join("; "),
        spec.help,
        spec.series.most,
        spec.otel_name,
    )
    .expect("writing to a string cannot fail");
}

fn label_cell(label: &LabelSpec) -> String {
    let values = match label.values {
        LabelValues::Closed(values) if values.len() <= VALUES_SHOWN_MAX => values
            .iter()
            .map(|value| if value.is_empty() { "empty" } else { value })
            .collect::<Vec<_>>()
            .join(", "),
        LabelValues::Closed(values) => format!("one of {}", values.len()),
        LabelValues::Queues => "the queue's name".to_owned(),
        LabelValues::QueueIds => "the queue's id".to_owned(),
        LabelValues::Agents => "the agent's id, pseudonym or name".to_owned(),
        LabelValues::Constant => return format!("`{}`", label.name),
    };
    format!("`{}` ({values})", label.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_one_row_of_seven_cells() {
        let reference = reference();
        for spec in &CATALOG {
            let start = format!("| `{}` |", spec.prometheus_name);
            let rows: Vec<&str> = reference
                .lines()
                .filter(|line| line.starts_with(&start))
                .collect();
            assert_eq!(rows.len(), 1, "{}", spec.prometheus_name);
            assert_eq!(rows[0].matches(" |").count(), 7, "{}", rows[0]);
            assert!(rows[0].contains(spec.otel_name));
        }
        assert!(reference.contains("`state` (available, not_ready, on_call, wrap_up, unknown)"));
    }
}
