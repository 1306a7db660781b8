//! Data on stdout, as a table for people or as JSON or CSV for programs.

use std::io::{Write, stdout};

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    #[default]
    Table,
    Json,
    Csv,
}

/// Rows under named columns.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub columns: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
    /// Columns of money and numbers, which line up on the right.
    pub right: &'static [usize],
}

impl Rows {
    pub fn new(columns: &[&'static str], right: &'static [usize]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), right }
    }

    pub fn push<const N: usize>(&mut self, row: [String; N]) {
        self.rows.push(row.into());
    }
}

/// Prints rows; `json` is what a program gets instead of them.
pub fn print(output: Output, rows: &Rows, json: &impl Serialize) -> Result<()> {
    match output {
        Output::Table => writeln!(stdout(), "{}", table(rows))?,
        Output::Json => {
            serde_json::to_writer_pretty(stdout(), json)?;
            writeln!(stdout())?;
        }
        Output::Csv => {
            let mut csv = csv::Writer::from_writer(stdout());
            csv.write_record(&rows.columns)?;
            for row in &rows.rows {
                csv.write_record(row)?;
            }
            csv.flush()?;
        }
    }
    Ok(())
}

/// A table whose columns line up.
pub fn table(rows: &Rows) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(&rows.columns);
    for row in &rows.rows {
        table.add_row(row);
    }
    for column in rows.right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}
