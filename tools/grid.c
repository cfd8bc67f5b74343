/* grid.c - aligned columns without knowing all rows: they are as wide as the widest of the first rows wants, and grow with
 * each lot of rows that follows. */
#include "tools/grid.h"
#include <stdlib.h>
#include <string.h>

enum { LOT_ROWS = 256 };

struct grid {
    size_t columns, count; /* cells that wait */
    size_t blanks;
    size_t *widths;
    char **cells;
    bool *right;
};

struct grid *grid_new(size_t columns)
{
    struct grid *grid = xalloc(sizeof(*grid));

    *grid = (struct grid){.columns = columns};
    grid->widths = xalloc(columns * sizeof(*grid->widths));
    memset(grid->widths, 0, columns * sizeof(*grid->widths));
    grid->cells = xalloc(columns * LOT_ROWS * sizeof(*grid->cells));
    grid->right = xalloc(columns * LOT_ROWS * sizeof(*grid->right));
    return grid;
}

/* Blanks wait for what stands behind them, so that no line ends with some. */
static void print_cell(struct grid *grid, size_t at)
{
    size_t column = at % grid->columns, gap = grid->widths[column] - utf8_columns(grid->cells[at]);

    grid->blanks += (column ? 2 : 0) + (grid->right[at] ? gap : 0);
    if (*grid->cells[at]) {
        printf("%*s%s", (int)grid->blanks, "", grid->cells[at]);
        grid->blanks = 0;
    }
    grid->blanks += grid->right[at] ? 0 : gap;
    if (column + 1 < grid->columns)
        return;
    fputc('\n', stdout);
    grid->blanks = 0;
}

static void print_lot(struct grid *grid)
{
    for (size_t i = 0; i < grid->count; i++) {
        print_cell(grid, i);
        free(grid->cells[i]);
    }
    grid->count = 0;
}

void grid_cell(struct grid *grid, helios_slice text, bool right)
{
    size_t column = grid->count % grid->columns, width;
    helios_buf shown = {0};

    display_append(&shown, text);
    width = utf8_columns(shown.data);
    if (width > grid->widths[column])
        grid->widths[column] = width;
    grid->right[grid->count] = right;
    grid->cells[grid->count++] = shown.data;
    if (grid->count == grid->columns * LOT_ROWS)
        print_lot(grid);
}

void grid_text(struct grid *grid, const char *text)
{
    grid_cell(grid, (helios_slice){text, strlen(text)}, false);
}

void grid_finish(struct grid *grid)
{
    print_lot(grid);
    free(grid->widths);
    free(grid->cells);
    free(grid->right);
    free(grid);
}
