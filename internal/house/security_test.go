package house_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What docs/security.md says is done against something names the tests that show it, in every row, and they are there.
func TestSecurityIsShown(t *testing.T) {
	t.Parallel()
	tests := testNames(t)
	test := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`")
	tables, rows, shown := 0, 0, false
	for n, line := range strings.Split(read(t, "docs/security.md"), "\n") {
		switch {
		case !strings.HasPrefix(line, "|"):
			shown = false
		case strings.HasSuffix(line, "| shown by |"):
			tables++
			shown = true
		case strings.HasPrefix(line, "|---"):
		case shown:
			rows++
			cells := strings.Split(strings.Trim(line, "|"), "|")
			found := test.FindAllStringSubmatch(cells[len(cells)-1], -1)
			if len(found) == 0 {
				t.Errorf("docs/security.md:%d: no test shows it", n+1)
			}
			for _, m := range found {
				if !tests[m[1]] {
					t.Errorf("docs/security.md:%d: %s is no test", n+1, m[1])
				}
			}
		case strings.HasPrefix(line, "| against |"):
			t.Errorf("docs/security.md:%d: the table does not say by what it is shown", n+1)
		}
	}
	require.Equal(t, 8, tables, "the boundaries, and what happens without the store")
	require.Greater(t, rows, 40)
}
