package ledgerfile_test

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgerfile"
)

// A ledger is written to a file and filled again from it elsewhere.
func Example() {
	ctx := context.Background()
	from := pool.NewMemoryLedger()
	opened, _ := pool.NewEvent(pool.KindOpened, &pool.Opened{Ledger: "first"})
	opened.ID = "e1"
	_, _ = from.Append(ctx, 0, opened)

	var file bytes.Buffer
	header, _, err := ledgerfile.Write(ctx, &file, from, ledgerfile.Options{})
	fmt.Println(header.Identity, header.Last, err)

	to := pool.NewMemoryLedger()
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(file.Bytes())), nil }
	identity, summary, err := ledgerfile.Import(ctx, open, to, "operator", ledgerfile.Options{})
	fmt.Println(identity != "first", summary.Events, err)

	st := pool.NewState()
	for b := range to.Read(ctx, 0) {
		for i := range b.Events {
			err = st.Apply(&b.Events[i])
		}
	}
	fmt.Println(st.Identity() == identity, st.Confirmed(), err)
	// Output:
	// first 1 <nil>
	// true 1 <nil>
	// true false <nil>
}
