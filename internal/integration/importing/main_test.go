package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The table is what an importer gets today.
func TestTableIsCurrent(t *testing.T) {
	t.Parallel()
	require.NoError(t, run(t.Context(), true))
}

func TestCompare(t *testing.T) {
	t.Parallel()
	rows := []row{{pkg: "a", sums: 1, linked: 2, size: 5e6}, {pkg: "b", modules: []string{"m v1", "n v2"}}}
	doc, err := splice("top\n"+begin+"old\n"+end+"bottom\n", table(rows))
	require.NoError(t, err)
	require.Equal(t, "top\n"+begin+`
| package | modules in go.mod | lines in go.sum | packages linked from other modules | program |
|---|---|---|---|---|
| `+"`a`"+` | none | 1 | 2 | 5.0 MB |
| `+"`b`"+` | 2: m v1, n v2 | 0 | 0 | 0.0 MB |

`+end+"bottom\n", doc)

	rows[0].size = 6e6 // another compiler
	require.NoError(t, compare(doc, rows))
	rows[1].modules = rows[1].modules[:1]
	require.ErrorContains(t, compare(doc, rows), "1: m v1")
	require.ErrorContains(t, compare(doc, rows), "no longer: | `b` | 2: m v1, n v2")
	require.ErrorContains(t, compare("no table", rows), "lacks")
	_, err = splice("no table", "")
	require.ErrorContains(t, err, "lacks")
}
