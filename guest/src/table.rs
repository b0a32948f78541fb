// SPDX-License-Identifier: GPL-2.0-only
//! Plain-text tables: the first column to the left, numbers to the right.
//! Never uses colour or asks for the terminal's width.

use std::fmt;

/// A table under construction.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|text| (*text).to_owned()).collect()],
        }
    }

    /// Adds a row; missing cells stay empty.
    pub fn row<I, S>(&mut self, cells: I)
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..columns).map(width).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for (place, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    line.push_str(&format!("  {cell:<width$}"));
                } else {
                    line.push_str(&format!("  {cell:>width$}"));
                }
            }
            writeln!(f, "{}", line.trim_end())?;
            if place == 0 {
                let length = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
                writeln!(f, "  {}", "-".repeat(length))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod unit {
    use super::Table;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["name", "CPUs"]);
        table.row(["a", "1.0"]);
        table.row(["longer", "12.25"]);
        let text = table.to_string();
        let expected = "  name     CPUs\n  -------------\n  a         1.0\n  longer  12.25\n";
        assert_eq!(text, expected);
    }
}
