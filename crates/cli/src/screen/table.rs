//! Rows under headings, without lines around them.

use comfy_table::{ContentArrangement, presets};

use super::escape;

/// Rows under headings. Cells are made harmless when they are added.
pub(crate) struct Table(comfy_table::Table);

impl Table {
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        let mut table = comfy_table::Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(headings);
        Self(table)
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.add_row(cells.map(|cell| escape(&cell)));
    }

    pub(crate) fn text(mut self) -> String {
        let columns = self.0.column_count();
        for (index, column) in self.0.column_iter_mut().enumerate() {
            column.set_padding((0, if index + 1 == columns { 0 } else { 2 }));
        }
        let text = self.0.trim_fmt();
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_line_up_and_cells_are_harmless() {
        let mut table = Table::new(["NAME", "STATUS"]);
        table.row(["n1".to_owned(), "up".to_owned()]);
        table.row(["long-name".to_owned(), "\x1b[2Jlost".to_owned()]);
        assert_eq!(table.text(), "NAME       STATUS\nn1         up\nlong-name  \\x1b[2Jlost");
    }
}
