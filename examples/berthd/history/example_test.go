package history_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/berthage/berthage/examples/berthd/history"
)

// A rule asks which instances have used more than 80 % of their memory at a moment.
func ExampleHistory_Query() {
	dir, err := os.MkdirTemp("", "history")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	h, err := history.Open(history.Config{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Close()

	ctx, now := context.Background(), time.Now()
	var samples []history.Sample
	for vm, used := range map[string]float64{"web": 90, "db": 70} {
		for name, v := range map[string]float64{"berthage_vm_memory_used_bytes": used, "libvirt_domain_info_maximum_memory_bytes": 100} {
			l := labels.FromStrings("__name__", name, "pool", "lab", "project", "shop", "vm", vm, "vm_id", "i-"+vm)
			samples = append(samples, history.Sample{Labels: l, Time: now.UnixMilli(), Value: v})
		}
	}
	if err := h.Append(ctx, samples); err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range history.Figures() {
		if f.Name != "memory" {
			continue
		}
		rows, err := h.Query(ctx, f.Lines[0].Expr(history.Instances, "", time.Minute)+" > 80", now)
		fmt.Println(rows, err)
	}
	// Output: [{map[pool:lab project:shop vm:web vm_id:i-web] 90}] <nil>
}
