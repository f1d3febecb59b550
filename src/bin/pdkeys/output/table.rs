//! Lays out tables, and fits them to the width of a terminal.

use std::io::{self, Write};

use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Table, Width, presets};
use pdkeys::model::escape;

/// Spaces between two columns, and where the width is short.
const GAPS: [u16; 2] = [2, 1];
/// Columns whose words may be broken if they are longer than [`MIN_WIDTH`]. Words of all other columns are there to be
/// copied or compared.
const FREE_TEXT: &[&str] = &[
    "ABOUT",
    "ACTOR",
    "BY",
    "CALLED",
    "CHANGES",
    "DESCRIPTION",
    "FINDING",
    "LEADS INTO",
    "NAME",
    "PROBLEM",
    "REMEDY",
    "USER",
];
/// The minimum width of a column of free text. Narrower terminals get one cell a line.
const MIN_WIDTH: usize = 12;
/// The column that is never wrapped: a path with spaces is still one word.
const ONE_WORD: &str = "FILE";

/// A table under construction.
pub(crate) struct TableWriter {
    headings: &'static [&'static str],
    table: Table,
}

impl TableWriter {
    pub(crate) fn new(headings: &'static [&'static str]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.force_no_tty();
        table.set_header(headings);
        set_gap(&mut table, GAPS[0]);
        Self { headings, table }
    }

    /// Adds a row, with control characters escaped.
    pub(crate) fn add_row(&mut self, cells: &[String]) {
        self.table.add_row(cells.iter().map(|cell| escape(cell).into_owned()));
    }

    /// Writes the table. For a terminal of a given width, headings are bold and cells are wrapped; if it does not fit even
    /// then, each cell gets a line.
    pub(crate) fn write(mut self, out: &mut impl Write, terminal_width: Option<u16>) -> io::Result<()> {
        if let Some(width) = terminal_width {
            self.table.enforce_styling();
            let bold = |heading: &&str| Cell::new(heading).add_attribute(Attribute::Bold);
            self.table.set_header(self.headings.iter().map(bold));
            if !fit(&mut self.table, self.headings, width) {
                return write_cells(out, &self.table, self.headings);
            }
        }
        for line in self.table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn set_gap(table: &mut Table, gap: u16) {
    let last = table.column_count().saturating_sub(1);
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if number == last { 0 } else { gap }));
    }
}

/// Fits a table to a width by wrapping cells between words. Returns false if it does not fit even then.
fn fit(table: &mut Table, headings: &[&str], width: u16) -> bool {
    let natural = table.column_max_content_widths();
    let least: Vec<u16> = headings
        .iter()
        .zip(&natural)
        .enumerate()
        .map(|(number, (heading, natural))| {
            let cells = table.row_iter().filter_map(|row| row.cell_iter().nth(number)).map(Cell::content);
            let words = cells.filter_map(|cell| cell.split(' ').map(|word| word.chars().count()).max());
            let longest = words.max().unwrap_or(0);
            let heading_word = heading.split(' ').map(str::len).max().unwrap_or(0);
            let least = match *heading {
                ONE_WORD => return *natural,
                free if FREE_TEXT.contains(&free) => longest.min(MIN_WIDTH),
                _ => longest,
            };
            u16::try_from(least.max(heading_word)).unwrap_or(u16::MAX).min(*natural)
        })
        .collect();
    let gaps = |gap: u16| usize::from(gap) * headings.len().saturating_sub(1);
    let text: usize = least.iter().map(|width| usize::from(*width)).sum();
    let Some(gap) = GAPS.into_iter().find(|gap| text + gaps(*gap) <= width.into()) else { return false };
    set_gap(table, gap);
    for ((column, natural), least) in table.column_iter_mut().zip(natural).zip(least) {
        let padding = column.padding_width();
        column.set_constraint(if least == natural {
            ColumnConstraint::ContentWidth
        } else {
            ColumnConstraint::LowerBoundary(Width::Fixed(least + padding))
        });
    }
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width);
    true
}

/// Writes one cell a line, with an empty line between two rows.
fn write_cells(out: &mut impl Write, table: &Table, headings: &[&str]) -> io::Result<()> {
    let longest = headings.iter().map(|heading| heading.len()).max().unwrap_or(0);
    for (number, row) in table.row_iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        for (heading, cell) in headings.iter().zip(row.cell_iter()) {
            let line = format!("{:longest$}  {}", heading.to_lowercase(), cell.content());
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    Ok(())
}
