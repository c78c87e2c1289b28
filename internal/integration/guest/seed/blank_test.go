package seed_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/berthage/berthage/internal/integration/guest/seed"
)

func TestIsBlank(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	cases := map[string]struct {
		size int
		used int // the byte that is not zero; -1 for none
		want bool
	}{
		"no bytes at all":              {0, -1, true},
		"small":                        {512, -1, true},
		"small with a partition table": {512, 510, false},
		"first byte":                   {4 * mib, 0, false},
		"end of the first MiB":         {4 * mib, mib - 1, false},
		"start of the last MiB":        {4 * mib, 3 * mib, false},
		"last byte":                    {4 * mib, 4*mib - 1, false},
		"the edges overlap":            {mib + 512, mib, false},
		"zeros only":                   {4 * mib, -1, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := make([]byte, c.size)
			if c.used >= 0 {
				disk[c.used] = 1
			}
			got, err := seed.IsBlank(bytes.NewReader(disk), int64(c.size))
			if err != nil || got != c.want {
				t.Fatalf("got %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestIsBlankOfADiskThatCannotBeRead(t *testing.T) {
	t.Parallel()
	blank, err := seed.IsBlank(bytes.NewReader(make([]byte, 512)), 1024)
	if blank || !errors.Is(err, io.EOF) {
		t.Fatalf("got %v, %v; want false and the reader's error", blank, err)
	}
}
