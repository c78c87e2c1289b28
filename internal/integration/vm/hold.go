package main

import (
	"context"
	"fmt"
	"time"

	"github.com/berthage/berthage/internal/integration/testbed"
)

// hold keeps the guest at work for a time, now busy and now at rest, so that there is something to be seen on berthd's pages.
func (w *world) hold(ctx context.Context, address string) error {
	fmt.Printf("berthd runs at %s for %s; its data are in %s\n", w.daemon.Address(), w.o.hold, w.dir)
	end := time.Now().Add(w.o.hold)
	for n := 0; time.Now().Before(end); n++ {
		work := []string{
			"timeout 200 sh -c 'while :; do :; done'",
			"timeout 120 sh -c 'while :; do dd if=/dev/urandom of=/data/file bs=64k count=64 2>/dev/null; sync; sleep 1; done'",
			"timeout 90 sh -c 'while :; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1; done'",
		}[n%3]
		if _, err := w.ssh(ctx, address, "("+work+") </dev/null >/dev/null 2>&1; true"); err != nil {
			return err
		}
		if err := testbed.Pause(ctx, min(time.Duration(60+30*(n%4))*time.Second, max(time.Until(end), time.Second))); err != nil {
			return err
		}
	}
	return nil
}
