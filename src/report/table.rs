// SPDX-License-Identifier: GPL-2.0-only
//! Columns that line up.
//! Never knows what is in them.

/// Rows of cells under a heading. All columns are numbers, and flush right, but
/// perhaps the last.
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    last_is_text: bool,
}

impl<const N: usize> Table<N> {
    /// A table with this heading.
    pub fn new(heading: [&str; N]) -> Table<N> {
        Table {
            rows: vec![heading.map(str::to_owned)],
            last_is_text: false,
        }
    }

    /// A table whose last column is text.
    pub fn with_text(heading: [&str; N]) -> Table<N> {
        Table {
            last_is_text: true,
            ..Table::new(heading)
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// The rows, indented by two spaces, each with a line end.
    pub fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: [usize; N] = std::array::from_fn(width);
        let mut text = String::new();
        for row in &self.rows {
            for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
                let width = if self.last_is_text && column + 1 == N {
                    0
                } else {
                    width
                };
                text.push_str(&format!("  {cell:>width$}"));
            }
            text.push('\n');
        }
        text
    }
}
