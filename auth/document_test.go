package auth_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
)

// TestTheDocumentedTable: docs/auth.md says in full what the table says.
func TestTheDocumentedTable(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../docs/auth.md")
	require.NoError(t, err)
	var want []string
	for _, row := range auth.Table() {
		cells := []string{string(row.Resource)}
		for _, v := range []auth.Verb{row.Shared, row.Self, row.Viewer, row.User, row.Own, row.Operator, row.Admin} {
			cells = append(cells, v.String())
		}
		want = append(want, strings.Join(cells, "|"))
	}
	_, table, ok := strings.Cut(string(b), "| resource | all | self | viewer | user | user, own | operator | admin |\n")
	require.True(t, ok)
	var got []string
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(line, "|\n"), "|")
		if len(cells) != 8 {
			break
		}
		for n := range cells {
			cells[n] = strings.TrimSpace(cells[n])
		}
		if cells[0] != "---" {
			got = append(got, strings.Join(cells, "|"))
		}
	}
	require.Equal(t, want, got)
}
